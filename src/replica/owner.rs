//! Owning the state.

use crate::error::{JoinError, PublishError, ReplicaError};
use crate::log::{Reader, Start};
use crate::replica::Replica;
use crate::replica::join::next_seq;
use crate::snapshot::{SlotWriter, SnapshotReader, SnapshotWriter};
use zerocopy::{Immutable, IntoBytes};

/// Publishes the state that a log leads to, by [`Replica::own`]; the only one while its process lives.
///
/// It holds the record after the newest state, so that a newcomer can read on from there. Drop it, or let
/// its process die, and the log goes on without regard to the state.
#[derive(Debug)]
pub struct StateOwner {
    writer: SnapshotWriter,
    slot: SnapshotReader,
    /// Stands, pinned, at the record after the state that newcomers are given.
    anchor: Reader,
}

impl StateOwner {
    pub(super) fn join(replica: &Replica, name: &str, start: Option<Start>) -> Result<Self, ReplicaError> {
        // First of all: nobody else publishes from here on.
        let writer = replica.snapshot.writer_of(replica.slot)?;
        let mut slot = replica.snapshot.reader_of(replica.slot)?;
        let start = match start {
            Some(start) => start,
            None => Start::At(next_seq(slot.stamp()?)?),
        };
        let gone = |error| match error {
            JoinError::Gone { seq, oldest } => ReplicaError::Gone { seq, oldest },
            JoinError::Ahead { seq } => ReplicaError::Ahead { as_of: seq.saturating_sub(1) },
            other => ReplicaError::Join(other),
        };
        let mut anchor = replica.log.reader_builder().name(name).start(start).map_err(gone)?;
        anchor.pin().map_err(gone)?;
        anchor.admit_others();
        Ok(Self { writer, slot, anchor })
    }

    /// Publishes plain data as the state up to and with record `as_of`. Returns the version.
    ///
    /// # Errors
    /// As [`StateOwner::publish_by`].
    pub fn publish<T: IntoBytes + Immutable + ?Sized>(&mut self, as_of: u64, state: &T) -> Result<u64, ReplicaError> {
        self.publish_by(as_of, |slot| slot.publish(state))
    }

    /// Publishes bytes as the state up to and with record `as_of`. Returns the version.
    ///
    /// # Errors
    /// As [`StateOwner::publish_by`].
    pub fn publish_bytes(&mut self, as_of: u64, state: &[u8]) -> Result<u64, ReplicaError> {
        self.publish_by(as_of, |slot| slot.publish_bytes(state))
    }

    /// Publishes any value that rkyv can serialize as the state up to and with record `as_of`. Returns the
    /// version.
    ///
    /// # Errors
    /// As [`StateOwner::publish_by`].
    #[cfg(feature = "rkyv")]
    pub fn publish_archive<T>(&mut self, as_of: u64, state: &T) -> Result<u64, ReplicaError>
    where
        T: for<'a> crate::snapshot::Archivable<'a>,
    {
        self.publish_by(as_of, |slot| slot.publish_archive(state))
    }

    /// Publishes the state up to and with record `as_of` by any method of the slot. Returns the version.
    ///
    /// Newcomers are given it from then on; then the log may give up what is in it.
    ///
    /// # Errors
    /// [`ReplicaError::Backwards`]: an older position than before; [`ReplicaError::Ahead`]: there is no such
    /// record yet; [`ReplicaError::Publish`]; [`ReplicaError::NotPublished`]: `publish` did something else. The
    /// log is kept as before.
    pub fn publish_by(
        &mut self,
        as_of: u64,
        publish: impl FnOnce(SlotWriter<'_>) -> Result<u64, PublishError>,
    ) -> Result<u64, ReplicaError> {
        let (next, kept_from) = (as_of.saturating_add(1), self.anchor.position());
        if next < kept_from {
            return Err(ReplicaError::Backwards { as_of, kept_from });
        }
        if !self.exists(as_of) {
            return Err(ReplicaError::Ahead { as_of });
        }
        let version = publish(self.writer.first().as_of(as_of))?;
        let newest = self.slot.stamp()?;
        if newest.map(|stamp| (stamp.version, stamp.as_of)) != Some((version, Some(as_of))) {
            return Err(ReplicaError::NotPublished { as_of });
        }
        self.anchor.seek(next)?;
        Ok(version)
    }

    /// Whether the record is there, or was before the one that is kept.
    fn exists(&self, seq: u64) -> bool {
        seq < self.anchor.position() || matches!(self.anchor.get(seq), Ok(Some(_)))
    }

    /// The record that the log is kept from.
    pub fn kept_from(&self) -> u64 {
        self.anchor.position()
    }

    /// The slot's writer, for its settings. What it publishes by itself has no position: newcomers are
    /// refused until the next state.
    pub fn writer(&mut self) -> &mut SnapshotWriter {
        &mut self.writer
    }
}
