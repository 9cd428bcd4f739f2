//! Late join: state and log are in step for whoever comes whenever, and nobody is stopped for it.

#[path = "../common/mod.rs"]
mod common;
mod state;
mod takeover;

use shmlog::{
    Access, AppendError, JoinError, Loaded, Log, PublishError, Replica, ReplicaError, Retention, Snapshot,
    SnapshotReader, Start,
};
use state::{Ends, State, append, follow, mixed, slot, small};
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::thread;

/// An owner that publishes at every few records while the log goes round and round, and newcomers that come
/// all the time.
fn newcomers_are_in_step(retention: Retention, total: u64, every: u64) -> (u64, u64) {
    let (log, snapshot) = (small(retention), slot());
    let replica = Replica::new(&log, &snapshot);
    let mut owner = replica.own("owner").unwrap();
    let mut reader = replica.join_with(log.reader_builder().gated(retention == Retention::Gated)).unwrap().reader;
    if retention == Retention::Overwrite {
        reader.pin().unwrap();
    }
    let (is_over, joined, replayed) = (AtomicBool::new(false), AtomicU64::new(0), AtomicU64::new(0));
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut appender = log.appender().unwrap();
            (0..total).for_each(|seq| append(&mut appender, seq));
        });
        for gated in [true, false] {
            let (replica, is_over, joined, replayed) = (&replica, &is_over, &joined, &replayed);
            scope.spawn(move || {
                let gated = gated && retention == Retention::Gated;
                while !is_over.load(Relaxed) {
                    let builder = replica.log().reader_builder().gated(gated);
                    let mut late = replica.join_by(builder, SnapshotReader::load::<State>).unwrap();
                    let mut state = late.state.map_or(State::default(), |state| {
                        assert_eq!(state.as_of, Some(state.count - 1));
                        state.value
                    });
                    assert_eq!(late.reader.position(), state.count, "right after the state");
                    let until = (state.count + every).min(total);
                    let from = state.count;
                    if gated {
                        follow(&mut late.reader, &mut state, until);
                        assert_eq!(state, State::after(until));
                    }
                    joined.fetch_add(1, Relaxed);
                    replayed.fetch_add(state.count - from, Relaxed);
                }
            });
        }
        let _end = Ends(&is_over);
        let mut state = State::default();
        while state.count < total {
            let next = (state.count + every).min(total);
            follow(&mut reader, &mut state, next);
            owner.publish(state.count - 1, &state).unwrap();
        }
        assert_eq!(state, State::after(total));
    });
    (joined.into_inner(), replayed.into_inner())
}

#[test]
fn newcomers_of_a_gated_log_are_in_step() {
    let (joined, replayed) = newcomers_are_in_step(Retention::Gated, 20_000, 50);
    println!("{joined} newcomers replayed {replayed} records");
    assert!(joined > 0);
}

/// A log that overwrites raises its head before it looks who holds the oldest segment. What the owner keeps
/// is then still there, but newcomers were told that it had been given up, until the owner published again.
#[test]
fn newcomers_of_a_log_that_overwrites_are_in_step() {
    let (joined, _) = newcomers_are_in_step(Retention::Overwrite, 20_000, 20);
    assert!(joined > 0);
}

/// The owner's anchor is what keeps the log: without a new state, appends stop before the record that a
/// newcomer would need is given up; and they name the owner.
#[test]
fn the_log_keeps_what_is_not_in_the_state() {
    let (log, snapshot) = (small(Retention::Gated), slot());
    let replica = Replica::new(&log, &snapshot);
    let mut owner = replica.own("keeper").unwrap();
    let mut appender = log.appender().unwrap();
    let mut appended = 0;
    let full = loop {
        match appender.append_value(&mixed(appended)) {
            Ok(_) => appended += 1,
            Err(error) => break error,
        }
    };
    assert!(matches!(full, AppendError::Full { by: Some(by), .. } if by.name() == "keeper"), "{full}");
    let late = replica.join().unwrap();
    assert!(late.state.is_none() && late.reader.position() == 0);

    owner.publish(99, &State::after(100)).unwrap();
    assert_eq!(owner.kept_from(), 100);
    append(&mut appender, appended);
    let late = replica.join().unwrap();
    assert_eq!((late.state.unwrap().as_of, late.reader.position()), (Some(99), 100));
}

