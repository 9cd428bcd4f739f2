//! What readers can write to: the board.

use crate::attempts::WRITTEN;
use crate::common::{self, is_root, number_of, setting, skip, succeed, value};
use crate::stage::{Feeder, NOBODY, Program, Target, Thing, examine, intercept, own_descriptor};
use crate::{Said, compare, nothing_of_anothers};
use nix::fcntl::{FcntlArg, fcntl};
use nix::libc;
use shmlog::{Access, AppendError, JoinError, Log, PublishError, ReadError, Retention, Snapshot, Start};
use std::fs::File;
use std::io::{Read, Write};
use std::os::unix::fs::FileExt;
use std::os::unix::net::UnixStream;
use std::process::Child;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;
use std::time::Duration;

/// An observer of another user tries to write to the board.
fn attack_board(program: &Program, thing: &Thing) -> Said {
    let target = Target { access: Access::Observe, is_board: true };
    examine(thing, &mut Feeder::alone(thing), program.child("reader", Some(NOBODY)), target)
}

#[test]
fn an_observer_of_another_user_cannot_write_to_the_board() {
    if !is_root() {
        return skip("observers of another user", "only root can start them");
    }
    let program = Program::new();
    for kind in ["log", "snapshot"] {
        let thing = Thing::make(kind, false);
        let said = attack_board(&program, &thing);
        let first = ["EACCES", "EACCES", "EACCES", "EIO|EACCES|EPERM", "EBADF", "EBADF", "EINVAL", "EPERM"];
        compare(&format!("board of a {kind}, observer"), &said, &[&first[..], &nothing_of_anothers()].concat());
    }
}

/// Readers of every user reopen the board, to lock a byte of it, and what they can observers can too.
#[test]
fn an_observer_can_once_a_reader_was_let_in() {
    if !is_root() {
        return skip("observers of another user", "only root can start them");
    }
    let program = Program::new();
    for kind in ["log", "snapshot"] {
        let thing = Thing::make(kind, false);
        drop(pass(kind, &thing, Access::Read));
        let said = attack_board(&program, &thing);
        let written: Vec<_> = said.iter().filter(|(_, outcome)| outcome.contains(WRITTEN)).collect();
        let attempts: Vec<_> = written.iter().map(|(attempt, _)| attempt.as_str()).collect();
        assert_eq!(attempts, ["reopen it for writing", "reopen it then"], "{said:?}");
    }
}

/// A descriptor for reading suffices for read locks: they keep slots from being taken while it is open.
#[test]
fn an_observer_can_keep_slots_from_being_taken() {
    let log = Log::builder().create_memfd("occupied").unwrap();
    let own = own_descriptor(&Thing::Log(log.clone()).link(true));
    let board = File::open(format!("/proc/self/fd/{own}")).unwrap();
    let all = libc::flock { l_type: libc::F_RDLCK.try_into().unwrap(), l_whence: 0, l_start: 0, l_len: 0, l_pid: 0 };
    fcntl(&board, FcntlArg::F_OFD_SETLK(&all)).unwrap();
    let gated = log.reader_builder().gated(true);
    assert!(matches!(gated.clone().start(Start::End), Err(JoinError::BoardFull { .. })));
    let mut free = log.reader(Start::End).unwrap();
    log.exclusive().unwrap().append(b"x").unwrap();
    assert!(free.try_next().unwrap().is_some());
    drop(board);
    gated.start(Start::End).unwrap();
}

/// The same thing as a process has it that it was passed to.
fn pass(kind: &str, thing: &Thing, access: Access) -> Thing {
    let (ours, theirs) = UnixStream::pair().unwrap();
    thread::scope(|scope| {
        let receiver = scope.spawn(|| Thing::receive(kind, theirs).unwrap());
        thing.send(ours, access).unwrap();
        receiver.join().unwrap()
    })
}

/// In a child: a reader that writes to the board what no honest one would, from behind its header on. Once for each
/// `0` from its parent, all zeroes; for an `s` again and again, until the parent is gone.
pub fn scribbler() {
    let mut parent = common::to_parent();
    let (fds, _thing) = intercept(&setting::<String>("SHMLOG_TEST_KIND"), &parent);
    let board = File::from(fds.into_iter().nth(1).unwrap());
    let words = usize::try_from(board.metadata().unwrap().len()).unwrap() / 8 - 16;
    let fill = |word: u64| board.write_all_at(&word.to_le_bytes().repeat(words), 128).unwrap();
    let mut order = [0];
    while order != *b"s" {
        if parent.read_exact(&mut order).is_err() {
            return;
        }
        fill(0);
        parent.write_all(b"!").unwrap();
    }
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            let _ = (&parent).read(&mut [0]);
            is_over.store(true, Relaxed);
        });
        // Held, pinned, free, nonsense.
        for round in (0_u64..).take_while(|_| !is_over.load(Relaxed)) {
            fill([round % 7, round % 5, 0, u64::MAX, round][usize::try_from(round % 5).unwrap()]);
        }
    });
}

/// A reader of another user, if there can be one, that obeys.
fn hostile(program: &Program, kind: &str, thing: &Thing) -> (Child, UnixStream) {
    let mut command = program.child("scribbler", is_root().then_some(NOBODY));
    command.env("SHMLOG_TEST_KIND", kind);
    let (child, socket) = common::start(command);
    thing.send(&socket, Access::Read).unwrap();
    (child, socket)
}

