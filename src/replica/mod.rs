//! A log and the snapshots of the state that it leads to: who joins late loads the state and reads on.

mod join;
mod owner;

pub use join::Joined;
pub use owner::StateOwner;

use crate::error::{JoinError, LoadError, ReplicaError};
use crate::log::{Log, ReaderBuilder, Start};
use crate::snapshot::{Loaded, Snapshot, SnapshotReader};
use crate::wait::standing_by;
use std::time::Duration;

/// A log together with a snapshot slot that holds the state after some record of it.
///
/// One process, the owner, publishes its state now and then, each time with the position of the last record
/// in it. While it lives, the log does not give up the record after that one. So a newcomer, at any
/// time and without stopping anyone, loads the state, reads on from there, and is in step. Cheap to clone.
///
/// ```
/// use shmlog::{Log, Replica, Snapshot};
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let log = Log::builder().create_memfd("feed")?;
/// let snapshot = Snapshot::builder().create_memfd("sum")?;
/// let replica = Replica::new(&log, &snapshot);
/// let mut appender = log.appender()?;
///
/// // The owner adds up what it reads.
/// let mut owner = replica.own("adder")?;
/// let mut adder = replica.join()?.reader;
/// let mut sum = 0_u64;
/// for value in [1_u64, 2, 3] {
///     let seq = appender.append_value(&value)?;
///     sum += adder.try_next()?.expect("just appended").read::<u64>()?;
///     owner.publish(seq, &sum)?;
/// }
/// appender.append_value(&4_u64)?;
///
/// // A newcomer starts with the sum and reads only what is not in it.
/// let mut late = replica.join()?;
/// let state = late.state.expect("published above");
/// let mut sum = u64::from_le_bytes(state.value.as_slice().try_into()?);
/// while let Some(record) = late.reader.try_next()? {
///     sum += record.read::<u64>()?;
/// }
/// assert_eq!((state.as_of, sum), (Some(2), 10));
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Replica {
    log: Log,
    snapshot: Snapshot,
    slot: usize,
}

impl Replica {
    /// This log with slot 0 of this snapshot.
    pub fn new(log: &Log, snapshot: &Snapshot) -> Self {
        Self::with_slot(log, snapshot, 0)
    }

    /// This log with one slot of this snapshot.
    pub fn with_slot(log: &Log, snapshot: &Snapshot, slot: usize) -> Self {
        Self { log: log.clone(), snapshot: snapshot.clone(), slot }
    }

    /// The log.
    pub fn log(&self) -> &Log {
        &self.log
    }

    /// The snapshot.
    pub fn snapshot(&self) -> &Snapshot {
        &self.snapshot
    }

    /// The slot that holds the state.
    pub fn slot(&self) -> usize {
        self.slot
    }

    /// Joins late: the newest state and a free reader of what comes after it.
    ///
    /// # Errors
    /// As [`Replica::join_by`].
    pub fn join(&self) -> Result<Joined<Vec<u8>>, ReplicaError> {
        self.join_with(self.log.reader_builder())
    }

    /// Joins late with a reader of these settings, made by [`Log::reader_builder`] of this log.
    ///
    /// # Errors
    /// As [`Replica::join_by`].
    pub fn join_with(&self, reader: ReaderBuilder<'_>) -> Result<Joined<Vec<u8>>, ReplicaError> {
        self.join_by(reader, SnapshotReader::load_bytes)
    }

    /// Joins late, loading the state by `load`, such as [`SnapshotReader::load`] of plain data.
    ///
    /// Nobody is stopped: the newcomer holds the records after the state while it loads, as the owner does,
    /// and a gated reader goes on doing so. If the owner publishes meanwhile, the newer state is taken. If
    /// nothing was published yet there is no state, and the reader starts at record 0.
    ///
    /// # Errors
    /// [`ReplicaError::Gone`]: no owner lives and the log has gone on without one;
    /// [`ReplicaError::NoPosition`]: the state was published without a position; else what taking the
    /// reader or loading brings.
    pub fn join_by<S>(
        &self,
        reader: ReaderBuilder<'_>,
        load: impl FnMut(&mut SnapshotReader) -> Result<Option<Loaded<S>>, LoadError>,
    ) -> Result<Joined<S>, ReplicaError> {
        join::join(self, reader, load)
    }

    /// Becomes the owner of the state, after the one before has died or let go. `name` is what others see of
    /// the place that keeps the log. Until the first publication record 0 is kept.
    ///
    /// To go on from what the one before published last, then join, apply what the reader brings, and publish.
    /// An owner needs the log with `Access::Read` and the snapshot with `Access::Append`; who joins, both with
    /// `Access::Read`, or `Observe`.
    ///
    /// Where retention would pass the state's position, appenders wait for this owner as for a gated
    /// reader: it must publish in time. In a log that overwrites, pin the reader that the state is made from, so
    /// that it is waited for too.
    ///
    /// # Errors
    /// [`ReplicaError::Join`] with `WriterAttached`: there is one; [`ReplicaError::Gone`]: the log has given
    /// up what comes after the last state, see [`Replica::own_at`].
    pub fn own(&self, name: &str) -> Result<StateOwner, ReplicaError> {
        StateOwner::join(self, name, None)
    }

    /// Becomes the owner of the state when the one before has died or let go; waits for that at most `timeout`.
    /// For a process that stands by.
    ///
    /// # Errors
    /// As [`Replica::own`].
    pub fn own_within(&self, name: &str, timeout: Duration) -> Result<StateOwner, ReplicaError> {
        let is_taken = |error: &ReplicaError| matches!(error, ReplicaError::Join(JoinError::WriterAttached));
        standing_by(timeout, || self.own(name), is_taken)
    }

    /// Becomes the owner of the state as [`Replica::own`] does, but without regard to what was published
    /// before: records are kept from `start` on. For an owner that makes a new state from another source.
    ///
    /// # Errors
    /// As [`Replica::own`].
    pub fn own_at(&self, name: &str, start: Start) -> Result<StateOwner, ReplicaError> {
        StateOwner::join(self, name, Some(start))
    }
}
