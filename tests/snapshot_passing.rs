//! Snapshots among processes: passing them on, waiting, who may publish, and what is left when all are gone.

mod common;

use common::{PATIENCE, number_of, setting, start, succeed, to_parent, value};
use shmlog::{Access, CreateError, JoinError, LoadError, PassError, Snapshot, SnapshotBuilder, Wait};
use std::fs::File;
use std::io::{Read, Write};
use std::os::unix::fs::FileExt;
use std::os::unix::net::UnixStream;
use std::process::Child;
use std::time::Duration;

#[test]
fn child_entry() {
    common::enter(&[("waiter", waiter), ("author", author), ("owner", owner), ("opener", opener)]);
}

fn small() -> SnapshotBuilder {
    Snapshot::builder().value_bytes(64).buffers(2)
}

/// Sends and receives in one process.
fn pass(snapshot: &Snapshot, access: Access) -> (Result<(), PassError>, Result<Snapshot, PassError>) {
    let (ours, theirs) = UnixStream::pair().unwrap();
    std::thread::scope(|scope| {
        let receiver = scope.spawn(|| Snapshot::receive(theirs));
        let sent = snapshot.send(&ours, access);
        drop(ours);
        (sent, receiver.join().unwrap())
    })
}

#[test]
fn every_access_may_what_it_says() {
    for builder in [small(), small().slots(3).buffers(5), Snapshot::builder().sparse(true).capacity_bytes(1 << 34)] {
        let snapshot = builder.create_memfd("access").unwrap();
        snapshot.writer().unwrap().publish_bytes(&value(5, 64)).unwrap();
        for access in [Access::Append, Access::Own, Access::Read, Access::Observe] {
            let (sent, received) = pass(&snapshot, access);
            sent.unwrap();
            let received = received.unwrap();
            assert_eq!(received.info().id, snapshot.info().id);
            let has_writer = received.info().slots[0].has_writer;
            assert_eq!(has_writer, matches!(access, Access::Append | Access::Own).then_some(false), "{access:?}");
            let mut reader = received.reader().unwrap();
            assert_eq!(number_of(&reader.load_bytes().unwrap().unwrap().value), Some(5));
            let pinned = reader.pin().map(|pinned| number_of(&pinned.unwrap().to_vec()));
            match access {
                Access::Observe => {
                    assert!(matches!(pinned, Err(LoadError::NoSeat(JoinError::Observing))), "{pinned:?}");
                }
                _ => assert_eq!(pinned.unwrap(), Some(5)),
            }
            if matches!(access, Access::Append | Access::Own) {
                received.writer().unwrap().publish_bytes(&value(5, 64)).unwrap();
                continue;
            }
            assert!(matches!(received.writer(), Err(JoinError::ReadOnly)));
            assert!(matches!(received.writer_of(0), Err(JoinError::ReadOnly)));
            assert!(matches!(pass(&received, Access::Append).0, Err(PassError::ReadOnly)));
            // On and on: a reader passes on what it has.
            let third = pass(&received, Access::Observe).1.unwrap();
            assert_eq!(third.reader().unwrap().version(), snapshot.reader().unwrap().version());
        }
    }
}

#[test]
fn a_sealed_snapshot_is_its_makers_alone_to_write() {
    let dir = tempfile::tempdir().unwrap();
    let named = small().write_sealed(true).create_at(dir.path().join("sealed"));
    assert!(matches!(named, Err(CreateError::NoSeals { .. })), "{named:?}");
    let sparse = Snapshot::builder().capacity_bytes(1 << 34).sparse(true);
    for builder in [small(), sparse] {
        let snapshot = builder.write_sealed(true).create_memfd("sealed").unwrap();
        assert!(snapshot.info().is_write_sealed);
        let mut writer = snapshot.writer().unwrap();
        let mut reader = snapshot.reader().unwrap();
        for access in [Access::Append, Access::Own] {
            let (sent, received) = pass(&snapshot, access);
            assert!(matches!(sent, Err(PassError::Sealed)), "{sent:?}");
            assert!(matches!(received, Err(PassError::Gone)), "nothing was sent");
        }
        let received = pass(&snapshot, Access::Read).1.unwrap();
        assert!(received.info().is_write_sealed);
        let mut other = received.reader().unwrap();
        for number in 0..100 {
            let version = writer.publish_bytes(&value(number, 64)).unwrap();
            for reader in [&mut reader, &mut other] {
                assert_eq!(number_of(&reader.load_bytes().unwrap().unwrap().value), Some(number));
                assert_eq!(reader.pin().unwrap().unwrap().version(), version);
            }
        }
    }
}

/// A child in this role that was sent the snapshot.
fn child(role: &str, snapshot: &Snapshot, access: Access, number: usize) -> (Child, UnixStream) {
    let mut command = common::child(role);
    command.env("SHMLOG_TEST_NUMBER", number.to_string());
    let (child, socket) = start(command);
    snapshot.send(&socket, access).unwrap();
    (child, socket)
}

