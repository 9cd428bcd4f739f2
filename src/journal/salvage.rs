//! After flushing failed: what was committed and is not in the files is in the old front still.

use crate::error::{AppendError, JournalError, ReadError};
use crate::journal::core::Core;
use crate::journal::flush::Goal;
use crate::layout::entry::Kind;
use crate::log::{Log, Start};
use crate::participant::Role;

impl Core {
    /// Takes over the records of another front from where the files end, if it has them. Returns how many. Nobody else
    /// has the journal open.
    pub(crate) fn salvage(&self, old: &Log) -> Result<u64, JournalError> {
        let from = self.end();
        let Ok(mut reader) = old.reader(Start::At(from)) else { return Ok(0) };
        let mut appender = self.front.appender()?;
        let mut bytes = Vec::new();
        loop {
            let record = match reader.try_next() {
                Ok(Some(record)) => record,
                Ok(None) | Err(ReadError::Closed) => return Ok(self.end() - from),
                Err(error) => return Err(error.into()),
            };
            bytes.resize(record.len(), 0);
            record.copy_to(&mut bytes)?;
            let kind = if record.is_batch() { Kind::Batch } else { Kind::Record };
            loop {
                let before = self.floor();
                match appender.append_kind(kind, &bytes) {
                    Ok(_) => break,
                    Err(AppendError::Full { by: Some(holder), .. }) if holder.role == Some(Role::Flusher) => {
                        self.flush_until(Goal::Durable, None, |_| self.floor() != before)?;
                    }
                    Err(error) => return Err(error.into()),
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::error::JournalError;
    use crate::journal::Journal;
    use crate::journal::open::open_on;
    use crate::journal::settings::Settings;
    use crate::log::Start;
    use crate::sync::{AtomicBool, Ordering::Relaxed};
    use crate::sys::disk::{Disk, DiskFile, NativeDisk, Open};
    use std::io;
    use std::os::fd::BorrowedFd;
    use std::path::Path;
    use std::sync::Arc;

    /// A disk that loses what is written to it while it is told to, and says so once, as Linux does.
    #[derive(Debug)]
    struct Failing(NativeDisk, Arc<AtomicBool>);

    #[derive(Debug)]
    struct FailingFile(Arc<dyn DiskFile>, Arc<AtomicBool>);

    impl Disk for Failing {
        fn names(&self) -> io::Result<Vec<String>> {
            self.0.names()
        }
        fn open(&self, name: &str, how: Open) -> io::Result<Arc<dyn DiskFile>> {
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
            if self.1.load(Relaxed) {
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
        fn sync(&self) -> io::Result<()> {
            if self.1.swap(false, Relaxed) {
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

    fn open(dir: &Path, is_failing: &Arc<AtomicBool>) -> Journal {
        let disk = Arc::new(Failing(NativeDisk::open(dir, 0o600).unwrap(), Arc::clone(is_failing)));
        let settings =
            Settings { file_bytes: 64 << 10, front_window_bytes: 64 << 10, has_thread: false, ..Settings::default() };
        let (core, recovery) = open_on(disk, dir, &settings, true).unwrap();
        Journal::of(core, recovery).unwrap()
    }

    /// What was durable is in the files, what was committed in memory; the sync that failed acknowledged nothing.
    #[test]
    fn nothing_committed_is_lost_by_a_write_that_fails() {
        let (dir, is_failing) = (tempfile::tempdir().unwrap(), Arc::new(AtomicBool::new(false)));
        {
            let (journal, other) = (open(dir.path(), &is_failing), open(dir.path(), &is_failing));
            let mut appender = journal.appender().unwrap();
            for number in 0..100_u64 {
                appender.append_value(&number).unwrap();
            }
            assert_eq!(journal.sync().unwrap(), 100);
            for number in 100..150_u64 {
                appender.append_value(&number).unwrap();
            }
            appender.append_parts(&[b"a", b"batch"]).unwrap();
            is_failing.store(true, Relaxed);
            let failed = |outcome| matches!(outcome, Err(JournalError::Failed { .. }));
            assert!(failed(journal.sync()));
            assert!(failed(journal.sync()), "it is not tried again");
            assert!(failed(other.sync()), "everybody learns it");
            assert!(matches!(appender.append(b"more"), Err(JournalError::Failed { .. })));
            assert_eq!((journal.durable(), other.durable()), (100, 100));
        }
        let journal = open(dir.path(), &is_failing);
        let recovery = journal.recovery().unwrap();
        assert_eq!((recovery.kept, recovery.salvaged), (100, 51));
        assert_eq!(journal.sync().unwrap(), 151);
        let mut reader = journal.reader(Start::First).unwrap();
        for number in 0..150 {
            assert_eq!(reader.try_next().unwrap().unwrap().read::<u64>().unwrap(), number);
        }
        assert_eq!(reader.try_next().unwrap().unwrap().parts().count(), 2);
    }
}
