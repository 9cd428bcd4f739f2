//! What there is of a journal before a victim comes.

use crate::journal_stage::{FILE_BYTES, FULL, JournalStage};
use crate::journal_table::{LEN, Others};
use crate::record::{Author, bytes};
use crate::victim::{Victim, mark};
use anyhow::{Result, ensure};
use nix::errno::Errno;
use shmlog::{Journal, JournalAppender, JournalError};
use std::fs::{File, create_dir, remove_dir_all};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

/// Records that are durable, and that are not, before one dies.
const DURABLE: u64 = 6;
const COMMITTED: u64 = 9;
/// Records that nobody made durable.
const BEHIND: usize = 3;
/// In the first record of a file.
const DAMAGED_AT: u64 = 10_000;

impl JournalStage<'_> {
    /// Brings it about.
    pub(crate) fn prepare(&mut self) -> Result<()> {
        match self.operation.others {
            Others::Survivor | Others::SurvivorFull => self.survive(),
            Others::SurvivorBehind => {
                self.survive()?;
                (0..BEHIND).try_for_each(|_| self.append_only())
            }
            Others::SurvivorOfFlush => {
                self.survive()?;
                self.leave_dead_in_flush()
            }
            Others::SurvivorFiles | Others::SurvivorRecycling => {
                self.survive()?;
                (0..2).try_for_each(|_| FULL.into_iter().try_for_each(|len| self.append(len)))
            }
            Others::Dead => self.leave_dead(),
            Others::DeadAndTorn | Others::DeadAndRaced => {
                self.leave_dead()?;
                self.lose_front()
            }
            Others::Failed | Others::FailedInside => self.leave_failed(),
            Others::Damaged => {
                self.survive()?;
                (0..2).try_for_each(|_| FULL.into_iter().try_for_each(|len| self.append(len)))?;
                self.survivor = None;
                let first = 1 + FULL.len();
                Ok(self.file(first as u64)?.write_all_at(&[7; 100], DAMAGED_AT)?)
            }
            Others::Nobody => Ok(()),
        }
    }

    /// One opens it, and appends; so much that the file is full, where it is to be.
    fn survive(&mut self) -> Result<()> {
        let journal = self.open()?;
        self.survivor = Some((journal.appender_named("survivor")?, journal));
        self.append(LEN)?;
        let has_room =
            matches!(self.operation.others, Others::Survivor | Others::SurvivorBehind | Others::SurvivorOfFlush);
        if has_room {
            // As many as there are in files that are full.
            return (0..3 * FULL.len()).try_for_each(|_| self.append(LEN));
        }
        FULL.into_iter().try_for_each(|len| self.append(len))
    }

    /// One who appended, and was killed before it could close the journal.
    fn leave_dead(&mut self) -> Result<()> {
        let dead = Victim::start(|| {
            // What it could not do is found missing.
            let _ = self.live_and_stop();
            mark();
        })?;
        dead.kill()?;
        self.lens = vec![LEN; usize::try_from(COMMITTED)?];
        self.least = self.lens.len();
        Ok(())
    }

    fn live_and_stop(&self) -> Result<()> {
        // Nothing is dropped: that would close it.
        std::mem::forget(self.live()?);
        Ok(())
    }

    /// One opens it, and appends, at the end not durably.
    fn live(&self) -> Result<(Journal, JournalAppender)> {
        let journal = self.open()?;
        let mut appender = journal.appender()?;
        for number in 0..COMMITTED {
            let bytes = bytes(Author::Survivor, number, LEN);
            if number < DURABLE {
                appender.append_durable(&bytes)?
            } else {
                appender.append(&bytes)?
            };
        }
        Ok((journal, appender))
    }

    /// One who appended, wrote that to the file, and was killed before it was synced.
    fn leave_dead_in_flush(&mut self) -> Result<()> {
        let number = self.lens.len() as u64;
        let act = || {
            let mut appender = self.open()?.appender_named("dead")?;
            mark();
            anyhow::Ok(appender.append_durable(&bytes(Author::Survivor, number, LEN))?)
        };
        let mut dead = Victim::start(|| {
            // It does not come to its end.
            let _ = act();
            mark();
        })?;
        dead.resume_to_sync()?;
        dead.kill()?;
        self.lens.push(LEN);
        self.least = self.lens.len();
        Ok(())
    }

    /// One who appended, wrote that to the file, and was told that it could not be synced: what it had written is gone.
    fn leave_failed(&mut self) -> Result<()> {
        let mut dead = Victim::start(|| {
            // Else it ends, which is found out.
            if self.live_and_fail().is_ok() {
                mark();
            }
        })?;
        let synced = std::fs::read(self.path(0))?;
        dead.resume_to_sync()?;
        dead.refuse(Errno::EIO)?;
        dead.resume()?;
        dead.kill()?;
        self.file(0)?.write_all_at(&synced, 0)?;
        self.lens = vec![LEN; usize::try_from(COMMITTED)?];
        self.least = self.lens.len();
        Ok(())
    }

    /// Comes to a mark before the sync that is to fail.
    fn live_and_fail(&self) -> Result<()> {
        let (journal, appender) = self.live()?;
        mark();
        let synced = journal.sync();
        // Nothing is dropped: that would close it.
        std::mem::forget((journal, appender));
        ensure!(matches!(synced, Err(JournalError::Failed { .. })), "the sync did not fail");
        Ok(())
    }

    /// What was in memory is gone, and half of something stands behind the records.
    fn lose_front(&mut self) -> Result<()> {
        remove_dir_all(self.fronts())?;
        create_dir(self.fronts())?;
        self.least = usize::try_from(DURABLE)?;
        Ok(self.file(0)?.write_all_at(&[7; 100], FILE_BYTES / 2)?)
    }

    fn file(&self, first: u64) -> Result<File> {
        Ok(File::options().write(true).open(self.path(first))?)
    }

    fn path(&self, first: u64) -> PathBuf {
        self.dir().join(format!("{first:020}.log"))
    }
}
