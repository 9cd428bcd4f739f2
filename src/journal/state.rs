//! The words that all processes share which have the journal open.
//!
//! SYNC told: what is counted, raised or marked here (`files`, `oldest`, cursors, marks and how many of them are durable,
//! `marking`, `dirty`, `syncing`, `leading`) is stored by Release after it is so, and loaded by Acquire by who goes by it; who
//! holds the lock that its setter held loads it Relaxed.
#![allow(unsafe_code, reason = "the view lives as long as the mapping stored beside it")]

use crate::create::unix_ns;
use crate::error::AttachError;
use crate::journal::format::control::Place;
use crate::layout::control::FORMAT_VERSION;
use crate::layout::journal::{
    CURSORS_OFFSET, CursorWords, JOURNAL_MAGIC, JOURNAL_STATE_BYTES, JournalState, MAX_CURSORS, PlaceWords,
};
use crate::preamble::{check_magic, get_id, put_id, put_magic};
use crate::region::{Region, outliving};
use crate::sync::{
    Ordering::{Acquire, Relaxed, Release},
    fence,
};
use std::io;
use std::os::fd::OwnedFd;

/// Whose words they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Owner {
    /// The journal's identity.
    pub(crate) id: u128,
    /// The front's.
    pub(crate) front: u128,
    /// The journal's generation.
    pub(crate) generation: u64,
    /// The boot of the machine.
    pub(crate) boot: u128,
    /// Device and inode of the lock file.
    pub(crate) locks: (u64, u64),
}

/// How far flushing has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Progress {
    /// Up to where the files are written.
    pub(crate) written: Place,
    /// Up to where they are durable.
    pub(crate) durable: Place,
}

/// What failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Act {
    Write = 1,
    Sync = 2,
    Begin = 3,
}

impl Act {
    pub(crate) fn text(self) -> &'static str {
        match self {
            Self::Write => "writing records",
            Self::Sync => "making records durable",
            Self::Begin => "beginning a file",
        }
    }
}

/// An error without a number of the system's.
const NO_NUMBER: u64 = u32::MAX as u64;

/// See the module.
#[derive(Debug)]
pub(crate) struct State {
    words: &'static JournalState,
    cursors: &'static [CursorWords],
    // The views above borrow from it; a mapping does not move when its `Region` does.
    region: Region,
}

impl State {
    /// Formats fresh, zeroed words.
    pub(crate) fn format(file: OwnedFd, owner: Owner, at: Place, oldest: u64) -> Result<Self, AttachError> {
        let state = Self::of(Region::map(file, true, "journal's state")?)?;
        let words = state.words;
        let preamble = &words.preamble;
        preamble.version.store(FORMAT_VERSION, Relaxed);
        put_id(&preamble.id, owner.id);
        put_id(&preamble.front, owner.front);
        put_id(&preamble.boot, owner.boot);
        preamble.generation.store(owner.generation, Relaxed);
        preamble.locks[0].store(owner.locks.0, Relaxed);
        preamble.locks[1].store(owner.locks.1, Relaxed);
        words.oldest.0.store(oldest, Relaxed);
        state.publish(Progress { written: at, durable: at });
        put_magic(&preamble.magic, JOURNAL_MAGIC);
        Ok(state)
    }

    /// Attaches to words, and says whose they are.
    pub(crate) fn attach(file: OwnedFd, is_writable: bool) -> Result<(Self, Owner), AttachError> {
        let state = Self::of(Region::map(file, is_writable, "journal's state")?)?;
        let preamble = &state.words.preamble;
        check_magic(&preamble.magic, &preamble.version, JOURNAL_MAGIC, "journal's state")?;
        let owner = Owner {
            id: get_id(&preamble.id),
            front: get_id(&preamble.front),
            generation: preamble.generation.load(Relaxed),
            boot: get_id(&preamble.boot),
            locks: (preamble.locks[0].load(Relaxed), preamble.locks[1].load(Relaxed)),
        };
        Ok((state, owner))
    }

    fn of(region: Region) -> Result<Self, AttachError> {
        let words = region.view(0).ok_or(AttachError::WrongSize {
            what: "journal's state",
            found_bytes: region.len_bytes(),
            expected_bytes: JOURNAL_STATE_BYTES,
        })?;
        let cursors = region.slice(CURSORS_OFFSET, MAX_CURSORS as u64).unwrap_or(&[]);
        // SAFETY: `region` is stored beside the view.
        let words = unsafe { outliving(words) };
        // SAFETY: `region` is stored beside the view.
        let cursors = unsafe { outliving(cursors) };
        Ok(Self { words, cursors, region })
    }

