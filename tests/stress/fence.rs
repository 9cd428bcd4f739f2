//! The light fences, on the machine itself, as fast as it goes: who enters or announces issues no instruction for it,
//! and the other side's barrier must do. Loom knows no such barrier.
//!
//! In optimised builds a barrier left out of pinning shows within some seconds, not always; one left out of recycling has
//! not been seen here, where a record must take long at the one moment.

use crate::common::{number_of, value};
use crate::kernel::pin_to;
use crate::tally::{Dice, duration};
use nix::unistd::gettid;
use shmlog::{Fencing, Log, PublishError, ReadError, Reader, Retention, Snapshot, Start};
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

/// Runs both on cores of their own until time is up.
fn side_by_side<A: Send, B: Send>(
    a: impl FnOnce(&AtomicBool) -> A + Send,
    b: impl FnOnce(&AtomicBool) -> B + Send,
) -> (A, B) {
    let (is_over, start) = (AtomicBool::new(false), Barrier::new(3));
    let begin = |core| {
        pin_to(gettid(), core);
        start.wait();
    };
    thread::scope(|scope| {
        let a = scope.spawn(|| {
            begin(0);
            a(&is_over)
        });
        let b = scope.spawn(|| {
            begin(1);
            b(&is_over)
        });
        start.wait();
        let until = Instant::now() + duration(Duration::from_secs(2)) / 4;
        while Instant::now() < until && !a.is_finished() && !b.is_finished() {
            thread::sleep(Duration::from_millis(5));
        }
        is_over.store(true, Relaxed);
        (a.join().unwrap(), b.join().unwrap())
    })
}

/// Records of a segment.
const RECORDS: u64 = 7;

/// One appends short records and rolls all the time. The other appends a long one to the segment before the newest, just
/// when the first is about to give that up.
fn roll_against_appends(fencing: Fencing) {
    let builder = Log::builder().windows(2).window_bytes(64 << 10).entries(RECORDS + 1).fencing(fencing);
    let log = builder.retention(Retention::Overwrite).create_memfd("rolled").unwrap();
    let seldom = |is_over: &AtomicBool| {
        let (mut appender, reader) = (log.appender().unwrap(), log.reader(Start::End).unwrap());
        let (mut dice, mut seqs, long) = (Dice::new(1), Vec::new(), value(7, 2 << 10));
        while !is_over.load(Relaxed) {
            let seq = appender.append(&long).unwrap();
            seqs.push(seq);
            // The last record of the next segment: with the one after it, this segment is given up.
            let last = (seq / RECORDS + 2) * RECORDS - 1;
            while matches!(reader.get(last), Ok(None)) && !is_over.load(Relaxed) {}
            (0..dice.roll(40)).for_each(|_| std::hint::spin_loop());
        }
        seqs
    };
    let often = |is_over: &AtomicBool| {
        let (mut appender, reader) = (log.appender().unwrap(), log.reader(Start::End).unwrap());
        let (mut seqs, mut number) = (Vec::new(), 0);
        while !is_over.load(Relaxed) {
            number += 1;
            let seq = appender.append(&value(number, 64)).unwrap();
            seqs.push(seq);
            if number % RECORDS == 0 {
                check(&reader, seq, number);
            }
        }
        seqs
    };
    let (few, many) = side_by_side(seldom, often);
    println!("{fencing:?}: {} appends against {}, {} segments", few.len(), many.len(), log.info().active);
    let mut all = [few, many].concat();
    all.sort_unstable();
    assert!(all.iter().copied().eq(0..all.len() as u64), "each number once");
}

/// What was just appended is there, or gone.
fn check(reader: &Reader, seq: u64, number: u64) {
    match reader.get(seq).and_then(|record| record.map(|record| record.to_vec()).transpose()) {
        Ok(found) => assert_eq!(found.as_deref().and_then(number_of), Some(number), "record {seq} was written over"),
        Err(error) => assert!(matches!(error, ReadError::GivenUp { .. }), "{error}"),
    }
}

/// One publishes, the other pins.
fn publish_against_pins(fencing: Fencing) {
    let snapshot = Snapshot::builder().value_bytes(256).buffers(3).fencing(fencing).create_memfd("pinned").unwrap();
    let publisher = |is_over: &AtomicBool| {
        let mut writer = snapshot.writer().unwrap();
        for number in 0.. {
            if is_over.load(Relaxed) {
                return number;
            }
            match writer.publish_bytes(&value(number, 256)) {
                Ok(_) => {}
                Err(error) => assert!(matches!(error, PublishError::Busy { .. }), "{error}"),
            }
        }
        0
    };
    let pinner = |is_over: &AtomicBool| {
        let (mut reader, mut pins) = (snapshot.reader().unwrap(), 0_u64);
        while !is_over.load(Relaxed) {
            let Ok(Some(pinned)) = reader.pin() else { continue };
            let first = number_of(&pinned.to_vec()).expect("what is pinned is whole");
            let again = number_of(&pinned.to_vec());
            assert_eq!(again, Some(first), "what is pinned changed");
            pins += 1;
        }
        pins
    };
    let (values, pins) = side_by_side(publisher, pinner);
    println!("{fencing:?}: {values} values against {pins} pins");
    assert!(values > 0 && pins > 0);
}

#[test]
fn nobody_enters_what_is_recycled() {
    roll_against_appends(Fencing::Asymmetric);
    roll_against_appends(Fencing::Portable);
}

#[test]
fn nobody_writes_what_is_pinned() {
    publish_against_pins(Fencing::Asymmetric);
    publish_against_pins(Fencing::Portable);
}
