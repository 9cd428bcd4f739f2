//! Settings of a journal.

use crate::error::JournalError;
use crate::journal::Journal;
use crate::journal::care::retain::Retain;
use crate::journal::opening::open;
use crate::journal::settings::{Flush, FrontHome, Settings};
use std::path::Path;
use std::time::Duration;

/// How a journal is opened, by [`Journal::builder`].
///
/// What concerns the files holds for the journal as it was made; what concerns the front holds for who opens it first;
/// the rest is each process's own.
///
/// ```
/// use shmlog::{Flush, Journal};
/// use std::time::Duration;
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let dir = tempfile::tempdir()?;
/// let journal = Journal::builder()
///     .file_bytes(1 << 20)
///     .flush(Flush::After(Duration::from_millis(2)))
///     .open(dir.path())?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, Default)]
pub struct JournalBuilder {
    pub(crate) settings: Settings,
    /// Where it is, if a file of settings says so.
    #[cfg(feature = "config")]
    pub(crate) directory: Option<std::path::PathBuf>,
}

impl JournalBuilder {
    /// What the names of all files of the journal begin with, so that several can share a directory; nothing by default.
    #[must_use]
    pub fn prefix(mut self, prefix: impl Into<String>) -> Self {
        self.settings.prefix = prefix.into();
        self
    }

    /// Bytes of a file of records, 64 KiB to 16 GiB; 64 MiB by default. Of the journal, as it was made.
    #[must_use]
    pub fn file_bytes(mut self, file_bytes: u64) -> Self {
        self.settings.file_bytes = file_bytes;
        self
    }

    /// When records become durable that nobody asks to be; within 10 ms by default.
    #[must_use]
    pub fn flush(mut self, flush: Flush) -> Self {
        self.settings.flush = flush;
        self
    }

    /// Where the front is; [`FrontHome::Auto`] by default.
    #[must_use]
    pub fn front(mut self, home: FrontHome) -> Self {
        self.settings.front = home;
        self
    }

    /// Windows of the front and bytes of each; 8 of 2 MiB by default. So much can wait for the disk before appends do.
    /// A record is shorter than a window.
    #[must_use]
    pub fn front_size(mut self, windows: u64, window_bytes: u64) -> Self {
        (self.settings.front_windows, self.settings.front_window_bytes) = (windows, window_bytes);
        self
    }

    /// Length of a typical record, 1 to a window; 48 by default. As for a log.
    #[must_use]
    pub fn record_bytes(mut self, record_bytes: u64) -> Self {
        self.settings.record_bytes = record_bytes;
        self
    }

    /// How much is kept; everything by default. Looked at when a file is full, and, for the age, now and then.
    #[must_use]
    pub fn retain(mut self, retain: Retain) -> Self {
        self.settings.retain = retain;
        self
    }

    /// Permissions of the files and of the front; 0600 by default.
    #[must_use]
    pub fn mode(mut self, mode: u32) -> Self {
        self.settings.mode = mode;
        self
    }

    /// How long opening waits while another process opens or closes the journal; 30 s by default.
    #[must_use]
    pub fn open_wait(mut self, open_wait: Duration) -> Self {
        self.settings.open_wait = open_wait;
        self
    }

    /// Whether a thread of this process flushes in time and prepares files ahead; true by default. Without one, records
    /// become durable only when somebody asks for it, or another process has such a thread; and whoever finds the front
    /// full flushes it.
    #[must_use]
    pub fn thread(mut self, has_thread: bool) -> Self {
        self.settings.has_thread = has_thread;
        self
    }

    /// Whether it is opened for reading only; false by default. It then needs no right to write, takes no lock, and
    /// changes nothing, in the directory or elsewhere: for an auditor, a backup, a directory that is mounted read-only.
    /// What would change something is [`JournalError::ReadOnly`].
    ///
    /// While others have the journal open, or have left records in memory, it sees what they commit as they commit it, and
    /// waits for more by looking now and then.
    /// Otherwise it sees what the files hold, as it was when it was opened; who waits for more
    /// ([`JournalReader::next_timeout`](crate::JournalReader::next_timeout)), or looks for what is not there any more,
    /// learns that others have begun to write ([`JournalError::LeftBehind`]).
    #[must_use]
    pub fn read_only(mut self, is_read_only: bool) -> Self {
        self.settings.is_read_only = is_read_only;
        self
    }

    /// Opens the journal in `dir`, or makes both (but not for reading only).
    ///
    /// # Errors
    /// [`JournalError`]
    pub fn open(&self, dir: impl AsRef<Path>) -> Result<Journal, JournalError> {
        let (core, recovery) = open::open(dir.as_ref(), &self.settings, true)?;
        Journal::of(core, recovery)
    }

    /// Opens the journal in `dir`, which is there.
    ///
    /// # Errors
    /// [`JournalError::NotFound`]; others.
    pub fn open_existing(&self, dir: impl AsRef<Path>) -> Result<Journal, JournalError> {
        let (core, recovery) = open::open(dir.as_ref(), &self.settings, false)?;
        Journal::of(core, recovery)
    }
}
