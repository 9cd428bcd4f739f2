//! Appenders: limits, batches, reservations, being full, waiting for room, closing.
#![allow(unsafe_code, reason = "bytes_mut is written to")]

mod common;

use common::payload;
use shmlog::{AppendError, BadGeometry, CreateError, Fencing, Log, LogBuilder, Retention, Role, Start};
use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

/// Two windows of seven records.
fn small() -> LogBuilder {
    Log::builder().windows(2).window_bytes(64 << 10).entries(8)
}

fn read(log: &Log, seq: u64) -> Vec<u8> {
    log.reader(Start::Oldest).unwrap().get(seq).unwrap().expect("it is there").to_vec().unwrap()
}

#[test]
fn a_record_of_every_length_comes_back() {
    let log = Log::builder().windows(16).window_bytes(256 << 10).retention(Retention::Keep).create_memfd("a").unwrap();
    let mut appender = log.appender().unwrap();
    let limit = appender.limit_bytes();
    let edges = [4095, 4096, 4097, 65_535, 65_536, 65_537, limit - 1, limit];
    for len in (0..200).chain(edges) {
        let seq = appender.append(&payload(1, len as u64, len)).unwrap();
        assert_eq!(read(&log, seq), payload(1, len as u64, len), "{len} bytes");
    }
}

#[test]
fn the_longest_record_fits_and_one_byte_more_is_refused() {
    for builder in [small(), small().entries(4096), Log::builder().windows(2), small().window_bytes(32 << 20)] {
        let log = builder.create_memfd("longest").unwrap();
        let info = log.info();
        assert!(info.max_record_bytes <= (16 << 20) - 2);
        let longest = vec![7; info.max_record_bytes + 1];
        let mut appender = log.appender().unwrap();
        let (len_bytes, limit_bytes) = (longest.len(), info.max_record_bytes);
        assert_eq!(appender.append(&longest).unwrap_err(), AppendError::TooLarge { len_bytes, limit_bytes });
        for seq in 0..5 {
            assert_eq!(appender.append(&longest[1..]).unwrap(), seq);
            assert!(limit_bytes as u64 * 2 < info.window_bytes || log.info().active == seq, "a segment each");
        }
        drop(appender);
        let mut appender = log.exclusive().unwrap();
        assert_eq!(appender.limit_bytes(), info.max_record_bytes);
        assert!(matches!(appender.reserve(longest.len()).map(drop), Err(AppendError::TooLarge { .. })));
        assert_eq!(appender.append(&longest[1..]).unwrap(), 5);
        assert_eq!(appender.append(b"").unwrap(), 6);
        assert_eq!(read(&log, 5), longest[1..]);
        let huge: &[u8] = &longest;
        assert!(matches!(appender.append_parts(&[huge, huge]), Err(AppendError::TooLarge { .. })));
    }
}

#[test]
fn a_batch_appears_at_once_and_in_order() {
    let log = small().create_memfd("batch").unwrap();
    let mut appender = log.appender().unwrap();
    let parts: [&[u8]; 5] = [b"", b"one", b"12345678", b"", b"123456789"];
    assert_eq!(appender.append_parts(&parts).unwrap(), 0);
    assert_eq!(appender.append_parts(&[]).unwrap(), 1);
    assert_eq!(appender.append(b"single").unwrap(), 2);
    let reader = log.reader(Start::First).unwrap();
    let read = |seq| -> Vec<Vec<u8>> {
        let record = reader.get(seq).unwrap().unwrap();
        record.parts().map(|part| part.unwrap().to_vec().unwrap()).collect()
    };
    assert_eq!(read(0), parts);
    assert!(reader.get(0).unwrap().unwrap().is_batch() && reader.get(1).unwrap().unwrap().is_batch());
    assert!(read(1).is_empty());
    assert_eq!(read(2), [b"single"]);
    assert!(!reader.get(2).unwrap().unwrap().is_batch());
}

