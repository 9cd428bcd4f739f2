//! Passing regions on.

use crate::error::AttachError;
use std::io;

/// Why a region was not passed on, or not received.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PassError {
    /// The other process is gone, or closed its end.
    #[error("the peer closed the socket")]
    Gone,
    /// The other process did not answer.
    #[error("the peer did not answer within {waited_ms} ms")]
    Timeout {
        /// Milliseconds waited.
        waited_ms: u128,
    },
    /// What arrived is not an offer or an answer of this crate.
    #[error("the peer does not speak this protocol: {what}")]
    Foreign {
        /// What is wrong with it.
        what: &'static str,
    },
    /// The other process speaks another version of the protocol.
    #[error("the peer speaks protocol version {theirs}, this process {ours}: use the same version of shmlog")]
    Version {
        /// The peer's version.
        theirs: u32,
        /// Ours.
        ours: u32,
    },
    /// The regions are not what the offer says.
    #[error("the offer and the region differ in {field}")]
    Mismatch {
        /// In what.
        field: &'static str,
    },
    /// The receiver could not use what it was sent; it knows why.
    #[error("the peer refused the region: {reason}")]
    Refused {
        /// Its reason, in short.
        reason: &'static str,
    },
    /// More was asked for than this process may give.
    #[error("this process has it for reading only and can't pass it on for writing")]
    ReadOnly,
    /// The region is sealed against writing.
    #[error("it is sealed: only the process that made it can write to it, and nobody can be given more than reading")]
    Sealed,
    /// `shmlog::inherited` in a process that no `Log::spawn` started, or called twice.
    #[error(
        "nothing was inherited: the environment variable {variable} is missing, names no socket, or was used before"
    )]
    NotInherited {
        /// The variable.
        variable: &'static str,
    },
    /// The region can't be used.
    #[error(transparent)]
    Attach(#[from] AttachError),
    /// The system refused.
    #[error("{doing}: {error}")]
    Os {
        /// What was tried.
        doing: &'static str,
        /// What the system said.
        error: io::Error,
    },
}

impl PassError {
    pub(crate) fn os(doing: &'static str, error: impl Into<io::Error>) -> Self {
        Self::Os { doing, error: error.into() }
    }
}
