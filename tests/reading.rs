//! Readers: places, lag, what may be looked at in place, waiting, the end of the log.
#![allow(unsafe_code, reason = "as_slice is looked at")]

mod common;

use common::payload;
use shmlog::{Access, JoinError, Log, ReadError, Reader, Retention, Start, Wait};
use std::sync::atomic::Ordering::Relaxed;
use std::thread;
use std::time::{Duration, Instant};
use zerocopy::{FromBytes, Immutable, IntoBytes};

/// Two windows of seven records.
fn small(retention: Retention) -> Log {
    Log::builder().windows(2).window_bytes(64 << 10).entries(8).retention(retention).create_memfd("reading").unwrap()
}

fn fill(log: &Log, numbers: std::ops::Range<u64>) {
    let mut appender = log.appender().unwrap();
    for number in numbers {
        assert_eq!(appender.append(&number.to_le_bytes()).unwrap(), number);
    }
}

fn number(reader: &mut Reader) -> u64 {
    reader.try_next().unwrap().expect("a record").read().unwrap()
}

#[test]
fn every_start_is_where_it_says() {
    let log = small(Retention::Overwrite);
    for start in [Start::Oldest, Start::First, Start::End, Start::At(0)] {
        assert_eq!(log.reader(start).unwrap().position(), 0, "an empty log has one place: {start:?}");
    }
    assert!(matches!(log.reader(Start::At(1)), Err(JoinError::Ahead { seq: 1 })));
    fill(&log, 0..18);
    // 0..7 is given up; 7..14 and 14..18 are there.
    assert_eq!(log.reader(Start::Oldest).unwrap().position(), 7);
    assert_eq!(log.reader(Start::End).unwrap().position(), 18);
    assert_eq!(log.reader(Start::At(18)).unwrap().position(), 18);
    assert!(matches!(log.reader(Start::First), Err(JoinError::Gone { seq: 0, oldest: 7 })));
    assert!(matches!(log.reader(Start::At(6)), Err(JoinError::Gone { seq: 6, oldest: 7 })));
    for ahead in [19, 22, 1 << 32, u64::MAX] {
        assert!(matches!(log.reader(Start::At(ahead)), Err(JoinError::Ahead { seq }) if seq == ahead));
    }
    for seq in 7..18 {
        assert_eq!(number(&mut log.reader(Start::At(seq)).unwrap()), seq);
    }
}

#[test]
fn a_segment_that_ended_without_a_successor_is_a_place_too() {
    let log = small(Retention::Keep);
    fill(&log, 0..7);
    let mut reader = log.reader(Start::At(7)).unwrap();
    assert_eq!(reader.try_next().unwrap().map(|record| record.seq()), None);
    fill(&log, 7..8);
    assert_eq!(number(&mut reader), 7);
}

#[test]
fn get_is_right_at_random_and_tells_gone_from_not_yet() {
    let log = small(Retention::Overwrite);
    let reader = log.reader(Start::End).unwrap();
    assert!(reader.get(0).unwrap().is_none());
    for end in 1..200_u64 {
        fill(&log, end - 1..end);
        let oldest = log.info().oldest_seq;
        assert!(end - oldest >= 7.min(end) && end - oldest <= 14, "{oldest} {end}");
        for seq in [end - 1, oldest, end * 7 % 31 + oldest, end, end + 9, u64::MAX] {
            match reader.get(seq).unwrap() {
                Some(record) => assert_eq!((record.read::<u64>().unwrap(), record.seq()), (seq, seq)),
                None => assert!(seq >= end),
            }
        }
        if let Some(gone) = oldest.checked_sub(1) {
            assert_eq!(reader.get(gone).unwrap_err(), ReadError::GivenUp { seq: gone, oldest });
        }
    }
}

