//! The conformance cases of mmap-sync (cloudflare/mmap-sync), and regressions for its faults, by our calls.

mod common;

use common::{PATIENCE, is_long, number_of, setting, start, succeed, to_parent, value};
use proptest::prelude::*;
use shmlog::{Access, AttachError, JoinError, LoadError, PublishError, Snapshot, SnapshotBuilder};
use std::fs::Permissions;
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

#[test]
fn child_entry() {
    common::enter(&[("reader", reader), ("pinner", pinner)]);
}

fn builder() -> SnapshotBuilder {
    Snapshot::builder().capacity_bytes(64 << 10)
}

/// `read` before the first `write` is an error there, and makes no file.
#[test]
fn reading_before_the_first_write_is_nothing_and_creates_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("map");
    for _ in 0..2 {
        assert!(matches!(Snapshot::open(&path, Access::Read), Err(AttachError::NotFound { .. })));
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    }
    let snapshot = builder().create_at(&path).unwrap();
    assert!(Snapshot::open(&path, Access::Read).unwrap().reader().unwrap().load::<u64>().unwrap().is_none());
    snapshot.writer().unwrap().publish(&1_u64).unwrap();
    assert_eq!(*Snapshot::open(&path, Access::Read).unwrap().reader().unwrap().load::<u64>().unwrap().unwrap(), 1);
}

/// `is_switched` is true after the first read of a value, then false.
#[test]
fn switched_is_true_once() {
    let snapshot = builder().create_memfd("switched").unwrap();
    let (mut writer, mut reader) = (snapshot.writer().unwrap(), snapshot.reader().unwrap());
    let mut late = snapshot.reader().unwrap();
    let mut seen = 0;
    for number in 1..10_u64 {
        assert!(!reader.changed_since(seen));
        writer.publish(&number).unwrap();
        assert!(reader.changed_since(seen));
        let loaded = reader.load_newer::<u64>().unwrap().unwrap();
        assert!(loaded.value == number && loaded.version > seen);
        seen = loaded.version;
        assert!(!reader.changed_since(seen) && reader.load_newer::<u64>().unwrap().is_none());
        assert_eq!(*reader.load::<u64>().unwrap().unwrap(), number, "which stays");
    }
    assert_eq!(*late.load_newer::<u64>().unwrap().unwrap(), 9, "each reader for itself");
}

#[test]
fn of_two_writes_without_a_read_the_second_is_read() {
    let snapshot = builder().create_memfd("twice").unwrap();
    let (mut writer, mut reader) = (snapshot.writer().unwrap(), snapshot.reader().unwrap());
    for number in 0..100_u64 {
        writer.publish(&(2 * number)).unwrap();
        writer.publish(&(2 * number + 1)).unwrap();
        assert_eq!(*reader.load_newer::<u64>().unwrap().unwrap(), 2 * number + 1);
        assert!(reader.load_newer::<u64>().unwrap().is_none());
    }
}

/// There the file of a value grows with it.
#[test]
fn a_value_may_grow() {
    let dir = tempfile::tempdir().unwrap();
    for (name, builder) in [("plain", builder()), ("sparse", builder().sparse(true).capacity_bytes(549_755_813_887))] {
        let path = dir.path().join(name);
        let snapshot = builder.create_at(&path).unwrap();
        let mut reader = Snapshot::open(&path, Access::Read).unwrap().reader().unwrap();
        for power in 0..17 {
            let bytes = value(power, 1 << power);
            // A writer for each, as processes come and go.
            snapshot.writer().unwrap().publish_bytes(&bytes).unwrap();
            assert_eq!(reader.load_bytes().unwrap().unwrap().value, bytes);
        }
    }
}

