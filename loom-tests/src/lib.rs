//! What the models share. The models themselves are in `tests/`, one file per topic; they call the
//! shipped functions of `shmlog::model`.
//!
//! Every role is spawned and the main thread only sets up, joins and checks: loom can miss
//! executions in which the main thread takes part (tokio-rs/loom#392). Every model names the
//! outcomes that make it worth running and fails if no execution reached them ([`Seen`]).
//!
//! Beyond values, a [`Heap`] and a [`Snapshot`] check that accesses to payload words are ordered, not only that they
//! happened to come in the right order: loom doesn't explore load buffering, so that a read which is
//! overtaken by a later write shows up only as a race of the word's shadow.
#![cfg(loom)]

mod expedited;
mod heap;
mod mortal;
mod roles;
mod seen;
mod shadow;
mod snapshot;

pub use expedited::{Expedited, Light};
pub use heap::{Heap, Shape};
pub use mortal::{Kernel, Mortal, Watched, mortal};
pub use roles::{
    Look, append, append_past_the_dead, appender, closer, dense, drain, helper, recycle_at_one_look, spawn,
    step_freely, two_segments,
};
pub use seen::{Seen, check, check_at, check_deaths};
pub use snapshot::{
    Snapshot, User, WRITER, load, pin_and_read, publish, publish_many, publish_past_the_dead, read_and_unpin, write,
};
