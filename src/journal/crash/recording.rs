//! A disk that writes down what is done to it, in order, and can be made to fail.

use super::memory_disk::{Content, Image};
use super::model::Model;
use crate::sys::disk::{Disk, DiskFile, Open};
use rustix::io::Errno;
use std::collections::BTreeMap;
use std::io;
use std::os::fd::BorrowedFd;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard};

/// A file, whatever its name.
pub(super) type InodeId = usize;

/// What was done, or is known, at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Entry {
    /// A file was made under a new name.
    Create(String, InodeId),
    Rename(String, String),
    Remove(String),
    /// Which names there are was made durable.
    SyncNames,
    Write(InodeId, u64, Arc<[u8]>),
    Allocate(InodeId, u64),
    Truncate(InodeId, u64),
    /// From there on it reads as zeroes.
    GiveBack(InodeId, u64),
    /// The content was made durable.
    Sync(InodeId),
    /// Making it durable failed, and what was not durable is not written any more.
    Lose(InodeId),
    Note(Note),
}

/// What the workload knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Note {
    /// A journal is about to be opened.
    Opening,
    /// It was opened: it is there for good.
    Opened,
    /// A record is about to be appended.
    Append(Arc<[u8]>, bool),
    /// Records below this one are acknowledged as durable.
    Acked(u64),
    /// It was recovered: all below this one are acknowledged, so many more are there again, the others are gone.
    Kept(u64, u64),
    /// Records below this one are given up.
    Oldest(u64),
    /// These records are about to be deleted.
    Delete(Vec<u64>),
    /// These were.
    Deleted(Vec<u64>),
    /// All that were deleted are so for good.
    DeletesAcked,
    /// It was recovered, and these records are deleted.
    DeletesKept(Vec<u64>),
    /// A cursor is about to be set, not backwards.
    Cursor(String, u64),
    /// All cursors are durable.
    CursorsAcked,
    /// It was recovered with these cursors.
    CursorsKept(Vec<(String, u64)>),
}

/// The record.
#[derive(Debug, Default)]
pub(super) struct Recorder {
    base: Image,
    tape: Mutex<Tape>,
    /// Nothing works any more, and nothing is written down: the process is dead.
    pub(super) is_dead: AtomicBool,
    /// So many syncs of files of records from now, one fails, and loses what it was to make durable; 0: none does.
    pub(super) fail_sync_in: AtomicU32,
    /// Planted: who is told that a sync failed calls it again, and believes it.
    pub(super) is_retrying: AtomicBool,
    /// Planted: the cache is not forgotten, though what was lost is still in it.
    pub(super) is_caching: AtomicBool,
    /// So many syncs of the directory from now, one fails; 0: none does.
    pub(super) fail_names_in: AtomicU32,
    /// So many syncs of the control file from now, one fails, and loses what it was to make durable; 0: none does.
    pub(super) fail_control_in: AtomicU32,
    /// The next write of records finds the disk full when half of it is written.
    pub(super) is_full: AtomicBool,
    /// So does each write of deletion marks, as long as this is set.
    pub(super) is_full_for_marks: AtomicBool,
}

#[derive(Debug, Default)]
struct Tape {
    entries: Vec<Entry>,
    names: BTreeMap<String, InodeId>,
    inodes: InodeId,
}

impl Recorder {
    /// For a disk that holds `image`, whose files are numbered in the order of their names.
    pub(super) fn new(image: &Image) -> Arc<Self> {
        let names: BTreeMap<_, _> = image.0.keys().enumerate().map(|(inode, name)| (name.clone(), inode)).collect();
        let tape = Tape { inodes: names.len(), names, entries: Vec::new() };
        Arc::new(Self { base: image.clone(), tape: Mutex::new(tape), ..Self::default() })
    }

    pub(super) fn note(&self, note: Note) {
        self.tape().entries.push(Entry::Note(note));
    }

    pub(super) fn entries(&self) -> Vec<Entry> {
        self.tape().entries.clone()
    }

    /// How many entries there are.
    pub(super) fn len(&self) -> usize {
        self.tape().entries.len()
    }

    fn tape(&self) -> MutexGuard<'_, Tape> {
        self.tape.lock().unwrap()
    }

    fn put(&self, entry: Entry) {
        self.tape().entries.push(entry);
    }

    fn check(&self) -> io::Result<()> {
        if self.is_dead.load(Relaxed) { Err(Errno::IO.into()) } else { Ok(()) }
    }

    /// Whether the fault that `left` counts down to is now.
    fn is_due(left: &AtomicU32) -> bool {
        left.fetch_update(Relaxed, Relaxed, |left| left.checked_sub(1)) == Ok(1)
    }

    fn is_named(&self, inode: InodeId, end: &str) -> bool {
        self.tape().names.iter().any(|(name, &at)| at == inode && name.ends_with(end))
    }

    fn is_failing(&self, inode: InodeId) -> bool {
        self.is_named(inode, ".log") && Self::is_due(&self.fail_sync_in)
            || self.is_named(inode, "control") && Self::is_due(&self.fail_control_in)
    }

    /// What the disk has of a file of which it has lost something.
    fn lossy(&self, inode: InodeId) -> Option<Content> {
        let entries = self.entries();
        entries.contains(&Entry::Lose(inode)).then(|| {
            let mut model = Model::of(&self.base);
            entries.iter().for_each(|entry| model.apply(entry));
            model.inodes[inode].newest().clone()
        })
    }
}

