//! Reading a journal: recent records from memory, older ones from the files, by one handle.

mod by_number;

use crate::error::{JoinError, JournalError, ReadError};
use crate::journal::Inner;
use crate::journal::care::deleted::Deleted;
use crate::journal::core::is_about_files;
use crate::journal::files;
use crate::journal::reading::record::JournalRecord;
use crate::journal::reading::shelf::Shelf;
use crate::journal::reading::stream::FrameStream;
use crate::log::{Reader, Record, Start};
use crate::wait;
use std::sync::Arc;
use std::time::Duration;

/// How long who has a journal open for reading only waits before looking around.
pub(crate) const SLICE: Duration = Duration::from_millis(50);

/// Where the next record comes from.
#[derive(Debug)]
enum Source {
    /// Not known.
    None,
    /// The front.
    Front(Reader),
    /// A file, and the first record of the one after it.
    File(FrameStream, Option<u64>),
}

impl Source {
    /// The next record is not the one that the front's reader is at.
    fn forget_front(&mut self) {
        if matches!(self, Self::Front(_)) {
            *self = Self::None;
        }
    }
}

/// What is at the place.
enum Here {
    Front,
    File,
    Nothing,
}

/// A handle that reads a journal, at a position of its own. It costs the appenders nothing.
#[derive(Debug)]
pub struct JournalReader {
    inner: Arc<Inner>,
    source: Source,
    shelf: Shelf,
    deleted: Deleted,
    buffer: Vec<u8>,
    /// For records by number.
    recent: Option<Reader>,
    /// The record that comes next.
    next: u64,
    /// Records below this one are in the files, if not more are.
    written: u64,
    /// Records from there on are not read before they are known to be durable; all are, if that is no matter.
    limit: u64,
}

impl JournalReader {
    pub(crate) fn new(inner: &Arc<Inner>, next: u64, is_durable_only: bool) -> Self {
        Self {
            inner: Arc::clone(inner),
            source: Source::None,
            shelf: Shelf::default(),
            deleted: Deleted::default(),
            buffer: Vec::new(),
            recent: None,
            next,
            written: 0,
            limit: if is_durable_only { 0 } else { u64::MAX },
        }
    }

