//! Passing a log on: to another handle, to a worker, and what comes of peers that send nonsense.

mod common;

use common::{child, finish, setting, succeed};
use memfd::{FileSeal, MemfdOptions};
use rustix::io::fcntl_dupfd_cloexec;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags,
    recvmsg, sendmsg,
};
use shmlog::{Access, AttachError, JoinError, Log, PassError, ReadError, Start};
use std::fs::File;
use std::io::{IoSlice, IoSliceMut, Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

fn small() -> Log {
    Log::builder().windows(2).window_bytes(64 << 10).entries(8).create_memfd("passing").unwrap()
}

#[test]
fn child_entry() {
    common::enter(&[("worker", worker), ("idle", idle)]);
}

/// Sends and receives in one process.
fn pass(log: &Log, access: Access) -> (Result<(), PassError>, Result<Log, PassError>) {
    let (ours, theirs) = UnixStream::pair().unwrap();
    thread::scope(|scope| {
        let receiver = scope.spawn(|| Log::receive(theirs));
        (log.send(ours, access), receiver.join().unwrap())
    })
}

/// A real offer, taken off the wire.
fn offer(log: &Log, access: Access) -> (Vec<u8>, Vec<OwnedFd>) {
    let (ours, theirs) = UnixStream::pair().unwrap();
    thread::scope(|scope| {
        scope.spawn(move || assert!(matches!(log.send(ours, access), Err(PassError::Gone))));
        let mut bytes = [0; 200];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(8))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let got = recvmsg(&theirs, &mut [IoSliceMut::new(&mut bytes)], &mut control, RecvFlags::CMSG_CLOEXEC).unwrap();
        drop(theirs);
        let rights = control.drain().filter_map(|part| match part {
            RecvAncillaryMessage::ScmRights(fds) => Some(fds.collect::<Vec<_>>()),
            _ => None,
        });
        (bytes[..got.bytes].to_vec(), rights.flatten().collect())
    })
}

