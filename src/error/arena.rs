//! Allocating.

/// Why an arena gave nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ArenaError {
    /// Not enough is left. Nothing was consumed.
    #[error("{wanted_bytes} bytes are wanted, {left_bytes} are left")]
    Full {
        /// Bytes wanted.
        wanted_bytes: u64,
        /// Bytes left.
        left_bytes: u64,
    },
    /// An alignment that is no power of two, or more than a page.
    #[error("an alignment of {align_bytes} bytes: allowed are powers of two up to 4096")]
    Alignment {
        /// Bytes wanted.
        align_bytes: u64,
    },
    /// A handle that lies outside the arena: of another one, or made up.
    #[error("{len_bytes} bytes at {offset_bytes} lie outside the arena")]
    OutOfRange {
        /// Where.
        offset_bytes: u64,
        /// How long.
        len_bytes: u64,
    },
    /// Memory behind the arena is gone: somebody truncated its file, or punched a hole that can't be filled.
    #[error(
        "memory behind the arena is gone: its file was truncated, a hole in it can't be filled, or a peer wiped it; make it anew"
    )]
    MemoryLost,
    /// The arena is mapped for reading only.
    #[error("the arena is open for reading only")]
    ReadOnly,
}
