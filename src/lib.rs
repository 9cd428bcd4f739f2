#![doc = "placeholder"]
#![deny(unsafe_code)]

mod core;
mod hint;
mod layout;
mod sync;

#[cfg(not(loom))]
mod anchor;
#[cfg(not(loom))]
mod arena;
#[cfg(not(loom))]
mod error;
#[cfg(not(loom))]
mod log;
#[cfg(not(loom))]
mod mapped;
#[cfg(not(loom))]
mod pass;
#[cfg(not(loom))]
mod preamble;
#[cfg(not(loom))]
mod region;
#[cfg(not(loom))]
mod sys;

#[cfg(not(loom))]
pub use crate::arena::{Allocation, Arena, Typed};
#[cfg(not(loom))]
pub use crate::core::memory::Retention;
#[cfg(not(loom))]
pub use crate::error::{
    AppendError, ArenaError, AttachError, CommitError, CreateError, JoinError, PassError, ReadError,
};
#[cfg(not(loom))]
pub use crate::layout::geometry::BadGeometry;
#[cfg(not(loom))]
pub use crate::log::*;
#[cfg(not(loom))]
pub use crate::pass::{Worker, inherited};
#[cfg(not(loom))]
pub use crate::sync::Fencing;

/// What the model checker's crate sees: the shipped algorithms and the words they borrow.
#[cfg(loom)]
pub mod model {
    pub use crate::core::*;
    /// The words.
    pub mod layout {
        pub use crate::layout::*;
    }
    /// The atomics.
    pub mod sync {
        pub use crate::sync::*;
    }
}
