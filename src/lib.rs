//! One append-only log in shared memory, for processes on one Linux machine that must see the same
//! records in the same order within a few hundred nanoseconds: many producers and readers in many
//! processes, randomly accessible by sequence number.
//!
//! ```
//! use shmlog::{Log, Start};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let log = Log::builder().create_memfd("feed")?;
//! let mut appender = log.appender()?;
//! let mut reader = log.reader(Start::Oldest)?;
//!
//! let seq = appender.append(b"hello")?;
//! let record = reader.try_next()?.expect("just committed");
//! assert_eq!((record.seq(), record.to_vec()?), (seq, b"hello".to_vec()));
//! # Ok(())
//! # }
//! ```
//!
//! # What is promised
//!
//! 1. A record is committed by one atomic instruction. Before it nothing is visible, after it the
//!    record is there for everybody. A process killed at any instruction leaves no hole and no torn
//!    record, and blocks nobody.
//! 2. Sequence numbers are dense: 0, 1, 2, ... in one order for all appenders.
//! 3. Committed bytes do not change until their segment is recycled, and a reader learns of that
//!    ([`ReadError::Lagged`]); it never reads the mixture.
//! 4. Whatever a peer writes into the regions, safe calls return an error or wrong bytes. They do
//!    not fault, index out of bounds, or invoke undefined behaviour. If somebody truncates the files
//!    of a named log, or punches a hole that can't be filled, they return `MemoryLost`: see [`sigbus`],
//!    the one place where this crate changes something for the whole process. Memfds must be sealed
//!    against resizing.
//! 5. Readers need no write access to the log.
//! 6. Memory is allocated when the log is made. Appending and reading make no system call, no
//!    allocation and no page fault per record, unless a reader is asleep and must be woken; a segment's
//!    end costs an appender one `membarrier`.
//!
//! # What is where
//!
//! | to | use |
//! |---|---|
//! | make, open | [`Log::builder`], [`Log::open`], [`Log::observe`] |
//! | append | [`Log::appender`], [`Log::exclusive`], [`Appender`], [`Slot`] |
//! | read | [`Log::reader`], [`Log::reader_builder`], [`Reader`], [`Record`], [`View`] |
//! | pass on to processes | [`Log::send`], [`Log::receive`], [`Log::spawn`], [`inherited`] |
//! | look on | [`Log::info`], [`Access::Observe`], the tool `shmlog` |
//! | keep the latest value of something | [`Snapshot`], [`SnapshotWriter`], [`SnapshotReader`] |
//! | join late, in step | [`Replica`], [`StateOwner`] |
//! | make it durable, for processes that share a directory | [`Journal`], [`JournalAppender`], [`JournalReader`] |
//! | hand regions to workers by name | [`Hub`], [`HubClient`], [`hub`] |
//! | allocate | [`Arena`] |
//!
//! # Features
//!
//! `rkyv`: snapshots of any type that derives rkyv's traits (`SlotWriter::publish_archive`,
//! `SnapshotReader::load_archive`), strings and vectors too.
//!
//! `config`: settings of a journal from a file, in TOML or JSON (`JournalBuilder::from_file`).
//!
//! # Limits
//!
//! - Linux only, little-endian 64-bit targets.
//! - A record has at most 16 MiB - 2 bytes and fits in a segment.
//! - A process forked without exec shares its parent's handles and must neither use nor drop them;
//!   while it lives, so do its parent's locks.
//! - A named log on a disk is no journal: it survives processes, not power failures. A [`Journal`] does.
//! - In a log that many appenders share, a stopped (not dead) appender in the middle of an append
//!   holds its segment; the others go on until the log has come round to it and then learn who it is.
//!
//! The algorithms, the memory map and the argument for each ordering are in `ARCHITECTURE.md`.

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
mod create;
#[cfg(not(loom))]
mod directory;
#[cfg(not(loom))]
mod error;
#[cfg(not(loom))]
pub mod hub;
#[cfg(not(loom))]
mod journal;
#[cfg(not(loom))]
mod log;
#[cfg(not(loom))]
mod mapped;
#[cfg(not(loom))]
mod name;
#[cfg(not(loom))]
mod observe;
#[cfg(not(loom))]
mod participant;
#[cfg(not(loom))]
mod pass;
#[cfg(not(loom))]
mod preamble;
#[cfg(not(loom))]
mod region;
#[cfg(not(loom))]
mod replica;
#[cfg(not(loom))]
mod row;
#[cfg(not(loom))]
pub mod sigbus;
#[cfg(not(loom))]
mod snapshot;
#[cfg(not(loom))]
mod sys;
#[cfg(not(loom))]
mod wait;
mod wide;

#[cfg(not(loom))]
pub use crate::arena::{Allocation, Arena, Typed};
#[cfg(not(loom))]
pub use crate::core::memory::Retention;
#[cfg(not(loom))]
pub use crate::create::{HugePageSize, HugePages};
#[cfg(not(loom))]
pub use crate::error::HubError;
#[cfg(not(loom))]
pub use crate::error::{
    AppendError, ArenaError, AttachError, CommitError, CreateError, JoinError, JournalError, LoadError, PassError,
    PublishError, ReadError, ReplicaError,
};
#[cfg(not(loom))]
pub use crate::hub::{Hub, HubBuilder, HubClient, HubEvent, RunningHub};
#[cfg(not(loom))]
pub use crate::journal::*;
#[cfg(not(loom))]
pub use crate::layout::geometry::BadGeometry;
#[cfg(not(loom))]
pub use crate::log::*;
#[cfg(not(loom))]
pub use crate::participant::{Holder, Role};
#[cfg(not(loom))]
pub use crate::pass::{Worker, inherited};
#[cfg(not(loom))]
pub use crate::replica::{Joined, Replica, StateOwner};
#[cfg(not(loom))]
pub use crate::snapshot::*;
#[cfg(not(loom))]
pub use crate::sync::Fencing;
#[cfg(not(loom))]
pub use crate::wait::Wait;

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
