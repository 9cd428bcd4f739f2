//! What all handles of a journal in this process share.

use crate::core::memory::Memory;
use crate::core::{locate, roll};
use crate::error::{JoinError, JournalError};
use crate::journal::care::deleted::Deleted;
use crate::journal::files::control_file::read_control;
use crate::journal::files::names::Names;
use crate::journal::flushing::durable::Callbacks;
use crate::journal::flushing::flush::{Flusher, Goal};
use crate::journal::flushing::trail::Trails;
use crate::journal::format::control::Control;
use crate::journal::settings::Settings;
use crate::journal::state::State;
use crate::log::Log;
use crate::sync::Ordering::Relaxed;
use crate::sys::disk::{Disk, DiskFile};
use crate::sys::lock::{self, Mode};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, TryLockError};

/// Bytes of the lock file: who opens or closes the journal,
pub(crate) const OPEN_LOCK: u64 = 0;
/// who flushes,
pub(crate) const FLUSH_LOCK: u64 = 1;
/// who prepares a file,
pub(crate) const PREPARE_LOCK: u64 = 2;
/// who marks records as deleted,
pub(crate) const MARKS_LOCK: u64 = 4;
/// and, shared, all who have it open.
pub(crate) const USE_LOCK: u64 = 3;

/// See the module.
#[derive(Debug)]
pub(crate) struct Core {
    pub(crate) dir: PathBuf,
    pub(crate) id: u128,
    pub(crate) generation: u64,
    pub(crate) names: Names,
    pub(crate) settings: Settings,
    pub(crate) disk: Arc<dyn Disk>,
    /// The lock file, as an open file description of this process.
    pub(crate) locks: Arc<dyn DiskFile>,
    pub(crate) front: Log,
    pub(crate) state: State,
    /// Where the front is.
    pub(crate) front_path: PathBuf,
    /// The process that opened it.
    pub(crate) pid: u32,
    /// What a flush needs; locked for as long as a thread of this process flushes.
    pub(crate) flusher: Mutex<Flusher>,
    /// What this process noted of full files.
    pub(crate) trails: Trails,
    /// Locked while a thread of this process prepares a file.
    pub(crate) preparing: Mutex<()>,
    /// Calls owed when records are durable.
    pub(crate) callbacks: Callbacks,
    /// The marks that this process has seen; locked while it makes some.
    pub(crate) deleted: Mutex<Deleted>,
}

/// Whether files are not what they should be: unless others have changed that meanwhile.
pub(crate) fn is_about_files(error: &JournalError) -> bool {
    use JournalError::{Attach, Damaged, FileLost, MarksDamaged, Os};
    matches!(error, Attach(_) | Damaged { .. } | MarksDamaged { .. } | FileLost { .. } | Os { .. })
}

/// The right to flush: of one thread of all processes.
#[derive(Debug)]
pub(crate) struct Lead<'c> {
    core: &'c Core,
    /// There until it is dropped.
    flusher: Option<MutexGuard<'c, Flusher>>,
}

impl Lead<'_> {
    /// Flushes what is there. Returns how many bytes that were.
    pub(crate) fn flush(&mut self, goal: Goal) -> Result<u64, JournalError> {
        let flushed = self.flusher.as_mut().map_or(Ok(0), |flusher| flusher.flush(self.core, goal));
        flushed.map_err(|error| self.core.located(error))
    }
}

impl Drop for Lead<'_> {
    fn drop(&mut self) {
        // Unlocking one's own lock fails only where locking is impossible too.
        let _ = lock::unlock(self.core.locks.fd(), FLUSH_LOCK);
        self.flusher = None;
        // Last: who is woken finds both free.
        self.core.state.let_go();
    }
}