#[test]
fn a_lapped_reader_learns_what_it_missed_and_goes_on() {
    let log = small(Retention::Overwrite);
    fill(&log, 0..3);
    let mut reader = log.reader(Start::First).unwrap();
    assert_eq!((number(&mut reader), reader.lag()), (0, 2));
    fill(&log, 3..100);
    assert_eq!(reader.lag(), 99);
    let oldest = log.info().oldest_seq;
    assert_eq!(reader.try_next().unwrap_err(), ReadError::Lagged { missed: oldest - 1, next: oldest });
    for seq in oldest..100 {
        assert_eq!(number(&mut reader), seq);
    }
    assert!(reader.try_next().unwrap().is_none());
    assert_eq!(reader.lag(), 0);
}

#[test]
fn a_record_recycled_before_it_is_copied_is_never_a_mixture() {
    let log = small(Retention::Overwrite);
    let mut appender = log.appender().unwrap();
    appender.append(&payload(0, 0, 100)).unwrap();
    appender.append_parts(&[b"one", b"two"]).unwrap();
    let reader = log.reader(Start::First).unwrap();
    let (record, batch) = (reader.get(0).unwrap().unwrap(), reader.get(1).unwrap().unwrap());
    let mut parts = batch.parts();
    let first = parts.next().unwrap().unwrap();
    for number in 0..40 {
        appender.append(&payload(1, number, 100)).unwrap();
    }
    let oldest = log.info().oldest_seq;
    let gone = ReadError::GivenUp { seq: 0, oldest };
    assert_eq!(record.to_vec().unwrap_err(), gone);
    assert_eq!(record.copy_to(&mut [0; 10]).unwrap_err(), gone);
    assert_eq!(record.read::<[u8; 100]>().unwrap_err(), gone);
    assert_eq!(first.to_vec().unwrap_err(), ReadError::GivenUp { seq: 1, oldest });
    assert_eq!(parts.next().unwrap().unwrap_err(), ReadError::GivenUp { seq: 1, oldest });
    assert!(parts.next().is_none(), "an error is the end of the parts");
}

#[test]
fn typed_reads_want_the_exact_length() {
    #[derive(FromBytes, IntoBytes, Immutable, PartialEq, Debug, Clone, Copy)]
    #[repr(C)]
    struct Quote {
        price: u64,
        shares: [u32; 2],
    }
    let quote = Quote { price: 58_569, shares: [10, 20] };
    let log = small(Retention::Gated);
    log.appender().unwrap().append_value(&quote).unwrap();
    let reader = log.reader(Start::First).unwrap();
    let record = reader.get(0).unwrap().unwrap();
    assert_eq!(record.read::<Quote>().unwrap(), quote);
    assert_eq!(record.read::<u64>().unwrap_err(), ReadError::WrongLength { found_bytes: 16, wanted_bytes: 8 });
    assert_eq!(record.read::<[u64; 3]>().unwrap_err(), ReadError::WrongLength { found_bytes: 16, wanted_bytes: 24 });
    let mut short = [0; 5];
    assert_eq!(record.copy_to(&mut short).unwrap(), 5);
    assert_eq!(short, quote.as_bytes()[..5]);
}

#[test]
fn in_place_access_needs_a_hold_and_a_writable_mapping() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("log");
    let log = Log::builder().retention(Retention::Gated).create_at(&path).unwrap();
    log.appender().unwrap().append(b"TEST....TAIL").unwrap();

    let mut free = log.reader(Start::First).unwrap();
    let record = free.get(0).unwrap().unwrap();
    assert_eq!(record.atomics().unwrap_err(), ReadError::NotHeld);
    // SAFETY: nobody writes to the record meanwhile.
    assert_eq!(unsafe { record.as_slice() }.unwrap_err(), ReadError::NotHeld);

    free.pin().unwrap();
    let words = free.get(0).unwrap().unwrap().atomics().unwrap();
    words[0].store(u64::from_le_bytes(*b"DEST...."), Relaxed);
    assert_eq!(words.len(), 2, "the last word is padded");

    let reading = Log::open(&path, Access::Read).unwrap();
    let mut gated = reading.reader_builder().gated(true).start(Start::First).unwrap();
    let record = gated.try_next().unwrap().unwrap();
    assert_eq!(record.atomics().unwrap_err(), ReadError::ReadOnly);
    // SAFETY: nobody writes to the record meanwhile.
    assert_eq!(unsafe { record.as_slice() }.unwrap(), b"DEST....TAIL");

    free.unpin();
    assert_eq!(free.get(0).unwrap().unwrap().atomics().unwrap_err(), ReadError::NotHeld);
}

