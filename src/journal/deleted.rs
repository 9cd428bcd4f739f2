//! Which records were deleted: marks beside the files, one bit for each record in memory.
//!
//! ```text
//! NUMBER.del   frames (`format::frame`) with the salt of NUMBER.log; each one says which records one deletion
//!              was about: 4 bytes each, counted from NUMBER
//! ```
//!
//! Marks are written at once, so that everybody sees them, and become durable with the next sync. A file all of whose
//! records are deleted is emptied, but for its header; if it is the oldest, it goes.

use crate::error::{JoinError, JournalError};
use crate::journal::core::{Core, MARKS_LOCK};
use crate::journal::files;
use crate::journal::flush::Goal;
use crate::journal::format::BLOCK_BYTES;
use crate::journal::format::frame::{FrameKind, Salt, encode, frame_bytes};
use crate::journal::format::header::Header;
use crate::journal::names::Names;
use crate::journal::stream::FrameStream;
use crate::sys::disk::{Disk, DiskFile, Open};
use crate::sys::lock::{self, Mode};
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use zerocopy::IntoBytes;

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

/// The marks of one file.
#[derive(Debug)]
struct Marks {
    file: Arc<dyn DiskFile>,
    salt: Salt,
    /// Where the next frame goes.
    end: u64,
    bits: Vec<u64>,
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
        let os = |error| JournalError::os("reading", "deletion marks", error);
        let names = core.disk.names().map_err(os)?;
        let firsts: Vec<_> = names.iter().filter_map(|name| core.names.marks_of(name)).collect();
        self.files.retain(|first, _| firsts.contains(first));
        let how = if self.is_writer { Open::Write } else { Open::Read };
        for first in firsts {
            let marks = match self.files.entry(first) {
                Entry::Occupied(known) => known.into_mut(),
                Entry::Vacant(new) => {
                    let Some(marks) = Marks::open(core, first, how)? else { continue };
                    new.insert(marks)
                }
            };
            marks.read(first).map_err(os)?;
        }
        self.version = version;
        Ok(())
    }
}

