//! Reading.

/// Why there is no record to be had.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// The reader was slower than the log is long. It stands at `next` now, and each record missed is
    /// counted once.
    #[error("{missed} records were given up before they were read; the next is {next}")]
    Lagged {
        /// Records it will never see.
        missed: u64,
        /// The oldest record retained.
        next: u64,
    },
    /// This record was given up: before it was asked for by number, or while its bytes were being
    /// read. The reader stays where it is; one that reads in order has passed this record, and
    /// [`ReadError::Lagged`] does not count it again.
    #[error("record {seq} has been given up, the oldest is {oldest}")]
    GivenUp {
        /// The record.
        seq: u64,
        /// The oldest one retained.
        oldest: u64,
    },
    /// The log is closed and everything was read.
    #[error("the log is closed")]
    Closed,
    /// A word that no honest appender commits.
    #[error("the entry of record {seq} is damaged: a peer wrote what no peer may")]
    Corrupt {
        /// Where.
        seq: u64,
    },
    /// Memory behind the log is gone: somebody truncated its file, or punched a hole that can't be filled.
    #[error(
        "memory behind the log is gone: its file was truncated, a hole in it can't be filled, or a peer wiped it; make it anew"
    )]
    MemoryLost,
    /// A value of another size was asked for.
    #[error("the record has {found_bytes} bytes, wanted are {wanted_bytes}")]
    WrongLength {
        /// Its length.
        found_bytes: usize,
        /// What fits.
        wanted_bytes: usize,
    },
    /// In-place access to a record that may be recycled, or can't be written.
    #[error("in-place access needs a gated or pinned reader, or a log that keeps everything")]
    NotHeld,
    /// In-place mutation on a read-only mapping.
    #[error("the log is open for reading only")]
    ReadOnly,
}
