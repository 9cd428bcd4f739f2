//! A reservation in a journal: room for a record, to be written in place.

use crate::core::append::Append;
use crate::core::copy;
use crate::error::{AppendError, CommitError, JournalError};
use crate::journal::appender::JournalAppender;
use crate::layout::entry::Kind;
use crate::participant::Role;
use crate::sync::AtomicU64;

/// Room for a record, by [`JournalAppender::reserve`]. Nobody sees it before [`JournalSlot::commit`]; dropping it costs
/// nothing but the bytes. What it holds at first is unspecified.
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let dir = tempfile::tempdir()?;
/// let journal = shmlog::Journal::open(dir.path())?;
/// let mut appender = journal.appender()?;
/// let mut slot = appender.reserve(8)?;
/// slot.write(0, b"in ");
/// slot.write(3, b"place");
/// let seq = slot.commit()?;
/// # assert_eq!(journal.reader(shmlog::Start::First)?.get(seq)?.unwrap().bytes(), b"in place");
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
#[must_use = "a slot that is dropped is not committed"]
pub struct JournalSlot<'a> {
    appender: &'a mut JournalAppender,
    at: usize,
    len_bytes: usize,
}

impl<'a> JournalSlot<'a> {
    pub(crate) fn new(appender: &'a mut JournalAppender, at: usize, len_bytes: usize) -> Self {
        Self { appender, at, len_bytes }
    }

    /// Its length in bytes.
    pub fn len(&self) -> usize {
        self.len_bytes
    }

    /// Whether it has no bytes.
    pub fn is_empty(&self) -> bool {
        self.len_bytes == 0
    }

    /// The words of the reservation, the last one padded.
    pub fn words(&self) -> &[AtomicU64] {
        self.appender.front().core().tip().payload(self.at, self.len_bytes.div_ceil(8))
    }

    /// Writes `bytes` at `offset`; what does not fit is left out. Returns how many were written.
    pub fn write(&mut self, offset: usize, bytes: &[u8]) -> usize {
        let room = self.len_bytes.saturating_sub(offset);
        let bytes = bytes.get(..room).unwrap_or(bytes);
        copy::write_at(self.words(), offset, bytes);
        bytes.len()
    }

    /// Commits: from here on the record is there for everybody. Returns its sequence number.
    ///
    /// If its segment of the front was closed by others meanwhile, the bytes are copied to the next one, for which it may
    /// have to wait for the disk.
    ///
    /// # Errors
    /// As [`JournalAppender::append`]; nothing was appended.
    pub fn commit(self) -> Result<u64, JournalError> {
        let len_bytes = self.len_bytes;
        self.commit_first(len_bytes)
    }

    /// Commits the first `len_bytes` only (all of it if there are fewer).
    ///
    /// # Errors
    /// As [`JournalSlot::commit`].
    pub fn commit_first(self, len_bytes: usize) -> Result<u64, JournalError> {
        let len_bytes = len_bytes.min(self.len_bytes);
        match self.appender.front_mut().commit(Kind::Record, self.at, len_bytes) {
            Ok(seq) => Ok(seq),
            Err(CommitError { error: AppendError::Full { by: Some(holder), .. }, bytes })
                if holder.role == Some(Role::Flusher) =>
            {
                self.appender.append(&bytes)
            }
            Err(error) => Err(error.error.into()),
        }
    }
}

impl Drop for JournalSlot<'_> {
    fn drop(&mut self) {
        self.appender.front_mut().core_mut().release();
        self.appender.front().ring_room();
    }
}