#[test]
fn a_dropped_reservation_leaves_nothing_to_be_seen() {
    let log = small().create_memfd("drop").unwrap();
    let mut shared = log.appender().unwrap();
    for _ in 0..10_000 {
        drop(shared.reserve(50).unwrap());
    }
    assert_eq!(shared.append(b"first").unwrap(), 0);
    assert_eq!(log.info().participants[0].holds_segment, None, "a dropped reservation holds nothing");
    drop(shared);
    let mut exclusive = log.exclusive().unwrap();
    let mut slot = exclusive.reserve(8).unwrap();
    slot.write(0, b"gone");
    drop(slot);
    assert_eq!(exclusive.append(b"second").unwrap(), 1);
    assert_eq!((read(&log, 0), read(&log, 1)), (b"first".to_vec(), b"second".to_vec()));
}

#[test]
fn a_reservation_is_written_in_place_and_cut_to_size() {
    let log = small().create_memfd("reserve").unwrap();
    let mut appender = log.appender().unwrap();
    let mut slot = appender.reserve(20).unwrap();
    assert_eq!((slot.len(), slot.is_empty(), slot.words().len()), (20, false, 3));
    // SAFETY: the only other handles on this log are this test's.
    unsafe { slot.bytes_mut() }.copy_from_slice(b"abcdefghijklmnopqrst");
    assert_eq!(slot.write(3, b"DEF"), 3);
    assert_eq!(slot.write(18, b"STUV"), 2, "what does not fit is left out");
    assert_eq!(slot.write(20, b"x"), 0);
    assert_eq!(slot.write(usize::MAX, b"x"), 0);
    assert_eq!(slot.commit_first(19).unwrap(), 0);
    let slot = appender.reserve(0).unwrap();
    assert!(slot.is_empty() && slot.words().is_empty());
    assert_eq!(slot.commit_first(99).unwrap(), 1, "no more than was reserved");
    assert_eq!((read(&log, 0), read(&log, 1)), (b"abcDEFghijklmnopqrS".to_vec(), vec![]));
}

#[test]
fn a_reservation_outlives_its_segment() {
    let log = small().windows(4).create_memfd("moved").unwrap();
    let (mut slow, mut fast) = (log.appender_named("slow").unwrap(), log.appender().unwrap());
    let bytes = payload(1, 1, 333);
    let mut slot = slow.reserve(333).unwrap();
    slot.write(0, &bytes);
    for seq in 0..20 {
        assert_eq!(fast.append(b"meanwhile").unwrap(), seq);
    }
    assert_eq!(slot.commit_first(300).unwrap(), 20, "copied to the newest segment");
    assert_eq!(read(&log, 20), bytes[..300]);
    assert_eq!(fast.append(b"after").unwrap(), 21);

    // A full circle: the reservation holds its segment, and is named as who does.
    let mut slot = slow.reserve(3).unwrap();
    slot.write(0, b"mine");
    let full = std::iter::repeat_with(|| fast.append(b"")).find_map(Result::err).unwrap();
    let AppendError::Full { by: Some(holder), since } = &full else { panic!("{full}") };
    assert_eq!((holder.name().as_str(), holder.role), ("slow", Some(Role::Appender)));
    assert_eq!(holder.pid, u64::from(std::process::id()));
    assert_eq!(*since, log.info().oldest_seq.min(*since));
    assert!(full.to_string().contains("appender \"slow\""), "{full}");
    let end = log.info().next_seq;
    assert_eq!(slot.commit().unwrap(), end, "it needs no new window of its own");
    assert_eq!(fast.append(b"free again").unwrap(), end + 1);
}

