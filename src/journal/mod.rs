//! The journal: the same log, durable, for many processes at once.
//!
//! A directory that any number of processes open. They append to and read from its *front*, a gated log on tmpfs; whoever
//! wants records durable, or a thread that sees to it that all become so in time, takes what was committed there to the
//! files (`flushing`). `format` says what bytes these are, `files` which files there are, `reading` finds records again,
//! `opening` is how a journal begins, goes on after a crash, and is left, `care` what is kept of it and whether all is sound.

mod appender;
mod builder;
mod care;
#[cfg(feature = "config")]
mod config;
mod core;
#[cfg(test)]
mod crash;
mod cursors;
#[cfg(test)]
mod failing;
mod files;
mod flushing;
mod format;
mod opening;
mod reading;
mod settings;
mod slot;
mod state;

pub use appender::JournalAppender;
pub use builder::JournalBuilder;
pub use care::aside::SetAside;
pub use care::repair::Repaired;
pub use care::retain::Retain;
pub use care::verify::{Problem, Verified, VerifyProgress};
pub use cursors::JournalCursor;
pub use flushing::durable::OnDurable;
pub use reading::reader::JournalReader;
pub use reading::reader_builder::JournalReaderBuilder;
pub use reading::record::{JournalParts, JournalRecord};
pub use settings::{Flush, FrontHome};
pub use slot::JournalSlot;

use crate::error::JournalError;
use crate::journal::core::Core;
use crate::journal::flushing::background::Background;
use crate::log::{Log, Start};
use crate::wait;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// What was found in a journal's files when it was opened after a crash, or for the first time since the boot.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Recovery {
    /// Records below this one had been durable for sure: the files prove it.
    pub durable: u64,
    /// Records below this one are kept: those above `durable` were whole, and are durable now.
    pub kept: u64,
    /// Bytes behind the end of the records that may have been written there, and were put aside.
    pub torn_bytes: u64,
    /// The files in which it was put aside: see [`Journal::set_aside`].
    pub quarantined: Vec<String>,
    /// How often the journal has been recovered.
    pub generation: u64,
    /// Records that were not in the files, but in the memory of the processes that had the journal open when flushing
    /// failed. They are kept, and not durable yet.
    pub salvaged: u64,
    /// The last process had closed it: nothing was scanned.
    pub was_closed: bool,
    /// Bytes that were read to find the end.
    pub scanned_bytes: u64,
}

/// A journal that this process has open. Cheap to clone; handles are taken from it, for as many threads as there are.
///
/// Other processes may have it open at the same time, append, read, flush, be killed at any instruction: what was
/// committed stays, what was durable survives power loss, nobody is blocked.
///
/// Closed when the last clone and handle is dropped, or by [`Journal::close`], which says whether that went well. What
/// was appended is then durable.
///
/// ```
/// use shmlog::{Journal, Start};
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let dir = tempfile::tempdir()?;
/// # let dir = dir.path().join("orders");
/// let journal = Journal::open(&dir)?;
/// let mut appender = journal.appender()?;
/// let seq = appender.append_durable(b"first")?;
/// let mut reader = journal.reader(Start::Oldest)?;
/// let record = reader.try_next()?.expect("just appended");
/// assert_eq!((record.seq(), record.bytes()), (seq, &b"first"[..]));
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Journal {
    inner: Arc<Inner>,
}

/// Dropped last: closes the journal.
#[derive(Debug)]
pub(crate) struct Inner {
    core: Arc<Core>,
    /// Dropped first: it must be done before the journal is closed.
    background: Option<Background>,
    recovery: Option<Recovery>,
    is_closed: bool,
}

impl Inner {
    /// Once.
    fn close(&mut self) -> Result<(), JournalError> {
        if self.core.is_forked() {
            // The thread is not here, and the locks are the parent's.
            std::mem::forget(self.background.take());
            return Ok(());
        }
        self.background = None;
        if self.core.settings.is_read_only || std::mem::replace(&mut self.is_closed, true) {
            return Ok(());
        }
        let closed = self.core.close();
        self.core.call_due();
        self.core.call_rest();
        closed
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        if let Err(error) = self.close() {
            tracing::warn!(%error, "closing a journal");
        }
    }
}

impl Journal {
    /// Settings.
    pub fn builder() -> JournalBuilder {
        JournalBuilder::default()
    }

    /// Opens the journal in `dir`, or makes it, with default settings.
    ///
    /// # Errors
    /// [`JournalError`]
    pub fn open(dir: impl AsRef<Path>) -> Result<Self, JournalError> {
        Self::builder().open(dir)
    }

    /// Opens the journal in `dir` for reading only, with default settings: [`JournalBuilder::read_only`].
    ///
    /// # Errors
    /// [`JournalError`]
    pub fn open_read_only(dir: impl AsRef<Path>) -> Result<Self, JournalError> {
        Self::builder().read_only(true).open(dir)
    }

    fn of(core: Core, recovery: Option<Recovery>) -> Result<Self, JournalError> {
        let core = Arc::new(core);
        let has_thread = core.settings.has_thread && !core.settings.is_read_only;
        let background = has_thread.then(|| Background::start(&core)).transpose()?;
        Ok(Self { inner: Arc::new(Inner { core, background, recovery, is_closed: false }) })
    }

