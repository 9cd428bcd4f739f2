//! Appending.

use crate::participant::Holder;

/// Why a record was not appended. Nothing of it is visible, and nothing was consumed; only with
/// [`AppendError::MemoryLost`] others, for whom not all is lost, may see it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AppendError {
    /// It can't fit any segment.
    #[error(
        "a record of {len_bytes} bytes is too large, the limit is {limit_bytes}: split it, or make the log with larger windows"
    )]
    TooLarge {
        /// Bytes wanted; for a batch, with eight bytes a part.
        len_bytes: usize,
        /// Bytes allowed.
        limit_bytes: usize,
    },
    /// No window is free. Try again when the holder has moved on.
    #[error("the log is full since record {since}: {}", holder(by.as_ref()))]
    Full {
        /// Who holds the oldest segment; nobody if the log keeps everything.
        by: Option<Holder>,
        /// First record of the segment in the way.
        since: u64,
    },
    /// Somebody closed the log.
    #[error("the log is closed")]
    Closed,
    /// The last segment that can be counted is full: records have numbers of 64 bits, and windows are used at most 2^42
    /// times. The log can be read, and closed.
    #[error("the log has counted as far as it can: close it and make a new one")]
    Exhausted,
    /// The region breaks its own rules.
    #[error("the control page or an index is damaged: a peer wrote what no peer may")]
    Corrupt,
    /// Memory behind the log is gone: somebody truncated its file, or punched a hole that can't be filled.
    #[error(
        "memory behind the log is gone: its file was truncated, a hole in it can't be filled, or a peer wiped it; make it anew"
    )]
    MemoryLost,
    /// The kernel refuses the recyclers' barrier, which it granted on attach.
    #[error("membarrier(2) is refused now: a seccomp filter installed since? Create the log with Fencing::Portable")]
    NoBarrier,
}

fn holder(by: Option<&Holder>) -> String {
    by.map_or_else(
        || "it keeps everything; make it with more or larger windows, or another retention".to_owned(),
        |holder| format!("{holder} holds it"),
    )
}

/// Why a reservation was not committed. The bytes come back, but where the memory they were in is gone.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{error}")]
pub struct CommitError {
    /// Why.
    pub error: AppendError,
    /// What had been written to the reservation.
    pub bytes: Vec<u8>,
}
