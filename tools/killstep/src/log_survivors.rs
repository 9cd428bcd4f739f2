//! What the survivors of a victim do, and look at.

use crate::log_stage::{LINE_BYTES, LogStage, SLOTS, WINDOW_BYTES};
use crate::record::{Author, Ledger};
use crate::stage::VICTIM;
use anyhow::{Context, Result, bail, ensure};
use shmlog::{AppendError, Appender, Exclusive, JoinError, Mode, ParticipantInfo, Retention, Role, Shared, Start};
use std::time::{Duration, Instant};

/// How long an append tries unless told otherwise; see `Appender::set_stall_wait`.
const STALL_WAIT: Duration = Duration::from_millis(100);

/// Nothing is appended to a closed log.
fn refuse<M: Mode>(appender: &mut Appender<M>) -> Result<()> {
    let said = appender.append(b"too late");
    ensure!(said == Err(AppendError::Closed), "appending to a closed log: {said:?}");
    Ok(())
}

impl LogStage<'_> {
    fn victim(&self) -> Option<ParticipantInfo> {
        self.log.info().participants.into_iter().find(|one| one.who.name() == VICTIM)
    }

    /// No more of the arena is gone than a lease, or one record.
    pub(crate) fn check_lines(&self) -> Result<()> {
        let (before, lines, _) = self.before;
        let active = self.log.info().active;
        ensure!(active <= before + 1, "segment {active} is the newest, it was {before}");
        let lease = (WINDOW_BYTES / 16 / LINE_BYTES).max((self.operation.len as u64).div_ceil(LINE_BYTES));
        // The one just left too, if its window still holds it.
        for segment in before..=active {
            // Nobody can use the arena of a segment whose index is full; whoever tries again there may lease anew.
            if self.lines.is_committed(segment, self.operation.entries - 2)? {
                continue;
            }
            let gone = self.lines.used(segment)? - if segment == before { lines } else { 0 };
            ensure!(gone <= lease, "{gone} lines of segment {segment} are gone, a lease has {lease}");
        }
        Ok(())
    }

    /// Nobody is listed as alive but the survivors.
    pub(crate) fn check_listed(&self) -> Result<()> {
        for one in self.log.info().participants {
            let is_expected = one.is_alive == Some(one.who.name() != VICTIM);
            ensure!(is_expected, "{} is listed, alive: {:?}", one.who, one.is_alive);
        }
        Ok(())
    }

    /// A reader that comes now finds what is there, and a place to hold it from.
    pub(crate) fn check_newcomer(&mut self) -> Result<()> {
        let is_gated = self.operation.retention != Retention::Overwrite;
        let mut reader = self.log.reader_builder().name("newcomer").gated(is_gated).start(Start::Oldest)?;
        reader.pin().context("a newcomer pins")?;
        let mut ledger = Ledger::from(reader.position());
        ledger.read(&mut reader).context("a newcomer reads")?;
        ensure!(ledger.seq == self.ledger.seq, "a newcomer reads up to {}, not {}", ledger.seq, self.ledger.seq);
        Ok(())
    }

    /// A shared appender that comes now, in the place of the victim.
    pub(crate) fn append_newcomer(&mut self) -> Result<()> {
        let mut appender = self.log.appender_named("newcomer").context("a newcomer joins")?;
        self.append_by(&mut appender, Author::Newcomer).context("a newcomer appends")?;
        Ok(())
    }

    /// When the survivors have left nobody is there, and nothing is locked.
    pub(crate) fn dissolve(&mut self, is_closed: bool) -> Result<()> {
        self.appender = None;
        let mut alone = self.log.exclusive_named("newcomer").context("when all are gone")?;
        if is_closed {
            refuse(&mut alone)?;
        } else {
            self.append_by(&mut alone, Author::Newcomer)?;
        }
        drop(alone);
        let crowd: Vec<_> = (0..SLOTS).map(|_| self.log.appender_named("newcomer")).collect::<Result<_, _>>()?;
        drop(crowd);
        self.check_newcomer()?;
        self.reader.unpin();
        self.reader = self.log.reader_builder().start(Start::End)?;
        let left: Vec<_> = self.log.info().participants.into_iter().filter(|one| !one.who.name().is_empty()).collect();
        ensure!(left.is_empty(), "left on the board: {left:?}");
        Ok(())
    }

    /// Whether the log is closed, which everybody then learns.
    pub(crate) fn is_closed(&mut self) -> Result<bool> {
        let is_closed = !self.read()?;
        if is_closed {
            let mut newcomer = self.log.appender_named("newcomer").context("a newcomer joins a closed log")?;
            for appender in self.appender.iter_mut().chain([&mut newcomer]) {
                refuse(appender)?;
            }
            drop(newcomer);
            self.check_newcomer()?;
        }
        Ok(is_closed)
    }

    /// Appends until the log has come round, or to what the victim holds.
    pub(crate) fn go_on(&mut self, is_patient: bool) -> Result<()> {
        let mut appender = self.appender.take().context("no appender")?;
        appender.set_stall_wait(if is_patient { STALL_WAIT } else { Duration::ZERO });
        let started = Instant::now();
        let went = (0..self.lap()).try_for_each(|_| self.try_append_by(&mut appender, Author::Survivor).map(drop));
        appender.set_stall_wait(STALL_WAIT);
        let blocked = went.map_or_else(|error| error.downcast::<AppendError>().map(Some), |()| Ok(None))?;
        let took = started.elapsed();
        self.appender = Some(appender);
        let holds = self.victim().and_then(|victim| victim.holds_segment);
        let active = self.log.info().active;
        // One that has been lapped may hold what was given up long ago, until it has looked.
        let is_in_the_way = holds.is_some_and(|held| held + self.operation.windows <= active + 1);
        match blocked {
            Some(AppendError::Full { by: Some(by), .. }) => {
                // A newcomer stopped while it takes a dead one's slot, before it has cleared that one's pin.
                let is_heir = by.role.is_none() && holds.is_none() && self.operation.is_half_rolled;
                let is_in_the_way = is_in_the_way || is_heir;
                ensure!(
                    by.name() == VICTIM && is_in_the_way,
                    "{by} is said to hold the log, the victim holds {holds:?}"
                );
                let is_waited_for = is_patient && by.role == Some(Role::Appender);
                ensure!(!is_waited_for || took >= STALL_WAIT, "{by} was not waited for");
                Ok(())
            }
            None => {
                ensure!(holds.is_none_or(|held| held + self.operation.windows > active), "what is held was recycled");
                Ok(())
            }
            other => bail!("{other:?} while the victim holds {holds:?}"),
        }
    }

    /// While the victim is stopped and would be alone.
    pub(crate) fn try_to_enter(&mut self, keeps_out: bool) -> Result<()> {
        let shared: Result<Appender<Shared>, _> = self.log.appender_named("newcomer");
        let is_out = match shared {
            Ok(mut appender) => {
                self.append_by(&mut appender, Author::Newcomer)?;
                false
            }
            Err(JoinError::ExclusiveAttached) => true,
            Err(error) => return Err(error).context("a shared appender"),
        };
        let alone: Result<Appender<Exclusive>, _> = self.log.exclusive_named("newcomer");
        match alone {
            Ok(mut appender) if !is_out => self.append_by(&mut appender, Author::Newcomer).map(drop)?,
            // A shared appender that the victim has become does not keep out another.
            Err(JoinError::ExclusiveAttached) if is_out => {}
            Err(JoinError::OthersAttached) if !is_out => {}
            other => bail!("a shared appender is kept out: {is_out}; an exclusive one: {:?}", other.map(drop)),
        }
        ensure!(is_out || !keeps_out, "another appender was let in");
        ensure!(self.read()?, "closed");
        Ok(())
    }
}