#[test]
fn a_reservation_in_a_closed_log_comes_back() {
    let log = small().create_memfd("closed").unwrap();
    let (mut one, other) = (log.appender().unwrap(), log.appender().unwrap());
    let mut slot = one.reserve(5).unwrap();
    slot.write(0, b"bytes");
    assert_eq!(other.close().unwrap(), 0);
    let refused = slot.commit().unwrap_err();
    assert_eq!((refused.error, refused.bytes), (AppendError::Closed, b"bytes".to_vec()));
    assert_eq!(one.append(b"x").unwrap_err(), AppendError::Closed);
    assert_eq!(one.append_parts(&[b"x"]).unwrap_err(), AppendError::Closed);
    assert_eq!(one.append_wait(b"x", Duration::MAX).unwrap_err(), AppendError::Closed);
    // What is left of its lease may still be reserved, but not committed.
    let late = one.reserve(1).map(|slot| slot.commit().unwrap_err().error);
    assert_eq!(late.unwrap_or_else(|error| error), AppendError::Closed);
    drop(one);
    let mut exclusive = log.exclusive().unwrap();
    assert_eq!(exclusive.append(b"x").unwrap_err(), AppendError::Closed);
    assert_eq!(exclusive.reserve(1).map(drop).unwrap_err(), AppendError::Closed);
    assert_eq!(exclusive.close().unwrap(), 0);
}

#[test]
fn two_appenders_reserve_at_once_and_never_the_same_bytes() {
    let log = Log::builder().windows(4).window_bytes(64 << 10).entries(64).create_memfd("two").unwrap();
    let start = Barrier::new(2);
    let mut reader = log.reader_builder().gated(true).start(Start::First).unwrap();
    thread::scope(|scope| {
        let authors = [0, 1].map(|author| {
            let mut appender = log.appender().unwrap();
            let start = &start;
            scope.spawn(move || {
                start.wait();
                for number in 0..20_000 {
                    let bytes = payload(author, number, 8 + (number % 90) as usize);
                    let mut slot = loop {
                        match appender.reserve(bytes.len() + 16) {
                            Ok(slot) => break slot,
                            Err(AppendError::Full { .. }) => thread::yield_now(),
                            Err(error) => panic!("{error}"),
                        }
                    };
                    slot.write(0, &author.to_le_bytes());
                    slot.write(8, &number.to_le_bytes());
                    slot.write(16, &bytes);
                    match slot.commit() {
                        Ok(_) => {}
                        // Its segment was closed, and there is no room in the next one yet.
                        Err(back) => {
                            assert!(matches!(back.error, AppendError::Full { .. }));
                            appender.append_wait(&back.bytes, common::PATIENCE).unwrap();
                        }
                    }
                }
            })
        });
        let mut next = [0; 2];
        for _ in 0..40_000 {
            let record = reader.next_timeout(common::PATIENCE).unwrap().unwrap().to_vec().unwrap();
            let word = |at: usize| u64::from_le_bytes(*record[at..].first_chunk().unwrap());
            let (author, number) = (word(0), word(8));
            assert_eq!(number, next[usize::from(author == 1)], "in the author's order");
            next[usize::from(author == 1)] += 1;
            assert_eq!(record[16..], payload(author, number, record.len() - 16));
        }
        for author in authors {
            author.join().unwrap();
        }
    });
}

/// Segment 0 of a new log was closed empty by the first append, because its bump word said that it had never been
/// opened: a log of two windows held half of what it should.
#[test]
fn a_log_that_keeps_everything_is_full_without_a_culprit() {
    for fencing in [Fencing::Asymmetric, Fencing::Portable] {
        let log = small().retention(Retention::Keep).fencing(fencing).create_memfd("keep").unwrap();
        let mut appender = log.appender().unwrap();
        for seq in 0..14 {
            assert_eq!(appender.append(b"x").unwrap(), seq);
        }
        let full = AppendError::Full { by: None, since: 0 };
        for _ in 0..3 {
            assert_eq!(appender.append(b"x").unwrap_err(), full);
            assert_eq!(appender.append_wait(b"x", Duration::MAX).unwrap_err(), full, "waiting is pointless");
            let late = appender.reserve(1).map(|slot| slot.commit().unwrap_err().error);
            assert_eq!(late.unwrap_or_else(|error| error), full);
        }
        assert_eq!(log.info().next_seq, 14);
        assert_eq!(appender.close().unwrap(), 14, "a full log can be closed");
        assert_eq!(log.appender().unwrap().append(b"").unwrap_err(), AppendError::Closed);
        assert_eq!(log.reader(Start::First).unwrap().batch().unwrap().count(), 7);
    }
}

