//! Files prepared ahead of need: a commit then changes no metadata.
//!
//! Allocated, written with zeroes and synced under another name, so that what is written later overwrites blocks which
//! the file has for good. Measured on ext4: a commit into such a file takes 55-63 us, into unwritten extents 95-108.

use crate::error::JournalError;
use crate::journal::core::{Core, PREPARE_LOCK};
use crate::sys::disk::{DiskFile, Open};
use crate::sys::lock::{self, Mode};
use std::io;
use std::time::Duration;

/// Bytes of zeroes written at a time.
const ZEROES: usize = 1 << 20;
/// How long somebody else who prepares a file is waited for before the lock is tried again.
const NAP: Duration = Duration::from_micros(200);

impl Core {
    /// Prepares a file, unless there is one, or somebody else is about it. For whoever has nothing better to do. Returns
    /// whether there is one now.
    pub(crate) fn prepare_ahead(&self) -> Result<bool, JournalError> {
        let Some(_guard) = self.lock_prepare(false)? else { return Ok(false) };
        self.prepare().map(|()| true)
    }

    /// Sees to it that there is a file to be used, waiting for who prepares one.
    pub(crate) fn prepare_now(&self) -> Result<(), JournalError> {
        let Some(_guard) = self.lock_prepare(true)? else { return Ok(()) };
        self.prepare()
    }

    /// Under the lock.
    fn prepare(&self) -> Result<(), JournalError> {
        let (spare, draft) = (self.names.spare(), self.names.spare_draft());
        match self.disk.open(&spare, Open::Read).and_then(|file| file.len()) {
            Ok(len) if len == self.settings.file_bytes => return Ok(()),
            // None of ours, or of another size.
            Ok(_) => self.disk.remove(&spare).map_err(|error| self.refused("removing", &spare, error))?,
            Err(_) => {}
        }
        let file = self.disk.open(&draft, Open::Create).map_err(|error| self.refused("making", &draft, error))?;
        self.fill(&*file).map_err(|error| {
            // What it could have is given back.
            let _ = file.truncate(0);
            self.refused("preparing", &draft, error)
        })?;
        let named = self.disk.rename(&draft, &spare).and_then(|()| self.disk.sync());
        named.map_err(|error| self.refused("naming", &spare, error))
    }

    fn fill(&self, file: &dyn DiskFile) -> io::Result<()> {
        let len = self.settings.file_bytes;
        file.allocate(len)?;
        if self.settings.is_zeroed_ahead() {
            let zeroes = vec![0; ZEROES];
            let mut offset = 0;
            while offset < len {
                let some = usize::try_from(len - offset).map_or(ZEROES, |left| left.min(ZEROES));
                file.write_at(&zeroes[..some], offset)?;
                offset += some as u64;
            }
        }
        file.sync()
    }

    fn refused(&self, doing: &'static str, name: &str, error: io::Error) -> JournalError {
        JournalError::disk(doing, name, self.settings.file_bytes, error)
    }

    /// `None`: somebody else has it.
    pub(crate) fn lock_prepare(&self, is_waiting: bool) -> Result<Option<PrepareGuard<'_>>, JournalError> {
        let os = |error| JournalError::locking(self.names.lock(), error);
        loop {
            // Within the process, where the lock is everybody's.
            if let Ok(inner) = self.preparing.try_lock()
                && lock::try_lock(self.locks.fd(), PREPARE_LOCK, Mode::Alone).map_err(os)?
            {
                return Ok(Some(PrepareGuard { core: self, _inner: inner }));
            }
            if !is_waiting {
                return Ok(None);
            }
            std::thread::sleep(NAP);
        }
    }
}

pub(crate) struct PrepareGuard<'c> {
    core: &'c Core,
    _inner: std::sync::MutexGuard<'c, ()>,
}

impl Drop for PrepareGuard<'_> {
    fn drop(&mut self) {
        // Unlocking one's own lock fails only where locking is impossible too.
        let _ = lock::unlock(self.core.locks.fd(), PREPARE_LOCK);
    }
}
