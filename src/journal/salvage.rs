//! After flushing failed: what was committed and is not in the files is in the front still. So the front stays, with new
//! words beside it, which count when the control file says so: whoever dies before that has changed nothing.

use crate::anchor::Anchored;
use crate::core::cursor::Cursor;
use crate::core::{hold, locate};
use crate::error::JournalError;
use crate::journal::format::control::Place;
use crate::journal::front::{Front, STATES, make_state};
use crate::journal::settings::Settings;
use crate::journal::state::Owner;
use std::sync::Arc;

impl Front {
    /// The same front, to be gone on with where the files end, at `at`. `None`: what comes there is not in it. Nobody else has
    /// the journal open.
    pub(crate) fn renewed(
        self,
        settings: &Settings,
        owner: Owner,
        at: Place,
        oldest: u64,
    ) -> Result<Option<Self>, JournalError> {
        let mapped = Arc::clone(self.log.mapped());
        let Some(floor) = mapped.floor() else { return Ok(None) };
        let Ok(place) = Anchored::new(Arc::clone(&mapped), |mapped| Cursor::at_seq(mapped, None, at.seq)) else {
            return Ok(None);
        };
        // It may have been higher: what was written there and not durable is lost, and in the front still.
        hold::advance(&floor.hold.0, place.state().segment());
        let state_name = if self.state_name == STATES[0] { STATES[1] } else { STATES[0] };
        let path = self.path.join(state_name);
        // Of one who died over this.
        let _ = std::fs::remove_file(&path);
        let owner = Owner { front: mapped.traits().id, ..owner };
        let state = make_state(&path, settings, owner, at, oldest)?;
        Ok(Some(Self { log: self.log, state, state_name, path: self.path }))
    }

    /// How many records are in it from `seq` on.
    pub(crate) fn count_from(&self, seq: u64) -> u64 {
        locate::end(&**self.log.mapped()).map_or(0, |(end, _)| end.saturating_sub(seq))
    }
}

#[cfg(test)]
mod tests {
    use crate::error::JournalError;
    use crate::journal::Journal;
    use crate::journal::flush::Goal;
    use crate::journal::open::open_on;
    use crate::journal::settings::Settings;
    use crate::log::Start;
    use crate::sync::{AtomicBool, Ordering::Relaxed};
    use crate::sys::disk::{Disk, DiskFile, NativeDisk, Open};
    use std::io;
    use std::os::fd::BorrowedFd;
    use std::path::Path;
    use std::sync::Arc;

    #[derive(Debug, Default)]
    struct Faults {
        /// What is written is lost, and it is said once, as Linux does.
        is_losing: AtomicBool,
        /// The control file is not written.
        is_refusing: AtomicBool,
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

    fn try_open(dir: &Path, faults: &Arc<Faults>) -> Result<Journal, JournalError> {
        let disk = Arc::new(Failing(NativeDisk::open(dir, 0o600).unwrap(), Arc::clone(faults)));
        let settings =
            Settings { file_bytes: 1 << 20, front_window_bytes: 64 << 10, has_thread: false, ..Settings::default() };
        let (core, recovery) = open_on(disk, dir, &settings, true)?;
        Journal::of(core, recovery)
    }

    fn open(dir: &Path, faults: &Arc<Faults>) -> Journal {
        try_open(dir, faults).unwrap()
    }

    /// What was durable is in the files, what was committed in memory; the sync that failed acknowledged nothing.
    ///
    /// The story: it was copied to a new front after the old one had been removed. Who opened the journal and could not go
    /// on, or was killed, lost it.
    #[test]
    fn nothing_committed_is_lost_by_a_write_that_fails() {
        let (dir, faults) = (tempfile::tempdir().unwrap(), Arc::new(Faults::default()));
        {
            let (journal, other) = (open(dir.path(), &faults), open(dir.path(), &faults));
            let mut appender = journal.appender().unwrap();
            for number in 0..100_u64 {
                appender.append_value(&number).unwrap();
            }
            assert_eq!(journal.sync().unwrap(), 100);
            for number in 100..150_u64 {
                appender.append_value(&number).unwrap();
            }
            appender.append_parts(&[b"a", b"batch"]).unwrap();
            faults.is_losing.store(true, Relaxed);
            let failed = |outcome| matches!(outcome, Err(JournalError::Failed { .. }));
            assert!(failed(journal.sync()));
            assert!(failed(journal.sync()), "it is not tried again");
            assert!(failed(other.sync()), "everybody learns it");
            assert!(matches!(appender.append(b"more"), Err(JournalError::Failed { .. })));
            assert_eq!((journal.durable(), other.durable()), (100, 100));
        }
        faults.is_refusing.store(true, Relaxed);
        for _ in 0..2 {
            assert!(matches!(try_open(dir.path(), &faults), Err(JournalError::Os { .. })));
        }
        faults.is_refusing.store(false, Relaxed);
        let journal = open(dir.path(), &faults);
        let recovery = journal.recovery().unwrap();
        assert_eq!((recovery.kept, recovery.salvaged), (100, 51));
        assert_eq!(journal.sync().unwrap(), 151);
        let mut reader = journal.reader(Start::First).unwrap();
        for number in 0..150 {
            assert_eq!(reader.try_next().unwrap().unwrap().read::<u64>().unwrap(), number);
        }
        assert_eq!(reader.try_next().unwrap().unwrap().parts().count(), 2);
    }

    /// Also what the front need not have kept any more, as it was in the files: and it is kept from then on.
    #[test]
    fn what_was_written_and_lost_is_kept_if_it_is_in_memory() {
        let (dir, faults) = (tempfile::tempdir().unwrap(), Arc::new(Faults::default()));
        let bytes = |seq: u64| [seq.to_le_bytes()[0]; 1000];
        for round in 1..3 {
            let durable = {
                let journal = open(dir.path(), &faults);
                let mut appender = journal.appender().unwrap();
                let mut append = |count| {
                    for _ in 0..count {
                        let seq = journal.next_seq();
                        appender.append(&bytes(seq)).unwrap();
                    }
                };
                append(100);
                journal.sync().unwrap();
                while journal.core().state.progress().written.offset > 500_000 {
                    append(1);
                    journal.sync().unwrap();
                }
                let durable = journal.next_seq();
                faults.is_losing.store(true, Relaxed);
                append(200);
                let flushed = journal.core().with_lead(|lead| lead.flush(Goal::Written)).unwrap();
                assert!(flushed.is_ok() && journal.core().floor() > 1 && journal.sync().is_err(), "{flushed:?}");
                durable
            };
            let journal = open(dir.path(), &faults);
            let recovery = journal.recovery().unwrap();
            assert_eq!((recovery.kept, recovery.salvaged), (durable, 200), "round {round}");
            let mut appender = journal.appender().unwrap();
            for seq in durable + 200..round * 3000 {
                appender.append(&bytes(seq)).unwrap();
            }
            let mut reader = journal.reader(Start::First).unwrap();
            for seq in 0..round * 3000 {
                let record = reader.try_next().unwrap().unwrap();
                assert_eq!((record.seq(), record.bytes()), (seq, &bytes(seq)[..]));
            }
        }
    }
}
