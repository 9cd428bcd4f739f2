//! The counters of a doorbell at the end of their range.

use crate::common::PATIENCE;
use crate::files::Files;
use shmlog::{Log, Retention, Start};
use std::thread;

const RECORDS_BELL: u64 = 128;
const ROOM_BELL: u64 = 256;
/// Often enough for both counters of a doorbell, which begin two before their end.
const ROUNDS: u64 = 6;

/// A log whose doorbells have been rung, and called for, as often as can be counted, but two.
fn worn_bells(files: &Files) -> Log {
    let log = files.log_at(10, 0, Retention::Gated);
    let before = u64::from(u32::MAX - 1);
    for bell in [RECORDS_BELL, ROOM_BELL] {
        files.put("board", bell, &[before << 32 | before, before]);
    }
    log
}

/// Waits until somebody says that it is about to sleep.
fn await_call(files: &Files, bell: u64) {
    let is_called = || files.get("board", bell) >> 32 != files.get("board", bell) & u64::from(u32::MAX);
    while !is_called() {
        thread::yield_now();
    }
}

fn has_come_round(files: &Files, bell: u64) -> bool {
    let (calls, bell) = (files.get("board", bell), files.get("board", bell + 8));
    [calls >> 32, bell & u64::from(u32::MAX)].into_iter().all(|count| count < 1 << 20)
}

/// Counters of sleeps and rings come round, and nobody notices.
#[test]
fn readers_are_woken_when_the_counters_have_come_round() {
    let files = Files::new();
    let log = worn_bells(&files);
    let (mut appender, mut reader) = (log.appender().unwrap(), log.reader(Start::End).unwrap());
    for round in 0..ROUNDS {
        thread::scope(|scope| {
            let sleeper = scope.spawn(|| reader.next_timeout(PATIENCE).unwrap().map(|record| record.seq()));
            await_call(&files, RECORDS_BELL);
            appender.append(&[0; 8]).unwrap();
            assert_eq!(sleeper.join().unwrap(), Some(round));
        });
    }
    assert!(has_come_round(&files, RECORDS_BELL));
}

#[test]
fn appenders_are_woken_when_the_counters_have_come_round() {
    let files = Files::new();
    let log = worn_bells(&files);
    let mut reader = log.reader_builder().gated(true).start(Start::First).unwrap();
    let mut appender = log.appender().unwrap();
    for _ in 0..ROUNDS {
        while appender.append(&[0; 8]).is_ok() {}
        thread::scope(|scope| {
            let sleeper = scope.spawn(|| appender.append_wait(&[0; 8], PATIENCE));
            await_call(&files, ROOM_BELL);
            while reader.try_next().unwrap().is_some() {}
            assert!(sleeper.join().unwrap().is_ok());
        });
    }
    assert!(has_come_round(&files, ROOM_BELL));
}