#[test]
fn a_second_writer_is_refused_until_the_first_is_gone() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("map");
    let first = builder().create_at(&path).unwrap();
    let second = Snapshot::open(&path, Access::Append).unwrap();
    let mut writer = first.writer().unwrap();
    writer.publish(&1_u64).unwrap();
    assert!(matches!(second.writer(), Err(JoinError::WriterAttached)));
    writer.publish(&2_u64).unwrap();
    drop(writer);
    let mut writer = second.writer().unwrap();
    assert!(matches!(first.writer(), Err(JoinError::WriterAttached)));
    writer.publish(&3_u64).unwrap();
    assert_eq!(*first.reader().unwrap().load::<u64>().unwrap().unwrap(), 3);
}

/// Loads and checks until its parent closes the socket.
fn reader() {
    let parent = to_parent();
    let snapshot = Snapshot::receive(&parent).unwrap();
    let mut reader = snapshot.reader().unwrap();
    parent.set_nonblocking(true).unwrap();
    let (mut bytes, mut newest) = (Vec::new(), 0);
    (&parent).write_all(b"!").unwrap();
    while !matches!((&parent).read(&mut [0]), Ok(0)) {
        for _ in 0..100 {
            let Some(stamp) = reader.load_into(&mut bytes).unwrap() else { continue };
            let number = number_of(&bytes).unwrap_or_else(|| panic!("version {} is torn", stamp.version));
            assert!(number >= newest, "{number} after {newest}");
            newest = number;
        }
    }
    assert!(newest > 0);
}

/// R: of 138 million reads 166 were torn, inside its contract: the version was not looked at again after the reader had
/// been counted.
#[test]
fn no_read_is_torn() {
    for buffers in [2, 4] {
        let snapshot = builder().buffers(buffers).create_memfd("torn").unwrap();
        let readers: Vec<_> = (0..2)
            .map(|_| {
                let (child, mut socket) = start(common::child("reader"));
                snapshot.send(&socket, Access::Read).unwrap();
                socket.read_exact(&mut [0]).unwrap();
                (child, socket)
            })
            .collect();
        let mut writer = snapshot.writer().unwrap();
        for number in 1..if is_long() { 3_000_000 } else { 10_000 } {
            let len = 8 << (number % 8);
            writer.publish_bytes(&value(number, len)).unwrap();
        }
        for (child, socket) in readers {
            drop(socket);
            succeed(child);
        }
    }
}

/// Pins, says so and stays.
fn pinner() {
    let mut parent = to_parent();
    let snapshot = Snapshot::receive(&parent).unwrap();
    let mut reader = snapshot.reader().unwrap();
    let pinned = reader.pin().unwrap().unwrap();
    assert_eq!(number_of(&pinned.to_vec()), Some(setting("SHMLOG_TEST_NUMBER")));
    parent.write_all(b"!").unwrap();
    let _ = parent.read(&mut [0]);
    panic!("it should have been killed");
}

/// R: one dead reader made a write with 10 ms of grace take a second. Here it holds nobody up, and where a living one
/// does, the writer is told who it is.
#[test]
fn a_dead_reader_stalls_no_writer() {
    let snapshot = builder().buffers(2).create_memfd("dead").unwrap();
    let mut writer = snapshot.writer().unwrap();
    let mut longest = Duration::ZERO;
    for number in 0..10 {
        writer.set_patience(Duration::ZERO);
        writer.publish_bytes(&value(number, 64)).unwrap();
        let mut command = common::child("pinner");
        command.env("SHMLOG_TEST_NUMBER", number.to_string());
        let (mut child, mut socket) = start(command);
        snapshot.send(&socket, Access::Read).unwrap();
        socket.read_exact(&mut [0]).unwrap();
        writer.publish_bytes(&value(number, 64)).unwrap();
        let PublishError::Busy { by } = writer.publish_bytes(&value(number, 64)).unwrap_err() else { panic!("busy") };
        assert_eq!(by.pid, u64::from(child.id()));
        child.kill().unwrap();
        child.wait().unwrap();
        let started = Instant::now();
        writer.publish_bytes(&value(number, 64)).expect("without any patience");
        longest = longest.max(started.elapsed());
    }
    eprintln!("publishing past a dead reader took {longest:.1?} at most");
}

