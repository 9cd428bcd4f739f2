//! The operating system: the only files with system calls. Nothing here knows what a log is.

pub(crate) mod barrier;
pub(crate) mod futex;
pub(crate) mod inspect;
pub(crate) mod lock;
pub(crate) mod map;
pub(crate) mod memory;
pub(crate) mod reopen;
pub(crate) mod socket;