/// See the module.
#[derive(Debug)]
pub(super) struct RecordingDisk {
    pub(super) inner: Arc<dyn Disk>,
    pub(super) recorder: Arc<Recorder>,
}

impl Disk for RecordingDisk {
    fn names(&self) -> io::Result<Vec<String>> {
        self.recorder.check()?;
        self.inner.names()
    }

    fn open(&self, name: &str, how: Open) -> io::Result<Arc<dyn DiskFile>> {
        self.recorder.check()?;
        let inner = self.inner.open(name, how)?;
        let mut tape = self.recorder.tape();
        let inode = match tape.names.get(name) {
            Some(&inode) => {
                if how == Open::Create {
                    tape.entries.push(Entry::Truncate(inode, 0));
                }
                inode
            }
            None => {
                let inode = tape.inodes;
                tape.inodes += 1;
                tape.names.insert(name.to_owned(), inode);
                tape.entries.push(Entry::Create(name.to_owned(), inode));
                inode
            }
        };
        Ok(Arc::new(RecordingFile { inner, inode, recorder: Arc::clone(&self.recorder) }))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.recorder.check()?;
        self.inner.rename(from, to)?;
        let mut tape = self.recorder.tape();
        let inode = tape.names.remove(from).unwrap();
        tape.names.insert(to.to_owned(), inode);
        tape.entries.push(Entry::Rename(from.to_owned(), to.to_owned()));
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.recorder.check()?;
        self.inner.remove(name)?;
        let mut tape = self.recorder.tape();
        tape.names.remove(name);
        tape.entries.push(Entry::Remove(name.to_owned()));
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        self.recorder.check()?;
        if Recorder::is_due(&self.recorder.fail_names_in) {
            return Err(Errno::IO.into());
        }
        self.inner.sync()?;
        self.recorder.put(Entry::SyncNames);
        Ok(())
    }
}

#[derive(Debug)]
struct RecordingFile {
    inner: Arc<dyn DiskFile>,
    inode: InodeId,
    recorder: Arc<Recorder>,
}

impl DiskFile for RecordingFile {
    fn len(&self) -> io::Result<u64> {
        self.inner.len()
    }

    fn read_at(&self, to: &mut [u8], offset: u64) -> io::Result<usize> {
        self.recorder.check()?;
        self.inner.read_at(to, offset)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.recorder.check()?;
        let is_full = self.recorder.is_named(self.inode, ".log") && self.recorder.is_full.swap(false, Relaxed)
            || self.recorder.is_named(self.inode, ".del") && self.recorder.is_full_for_marks.load(Relaxed);
        let bytes = if is_full { &bytes[..bytes.len() / 2] } else { bytes };
        self.inner.write_at(bytes, offset)?;
        self.recorder.put(Entry::Write(self.inode, offset, bytes.into()));
        if is_full { Err(Errno::NOSPC.into()) } else { Ok(()) }
    }

    fn allocate(&self, len: u64) -> io::Result<()> {
        self.recorder.check()?;
        self.inner.allocate(len)?;
        self.recorder.put(Entry::Allocate(self.inode, len));
        Ok(())
    }

    fn truncate(&self, len: u64) -> io::Result<()> {
        self.recorder.check()?;
        self.inner.truncate(len)?;
        self.recorder.put(Entry::Truncate(self.inode, len));
        Ok(())
    }

    fn give_back(&self, offset: u64) -> io::Result<()> {
        self.recorder.check()?;
        self.inner.give_back(offset)?;
        self.recorder.put(Entry::GiveBack(self.inode, offset));
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        self.recorder.check()?;
        if self.recorder.is_failing(self.inode) {
            self.recorder.put(Entry::Lose(self.inode));
            return if self.recorder.is_retrying.load(Relaxed) { self.sync() } else { Err(Errno::IO.into()) };
        }
        self.inner.sync()?;
        self.recorder.put(Entry::Sync(self.inode));
        Ok(())
    }

    fn forget_cache(&self) -> io::Result<()> {
        self.recorder.check()?;
        if !self.recorder.is_caching.load(Relaxed)
            && let Some(content) = self.recorder.lossy(self.inode)
        {
            self.inner.truncate(0)?;
            self.inner.write_at(&content, 0)?;
        }
        self.inner.forget_cache()
    }

    fn fd(&self) -> BorrowedFd<'_> {
        self.inner.fd()
    }
}