#[test]
fn positions_must_make_sense() {
    let (log, snapshot) = (small(Retention::Gated), slot());
    let replica = Replica::new(&log, &snapshot);
    let mut owner = replica.own("owner").unwrap();
    assert!(matches!(replica.own("another"), Err(ReplicaError::Join(JoinError::WriterAttached))));
    assert!(matches!(owner.publish(0, &State::after(1)), Err(ReplicaError::Ahead { as_of: 0 })));
    let mut appender = log.appender().unwrap();
    (0..10).for_each(|seq| append(&mut appender, seq));
    owner.publish(5, &State::after(6)).unwrap();
    owner.publish(5, &State::after(6)).expect("the same position again");
    assert!(matches!(owner.publish(4, &State::after(5)), Err(ReplicaError::Backwards { as_of: 4, kept_from: 6 })));
    assert!(matches!(owner.publish(10, &State::after(11)), Err(ReplicaError::Ahead { as_of: 10 })));
    let wrong = owner.publish_bytes(6, b"too short");
    assert!(matches!(wrong, Err(ReplicaError::Publish(PublishError::WrongLength { .. }))), "{wrong:?}");
    assert_eq!(replica.join().unwrap().state.unwrap().as_of, Some(5), "what failed changed nothing");
    owner.publish(9, &State::after(10)).unwrap();
    let mut late = replica.join().unwrap();
    assert_eq!(late.reader.position(), 10);
    assert!(late.reader.try_next().unwrap().is_none());

    owner.writer().publish(&State::after(10)).unwrap();
    assert!(matches!(replica.join(), Err(ReplicaError::NoPosition)));
}

/// A writer of states that published nothing, or with another position, moved the anchor all the same: the log
/// then let go of what the newest state lacked, or nobody could join any more.
#[test]
fn what_was_not_published_moves_nothing() {
    let (log, snapshot) = (small(Retention::Gated), slot());
    let replica = Replica::new(&log, &snapshot);
    let mut owner = replica.own("owner").unwrap();
    let mut appender = log.appender().unwrap();
    (0..10).for_each(|seq| append(&mut appender, seq));
    owner.publish(4, &State::after(5)).unwrap();
    let nothing = owner.publish_by(8, |_| Ok(7));
    assert!(matches!(nothing, Err(ReplicaError::NotPublished { as_of: 8 })), "{nothing:?}");
    assert_eq!((owner.kept_from(), replica.join().unwrap().reader.position()), (5, 5));
    let elsewhere = owner.publish_by(8, |slot| slot.as_of(1_000_000).publish(&State::after(9)));
    assert!(matches!(elsewhere, Err(ReplicaError::NotPublished { as_of: 8 })), "{elsewhere:?}");
    assert_eq!(owner.kept_from(), 5);
    drop(owner);
    let ahead = replica.own("next").unwrap_err();
    assert!(matches!(ahead, ReplicaError::Ahead { as_of: 1_000_000 }) && ahead.to_string().contains("own_at"));
    replica.own_at("next", Start::At(9)).unwrap().publish(8, &State::after(9)).unwrap();
    assert_eq!(replica.join().unwrap().reader.position(), 9);
}

/// A loader that brought nothing, and settings of another log, were taken for a newcomer in step.
#[test]
fn what_does_not_go_together_is_refused() {
    let (log, snapshot) = (small(Retention::Gated), slot());
    let replica = Replica::new(&log, &snapshot);
    let mut appender = log.appender().unwrap();
    append(&mut appender, 0);
    replica.own("owner").unwrap().publish(0, &State::after(1)).unwrap();
    let nothing = replica.join_by(log.reader_builder(), |_| Ok(None::<Loaded<State>>));
    assert!(matches!(nothing, Err(ReplicaError::NotLoaded)));
    let other = small(Retention::Gated);
    assert!(matches!(replica.join_with(other.reader_builder()), Err(ReplicaError::OtherLog)));
}

