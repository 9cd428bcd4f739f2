//! Who is attached: excluding each other, being seen, being dead.
#![allow(unsafe_code, reason = "membarrier(2) is asked what it knows of this process")]

mod common;

use common::{child, setting, succeed};
use shmlog::{Access, AppendError, JoinError, Log, Reader, Retention, Role, Start};
use std::io::{Read, Write};
use std::process::Child;
use std::time::{Duration, Instant};

fn small() -> shmlog::LogBuilder {
    Log::builder().windows(2).window_bytes(64 << 10).entries(8)
}

#[test]
fn child_entry() {
    common::enter(&[("holder", holder), ("barrier", barrier), ("attacher", attacher), ("joiner", joiner)]);
}

/// Holds whatever it is told to hold until it is killed.
fn holder() {
    let (log, mut parent) = shmlog::inherited().unwrap();
    let what: String = setting("SHMLOG_TEST_HOLD");
    let mut _reader: Option<Reader> = None;
    let (mut shared, mut _exclusive) = (None, None);
    match what.as_str() {
        "gate" => _reader = Some(log.reader_builder().gated(true).name("victim").start(Start::First).unwrap()),
        "pin" => {
            let mut reader = log.reader_builder().name("victim").start(Start::First).unwrap();
            reader.pin().unwrap();
            _reader = Some(reader);
        }
        "exclusive" => _exclusive = Some(log.exclusive_named("victim").unwrap()),
        _ => shared = Some(log.appender_named("victim").unwrap()),
    }
    let _slot = shared.as_mut().map(|appender| {
        let mut slot = appender.reserve(100).unwrap();
        slot.write(0, b"never to be seen");
        slot
    });
    parent.write_all(b"!").unwrap();
    let _ = parent.read(&mut [0]);
    panic!("it should have been killed");
}