/// Answers each version that it was woken for, until there are no more.
fn waiter() {
    let mut parent = to_parent();
    let snapshot = Snapshot::receive(&parent).unwrap();
    let mut reader = snapshot.reader_of(1).unwrap();
    reader.set_wait([Wait::Block, Wait::SpinThenYield, Wait::Spin][setting::<usize>("SHMLOG_TEST_NUMBER") % 3]);
    let mut seen = 0;
    while seen < 20 {
        assert!(reader.wait_newer(seen, PATIENCE), "not woken for what follows {seen}");
        let loaded = reader.load_newer::<[u64; 8]>().unwrap().unwrap();
        assert!(loaded.version > seen);
        seen = loaded.version;
        parent.write_all(&seen.to_le_bytes()).unwrap();
    }
}

/// The slot is one of many that share a doorbell.
#[test]
fn who_waits_is_woken_in_whatever_process() {
    let snapshot = small().slots(130).create_memfd("waking").unwrap();
    let accesses = [Access::Append, Access::Read, Access::Observe, Access::Read];
    let mut waiters: Vec<_> =
        accesses.iter().enumerate().map(|(number, &access)| child("waiter", &snapshot, access, number)).collect();
    let reader = snapshot.reader_of(1).unwrap();
    let mut writer = snapshot.writer().unwrap();
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| (1..=20).all(|version| reader.wait_newer(version - 1, PATIENCE)));
        for version in 1..=20 {
            for other in [0, 65, 129] {
                writer.slot(other).unwrap().publish_bytes(&value(0, 64)).unwrap();
            }
            assert_eq!(writer.slot(1).unwrap().publish_bytes(&value(version, 64)).unwrap(), version);
            for (_, socket) in &mut waiters {
                let mut answer = [0; 8];
                socket.read_exact(&mut answer).unwrap();
                assert_eq!(u64::from_le_bytes(answer), version);
            }
        }
        assert!(thread.join().unwrap());
    });
    waiters.into_iter().for_each(|(child, _)| succeed(child));
    assert!(!reader.wait_newer(20, Duration::from_millis(1)));
}

/// It is the writer who wakes, not the clock: who has announced on the board that it sleeps finds its doorbell rung
/// when the publication returns.
#[test]
fn the_writer_rings_for_who_sleeps_and_for_nobody_else() {
    const BELL_OF_SLOT_ONE: u64 = 4096 + 128;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("rung");
    let snapshot = small().slots(2).create_at(&path).unwrap();
    let board = File::open(path.join("pins")).unwrap();
    let word = |at: u64| {
        let mut bytes = [0; 4];
        board.read_exact_at(&mut bytes, BELL_OF_SLOT_ONE + at).unwrap();
        u32::from_le_bytes(bytes)
    };
    let (answered, announced, rung) = (|| word(0), || word(4), || word(8));
    let reader = snapshot.reader_of(1).unwrap();
    let mut writer = snapshot.writer_of(1).unwrap();
    for version in 1..=20 {
        let before = rung();
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| reader.wait_newer(version - 1, PATIENCE));
            let started = std::time::Instant::now();
            while announced() == answered() {
                assert!(started.elapsed() < PATIENCE, "it does not sleep");
                std::thread::yield_now();
            }
            assert_eq!(writer.publish_bytes(&value(version, 64)).unwrap(), version);
            assert!(rung() != before, "nobody rang");
            assert!(waiting.join().unwrap());
        });
    }
    // One announcement may still be open, of one who slept again before it saw the last version.
    writer.publish_bytes(&value(0, 64)).unwrap();
    let before = rung();
    for _ in 0..100 {
        writer.publish_bytes(&value(0, 64)).unwrap();
    }
    assert_eq!((rung(), announced()), (before, answered()), "nobody sleeps");
}

const AUTHORS: usize = 4;
const VALUES: u64 = 2000;

/// Publishes to its slot and, when told so, to no other.
fn author() {
    let parent = to_parent();
    let snapshot = Snapshot::receive(&parent).unwrap();
    let own: usize = setting("SHMLOG_TEST_NUMBER");
    let mut writer = snapshot.writer_of(own).unwrap();
    writer.set_name(own, &format!("author {own}")).unwrap();
    for number in 1..=VALUES {
        let slot = writer.first().as_of(number);
        slot.publish_bytes(&value((own as u64) << 32 | number, 64)).unwrap();
        assert!(matches!(snapshot.writer_of(own), Err(JoinError::WriterAttached)) || number % 100 != 0);
    }
    (&parent).write_all(b"!").unwrap();
    let _ = (&parent).read(&mut [0]);
}

