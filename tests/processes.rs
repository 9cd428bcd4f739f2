//! Real processes on one log: every record exactly once, each appender's in order, dense numbers, on every backing.
//! Readers check; the parent only counts laps. `SHMLOG_LONG=1` makes it ten million records for each case.

mod common;

use common::{Ground, PATIENCE, child, finish, is_long, setting};
use shmlog::{Access, Log, LogBuilder, ReadError, Retention, Start, Wait, Worker};
use std::io::{Read, Write};
use std::time::{Duration, Instant};

const LONG: u64 = 10_000_000;
/// Payload: author, number, and up to so many bytes more.
const HEADER: usize = 12;
const MOST: usize = 24;

#[test]
fn child_entry() {
    common::enter(&[("appender", appender), ("gated", gated), ("free", free)]);
}

/// What follows the header of an author's record; all of it depends on both numbers.
fn body(author: u32, number: u64) -> ([u8; MOST], usize) {
    let mixed = (u64::from(author) << 48 ^ number).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    let mut bytes = [0; MOST];
    for chunk in bytes.chunks_exact_mut(8) {
        chunk.copy_from_slice(&mixed.to_le_bytes());
    }
    (bytes, (mixed >> 32) as usize % (MOST + 1))
}

fn appender() {
    let (log, _parent) = shmlog::inherited().unwrap();
    let author: u32 = setting("SHMLOG_TEST_AUTHOR");
    let mut appender = log.appender_named(&format!("author {author}")).unwrap();
    let mut record = [0; HEADER + MOST];
    record[..4].copy_from_slice(&author.to_le_bytes());
    for number in 0..setting("SHMLOG_TEST_COUNT") {
        let (bytes, len) = body(author, number);
        record[4..HEADER].copy_from_slice(&number.to_le_bytes());
        record[HEADER..].copy_from_slice(&bytes);
        let record = &record[..HEADER + len];
        if number % 16 == 0 {
            // Some go the other way in.
            let Ok(mut slot) = appender.reserve(record.len()) else {
                appender.append_wait(record, PATIENCE).unwrap();
                continue;
            };
            slot.write(0, record);
            if let Err(back) = slot.commit() {
                appender.append_wait(&back.bytes, PATIENCE).unwrap();
            }
        } else {
            appender.append_wait(record, PATIENCE).unwrap();
        }
    }
}

/// Checks a record's bytes against what its author wrote.
fn check(record: &[u8]) -> (usize, u64) {
    let author = u32::from_le_bytes(*record.first_chunk().unwrap());
    let number = u64::from_le_bytes(*record[4..].first_chunk().unwrap());
    let (bytes, len) = body(author, number);
    assert_eq!(record[HEADER..], bytes[..len], "author {author}, number {number}");
    (author as usize, number)
}

/// Misses nothing.
fn gated() {
    let (log, mut parent) = shmlog::inherited().unwrap();
    let (authors, count) = (setting("SHMLOG_TEST_AUTHORS"), setting::<u64>("SHMLOG_TEST_COUNT"));
    let mut reader = log.reader_builder().gated(true).start(Start::First).unwrap();
    parent.write_all(b"!").unwrap();
    let mut next = vec![0; authors];
    let mut seq = 0;
    let mut bytes = [0; HEADER + MOST];
    loop {
        match reader.wait_next(PATIENCE) {
            Ok(found) => assert!(found, "nothing came"),
            Err(error) => break assert_eq!(error, ReadError::Closed),
        }
        for record in reader.batch().unwrap() {
            assert_eq!(record.seq(), seq, "dense");
            let len = record.copy_to(&mut bytes).unwrap();
            let (author, number) = check(&bytes[..len]);
            assert_eq!(number, next[author], "each author's in order, none twice, none missing");
            next[author] += 1;
            seq += 1;
        }
    }
    assert!(next.iter().all(|&next| next == count), "{next:?}");
}

