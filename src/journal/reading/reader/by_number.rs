//! Records by their numbers, wherever a reader stands.

use super::{JournalReader, take};
use crate::error::{JournalError, ReadError};
use crate::journal::core::{Core, is_about_files};
use crate::journal::reading::record::JournalRecord;
use crate::log::Start;
use std::sync::Arc;

impl JournalReader {
    /// Record `seq`, wherever the reader stands. `None`: it does not exist yet, or is not durable yet.
    ///
    /// # Errors
    /// [`JournalError::GivenUp`]. [`JournalError::Deleted`]. Others as [`JournalReader::try_next`].
    pub fn get(&mut self, seq: u64) -> Result<Option<JournalRecord<'_>>, JournalError> {
        let found = self.find(seq).map_err(|error| {
            let is_given_up = is_about_files(&error) && seq < self.inner.core.state.oldest();
            if is_given_up { self.inner.core.given_up(seq) } else { self.inner.core.explained(error) }
        })?;
        Ok(found.map(|is_batch| JournalRecord::new(seq, is_batch, &self.buffer)))
    }

    /// Copies record `seq` to the buffer. Returns whether it is a batch.
    fn find(&mut self, seq: u64) -> Result<Option<bool>, JournalError> {
        let inner = Arc::clone(&self.inner);
        let core = &*inner.core;
        if self.limit != u64::MAX && seq >= core.state.durable() {
            return Ok(None);
        }
        self.deleted.refresh(core)?;
        if self.deleted.contains(seq) {
            return Err(JournalError::Deleted { seq });
        }
        if let Some(is_batch) = self.get_recent(core, seq)? {
            return Ok(Some(is_batch));
        }
        // It is not there yet, or not in memory any more.
        if seq >= core.state.written() {
            return core.check_kept(seq).map(|()| None);
        }
        if seq < core.state.oldest() {
            return Err(core.given_up(seq));
        }
        let found = self.shelf.get(core, seq, &mut self.buffer);
        if found.is_err() {
            self.deleted.refresh(core)?;
            if self.deleted.contains(seq) {
                return Err(JournalError::Deleted { seq });
            }
        }
        found?.map(Some).ok_or_else(|| JournalError::FileLost { file: core.names.log(seq), from: seq, to: seq + 1 })
    }

    /// Copies a record out of the front, if it is there. Returns whether it is a batch.
    #[inline]
    fn get_recent(&mut self, core: &Core, seq: u64) -> Result<Option<bool>, JournalError> {
        if self.recent.is_none() {
            self.recent = Some(core.front.reader(Start::End)?);
        }
        let Some(front) = &self.recent else { return Ok(None) };
        let found = match front.get(seq) {
            Ok(Some(record)) => take(&record, &mut self.buffer).map(|record| Some(record.is_batch())),
            Ok(None) | Err(ReadError::GivenUp { .. }) => Ok(None),
            Err(error) => Err(error.into()),
        };
        match found {
            // Recycled while it was copied.
            Err(JournalError::Read(ReadError::GivenUp { .. })) => Ok(None),
            found => found,
        }
    }
}
