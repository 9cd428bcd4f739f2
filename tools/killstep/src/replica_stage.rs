//! A log and a snapshot of the state that it leads to: an owner, and who joins late.

use crate::record::{Author, Ledger, bytes};
use crate::replica_play as play;
use crate::route::End;
use crate::slot_stage::{number_of, value};
use crate::stage::{Aftermath, Effect, Operation, Stage, VICTIM};
use anyhow::{Context, Result, bail, ensure};
use shmlog::{AppendError, Appender, JoinError, Log, Replica, ReplicaError, Retention, Snapshot, StateOwner};
use std::time::{Duration, Instant};

const WINDOWS: u64 = 4;
const ENTRIES: u64 = 8;
/// Records before the operation: not all in the first segment.
const BEFORE: u64 = 10;
/// The last record that is in the state before the operation.
const AS_OF: u64 = 3;
pub(crate) const STATE_BYTES: usize = 64;

/// An operation of an owner, or of one who joins late beside an owner who survives.
struct ReplicaOperation {
    name: &'static str,
    effect: Effect,
    has_owner: bool,
    play: fn(&ReplicaStage<'_>) -> Result<u64>,
}

impl Operation for ReplicaOperation {
    fn name(&self) -> &'static str {
        self.name
    }

    fn end(&self) -> End {
        End::Mark
    }

    fn effect(&self) -> Effect {
        self.effect
    }

    fn every(&self) -> usize {
        1
    }

    fn stage(&self) -> Result<Box<dyn Stage + '_>> {
        Ok(Box::new(ReplicaStage::set(self)?))
    }
}

/// See the module.
pub(crate) struct ReplicaStage<'o> {
    operation: &'o ReplicaOperation,
    pub(crate) replica: Replica,
    appender: Appender,
    /// Number of the next record; its sequence number too.
    next: u64,
    /// Of the newest state that was published by those who survive.
    as_of: u64,
    owner: Option<StateOwner>,
    /// The newest record before the operation.
    newest_before: u64,
}

impl<'o> ReplicaStage<'o> {
    fn set(operation: &'o ReplicaOperation) -> Result<Self> {
        let log = Log::builder().windows(WINDOWS).window_bytes(64 << 10).entries(ENTRIES).slots(1, 3);
        let log = log.retention(Retention::Gated).create_memfd("killstep")?;
        let snapshot = Snapshot::builder().capacity_bytes(STATE_BYTES as u64).create_memfd("killstep")?;
        let replica = Replica::new(&log, &snapshot);
        let appender = log.appender_named("survivor")?;
        let mut stage =
            Self { operation, replica, appender, next: 0, as_of: 0, owner: None, newest_before: BEFORE - 1 };
        for _ in 0..BEFORE {
            stage.append()?;
        }
        let mut owner = stage.replica.own("survivor")?;
        stage.publish(&mut owner, AS_OF)?;
        stage.owner = operation.has_owner.then_some(owner);
        Ok(stage)
    }

    /// The newest record.
    pub(crate) fn newest(&self) -> u64 {
        self.next - 1
    }

    fn append(&mut self) -> Result<()> {
        let seq = self.appender.append(&bytes(Author::Survivor, self.next, 40))?;
        ensure!(seq == self.next, "record {} is at {seq}", self.next);
        self.next += 1;
        Ok(())
    }

    fn publish(&mut self, owner: &mut StateOwner, as_of: u64) -> Result<()> {
        owner.publish_bytes(as_of, &value(as_of, STATE_BYTES))?;
        self.as_of = as_of;
        Ok(())
    }

    /// One who comes now finds a state, and all that is not in it. Returns its position.
    fn join(&self) -> Result<u64> {
        let mut joined = self.replica.join().context("joining late")?;
        let state = joined.state.context("no state")?;
        let as_of = number_of(&state.value)?;
        ensure!(state.as_of == Some(as_of), "the position {:?} of a state up to {as_of}", state.as_of);
        let mut ledger = Ledger::from(as_of + 1);
        ledger.read(&mut joined.reader)?;
        ensure!(ledger.seq == self.next, "read up to {}, not {}", ledger.seq, self.next);
        Ok(as_of)
    }