impl Marks {
    /// `None`: there is no such file of records any more.
    fn open(core: &Core, first: u64, how: Open) -> Result<Option<Self>, JournalError> {
        let info = match files::open(&*core.disk, &core.names, core.id, first) {
            Ok(info) => info,
            Err(JournalError::Os { source, .. }) if source.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let name = core.names.marks(first);
        let file =
            core.disk.open(&name, how).map_err(|error| JournalError::disk("opening", &name, BLOCK_BYTES, error))?;
        Ok(Some(Self { file, salt: info.header.frame_salt(), end: 0, bits: Vec::new() }))
    }

    /// Reads on.
    fn read(&mut self, first: u64) -> io::Result<()> {
        let mut frames = FrameStream::new(Arc::clone(&self.file), self.salt, self.end, first);
        while let Some(frame) = frames.next()? {
            if frame.kind == FrameKind::Deletes {
                for index in frame.payload.as_chunks::<4>().0 {
                    self.set(u32::from_le_bytes(*index));
                }
            }
        }
        self.end = frames.offset();
        Ok(())
    }

    fn has(&self, index: u64) -> bool {
        let word = usize::try_from(index / 64).ok().and_then(|at| self.bits.get(at));
        word.is_some_and(|word| word >> (index % 64) & 1 == 1)
    }

    /// How many of the first `end` records are marked.
    fn count_below(&self, end: u64) -> u64 {
        let whole = usize::try_from(end / 64).unwrap_or(usize::MAX).min(self.bits.len());
        let rest = self.bits.get(whole).map_or(0, |word| word & !(u64::MAX << (end % 64)));
        let bits = self.bits[..whole].iter().chain([&rest]);
        bits.map(|word| u64::from(word.count_ones())).sum()
    }

    fn set(&mut self, index: u32) {
        let at = index as usize / 64;
        if self.bits.len() <= at {
            self.bits.resize(at + 1, 0);
        }
        self.bits[at] |= 1 << (index % 64);
    }
}

/// The marks of a file, without those who made them.
fn marks_of(disk: &dyn Disk, names: &Names, header: &Header) -> io::Result<Option<Marks>> {
    let file = match disk.open(&names.marks(header.first), Open::Read) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let mut marks = Marks { file, salt: header.frame_salt(), end: 0, bits: Vec::new() };
    marks.read(header.first)?;
    Ok(Some(marks))
}

/// Whether all records of a file, up to the one before `next`, are deleted.
pub(crate) fn are_all_deleted(disk: &dyn Disk, names: &Names, header: &Header, next: u64) -> io::Result<bool> {
    let count = next - header.first;
    Ok(marks_of(disk, names, header)?.is_some_and(|marks| marks.count_below(count) == count))
}

/// Gives the marks of the records from `first` on to the file that begins there and has the same salt.
pub(crate) fn move_marks(disk: &dyn Disk, names: &Names, header: &Header, first: u64) -> io::Result<()> {
    let Some(marks) = marks_of(disk, names, header)? else { return Ok(()) };
    let skipped = first - header.first;
    let moved: Vec<u32> = (skipped..marks.bits.len() as u64 * 64)
        .filter(|&index| marks.has(index))
        .filter_map(|index| u32::try_from(index - skipped).ok())
        .collect();
    write_marks(disk, names, first, marks.salt, &moved)
}

/// The frames of some marks: one, unless there are more than fit.
fn encode_marks(salt: Salt, first: u64, marks: &[u32]) -> Vec<u8> {
    let mut frames = Vec::new();
    for list in marks.chunks(1 << 20) {
        encode(&mut frames, salt, FrameKind::Deletes, first, list.as_bytes());
    }
    frames
}

/// Makes the file of marks of a file of records.
fn write_marks(disk: &dyn Disk, names: &Names, first: u64, salt: Salt, marks: &[u32]) -> io::Result<()> {
    let draft = names.marks_draft();
    let file = disk.open(&draft, Open::Create)?;
    file.write_at(&encode_marks(salt, first, marks), 0)?;
    file.sync()?;
    disk.rename(&draft, &names.marks(first))?;
    disk.sync()
}

/// Makes durable the marks that are there, and cuts off half of one: nothing behind it is to come back.
pub(crate) fn settle_marks(disk: &dyn Disk, names: &Names, header: &Header) -> io::Result<()> {
    let file = match disk.open(&names.marks(header.first), Open::Write) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    // As for records: what is said to be there must be on the disk.
    file.sync()?;
    file.forget_cache()?;
    let mut marks = Marks { file, salt: header.frame_salt(), end: 0, bits: Vec::new() };
    marks.read(header.first)?;
    if marks.file.len()? > marks.end {
        marks.file.truncate(marks.end)?;
        marks.file.sync()?;
    }
    Ok(())
}

/// Takes back the marks of records from `end` on, which are not there any more: others will have their numbers.
pub(crate) fn cut_marks(disk: &dyn Disk, names: &Names, header: &Header, end: u64) -> io::Result<()> {
    let Some(marks) = marks_of(disk, names, header)? else { return Ok(()) };
    let count = end - header.first;
    let kept: Vec<u32> =
        (0..count).filter(|&index| marks.has(index)).filter_map(|index| u32::try_from(index).ok()).collect();
    if kept.len() as u64 == marks.count_below(marks.bits.len() as u64 * 64) {
        return Ok(());
    }
    write_marks(disk, names, header.first, marks.salt, &kept)
}

impl Core {
    /// Marks records as deleted. Returns how many were not.
    pub(crate) fn delete(&self, seqs: &[u64]) -> Result<u64, JournalError> {
        let Some(&last) = seqs.iter().max() else { return Ok(0) };
        if last >= self.end() {
            return Err(JoinError::Ahead { seq: last }.into());
        }
        let oldest = self.state.oldest();
        if let Some(&seq) = seqs.iter().find(|&&seq| seq < oldest) {
            return Err(JournalError::Lagged { missed: oldest - seq, next: oldest });
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

    /// Under the marks lock. Returns how many records are newly marked, and the files all of whose records are now.
    fn mark(&self, deleted: &mut Deleted, seqs: &[u64]) -> Result<(u64, Vec<u64>), JournalError> {
        deleted.read(self)?;
        let firsts = files::firsts(&*self.disk, &self.names)
            .map_err(|error| JournalError::os("listing", "the directory", error))?;
        let mut by_file: BTreeMap<u64, Vec<u32>> = BTreeMap::new();
        for &seq in seqs {
            let first = firsts.partition_point(|&first| first <= seq).checked_sub(1).map(|at| firsts[at]);
            let first = first.ok_or(JournalError::Lagged { missed: 1, next: self.state.oldest() })?;
            let index = u32::try_from(seq - first).unwrap_or(u32::MAX);
            let list = by_file.entry(first).or_default();
            if !deleted.contains(seq) && !list.contains(&index) {
                list.push(index);
            }
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
        let bytes = frame_bytes(list.len() * 4) as u64;
        let os = |error| JournalError::disk("marking records in", &name, bytes, error);
        let lost = || JournalError::Lagged { missed: 1, next: self.state.oldest() };
        let (marks, is_new) = match deleted.files.entry(first) {
            Entry::Occupied(known) => (known.into_mut(), false),
            Entry::Vacant(new) => (new.insert(Marks::open(self, first, Open::Create)?.ok_or_else(lost)?), true),
        };
        if marks.file.len().map_err(os)? > marks.end {
            // Half of a frame, whose process died; nothing behind it is to come back.
            marks.file.truncate(marks.end).map_err(os)?;
        }
        let frames = encode_marks(marks.salt, first, list);
        marks.file.write_at(&frames, marks.end).map_err(os)?;
        if is_new {
            self.disk.sync().map_err(os)?;
        }
        self.state.mark_dirty(first, || marks.file.sync()).map_err(os)?;
        marks.read(first).map_err(os)?;
        self.state.marks_changed();
        Ok(())
    }

    /// Empties a file all of whose records are deleted: durably, before it happens.
    fn reclaim(&self, first: u64) -> Result<(), JournalError> {
        self.sync_marks()?;
        self.with_lead(|lead| {
            let firsts = files::firsts(&*self.disk, &self.names)
                .map_err(|error| JournalError::os("listing", "the directory", error))?;
            let Some(at) = firsts.iter().position(|&other| other == first) else { return Ok(()) };
            let Some(&next) = firsts.get(at + 1) else { return Ok(()) };
            if at == 0 {
                return lead.prune(self, next).map(drop);
            }
            let name = self.names.log(first);
            let empty = self.disk.open(&name, Open::Write).and_then(|file| file.give_back(BLOCK_BYTES));
            empty.map_err(|error| JournalError::os("emptying", &name, error))?;
            let _ = self.disk.remove(&self.names.index(first));
            self.state.files_changed();
            Ok(())
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
        let os = |error| JournalError::os("locking", self.names.lock(), error);
        while !lock::try_lock(self.locks.fd(), MARKS_LOCK, Mode::Alone).map_err(os)? {
            std::thread::sleep(NAP);
        }
        let done = act(&mut deleted);
        // Unlocking one's own lock fails only where locking is impossible too.
        let _ = lock::unlock(self.locks.fd(), MARKS_LOCK);
        Ok(done)
    }
}
