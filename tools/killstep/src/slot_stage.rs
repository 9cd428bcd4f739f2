//! A snapshot of one slot, those who survive, and what they look at.

use crate::record::{Author, bytes, parse};
use crate::route::End;
use crate::stage::{Aftermath, Effect, Operation, Stage, VICTIM};
use anyhow::{Context, Result, bail, ensure};
use shmlog::{Fencing, JoinError, PublishError, Snapshot, SnapshotReader, SnapshotWriter};
use std::time::{Duration, Instant};

/// The name that a slot is given.
pub(crate) const SLOT_NAME: &str = "a slot whose name fills all";
/// The survivors have one, the victim and those who come after it the other.
const SEATS: u64 = 2;

/// What a slot holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Holds {
    /// Values of one length.
    Fixed,
    /// Values up to that length.
    UpTo,
    /// Such, with memory taken as they grow.
    Sparse,
}

/// What the victim is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Plays {
    /// The writer; always while `keeps_out`.
    Writer { keeps_out: bool },
    /// A reader.
    Reader,
}

/// An operation on a snapshot's slot.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SlotOperation {
    pub(crate) name: &'static str,
    pub(crate) holds: Holds,
    pub(crate) fencing: Fencing,
    pub(crate) buffers: u64,
    /// Bytes of all values; in a sparse one of the newest only.
    pub(crate) len: usize,
    pub(crate) plays: Plays,
    pub(crate) effect: Effect,
    /// Whether what appears is the slot's name.
    pub(crate) is_name: bool,
    pub(crate) end: End,
    pub(crate) every: usize,
    pub(crate) play: fn(&SlotStage<'_>) -> Result<u64>,
}

impl Operation for SlotOperation {
    fn name(&self) -> &'static str {
        self.name
    }

    fn end(&self) -> End {
        self.end
    }

    fn effect(&self) -> Effect {
        self.effect
    }

    fn every(&self) -> usize {
        self.every
    }

    fn stage(&self) -> Result<Box<dyn Stage + '_>> {
        Ok(Box::new(SlotStage::set(self)?))
    }
}

/// See the module.
pub(crate) struct SlotStage<'o> {
    pub(crate) operation: &'o SlotOperation,
    pub(crate) snapshot: Snapshot,
    /// Where the victim is a reader.
    writer: Option<SnapshotWriter>,
    reader: SnapshotReader,
    /// The value published last, before the operation or by those who survive.
    number: u64,
}

/// Value `number`.
pub(crate) fn value(number: u64, len: usize) -> Vec<u8> {
    bytes(Author::Survivor, number, len)
}

/// The number of a value, whole.
pub(crate) fn number_of(found: &[u8]) -> Result<u64> {
    Ok(parse(found).context("a torn value")?.1)
}

impl<'o> SlotStage<'o> {
    fn set(operation: &'o SlotOperation) -> Result<Self> {
        let builder = Snapshot::builder().buffers(operation.buffers).seats(SEATS).fencing(operation.fencing);
        let builder = match operation.holds {
            Holds::Fixed => builder.value_bytes(operation.len as u64),
            Holds::UpTo => builder.capacity_bytes(operation.len as u64),
            Holds::Sparse => builder.capacity_bytes(operation.len as u64).sparse(true),
        };
        let snapshot = builder.create_memfd("killstep")?;
        let mut reader = snapshot.reader()?;
        reader.set_name("survivor");
        // Takes its seat.
        reader.pin()?;
        let mut stage = Self { operation, snapshot, writer: None, reader, number: 0 };
        let mut writer = stage.join()?;
        for _ in 0..2 {
            stage.publish(&mut writer)?;
        }
        stage.writer = (operation.plays == Plays::Reader).then_some(writer);
        Ok(stage)
    }

    fn join(&self) -> Result<SnapshotWriter> {
        let mut writer = self.snapshot.writer().context("becoming the writer")?;
        writer.set_patience(Duration::ZERO);
        Ok(writer)
    }

    /// Bytes of values that others publish: in a sparse slot the victim's is longer.
    fn usual_len(&self) -> usize {
        if self.operation.holds == Holds::Sparse { 8 } else { self.operation.len }
    }

    /// The next value, loaded at once.
    fn publish(&mut self, writer: &mut SnapshotWriter) -> Result<Duration> {
        let moment = Instant::now();
        writer.publish_bytes(&value(self.number + 1, self.usual_len()))?;
        self.number += 1;
        let took = moment.elapsed();
        ensure!(self.load()? == self.number, "value {} is not what is loaded after it", self.number);
        Ok(took)
    }

    /// So many values that every buffer's turn came twice.
    fn go_round(&mut self, writer: &mut SnapshotWriter) -> Result<Duration> {
        (0..=2 * self.operation.buffers).try_fold(Duration::ZERO, |longest, _| Ok(longest.max(self.publish(writer)?)))
    }

    /// The newest value's number, at the first attempt: nobody else publishes now.
    fn load(&mut self) -> Result<u64> {
        let retries = self.reader.retries();
        let loaded = self.reader.load_bytes()?.context("nothing published")?;
        ensure!(self.reader.retries() == retries, "a load had to begin anew");
        number_of(&loaded.value)
    }

