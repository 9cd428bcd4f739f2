//! Passing regions on to other processes over Unix sockets (unix(7), SCM_RIGHTS).

mod message;
mod transfer;
mod worker;

pub use worker::{Worker, inherited};
