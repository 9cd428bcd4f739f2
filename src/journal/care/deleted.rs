//! Which records were deleted: marks beside the files (`marks`), one bit for each record in memory.
//!
//! Marks are written at once, so that everybody sees them, and become durable with the next sync. A file all of whose
//! records are deleted is emptied, but for its header; if it is the oldest, it goes.

use crate::error::{JoinError, JournalError};
use crate::journal::core::{Core, MARKS_LOCK};
#[cfg(test)]
use crate::journal::crash::planted::{Mistake, is_made};
use crate::journal::files;
use crate::journal::files::marks::{Marks, PROOF_BYTES, are_all_deleted, seal_marks};
use crate::journal::flushing::flush::{Goal, fail};
use crate::journal::format::BLOCK_BYTES;
use crate::journal::format::frame::frame_bytes;
use crate::journal::state::Act;
use crate::sys::disk::Open;
use crate::sys::lock::{self, Mode};
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::io;
use std::time::Duration;

/// Between two tries to take the lock.
const NAP: Duration = Duration::from_micros(50);

/// The marks that this handle has seen.
#[derive(Debug, Default)]
pub(crate) struct Deleted {
    /// The count of changes that are in here.
    version: u64,
    /// Whether marks are written through it.
    is_writer: bool,
    /// By the first record of the file.
    files: BTreeMap<u64, Marks>,
}

impl Deleted {
    /// To make marks with.
    pub(crate) fn writer() -> Self {
        Self { is_writer: true, ..Self::default() }
    }

    /// Looks whether others deleted something. Nearly free while nobody does.
    #[inline]
    pub(crate) fn refresh(&mut self, core: &Core) -> Result<(), JournalError> {
        if core.state.marks() == self.version { Ok(()) } else { self.read(core) }
    }

    /// Whether a record is deleted, as far as was looked.
    #[inline]
    pub(crate) fn contains(&self, seq: u64) -> bool {
        !self.files.is_empty() && self.find(seq)
    }

    fn find(&self, seq: u64) -> bool {
        self.files.range(..=seq).next_back().is_some_and(|(first, marks)| marks.has(seq - first))
    }

    #[cold]
    fn read(&mut self, core: &Core) -> Result<(), JournalError> {
        let version = core.state.marks();
        let names = core.disk.names().map_err(JournalError::listing)?;
        let firsts: Vec<_> = names.iter().filter_map(|name| core.names.marks_of(name)).collect();
        self.files.retain(|first, _| firsts.contains(first));
        let how = if self.is_writer { Open::Write } else { Open::Read };
        for first in firsts {
            let marks = match self.files.entry(first) {
                Entry::Occupied(known) => known.into_mut(),
                Entry::Vacant(new) => {
                    let Some(marks) = open_marks(core, first, how)? else { continue };
                    new.insert(marks)
                }
            };
            marks.read()?;
            if core.settings.is_read_only {
                // After a crash there may be some of records that did not survive it: who recovers takes them back.
                marks.forget_from(core.end().saturating_sub(first));
            }
        }
        self.version = version;
        Ok(())
    }
}

