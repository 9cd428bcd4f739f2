//! A disk that writes down what is done to it, in order, and can be made to fail.

pub(super) use super::entry::{Entry, InodeId, Note};
use super::memory_disk::{Content, Image};
use super::model::Model;
use crate::sys::disk::{Disk, DiskFile, Open};
use rustix::io::Errno;
use std::collections::BTreeMap;
use std::io;
use std::os::fd::BorrowedFd;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard};

/// What a process ends with that dies.
#[derive(Debug)]
pub(super) struct Died;

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
    /// What a failed sync leaves: nothing, or, by a number that counts up, some of it.
    pub(super) loss: AtomicU64,
    /// So many moments from now the process dies: before something is done to the disk, in the middle of it, or after it;
    /// 0: it does not.
    pub(super) die_in: AtomicU32,
    /// Who dies over a sync takes to the grave that it failed.
    pub(super) is_hiding: AtomicBool,
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

    /// Here the process may die: as the stack is unwound, nothing is done any more.
    fn moment(&self) {
        if Self::is_due(&self.die_in) {
            self.is_dead.store(true, Relaxed);
            std::panic::resume_unwind(Box::new(Died));
        }
    }

    /// Whether the process dies at the next moment.
    fn is_last(&self) -> bool {
        self.die_in.load(Relaxed) == 1
    }

    /// Whether it dies with half of a write done.
    fn is_half(&self) -> bool {
        self.is_last() && self.len().is_multiple_of(2)
    }

    fn lose(&self, inode: InodeId) {
        let loss = self.loss.load(Relaxed);
        self.loss.store(if loss == 0 { 0 } else { loss + 1 }, Relaxed);
        self.put(Entry::Lose(inode, loss));
    }

    /// Whether the fault that `left` counts down to is now.
    fn is_due(left: &AtomicU32) -> bool {
        left.fetch_update(Relaxed, Relaxed, |left| left.checked_sub(1)) == Ok(1)
    }

    fn is_named(&self, inode: InodeId, end: &str) -> bool {
        self.tape().names.iter().any(|(name, &at)| at == inode && name.ends_with(end))
    }

    fn is_failing(&self, inode: InodeId) -> bool {
        (self.is_named(inode, ".log") || self.is_named(inode, ".del")) && Self::is_due(&self.fail_sync_in)
            || self.is_named(inode, "control") && Self::is_due(&self.fail_control_in)
    }

    /// What the disk has of a file of which it has lost something.
    fn lossy(&self, inode: InodeId) -> Option<Content> {
        let entries = self.entries();
        entries.iter().any(|entry| matches!(entry, Entry::Lose(lost, _) if *lost == inode)).then(|| {
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
        self.recorder.moment();
        self.inner.rename(from, to)?;
        let mut tape = self.recorder.tape();
        let inode = tape.names.remove(from).unwrap();
        tape.names.insert(to.to_owned(), inode);
        tape.entries.push(Entry::Rename(from.to_owned(), to.to_owned()));
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.recorder.check()?;
        self.recorder.moment();
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
        self.recorder.moment();
        self.inner.sync()?;
        self.recorder.put(Entry::SyncNames);
        self.recorder.moment();
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
        let half = &bytes[..bytes.len() / 2];
        let some = if is_full || self.recorder.is_half() { half } else { bytes };
        self.inner.write_at(some, offset)?;
        self.recorder.put(Entry::Write(self.inode, offset, some.into()));
        self.recorder.moment();
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
            self.recorder.lose(self.inode);
            return if self.recorder.is_retrying.load(Relaxed) { self.sync() } else { Err(Errno::IO.into()) };
        }
        self.recorder.moment();
        if self.recorder.is_last() && self.recorder.is_hiding.load(Relaxed) {
            self.recorder.lose(self.inode);
            self.recorder.moment();
        }
        self.inner.sync()?;
        self.recorder.put(Entry::Sync(self.inode));
        self.recorder.moment();
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
