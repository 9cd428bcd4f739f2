//! The control page of a log region.

use super::Line;
use crate::sync::AtomicU64;

/// First word of a formatted log region: `SHMLOG` and two zero bytes.
pub const LOG_MAGIC: u64 = u64::from_le_bytes(*b"SHMLOG\0\0");
/// First word of a formatted arena region.
pub const ARENA_MAGIC: u64 = u64::from_le_bytes(*b"SHMARENA");
/// The format this crate writes and reads.
pub const FORMAT_VERSION: u64 = 1;

/// Offset of the control words in a region, in bytes.
pub const CONTROL_OFFSET: usize = 128;
/// Offset of the name, in bytes.
pub const NAME_OFFSET: usize = 512;
/// Bytes of a name; longer ones are cut.
pub const NAME_BYTES: usize = 64;
/// Offset of the bases, in bytes.
pub const BASES_OFFSET: usize = 4096;

/// The first 128 bytes of a region: what it is. Written once by the creator, the magic last, and
/// read once by whoever attaches; nobody trusts it after that.
#[repr(C)]
#[derive(Debug)]
pub struct Preamble {
    /// [`LOG_MAGIC`] or [`ARENA_MAGIC`].
    pub magic: AtomicU64,
    /// [`FORMAT_VERSION`].
    pub version: AtomicU64,
    /// Random identity of the log, 128 bits; the board carries the same.
    pub id: [AtomicU64; 2],
    /// Bytes of the whole region.
    pub region_bytes: AtomicU64,
    /// Bytes of a window (a power of two); of the arena in an arena region.
    pub window_bytes: AtomicU64,
    /// Number of windows.
    pub windows: AtomicU64,
    /// Commit words in a window's index.
    pub entries: AtomicU64,
    /// `Retention`, a small number.
    pub retention: AtomicU64,
    /// `Fencing`, a small number.
    pub fencing: AtomicU64,
    /// Bytes of a page of the backing when it was created; places the first window.
    pub page_bytes: AtomicU64,
    /// Board slots for appenders.
    pub appender_slots: AtomicU64,
    /// Board slots for readers.
    pub reader_slots: AtomicU64,
    /// Creation time, nanoseconds since 1970.
    pub created_unix_ns: AtomicU64,
    /// 1: the last of the readers' slots is nobody's, see `Mapped::floor`; 0: it is as the others.
    pub floor: AtomicU64,
    /// Zero.
    pub reserved: AtomicU64,
}

/// The two words that move. Each only grows.
#[repr(C)]
#[derive(Debug)]
pub struct Control {
    /// Lowest segment still retained; raised before a window is used again.
    pub head: Line,
    /// Newest open segment; raised after its base, bump word and index are ready.
    pub active: Line,
}

impl Control {
    /// A control page at the start of segment 0.
    #[cfg(loom)]
    #[allow(clippy::new_without_default, reason = "a plain constructor is what loom's types have")]
    pub fn new() -> Self {
        Self { head: Line::new(), active: Line::new() }
    }
}

#[cfg(not(loom))]
const _: () = {
    assert!(size_of::<Preamble>() == CONTROL_OFFSET);
    assert!(size_of::<Control>() == 256);
    assert!(core::mem::offset_of!(Control, active) == 128);
    assert!(CONTROL_OFFSET + size_of::<Control>() <= NAME_OFFSET);
    assert!(NAME_OFFSET + NAME_BYTES <= BASES_OFFSET);
};
