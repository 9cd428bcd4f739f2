//! Where a reader of a journal begins, and what it reads.

use crate::error::JournalError;
use crate::journal::Journal;
use crate::journal::reading::reader::JournalReader;
use crate::log::Start;

/// Settings of a reader, by [`Journal::reader_builder`].
#[derive(Clone, Debug)]
pub struct JournalReaderBuilder<'j> {
    journal: &'j Journal,
    is_durable_only: bool,
}

impl<'j> JournalReaderBuilder<'j> {
    pub(crate) fn new(journal: &'j Journal) -> Self {
        Self { journal, is_durable_only: false }
    }

    /// Whether it reads durable records only: what it has seen, no crash takes back. False by default: it reads whatever
    /// is committed.
    #[must_use]
    pub fn durable_only(mut self, is_durable_only: bool) -> Self {
        self.is_durable_only = is_durable_only;
        self
    }

    /// Takes its place. [`Start::First`] is record 0, [`Start::Oldest`] the oldest one that is kept.
    ///
    /// # Errors
    /// [`JournalError::Lagged`]: the record was given up; [`JournalError::Join`]: there is no such record yet.
    pub fn start(self, start: Start) -> Result<JournalReader, JournalError> {
        let core = self.journal.core();
        let (oldest, end) = (core.state.oldest(), core.end());
        let next = match start {
            Start::Oldest => oldest,
            Start::First => 0,
            Start::At(seq) => seq,
            Start::End if self.is_durable_only => core.state.durable(),
            Start::End => end,
        };
        let mut reader = JournalReader::new(&self.journal.inner, oldest, self.is_durable_only);
        if next != oldest {
            reader.seek(next)?;
        }
        Ok(reader)
    }
}
