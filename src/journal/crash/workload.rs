//! A journal on a recording disk, used by one thread, step by step.

use super::images::Dice;
use super::memory_disk::{Image, MemoryDisk};
use super::oracle::Truth;
use super::recording::{Entry, Note, Recorder, RecordingDisk};
use crate::error::JournalError;
use crate::journal::care::retain::Retain;
use crate::journal::flushing::flush::Flusher;
use crate::journal::opening::{front, open};
use crate::journal::settings::{Flush, FrontHome, Settings};
use crate::journal::{Journal, JournalAppender};
use crate::log::Start;
use crate::sys::disk::{Disk, NativeDisk};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use tempfile::TempDir;

/// Settings of a small journal whose front is in `home`.
fn settings(home: &TempDir, flush: Flush, retain: Retain) -> Settings {
    Settings {
        file_bytes: 64 << 10,
        front_windows: 2,
        front_window_bytes: 64 << 10,
        front: FrontHome::At(home.path().to_owned()),
        has_thread: false,
        flush,
        retain,
        ..Settings::default()
    }
}

/// See the module.
pub(super) struct Session {
    pub(super) recorder: Arc<Recorder>,
    disk: Arc<RecordingDisk>,
    dir: TempDir,
    home: TempDir,
    flush: Flush,
    /// Of the next time that it is opened.
    pub(super) retain: Retain,
    pub(super) appender: Option<JournalAppender>,
    pub(super) journal: Option<Journal>,
    pub(super) dice: Dice,
    /// How often it had been recovered when it was opened last.
    generation: u64,
    /// Nothing is acknowledged any more.
    pub(super) is_failed: bool,
    /// Something is wrong with the files.
    pub(super) is_damaged: bool,
}

/// The records that a reader passes over.
fn deleted(journal: &Journal) -> Result<Vec<u64>, JournalError> {
    let mut reader = journal.reader(Start::Oldest)?;
    let mut missing: Vec<_> = (journal.oldest()..journal.next_seq()).collect();
    while let Some(record) = reader.try_next()? {
        missing.retain(|&seq| seq != record.seq());
    }
    Ok(missing)
}

fn tempdir() -> TempDir {
    tempfile::tempdir_in("/dev/shm").unwrap()
}

impl Session {
    /// In an empty directory of a file system.
    pub(super) fn native(flush: Flush, seed: u64) -> Self {
        let dir = tempdir();
        let inner = Arc::new(NativeDisk::open(dir.path(), 0o600).unwrap());
        Self::on(inner, &Image::default(), dir, flush, seed)
    }

    /// On what a crash left.
    pub(super) fn after(image: &Image, flush: Flush, seed: u64) -> Self {
        Self::on(Arc::new(MemoryDisk::of(image)), image, tempdir(), flush, seed)
    }

    fn on(inner: Arc<dyn Disk>, image: &Image, dir: TempDir, flush: Flush, seed: u64) -> Self {
        let recorder = Recorder::new(image);
        let disk = Arc::new(RecordingDisk { inner, recorder: Arc::clone(&recorder) });
        let dice = Dice::new(seed);
        Self {
            recorder,
            disk,
            dir,
            home: tempdir(),
            flush,
            retain: Retain::default(),
            appender: None,
            journal: None,
            dice,
            generation: 0,
            is_failed: false,
            is_damaged: false,
        }
    }

    /// Opens the journal.
    pub(super) fn open(&mut self) -> Result<(), JournalError> {
        let settings = settings(&self.home, self.flush, self.retain);
        let disk = Arc::clone(&self.disk) as Arc<dyn Disk>;
        self.recorder.note(Note::Opening);
        let (core, recovery) = open::open_on(disk, self.dir.path(), &settings, true)?;
        self.recorder.note(Note::Opened);
        let journal = Journal::of(core, recovery)?;
        // Somebody may have recovered it and died over that.
        let generation = std::mem::replace(&mut self.generation, journal.core().generation);
        if journal.recovery().is_some() || generation != self.generation {
            let durable = journal.durable();
            let (kept, salvaged) = journal
                .recovery()
                .map_or((durable, journal.next_seq() - durable), |recovery| (recovery.kept, recovery.salvaged));
            self.recorder.note(Note::Kept(kept, salvaged));
            self.recorder.note(Note::CursorsKept(journal.cursors()));
            match deleted(&journal) {
                Ok(seqs) => self.recorder.note(Note::DeletesKept(seqs)),
                Err(_) if self.is_damaged => {}
                Err(error) => return Err(error),
            }
        } else {
            self.recorder.note(Note::There(journal.next_seq()));
        }
        self.appender = Some(journal.appender()?);
        self.journal = Some(journal);
        self.is_failed = false;
        Ok(())
    }

    pub(super) fn journal(&self) -> &Journal {
        self.journal.as_ref().unwrap()
    }

    pub(super) fn limit_bytes(&self) -> usize {
        self.appender.as_ref().unwrap().limit_bytes()
    }

    /// Bytes that tell records apart: noise, or, of every eighth one, zeroes.
    pub(super) fn bytes(&mut self, len: usize) -> Vec<u8> {
        if self.dice.one_in(8) {
            return vec![0; len];
        }
        let mut bytes: Vec<u8> = (0..len.div_ceil(8)).flat_map(|_| self.dice.next().to_le_bytes()).collect();
        bytes.truncate(len);
        bytes
    }

    fn told<T>(&mut self, done: Result<T, JournalError>) {
        if let Err(error) = done {
            let is_fair =
                matches!(error, JournalError::Failed { .. } | JournalError::DiskFull { .. } | JournalError::Os { .. });
            assert!(is_fair, "{error:?}");
            self.is_failed |= matches!(error, JournalError::Failed { .. });
        }
        self.recorder.note(Note::Oldest(self.journal().oldest()));
    }

