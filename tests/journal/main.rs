//! The journal through its public face, one process at a time.

mod basics;
#[path = "../common/mod.rs"]
mod common;
mod cursors;
mod deletion;
mod files;
mod home;
mod index;
mod named;
mod read_only;
mod repair;
mod retention;
mod told;
mod verify;