    /// Whoever comes now finds a seat to pin from, and no pin but its own.
    fn check_seats(&mut self) -> Result<()> {
        let number = self.number;
        let mut reader = self.snapshot.reader()?;
        reader.set_name("newcomer");
        for reader in [&mut self.reader, &mut reader] {
            let pinned = reader.pin().context("pinning")?.context("nothing published")?;
            ensure!(number_of(&pinned.to_vec())? == number, "another value is pinned");
        }
        drop(reader);
        let listed = self.snapshot.info().readers;
        let is_clean = listed.iter().all(|pin| pin.who.name() == "survivor" && pin.slot.is_none());
        ensure!(is_clean, "left on the board: {listed:?}");
        Ok(())
    }

    fn has_writer(&self) -> bool {
        self.snapshot.info().slots.first().is_some_and(|slot| slot.has_writer == Some(true))
    }

    /// A writer that comes now takes over; and leaves. Returns how long it took from `started` to its first value, or a
    /// later one if that took longer.
    fn take_over(&mut self, started: Instant) -> Result<Duration> {
        let mut writer = self.join()?;
        self.publish(&mut writer).context("at once")?;
        let first = started.elapsed();
        let took = first.max(self.go_round(&mut writer)?);
        if self.operation.is_name {
            writer.set_name(0, SLOT_NAME).context("naming the slot after all")?;
            ensure!(self.snapshot.find(SLOT_NAME) == Some(0), "not found by its name");
        }
        drop(writer);
        ensure!(!self.has_writer(), "a writer is listed");
        Ok(took)
    }

    /// While the victim is stopped: whether another writer comes in.
    fn try_to_enter(&mut self, keeps_out: bool) -> Result<()> {
        match self.snapshot.writer() {
            Err(JoinError::WriterAttached) => ensure!(self.has_writer(), "kept out by nobody"),
            Ok(mut writer) if !keeps_out => {
                self.number = self.load()?;
                self.publish(&mut writer).map(drop)?;
            }
            Ok(_) => bail!("another writer was let in"),
            Err(error) => return Err(error).context("another writer"),
        }
        for _ in 0..3 {
            let number = self.load()?;
            ensure!(number == self.number || number == self.number + 1, "{number} after {}", self.number);
        }
        Ok(())
    }

    /// While the victim, a reader, is stopped: the writer goes on, unless that pins all it could write.
    fn go_on(&mut self) -> Result<()> {
        let mut writer = self.writer.take().context("no writer")?;
        let went = self.go_round(&mut writer).map(drop);
        self.writer = Some(writer);
        let pins = |pin: &shmlog::PinInfo| pin.who.name() == VICTIM && pin.slot == Some(0);
        let is_pinned = self.snapshot.info().readers.iter().any(pins);
        match went.map_err(anyhow::Error::downcast::<PublishError>) {
            Ok(()) => ensure!(!is_pinned || self.operation.buffers > 2, "a pinned buffer was written"),
            Err(Ok(PublishError::Busy { by })) => {
                let is_right = by.name() == VICTIM && is_pinned && self.operation.buffers == 2;
                ensure!(is_right, "{by} is said to pin; the victim does: {is_pinned}");
            }
            Err(Ok(error)) => return Err(error.into()),
            Err(Err(error)) => return Err(error),
        }
        Ok(())
    }

    /// Whether what the operation brings is there.
    fn is_there(&mut self) -> Result<bool> {
        if self.operation.is_name {
            let found = self.snapshot.find(SLOT_NAME);
            let names: Vec<_> = self.snapshot.names().collect();
            ensure!(names.len() == usize::from(found.is_some()), "names: {names:?}");
            return Ok(found.is_some());
        }
        let number = self.load()?;
        let appeared = number - self.number;
        ensure!(appeared <= u64::from(self.operation.effect == Effect::Appears), "{number} after {}", self.number);
        self.number = number;
        Ok(appeared == 1)
    }
}

impl Stage for SlotStage<'_> {
    fn play(&self) -> Result<u64> {
        (self.operation.play)(self)
    }

    fn meanwhile(&mut self) -> Result<()> {
        self.number = self.load()?;
        Ok(())
    }

    fn after_death(&mut self) -> Result<Aftermath> {
        let started = Instant::now();
        // The survivors' reader loads.
        let is_there = self.is_there()?;
        let recovery = if let Some(mut writer) = self.writer.take() {
            self.publish(&mut writer).context("at once")?;
            let first = started.elapsed();
            let later = self.go_round(&mut writer)?;
            ensure!(self.has_writer(), "the writer is not listed");
            drop(writer);
            ensure!(!self.has_writer(), "another is listed as the writer");
            first.max(later).max(self.take_over(Instant::now())?)
        } else {
            // That the dead is the writer no more is seen by this.
            self.take_over(started)?
        };
        self.check_seats()?;
        let is_there = (self.operation.effect == Effect::Appears).then_some(is_there);
        Ok(Aftermath { is_there, recovery })
    }

    fn while_stopped(&mut self, _is_patient: bool) -> Result<()> {
        match self.operation.plays {
            Plays::Writer { keeps_out } => self.try_to_enter(keeps_out),
            Plays::Reader => self.go_on(),
        }
    }

    fn after_end(&mut self, result: u64) -> Result<()> {
        let is_there = self.is_there()?;
        ensure!(is_there == (self.operation.effect == Effect::Appears), "it is there: {is_there}");
        if is_there && !self.operation.is_name {
            let version = self.reader.version();
            ensure!(version == result, "version {version} is the newest, {result} was published");
        }
        if let Some(mut writer) = self.writer.take() {
            self.go_round(&mut writer)?;
        }
        self.take_over(Instant::now())?;
        self.check_seats()
    }
}
