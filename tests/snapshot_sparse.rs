//! Memory that is taken as it is used: how much that is, and what happens when there is none.

mod common;

use common::{Ground, number_of, skip, value};
use shmlog::{Access, CreateError, PublishError, Snapshot, SnapshotBuilder};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;

fn sparse(capacity_bytes: u64) -> SnapshotBuilder {
    Snapshot::builder().capacity_bytes(capacity_bytes).sparse(true)
}

/// The file behind an anonymous snapshot of this name.
fn memfd(name: &str) -> PathBuf {
    let is_it = |path: &PathBuf| {
        let target = fs::read_link(path).unwrap_or_default().to_string_lossy().into_owned();
        target.contains(&format!("memfd:shmlog:{name}")) && target.contains("snapshot")
    };
    fs::read_dir("/proc/self/fd").unwrap().map(|entry| entry.unwrap().path()).find(is_it).expect("its descriptor")
}

/// Bytes of memory or disk that a file takes.
fn taken(path: &Path) -> u64 {
    fs::metadata(path).unwrap().blocks() * 512
}

#[test]
fn hundreds_of_gigabytes_cost_what_is_used() {
    let snapshot = sparse(300 << 30).create_memfd("three-hundred").unwrap();
    let file = memfd("three-hundred");
    let info = snapshot.info();
    assert_eq!((info.capacity_bytes, info.is_sparse, info.is_fixed), (300 << 30, true, false));
    assert!(info.region_bytes > 4 * (300 << 30));
    let empty = taken(&file);
    assert!(empty <= 64 << 10, "{empty} bytes before anything is published");
    let (mut writer, mut reader) = (snapshot.writer().unwrap(), snapshot.reader().unwrap());
    for number in 0..20 {
        writer.publish_bytes(&value(number, 1 << 20)).unwrap();
        let loaded = reader.load_bytes().unwrap().unwrap();
        assert_eq!((loaded.value.len(), number_of(&loaded.value)), (1 << 20, Some(number)));
        assert_eq!(number_of(&reader.pin().unwrap().unwrap().to_vec()), Some(number));
    }
    let used = taken(&file) - empty;
    assert!(used <= 4 * ((1 << 20) + 8192), "{used} bytes for four buffers of 1 MiB");
    assert!(matches!(writer.publish_bytes(&[]), Ok(21)));
    assert_eq!(reader.load_bytes().unwrap().unwrap().value, b"");
}

#[test]
fn values_grow_and_shrink_on_every_backing() {
    for ground in Ground::all() {
        if ground.name().contains("huge") {
            let refused = ground.try_snapshot(&sparse(1 << 30), "huge").unwrap_err();
            assert!(matches!(refused, CreateError::Geometry(_)), "{refused}");
            continue;
        }
        for buffers in [2, 5] {
            let builder = sparse(1 << 32).slots(3).buffers(buffers);
            let snapshot = ground.create_snapshot(&builder, &format!("grow-{buffers}")).unwrap();
            grow(&snapshot, ground.name());
        }
    }
}

fn grow(snapshot: &Snapshot, what: &str) {
    let mut readers = [0, 1, 2].map(|slot| snapshot.reader_of(slot).unwrap());
    let mut number = 0;
    for len in [8, 4080, 4088, 8192, 100_000, 300_000, 16, 4096, 600_000, 0, 8].repeat(2) {
        // Every so often the next writer, who has to find out what there is.
        let mut writer = snapshot.writer().unwrap();
        for slot in [0, 1, 2, 2] {
            number += 1;
            writer.slot(slot).unwrap().publish_bytes(&value(number, len)).unwrap();
            let mut late = snapshot.reader_of(slot).unwrap();
            for reader in [&mut readers[slot], &mut late] {
                assert_eq!(reader.load_bytes().unwrap().unwrap().value, value(number, len), "{what}");
                assert_eq!(reader.pin().unwrap().unwrap().len(), len);
            }
        }
    }
}

