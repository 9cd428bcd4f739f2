//! Taking handles.

use crate::error::AttachError;
use crate::error::region::is_no_proc;
use std::io;

/// Why a handle could not be had.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum JoinError {
    /// The log was opened or received for reading only.
    #[error("it is open for reading only: open it with Access::Append, or be sent it so")]
    ReadOnly,
    /// The board is mapped for reading only here, and what was asked for needs a place on it.
    #[error(
        "it is open for looking on only: to pin, or have appenders wait, open it with Access::Read, or be sent it so"
    )]
    Observing,
    /// An exclusive appender is attached.
    #[error("an exclusive appender is attached: only one appender while it lives")]
    ExclusiveAttached,
    /// Other appenders are attached.
    #[error("other appenders are attached: an exclusive one must be alone")]
    OthersAttached,
    /// A writer of the snapshot, or of that slot, is attached.
    #[error("another writer of these slots is attached, only one can while it lives: wait (`Snapshot::writer_within`)")]
    WriterAttached,
    /// The snapshot has fewer slots.
    #[error("there is no slot {index}, the snapshot has {slots}")]
    NoSlot {
        /// The slot wanted.
        index: usize,
        /// Slots there are.
        slots: usize,
    },
    /// No slot of the snapshot has this name.
    #[error("no slot is called {name:?}: `Snapshot::names` tells those that are")]
    NoName {
        /// The name.
        name: String,
    },
    /// All slots are taken by the living.
    #[error(
        "all {slots} slots for this role are taken: make it with more (`LogBuilder::slots`, `SnapshotBuilder::seats`)"
    )]
    BoardFull {
        /// Slots there are.
        slots: usize,
    },
    /// A gate needs a log that waits for it.
    #[error("the log overwrites its oldest records: gated readers need Retention::Gated or Keep")]
    NotGated,
    /// The reader has no slot on the board.
    #[error("the reader has no slot on the board to hold a record with")]
    NoSeat,
    /// The record has been given up.
    #[error("record {seq} has been given up, the oldest is {oldest}")]
    Gone {
        /// The record wanted.
        seq: u64,
        /// The oldest one retained.
        oldest: u64,
    },
    /// The record does not exist yet.
    #[error("record {seq} does not exist yet")]
    Ahead {
        /// The record wanted.
        seq: u64,
    },
    /// The region breaks its own rules.
    #[error("the control page or an index is damaged: a peer wrote what no peer may")]
    Corrupt,
    /// This process can't take part.
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

impl JoinError {
    pub(crate) fn os(doing: &'static str, error: impl Into<io::Error>) -> Self {
        let error = error.into();
        if is_no_proc(&error) { Self::Attach(AttachError::NoProc) } else { Self::Os { doing, error } }
    }
}
