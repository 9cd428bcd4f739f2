//! Numbers near the end of their range, put there by who may write to the files.

use crate::common::PATIENCE;
use crate::files::{Files, RECORDS, WINDOWS};
use shmlog::{
    AppendError, Appender, JoinError, LoadError, Log, Mode, PublishError, ReadError, Reader, Replica, Retention,
    Snapshot, Start, StateOwner,
};

/// The highest first number of a segment.
const MAX_BASE: u64 = u64::MAX - (1 << 32);
/// Laps that are never reached.
const MAX_LAP: u64 = (1 << 42) - 1;
const MAX_VERSION: u64 = u64::MAX - 64;

/// Appends until it is refused. Returns how many records that were.
fn append_all<M: Mode>(appender: &mut Appender<M>, reader: &mut Reader, base: u64) -> u64 {
    for count in 0_u64.. {
        match appender.append(&count.to_le_bytes()) {
            Ok(seq) => assert_eq!(seq, base + count),
            Err(error) => {
                assert_eq!(error, AppendError::Exhausted);
                return count;
            }
        }
        let record = reader.try_next().unwrap().expect("just appended");
        assert_eq!((record.seq(), record.read::<u64>().unwrap()), (base + count, count));
    }
    unreachable!("the numbers end")
}

/// Whoever appends to a log that has counted as far as it can learns that; it can be read and closed.
fn run_out<M: Mode>(log: &Log, mut appender: Appender<M>, base: u64, expected: u64) {
    let is_gated = log.info().retention != Retention::Overwrite;
    let mut reader = log.reader_builder().gated(is_gated).start(Start::At(base)).unwrap();
    assert_eq!(append_all(&mut appender, &mut reader, base), expected);
    for _ in 0..3 {
        assert_eq!(appender.append(&[0; 8]), Err(AppendError::Exhausted));
        assert_eq!(appender.append_wait(&[0; 8], PATIENCE), Err(AppendError::Exhausted));
        assert_eq!(appender.append_parts(&[b"a", b"b"]), Err(AppendError::Exhausted));
        let committed = appender.reserve(8).and_then(|slot| slot.commit().map_err(|error| error.error));
        assert_eq!(committed, Err(AppendError::Exhausted));
    }
    let last = base + expected - 1;
    assert_eq!(reader.get(last).unwrap().unwrap().read::<u64>().unwrap(), expected - 1);
    assert!(reader.get(last + 1).unwrap().is_none() && reader.get(u64::MAX).unwrap().is_none());
    assert!(matches!(reader.seek(last + 2), Err(JoinError::Ahead { .. })));
    assert_eq!(log.info().next_seq, last + 1);
    assert_eq!(appender.close(), Ok(last + 1));
    assert_eq!(reader.try_next().err(), Some(ReadError::Closed));
    assert_eq!(log.appender().unwrap().append(b"x"), Err(AppendError::Closed));
}

fn run_out_everywhere(segment: u64, base: u64, expected: u64) {
    for retention in [Retention::Gated, Retention::Overwrite] {
        let files = Files::new();
        let log = files.log_at(segment, base, retention);
        run_out(&log, log.appender().unwrap(), base, expected);
        let files = Files::new();
        let log = files.log_at(segment, base, retention);
        run_out(&log, log.exclusive().unwrap(), base, expected);
    }
}

/// They came round to 0, where the bases, which only grow, stayed.
#[test]
fn the_numbers_of_records_end() {
    run_out_everywhere(10, MAX_BASE, RECORDS);
    run_out_everywhere(10, MAX_BASE - 1, RECORDS);
    run_out_everywhere(11, MAX_BASE - RECORDS, 2 * RECORDS);
    run_out_everywhere(10, MAX_BASE - 3 * RECORDS + 1, 3 * RECORDS);
}

/// The log was called damaged.
#[test]
fn the_laps_of_windows_end() {
    let end = (MAX_LAP - 1) * WINDOWS;
    run_out_everywhere(end - 1, 5, RECORDS);
    run_out_everywhere(end - 2, 1 << 60, 2 * RECORDS);
    run_out_everywhere(end - 5, MAX_BASE - 1000, 5 * RECORDS);
}

/// Both appenders of a log that has run out, and who joins later, are told the same.
#[test]
fn all_who_append_learn_of_the_end() {
    let files = Files::new();
    let log = files.log_at(10, MAX_BASE, Retention::Overwrite);
    let mut appenders = [log.appender().unwrap(), log.appender().unwrap()];
    let appended = (0..100).filter(|&turn| appenders[turn % 2].append(b"x").is_ok()).count();
    assert_eq!(appended as u64, RECORDS);
    assert_eq!(log.appender().unwrap().append(b"x"), Err(AppendError::Exhausted));
}