impl Core {
    /// Takes the right to flush. `None`: another thread or process has it.
    pub(crate) fn try_lead(&self) -> Result<Option<Lead<'_>>, JournalError> {
        self.check_writable()?;
        if self.is_forked() {
            return Err(JournalError::Forked);
        }
        let flusher = match self.flusher.try_lock() {
            Ok(flusher) => flusher,
            Err(TryLockError::WouldBlock) => return Ok(None),
            // Whoever panicked left it as one that was killed would.
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
        };
        match lock::try_lock(self.locks.fd(), FLUSH_LOCK, Mode::Alone) {
            Ok(true) => Ok(Some(Lead { core: self, flusher: Some(flusher) })),
            Ok(false) => Ok(None),
            Err(error) => Err(self.located(JournalError::locking(self.names.lock(), error))),
        }
    }

    /// Does something that only the holder of the flush lock may do.
    pub(crate) fn leading<T>(&self, act: impl FnOnce() -> T) -> Result<T, JournalError> {
        self.with_lead(|_| act())
    }

    /// Does something with the right to flush.
    pub(crate) fn with_lead<T>(&self, act: impl FnOnce(&mut Lead<'_>) -> T) -> Result<T, JournalError> {
        loop {
            let rounds = self.state.rounds();
            if let Some(mut lead) = self.try_lead()? {
                let done = act(&mut lead);
                drop(lead);
                return Ok(done);
            }
            self.state.sleep_in(rounds, None, None);
        }
    }

    /// Makes durable all records below `end`, if they exist.
    pub(crate) fn sync_to(&self, end: u64) -> Result<(), JournalError> {
        if end > self.state.durable() {
            self.check_writable()?;
            if locate::end(&**self.front.mapped()).is_some_and(|(next, _)| end > next) {
                return Err(JoinError::Ahead { seq: end - 1 }.into());
            }
        }
        self.make_durable(end)
    }

    /// Makes durable all records below `end`, which exist.
    pub(crate) fn make_durable(&self, end: u64) -> Result<(), JournalError> {
        self.flush_until(Goal::Durable, Some(end), |state| state.durable() >= end)
    }

    /// Flushes, or waits while somebody else does, until `is_done`. It is when the records below `wanted` are durable, if
    /// that is all there is to it.
    pub(crate) fn flush_until(
        &self,
        goal: Goal,
        wanted: Option<u64>,
        is_done: impl Fn(&State) -> bool,
    ) -> Result<(), JournalError> {
        let mut has_slept = false;
        loop {
            let rounds = self.state.rounds();
            if is_done(&self.state) {
                if has_slept {
                    self.state.pass_on();
                }
                return Ok(());
            }
            self.check()?;
            self.check_writable()?;
            // Who flushes rings when it is done; until then its lock is not asked for, unless in vain: it may have died.
            let lead = if self.state.is_flushing() && !has_slept { None } else { self.try_lead()? };
            has_slept = lead.is_none();
            if let Some(mut lead) = lead {
                // Somebody may have come to the end of it just before.
                let flushed = if is_done(&self.state) { Ok(0) } else { lead.flush(goal) };
                drop(lead);
                self.call_due();
                flushed?;
            } else {
                self.state.sleep_in(rounds, wanted, None);
            }
        }
    }

    /// The hold of the front that keeps what is not in the files yet.
    pub(crate) fn floor(&self) -> u64 {
        self.front.mapped().floor().map_or(0, |floor| floor.hold.0.load(Relaxed))
    }

    /// Refuses a record that the front has given up and the files do not have yet, as far as is known here.
    ///
    /// # Errors
    /// [`JournalError::LeftBehind`]: others go on with the front, and with other words. [`JournalError::FrontCorrupt`]
    #[cold]
    pub(crate) fn check_kept(&self, seq: u64) -> Result<(), JournalError> {
        // In this order: what is given up was written before.
        let is_gone = locate::oldest(&**self.front.mapped()).is_some_and(|(_, oldest)| seq < oldest);
        match is_gone && seq >= self.state.written() {
            false => Ok(()),
            true if self.settings.is_read_only => Err(JournalError::LeftBehind),
            true => Err(JournalError::FrontCorrupt { seq }),
        }
    }

    /// The newest segment of the front.
    pub(crate) fn segment(&self) -> u64 {
        roll::active(&**self.front.mapped())
    }

    /// Whether a good part of the front is not in the files yet.
    pub(crate) fn is_filling(&self) -> bool {
        let mapped = &**self.front.mapped();
        let held = self.segment().saturating_sub(self.floor().saturating_sub(1));
        held >= (mapped.windows() / 4).max(1)
    }

    /// Whether this is a child of the process that opened the journal: it shares its locks and must not use them.
    pub(crate) fn is_forked(&self) -> bool {
        #[cfg(test)]
        if crate::journal::crash::is_abandoned() {
            return true;
        }
        self.pid != std::process::id()
    }

    /// The record after the newest one.
    pub(crate) fn end(&self) -> u64 {
        locate::end(&**self.front.mapped()).map_or(0, |(end, _)| end)
    }

    /// Whether nothing has failed yet.
    #[inline]
    pub(crate) fn check(&self) -> Result<(), JournalError> {
        if self.state.is_failed() { Err(self.failure()) } else { Ok(()) }
    }

    /// Whether this process may change anything.
    #[inline]
    pub(crate) fn check_writable(&self) -> Result<(), JournalError> {
        if self.settings.is_read_only { Err(JournalError::ReadOnly) } else { Ok(()) }
    }

    /// Whether others have begun anew since this process opened the journal for reading only: of what they do, nothing need be
    /// seen here.
    pub(crate) fn is_left_behind(&self) -> bool {
        let is_it = |control: &Control| (control.id, control.generation) == (self.id, self.generation);
        self.settings.is_read_only
            && !matches!(read_control(&*self.disk, &self.names), Ok(Some((control, _))) if is_it(&control))
    }

    /// What is said instead of an error of reading by a process that keeps nobody from beginning anew, and has no part in
    /// it.
    #[cold]
    pub(crate) fn explained(&self, error: JournalError) -> JournalError {
        let is_opened = || lock::is_locked(self.locks.fd(), OPEN_LOCK).unwrap_or(false);
        if self.settings.is_read_only && is_about_files(&error) && (self.is_left_behind() || is_opened()) {
            return JournalError::LeftBehind;
        }
        self.located(error)
    }

    /// An error that says where its file is.
    #[cold]
    pub(crate) fn located(&self, error: JournalError) -> JournalError {
        error.within(&self.dir)
    }

    #[cold]
    fn failure(&self) -> JournalError {
        let (what, error) = self.state.failure().unwrap_or(("flushing", std::io::Error::other("no reason given")));
        JournalError::Failed { dir: self.dir.clone(), what, error }
    }
}