    /// The log goes on, and an owner with it, for so long that nothing of before is left. Returns how long it took
    /// from `started` to an owner's first state, or a later record and its state if they took longer.
    fn go_round(&mut self, started: Instant) -> Result<Duration> {
        let mut owner = match self.owner.take() {
            Some(owner) => owner,
            None => self.replica.own("newcomer").context("a newcomer becomes the owner")?,
        };
        // The log may be full of what the owner before kept.
        self.publish(&mut owner, self.newest())?;
        let mut longest = started.elapsed();
        for _ in 0..2 * WINDOWS * ENTRIES {
            let started = Instant::now();
            self.append()?;
            self.publish(&mut owner, self.newest())?;
            longest = longest.max(started.elapsed());
            ensure!(self.join()? == self.newest(), "an older state");
        }
        Ok(longest)
    }

    /// Whether a newer state than that of the survivors is there.
    fn is_newer(&self) -> Result<bool> {
        let as_of = self.join()?;
        let is_newer = as_of != self.as_of;
        ensure!(!is_newer || (as_of == self.newest_before && !self.operation.has_owner), "a state up to {as_of}");
        Ok(is_newer)
    }

    /// Appends until the log has come round, or to what the victim keeps; returns whether it does.
    fn go_on(&mut self, mut owner: Option<&mut StateOwner>) -> Result<bool> {
        for _ in 0..2 * WINDOWS * ENTRIES {
            match self.append().map_err(anyhow::Error::downcast::<AppendError>) {
                Ok(()) => {}
                Err(Ok(AppendError::Full { by: Some(by), .. })) => {
                    ensure!(by.name() == VICTIM && self.victim_holds().is_some(), "{by} is said to hold the log");
                    return Ok(true);
                }
                Err(error) => bail!("{error:?}"),
            }
            if let Some(owner) = &mut owner {
                self.publish(owner, self.newest())?;
            }
            self.join()?;
        }
        Ok(false)
    }

    fn victim_holds(&self) -> Option<u64> {
        let all = self.replica.log().info().participants;
        all.into_iter().find(|one| one.who.name() == VICTIM).and_then(|one| one.holds_segment)
    }
}

impl Stage for ReplicaStage<'_> {
    fn play(&self) -> Result<u64> {
        (self.operation.play)(self)
    }

    fn meanwhile(&mut self) -> Result<()> {
        Ok(())
    }

    fn after_death(&mut self) -> Result<Aftermath> {
        let started = Instant::now();
        let is_there = self.is_newer()?;
        let recovery = self.go_round(started)?;
        let alive: Vec<_> = self.replica.log().info().participants;
        let is_right = alive.iter().all(|one| one.is_alive == Some(one.who.name() != VICTIM));
        ensure!(is_right, "listed: {alive:?}");
        let is_there = (self.operation.effect == Effect::Appears).then_some(is_there);
        Ok(Aftermath { is_there, recovery })
    }

    fn while_stopped(&mut self, _is_patient: bool) -> Result<()> {
        self.is_newer()?;
        match self.replica.own("newcomer").map(drop) {
            Ok(()) | Err(ReplicaError::Join(JoinError::WriterAttached)) => {}
            Err(error) => return Err(error).context("another owner"),
        }
        if self.operation.effect == Effect::Nothing && !self.operation.has_owner {
            // Not past the state that is there, which a new owner must find.
            return Ok(());
        }
        let mut owner = self.owner.take();
        let is_full = self.go_on(owner.as_mut())?;
        ensure!(is_full || owner.is_some(), "what an owner keeps was given up");
        self.owner = owner;
        Ok(())
    }

    fn after_end(&mut self, _result: u64) -> Result<()> {
        let is_there = self.is_newer()?;
        ensure!(is_there == (self.operation.effect == Effect::Appears), "a newer state: {is_there}");
        self.go_round(Instant::now()).map(drop)
    }
}

/// All of them.
pub(crate) fn operations() -> Vec<Box<dyn Operation>> {
    let owner = |name, effect, play| ReplicaOperation { name, effect, has_owner: false, play };
    let all = [
        owner("own a state", Effect::Nothing, play::own),
        owner("publish a state", Effect::Appears, play::publish),
        owner("let a state go", Effect::Nothing, play::let_go),
        ReplicaOperation { name: "join late", effect: Effect::Nothing, has_owner: true, play: play::join },
    ];
    all.into_iter().map(|operation| Box::new(operation) as Box<dyn Operation>).collect()
}