#[test]
fn a_pinned_reader_is_waited_for_until_it_lets_go() {
    let log = small(Retention::Overwrite);
    fill(&log, 0..7);
    let mut reader = log.reader(Start::First).unwrap();
    reader.pin().unwrap();
    fill(&log, 7..14);
    let mut appender = log.appender().unwrap();
    assert!(appender.append(b"").is_err(), "full");
    // SAFETY: nobody writes to the record meanwhile.
    assert_eq!(unsafe { reader.peek().unwrap().unwrap().as_slice() }.unwrap(), 0_u64.to_le_bytes());
    for seq in 0..14 {
        assert_eq!(number(&mut reader), seq, "all of it, though the log had to wait");
    }
    reader.unpin();
    drop(appender);
    fill(&log, 14..100);
    assert!(matches!(reader.pin(), Err(JoinError::Gone { seq: 14, .. })), "it is too late");
    assert!(matches!(reader.try_next(), Err(ReadError::Lagged { .. })));
    reader.pin().unwrap();
}

/// An observer maps the board for reading only. Joining, it once signed a slot there: whoever could open the
/// board's file for writing through /proc, which its owner can, died of SIGSEGV.
#[test]
fn an_observer_takes_no_slot_and_reads() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("log");
    let log = Log::builder().create_at(&path).unwrap();
    fill(&log, 0..5);
    let observer = Log::open(&path, Access::Observe).unwrap();
    let mut reader = observer.reader(Start::First).unwrap();
    for seq in 0..5 {
        assert_eq!(number(&mut reader), seq);
    }
    reader.seek(0).unwrap();
    assert_eq!((reader.position(), reader.lag()), (0, 5));
    assert!(log.info().participants.is_empty());
    assert!(matches!(reader.pin(), Err(JoinError::NoSeat)));
    reader.unpin();
    reader.set_wait(Wait::Block);
    reader.seek(5).unwrap();
    assert!(reader.next_timeout(Duration::from_millis(2)).unwrap().is_none());
    let gated = observer.reader_builder().gated(true).start(Start::First);
    assert!(matches!(gated, Err(JoinError::Observing)), "{gated:?}");
    assert!(matches!(observer.appender(), Err(JoinError::ReadOnly)));
}

#[test]
fn seeking_takes_the_gate_along() {
    let log = small(Retention::Gated);
    let mut reader = log.reader_builder().gated(true).start(Start::First).unwrap();
    fill(&log, 0..14);
    let mut appender = log.appender().unwrap();
    assert!(appender.append(b"").is_err());
    reader.seek(14).unwrap();
    assert_eq!(appender.append(&14_u64.to_le_bytes()).unwrap(), 14);
    reader.seek(7).unwrap();
    assert!(matches!(reader.seek(6), Err(JoinError::Gone { seq: 6, oldest: 7 })));
    assert_eq!(reader.position(), 7, "it stays where it is");
    for _ in 15..21 {
        appender.append(b"").unwrap();
    }
    assert!(appender.append(b"").is_err(), "7..14 is held again");
    assert_eq!(number(&mut reader), 7);
    assert!(matches!(reader.seek(22), Err(JoinError::Ahead { seq: 22 })));
    assert_eq!(reader.position(), 8);
}

