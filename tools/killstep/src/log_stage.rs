//! A log, and those who survive.

use crate::lines::Lines;
use crate::log_play;
use crate::record::{Author, Ledger, bytes};
use crate::route::End;
use crate::stage::{Aftermath, Effect, Operation, Stage};
use crate::victim::Victim;
use anyhow::{Context, Result, ensure};
use shmlog::{AppendError, Appender, Fencing, Log, Reader, Retention, Shared, Start};
use std::time::{Duration, Instant};

/// The name of every log.
const NAME: &str = "killstep";
pub(crate) const WINDOW_BYTES: u64 = 64 << 10;
pub(crate) const LINE_BYTES: u64 = 64;
/// Of appenders, and of readers: the survivors have one, the victim and those who come after it the other.
pub(crate) const SLOTS: u64 = 2;

/// Who appends while the victim lives, beside it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Beside {
    /// A shared appender.
    Appender,
    /// Nobody: the victim is, or becomes, exclusive, and may always be while `keeps_out`.
    Nobody { keeps_out: bool },
}

/// An operation on a log.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LogOperation {
    pub(crate) name: &'static str,
    pub(crate) windows: u64,
    pub(crate) entries: u64,
    pub(crate) retention: Retention,
    pub(crate) fencing: Fencing,
    pub(crate) beside: Beside,
    /// Records of others before the victim comes.
    pub(crate) before: u64,
    /// Bytes of these, and of the victim's record.
    pub(crate) len: usize,
    /// Bytes of the record that the victim appends before.
    pub(crate) first_len: usize,
    /// Records of others before the operation.
    pub(crate) meanwhile: u64,
    pub(crate) effect: Effect,
    /// Whether what appears is the end of the log.
    pub(crate) is_close: bool,
    pub(crate) end: End,
    pub(crate) every: usize,
    /// Whether somebody has died before the victim comes, having closed the newest segment and not opened the next.
    pub(crate) is_half_rolled: bool,
    /// Whether the survivors' reader, which is gated, reads nothing before the operation.
    pub(crate) is_unread: bool,
    pub(crate) play: fn(&LogStage<'_>) -> Result<u64>,
}

impl Operation for LogOperation {
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
        Ok(Box::new(LogStage::set(self)?))
    }
}

/// See the module.
pub(crate) struct LogStage<'o> {
    pub(crate) operation: &'o LogOperation,
    pub(crate) log: Log,
    pub(crate) appender: Option<Appender<Shared>>,
    pub(crate) reader: Reader,
    pub(crate) ledger: Ledger,
    pub(crate) lines: Lines,
    pub(crate) is_reading: bool,
    /// Before the operation: the newest segment, lines handed out of it, and the victim's records.
    pub(crate) before: (u64, u64, u64),
    /// Number of the next record, by author.
    pub(crate) next: [u64; 4],
}

impl<'o> LogStage<'o> {
    fn set(operation: &'o LogOperation) -> Result<Self> {
        let LogOperation { windows, entries, retention, fencing, before, .. } = *operation;
        let builder = Log::builder().windows(windows).window_bytes(WINDOW_BYTES).entries(entries).retention(retention);
        let log = builder.fencing(fencing).slots(SLOTS, SLOTS).create_memfd(NAME)?;
        let lines = Lines::of(NAME, windows, WINDOW_BYTES)?;
        let is_gated = retention == Retention::Gated;
        let reader = log.reader_builder().name("survivor").gated(is_gated).start(Start::First)?;
        let appender = (operation.beside == Beside::Appender).then(|| log.appender_named("survivor")).transpose()?;
        let (ledger, next) = (Ledger::default(), [0; 4]);
        let is_reading = !operation.is_unread;
        let mut stage = Self { operation, log, appender, reader, ledger, lines, is_reading, before: (0, 0, 0), next };
        stage.append_many(before)?;
        if operation.is_half_rolled {
            stage.roll_half()?;
        }
        Ok(stage)
    }

    /// Somebody finds the segment full, closes it, and dies.
    fn roll_half(&self) -> Result<()> {
        let close = self.operation.entries - 1;
        let mut predecessor = Victim::start(|| drop(log_play::append_shared(self)))?;
        while !self.lines.is_committed(0, close)? {
            predecessor.step()?;
        }
        predecessor.kill()?;
        ensure!(self.log.info().active == 0 && self.lines.used(1)? == 0, "the next segment was opened");
        Ok(())
    }

    /// Records by whoever may append, each read at once. Returns how long one took at most; to become an appender is
    /// part of the first.
    pub(crate) fn append_many(&mut self, count: u64) -> Result<Duration> {
        let mut longest = Duration::ZERO;
        if count == 0 {
            return Ok(longest);
        }
        if let Some(mut appender) = self.appender.take() {
            let all = (0..count).try_for_each(|_| {
                longest = longest.max(self.append_by(&mut appender, Author::Survivor)?);
                anyhow::Ok(())
            });
            self.appender = Some(appender);
            all?;
        } else {
            let moment = Instant::now();
            let mut appender = self.log.exclusive_named("newcomer").context("becoming the exclusive appender")?;
            self.append_by(&mut appender, Author::Newcomer)?;
            longest = moment.elapsed();
            for _ in 1..count {
                longest = longest.max(self.append_by(&mut appender, Author::Newcomer)?);
            }
        }
        Ok(longest)
    }

