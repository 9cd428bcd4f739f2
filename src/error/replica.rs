//! Joining late, and owning the state.

use crate::error::{JoinError, LoadError, PublishError};

/// Why a state and its log do not go together.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReplicaError {
    /// The log has given up records that are not in the state: its owner died, and it went on.
    #[error(
        "record {seq} is not in the newest state and has been given up, the oldest is {oldest}: an owner must publish a newer state (`Replica::own_at` becomes it)"
    )]
    Gone {
        /// The first record that is not in the state.
        seq: u64,
        /// The oldest one retained.
        oldest: u64,
    },
    /// The state was published without a position.
    #[error("the newest state says no log position: publish it with one")]
    NoPosition,
    /// The state would be older than the one before.
    #[error("a state up to record {as_of} is older than the one before: the log is kept from record {kept_from} on")]
    Backwards {
        /// The position of the state.
        as_of: u64,
        /// The record after the state before.
        kept_from: u64,
    },
    /// The state would hold a record that does not exist.
    #[error(
        "record {as_of} does not exist yet, so no state can hold it; `Replica::own_at` begins without regard to one"
    )]
    Ahead {
        /// The position of the state.
        as_of: u64,
    },
    /// What was to publish a state published none, or one of another position.
    #[error("no state up to record {as_of} was published: publish to the slot that was given, with its position")]
    NotPublished {
        /// The position.
        as_of: u64,
    },
    /// There is a state, and the loader brought nothing.
    #[error(
        "the loader brought nothing though there is a state: it must load the newest value, whatever was loaded before"
    )]
    NotLoaded,
    /// The reader's settings are those of another log.
    #[error("the reader is to read another log: make its settings by `replica.log().reader_builder()`")]
    OtherLog,
    /// A handle could not be had.
    #[error(transparent)]
    Join(#[from] JoinError),
    /// The state could not be loaded.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// The state could not be published.
    #[error(transparent)]
    Publish(#[from] PublishError),
}
