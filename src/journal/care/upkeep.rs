//! What is kept of a journal and what is given up, its cursors, and whether all of it is sound: what [`Journal`] is asked
//! beside appending and reading.

use crate::error::JournalError;
use crate::journal::Journal;
use crate::journal::care::repair::Repaired;
use crate::journal::care::verify::{Verified, VerifyProgress, verify};
use crate::journal::cursors::JournalCursor;
use crate::journal::opening::open::repair_at;
use std::path::Path;

impl Journal {
    /// The oldest record that is kept.
    pub fn oldest(&self) -> u64 {
        self.core().state.oldest()
    }

    /// Gives up the records below `before`, as far as they are durable, and the files that hold no others but the one that
    /// is written to. Returns the oldest one that is kept. Durable when it returns. No cursor keeps it from anything.
    ///
    /// # Errors
    /// [`JournalError`]; then it may have been done in part.
    pub fn prune(&self, before: u64) -> Result<u64, JournalError> {
        let core = self.core();
        core.with_lead(|lead| lead.prune(core, before))?
    }

    /// Deletes records: nobody reads them any more, from now on. Returns how many were not deleted yet. It becomes durable
    /// with the next sync, as records do. A file all of whose records are deleted gives its room
    /// back, when another one follows it (later, by a thread of a process, if they were deleted before that).
    ///
    /// # Errors
    /// [`JournalError::Join`]: there is no such record; [`JournalError::GivenUp`]: one was given up. Then none is deleted.
    /// [`JournalError::DiskFull`], and what the system says: then some may be.
    pub fn delete(&self, seqs: &[u64]) -> Result<u64, JournalError> {
        self.core().check_writable()?;
        self.core().delete(seqs).map_err(|error| self.core().located(error))
    }

    /// Deletes records and returns when that is durable.
    ///
    /// # Errors
    /// As [`Journal::delete`] and [`Journal::sync`].
    pub fn delete_durable(&self, seqs: &[u64]) -> Result<u64, JournalError> {
        let count = self.delete(seqs)?;
        self.core().sync_marks()?;
        Ok(count)
    }

    /// The named cursor, made at the oldest record if there is none.
    ///
    /// # Errors
    /// [`JournalError::TooManyCursors`], 256; [`JournalError::Setting`]: it can't be a name.
    pub fn cursor(&self, name: &str) -> Result<JournalCursor, JournalError> {
        JournalCursor::open(&self.inner, name)
    }

    /// All cursors: their names, and the records they are at.
    pub fn cursors(&self) -> Vec<(String, u64)> {
        self.core().state.cursor_table().0.cursors
    }

    /// Looks through all of the journal in `dir`, whose files begin with `prefix`: every checksum, every index, the
    /// cursors, whether anything is missing. Changes nothing; others may use the journal meanwhile. `progress` is called
    /// now and then.
    ///
    /// # Errors
    /// [`JournalError::NotFound`], and what the system says. What is wrong with the journal is no error but what was
    /// asked for: [`Verified::problems`].
    pub fn verify(
        dir: impl AsRef<Path>,
        prefix: &str,
        progress: impl FnMut(&VerifyProgress),
    ) -> Result<Verified, JournalError> {
        verify(dir.as_ref(), prefix, progress).map_err(|error| error.within(dir.as_ref()))
    }

    /// Makes a journal usable again from which records are gone, in `dir`, whose files begin with `prefix`: what can't be
    /// read is put aside, what is left keeps its numbers, and readers learn what is missing ([`JournalError::Lost`]). See
    /// [`Journal::verify`] first.
    ///
    /// # Errors
    /// [`JournalError::InUse`]; what the system says. It may be made again.
    pub fn repair(dir: impl AsRef<Path>, prefix: &str) -> Result<Repaired, JournalError> {
        repair_at(dir.as_ref(), prefix).map_err(|error| error.within(dir.as_ref()))
    }
}