    /// Takes an appender, one for each thread.
    ///
    /// # Errors
    /// [`JournalError::Join`]: there are too many of all processes together, 64.
    pub fn appender(&self) -> Result<JournalAppender, JournalError> {
        JournalAppender::join(&self.inner, "")
    }

    /// Takes an appender with a name, at most 32 bytes of it, for others to see.
    ///
    /// # Errors
    /// As [`Journal::appender`].
    pub fn appender_named(&self, name: &str) -> Result<JournalAppender, JournalError> {
        JournalAppender::join(&self.inner, name)
    }

    /// Takes a reader of all that is committed.
    ///
    /// # Errors
    /// [`JournalError`]: no such record, or no such file.
    pub fn reader(&self, start: Start) -> Result<JournalReader, JournalError> {
        self.reader_builder().start(start)
    }

    /// Settings for a reader.
    pub fn reader_builder(&self) -> JournalReaderBuilder<'_> {
        JournalReaderBuilder::new(self)
    }

    /// Makes durable all that is committed now. Returns the number of the first record that need not be.
    ///
    /// # Errors
    /// [`JournalError::Failed`], [`JournalError::DiskFull`]; then nothing is said of what was not durable before.
    pub fn sync(&self) -> Result<u64, JournalError> {
        let end = self.next_seq();
        self.core().make_durable(end)?;
        Ok(end)
    }

    /// Makes durable all records below `end`: `seq + 1` for record `seq`. Together with what others want durable meanwhile,
    /// by one write and one sync of whoever comes first.
    ///
    /// # Errors
    /// As [`Journal::sync`]. [`JournalError::Join`]: there are no such records yet.
    pub fn sync_to(&self, end: u64) -> Result<(), JournalError> {
        self.core().sync_to(end)
    }

    /// Records below this one are durable.
    pub fn durable(&self) -> u64 {
        self.core().state.durable()
    }

    /// The number of the next record.
    pub fn next_seq(&self) -> u64 {
        self.core().end()
    }

    /// Waits until records below `end` are durable, `seq + 1` for record `seq`, without doing anything for it: others do, or
    /// this process's thread. They need not exist yet. Returns whether they are.
    ///
    /// # Errors
    /// [`JournalError::Failed`]; [`JournalError::LeftBehind`]: it is open for reading only, and can't see it.
    pub fn wait_durable(&self, end: u64, timeout: Duration) -> Result<bool, JournalError> {
        self.core().wait_durable(end, wait::deadline_in(timeout))
    }

    /// A handle that tells when records below `end` are durable: for other threads, or for later.
    ///
    /// ```
    /// # use shmlog::Journal;
    /// # use std::time::Duration;
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let dir = tempfile::tempdir()?;
    /// # let journal = Journal::open(dir.path())?;
    /// let seq = journal.appender()?.append(b"an order")?;     // returns at once
    /// let told = journal.on_durable(seq + 1);
    /// let answering = std::thread::spawn(move || told.wait(Duration::from_secs(5)));
    /// assert!(answering.join().unwrap()?, "within 10 ms, unless the disk is slow");
    /// # Ok(())
    /// # }
    /// ```
    pub fn on_durable(&self, end: u64) -> OnDurable {
        OnDurable::new(&self.inner, end)
    }

    /// Calls `call`, once, when records below `end` are durable, with an error if they never will be: from the thread that
    /// makes them so, if that is one of this process, else from the journal's thread (without one, at the next flush of
    /// this process). It must not wait for the journal. At once, if they are durable already; and if it is open for
    /// reading only, with [`JournalError::ReadOnly`] if they are not: nothing is flushed here then.
    ///
    /// If the journal is closed here before that, as the records were never appended, with [`JournalError::Closed`], by whoever
    /// closes it. A call that owns a handle of the journal keeps it open until then.
    pub fn when_durable(&self, end: u64, call: impl FnOnce(Result<(), JournalError>) + Send + 'static) {
        let core = self.core();
        if core.settings.is_read_only && core.state.durable() < end {
            return call(Err(JournalError::ReadOnly));
        }
        core.callbacks.add(end, Box::new(call));
        core.call_due();
        if let Some(background) = &self.inner.background {
            background.wake();
        }
    }

    /// What was found when this process opened the journal; `None` if it joined others that had it open, or found all
    /// in memory that they had left there. If it is open for reading only, nothing was put aside or made durable.
    pub fn recovery(&self) -> Option<&Recovery> {
        self.inner.recovery.as_ref()
    }

    /// Whether it is open for reading only.
    pub fn is_read_only(&self) -> bool {
        self.core().settings.is_read_only
    }

    /// The log in memory that appenders append to and readers follow: for its [`Log::info`]. One without records, if it
    /// is open for reading only and nobody else has it open.
    pub fn front(&self) -> &Log {
        &self.core().front
    }

    /// Makes everything durable and closes the journal, if this is the last clone and no handle is left; otherwise it
    /// only makes everything durable. Nothing but closes it, if it is open for reading only.
    ///
    /// # Errors
    /// As [`Journal::sync`], and what the system says. Nothing is lost then: who opens it next goes on with what is in memory.
    pub fn close(self) -> Result<(), JournalError> {
        if self.is_read_only() {
            return Ok(());
        }
        self.sync()?;
        Arc::into_inner(self.inner).map_or(Ok(()), |mut inner| inner.close())
    }

    pub(crate) fn core(&self) -> &Arc<Core> {
        &self.inner.core
    }
}
