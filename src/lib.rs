#![doc = "placeholder"]
#![deny(unsafe_code)]

mod core;
mod hint;
mod layout;
mod sync;

#[cfg(not(loom))]
mod anchor;
#[cfg(not(loom))]
mod error;
#[cfg(not(loom))]
mod mapped;
#[cfg(not(loom))]
mod preamble;
#[cfg(not(loom))]
mod region;
#[cfg(not(loom))]
mod sys;

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