/// With the socket that it listens at: it ends with its parent, should this test fail.
struct Victim(Child, #[allow(dead_code, reason = "kept open")] std::os::unix::net::UnixStream);

fn victim(log: &Log, holds: &str) -> Victim {
    let worker = log.spawn(child("holder").env("SHMLOG_TEST_HOLD", holds), Access::Append).unwrap();
    worker.wait_attached(common::PATIENCE).unwrap();
    let (child, mut socket) = (worker.child, worker.socket);
    socket.read_exact(&mut [0]).unwrap();
    Victim(child, socket)
}

impl Victim {
    fn kill(mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

/// Appends until the log is full; who is in the way?
fn fill(log: &Log) -> AppendError {
    let mut appender = log.appender().unwrap();
    std::iter::repeat_with(|| appender.append(b"x")).take(100).find_map(Result::err).expect("somebody holds it")
}

#[test]
fn what_the_dead_held_is_free() {
    for (holds, role, slot) in
        [("gate", Role::GatedReader, 64), ("pin", Role::Reader, 64), ("reservation", Role::Appender, 0)]
    {
        let log = small().create_memfd("dead").unwrap();
        let victim = victim(&log, holds);
        let pid = u64::from(victim.0.id());
        let AppendError::Full { by: Some(holder), since: 0 } = fill(&log) else { panic!("full by {holds}") };
        assert_eq!((holder.name().as_str(), holder.role, holder.pid, holder.slot), ("victim", Some(role), pid, slot));
        let before = log.info();
        let seen = before.participants.iter().find(|p| p.who == holder).unwrap();
        assert_eq!((seen.is_alive, seen.holds_segment), (Some(true), Some(0)));
        victim.kill();
        let dead = log.info().participants.into_iter().find(|p| p.who == holder).unwrap();
        assert_eq!(dead.is_alive, Some(false), "seen at once");

        let mut appender = log.appender().unwrap();
        assert_eq!(appender.append_wait(b"on", common::PATIENCE).unwrap(), before.next_seq);
        assert!(log.info().participants.iter().all(|p| p.who != holder), "cleared");
        for _ in 0..100 {
            appender.append(b"on").unwrap();
        }
        let mut reader = log.reader(Start::Oldest).unwrap();
        while let Some(record) = reader.try_next().unwrap() {
            assert!([&b"x"[..], b"on"].contains(&&*record.to_vec().unwrap()), "no trace of the reservation");
        }
    }
}

#[test]
fn an_exclusive_appender_is_alone_until_it_dies() {
    let log = small().create_memfd("exclusive").unwrap();
    let victim = victim(&log, "exclusive");
    assert!(matches!(log.appender(), Err(JoinError::ExclusiveAttached)));
    assert!(matches!(log.exclusive(), Err(JoinError::ExclusiveAttached)));
    victim.kill();
    let shared = log.appender().unwrap();
    let another = log.appender().unwrap();
    assert!(matches!(log.exclusive(), Err(JoinError::OthersAttached)));
    drop(shared);
    assert!(matches!(log.exclusive(), Err(JoinError::OthersAttached)));
    drop(another);
    let exclusive = log.exclusive().unwrap();
    assert!(matches!(log.exclusive(), Err(JoinError::ExclusiveAttached)));
    drop(exclusive);
    log.appender().unwrap().append(b"after all").unwrap();
}

#[test]
fn a_full_board_names_its_size_and_a_dead_seat_is_a_free_one() {
    let log = small().slots(2, 3).create_memfd("board").unwrap();
    let appenders = [log.appender().unwrap(), log.appender().unwrap()];
    assert!(matches!(log.appender(), Err(JoinError::BoardFull { slots: 2 })));
    let gated = || log.reader_builder().gated(true).start(Start::First);
    let readers = [gated().unwrap(), gated().unwrap()];
    let victim = victim(&log, "gate");
    assert!(matches!(gated(), Err(JoinError::BoardFull { slots: 3 })));
    let mut free = log.reader(Start::First).unwrap();
    assert!(matches!(free.pin(), Err(JoinError::NoSeat)), "a free reader does without");
    victim.kill();
    let third = gated().unwrap();
    assert_eq!(log.info().participants.len(), 5);
    drop((appenders, readers, third));
    assert!(log.info().participants.is_empty());
}

#[test]
fn the_board_tells_who_is_where() {
    let log = small().create_memfd("info").unwrap();
    let mut appender = log.appender_named("an appender whose name is longer than the board has room for").unwrap();
    let mut gated = log.reader_builder().name("gäted").gated(true).start(Start::First).unwrap();
    let mut free = log.reader_builder().name("free").start(Start::First).unwrap();
    for _ in 0..10 {
        appender.append(b"x").unwrap();
    }
    while gated.try_next().unwrap().is_some() {}
    // One record, and the place is told when the segment or the records end.
    free.try_next().unwrap();
    let info = log.info();
    assert_eq!((info.name.as_str(), info.next_seq, info.head, info.active), ("info", 10, 0, 1));
    assert_eq!((info.windows, info.window_bytes, info.entries), (2, 64 << 10, 8));
    assert_eq!(info.seals, ["shrink", "grow", "seal"]);
    let seen: Vec<_> = info.participants.iter().map(|p| (p.who.name(), p.who.role, p.position, p.lag)).collect();
    let name = "an appender whose name is longer than the board has room for"[..32].to_owned();
    assert_eq!(
        seen,
        [
            (name, Some(Role::Appender), None, None),
            ("gäted".to_owned(), Some(Role::GatedReader), Some(10), Some(0)),
            ("free".to_owned(), Some(Role::Reader), Some(0), Some(10)),
        ]
    );
    assert!(info.participants.iter().all(|p| p.is_alive == Some(true) && p.who.pid == u64::from(std::process::id())));
    assert_eq!(info.participants[1].holds_segment, Some(1));
    assert_eq!(info.participants[2].holds_segment, None);
    drop(appender);
    drop(log.exclusive_named("alone").unwrap());
    assert_eq!(log.info().participants.len(), 2);
}

#[test]
fn a_living_holder_is_waited_for_no_longer_than_told() {
    let log = small().create_memfd("alive").unwrap();
    let victim = victim(&log, "gate");
    assert!(matches!(fill(&log), AppendError::Full { by: Some(_), since: 0 }));
    let mut appender = log.appender().unwrap();
    let started = Instant::now();
    let timeout = Duration::from_millis(120);
    assert!(matches!(appender.append_wait(b"x", timeout), Err(AppendError::Full { by: Some(_), since: 0 })));
    assert!(started.elapsed() >= timeout);
    victim.kill();
}

#[test]
fn free_readers_hold_nobody_up() {
    let log = small().retention(Retention::Gated).create_memfd("free").unwrap();
    let _readers: Vec<_> = (0..50).map(|_| log.reader(Start::First).unwrap()).collect();
    let mut appender = log.appender().unwrap();
    for seq in 0..1000 {
        assert_eq!(appender.append(b"x").unwrap(), seq);
    }
}

/// FRAL could be attached to 2^20 times, then never again.
#[test]
fn attaching_uses_nothing_up() {
    let log = small().slots(1, 1).create_memfd("often").unwrap();
    for seq in 0..3000 {
        log.appender().unwrap().append(b"x").unwrap();
        log.reader_builder().gated(true).start(Start::End).unwrap();
        assert_eq!(log.exclusive().unwrap().append(b"x").unwrap(), 2 * seq + 1);
    }
    for _ in 0..5 {
        succeed(log.spawn(&mut child("attacher"), Access::Append).unwrap().child);
    }
    assert_eq!(log.info().next_seq, 6000 + 5 * 20);
    assert!(log.info().participants.is_empty());
}

fn attacher() {
    let (log, _parent) = shmlog::inherited().unwrap();
    for _ in 0..20 {
        log.appender().unwrap().append(b"x").unwrap();
    }
}

/// Appenders enter segments with the light fence, which is one only in a process that the recyclers' barrier reaches.
#[test]
fn appending_processes_are_reached_by_the_recyclers_barrier() {
    for appends in [true, false] {
        let log = small().create_memfd("barrier").unwrap();
        let mut command = child("barrier");
        succeed(log.spawn(command.env("SHMLOG_TEST_APPENDS", appends.to_string()), Access::Append).unwrap().child);
    }
}

fn barrier() {
    /// Commands of membarrier(2).
    const REGISTER_GLOBAL_EXPEDITED: i64 = 1 << 2;
    const GET_REGISTRATIONS: i32 = 1 << 9;
    let (log, _parent) = shmlog::inherited().unwrap();
    let appends: bool = setting("SHMLOG_TEST_APPENDS");
    let appender = appends.then(|| log.appender().unwrap());
    // SAFETY: the command only asks.
    let registered = unsafe { nix::libc::syscall(nix::libc::SYS_membarrier, GET_REGISTRATIONS, 0, 0) };
    if registered < 0 {
        return common::skip("registrations", "this kernel does not tell them (Linux 6.3)");
    }
    assert_eq!(registered & REGISTER_GLOBAL_EXPEDITED != 0, appends, "others need not be interrupted");
    drop(appender);
}

/// Gated readers entered with the light fence too, in processes that no barrier reached: a gate could be set and its
/// segment recycled without either side seeing the other.
#[test]
fn a_gate_that_is_set_while_the_log_rolls_holds() {
    let log = small().create_memfd("gates").unwrap();
    let joiners: Vec<_> = (0..2).map(|_| log.spawn(&mut child("joiner"), Access::Read).unwrap()).collect();
    let mut appender = log.appender().unwrap();
    let mut left: Vec<_> = joiners.into_iter().map(|worker| worker.child).collect();
    let mut seq: u64 = 0;
    while !left.is_empty() {
        for _ in 0..1000 {
            appender.append_wait(&seq.to_le_bytes().repeat(20), common::PATIENCE).unwrap();
            seq += 1;
        }
        left.retain_mut(|child| match child.try_wait().unwrap() {
            Some(status) => {
                assert!(status.success());
                false
            }
            None => true,
        });
    }
}

/// Joins at the oldest record again and again.
fn joiner() {
    let (log, _parent) = shmlog::inherited().unwrap();
    for _ in 0..if common::is_long() { 500_000 } else { 5000 } {
        let mut reader = log.reader_builder().gated(true).start(Start::Oldest).unwrap();
        let first = reader.position();
        for (record, seq) in reader.batch().unwrap().zip(first..) {
            assert_eq!(record.seq(), seq);
            assert_eq!(record.to_vec().unwrap(), seq.to_le_bytes().repeat(20), "{seq}");
        }
    }
}
