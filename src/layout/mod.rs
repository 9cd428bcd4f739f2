//! The bytes: what lies where in a region and in the board, field by field.
//!
//! ```text
//! log region
//! 0      Preamble   magic, version, id, geometry; written once, magic last
//! 128    Control    head, active: one line pair each
//! 512    name       64 bytes, zero padded
//! 4096   bases      N x u64: first sequence number of the segment in each window
//! first  window 0 | window 1 | ... | window N-1
//!
//! window
//! 0      bump       lap 42 | lines handed out 22
//! 128    index      E x u64: the commit words (`entry`)
//! arena  64-byte aligned, to the end of the window
//! ```
//!
//! All words are little endian. Fields are atomics because another process may write any of them
//! at any time; every bit pattern is a valid value.

pub mod board;
pub mod control;
pub mod entry;
pub mod geometry;
#[cfg(not(loom))]
pub mod journal;
pub mod slots;
#[cfg(not(loom))]
pub mod text;
pub mod words;

#[cfg(target_endian = "big")]
compile_error!("shmlog's regions are little endian and read in place; big-endian targets are not supported");

/// Bytes of a cache line.
pub const LINE_BYTES: usize = 64;
/// Bytes that two fields of different writers are kept apart: a line and the one the adjacent-line
/// prefetcher fetches with it.
pub const LINE_PAIR_BYTES: usize = 128;
/// Words of eight bytes in a cache line.
pub const LINE_WORDS: u32 = 8;
/// Commit words in a cache line of the index; two under loom, to keep models small.
pub const LINE_ENTRIES: usize = if cfg!(loom) { 2 } else { 8 };

/// A word alone on its pair of cache lines.
#[repr(C, align(128))]
#[derive(Debug)]
pub struct Line(pub crate::sync::AtomicU64);

impl Line {
    /// A line holding zero.
    #[cfg(loom)]
    #[allow(clippy::new_without_default, reason = "a plain constructor is what loom's types have")]
    pub fn new() -> Self {
        Self(crate::sync::AtomicU64::new(0))
    }
}
