//! One error type per operation. Each says what to do about it.

mod append;
mod arena;
mod hub;
mod join;
mod journal;
mod pass;
mod read;
mod region;
mod replica;
mod said;
mod snapshot;

pub use append::{AppendError, CommitError};
pub use arena::ArenaError;
pub use hub::HubError;
pub use join::JoinError;
pub use journal::JournalError;
pub use pass::PassError;
pub use read::ReadError;
pub use region::{AttachError, CreateError};
pub use replica::ReplicaError;
pub use snapshot::{LoadError, PublishError};
