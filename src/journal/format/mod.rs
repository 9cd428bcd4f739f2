//! The bytes of a journal's files. No input or output here.
//!
//! ```text
//! NUMBER.log      one for each run of records; NUMBER is the first one's sequence number, 20 digits
//! 0       header  128 bytes and zeroes (`header`)
//! 4096    frames, one after the other, each 8-byte aligned (`frame`)
//!
//! control         two copies of 512 bytes, written by turns, 4096 apart (`control`)
//! ```

pub(crate) mod control;
pub(crate) mod frame;
pub(crate) mod header;

/// Where the frames of a file begin, and the distance of the copies in `control`: no disk tears a write to one into
/// the other.
pub(crate) const BLOCK_BYTES: u64 = BLOCK as u64;
/// The same, in memory.
pub(crate) const BLOCK: usize = 4096;

/// The highest number of a record, and of what else is counted in files: no journal gets so far in the life of a machine.
/// What says more is not a journal's, and nothing that is counted on from less overflows.
pub(crate) const MAX_SEQ: u64 = (1 << 56) - 1;

/// The format that this crate writes and reads.
pub(crate) const JOURNAL_VERSION: u32 = 1;

/// Why bytes are not what they should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unfit {
    /// Something else, or nothing.
    Foreign,
    /// A journal of another format.
    Version(u32),
    /// The checksum is wrong.
    Damaged,
}