    pub(crate) fn words(&self) -> &JournalState {
        self.words
    }

    /// Whether this process may set words, and so be woken.
    pub(crate) fn is_writable(&self) -> bool {
        self.region.is_writable()
    }

    /// Records below this one are durable. SYNC durable: Acquire, pairs with the Release in [`State::publish`].
    #[inline]
    pub(crate) fn durable(&self) -> u64 {
        let durable = self.words.durable.0.load(Relaxed);
        fence(Acquire);
        durable
    }

    /// Records below this one are in the files, readable there. SYNC durable, as above.
    #[inline]
    pub(crate) fn written(&self) -> u64 {
        let written = self.words.written.0.load(Relaxed);
        fence(Acquire);
        written
    }

    /// Counts what is published.
    pub(crate) fn turn(&self) -> u64 {
        self.words.flush.turn.load(Acquire)
    }

    /// How far flushing has come. For the holder of the flush lock.
    pub(crate) fn progress(&self) -> Progress {
        let flush = &self.words.flush;
        let words = &flush.progress[usize::from(flush.turn.load(Relaxed) % 2 == 1)];
        Progress { written: get_place(&words.written), durable: get_place(&words.durable) }
    }

    /// Says how far flushing has come. By the holder of the flush lock; if it dies in between, the next one finds what
    /// was said before, whole.
    pub(crate) fn publish(&self, progress: Progress) {
        let words = self.words;
        let turn = words.flush.turn.load(Relaxed).wrapping_add(1);
        let slot = &words.flush.progress[usize::from(turn % 2 == 1)];
        put_place(&slot.written, progress.written);
        put_place(&slot.durable, progress.durable);
        // Release: a kill between any two instructions leaves the old turn, or the new one with its places.
        words.flush.turn.store(turn, Release);
        // SYNC durable: Release, read by `durable` and `written`: the files are there.
        words.written.0.store(progress.written.seq, Release);
        words.durable.0.store(progress.durable.seq, Release);
    }

    /// Marks that somebody flushes. Returns whether the one before has not come to an end: it died.
    pub(crate) fn begin_flush(&self) -> bool {
        self.words.flush.leading.swap(1, Relaxed) == 1
    }

    /// Whether somebody flushes, or died over it.
    #[inline]
    pub(crate) fn is_flushing(&self) -> bool {
        self.words.flush.leading.load(Relaxed) == 1
    }

    /// Marks that the flush has come to an end.
    pub(crate) fn end_flush(&self) {
        self.words.flush.leading.store(0, Release);
    }

    /// Marks a sync whose outcome nobody else knows yet, or that it is known.
    pub(crate) fn set_syncing(&self, is_syncing: bool) {
        self.words.flush.syncing.store(u64::from(is_syncing), Release);
    }

    /// Whether a sync's outcome was never told: who made it died.
    pub(crate) fn is_syncing(&self) -> bool {
        self.words.flush.syncing.load(Relaxed) != 0
    }

    /// Says that flushing failed for good. The first failure stands.
    pub(crate) fn fail(&self, act: Act, error: &io::Error) {
        let number = error.raw_os_error().and_then(|number| u64::try_from(number).ok()).unwrap_or(NO_NUMBER);
        let _ = self.words.failure.0.compare_exchange(0, u64::from(act as u8) << 32 | number, Release, Relaxed);
        self.ring();
    }

    /// Whether flushing failed.
    #[inline]
    pub(crate) fn is_failed(&self) -> bool {
        self.words.failure.0.load(Relaxed) != 0
    }

    /// What failed, and what the system said.
    pub(crate) fn failure(&self) -> Option<(&'static str, io::Error)> {
        let word = self.words.failure.0.load(Relaxed);
        let act = [Act::Write, Act::Sync, Act::Begin].into_iter().find(|&act| u64::from(act as u8) == word >> 32);
        let number = i32::try_from(word & u64::from(u32::MAX));
        let error = number.map_or_else(|_| io::Error::other("no number"), io::Error::from_raw_os_error);
        (word != 0).then(|| (act.map_or("flushing", Act::text), error))
    }

    /// Counts up when files come and go.
    pub(crate) fn files(&self) -> u64 {
        let files = self.words.files.0.load(Relaxed);
        fence(Acquire);
        files
    }

    /// Says that files came or went.
    pub(crate) fn files_changed(&self) {
        self.words.files.0.fetch_add(1, Release);
    }

    /// Records below this one are given up.
    pub(crate) fn oldest(&self) -> u64 {
        let oldest = self.words.oldest.0.load(Relaxed);
        fence(Acquire);
        oldest
    }

