use super::*;
use crate::journal::{Journal, JournalBuilder};
use std::os::fd::BorrowedFd;
use std::sync::{Mutex, PoisonError};

/// What others do while a journal is verified.
struct Others {
    act: Mutex<Option<Box<dyn FnOnce() + Send>>>,
    /// Before which read of whatever file: 1 is the first one.
    at: Mutex<usize>,
}

impl fmt::Debug for Others {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Others").field("at", &self.at).finish_non_exhaustive()
    }
}

impl Others {
    fn look_around(&self) {
        let mut left = self.at.lock().unwrap();
        *left = left.saturating_sub(1);
        if *left == 0
            && let Some(act) = self.act.lock().unwrap_or_else(PoisonError::into_inner).take()
        {
            act();
        }
    }
}

/// A directory that others are at.
#[derive(Debug)]
struct Busy(NativeDisk, Arc<Others>);

#[derive(Debug)]
struct BusyFile(Arc<dyn DiskFile>, Arc<Others>);

impl Disk for Busy {
    fn names(&self) -> io::Result<Vec<String>> {
        self.0.names()
    }
    fn open(&self, name: &str, how: Open) -> io::Result<Arc<dyn DiskFile>> {
        assert_eq!(how, Open::Read);
        Ok(Arc::new(BusyFile(self.0.open(name, how)?, Arc::clone(&self.1))))
    }
    fn rename(&self, _from: &str, _to: &str) -> io::Result<()> {
        unreachable!()
    }
    fn remove(&self, _name: &str) -> io::Result<()> {
        unreachable!()
    }
    fn sync(&self) -> io::Result<()> {
        unreachable!()
    }
}

impl DiskFile for BusyFile {
    fn len(&self) -> io::Result<u64> {
        self.0.len()
    }
    fn read_at(&self, to: &mut [u8], offset: u64) -> io::Result<usize> {
        self.1.look_around();
        self.0.read_at(to, offset)
    }
    fn write_at(&self, _bytes: &[u8], _offset: u64) -> io::Result<()> {
        unreachable!()
    }
    fn allocate(&self, _len: u64) -> io::Result<()> {
        unreachable!()
    }
    fn truncate(&self, _len: u64) -> io::Result<()> {
        unreachable!()
    }
    fn sync(&self) -> io::Result<()> {
        unreachable!()
    }
    fn forget_cache(&self) -> io::Result<()> {
        unreachable!()
    }
    fn fd(&self) -> BorrowedFd<'_> {
        unreachable!()
    }
}

/// Verifies while others do something before read number `at`. Returns what is wrong, and whether they came to it.
fn verify_beside(dir: &Path, at: usize, act: impl FnOnce() + Send + 'static) -> (Vec<Problem>, bool) {
    let others = Arc::new(Others { act: Mutex::new(Some(Box::new(act))), at: Mutex::new(at) });
    let disk = Busy(NativeDisk::open(dir, 0).unwrap(), Arc::clone(&others));
    let found = verify_on(&disk, dir, "", |_| {}).unwrap();
    (found.problems, others.act.lock().unwrap().is_none())
}

fn builder() -> JournalBuilder {
    Journal::builder().file_bytes(64 << 10).thread(false)
}

fn append(journal: &Journal, count: usize) {
    let mut appender = journal.appender().unwrap();
    for _ in 0..count {
        appender.append(&[7; 1000]).unwrap();
    }
    journal.sync().unwrap();
}

/// The story: half of a flush was there when its end was read, all of it and the mark of the next one when it was looked
/// for proof that there had been more: records that were just being written were said to be gone.
#[test]
fn an_end_that_is_half_written_is_not_lost_when_the_next_flush_has_begun() {
    let dir = tempfile::tempdir().unwrap();
    let journal = builder().open(dir.path()).unwrap();
    (0..2).for_each(|_| append(&journal, 3));
    let end = journal.core().state.progress().written.offset;
    append(&journal, 1);
    let path = dir.path().join(Names::new("").log(0));
    let whole = std::fs::read(&path).unwrap();
    for at in 1.. {
        let mut half = whole.clone();
        half[usize::try_from(end).unwrap() - 500..].fill(0);
        std::fs::write(&path, half).unwrap();
        let (path, whole) = (path.clone(), whole.clone());
        let (problems, has_come) = verify_beside(dir.path(), at, move || std::fs::write(path, whole).unwrap());
        assert_eq!(problems, [], "before read {at}");
        if !has_come {
            assert!(at > 4);
            break;
        }
    }
    std::fs::write(&path, whole).unwrap();
}

/// The story: the file that was read to its end went on and became full before its index was compared with what had been
/// read of it; or the directory had been listed before the next one began, and the control file was read when that was
/// closed; or the other way round, and the oldest one was given up in between.
#[test]
fn files_that_come_and_go_meanwhile_are_neither_wrong_nor_missing() {
    for (at, is_pruned) in (1..).flat_map(|at| [(at, false), (at, true)]) {
        let dir = tempfile::tempdir().unwrap();
        let journal = builder().open(dir.path()).unwrap();
        append(&journal, 50);
        let (problems, has_come) = verify_beside(dir.path(), at, move || {
            append(&journal, 50);
            while journal.core().index_ahead().unwrap() {}
            if is_pruned {
                journal.prune(60).unwrap();
            }
        });
        assert_eq!(problems, [], "before read {at}");
        if !has_come {
            assert!(at > 4);
            break;
        }
    }
}
