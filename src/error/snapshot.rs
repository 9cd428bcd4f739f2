//! Publishing and loading snapshots.

use crate::error::JoinError;
use crate::participant::Holder;
use std::io;

/// Why a value was not published. The one before it stays.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PublishError {
    /// Every buffer but the current one is pinned by a living reader. Try again when it has moved on.
    #[error(
        "no buffer is free, {by} pins one: make the snapshot with more buffers (those pinned at once, and two), or pin for shorter"
    )]
    Busy {
        /// One of those who pin.
        by: Holder,
    },
    /// A value longer than the slot.
    #[error("a value of {len_bytes} bytes is too large, the limit is {limit_bytes}")]
    TooLarge {
        /// Bytes wanted.
        len_bytes: u64,
        /// Bytes allowed.
        limit_bytes: u64,
    },
    /// A value of another length, where all have the same.
    #[error("a value of {len_bytes} bytes: all values here have {value_bytes}")]
    WrongLength {
        /// Bytes wanted.
        len_bytes: u64,
        /// Bytes of every value.
        value_bytes: u64,
    },
    /// The slot has had as many versions as can be counted.
    #[error("slot {index} has had as many versions as can be counted: use another one, or make the snapshot anew")]
    Exhausted {
        /// The slot.
        index: usize,
    },
    /// No memory for a value that is longer than those before it.
    #[error("no room for {wanted_bytes} bytes: free memory, or raise the limit of the file system")]
    NoSpace {
        /// Bytes wanted.
        wanted_bytes: u64,
    },
    /// This writer does not own that slot.
    #[error("slot {index} is not this writer's: it owns {first} to {last}")]
    NoSlot {
        /// The slot wanted.
        index: usize,
        /// The first it owns.
        first: usize,
        /// The last it owns.
        last: usize,
    },
    /// The slot has a name, or the name does not fit.
    #[error("slot {index} can't be called {name:?}: names have 1 to 32 bytes, are given once, and to one slot")]
    Name {
        /// The slot.
        index: usize,
        /// The name wanted.
        name: String,
    },
    /// Memory behind the snapshot is gone: somebody truncated its file, or punched a hole that can't be filled.
    #[error(
        "memory behind the snapshot is gone: its file was truncated, a hole in it can't be filled, or a peer wiped it; make it anew"
    )]
    MemoryLost,
    /// The value can't be serialized.
    #[error("the value can't be serialized: {reason}")]
    Serialize {
        /// Why.
        reason: String,
    },
    /// The system refused.
    #[error("{doing}: {error}")]
    Os {
        /// What was tried.
        doing: &'static str,
        /// What the system said.
        error: io::Error,
    },
}

/// Why a value was not loaded.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoadError {
    /// Each attempt was overtaken by the writer: 10,000 of them, or at least eight that took a second in all.
    #[error(
        "{attempts} attempts to copy were overtaken: the writer publishes faster than this reader copies; use more buffers, or pin"
    )]
    Overtaken {
        /// Attempts made.
        attempts: u32,
    },
    /// A value of another size was asked for.
    #[error("the value has {found_bytes} bytes, wanted are {wanted_bytes}")]
    WrongLength {
        /// Its length.
        found_bytes: u64,
        /// What fits.
        wanted_bytes: u64,
    },
    /// A length or an announcement that no honest writer stores, or bytes that were never allocated.
    #[error("slot {index} is damaged: its writer broke the rules")]
    Corrupt {
        /// The slot.
        index: usize,
    },
    /// Memory behind the snapshot is gone: somebody truncated its file, or punched a hole that can't be filled.
    #[error(
        "memory behind the snapshot is gone: its file was truncated, a hole in it can't be filled, or a peer wiped it; make it anew"
    )]
    MemoryLost,
    /// The bytes are no archive of that type.
    #[error("the value is no archive of that type: {reason}")]
    Invalid {
        /// Why.
        reason: String,
    },
    /// A pin needs a seat on the board.
    #[error("no seat to pin from: {0}")]
    NoSeat(JoinError),
    /// The kernel refuses the barrier that a pin needs.
    #[error("membarrier(2) is refused: create the snapshot with Fencing::Portable, or copy instead of pinning")]
    NoBarrier,
}
