//! Owners that die, and those that come after them.

use crate::common::{self, PATIENCE, child, finish, setting};
use crate::state::{Ends, State, append, follow, slot};
use shmlog::{Access, Log, ReadError, Replica, ReplicaError, Retention, Snapshot, SnapshotReader, Start};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;
use std::time::Duration;

/// Plays the owner, in a child.
pub fn owner_entry() {
    common::enter(&[("owner", owner)]);
}

fn open(dir: &Path) -> Replica {
    Replica::new(
        &Log::open(dir.join("log"), Access::Append).unwrap(),
        &Snapshot::open(dir.join("state"), Access::Append).unwrap(),
    )
}

/// Owns the state, goes on from what there is, and publishes after every record until it is killed.
fn owner() {
    let replica = open(Path::new(&setting::<String>("SHMLOG_TEST_DIR")));
    let mut owner = replica.own("child").unwrap();
    let builder = replica.log().reader_builder().gated(true);
    let mut joined = replica.join_by(builder, SnapshotReader::load::<State>).unwrap();
    let mut state = joined.state.map_or(State::default(), |state| state.value);
    assert_eq!(state, State::after(state.count), "what the one before published is whole");
    loop {
        let next = match joined.reader.next_timeout(PATIENCE) {
            Ok(Some(record)) => record.read::<u64>().unwrap(),
            Err(ReadError::Closed) | Ok(None) => return,
            Err(error) => panic!("{error}"),
        };
        state.apply(next);
        owner.publish(state.count - 1, &state).unwrap();
    }
}

/// Owners are killed one after the other; each goes on where the one before was, whatever it was doing, and
/// the last state is the truth.
#[test]
fn owners_that_are_killed_are_taken_over_from() {
    let kills = if common::is_long() { 200 } else { 20 };
    let dir = tempfile::tempdir().unwrap();
    // Room for what is appended between two owners, when nobody holds the log.
    Log::builder().windows(16).window_bytes(256 << 10).create_at(dir.path().join("log")).unwrap();
    Snapshot::builder().values::<State>().create_at(dir.path().join("state")).unwrap();
    let replica = open(dir.path());
    let mut appender = replica.log().appender().unwrap();
    let mut watch = replica.snapshot().reader().unwrap();
    let (mut seq, mut newest) = (0, 0);
    for kill in 0..kills {
        let mut process = child("owner").env("SHMLOG_TEST_DIR", dir.path()).spawn().unwrap();
        // Some records into its work, an arbitrary number.
        let until = seq + 1 + kill * 37 % 100;
        while newest < until {
            if seq < until + 50 {
                append(&mut appender, seq);
                seq += 1;
            }
            watch.wait_newer(0, PATIENCE);
            newest = watch.load::<State>().unwrap().map_or(0, |state| state.count);
        }
        process.kill().unwrap();
        finish(process, PATIENCE);
    }
    appender.close().unwrap();
    let mut joined = replica.join_by(replica.log().reader_builder(), SnapshotReader::load::<State>).unwrap();
    let mut state = joined.state.unwrap().value;
    assert_eq!(state, State::after(state.count));
    follow(&mut joined.reader, &mut state, seq);
    assert_eq!(state, State::after(seq));
    println!("{kills} owners killed, {seq} records");
}

/// An appender looked who held the oldest segment, found nobody and raised the head; an owner entered in
/// between. It held what newcomers needed, and they were told for good that it was gone.
#[test]
fn newcomers_come_in_beside_an_owner_whom_the_head_has_passed() {
    for retention in [Retention::Gated, Retention::Overwrite] {
        let log = Log::builder().windows(2).window_bytes(64 << 10).entries(64).retention(retention);
        let log = log.create_memfd("beside").unwrap();
        let replica = Replica::new(&log, &slot());
        let is_over = AtomicBool::new(false);
        thread::scope(|scope| {
            scope.spawn(|| {
                let mut appender = log.appender().unwrap();
                appender.set_stall_wait(Duration::ZERO);
                while !is_over.load(Relaxed) {
                    let _ = appender.append_value(&0_u64);
                }
            });
            let _end = Ends(&is_over);
            let mut owned = 0;
            while owned < 1000 {
                let mut owner = match replica.own_at("owner", Start::Oldest) {
                    // The log went on between finding the oldest record and pinning it.
                    Err(ReplicaError::Gone { .. }) => continue,
                    owner => owner.unwrap(),
                };
                owned += 1;
                let seq = owner.kept_from();
                while let Err(error) = owner.publish(seq, &State::default()) {
                    assert!(matches!(error, ReplicaError::Ahead { .. }), "{error}");
                    thread::yield_now();
                }
                let late = replica.join().unwrap();
                assert_eq!(late.reader.position(), seq + 1);
            }
        });
    }
}
