//! A journal: a victim that appends durably, goes on to another file, opens or closes it; beside one who has it open, or
//! where another one died before.

use crate::companion::Companion;
use crate::journal_look::Found;
use crate::journal_table::{Brings, JournalOperation, LEN, Others};
use crate::record::{Author, bytes};
use crate::stage::{Aftermath, Effect, Operation, Stage};
use anyhow::{Context, Result, ensure};
use shmlog::{FrontHome, Journal, JournalAppender, JournalBuilder, Retain};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use tempfile::TempDir;

pub(crate) const FILE_BYTES: u64 = 64 << 10;
/// Two of these leave less room in a file than the victim's record takes, and none for another one of them.
pub(crate) const FULL: [usize; 2] = [30_000, 25_000];

/// See the module.
pub(crate) struct JournalStage<'o> {
    pub(crate) operation: &'o JournalOperation,
    pub(crate) survivor: Option<(JournalAppender, Journal)>,
    /// One who opens it while the victim stands where it dies.
    opener: Option<Companion>,
    /// Whether there was one.
    pub(crate) has_newcomer: bool,
    /// Records of those who survive, and of the one who died before: lengths, by number.
    pub(crate) lens: Vec<usize>,
    /// So many of them must be there.
    pub(crate) least: usize,
    /// So many there were before the operation came to its end, or its victim's.
    pub(crate) before: usize,
    place: TempDir,
}

impl<'o> JournalStage<'o> {
    pub(crate) fn set(operation: &'o JournalOperation) -> Result<Self> {
        // In memory, where files cost little; what is on a disk is the business of the crash images.
        let place = tempfile::tempdir_in("/dev/shm")?;
        let lens = Vec::new();
        let mut stage =
            Self { operation, survivor: None, opener: None, has_newcomer: false, lens, least: 0, before: 0, place };
        std::fs::create_dir(stage.fronts())?;
        stage.prepare().context("what is there before")?;
        stage.before = stage.lens.len();
        Ok(stage)
    }

    pub(crate) fn dir(&self) -> PathBuf {
        self.place.path().join("journal")
    }

    pub(crate) fn fronts(&self) -> PathBuf {
        self.place.path().join("fronts")
    }

    pub(crate) fn builder(&self) -> JournalBuilder {
        let builder = Journal::builder().file_bytes(FILE_BYTES).front_size(2, 64 << 10).thread(false);
        let home = match self.operation.others {
            Others::FailedInside => FrontHome::Directory,
            _ => FrontHome::At(self.fronts()),
        };
        let builder = builder.front(home);
        if self.operation.others == Others::SurvivorRecycling {
            builder.retain(Retain { files: Some(2), ..Retain::default() })
        } else {
            builder
        }
    }

    pub(crate) fn open(&self) -> Result<Journal> {
        self.builder().open(self.dir()).context("opening the journal")
    }

    /// Appends the next record of the survivor, durably.
    pub(crate) fn append(&mut self, len: usize) -> Result<()> {
        let (appender, _) = self.survivor.as_mut().context("nobody survives")?;
        appender.append_durable(&bytes(Author::Survivor, self.lens.len() as u64, len))?;
        self.lens.push(len);
        self.least = self.lens.len();
        Ok(())
    }

    /// Appends one, and leaves it at that.
    pub(crate) fn append_only(&mut self) -> Result<()> {
        let (appender, _) = self.survivor.as_mut().context("nobody survives")?;
        appender.append(&bytes(Author::Survivor, self.lens.len() as u64, LEN))?;
        self.lens.push(LEN);
        self.least = self.lens.len();
        Ok(())
    }

    /// What the victim appends.
    pub(crate) fn victims(&self) -> Vec<u8> {
        match self.operation.brings {
            Brings::Record(len) | Brings::RecordBefore(len) => bytes(Author::Victim, 0, len),
            _ => Vec::new(),
        }
    }

    /// One who opens it now, appends, and closes it.
    fn come_and_go(&self) -> Result<()> {
        let journal = self.open()?;
        journal.appender_named("newcomer")?.append_durable(&bytes(Author::Newcomer, 0, LEN))?;
        Ok(journal.close()?)
    }