/// Beyond the end nobody has appended, but a peer may say so.
#[test]
fn positions_beyond_the_end_are_errors() {
    for segment in [10, MAX_LAP * WINDOWS, 1 << 63, u64::MAX - 1, u64::MAX] {
        for base in [0, MAX_BASE + 1, u64::MAX - 3, u64::MAX] {
            if (segment, base) == (10, 0) {
                continue;
            }
            let files = Files::new();
            let log = files.log_at(segment, base, Retention::Overwrite);
            let is_refused = |joined: Option<JoinError>| matches!(joined, Some(JoinError::Corrupt));
            assert!(is_refused(log.appender().err()), "{segment} {base}");
            assert!(is_refused(log.exclusive().err()), "{segment} {base}");
            files.commit_all(segment);
            look(&log, base);
        }
    }
}

/// Wrong answers, but answers.
fn look(log: &Log, base: u64) {
    let starts = [Start::First, Start::Oldest, Start::End, Start::At(base), Start::At(u64::MAX)];
    for start in starts {
        let Ok(mut reader) = log.reader(start) else { continue };
        let seen = (0..20).take_while(|_| matches!(reader.try_next(), Ok(Some(_)))).count();
        assert!(seen as u64 <= RECORDS);
        for seq in [0, base, base.wrapping_add(3), u64::MAX] {
            assert!(!matches!(reader.get(seq), Err(ReadError::WrongLength { .. })));
            assert!(!matches!(reader.seek(seq), Err(JoinError::NotGated)));
        }
        assert!(reader.lag() <= u64::MAX - reader.position());
    }
    assert_eq!(log.info().windows, WINDOWS);
}

/// Versions came round to 0, which says that there is no value, and where the number of buffers is no power of two
/// the next version's buffer was that of another one.
#[test]
fn the_versions_of_a_slot_end() {
    for buffers in [2, 3, 4, 7, 64] {
        let files = Files::new();
        let snapshot = Snapshot::builder().buffers(buffers).capacity_bytes(64).create_at(files.path()).unwrap();
        files.put("snapshot", 8192, &[MAX_VERSION - 10, MAX_VERSION - 10]);
        let (mut writer, mut reader) = (snapshot.writer().unwrap(), snapshot.reader().unwrap());
        for version in MAX_VERSION - 9..=MAX_VERSION {
            assert_eq!(writer.publish(&version).unwrap(), version);
            let loaded = reader.load::<u64>().unwrap().unwrap();
            assert_eq!((loaded.value, loaded.version), (version, version));
        }
        for _ in 0..100 {
            assert!(matches!(writer.publish(&0_u64), Err(PublishError::Exhausted { index: 0 })));
            assert_eq!(reader.load::<u64>().unwrap().unwrap().value, MAX_VERSION);
        }
        assert_eq!(reader.pin().unwrap().unwrap().read::<u64>().unwrap(), MAX_VERSION);
        assert_eq!(files.get("snapshot", 8192), MAX_VERSION);
    }
}

/// Versions beyond the end, and announcements that have come round: answers, whatever they are.
#[test]
fn versions_beyond_the_end_are_answered() {
    for (current, next) in [(u64::MAX, u64::MAX), (u64::MAX, 0), (u64::MAX - 1, 1), (0, u64::MAX), (MAX_VERSION + 1, 0)]
    {
        let files = Files::new();
        let snapshot = Snapshot::builder().buffers(3).capacity_bytes(64).create_at(files.path()).unwrap();
        files.put("snapshot", 8192, &[current, next]);
        let (mut writer, mut reader) = (snapshot.writer().unwrap(), snapshot.reader().unwrap());
        let published = (0..10_u64).filter(|value| writer.publish(value).is_ok()).count();
        let loaded = reader.load_bytes();
        assert!(matches!(loaded, Ok(_) | Err(LoadError::Corrupt { .. } | LoadError::Overtaken { .. })), "{loaded:?}");
        assert!(published <= 10 && !matches!(reader.pin(), Err(LoadError::NoBarrier)), "{current} {next}");
    }
}

/// A state after the last record that can be.
#[test]
fn the_last_position_of_a_state() {
    let files = Files::new();
    let log = files.log_at(10, MAX_BASE, Retention::Gated);
    let snapshot = Snapshot::builder().create_memfd("state").unwrap();
    let replica = Replica::new(&log, &snapshot);
    let mut owner: StateOwner = replica.own_at("owner", Start::At(MAX_BASE)).unwrap();
    let mut appender = log.appender().unwrap();
    let last = (0..).map_while(|_: u64| appender.append(b"x").ok()).last().unwrap();
    owner.publish(last, &1_u64).unwrap();
    let mut joined = replica.join().unwrap();
    assert_eq!((joined.state.unwrap().as_of, joined.reader.try_next().unwrap().is_none()), (Some(last), true));
    assert!(owner.publish(u64::MAX, &1_u64).is_err());
    drop(owner);
    snapshot.writer().unwrap().first().as_of(u64::MAX).publish(&1_u64).unwrap();
    assert!(replica.join().is_err(), "there is no such record");
}