/// R: after the grace period a slow reader's data changed under it, and its end made the count underflow.
#[test]
fn a_slow_reader_keeps_its_data_while_the_writer_goes_on() {
    let snapshot = builder().buffers(3).create_memfd("slow").unwrap();
    let (mut writer, mut slow, mut fast) =
        (snapshot.writer().unwrap(), snapshot.reader().unwrap(), snapshot.reader().unwrap());
    writer.set_patience(Duration::ZERO);
    for round in 1..10 {
        writer.publish_bytes(&value(round, 1 << 10)).unwrap();
        let pinned = slow.pin().unwrap().unwrap();
        for number in 100..1100 {
            writer.publish_bytes(&value(number, 1 << 10)).unwrap();
            assert_eq!(number_of(&fast.load_bytes().unwrap().unwrap().value), Some(number));
            assert_eq!(number_of(&pinned.to_vec()), Some(round));
        }
    }
}

/// R: a write that failed poisoned the handle.
#[test]
fn a_write_that_failed_is_followed_by_others() {
    let snapshot = builder().create_memfd("failed").unwrap();
    let (mut writer, mut reader) = (snapshot.writer().unwrap(), snapshot.reader().unwrap());
    for number in 0..100_u64 {
        assert!(matches!(writer.publish_bytes(&[0; (64 << 10) + 1]), Err(PublishError::TooLarge { .. })));
        writer.publish(&number).unwrap();
        assert!(matches!(reader.load::<u8>(), Err(LoadError::WrongLength { .. })));
        assert_eq!(*reader.load_newer::<u64>().unwrap().unwrap(), number);
    }
}

/// R: readers need write access there. A mapping that can't be written to suffices, of a file that can't be either.
#[test]
fn readers_need_no_write_access() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("map");
    let snapshot = builder().create_at(&path).unwrap();
    let mut writer = snapshot.writer().unwrap();
    for name in ["snapshot", "pins", "writers"] {
        std::fs::set_permissions(path.join(name), Permissions::from_mode(0o444)).unwrap();
    }
    let observed = Snapshot::open(&path, Access::Observe).unwrap();
    let mut reader = observed.reader().unwrap();
    for number in 0..100_u64 {
        let version = writer.publish(&number).unwrap();
        assert!(reader.wait_newer(version - 1, PATIENCE));
        assert_eq!(*reader.load_newer::<u64>().unwrap().unwrap(), number);
    }
    assert!(matches!(reader.pin(), Err(LoadError::NoSeat(JoinError::Observing))));
    assert!(matches!(observed.writer(), Err(JoinError::ReadOnly)));
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
    let ours = maps.lines().filter(|line| line.contains(path.join("snapshot").to_str().unwrap()));
    assert_eq!(ours.filter(|line| line.contains(" r--s ")).count(), 1, "{maps}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    /// Its word packs version, buffer and size. Here the version tells the buffer: whatever their number and the
    /// lengths, versions grow by one, and each brings its own value, also across writers.
    #[test]
    fn a_version_tells_its_value(
        buffers in 2..=64_u64,
        lengths in prop::collection::vec(0..200_usize, 1..200),
        is_sparse: bool,
    ) {
        let snapshot = builder().buffers(buffers).sparse(is_sparse).create_memfd("packing").unwrap();
        let mut reader = snapshot.reader().unwrap();
        let mut writer = snapshot.writer().unwrap();
        for (number, len) in (1..).zip(lengths) {
            if len == 0 {
                drop(writer);
                writer = snapshot.writer().unwrap();
            }
            let version = writer.first().as_of(number).publish_bytes(&value(number, len)).unwrap();
            prop_assert_eq!(version, number);
            let loaded = reader.load_bytes().unwrap().unwrap();
            prop_assert_eq!((loaded.version, loaded.as_of), (number, Some(number)));
            prop_assert_eq!(loaded.value, value(number, len));
        }
    }
}
