//! Appending to a journal.

use crate::error::{AppendError, JournalError};
use crate::journal::Inner;
use crate::journal::core::Core;
use crate::journal::cursors::ENTRY_BYTES;
use crate::journal::flushing::flush::Goal;
use crate::journal::format::BLOCK_BYTES;
use crate::journal::settings::Flush;
use crate::journal::slot::JournalSlot;
use crate::layout::journal::MAX_CURSORS;
use crate::log::{Appender, Shared};
use crate::participant::Role;
use std::sync::Arc;
use zerocopy::{Immutable, IntoBytes};

/// Bytes of a file that no record can have: its first block, a mark, the cursors, heads.
const OVERHEAD_BYTES: u64 = BLOCK_BYTES + 64 + (MAX_CURSORS * ENTRY_BYTES) as u64;

/// A handle that appends to a journal. One thread at a time; take another one for another thread.
///
/// As with an [`Appender`], a record is there for everybody by one instruction, without a system call and without a
/// checksum. It becomes durable in time, or when somebody asks for it. When the front is full, appending waits for the
/// disk.
#[derive(Debug)]
pub struct JournalAppender {
    inner: Arc<Inner>,
    appender: Appender<Shared>,
    limit_bytes: usize,
}

impl JournalAppender {
    pub(crate) fn join(inner: &Arc<Inner>, name: &str) -> Result<Self, JournalError> {
        let core = &inner.core;
        core.check()?;
        core.check_writable()?;
        let appender = core.front.appender_named(name)?;
        let of_file = usize::try_from(core.settings.file_bytes - OVERHEAD_BYTES).unwrap_or(usize::MAX);
        let limit_bytes = appender.limit_bytes().min(of_file);
        Ok(Self { inner: Arc::clone(inner), appender, limit_bytes })
    }

    /// Appends one record and returns its sequence number. When it returns, the record is there for every process, and
    /// survives them all.
    ///
    /// Waits for the disk while the front is full.
    ///
    /// # Errors
    /// [`JournalError::DiskFull`], [`JournalError::Failed`], [`JournalError::Append`]; nothing was appended.
    #[inline]
    pub fn append(&mut self, bytes: &[u8]) -> Result<u64, JournalError> {
        self.check(bytes.len())?;
        match self.appender.append(bytes) {
            Ok(seq) => Ok(seq),
            Err(error) => self.append_slowly(error, |appender| appender.append(bytes)),
        }
    }

    /// Appends several parts as one record: all of them become visible, and durable, or none. Each costs eight bytes
    /// more than its length.
    ///
    /// # Errors
    /// As [`JournalAppender::append`].
    pub fn append_parts(&mut self, parts: &[&[u8]]) -> Result<u64, JournalError> {
        self.check(crate::log::parts::len_bytes(parts))?;
        match self.appender.append_parts(parts) {
            Ok(seq) => Ok(seq),
            Err(error) => self.append_slowly(error, |appender| appender.append_parts(parts)),
        }
    }

    /// Appends plain data.
    ///
    /// # Errors
    /// As [`JournalAppender::append`].
    #[inline]
    pub fn append_value<T: IntoBytes + Immutable + ?Sized>(&mut self, value: &T) -> Result<u64, JournalError> {
        self.append(value.as_bytes())
    }

    /// Appends one record and returns when it is durable: together with those of others, by one write and one sync.
    ///
    /// # Errors
    /// As [`JournalAppender::append`]. After an error of flushing the record is there, and not durable: it may survive
    /// or not.
    pub fn append_durable(&mut self, bytes: &[u8]) -> Result<u64, JournalError> {
        let seq = self.append(bytes)?;
        self.core().make_durable(seq + 1)?;
        Ok(seq)
    }

    /// Appends several parts as one record and returns when it is durable.
    ///
    /// # Errors
    /// As [`JournalAppender::append_durable`].
    pub fn append_parts_durable(&mut self, parts: &[&[u8]]) -> Result<u64, JournalError> {
        let seq = self.append_parts(parts)?;
        self.core().make_durable(seq + 1)?;
        Ok(seq)
    }

    /// Reserves `len_bytes` to be written in place, then committed or dropped.
    ///
    /// While the [`JournalSlot`] lives, its segment of the front is kept: when the front has come round to it, nobody can
    /// append.
    ///
    /// # Errors
    /// As [`JournalAppender::append`].
    pub fn reserve(&mut self, len_bytes: usize) -> Result<JournalSlot<'_>, JournalError> {
        self.check(len_bytes)?;
        let at = match self.appender.reserve_at(len_bytes) {
            Ok(at) => at,
            Err(error) => self.append_slowly(error, |appender| appender.reserve_at(len_bytes))?,
        };
        Ok(JournalSlot::new(self, at, len_bytes))
    }

    /// Makes durable all records below `end`, as [`Journal::sync_to`](crate::Journal::sync_to).
    ///
    /// # Errors
    /// [`JournalError::Failed`], [`JournalError::DiskFull`]; [`JournalError::Join`]: there are no such records yet.
    pub fn sync_to(&self, end: u64) -> Result<(), JournalError> {
        self.core().sync_to(end)
    }

    /// The longest record, in bytes.
    pub fn limit_bytes(&self) -> usize {
        self.limit_bytes
    }

    pub(crate) fn front(&self) -> &Appender<Shared> {
        &self.appender
    }

    pub(crate) fn front_mut(&mut self) -> &mut Appender<Shared> {
        &mut self.appender
    }

    fn core(&self) -> &Core {
        &self.inner.core
    }

    #[inline]
    fn check(&self, len_bytes: usize) -> Result<(), JournalError> {
        self.inner.core.check()?;
        if len_bytes <= self.limit_bytes {
            return Ok(());
        }
        Err(AppendError::TooLarge { len_bytes, limit_bytes: self.limit_bytes }.into())
    }

    /// Makes room in the front as long as it is the flush that it waits for.
    #[cold]
    fn append_slowly<T>(
        &mut self,
        mut error: AppendError,
        attempt: impl Fn(&mut Appender<Shared>) -> Result<T, AppendError>,
    ) -> Result<T, JournalError> {
        let inner = Arc::clone(&self.inner);
        let core = &*inner.core;
        let goal = if core.settings.flush == Flush::Never { Goal::Written } else { Goal::Durable };
        loop {
            match &error {
                AppendError::Full { by: Some(holder), .. } if holder.role == Some(Role::Flusher) => {}
                _ => return Err(error.into()),
            }
            // Before the next try: what moves after it is not missed.
            let before = core.floor();
            match attempt(&mut self.appender) {
                Ok(done) => return Ok(done),
                Err(again) => error = again,
            }
            core.flush_until(goal, None, |_| core.floor() != before)?;
        }
    }
}