#[test]
fn batches_end_with_the_segment_and_miss_nothing() {
    let log = small(Retention::Keep);
    fill(&log, 0..10);
    let mut reader = log.reader(Start::First).unwrap();
    let read = |reader: &mut Reader| -> Vec<u64> { reader.batch().unwrap().map(|r| r.read().unwrap()).collect() };
    assert_eq!(read(&mut reader), [0, 1, 2, 3, 4, 5, 6]);
    assert_eq!(read(&mut reader), [7, 8, 9]);
    assert!(read(&mut reader).is_empty());
    // What is not taken out of a batch is still ahead.
    reader.seek(2).unwrap();
    assert_eq!(reader.batch().unwrap().take(2).count(), 2);
    assert_eq!(number(&mut reader), 4);
    log.appender().unwrap().close().unwrap();
    assert_eq!(read(&mut reader), [5, 6]);
    assert_eq!(read(&mut reader), [7, 8, 9]);
    assert_eq!(reader.batch().map(|_| ()).unwrap_err(), ReadError::Closed);
}

/// The appender goes on while it is left alone, and gets into no window that the reader still holds.
#[test]
fn a_reader_that_lingers_misses_nothing() {
    const RECORDS: u64 = 2_000;
    let log = small(Retention::Gated);
    let mut reader = log.reader_builder().gated(true).linger(Duration::from_micros(20)).start(Start::First).unwrap();
    let mut appender = log.exclusive().unwrap();
    let appending = thread::spawn(move || {
        for number in 0..RECORDS {
            appender.append_wait(&number.to_le_bytes(), common::PATIENCE).unwrap();
        }
        appender.close().unwrap()
    });
    let mut numbers = Vec::new();
    loop {
        match reader.batch() {
            Ok(batch) => numbers.extend(batch.map(|record| record.read::<u64>().unwrap())),
            Err(ReadError::Closed) => break,
            Err(error) => panic!("{error}"),
        }
    }
    assert!(numbers.iter().copied().eq(0..RECORDS));
    assert_eq!(appending.join().unwrap(), RECORDS);
}

#[test]
fn every_way_of_waiting_ends_at_its_deadline_and_at_a_record() {
    for wait in [Wait::Spin, Wait::SpinThenYield, Wait::Block] {
        let log = small(Retention::Gated);
        let mut reader = log.reader_builder().wait(wait).start(Start::First).unwrap();
        for timeout in [Duration::ZERO, Duration::from_millis(5), Duration::from_millis(70)] {
            let started = Instant::now();
            assert!(reader.next_timeout(timeout).unwrap().is_none());
            assert!(started.elapsed() >= timeout, "{wait:?}");
        }
        thread::scope(|scope| {
            let waiter = scope.spawn(|| {
                assert_eq!(reader.next_timeout(common::PATIENCE).unwrap().unwrap().read::<u64>().unwrap(), 0);
                reader.next_timeout(Duration::MAX).map(|_| ())
            });
            fill(&log, 0..1);
            log.appender().unwrap().close().unwrap();
            assert_eq!(waiter.join().unwrap().unwrap_err(), ReadError::Closed, "{wait:?}");
        });
    }
}

#[test]
fn readers_drain_a_closed_log() {
    for retention in [Retention::Keep, Retention::Gated, Retention::Overwrite] {
        let log = small(retention);
        fill(&log, 0..7);
        assert_eq!(log.appender().unwrap().close().unwrap(), 7, "in the last word of an index that is full");
        assert_eq!(log.appender().unwrap().close().unwrap(), 7, "closing twice changes nothing");
        let info = log.info();
        assert!(info.is_closed && info.next_seq == 7);
        let mut reader = log.reader(Start::First).unwrap();
        for seq in 0..7 {
            assert_eq!(number(&mut reader), seq);
        }
        assert_eq!(reader.try_next().map(|_| ()).unwrap_err(), ReadError::Closed);
        assert_eq!(reader.wait_next(Duration::MAX).unwrap_err(), ReadError::Closed);
        assert_eq!(log.reader(Start::End).unwrap().try_next().map(|_| ()).unwrap_err(), ReadError::Closed);
        assert!(reader.get(7).unwrap().is_none());
    }
}