/// Memory that is allocated but was never written to counts as a hole (SEEK_HOLE), and readers took it for damage: an
/// empty snapshot could not be read, nor a value whose author had left parts of it as they were.
#[test]
fn what_was_never_written_is_no_damage() {
    const LEN: usize = 100_000;
    for ground in Ground::all().iter().filter(|ground| !ground.name().contains("huge")) {
        let snapshot = ground.create_snapshot(&sparse(1 << 32).slots(5), "untouched").unwrap();
        for slot in 0..5 {
            assert!(snapshot.reader_of(slot).unwrap().load_bytes().unwrap().is_none(), "{}", ground.name());
        }
        assert_eq!(snapshot.info().slots.len(), 5);
        let mut writer = snapshot.writer().unwrap();
        for number in 0..6 {
            writer.first().publish_with(LEN, |draft| assert_eq!(draft.write(LEN - 8, &value(number, 8)), 8)).unwrap();
            for reader in [snapshot.reader(), snapshot.clone().reader()] {
                let bytes = reader.unwrap().load_bytes().unwrap().unwrap().value;
                assert_eq!(bytes.split_last_chunk::<8>().unwrap(), (&[0; LEN - 8][..], &number.to_le_bytes()));
            }
        }
    }
}

/// A tmpfs of this size, unmounted in the end; `None`, with a word on it, where that can't be.
struct Mounted(tempfile::TempDir);

impl Mounted {
    fn new(bytes: u64) -> Option<Self> {
        let dir = tempfile::tempdir().unwrap();
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &format!("size={bytes}"), "none"]).arg(dir.path());
        if !common::is_root() || !mount.status().is_ok_and(|status| status.success()) {
            skip("a full file system", "mounting a small tmpfs takes root");
            return None;
        }
        Some(Self(dir))
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.0.path()).status();
    }
}

#[test]
fn where_memory_runs_out_the_old_value_stays_and_the_next_one_finds_room() {
    let Some(mounted) = Mounted::new(4 << 20) else { return };
    let (path, ballast) = (mounted.0.path().join("full"), mounted.0.path().join("ballast"));
    let snapshot = sparse(1 << 34).create_at(&path).unwrap();
    let (mut writer, mut reader) = (snapshot.writer().unwrap(), snapshot.reader().unwrap());
    let mut check = |number: u64| {
        for reader in [&mut reader, &mut Snapshot::open(&path, Access::Read).unwrap().reader().unwrap()] {
            assert_eq!(number_of(&reader.load_bytes().unwrap().unwrap().value), Some(number));
            assert_eq!(number_of(&reader.pin().unwrap().unwrap().to_vec()), Some(number));
        }
    };
    writer.publish_bytes(&value(1, 256 << 10)).unwrap();
    for _ in 0..5 {
        let error = writer.publish_bytes(&value(2, 8 << 20)).unwrap_err();
        assert!(matches!(error, PublishError::NoSpace { wanted_bytes } if wanted_bytes > 7 << 20), "{error}");
        check(1);
    }
    fs::write(&ballast, vec![7; 2 << 20]).unwrap();
    let mut number = 2;
    // What there is room for goes on, in whatever buffer.
    for _ in 0..10 {
        writer.publish_bytes(&value(number, 256 << 10)).unwrap();
        check(number);
        number += 1;
    }
    assert!(matches!(writer.publish_bytes(&value(0, 2 << 20)), Err(PublishError::NoSpace { .. })));
    check(number - 1);
    // The next writer is no better off, until there is room.
    drop(writer);
    let mut writer = snapshot.writer().unwrap();
    assert!(matches!(writer.publish_bytes(&value(0, 2 << 20)), Err(PublishError::NoSpace { .. })));
    fs::remove_file(ballast).unwrap();
    writer.publish_bytes(&value(number, 2 << 20)).unwrap();
    check(number);
}

#[test]
fn a_snapshot_that_does_not_fit_leaves_nothing_behind() {
    let Some(mounted) = Mounted::new(1 << 20) else { return };
    for builder in [Snapshot::builder().capacity_bytes(2 << 20), sparse(8192).slots(1000)] {
        let made = builder.create_at(mounted.0.path().join("large"));
        assert!(matches!(made, Err(CreateError::NoSpace { .. })), "{made:?}");
        assert_eq!(fs::read_dir(mounted.0.path()).unwrap().count(), 0);
    }
}
