//! Bytes in place at both ends: plain writes and plain reads, which nothing but the log and the snapshot order.
//! What is read is checked here; that no access races another, by ThreadSanitizer (`ci/tsan.sh`).
#![allow(unsafe_code, reason = "bytes are written and looked at in place")]

use shmlog::{
    AppendError, Appender, Fencing, Log, Mode, PublishError, Reader, Retention, Snapshot, SnapshotReader,
    SnapshotWriter, Start,
};
use std::sync::atomic::{AtomicPtr, Ordering::Relaxed};
use std::thread::{self, ScopedJoinHandle};

/// Bytes of a record, all the same.
const LEN: usize = 200;
/// More than there is room for in both windows.
const RECORDS: u64 = 2000;

fn log(fencing: Fencing) -> Log {
    let builder = Log::builder().windows(2).window_bytes(64 << 10).entries(64).retention(Retention::Gated);
    builder.fencing(fencing).create_memfd("in place").unwrap()
}

/// Appends `count` records, each written in place; waits for room.
fn write_in_place<M: Mode>(mut appender: Appender<M>, count: u64) {
    for number in 0..count {
        let mut slot = loop {
            match appender.reserve(LEN) {
                Err(AppendError::Full { .. }) => thread::yield_now(),
                slot => break slot.unwrap(),
            }
        };
        // SAFETY: the peers are this test's threads, which follow the protocol, and there is no free reader.
        unsafe { slot.bytes_mut() }.fill(number.to_le_bytes()[0]);
        let Err(moved) = slot.commit() else { continue };
        while let Err(AppendError::Full { .. }) = appender.append(&moved.bytes) {
            thread::yield_now();
        }
    }
}

/// Behind a gate from the first record on.
fn gated(log: &Log) -> Reader {
    log.reader_builder().gated(true).start(Start::First).unwrap()
}

/// Reads `count` records in place.
fn read_in_place(mut reader: Reader, count: u64) {
    let mut read = 0;
    while read < count {
        let Some(record) = reader.try_next().unwrap() else {
            thread::yield_now();
            continue;
        };
        // SAFETY: as above.
        let bytes = unsafe { record.as_slice() }.unwrap();
        assert!(bytes.len() == LEN && bytes.iter().all(|byte| *byte == bytes[0]), "{bytes:?}");
        read += 1;
    }
}

/// Joins threads one by one: only that is seen by ThreadSanitizer, which knows no futex.
fn join<const N: usize>(threads: [ScopedJoinHandle<'_, ()>; N]) {
    for thread in threads {
        thread.join().unwrap();
    }
}

#[test]
fn records_of_two_appenders_are_read_in_place() {
    for fencing in [Fencing::Asymmetric, Fencing::Portable] {
        let log = log(fencing);
        let (one, other) = (gated(&log), gated(&log));
        thread::scope(|scope| {
            join([
                scope.spawn(|| write_in_place(log.appender().unwrap(), RECORDS / 2)),
                scope.spawn(|| write_in_place(log.appender().unwrap(), RECORDS / 2)),
                scope.spawn(|| read_in_place(one, RECORDS)),
                scope.spawn(|| read_in_place(other, RECORDS)),
            ]);
        });
        assert!(log.info().active > 2, "no window was written anew");
    }
}

#[test]
fn records_of_one_appender_are_read_in_place() {
    let log = log(Fencing::Asymmetric);
    let reader = gated(&log);
    thread::scope(|scope| {
        join([
            scope.spawn(|| write_in_place(log.exclusive().unwrap(), RECORDS)),
            scope.spawn(|| read_in_place(reader, RECORDS)),
        ]);
    });
    assert!(log.info().active > 2, "no window was written anew");
}

/// Publishes `count` values; waits for buffers that are not pinned.
fn publish(mut writer: SnapshotWriter, count: u64) {
    let mut published = 0_u64;
    while published < count {
        match writer.publish_bytes(&[published.to_le_bytes()[0]; LEN]) {
            Err(PublishError::Busy { .. }) => thread::yield_now(),
            version => published = version.unwrap(),
        }
    }
}

/// Looks at values in place until `last` was published.
fn look_in_place(mut reader: SnapshotReader, last: u64) {
    loop {
        let pinned = reader.pin().unwrap().unwrap();
        // SAFETY: as above.
        let bytes = unsafe { pinned.as_slice() };
        assert!(bytes.len() == LEN && bytes.iter().all(|byte| *byte == bytes[0]), "{bytes:?}");
        if pinned.version() >= last {
            return;
        }
    }
}

#[test]
fn values_are_read_in_place_while_others_are_published() {
    for fencing in [Fencing::Asymmetric, Fencing::Portable] {
        let builder = Snapshot::builder().value_bytes(LEN as u64).buffers(3).seats(2).fencing(fencing);
        let snapshot = builder.create_memfd("in place").unwrap();
        let mut writer = snapshot.writer().unwrap();
        writer.publish_bytes(&[0; LEN]).unwrap();
        let (one, other) = (snapshot.reader().unwrap(), snapshot.reader().unwrap());
        thread::scope(|scope| {
            join([
                scope.spawn(|| publish(writer, RECORDS)),
                scope.spawn(|| look_in_place(one, RECORDS)),
                scope.spawn(|| look_in_place(other, RECORDS)),
            ]);
        });
    }
}

/// Breaks the contract: it writes to a record after its commit.
#[test]
#[ignore = "a race on purpose, which ci/tsan.sh must see"]
fn planted_race() {
    let log = log(Fencing::Asymmetric);
    let mut appender = log.appender().unwrap();
    let mut slot = appender.reserve(LEN).unwrap();
    // SAFETY: there is no reader yet.
    let first = AtomicPtr::new(unsafe { slot.bytes_mut() }.as_mut_ptr());
    slot.write(0, &[0; LEN]);
    slot.commit().unwrap();
    let reader = gated(&log);
    thread::scope(|scope| {
        join([
            scope.spawn(|| read_in_place(reader, 1)),
            // SAFETY: none; the reader may be looking at it. The byte becomes what it is.
            scope.spawn(|| unsafe { first.load(Relaxed).write(0) }),
        ]);
    });
    assert_eq!(log.info().active, 0);
}
