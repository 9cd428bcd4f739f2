//! After flushing failed: what was committed and is not in the files is in the front still. So the front stays, with new
//! words beside it, which count when the control file says so: whoever dies before that has changed nothing.

use crate::anchor::Anchored;
use crate::core::cursor::Cursor;
use crate::core::{hold, locate};
use crate::error::JournalError;
use crate::journal::format::control::Place;
use crate::journal::opening::front::{Front, STATES, make_state};
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
    use crate::journal::failing::{Faults, open, try_open};
    use crate::journal::flushing::flush::Goal;
    use crate::journal::settings::Settings;
    use crate::log::Start;
    use crate::sync::Ordering::Relaxed;
    use std::sync::Arc;

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
            assert!(matches!(try_open(dir.path(), &faults, &Settings::default()), Err(JournalError::Os { .. })));
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

    /// The story: who could not go on left the words that were to count from the next generation on, which a repair then
    /// began. They were taken for those of the repaired journal.
    #[test]
    fn words_that_did_not_come_to_count_do_not_after_a_repair() {
        let (dir, faults) = (tempfile::tempdir().unwrap(), Arc::new(Faults::default()));
        let offset = {
            let journal = open(dir.path(), &faults);
            let mut appender = journal.appender().unwrap();
            for number in 0..100_u64 {
                appender.append_durable(&number.to_le_bytes()).unwrap();
            }
            appender.append_value(&100_u64).unwrap();
            faults.is_losing.store(true, Relaxed);
            assert!(journal.sync().is_err());
            usize::try_from(journal.core().state.progress().durable.offset).unwrap()
        };
        faults.is_refusing.store(true, Relaxed);
        assert!(try_open(dir.path(), &faults, &Settings::default()).is_err());
        faults.is_refusing.store(false, Relaxed);
        // All of the second half but the last mark, which says what was there.
        let name = dir.path().join(format!("{:020}.log", 0));
        let mut bytes = std::fs::read(&name).unwrap();
        bytes[4096 + (offset - 4096) / 2..offset - 48].fill(7);
        bytes[offset - 16..offset].fill(7);
        std::fs::write(&name, bytes).unwrap();
        assert!(matches!(try_open(dir.path(), &faults, &Settings::default()), Err(JournalError::Damaged { .. })));
        let lost = Journal::repair(dir.path(), "").unwrap().lost;
        assert!(matches!(lost[..], [(2..90, 91..)]), "{lost:?}");
        for _ in 0..2 {
            let journal = open(dir.path(), &faults);
            assert_eq!(journal.next_seq(), lost[0].1);
        }
    }

    /// The story: a reader that only looks on had the old words, and the front that others went on with: it looked for ever
    /// for a record that was in neither.
    #[test]
    fn who_looks_on_is_left_behind() {
        let (dir, faults) = (tempfile::tempdir().unwrap(), Arc::new(Faults::default()));
        let observer = {
            let journal = open(dir.path(), &faults);
            let mut appender = journal.appender().unwrap();
            for number in 0..100_u64 {
                appender.append_value(&number).unwrap();
            }
            journal.sync().unwrap();
            appender.append_value(&100_u64).unwrap();
            let observer = Journal::open_read_only(dir.path()).unwrap();
            faults.is_losing.store(true, Relaxed);
            assert!(journal.sync().is_err());
            observer
        };
        let journal = open(dir.path(), &faults);
        let mut appender = journal.appender().unwrap();
        for _ in 101..3000 {
            appender.append(&[1; 1000]).unwrap();
        }
        let mut reader = observer.reader(Start::First).unwrap();
        for number in 0..100 {
            assert_eq!(reader.try_next().unwrap().unwrap().read::<u64>().unwrap(), number);
        }
        assert!(matches!(reader.try_next(), Err(JournalError::LeftBehind)));
        assert!(matches!(reader.get(101), Err(JournalError::LeftBehind)));
    }
}