    /// Those who are left go on, durably; everything is there; and after all have closed it, too. Returns whether what the
    /// operation brings is there.
    fn go_on(&mut self) -> Result<(bool, Duration)> {
        let started = Instant::now();
        if self.survivor.is_none() {
            if self.operation.others == Others::Damaged {
                Journal::repair(self.dir(), "").context("repairing")?;
            }
            let journal = self.open()?;
            // What was not durable may be lost.
            self.lens.truncate(self.read(&journal)?.count);
            self.survivor = Some((journal.appender_named("newcomer")?, journal));
        }
        self.append(LEN)?;
        let recovery = started.elapsed();
        FULL.into_iter().try_for_each(|len| self.append(len))?;
        let (_, journal) = self.survivor.as_ref().context("nobody survives")?;
        let found = self.read(journal)?;
        ensure!(journal.durable() == journal.next_seq(), "all of it is durable");
        self.survivor = None;
        let left = std::fs::read_dir(self.fronts())?.count();
        ensure!(left == 0, "{left} fronts are left");
        self.check_reopened(&found)?;
        Ok((found.is_there, recovery))
    }

    fn check_reopened(&self, found: &Found) -> Result<()> {
        let journal = self.builder().open_existing(self.dir())?;
        ensure!(journal.recovery().is_some_and(|found| found.was_closed), "it was closed");
        let mut again = self.read(&journal)?;
        if matches!(self.operation.brings, Brings::Pruned | Brings::Deleted) {
            // In the files, while those who had it open had not been told.
            ensure!(again.is_there || !found.is_there, "records are there again");
            again.is_there = found.is_there;
        }
        ensure!(again == *found, "not the same after reopening: {found:?}, then {again:?}");
        // So that there is no front in the directory.
        journal.close()?;
        self.check_names()
    }
}

impl Drop for JournalStage<'_> {
    fn drop(&mut self) {
        if self.operation.others == Others::Damaged {
            // The front of a repair is where those of all are. One whose victim went another way is left: this sweeps it.
            let _ = Journal::repair(self.dir(), "");
        }
    }
}

impl Stage for JournalStage<'_> {
    fn play(&self) -> Result<u64> {
        (self.operation.play)(self)
    }

    fn files(&self) -> Option<&Path> {
        Some(self.place.path())
    }

    fn meanwhile(&mut self) -> Result<()> {
        Ok(())
    }

    fn before_death(&mut self) -> Result<()> {
        if self.operation.others == Others::DeadAndRaced {
            let opener = Companion::start(|| self.come_and_go())?;
            opener.wait_until_still()?;
            (self.opener, self.has_newcomer) = (Some(opener), true);
        }
        Ok(())
    }

    fn after_death(&mut self) -> Result<Aftermath> {
        if let Some(opener) = self.opener.take() {
            opener.finish()?;
        }
        let (is_there, recovery) = self.go_on()?;
        let is_new = self.operation.effect() == Effect::Appears;
        let is_before = matches!(self.operation.brings, Brings::RecordBefore(_));
        ensure!(is_new || is_there == is_before, "a record from before is there: {is_there}");
        Ok(Aftermath { is_there: is_new.then_some(is_there), recovery })
    }

    fn while_stopped(&mut self, _is_patient: bool) -> Result<()> {
        if self.survivor.is_none() {
            return Ok(());
        }
        // Who flushes is waited for; appends are not, as long as there is room in memory.
        self.append_only()?;
        self.before = self.lens.len();
        let journal = self.survivor.as_ref().map(|(_, journal)| journal.clone());
        journal.map_or(Ok(()), |journal| self.read(&journal).map(drop))
    }

    fn after_end(&mut self, _result: u64) -> Result<()> {
        let (is_there, _) = self.go_on()?;
        ensure!(is_there == (self.operation.brings != Brings::Nothing), "what it brings is there: {is_there}");
        Ok(())
    }
}
