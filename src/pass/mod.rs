//! Passing regions on to other processes over Unix sockets (unix(7), SCM_RIGHTS).

pub(crate) mod message;
pub(crate) mod passable;
pub(crate) mod transfer;
pub(crate) mod worker;

pub use worker::{Worker, inherited};