#[test]
fn each_slot_can_have_its_writer_in_another_process() {
    let snapshot = small().slots(AUTHORS as u64 + 1).create_memfd("authors").unwrap();
    let mut authors: Vec<_> = (0..AUTHORS).map(|own| child("author", &snapshot, Access::Append, own)).collect();
    let mut readers: Vec<_> = (0..AUTHORS).map(|slot| snapshot.reader_of(slot).unwrap()).collect();
    let mut newest = [0; AUTHORS];
    while newest != [VALUES; AUTHORS] {
        for (slot, reader) in readers.iter_mut().enumerate() {
            let Some(loaded) = reader.load_bytes().unwrap() else { continue };
            let number = number_of(&loaded.value).expect("torn") ^ (slot as u64) << 32;
            assert!(number >= newest[slot] && number <= VALUES, "slot {slot}: {number} after {}", newest[slot]);
            assert_eq!(loaded.as_of, Some(number));
            newest[slot] = number;
        }
    }
    for (own, (child, mut socket)) in authors.drain(..).enumerate() {
        socket.read_exact(&mut [0]).unwrap();
        assert!(matches!(snapshot.writer_of(own), Err(JoinError::WriterAttached)));
        assert!(matches!(snapshot.writer(), Err(JoinError::WriterAttached)));
        assert_eq!(snapshot.find(&format!("author {own}")), Some(own));
        drop(socket);
        succeed(child);
        drop(snapshot.writer_of(own).unwrap());
    }
    drop(snapshot.writer().unwrap());
}

/// Owns all, publishes once, and stays.
fn owner() {
    let mut parent = to_parent();
    let snapshot = Snapshot::receive(&parent).unwrap();
    let mut writer = snapshot.writer().unwrap();
    writer.publish_bytes(&value(setting("SHMLOG_TEST_NUMBER"), 64)).unwrap();
    parent.write_all(b"!").unwrap();
    let _ = parent.read(&mut [0]);
    panic!("it should have been killed");
}

#[test]
fn a_killed_writers_slots_are_free_at_once() {
    let snapshot = small().slots(2).create_memfd("owner").unwrap();
    let mut reader = snapshot.reader().unwrap();
    for number in 0..20 {
        let (mut child, mut socket) = child("owner", &snapshot, Access::Append, number);
        socket.read_exact(&mut [0]).unwrap();
        assert!(matches!(snapshot.writer(), Err(JoinError::WriterAttached)));
        assert!(matches!(snapshot.writer_of(1), Err(JoinError::WriterAttached)));
        assert_eq!(snapshot.info().slots[1].has_writer, Some(true));
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(snapshot.info().slots[1].has_writer, Some(false));
        assert_eq!(number_of(&reader.load_bytes().unwrap().unwrap().value), Some(number as u64));
        snapshot.writer().unwrap().publish_bytes(&value(99, 64)).unwrap();
    }
}

/// Opens a named snapshot, checks what the one before left, leaves something.
fn opener() {
    let path: String = setting("SHMLOG_TEST_PATH");
    let number: u64 = setting("SHMLOG_TEST_NUMBER");
    let snapshot = Snapshot::open(path, Access::Append).unwrap();
    let mut writer = snapshot.writer().unwrap();
    let mut reader = snapshot.reader_of(1).unwrap();
    let before = reader.load_bytes().unwrap();
    assert_eq!(before.as_ref().map(|loaded| number_of(&loaded.value).unwrap()), (number > 0).then(|| number - 1));
    assert_eq!(before.as_ref().and_then(|loaded| loaded.as_of), (number > 0).then(|| number - 1));
    let version = writer.slot(1).unwrap().as_of(number).publish_bytes(&value(number, 8 << number)).unwrap();
    assert!(version > before.map_or(0, |loaded| loaded.version));
    reader.pin().unwrap();
    // It ends without dropping anything.
    std::process::exit(0);
}

#[test]
fn a_named_snapshot_outlives_its_processes() {
    let dirs = [Some(std::env::temp_dir()), common::mounted("tmpfs")];
    for (dir, is_sparse) in dirs.into_iter().flatten().flat_map(|dir| [(dir.clone(), false), (dir, true)]) {
        let dir = tempfile::tempdir_in(dir).unwrap();
        let path = dir.path().join("named");
        let builder = Snapshot::builder().slots(2).capacity_bytes(8 << 12).sparse(is_sparse);
        drop(builder.create_at(&path).unwrap());
        for number in 0..12 {
            let mut command = common::child("opener");
            command.env("SHMLOG_TEST_PATH", &path).env("SHMLOG_TEST_NUMBER", number.to_string());
            succeed(command.spawn().unwrap());
        }
        for (access, path) in [(Access::Read, path.clone()), (Access::Observe, path.join("snapshot"))] {
            let snapshot = Snapshot::open(path, access).unwrap();
            let loaded = snapshot.reader_of(1).unwrap().load_bytes().unwrap().unwrap();
            assert_eq!((loaded.value.len(), number_of(&loaded.value), loaded.as_of), (8 << 11, Some(11), Some(11)));
            assert!(snapshot.reader().unwrap().load_bytes().unwrap().is_none());
        }
        Snapshot::remove(&path).unwrap();
        assert!(!path.exists());
    }
}
