//! The journal through its public face, one process at a time.

mod basics;
mod cursors;
mod retention;