#[test]
fn a_refused_record_consumes_nothing() {
    let log = small().create_memfd("refused").unwrap();
    let mut gate = log.reader_builder().gated(true).name("gate").start(Start::First).unwrap();
    let mut appender = log.appender().unwrap();
    let limit = appender.limit_bytes();
    appender.append(&payload(0, 0, limit / 2)).unwrap();
    appender.append(&payload(0, 1, limit)).unwrap();
    // No room for a third segment; the second one has no room for anything but empty records.
    let full = appender.append(&payload(0, 2, limit)).unwrap_err();
    assert!(matches!(&full, AppendError::Full { by: Some(holder), since: 0 } if holder.name() == "gate"), "{full}");
    for _ in 0..1000 {
        assert_eq!(appender.append(&payload(0, 2, 100)).unwrap_err(), full);
    }
    assert_eq!(gate.try_next().unwrap().unwrap().to_vec().unwrap(), payload(0, 0, limit / 2));
    assert_eq!(gate.try_next().unwrap().unwrap().to_vec().unwrap(), payload(0, 1, limit));
    assert!(gate.try_next().unwrap().is_none());
    assert_eq!(appender.append(&payload(0, 2, limit)).unwrap(), 2);
    assert_eq!(gate.try_next().unwrap().unwrap().to_vec().unwrap(), payload(0, 2, limit));
}

#[test]
fn waiting_for_room_ends_when_the_gate_moves_on() {
    let log = small().create_memfd("room").unwrap();
    let mut gate = log.reader_builder().gated(true).start(Start::First).unwrap();
    let mut appender = log.appender().unwrap();
    for _ in 0..14 {
        appender.append(b"x").unwrap();
    }
    let started = Instant::now();
    let timeout = Duration::from_millis(60);
    assert!(matches!(appender.append_wait(b"x", timeout), Err(AppendError::Full { by: Some(_), .. })));
    assert!(started.elapsed() >= timeout);
    assert!(appender.append_wait(b"x", Duration::ZERO).is_err());
    // Each round ends in a wait that only the other side's step can end.
    thread::scope(|scope| {
        let waiter = scope.spawn(move || {
            (14..2000).for_each(|n| {
                assert_eq!(appender.append_wait(b"x", common::PATIENCE).unwrap(), n);
            });
        });
        for _ in 0..2000 {
            gate.next_timeout(common::PATIENCE).unwrap().unwrap();
        }
        waiter.join().unwrap();
    });
    // Leaving makes room too.
    let mut appender = log.appender().unwrap();
    thread::scope(|scope| {
        let waiter = scope.spawn(move || {
            (2000..2040).for_each(|n| {
                assert_eq!(appender.append_wait(b"x", common::PATIENCE).unwrap(), n);
            });
        });
        drop(gate);
        waiter.join().unwrap();
    });
}

#[test]
fn impossible_shapes_are_refused_by_field() {
    let cases: [(LogBuilder, &str); 10] = [
        (small().windows(0), "windows"),
        (small().windows(1), "windows"),
        (small().windows(65_537), "windows"),
        (small().window_bytes(32 << 10), "window_bytes"),
        (small().window_bytes(256 << 20), "window_bytes"),
        (small().window_bytes((64 << 10) + 1), "window_bytes"),
        (small().entries(7), "entries"),
        (small().entries(u64::MAX), "entries"),
        (small().slots(0, 1), "appender_slots"),
        (small().slots(1, 4097), "reader_slots"),
    ];
    for (builder, wanted) in cases {
        let refused = builder.create_memfd("shape").unwrap_err();
        assert!(matches!(refused, CreateError::Geometry(BadGeometry { field, .. }) if field == wanted), "{refused}");
    }
    for record_bytes in [0, 1, 1 << 20, u64::MAX - 8, u64::MAX] {
        small().record_bytes(record_bytes).create_memfd("shape").unwrap();
    }
}