/// The marks of a file. `None`: there are none any more, or no such file of records.
fn open_marks(core: &Core, first: u64, how: Open) -> Result<Option<Marks>, JournalError> {
    let info = match files::open(&*core.disk, &core.names, core.id, first) {
        Ok(info) => info,
        Err(JournalError::Os { error, .. }) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    match Marks::open(&*core.disk, &core.names, &info.header, how) {
        Ok(marks) => Ok(Some(marks)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(JournalError::disk("opening", core.names.marks(first), BLOCK_BYTES, error)),
    }
}

impl Core {
    /// What is said of a record by its number that is not kept any more.
    #[cold]
    pub(crate) fn given_up(&self, seq: u64) -> JournalError {
        JournalError::GivenUp { seq, oldest: self.state.oldest() }
    }

    /// Marks records as deleted. Returns how many were not.
    pub(crate) fn delete(&self, seqs: &[u64]) -> Result<u64, JournalError> {
        let Some(&last) = seqs.iter().max() else { return Ok(0) };
        if last >= self.end() {
            return Err(JoinError::Ahead { seq: last }.into());
        }
        let oldest = self.state.oldest();
        if let Some(&seq) = seqs.iter().find(|&&seq| seq < oldest) {
            return Err(self.given_up(seq));
        }
        // A mark is about a record in a file.
        self.flush_until(Goal::Written, None, |state| state.written() > last)?;
        let full = self.with_marks(|deleted| self.mark(deleted, seqs))?;
        let (count, full) = full?;
        for first in full {
            self.reclaim(first)?;
        }
        Ok(count)
    }

    /// Makes durable what was deleted before.
    pub(crate) fn sync_marks(&self) -> Result<(), JournalError> {
        let version = self.state.marks();
        self.flush_until(Goal::Durable, None, |state| state.marks_durable() >= version)
    }

    /// Says that all marks are durable, which they are, for whoever reads them later. Nobody else has the journal open.
    pub(crate) fn seal_marks(&self) -> Result<(), JournalError> {
        self.take_over_marks()?;
        let names = self.disk.names().map_err(JournalError::listing)?;
        for first in names.iter().filter_map(|name| self.names.marks_of(name)) {
            let is_settled = !self.state.is_dirty(first);
            // A seal is not durable at once either: if this process dies over it, the next one knows.
            self.state.set_marking(Some(first));
            let sealed = files::open(&*self.disk, &self.names, self.id, first)
                .and_then(|info| seal_marks(&*self.disk, &self.names, &info.header, is_settled));
            match sealed {
                // Left behind by a file that went; or damaged, which will be said when the journal is opened.
                Err(JournalError::Os { error, .. }) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error @ (JournalError::MarksDamaged { .. } | JournalError::Damaged { .. })) => {
                    tracing::warn!(%error, "closing a journal");
                }
                sealed => sealed?,
            }
            self.state.set_marking(None);
        }
        Ok(())
    }

    /// Counts what somebody wrote who died before it was counted.
    fn take_over_marks(&self) -> Result<(), JournalError> {
        let Some(first) = self.state.marking() else { return Ok(()) };
        // Its file may be new.
        self.disk.sync().map_err(|error| fail(self, Act::Sync, error))?;
        self.note_dirty(first)?;
        self.state.marks_changed();
        self.state.set_marking(None);
        Ok(())
    }

    /// Puts down that the marks of a file are written to, under the marks lock, or when nobody else has the journal open.
    fn note_dirty(&self, first: u64) -> Result<(), JournalError> {
        if !self.state.mark_dirty(first) {
            self.sync_marks()?;
            // Those that are there are durable now, as nobody else marks any.
            self.state.clean_marks();
            self.state.mark_dirty(first);
        }
        Ok(())
    }

    /// Under the marks lock. Returns how many records are newly marked, and the files all of whose records are now.
    fn mark(&self, deleted: &mut Deleted, seqs: &[u64]) -> Result<(u64, Vec<u64>), JournalError> {
        self.take_over_marks()?;
        deleted.read(self)?;
        let firsts = files::firsts(&*self.disk, &self.names).map_err(JournalError::listing)?;
        let mut by_file: BTreeMap<u64, Vec<u32>> = BTreeMap::new();
        for &seq in seqs {
            let first = firsts.partition_point(|&first| first <= seq).checked_sub(1).map(|at| firsts[at]);
            let first = first.ok_or_else(|| self.given_up(seq))?;
            let index = u32::try_from(seq - first).unwrap_or(u32::MAX);
            let list = by_file.entry(first).or_default();
            if !deleted.contains(seq) {
                list.push(index);
            }
        }
        for list in by_file.values_mut() {
            list.sort_unstable();
            list.dedup();
        }
        let (mut count, mut full) = (0, Vec::new());
        for (first, list) in by_file.into_iter().filter(|(_, list)| !list.is_empty()) {
            count += list.len() as u64;
            self.mark_file(deleted, first, &list)?;
            let next = firsts.get(firsts.partition_point(|&other| other <= first));
            let marks = deleted.files.get(&first);
            if let Some((next, marks)) = next.zip(marks)
                && marks.count_below(next - first) == next - first
            {
                full.push(first);
            }
        }
        Ok((count, full))
    }

    /// Appends one frame to the marks of a file.
    fn mark_file(&self, deleted: &mut Deleted, first: u64, list: &[u32]) -> Result<(), JournalError> {
        let name = self.names.marks(first);
        let bytes = frame_bytes(PROOF_BYTES + list.len() * 4) as u64;
        let os = |error| JournalError::disk("marking records in", &name, bytes, error);
        // Until it is counted: whoever comes next counts it if this process dies, or fails.
        self.state.set_marking(Some(first));
        let marks = match deleted.files.entry(first) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(new) => {
                let made = open_marks(self, first, Open::Create)?;
                let made = made.ok_or_else(|| self.given_up(first + u64::from(list[0])))?;
                self.disk.sync().map_err(|error| fail(self, Act::Sync, error))?;
                new.insert(made)
            }
        };
        let is_durable = !self.state.is_dirty(first);
        #[cfg(test)]
        let is_durable = is_durable || is_made(Mistake::Proof);
        self.note_dirty(first)?;
        marks.append(list, is_durable).map_err(os)?;
        self.state.marks_changed();
        self.state.set_marking(None);
        Ok(())
    }

    /// Empties a file all of whose records were deleted while it was the last one. The file of `next` follows. Returns
    /// whether it need not be asked again.
    pub(crate) fn reclaim_full(&self, first: u64, next: u64) -> Result<bool, JournalError> {
        let info = match files::open(&*self.disk, &self.names, self.id, first) {
            Ok(info) => info,
            // Given up meanwhile.
            Err(JournalError::Os { error, .. }) if error.kind() == io::ErrorKind::NotFound => return Ok(true),
            Err(error) => return Err(error),
        };
        // Of damaged marks others tell.
        let is_it = are_all_deleted(&*self.disk, &self.names, &info.header, next).unwrap_or(false);
        if is_it { self.reclaim(first) } else { Ok(true) }
    }

    /// Empties a file all of whose records are deleted: durably, before it happens; and when the next one has the cursors.
    /// Returns false if it has not.
    fn reclaim(&self, first: u64) -> Result<bool, JournalError> {
        self.sync_marks()?;
        self.make_durable(self.end())?;
        self.with_lead(|lead| {
            let firsts = files::firsts(&*self.disk, &self.names).map_err(JournalError::listing)?;
            let Some(at) = firsts.iter().position(|&other| other == first) else { return Ok(true) };
            let Some(&next) = firsts.get(at + 1) else { return Ok(true) };
            // Who began the next one may have died before that was said: then this one is written to still.
            let progress = self.state.progress();
            if progress.written.file == first {
                return Ok(false);
            }
            if at == 0 {
                return lead.prune(self, next).map(|_| true);
            }
            // Or before the cursors were there.
            if progress.durable.seq <= next {
                return Ok(false);
            }
            let name = self.names.log(first);
            let empty = self.disk.open(&name, Open::Write).and_then(|file| file.give_back(BLOCK_BYTES));
            empty.map_err(|error| JournalError::os("emptying", &name, error))?;
            let _ = self.disk.remove(&self.names.index(first));
            self.state.files_changed();
            Ok(true)
        })?
    }

    /// Does something under the marks lock, if nobody has it.
    pub(crate) fn try_marks<T>(&self, act: impl FnOnce() -> T) -> Option<T> {
        let _deleted = self.deleted.try_lock().ok()?;
        lock::try_lock(self.locks.fd(), MARKS_LOCK, Mode::Alone).ok().filter(|&is_locked| is_locked)?;
        let done = act();
        let _ = lock::unlock(self.locks.fd(), MARKS_LOCK);
        Some(done)
    }

    /// Does something under the marks lock, with the marks that this process has seen.
    pub(crate) fn with_marks<T>(&self, act: impl FnOnce(&mut Deleted) -> T) -> Result<T, JournalError> {
        if self.is_forked() {
            return Err(JournalError::Forked);
        }
        let mut deleted = self.deleted.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let os = |error| JournalError::locking(self.names.lock(), error);
        while !lock::try_lock(self.locks.fd(), MARKS_LOCK, Mode::Alone).map_err(os)? {
            std::thread::sleep(NAP);
        }
        let done = act(&mut deleted);
        // Unlocking one's own lock fails only where locking is impossible too.
        let _ = lock::unlock(self.locks.fd(), MARKS_LOCK);
        Ok(done)
    }
}

#[cfg(test)]
mod tests;
