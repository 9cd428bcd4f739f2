//! What saves a user from writing it again: opening or making, standing by, looking up by name.

mod common;

use common::{PATIENCE, child, finish, setting};
use shmlog::{CreateError, JoinError, Log, Replica, ReplicaError, Retention, Snapshot};
use std::path::Path;
use std::thread;
use std::time::Duration;

#[test]
fn child_entry() {
    common::enter(&[("owner", owner)]);
}

#[test]
fn what_is_there_is_opened_and_what_is_not_is_made() {
    let dir = tempfile::tempdir().unwrap();
    let (log, snapshot) = (dir.path().join("log"), dir.path().join("state"));
    let logs = Log::builder().windows(4);
    let made = logs.open_or_create_at(&log).unwrap();
    made.appender().unwrap().append(b"kept").unwrap();
    assert_eq!(logs.open_or_create_at(&log).unwrap().info().next_seq, 1);
    for other in [logs.clone().windows(5), logs.clone().retention(Retention::Overwrite)] {
        assert!(matches!(other.open_or_create_at(&log), Err(CreateError::OtherShape { .. })));
    }

    let snapshots = Snapshot::builder().values::<u64>().names(["A", "B"]);
    snapshots.open_or_create_at(&snapshot).unwrap().writer().unwrap().publish(&7_u64).unwrap();
    let there = snapshots.open_or_create_at(&snapshot).unwrap();
    assert_eq!(*there.reader_named("A").unwrap().load::<u64>().unwrap().unwrap(), 7);
    assert_eq!(there.names().collect::<Vec<_>>(), [(0, "A".to_owned()), (1, "B".to_owned())]);
    assert!(matches!(there.reader_named("C"), Err(JoinError::NoName { name }) if name == "C"));
    let other = snapshots.clone().values::<u32>();
    assert!(matches!(other.open_or_create_at(&snapshot), Err(CreateError::OtherShape { .. })));
    assert!(matches!(snapshots.open_or_create_at(&log), Err(CreateError::Attach(_))), "a log is no snapshot");
}

/// Many that are started at once: one makes it, all have the same.
#[test]
fn who_comes_at_once_gets_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("state");
    let ids = thread::scope(|scope| {
        let all = [(); 4].map(|()| scope.spawn(|| Snapshot::builder().open_or_create_at(&path).unwrap().info().id));
        all.map(|one| one.join().unwrap())
    });
    assert!(ids.iter().all(|id| *id == ids[0]));
}

/// Which appender keeps an exclusive one out.
#[test]
fn who_is_in_the_way_is_said() {
    let log = Log::builder().create_memfd("taken").unwrap();
    let exclusive = log.exclusive().unwrap();
    assert!(matches!(log.exclusive(), Err(JoinError::ExclusiveAttached)));
    assert!(matches!(log.appender(), Err(JoinError::ExclusiveAttached)));
    drop(exclusive);
    let shared = log.appender().unwrap();
    assert!(matches!(log.exclusive(), Err(JoinError::OthersAttached)));
    drop(shared);
    log.exclusive().unwrap();
}

fn open(dir: &Path) -> Replica {
    let log = Log::builder().open_or_create_at(dir.join("log")).unwrap();
    Replica::new(&log, &Snapshot::builder().open_or_create_at(dir.join("state")).unwrap())
}

/// Owns the state until it is killed.
fn owner() {
    let replica = open(Path::new(&setting::<String>("SHMLOG_TEST_DIR")));
    let seq = replica.log().appender().unwrap().append(b"x").unwrap();
    let mut owner = replica.own("first").unwrap();
    owner.publish_bytes(seq, b"from the first").unwrap();
    loop {
        thread::park();
    }
}

#[test]
fn who_stands_by_goes_on_when_the_owner_is_dead() {
    let dir = tempfile::tempdir().unwrap();
    let replica = open(dir.path());
    let mut first = child("owner").env("SHMLOG_TEST_DIR", dir.path()).spawn().unwrap();
    assert!(replica.snapshot().reader().unwrap().wait_unseen(PATIENCE));
    let taken = replica.own_within("second", Duration::from_millis(5));
    assert!(matches!(taken, Err(ReplicaError::Join(JoinError::WriterAttached))), "{taken:?}");
    assert!(matches!(replica.snapshot().writer_within(Duration::ZERO), Err(JoinError::WriterAttached)));
    let second = thread::scope(|scope| {
        let second = scope.spawn(|| replica.own_within("second", PATIENCE));
        first.kill().unwrap();
        second.join().unwrap().unwrap()
    });
    finish(first, PATIENCE);
    assert_eq!(second.kept_from(), 1);
    assert_eq!(replica.join().unwrap().state.unwrap().value, b"from the first");
}

#[test]
fn what_was_seen_is_not_waited_for() {
    let snapshot = Snapshot::builder().values::<u64>().create_memfd("seen").unwrap();
    let mut writer = snapshot.writer().unwrap();
    let mut reader = snapshot.reader().unwrap();
    assert!(!reader.wait_unseen(Duration::from_millis(1)));
    writer.publish(&1_u64).unwrap();
    assert!(reader.wait_unseen(PATIENCE));
    let first = reader.load::<u64>().unwrap().unwrap();
    assert_eq!(reader.seen(), first.version);
    writer.publish(&2_u64).unwrap();
    assert!(reader.wait_unseen(PATIENCE), "newer than what was loaded, though not than what there is");
    assert!(reader.version() > reader.seen());
    reader.pin().unwrap().expect("published");
    assert_eq!(reader.version(), reader.seen());
}