    pub(super) fn append(&mut self, len: usize) {
        let bytes = self.bytes(len);
        self.recorder.note(Note::Append(bytes.as_slice().into(), false));
        let appended = self.appender.as_mut().unwrap().append(&bytes);
        self.told(appended);
    }

    /// As one record.
    pub(super) fn append_parts(&mut self, lens: &[usize]) {
        let parts: Vec<_> = lens.iter().map(|&len| self.bytes(len)).collect();
        let mut whole = Vec::new();
        for part in &parts {
            whole.extend((part.len() as u64).to_le_bytes());
            whole.extend(part);
            whole.resize(whole.len().next_multiple_of(8), 0);
        }
        self.recorder.note(Note::Append(whole.into(), true));
        let slices: Vec<&[u8]> = parts.iter().map(Vec::as_slice).collect();
        let appended = self.appender.as_mut().unwrap().append_parts(&slices);
        self.told(appended);
    }

    pub(super) fn sync(&mut self) {
        let synced = self.journal().sync();
        if let Ok(end) = synced {
            self.recorder.note(Note::Acked(end));
        }
        self.told(synced);
    }

    /// Sets a cursor, which has gone that far or is about to.
    pub(super) fn advance(&mut self, name: &str, seq: u64) {
        let cursor = self.journal().cursor(name).unwrap();
        self.recorder.note(Note::Cursor(name.to_owned(), seq));
        cursor.advance(seq).unwrap();
    }

    /// Sets a cursor, back or forth.
    pub(super) fn set_cursor(&mut self, name: &str, seq: u64) {
        let cursor = self.journal().cursor(name).unwrap();
        self.recorder.note(Note::Cursor(name.to_owned(), seq));
        cursor.set(seq).unwrap();
    }

    pub(super) fn remove_cursor(&mut self, name: &str) {
        let cursor = self.journal().cursor(name).unwrap();
        self.recorder.note(Note::Cursor(name.to_owned(), cursor.get().unwrap()));
        self.recorder.note(Note::CursorGone(name.to_owned()));
        let removed = cursor.remove();
        if removed.is_ok() {
            self.recorder.note(Note::CursorsAcked);
        }
        self.told(removed);
    }

    pub(super) fn sync_cursors(&mut self) {
        let synced = self.journal().core().sync_cursors();
        if synced.is_ok() {
            self.recorder.note(Note::CursorsAcked);
        }
        self.told(synced);
    }

    /// Deletes records, as far as they are there; for good or with the next sync.
    pub(super) fn delete(&mut self, seqs: &[u64], is_durable: bool) {
        let (oldest, end) = (self.journal().oldest(), self.journal().next_seq());
        let seqs: Vec<_> = seqs.iter().copied().filter(|&seq| oldest <= seq && seq < end).collect();
        self.recorder.note(Note::Delete(seqs.clone()));
        let journal = self.journal();
        let deleted = if is_durable { journal.delete_durable(&seqs) } else { journal.delete(&seqs) };
        if deleted.is_ok() {
            self.recorder.note(Note::Deleted(seqs));
        }
        if is_durable && deleted.is_ok() {
            self.recorder.note(Note::DeletesAcked);
        }
        self.told(deleted);
    }

    pub(super) fn prune(&mut self, before: u64) {
        let pruned = self.journal().prune(before);
        self.told(pruned);
    }

    /// As the thread does that a process may have: makes indexes, and gives up what is too old.
    pub(super) fn tend(&mut self) {
        let core = self.journal().core();
        let retained = core.leading(|| Flusher::retain(core)).unwrap();
        let indexed = retained.and_then(|()| {
            while core.index_ahead()? {}
            Ok(())
        });
        self.told(indexed);
    }

    /// As the thread does that a process may have.
    pub(super) fn prepare_ahead(&mut self) {
        let prepared = self.journal().core().prepare_ahead();
        assert!(prepared.is_ok() || self.recorder.fail_names_in.load(Relaxed) == 0, "{prepared:?}");
    }

    /// Closes the journal.
    pub(super) fn close(&mut self) {
        self.recorder.is_full.store(false, Relaxed);
        self.recorder.fail_sync_in.store(0, Relaxed);
        let end = self.journal().next_seq();
        (self.appender, self.journal) = (None, None);
        if !self.is_failed {
            self.recorder.note(Note::Acked(end));
            self.recorder.note(Note::CursorsAcked);
            self.recorder.note(Note::DeletesAcked);
        }
    }

    /// The process dies, and the front with it; the cache of the kernel stays.
    pub(super) fn kill(&mut self) {
        let path = self.journal().core().front_path.clone();
        self.recorder.fail_sync_in.store(0, Relaxed);
        self.recorder.is_dead.store(true, Relaxed);
        (self.appender, self.journal) = (None, None);
        self.recorder.is_dead.store(false, Relaxed);
        front::remove(&path);
    }

    /// Reads everything as a reader of the journal does, and compares.
    pub(super) fn check_reader(&self, truth: &Truth) -> Result<(), String> {
        let journal = self.journal();
        let said = |error| format!("reading: {error}");
        let mut reader = journal.reader(Start::Oldest).map_err(said)?;
        let mut missing: BTreeSet<_> = (journal.oldest()..journal.next_seq()).collect();
        while let Some(record) = reader.try_next().map_err(said)? {
            truth.check(record.seq(), record.bytes(), record.is_batch())?;
            missing.remove(&record.seq());
        }
        truth.check_deleted(&missing, journal.oldest(), journal.next_seq())
    }

    /// What was done until now. Ends it as a crash does.
    pub(super) fn end(mut self) -> Vec<Entry> {
        if self.journal.is_some() {
            self.kill();
        }
        self.recorder.entries()
    }
}