    /// One record, read at once.
    pub(crate) fn append_by<M: shmlog::Mode>(
        &mut self,
        appender: &mut Appender<M>,
        author: Author,
    ) -> Result<Duration> {
        let moment = Instant::now();
        let seq = self.try_append_by(appender, author)?;
        let took = moment.elapsed();
        let is_where_it_was_put = self.ledger.at[author as usize] == Some(seq);
        ensure!(is_where_it_was_put || !self.is_reading, "record {seq} of {author:?} is not where it was put");
        Ok(took)
    }

    pub(crate) fn try_append_by<M: shmlog::Mode>(&mut self, appender: &mut Appender<M>, author: Author) -> Result<u64> {
        let number = self.next[author as usize];
        let seq = appender.append(&bytes(author, number, self.operation.len))?;
        self.next[author as usize] = number + 1;
        ensure!(self.read()?, "closed");
        Ok(seq)
    }

    /// Reads all there is, if it reads yet. `Ok(false)`: closed.
    pub(crate) fn read(&mut self) -> Result<bool> {
        if self.is_reading { self.ledger.read(&mut self.reader) } else { Ok(true) }
    }

    /// One who was closing the log has died, and `went` is what an append then came to.
    fn after_close(&mut self, went: Result<()>, recovery: Duration) -> Result<Aftermath> {
        let is_there = match went.map_err(anyhow::Error::downcast::<AppendError>) {
            Ok(()) => false,
            Err(Ok(AppendError::Closed)) => true,
            Err(Ok(error)) => return Err(error).context("at once"),
            Err(Err(error)) => return Err(error).context("at once"),
        };
        ensure!(self.is_closed()? == is_there, "closed for appenders: {is_there}, not so for readers");
        self.check_listed()?;
        if !is_there {
            self.append_many(self.lap())?;
            self.append_newcomer()?;
        }
        self.dissolve(is_there)?;
        Ok(Aftermath { is_there: Some(is_there), recovery })
    }

    fn victims(&self) -> u64 {
        self.ledger.next[Author::Victim as usize]
    }

    /// So many records that the log comes round to where it is, and somewhat on.
    pub(crate) fn lap(&self) -> u64 {
        self.operation.windows * (self.operation.entries - 1) + 3
    }
}

impl Stage for LogStage<'_> {
    fn play(&self) -> Result<u64> {
        (self.operation.play)(self)
    }

    fn meanwhile(&mut self) -> Result<()> {
        self.read()?;
        self.append_many(self.operation.meanwhile)?;
        let active = self.log.info().active;
        // Where nothing is read yet, the victim has appended its first one.
        let victims = if self.is_reading { self.victims() } else { 1 };
        self.before = (active, self.lines.used(active)?, victims);
        Ok(())
    }

    fn before_death(&mut self) -> Result<()> {
        self.check_lines()
    }

    fn after_death(&mut self) -> Result<Aftermath> {
        let started = Instant::now();
        if self.operation.is_unread {
            self.is_reading = true;
            self.read()?;
        }
        let went = self.append_many(1);
        let recovery = started.elapsed();
        if self.operation.is_close {
            return self.after_close(went.map(drop), recovery);
        }
        went.context("at once")?;
        let appeared = self.victims() - self.before.2;
        ensure!(appeared <= u64::from(self.operation.effect == Effect::Appears), "{appeared} records appeared");
        self.check_listed()?;
        self.check_newcomer()?;
        // For the last one that the dead held: until it was noticed.
        let recovery = recovery.max(self.append_many(self.lap())?);
        self.check_newcomer()?;
        self.append_newcomer()?;
        self.dissolve(false)?;
        ensure!(self.victims() - self.before.2 == appeared, "a record appeared late");
        let is_there = (self.operation.effect == Effect::Appears).then_some(appeared == 1);
        Ok(Aftermath { is_there, recovery })
    }

    fn while_stopped(&mut self, is_patient: bool) -> Result<()> {
        self.is_reading = true;
        self.read()?;
        if self.operation.is_close && !self.read()? {
            return Ok(());
        }
        match self.operation.beside {
            Beside::Appender => self.go_on(is_patient),
            Beside::Nobody { keeps_out } => self.try_to_enter(keeps_out),
        }
    }

    fn after_end(&mut self, result: u64) -> Result<()> {
        let is_open = self.read()?;
        if self.operation.is_close {
            ensure!(!is_open && result == self.ledger.seq, "closed at {result}, {} records read", self.ledger.seq);
            ensure!(self.is_closed()?, "open");
            self.check_listed()?;
            return self.dissolve(true);
        }
        ensure!(is_open, "closed");
        let appeared = self.victims() - self.before.2;
        if self.operation.effect == Effect::Appears {
            let at = self.ledger.at[Author::Victim as usize];
            ensure!(appeared == 1 && at == Some(result), "{appeared} records appeared, at {at:?}, not {result}");
        } else {
            ensure!(appeared == 0, "{appeared} records appeared");
        }
        self.check_listed()?;
        self.append_many(self.lap())?;
        self.append_newcomer()?;
        self.dissolve(false)
    }
}