    /// The next record, if there is one. Never waits, but for a disk that has to be read.
    ///
    /// # Errors
    /// [`JournalError::Lagged`]: call again, it goes on at the oldest record. [`JournalError::Damaged`],
    /// [`JournalError::Os`]: the position stays. [`JournalError::LeftBehind`]: it is open for reading only, and others
    /// have changed what was to be read.
    pub fn try_next(&mut self) -> Result<Option<JournalRecord<'_>>, JournalError> {
        loop {
            match self.look()? {
                Here::Nothing => return Ok(None),
                Here::Front => {
                    if let Some((seq, is_batch)) = self.take_from_front()? {
                        self.next = seq + 1;
                        return Ok(Some(JournalRecord::new(seq, is_batch, &self.buffer)));
                    }
                    // Recycled before it was copied: it is in the files.
                    self.source = Source::None;
                }
                Here::File => {
                    let Source::File(frames, _) = &mut self.source else { return Ok(None) };
                    let Some(frame) = frames.pass() else { return Ok(None) };
                    self.next = frame.seq + 1;
                    return Ok(Some(JournalRecord::new(frame.seq, frame.kind.is_batch(), frame.payload)));
                }
            }
        }
    }

    /// Copies the record at the place out of the front, and says which it is. `None`: it is not there any more.
    #[inline]
    fn take_from_front(&mut self) -> Result<Option<(u64, bool)>, JournalError> {
        let Source::Front(front) = &mut self.source else { return Ok(None) };
        let record = match front.try_next() {
            Ok(Some(record)) if record.seq() == self.next => record,
            Ok(_) | Err(ReadError::Lagged { .. }) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        match take(&record, &mut self.buffer) {
            Ok(record) => Ok(Some((record.seq(), record.is_batch()))),
            Err(JournalError::Read(ReadError::GivenUp { .. })) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The next record; waits for it until `timeout`, asleep.
    ///
    /// # Errors
    /// As [`JournalReader::try_next`]. [`JournalError::LeftBehind`] also if it is open for reading only and what comes next
    /// can't be seen here.
    pub fn next_timeout(&mut self, timeout: Duration) -> Result<Option<JournalRecord<'_>>, JournalError> {
        let deadline = wait::deadline_in(timeout);
        loop {
            if !matches!(self.look()?, Here::Nothing) {
                return self.try_next();
            }
            let left = deadline.map(|deadline| deadline.saturating_duration_since(std::time::Instant::now()));
            if left.is_some_and(|left| left.is_zero()) {
                return Ok(None);
            }
            let inner = Arc::clone(&self.inner);
            let (next, is_read_only) = (self.next, inner.core.settings.is_read_only);
            if is_read_only && inner.core.is_left_behind() {
                return Err(JournalError::LeftBehind);
            }
            // Who only looks on is not told that others begin anew.
            let left = if is_read_only { Some(left.map_or(SLICE, |left| left.min(SLICE))) } else { left };
            let deadline = if is_read_only { left.and_then(wait::deadline_in) } else { deadline };
            if self.limit == u64::MAX
                && let Source::Front(front) = &mut self.source
            {
                front.wait_next(left.unwrap_or(Duration::MAX))?;
            } else {
                inner.core.state.wait(deadline, || (inner.core.state.durable() > next).then_some(()));
            }
        }
    }

    /// Goes to record `seq`, which exists or is the next one.
    ///
    /// # Errors
    /// [`JournalError::Lagged`]: it was given up; [`JournalError::Join`]: it does not exist yet.
    pub fn seek(&mut self, seq: u64) -> Result<(), JournalError> {
        let core = &self.inner.core;
        if seq > core.end() {
            return Err(JoinError::Ahead { seq }.into());
        }
        if seq < core.state.oldest() {
            return Err(self.lagged(seq));
        }
        self.source = Source::None;
        self.next = seq;
        Ok(())
    }

    /// The number of the record that comes next.
    pub fn position(&self) -> u64 {
        self.next
    }

    /// How many records there are from the position on, durable or not.
    pub fn lag(&self) -> u64 {
        self.inner.core.end().saturating_sub(self.next)
    }

    /// Finds out where the next record is, so that it can be taken there. Passes over those that were deleted.
    fn look(&mut self) -> Result<Here, JournalError> {
        self.look_past_deleted().map_err(|error| {
            let is_given_up = is_about_files(&error) && self.next < self.inner.core.state.oldest();
            if is_given_up { self.fall_behind() } else { self.inner.core.explained(error) }
        })
    }

    /// What comes next was given up: goes on at the oldest record.
    #[cold]
    fn fall_behind(&mut self) -> JournalError {
        let lagged = self.lagged(self.next);
        if let JournalError::Lagged { next, .. } = lagged {
            (self.next, self.source) = (next, Source::None);
        }
        lagged
    }

    fn look_past_deleted(&mut self) -> Result<Here, JournalError> {
        loop {
            self.deleted.refresh(&self.inner.core)?;
            while self.deleted.contains(self.next) {
                self.next += 1;
                self.source.forget_front();
            }
            let here = self.look_here()?;
            // Another may have been deleted while this one was looked for; that it is not read is not promised then.
            if !self.deleted.contains(self.next) {
                return Ok(here);
            }
        }
    }

    fn look_here(&mut self) -> Result<Here, JournalError> {
        if self.next >= self.limit {
            self.limit = self.inner.core.state.durable();
            if self.next >= self.limit {
                return Ok(Here::Nothing);
            }
        }
        let mut is_again = false;
        loop {
            match &mut self.source {
                Source::Front(front) => match front.look() {
                    Ok(Some(_)) if front.position() == self.next => return Ok(Here::Front),
                    Ok(None) if self.next >= self.inner.core.state.written() => return Ok(Here::Nothing),
                    // Appended and taken to the files meanwhile; or somebody wrote where nobody may.
                    Ok(None) if !is_again => is_again = true,
                    Ok(None) => self.open_file()?,
                    // It was slower than the front is long: the files have what it missed.
                    Ok(Some(_)) | Err(ReadError::Lagged { .. }) => self.source = Source::None,
                    Err(error) => return Err(error.into()),
                },
                Source::File(..) => {
                    if let Some(here) = self.look_in_file()? {
                        return Ok(here);
                    }
                }
                Source::None => self.find_source()?,
            }
        }
    }

    /// `None`: look elsewhere.
    #[inline]
    fn look_in_file(&mut self) -> Result<Option<Here>, JournalError> {
        let Source::File(frames, after) = &mut self.source else { return Ok(None) };
        // Frames are whole as far as is written, which is looked at first.
        let is_written = self.next < self.written || self.inner.core.state.written() > self.next;
        if !is_written || after.is_some_and(|after| self.next >= after) {
            self.source = Source::None;
            return Ok(None);
        }
        let found = frames.find_record(self.next);
        if found.map_err(|error| JournalError::os("reading", self.inner.core.names.log(frames.first()), error))? {
            return Ok(Some(Here::File));
        }
        self.leave_file()
    }

    /// The record should be in this file, as far as is known, and is not.
    #[cold]
    fn leave_file(&mut self) -> Result<Option<Here>, JournalError> {
        let inner = Arc::clone(&self.inner);
        let Source::File(frames, after) = &mut self.source else { return Ok(None) };
        // It may have been deleted since, and its file emptied: who looked for it looks again.
        self.deleted.refresh(&inner.core)?;
        if self.deleted.contains(self.next) {
            return Ok(Some(Here::Nothing));
        }
        // Another file may have begun since; or this one is gone.
        let now = self.shelf.file_of(&inner.core, self.next)?;
        if let Some(to) = *after {
            let gap_from = files::open(&*inner.core.disk, &inner.core.names, inner.core.id, to)?.header.gap_from();
            if (gap_from..to).contains(&self.next) {
                let from = std::mem::replace(&mut self.next, to);
                self.source = Source::None;
                return Err(JournalError::Lost { from, to });
            }
        }
        if now == Some((frames.first(), *after)) && self.next >= inner.core.state.oldest() {
            let found = frames.find_past_damage(self.next);
            let is_there = found.map_err(|error| JournalError::os("reading", "records", error))?;
            return if is_there { Ok(Some(Here::File)) } else { Err(self.damaged()) };
        }
        self.source = Source::None;
        Ok(None)
    }

    /// Decides between the front and the files.
    fn find_source(&mut self) -> Result<(), JournalError> {
        let inner = Arc::clone(&self.inner);
        let core = &*inner.core;
        match core.front.reader(Start::At(self.next)) {
            Ok(front) => {
                self.source = Source::Front(front);
                return Ok(());
            }
            Err(JoinError::Gone { .. }) => {}
            Err(error) => return Err(error.into()),
        }
        if self.next < core.state.oldest() {
            return Err(self.fall_behind());
        }
        core.check_kept(self.next)?;
        self.open_file()
    }

    /// Goes to the file that the next record is in.
    fn open_file(&mut self) -> Result<(), JournalError> {
        let inner = Arc::clone(&self.inner);
        let core = &*inner.core;
        let Some((first, after)) = self.shelf.file_of(core, self.next)? else {
            return Err(JournalError::FileLost { file: core.names.log(self.next), from: self.next, to: self.next + 1 });
        };
        self.written = core.state.written();
        self.source = Source::File(Shelf::stream(core, first)?, after);
        Ok(())
    }

    #[cold]
    fn damaged(&self) -> JournalError {
        let Source::File(frames, _) = &self.source else { return self.lagged(self.next) };
        let core = &self.inner.core;
        let (file, offset) = (core.names.log(frames.first()), frames.offset());
        JournalError::Damaged { file, offset, seq: frames.seq(), durable: core.state.durable() }
    }

    fn lagged(&self, seq: u64) -> JournalError {
        let next = self.inner.core.state.oldest();
        JournalError::Lagged { missed: next.saturating_sub(seq), next }
    }
}

/// Copies a record of the front to the reader's buffer.
fn take<'b>(record: &Record<'_>, buffer: &'b mut Vec<u8>) -> Result<JournalRecord<'b>, JournalError> {
    buffer.resize(record.len(), 0);
    record.copy_to(buffer)?;
    Ok(JournalRecord::new(record.seq(), record.is_batch(), buffer))
}
