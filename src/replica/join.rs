//! Joining late.

use crate::error::{JoinError, LoadError, ReplicaError};
use crate::log::{Reader, ReaderBuilder, Start};
use crate::replica::Replica;
use crate::snapshot::{Loaded, SnapshotReader, Stamp};
use std::time::{Duration, Instant};

/// How often a newcomer begins anew: each time the owner has published and the log has come round
/// in between.
const ATTEMPTS: u32 = 1000;
/// After so many it gives up once they have taken long: a hostile owner could have every load take a second.
const FEW_ATTEMPTS: u32 = 8;
const LONG: Duration = Duration::from_secs(10);

/// What a newcomer begins with, by [`Replica::join`].
#[derive(Debug)]
pub struct Joined<S> {
    /// The state up to and with record `as_of`; `None` before the first was published.
    pub state: Option<Loaded<S>>,
    /// Stands at the record after it.
    pub reader: Reader,
}

/// The record after what a stamp says is in the state.
pub(super) fn next_seq(stamp: Option<Stamp>) -> Result<u64, ReplicaError> {
    let Some(stamp) = stamp else { return Ok(0) };
    stamp.as_of.map(|seq| seq.saturating_add(1)).ok_or(ReplicaError::NoPosition)
}

pub(super) fn join<S>(
    replica: &Replica,
    builder: ReaderBuilder<'_>,
    mut load: impl FnMut(&mut SnapshotReader) -> Result<Option<Loaded<S>>, LoadError>,
) -> Result<Joined<S>, ReplicaError> {
    if builder.log.mapped().traits().id != replica.log.mapped().traits().id {
        return Err(ReplicaError::OtherLog);
    }
    let mut slot = replica.snapshot.reader_of(replica.slot)?;
    let mut gone = None;
    let started = Instant::now();
    for attempt in 0..ATTEMPTS {
        if attempt >= FEW_ATTEMPTS && started.elapsed() >= LONG {
            break;
        }
        let stamp = slot.stamp()?;
        let next = next_seq(stamp)?;
        // A state that is current is held by its owner; one that was replaced since is not.
        match hold_and_load(&builder, next, &mut slot, &mut load) {
            Err(ReplicaError::Join(JoinError::Gone { seq, oldest })) => gone = Some((seq, oldest)),
            Ok(Joined { state: None, .. }) if stamp.is_some() => return Err(ReplicaError::NotLoaded),
            done => return done,
        }
    }
    let (seq, oldest) = gone.unwrap_or_default();
    Err(ReplicaError::Gone { seq, oldest })
}

fn hold_and_load<S>(
    builder: &ReaderBuilder<'_>,
    next: u64,
    slot: &mut SnapshotReader,
    load: &mut impl FnMut(&mut SnapshotReader) -> Result<Option<Loaded<S>>, LoadError>,
) -> Result<Joined<S>, ReplicaError> {
    let mut reader = hold(builder, next)?;
    let state = load(slot)?;
    if let Some(state) = &state {
        let seq = state.as_of.ok_or(ReplicaError::NoPosition)?;
        reader.seek(seq.saturating_add(1))?;
    }
    if !builder.is_gated {
        reader.unpin_if_retained();
    }
    Ok(Joined { state, reader })
}

/// A reader at `next` that holds it. Where the log would have given it up but for the owner, it enters beside
/// that.
fn hold(builder: &ReaderBuilder<'_>, next: u64) -> Result<Reader, JoinError> {
    let pinned = builder.clone().start(Start::At(next)).and_then(|mut reader| {
        match reader.pin() {
            // Without a seat, whatever it lacks for one, nothing is held, and seeking finds out.
            Ok(()) | Err(JoinError::NoSeat | JoinError::Os { .. } | JoinError::Attach(_)) => Ok(reader),
            Err(error) => Err(error),
        }
    });
    match pinned {
        Err(JoinError::Gone { .. }) => Reader::join_beside(builder, next),
        pinned => pinned,
    }
}
