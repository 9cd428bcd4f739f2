//! One error type per operation. Each says what to do about it.

mod append;
mod arena;
mod join;
mod pass;
mod read;
mod region;
mod snapshot;

pub use append::{AppendError, CommitError};
pub use arena::ArenaError;
pub use join::JoinError;
pub use pass::PassError;
pub use read::ReadError;
pub use region::{AttachError, CreateError};
pub use snapshot::{LoadError, PublishError};