/// What a receiver makes of these bytes and descriptors.
fn receive(bytes: &[u8], fds: &[BorrowedFd<'_>]) -> Result<Log, PassError> {
    let (ours, theirs) = UnixStream::pair().unwrap();
    put(&ours, bytes, fds);
    Log::receive(theirs)
}

fn put(ours: &UnixStream, bytes: &[u8], fds: &[BorrowedFd<'_>]) {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(8))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    assert!(fds.is_empty() || control.push(SendAncillaryMessage::ScmRights(fds)));
    sendmsg(ours, &[IoSlice::new(bytes)], &mut control, SendFlags::NOSIGNAL).unwrap();
}

/// A worker whose parent was gone, or had dropped the `Worker`, before it answered threw away the log that had
/// come whole: «answering the offer: Broken pipe».
#[test]
fn what_was_sent_is_received_whether_or_not_the_sender_lives() {
    let log = small();
    log.appender().unwrap().append(b"sent").unwrap();
    let (bytes, fds) = offer(&log, Access::Append);
    let (ours, theirs) = UnixStream::pair().unwrap();
    put(&ours, &bytes, &fds.iter().map(AsFd::as_fd).collect::<Vec<_>>());
    drop(ours);
    let received = Log::receive(theirs).unwrap();
    assert_eq!(received.appender().unwrap().append(b"on").unwrap(), 1);
}

#[test]
fn every_access_may_what_it_says() {
    let log = small();
    log.appender().unwrap().append(b"one").unwrap();
    for access in [Access::Append, Access::Read, Access::Observe] {
        let (sent, received) = pass(&log, access);
        sent.unwrap();
        let received = received.unwrap();
        assert_eq!(received.info().id, log.info().id);
        let mut reader = received.reader(Start::First).unwrap();
        assert_eq!(reader.try_next().unwrap().unwrap().to_vec().unwrap(), b"one");
        match access {
            Access::Append => drop(received.appender().unwrap()),
            _ => {
                assert!(matches!(received.appender(), Err(JoinError::ReadOnly)));
                assert!(matches!(received.exclusive(), Err(JoinError::ReadOnly)));
                assert!(matches!(
                    received.send(UnixStream::pair().unwrap().0, Access::Append),
                    Err(PassError::ReadOnly)
                ));
            }
        }
        if access == Access::Observe {
            assert!(reader.pin().is_err());
        } else {
            received.reader_builder().gated(true).start(Start::End).unwrap();
            // On and on: a reader passes on what it has.
            let (sent, third) = pass(&received, Access::Read);
            sent.unwrap();
            assert_eq!(third.unwrap().reader(Start::First).unwrap().get(0).unwrap().unwrap().len(), 3);
        }
    }
}

/// Echoes what it reads, or only counts if it may not append.
fn worker() {
    let (log, mut parent) = shmlog::inherited().unwrap();
    assert!(matches!(shmlog::inherited(), Err(PassError::NotInherited { .. })), "once per process");
    let mut reader = log.reader_builder().gated(true).start(Start::First).unwrap();
    parent.write_all(b"!").unwrap();
    let mut read = 0;
    loop {
        match reader.next_timeout(common::PATIENCE) {
            Ok(record) => assert_eq!(record.unwrap().seq(), read),
            Err(ReadError::Closed) => break,
            Err(error) => panic!("{error}"),
        }
        read += 1;
    }
    assert_eq!(matches!(log.appender(), Err(JoinError::ReadOnly)), setting::<String>("SHMLOG_TEST_ACCESS") == "Read");
    assert_eq!(read, setting::<u64>("SHMLOG_TEST_COUNT"));
}

#[test]
fn workers_inherit_the_log() {
    for access in [Access::Append, Access::Read] {
        let log = small();
        let mut command = child("worker");
        command.env("SHMLOG_TEST_ACCESS", format!("{access:?}")).env("SHMLOG_TEST_COUNT", "500");
        let mut workers: Vec<_> = (0..2).map(|_| log.spawn(&mut command, access).unwrap()).collect();
        for worker in &mut workers {
            worker.wait_attached(common::PATIENCE).unwrap();
            worker.socket.read_exact(&mut [0]).unwrap();
        }
        let mut appender = log.appender().unwrap();
        for _ in 0..500 {
            appender.append_wait(b"x", common::PATIENCE).unwrap();
        }
        appender.close().unwrap();
        for worker in workers {
            succeed(worker.child);
        }
    }
    assert!(matches!(shmlog::inherited(), Err(PassError::NotInherited { .. })));
    let missing = small().spawn(&mut Command::new("/nonexistent/program"), Access::Read);
    assert!(matches!(missing, Err(PassError::Os { .. })));
}

/// Attaches, and ends when its parent says so, or is gone.
fn idle() {
    let (_log, mut parent) = shmlog::inherited().unwrap();
    let _ = parent.read(&mut [0]);
}

/// A `Command` kept the worker's end of the socket open for as long as it lived, and passed it on to every other
/// worker that it started: a worker's death was not seen as the end of its socket.
#[test]
fn a_dead_worker_is_seen_at_the_end_of_its_socket() {
    let log = small();
    let mut dies = Command::new("false");
    let worker = log.spawn(&mut dies, Access::Read).unwrap();
    let started = Instant::now();
    assert!(matches!(worker.wait_attached(Duration::from_secs(20)), Err(PassError::Gone)));
    assert!(started.elapsed() < Duration::from_secs(19));
    finish(worker.child, common::PATIENCE);

    let mut command = child("idle");
    let mut first = log.spawn(&mut command, Access::Read).unwrap();
    let second = log.spawn(&mut command, Access::Read).unwrap();
    first.wait_attached(common::PATIENCE).unwrap();
    second.wait_attached(common::PATIENCE).unwrap();
    first.socket.write_all(b"!").unwrap();
    succeed(first.child);
    first.socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    assert_eq!(first.socket.read(&mut [0]).unwrap(), 0, "the second one does not hold it open");
    drop(second.socket);
    succeed(second.child);
}

#[test]
fn a_silent_peer_and_a_gone_one_are_told_apart() {
    let log = small();
    let (ours, theirs) = UnixStream::pair().unwrap();
    drop(theirs);
    assert!(matches!(log.send(&ours, Access::Read), Err(PassError::Os { .. } | PassError::Gone)));
    assert!(matches!(Log::receive(&ours), Err(PassError::Gone)));
    let worker = log.spawn(&mut child("idle"), Access::Read).unwrap();
    worker.wait_attached(common::PATIENCE).unwrap();
    worker.wait_attached(Duration::ZERO).expect("it has answered already, and that is remembered");
    let mut mute = log.spawn(Command::new("cat").stdin(Stdio::piped()), Access::Read).unwrap();
    let silent = mute.wait_attached(Duration::from_millis(10));
    assert!(matches!(silent, Err(PassError::Timeout { waited_ms: 10.. })), "{silent:?}");
    drop(mute.child.stdin.take());
    succeed(mute.child);
    drop(worker.socket);
    succeed(worker.child);
    assert!(matches!(Log::receive(File::open("/dev/null").unwrap()), Err(PassError::Os { .. })));
}

#[test]
fn garbage_is_not_an_offer() {
    let (real, fds) = offer(&small(), Access::Append);
    let fds: Vec<_> = fds.iter().map(AsFd::as_fd).collect();
    assert_eq!(fds.len(), 3);
    let log = receive(&real, &fds);
    assert!(log.is_ok(), "the real one is: {log:?}");
    for len in [1, 8, real.len() - 1] {
        assert!(matches!(receive(&real[..len], &fds), Err(PassError::Foreign { .. })), "{len} bytes");
    }
    assert!(matches!(receive(&vec![0; real.len()], &fds), Err(PassError::Foreign { .. })));
    assert!(matches!(receive(&vec![0xFF; 4096], &[]), Err(PassError::Foreign { .. })));
    // Each field: 8 magic, 4 protocol, 4 kind, 4 access, 4 format, 16 id, 4 x 8 geometry.
    for at in 0..real.len() {
        let mut bent = real.clone();
        bent[at] ^= 0x40;
        let refused = receive(&bent, &fds).map(drop);
        match at {
            8..12 => assert!(matches!(refused, Err(PassError::Version { ours: 1, .. })), "{at}: {refused:?}"),
            0..20 => assert!(matches!(refused, Err(PassError::Foreign { .. })), "{at}: {refused:?}"),
            // The format is the region's own affair.
            20..24 => {}
            _ => assert!(matches!(refused, Err(PassError::Mismatch { .. })), "{at}: {refused:?}"),
        }
    }
}

#[test]
fn the_descriptors_must_be_the_ones_offered() {
    let (log, other) = (small(), small());
    let (append, fds) = offer(&log, Access::Append);
    let (_, others) = offer(&other, Access::Append);
    let [region, board, lock] = [fds[0].as_fd(), fds[1].as_fd(), fds[2].as_fd()];
    let (read, read_fds) = offer(&log, Access::Read);
    let reading = read_fds[0].as_fd();
    for wrong in [&[][..], &[region], &[region, board], &[region, board, lock, lock]] {
        assert!(matches!(receive(&append, wrong), Err(PassError::Foreign { .. })), "{wrong:?}");
    }
    let many = [region, board, lock, lock, lock, lock];
    assert!(matches!(receive(&append, &many), Err(PassError::Os { .. } | PassError::Foreign { .. })));
    assert!(matches!(receive(&read, &[region, board, lock]), Err(PassError::Foreign { .. })), "a lock to a reader");
    let paired = receive(&append, &[region, others[1].as_fd(), lock]);
    assert!(matches!(paired, Err(PassError::Attach(AttachError::OtherLog))), "{paired:?}");
    let swapped = receive(&append, &[board, region, lock]);
    assert!(matches!(swapped, Err(PassError::Attach(AttachError::Foreign { what: "log" }))), "{swapped:?}");
    let twice = receive(&append, &[region, region, lock]);
    assert!(matches!(twice, Err(PassError::Attach(AttachError::Foreign { what: "board" }))), "{twice:?}");
    let another = receive(&append, &[others[0].as_fd(), others[1].as_fd(), lock]);
    assert!(matches!(another, Err(PassError::Mismatch { field: "id" })), "{another:?}");
    assert!(matches!(receive(&append, &[reading, board, lock]), Err(PassError::Attach(AttachError::Os { .. }))));
    let null = File::open("/dev/null").unwrap();
    assert!(receive(&append, &[null.as_fd(), board, lock]).is_err());
    let socket = UnixStream::pair().unwrap().0;
    assert!(receive(&append, &[socket.as_fd(), board, lock]).is_err());
}

/// A memfd with the bytes of `log`, changed by `change`.
fn forged(log: BorrowedFd<'_>, seals: &[FileSeal], change: impl FnOnce(&mut Vec<u8>)) -> File {
    let log = File::from(fcntl_dupfd_cloexec(log, 0).unwrap());
    let mut bytes = vec![0; log.metadata().unwrap().len().try_into().unwrap()];
    log.read_exact_at(&mut bytes, 0).unwrap();
    change(&mut bytes);
    let memfd = MemfdOptions::new().allow_sealing(true).create("forged").unwrap();
    memfd.as_file().write_all_at(&bytes, 0).unwrap();
    memfd.add_seals(seals).unwrap();
    memfd.into_file()
}

#[test]
fn regions_that_could_shrink_or_are_something_else_are_refused() {
    let log = small();
    let (append, fds) = offer(&log, Access::Append);
    let [region, board, lock] = [fds[0].as_fd(), fds[1].as_fd(), fds[2].as_fd()];
    let refusal = |forged: File| match receive(&append, &[forged.as_fd(), board, lock]).unwrap_err() {
        PassError::Attach(error) => error,
        error => panic!("{error}"),
    };
    const BOTH: &[FileSeal] = &[FileSeal::SealShrink, FileSeal::SealGrow];
    for seals in [&[][..], &[FileSeal::SealShrink], &[FileSeal::SealGrow]] {
        let loose = refusal(forged(region, seals, |_| {}));
        assert!(matches!(loose, AttachError::NotSealed { what: "log" }), "{seals:?}: {loose}");
    }
    let loose = forged(board, &[], |_| {});
    let refused = receive(&append, &[region, loose.as_fd(), lock]).unwrap_err();
    assert!(matches!(refused, PassError::Attach(AttachError::NotSealed { what: "board" })));
    // A faithful copy is as good, as far as anybody can tell.
    let copy = forged(region, BOTH, |_| {});
    receive(&append, &[copy.as_fd(), board, lock]).unwrap();

    for len in [0, 1, 4095, 4096, 8192, 12_288, 65_537] {
        let short = refusal(forged(region, BOTH, |bytes| bytes.truncate(len)));
        assert!(matches!(short, AttachError::WrongSize { what: "log", .. }), "{len}: {short}");
    }
    let long = refusal(forged(region, BOTH, |bytes| bytes.resize(bytes.len() + 4096, 0)));
    assert!(matches!(long, AttachError::WrongSize { .. }));
    assert!(matches!(refusal(forged(region, BOTH, |bytes| bytes.fill(0))), AttachError::Foreign { what: "log" }));
    let newer = refusal(forged(region, BOTH, |bytes| bytes[8] += 1));
    assert!(matches!(newer, AttachError::NewerFormat { what: "log", found: 2, known: 1 }));
    let damaged = refusal(forged(region, BOTH, |bytes| bytes[48..56].fill(0)));
    assert!(matches!(damaged, AttachError::Damaged(bad) if bad.field == "windows"));

    let short = forged(board, BOTH, |bytes| bytes.truncate(8192));
    let refused = receive(&append, &[region, short.as_fd(), lock]).unwrap_err();
    assert!(matches!(refused, PassError::Attach(AttachError::WrongSize { what: "board", .. })), "{refused}");
}

#[test]
fn the_sender_learns_the_receivers_reason() {
    let log = small();
    let worker = log.spawn(&mut Command::new("true"), Access::Read).unwrap();
    assert!(matches!(worker.wait_attached(common::PATIENCE), Err(PassError::Gone)));
    finish(worker.child, common::PATIENCE);

    type Expected = fn(&PassError) -> bool;
    let answers: [(&[u8], Expected); 3] = [
        (b"", |error| matches!(error, PassError::Gone)),
        (b"hello", |error| matches!(error, PassError::Foreign { .. })),
        (b"SHMANSWR\x01\0\0\0\x04\0\0\0................", |error| {
            matches!(error, PassError::Refused { reason: "not sealed" })
        }),
    ];
    for (answer, expected) in answers {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        theirs.write_all(answer).unwrap();
        theirs.shutdown(std::net::Shutdown::Write).unwrap();
        let refused = log.send(ours, Access::Read).unwrap_err();
        assert!(expected(&refused), "{refused:?}");
    }
}

/// What was sent shared the sender's open file description: what its receiver locked stayed locked after its
/// death, for as long as the sender lived.
#[test]
fn what_a_receiver_locked_is_free_when_it_is_gone() {
    use nix::fcntl::{FcntlArg, fcntl};
    let log = small();
    let (_, fds) = offer(&log, Access::Append);
    let kind = nix::libc::F_WRLCK.try_into().unwrap();
    let whole = nix::libc::flock { l_type: kind, l_whence: 0, l_start: 0, l_len: 0, l_pid: 0 };
    for fd in &fds[1..] {
        fcntl(fd, FcntlArg::F_OFD_SETLK(&whole)).unwrap();
    }
    assert!(matches!(log.exclusive(), Err(JoinError::ExclusiveAttached)));
    drop(fds);
    drop(common::eventually(|| log.exclusive()));
    drop(common::eventually(|| log.reader_builder().gated(true).start(Start::End)));
}