    /// Raises what is given up. By the holder of the flush lock, when it is durable that it is.
    pub(crate) fn set_oldest(&self, oldest: u64) {
        self.words.oldest.0.fetch_max(oldest, Release);
    }

    /// The words of the cursors.
    pub(crate) fn cursor_words(&self) -> &[CursorWords] {
        self.cursors
    }

    /// Counts the changes of cursors; those counted are there.
    pub(crate) fn cursors_version(&self) -> u64 {
        self.words.cursors.0.load(Acquire)
    }

    /// Counts a change of a cursor that was made.
    pub(crate) fn cursors_changed(&self) {
        self.words.cursors.0.fetch_add(1, Release);
    }

    /// The changes of cursors that were written to the files.
    pub(crate) fn cursors_written(&self) -> u64 {
        self.words.flush.cursors_written.load(Relaxed)
    }

    /// The changes of cursors that are durable.
    pub(crate) fn cursors_durable(&self) -> u64 {
        self.words.flush.cursors_durable.load(Acquire)
    }

    /// By the holder of the flush lock.
    pub(crate) fn set_cursors_written(&self, version: u64) {
        self.words.flush.cursors_written.store(version, Relaxed);
    }

    /// By the holder of the flush lock, after a sync.
    pub(crate) fn set_cursors_durable(&self, version: u64) {
        self.words.flush.cursors_durable.store(version, Release);
    }

    /// Counts what was marked as deleted; what is counted is there.
    #[inline]
    pub(crate) fn marks(&self) -> u64 {
        self.words.deleted.marks.load(Acquire)
    }

    /// The marks that are durable, as counted.
    pub(crate) fn marks_durable(&self) -> u64 {
        self.words.flush.marks_durable.load(Acquire)
    }

    /// By the holder of the flush lock, after a sync.
    pub(crate) fn set_marks_durable(&self, version: u64) {
        self.words.flush.marks_durable.store(version, Release);
    }

    /// Counts marks that were written. By the holder of the marks lock.
    pub(crate) fn marks_changed(&self) {
        self.words.deleted.marks.fetch_add(1, Release);
    }

    /// The file of records whose marks somebody is writing, or died over.
    pub(crate) fn marking(&self) -> Option<u64> {
        self.words.deleted.marking.load(Acquire).checked_sub(1)
    }

    /// Says whose marks are being written. By the holder of the marks lock.
    pub(crate) fn set_marking(&self, first: Option<u64>) {
        self.words.deleted.marking.store(first.map_or(0, |first| first.wrapping_add(1)), Release);
    }

    /// Whether the marks of a file may not be durable. For the holder of the marks lock.
    pub(crate) fn is_dirty(&self, first: u64) -> bool {
        self.words.deleted.dirty.iter().any(|slot| slot.load(Relaxed) == first.wrapping_add(1))
    }

    /// Puts down that the marks of a file have to be synced. False: there is no room for that. By the holder of the marks
    /// lock, before it writes any.
    pub(crate) fn mark_dirty(&self, first: u64) -> bool {
        if self.is_dirty(first) {
            return true;
        }
        let free = self.words.deleted.dirty.iter().find(|slot| slot.load(Relaxed) == 0);
        free.inspect(|slot| slot.store(first.wrapping_add(1), Release)).is_some()
    }

    /// The files whose marks may not be durable.
    pub(crate) fn dirty_marks(&self) -> Vec<u64> {
        self.words.deleted.dirty.iter().filter_map(|slot| slot.load(Acquire).checked_sub(1)).collect()
    }

    /// They are durable now. By the holder of the marks lock, when nobody died over marks.
    pub(crate) fn clean_marks(&self) {
        for slot in &self.words.deleted.dirty {
            slot.store(0, Relaxed);
        }
    }

    /// The time of a mark: now, or that of the last one, if the clock went back. By the holder of the flush lock.
    pub(crate) fn mark_time(&self) -> u64 {
        let time = unix_ns().max(self.words.flush.unix_ns.load(Relaxed));
        self.words.flush.unix_ns.store(time, Relaxed);
        time
    }
}

fn get_place(words: &PlaceWords) -> Place {
    Place { seq: words.seq.load(Relaxed), file: words.file.load(Relaxed), offset: words.offset.load(Relaxed) }
}

fn put_place(words: &PlaceWords, place: Place) {
    words.seq.store(place.seq, Relaxed);
    words.file.store(place.file, Relaxed);
    words.offset.store(place.offset, Relaxed);
}