/// Short pins that overlap kept a log that overwrites from going on for ever: each one found the oldest segment
/// still there because the one before held it.
#[test]
fn pins_that_overlap_do_not_stop_a_log_that_overwrites() {
    let log = small(Retention::Overwrite);
    let mut appender = log.appender().unwrap();
    let pinned = || {
        let mut reader = log.reader(Start::Oldest).unwrap();
        reader.pin().unwrap();
        reader
    };
    let mut last = pinned();
    let mut appended = 0;
    for _ in 0..100 {
        while appender.append_value(&appended).is_ok() {
            appended += 1;
        }
        // The next one comes before the last one leaves.
        let next = pinned();
        last = next;
    }
    drop(last);
    assert!(appended > 90 * 63, "{appended} records: most turns brought a segment");
}

/// Without an owner the log goes on; a state that is too old is told apart from none, and a new owner can
/// begin anew.
#[test]
fn a_state_without_an_owner_gets_too_old() {
    let (log, snapshot) = (small(Retention::Overwrite), slot());
    let replica = Replica::new(&log, &snapshot);
    let mut appender = log.appender().unwrap();
    append(&mut appender, 0);
    replica.own("dies").unwrap().publish(0, &State::after(1)).unwrap();
    (1..1000).for_each(|seq| append(&mut appender, seq));
    assert!(matches!(replica.join(), Err(ReplicaError::Gone { seq: 1, oldest: 1.. })));
    assert!(matches!(replica.own("next"), Err(ReplicaError::Gone { seq: 1, .. })));
    let mut owner = replica.own_at("next", Start::End).unwrap();
    owner.publish(999, &State::after(1000)).unwrap();
    let late = replica.join_by(log.reader_builder(), SnapshotReader::load::<State>).unwrap();
    assert_eq!((late.state.unwrap().value, late.reader.position()), (State::after(1000), 1000));
}

/// An observer holds nothing; it is in step all the same, or begins anew.
#[test]
fn an_observer_joins_too() {
    let dir = tempfile::tempdir().unwrap();
    let log = Log::builder().windows(3).window_bytes(64 << 10).create_at(dir.path().join("log")).unwrap();
    let snapshot = Snapshot::builder().create_at(dir.path().join("state")).unwrap();
    let mut owner = Replica::new(&log, &snapshot).own("owner").unwrap();
    let mut appender = log.appender().unwrap();
    (0..3).for_each(|seq| append(&mut appender, seq));
    owner.publish(1, &State::after(2)).unwrap();
    let seen = Replica::new(
        &Log::open(dir.path().join("log"), Access::Observe).unwrap(),
        &Snapshot::open(dir.path().join("state"), Access::Observe).unwrap(),
    );
    let mut late = seen.join().unwrap();
    assert_eq!(late.state.unwrap().as_of, Some(1));
    assert_eq!(late.reader.try_next().unwrap().unwrap().seq(), 2);
    assert!(matches!(seen.own("observer"), Err(ReplicaError::Join(JoinError::ReadOnly))));
}

#[test]
fn child_entry() {
    takeover::owner_entry();
}

/// A newcomer in another process, by descriptors.
#[test]
fn both_are_passed_on_and_joined() {
    let (log, snapshot) = (small(Retention::Gated), slot());
    let mut owner = Replica::new(&log, &snapshot).own("owner").unwrap();
    let mut appender = log.appender().unwrap();
    (0..5).for_each(|seq| append(&mut appender, seq));
    owner.publish(2, &State::after(3)).unwrap();
    let (mut ours, mut theirs) = UnixStream::pair().unwrap();
    thread::scope(|scope| {
        scope.spawn(|| {
            let (log, snapshot) = (Log::receive(&theirs).unwrap(), Snapshot::receive(&theirs).unwrap());
            let replica = Replica::new(&log, &snapshot);
            let mut late = replica.join_by(log.reader_builder(), SnapshotReader::load::<State>).unwrap();
            let mut state = late.state.unwrap().value;
            follow(&mut late.reader, &mut state, 5);
            assert_eq!(state, State::after(5));
            theirs.write_all(b"!").unwrap();
        });
        log.send(&ours, Access::Read).unwrap();
        snapshot.send(&ours, Access::Read).unwrap();
        ours.read_exact(&mut [0]).unwrap();
    });
}
