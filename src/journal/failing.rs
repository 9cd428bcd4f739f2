//! A disk that fails when it is told to, for tests.

use crate::error::JournalError;
use crate::journal::Journal;
use crate::journal::opening::open::open_on;
use crate::journal::settings::Settings;
use crate::sync::{AtomicBool, AtomicU64, Ordering::Relaxed};
use crate::sys::disk::{Disk, DiskFile, NativeDisk, Open};
use std::fmt;
use std::io;
use std::os::fd::BorrowedFd;
use std::path::Path;
use std::sync::{Arc, Mutex};

#[derive(Debug, Default)]
pub(crate) struct Faults {
    /// What is written is lost, and it is said once, as Linux does.
    pub(crate) is_losing: AtomicBool,
    /// The control file is not written.
    pub(crate) is_refusing: AtomicBool,
    /// There is no room behind so many bytes of any file; 0: there is.
    pub(crate) room_bytes: AtomicU64,
    /// What others do when an index is about to be written.
    pub(crate) meanwhile: Meanwhile,
}

#[derive(Default)]
pub(crate) struct Meanwhile(pub(crate) Mutex<Option<Box<dyn FnOnce() + Send>>>);

impl fmt::Debug for Meanwhile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Meanwhile")
    }
}

#[derive(Debug)]
struct Failing(NativeDisk, Arc<Faults>);

#[derive(Debug)]
struct FailingFile(Arc<dyn DiskFile>, Arc<Faults>);

impl Disk for Failing {
    fn names(&self) -> io::Result<Vec<String>> {
        self.0.names()
    }
    fn open(&self, name: &str, how: Open) -> io::Result<Arc<dyn DiskFile>> {
        if self.1.is_refusing.load(Relaxed) && (name, how) == ("control", Open::Write) {
            return Err(io::Error::from_raw_os_error(5));
        }
        if name == "idx.draft"
            && let Some(act) = self.1.meanwhile.0.lock().unwrap().take()
        {
            act();
        }
        Ok(Arc::new(FailingFile(self.0.open(name, how)?, Arc::clone(&self.1))))
    }
    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.0.rename(from, to)
    }
    fn remove(&self, name: &str) -> io::Result<()> {
        self.0.remove(name)
    }
    fn sync(&self) -> io::Result<()> {
        self.0.sync()
    }
}

impl DiskFile for FailingFile {
    fn len(&self) -> io::Result<u64> {
        self.0.len()
    }
    fn read_at(&self, to: &mut [u8], offset: u64) -> io::Result<usize> {
        self.0.read_at(to, offset)
    }
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let room_bytes = self.1.room_bytes.load(Relaxed);
        if room_bytes > 0 && offset >= room_bytes {
            return Err(io::ErrorKind::StorageFull.into());
        }
        if self.1.is_losing.load(Relaxed) {
            return Ok(());
        }
        self.0.write_at(bytes, offset)
    }
    fn allocate(&self, len: u64) -> io::Result<()> {
        self.0.allocate(len)
    }
    fn truncate(&self, len: u64) -> io::Result<()> {
        self.0.truncate(len)
    }
    fn give_back(&self, offset: u64) -> io::Result<()> {
        self.0.give_back(offset)
    }
    fn sync(&self) -> io::Result<()> {
        if self.1.is_losing.swap(false, Relaxed) {
            return Err(io::Error::from_raw_os_error(5));
        }
        self.0.sync()
    }
    fn forget_cache(&self) -> io::Result<()> {
        self.0.forget_cache()
    }
    fn fd(&self) -> BorrowedFd<'_> {
        self.0.fd()
    }
}

pub(crate) fn try_open(dir: &Path, faults: &Arc<Faults>, settings: &Settings) -> Result<Journal, JournalError> {
    let disk = Arc::new(Failing(NativeDisk::open(dir, 0o600).unwrap(), Arc::clone(faults)));
    let settings =
        Settings { file_bytes: 1 << 20, front_window_bytes: 64 << 10, has_thread: false, ..settings.clone() };
    let (core, recovery) = open_on(disk, dir, &settings, true)?;
    Journal::of(core, recovery)
}

pub(crate) fn open(dir: &Path, faults: &Arc<Faults>) -> Journal {
    try_open(dir, faults, &Settings::default()).unwrap()
}
