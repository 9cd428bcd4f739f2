//! Authors and readers of records. A record holds its author, its number among that one's, and bytes that tell both.

use crate::common::{PATIENCE, payload};
use crate::worker::Worker;
use shmlog::{Appender, Log, Mode, ReadError, Reader, Record, Start, Wait};
use std::collections::BTreeMap;
use std::io::Write;
use std::sync::atomic::Ordering::Release;
use std::thread;
use std::time::Duration;

const HEADER: usize = 16;
const MOMENT: Duration = Duration::from_millis(20);
/// Records between two moments at which an author may change how it appends.
const STRETCH: u64 = 64;

/// The bytes after the header; one in a hundred records is long.
fn body(author: u64, number: u64) -> Vec<u8> {
    let mixed = (author << 40 ^ number).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 20;
    let most = if mixed.is_multiple_of(97) { 6000 } else { 80 };
    payload(author, number, usize::try_from(mixed / 97 % most).unwrap())
}

fn record(author: u64, number: u64) -> Vec<u8> {
    [&author.to_le_bytes()[..], &number.to_le_bytes(), &body(author, number)].concat()
}

/// Author and number of a record, all of whose bytes are its author's.
fn check(bytes: &[u8]) -> (u64, u64) {
    let word = |at: usize| u64::from_le_bytes(*bytes[at..].first_chunk().expect("shorter than any"));
    let (author, number) = (word(0), word(8));
    assert!(bytes[HEADER..] == body(author, number), "author {author}, number {number}: torn");
    (author, number)
}

/// Appends until it is over: among others, or, when all are told to, alone, one after the other.
pub fn author() {
    let mut worker = Worker::new();
    let mut number = 0;
    while !worker.is_over() {
        if worker.is_alone() {
            write(&mut worker, &mut number, true, Log::exclusive);
        } else {
            write(&mut worker, &mut number, false, |log| log.appender_named("author"));
        }
        thread::yield_now();
    }
}

fn write<M: Mode>(
    worker: &mut Worker,
    number: &mut u64,
    is_alone: bool,
    take: impl Fn(&Log) -> Result<Appender<M>, shmlog::JoinError>,
) {
    // Refused while others have not changed yet.
    let Ok(mut appender) = take(&worker.log) else { return };
    while !worker.is_over() && worker.is_alone() == is_alone {
        for _ in 0..STRETCH {
            let record = record(worker.number as u64, *number);
            append(&mut appender, &record, worker.dice.roll(8));
            *number += 1;
            // Acknowledged.
            worker.done().store(*number, Release);
        }
        if worker.is_first {
            thread::sleep(Duration::from_micros(500));
        }
        // The next one's turn.
        if is_alone && worker.dice.roll(4) == 0 {
            return;
        }
    }
}

/// By whatever way in; what does not fit now waits.
fn append<M: Mode>(appender: &mut Appender<M>, record: &[u8], way: u64) {
    if way == 0
        && let Ok(mut slot) = appender.reserve(record.len())
    {
        slot.write(0, record);
        let Err(back) = slot.commit() else { return };
        assert_eq!(back.bytes, record);
    }
    appender.append_wait(record, PATIENCE).expect("room in the end");
}

fn bytes_of(record: &Record<'_>, bytes: &mut Vec<u8>) -> Result<(), ReadError> {
    bytes.resize(record.len(), 0);
    record.copy_to(bytes).map(drop)
}

/// Reads every record from the first to the last, and tells its parent how many there are of each author.
pub fn oracle() {
    let mut worker = Worker::new();
    let mut reader = worker.log.reader_builder().gated(true).start(Start::First).unwrap();
    worker.parent.write_all(b"!").unwrap();
    let (mut next, mut bytes) = (BTreeMap::<u64, u64>::new(), Vec::new());
    for seq in 0.. {
        let found = loop {
            match reader.next_timeout(MOMENT) {
                Ok(None) => {}
                found => break found,
            }
        };
        let found = match found {
            Err(ReadError::Closed) => break,
            found => found.unwrap().unwrap(),
        };
        assert_eq!(found.seq(), seq, "dense");
        bytes_of(&found, &mut bytes).unwrap();
        let (author, number) = check(&bytes);
        let next = next.entry(author).or_default();
        assert_eq!(number, *next, "author {author}: each one's in order, none twice, none missing");
        *next += 1;
        worker.done().store(seq + 1, Release);
    }
    for (author, count) in next {
        writeln!(worker.parent, "{author} {count}").unwrap();
    }
}

/// Has the log wait for it, until it is over or killed.
pub fn gated() {
    let worker = Worker::new();
    let reader = worker.log.reader_builder().gated(true).start(Start::End).unwrap();
    follow(&worker, reader, true);
}

/// Is not waited for; sometimes it pins for a while.
pub fn free() {
    let worker = Worker::new();
    // One that comes before all others must sleep, or nobody else runs.
    let sleeps = worker.is_first || worker.number.is_multiple_of(2);
    let wait = if sleeps { Wait::Block } else { Wait::SpinThenYield };
    let reader = worker.log.reader_builder().wait(wait).start(Start::Oldest).unwrap();
    follow(&worker, reader, false);
}

/// Record `seq`, if it is still there, is whole.
fn look_back(reader: &Reader, seq: u64) {
    let bytes = reader.get(seq).and_then(|found| found.map(|found| found.to_vec()).transpose());
    match bytes {
        Ok(bytes) => drop(bytes.map(|bytes| check(&bytes))),
        Err(error) => assert!(matches!(error, ReadError::GivenUp { .. }), "{error}"),
    }
}

/// Reads on and checks what it reads.
fn follow(worker: &Worker, mut reader: Reader, is_gated: bool) {
    let (mut newest, mut bytes, mut next) = (BTreeMap::<u64, u64>::new(), Vec::new(), reader.position());
    let (mut dice, mut read) = (worker.dice.clone(), 0);
    while !worker.is_over() {
        match dice.roll(200) {
            // It may come too late.
            0 => drop(reader.pin()),
            1..4 if !is_gated => reader.unpin(),
            4..8 => look_back(&reader, next.saturating_sub(dice.roll(100))),
            _ => {}
        }
        match reader.next_timeout(MOMENT) {
            Ok(None) => continue,
            Ok(Some(found)) => {
                assert_eq!(found.seq(), next, "dense");
                next += 1;
                match bytes_of(&found, &mut bytes) {
                    Ok(()) => {
                        let (author, number) = check(&bytes);
                        let newest = newest.insert(author, number);
                        assert!(newest.is_none_or(|newest| newest < number), "author {author}: {number} too late");
                        read += 1;
                    }
                    Err(error) => assert!(matches!(error, ReadError::GivenUp { .. }), "{error}"),
                }
            }
            Err(ReadError::Lagged { missed, next: now }) => {
                assert_eq!(now, next + missed);
                next = now;
            }
            Err(error) => panic!("{error}"),
        }
        worker.done().store(read, Release);
    }
}