/// Misses what it misses, and knows how much.
fn free() {
    let (log, mut parent) = shmlog::inherited().unwrap();
    let (authors, count) = (setting::<usize>("SHMLOG_TEST_AUTHORS"), setting::<u64>("SHMLOG_TEST_COUNT"));
    let mut reader = log.reader_builder().wait(Wait::SpinThenYield).start(Start::First).unwrap();
    parent.write_all(b"!").unwrap();
    let mut next = vec![0; authors];
    let (mut read, mut missed, mut lags) = (0, 0, 0);
    let mut bytes = [0; HEADER + MOST];
    loop {
        match reader.next_timeout(PATIENCE) {
            Ok(record) => {
                let record = record.expect("nothing came");
                assert_eq!(record.seq(), read + missed);
                match record.copy_to(&mut bytes) {
                    Ok(len) => {
                        let (author, number) = check(&bytes[..len]);
                        assert!(number >= next[author], "in order, never twice");
                        next[author] = number + 1;
                        read += 1;
                    }
                    // Recycled between the two; the reader has passed it, and no lag counts it again.
                    Err(ReadError::GivenUp { .. }) => missed += 1,
                    Err(error) => panic!("{error}"),
                }
            }
            Err(ReadError::Lagged { missed: more, next }) => {
                missed += more;
                lags += 1;
                assert_eq!(next, read + missed);
            }
            Err(ReadError::Closed) => break,
            Err(error) => panic!("{error}"),
        }
    }
    assert_eq!(read + missed, authors as u64 * count);
    assert!(read > 0);
    eprintln!("a free reader read {read}, missed {missed} in {lags} lags");
}

/// One case: starts the readers, then the appenders, closes the log, waits for all.
fn run(ground: &Ground, builder: &LogBuilder, role: &str, authors: u64, records: u64) {
    let Some(log) = ground.create(builder, &format!("{role}-{authors}")) else { return };
    let records = if is_long() { LONG } else { records };
    let count = records.div_ceil(authors);
    let started = Instant::now();
    let spawn = |role: &str, author: u64, access| -> Worker {
        let mut command = child(role);
        command.env("SHMLOG_TEST_AUTHORS", authors.to_string()).env("SHMLOG_TEST_AUTHOR", author.to_string());
        log.spawn(command.env("SHMLOG_TEST_COUNT", count.to_string()), access).unwrap()
    };
    let readers: Vec<_> = (0..2)
        .map(|_| {
            let mut worker = spawn(role, 0, Access::Read);
            worker.wait_attached(PATIENCE).unwrap();
            worker.socket.read_exact(&mut [0]).unwrap();
            worker
        })
        .collect();
    let appenders: Vec<_> = (0..authors).map(|author| spawn("appender", author, Access::Append)).collect();
    let patience = if is_long() { 10 * PATIENCE } else { PATIENCE };
    let end = |worker: Worker| assert!(finish(worker.child, patience).success(), "{} on {}", role, ground.name());
    appenders.into_iter().for_each(end);
    assert_eq!(log.appender().unwrap().close().unwrap(), authors * count, "none lost, none twice");
    readers.into_iter().for_each(end);
    report(&log, ground, role, authors, started.elapsed());
}

fn report(log: &Log, ground: &Ground, role: &str, authors: u64, took: Duration) {
    let info = log.info();
    let laps = info.active / info.windows + 1;
    assert!(laps >= 1000, "{laps} laps");
    let (name, records) = (ground.name(), info.next_seq);
    eprintln!("{name}: {authors} appenders, 2 {role} readers: {records} records, {laps} laps, {took:.1?}");
}

/// A ring so small that the records go round it more than a thousand times.
fn ring(records: u64, windows: u64) -> LogBuilder {
    let records = if is_long() { LONG } else { records };
    let entries = (records / windows / 1100).clamp(8, 4096);
    Log::builder().windows(windows).window_bytes(256 << 10).entries(entries)
}

#[test]
fn two_to_eight_appenders_lose_nothing() {
    for authors in [2, 3, 8] {
        run(&Ground::Memfd, &ring(100_000, 2), "gated", authors, 100_000);
    }
}

#[test]
fn nothing_is_lost_on_any_backing() {
    for ground in &Ground::all()[1..] {
        run(ground, &ring(40_000, 2), "gated", if is_long() { 8 } else { 4 }, 40_000);
    }
}

#[test]
fn what_free_readers_miss_is_told_and_what_they_read_is_whole() {
    for ground in &Ground::all() {
        run(ground, &ring(60_000, 4).retention(Retention::Overwrite), "free", if is_long() { 8 } else { 3 }, 60_000);
    }
}