/// Has it done what it is told, or begin with it.
fn order(socket: &mut UnixStream, what: u8) {
    socket.write_all(&[what]).unwrap();
    socket.read_exact(&mut [0]).unwrap();
}

/// Appends of a log whose board somebody scribbles on may find it full. Free readers read what was appended.
#[test]
fn a_hostile_reader_changes_nothing_that_free_readers_read() {
    let builder = Log::builder().windows(2).window_bytes(64 << 10).retention(Retention::Overwrite);
    let log = builder.create_memfd("scribbled").unwrap();
    let thing = Thing::Log(log.clone());
    let (child, mut socket) = hostile(&Program::new(), "log", &thing);
    let mut appender = log.exclusive().unwrap();
    appender.set_stall_wait(Duration::ZERO);
    let others = [Access::Read, Access::Observe].map(|access| pass("log", &thing, access));
    let mut readers = others.each_ref().map(|thing| match thing {
        Thing::Log(log) => log.reader(Start::First).unwrap(),
        Thing::Snapshot(_) => unreachable!(),
    });
    order(&mut socket, b's');
    let (mut next, mut held) = (0, 0_u64);
    for _ in 0..20_000 {
        match appender.append(&value(next, 64)) {
            Ok(seq) => assert_eq!(seq, next),
            Err(AppendError::Full { .. }) => {
                held += 1;
                continue;
            }
            Err(error) => panic!("{error}"),
        }
        for reader in &mut readers {
            let record = reader.try_next().unwrap().unwrap();
            assert_eq!((record.seq(), record.to_vec().unwrap()), (next, value(next, 64)));
        }
        next += 1;
    }
    println!("{next} records, {held} appends held back");
    assert!(next > 0);
    drop(socket);
    succeed(child);
}

/// Publications of a snapshot whose board somebody scribbles on may find every buffer pinned. Loads bring what was
/// published last.
#[test]
fn a_hostile_reader_changes_nothing_that_is_loaded() {
    let snapshot = Snapshot::builder().buffers(2).create_memfd("scribbled").unwrap();
    let thing = Thing::Snapshot(snapshot.clone());
    let (child, mut socket) = hostile(&Program::new(), "snapshot", &thing);
    let mut writer = snapshot.writer().unwrap();
    writer.set_patience(Duration::ZERO);
    let others = [Access::Read, Access::Observe].map(|access| pass("snapshot", &thing, access));
    let mut readers = others.each_ref().map(|thing| match thing {
        Thing::Snapshot(snapshot) => snapshot.reader().unwrap(),
        Thing::Log(_) => unreachable!(),
    });
    order(&mut socket, b's');
    let (mut next, mut held) = (0, 0_u64);
    for _ in 0..20_000 {
        match writer.publish_bytes(&value(next, 256)) {
            Ok(_) => next += 1,
            Err(PublishError::Busy { .. }) => held += 1,
            Err(error) => panic!("{error}"),
        }
        for reader in &mut readers {
            let loaded = reader.load_bytes().unwrap();
            assert_eq!(loaded.map(|loaded| number_of(&loaded.value).unwrap()), next.checked_sub(1));
        }
    }
    println!("{next} values, {held} publications held back");
    assert!(next > 0);
    drop(socket);
    succeed(child);
}

/// Who holds or pins trusts all who may write to the board: one of them can take it from him.
#[test]
fn a_hostile_reader_can_take_from_others_what_they_hold() {
    let program = Program::new();
    let log = Log::builder().windows(2).window_bytes(64 << 10).create_memfd("taken").unwrap();
    let (child, mut socket) = hostile(&program, "log", &Thing::Log(log.clone()));
    let mut gated = log.reader_builder().gated(true).start(Start::First).unwrap();
    let mut appender = log.exclusive().unwrap();
    appender.set_stall_wait(Duration::ZERO);
    while appender.append(&[7; 1000]).is_ok() {}
    assert!(matches!(appender.append(&[7; 1000]), Err(AppendError::Full { by: Some(_), .. })));
    order(&mut socket, b'0');
    while log.info().oldest_seq == 0 {
        appender.append(&[7; 1000]).unwrap();
    }
    let lost = gated.try_next().map(|record| record.map(|record| record.seq()));
    assert!(matches!(lost, Ok(None | Some(0)) | Err(ReadError::Lagged { .. } | ReadError::Corrupt { .. })), "{lost:?}");
    drop(socket);
    succeed(child);

    let snapshot = Snapshot::builder().buffers(2).create_memfd("taken").unwrap();
    let (child, mut socket) = hostile(&program, "snapshot", &Thing::Snapshot(snapshot.clone()));
    let mut writer = snapshot.writer().unwrap();
    writer.set_patience(Duration::ZERO);
    writer.publish_bytes(&value(0, 64)).unwrap();
    let mut reader = snapshot.reader().unwrap();
    let pinned = reader.pin().unwrap().unwrap();
    writer.publish_bytes(&value(1, 64)).unwrap();
    assert!(matches!(writer.publish_bytes(&value(2, 64)), Err(PublishError::Busy { .. })));
    assert_eq!(number_of(&pinned.to_vec()), Some(0));
    order(&mut socket, b'0');
    writer.publish_bytes(&value(2, 64)).unwrap();
    assert_eq!(number_of(&pinned.to_vec()), Some(2), "what was pinned has changed");
    drop(socket);
    succeed(child);
}
