//! The operating system: the only files with system calls. Nothing here knows what a log is.

pub(crate) mod barrier;
pub(crate) mod bell;
pub(crate) mod disk;
pub(crate) mod fault;
pub(crate) mod futex;
pub(crate) mod handle;
pub(crate) mod inspect;
pub(crate) mod lock;
pub(crate) mod map;
pub(crate) mod memory;
pub(crate) mod packet;
pub(crate) mod poll;
pub(crate) mod process;
pub(crate) mod quota;
pub(crate) mod reopen;
pub(crate) mod rights;
pub(crate) mod socket;
pub(crate) mod untouched;
