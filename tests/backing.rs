//! Where the bytes are: memfd, huge pages, files; names that exist; no room.

mod common;

use common::{Ground, free_huge_pages, is_root, payload, skip};
use shmlog::{
    Access, Arena, AttachError, Backing, CreateError, Fencing, HugePageSize, HugePages, Log, Retention, Start,
};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::sync::Barrier;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::thread;

#[test]
fn every_backing_holds_a_log() {
    let builder = Log::builder().windows(3).window_bytes(128 << 10).record_bytes(100);
    for ground in Ground::all() {
        let Some(log) = ground.create(&builder, "every") else { continue };
        let info = log.info();
        let expected = match &ground {
            Ground::Memfd => Backing::Memfd,
            Ground::MemfdHuge => Backing::MemfdHuge { page_bytes: 2 << 20 },
            Ground::In { what: "hugetlbfs file", .. } => Backing::HugetlbfsFile { page_bytes: 2 << 20 },
            Ground::In { .. } => Backing::File,
        };
        assert_eq!(info.backing, expected);
        assert_eq!((info.windows, info.window_bytes, info.retention), (3, 128 << 10, Retention::Gated));
        assert!(info.region_bytes >= 3 * (128 << 10));
        assert_eq!(info.seals.is_empty(), matches!(ground, Ground::In { .. }), "files can't be sealed");
        let mut reader = log.reader_builder().gated(true).start(Start::First).unwrap();
        let mut appender = log.appender().unwrap();
        for number in 0..5000 {
            let bytes = payload(3, number, 100);
            assert_eq!(appender.append(&bytes).unwrap(), number);
            assert_eq!(reader.try_next().unwrap().unwrap().to_vec().unwrap(), bytes);
        }
        assert!(log.info().active > 3);
    }
}

#[test]
fn a_named_log_is_what_it_was_for_whoever_opens_it() {
    for ground in Ground::all() {
        let Ground::In { dir, .. } = &ground else { continue };
        let path = dir.path().join("a name");
        let Some(log) = ground.create(&Log::builder().windows(2).fencing(Fencing::Portable), "a name") else {
            continue;
        };
        log.appender().unwrap().append(b"kept").unwrap();
        let before = log.info();
        drop(log);
        for (path, access) in [(path.clone(), Access::Append), (path.join("log"), Access::Read)] {
            let log = Log::open(&path, access).unwrap();
            assert_eq!(log.info(), before);
            assert_eq!(log.reader(Start::First).unwrap().try_next().unwrap().unwrap().to_vec().unwrap(), b"kept");
        }
        assert_eq!(before.name, "a name");
        assert_eq!(names(dir.path()), ["a name"], "nothing else is left there");
        Log::remove(&path).unwrap();
        assert!(names(dir.path()).is_empty());
        assert!(Log::remove(&path).is_err());
        assert!(matches!(Log::open(&path, Access::Read), Err(AttachError::NotFound { .. })));
    }
}

fn names(dir: &Path) -> Vec<String> {
    fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

/// FRAL re-creates, and orphans whoever lives in the old one.
#[test]
fn an_existing_name_is_refused_and_its_users_stay_together() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("log");
    let log = Log::builder().create_at(&path).unwrap();
    assert!(matches!(Log::builder().create_at(&path), Err(CreateError::Exists { path: at }) if at == path));
    for occupied in ["empty directory", "file", "dangling link"] {
        let path = dir.path().join(occupied);
        match occupied {
            "empty directory" => fs::create_dir(&path).unwrap(),
            "file" => fs::write(&path, "mine").unwrap(),
            _ => std::os::unix::fs::symlink("nowhere", &path).unwrap(),
        }
        assert!(matches!(Log::builder().create_at(&path), Err(CreateError::Exists { .. })), "{occupied}");
        assert!(path.symlink_metadata().is_ok());
        assert!(Log::open(&path, Access::Append).is_err());
    }
    let other = Log::open(&path, Access::Append).unwrap();
    other.appender().unwrap().append(b"still together").unwrap();
    assert_eq!(log.reader(Start::First).unwrap().try_next().unwrap().unwrap().to_vec().unwrap(), b"still together");
    assert_eq!(names(dir.path()).len(), 4);
}

#[test]
fn of_many_creators_one_wins_and_nobody_sees_half_a_log() {
    let dir = tempfile::tempdir().unwrap();
    for round in 0..20 {
        let path = dir.path().join(round.to_string());
        let (start, left) = (Barrier::new(5), AtomicUsize::new(4));
        let made: usize = thread::scope(|scope| {
            let create = || {
                start.wait();
                let made = Log::builder().windows(2).window_bytes(64 << 10).create_at(&path);
                left.fetch_sub(1, Relaxed);
                match made {
                    Ok(log) => log.appender().unwrap().append(b"won").map(|_| 1).unwrap(),
                    Err(CreateError::Exists { .. }) => 0,
                    Err(error) => panic!("{error}"),
                }
            };
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(create)).collect();
            start.wait();
            // There, whole, or not at all.
            while left.load(Relaxed) > 0 {
                match Log::open(&path, Access::Append) {
                    Ok(_) | Err(AttachError::NotFound { .. }) => thread::yield_now(),
                    Err(error) => panic!("{error}"),
                }
            }
            threads.into_iter().map(|thread| thread.join().unwrap()).sum()
        });
        assert_eq!(made, 1);
        assert_eq!(Log::open(&path, Access::Read).unwrap().info().next_seq, 1);
    }
    assert_eq!(names(dir.path()).len(), 20, "the losers leave nothing");
}

#[test]
fn a_removed_log_stays_with_its_users_and_leaves_its_name() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("log");
    let (old, other) = (Log::builder().create_at(&path).unwrap(), Log::open(&path, Access::Append).unwrap());
    Log::remove(&path).unwrap();
    let new = Log::builder().create_at(&path).unwrap();
    assert_ne!(old.info().id, new.info().id);
    old.appender().unwrap().append(b"old").unwrap();
    assert_eq!((other.info().next_seq, new.info().next_seq), (1, 0));
}

#[test]
fn permissions_are_what_was_asked_for() {
    let dir = tempfile::tempdir().unwrap();
    for mode in [0o600, 0o640] {
        let path = dir.path().join(mode.to_string());
        drop(Log::builder().mode(mode).create_at(&path).unwrap());
        for file in ["log", "board", "lock"] {
            assert_eq!(fs::metadata(path.join(file)).unwrap().permissions().mode() & 0o777, mode, "{file}");
        }
    }
}

#[test]
fn huge_pages_that_are_not_there_are_counted() {
    // More than any pool has.
    let builder = Log::builder().windows(65_536).window_bytes(128 << 20);
    let wanted = builder.clone().huge_pages(HugePages::Require(HugePageSize::TwoMiB)).create_memfd("huge");
    let Err(CreateError::NoHugePages { page_bytes, pages_wanted, pages_free, pages_total, pages_needed }) = wanted
    else {
        panic!("{wanted:?}")
    };
    assert_eq!((page_bytes, pages_wanted), (2 << 20, 65_536 * 64 + 1));
    assert!(pages_free <= pages_total && pages_needed == pages_total + pages_wanted - pages_free);
    let said = wanted_text(&builder);
    assert!(said.contains("hugepages-2048kB") && said.contains(&pages_needed.to_string()), "{said}");
}

#[test]
fn child_entry() {
    common::enter(&[("glutton", glutton)]);
}

/// More memory than the machine has was not refused: allocating it, the creator and half of the machine were killed.
#[test]
fn more_memory_than_there_is_is_refused() {
    common::succeed(common::child("glutton").spawn().unwrap());
}

fn glutton() {
    // Should it be allocated after all, only this child is killed for it.
    fs::write("/proc/self/oom_score_adj", "1000").unwrap();
    let builder = Log::builder().windows(65_536).window_bytes(128 << 20);
    assert!(matches!(builder.create_memfd("glutton"), Err(CreateError::NoSpace { wanted_bytes: 0x800_0000_0000.. })));
    for len in [1 << 50, u64::MAX / 2, u64::MAX] {
        assert!(matches!(Arena::create_memfd("glutton", len), Err(CreateError::NoSpace { .. })));
    }
    if let Some(dir) = common::mounted("tmpfs").and_then(|tmpfs| tempfile::tempdir_in(tmpfs).ok()) {
        let refused = builder.create_at(dir.path().join("glutton")).unwrap_err();
        assert!(matches!(refused, CreateError::NoSpace { .. }), "{refused}");
        assert!(names(dir.path()).is_empty());
    }
}

fn wanted_text(builder: &shmlog::LogBuilder) -> String {
    builder.clone().huge_pages(HugePages::Require(HugePageSize::TwoMiB)).create_memfd("huge").unwrap_err().to_string()
}

#[test]
fn preferring_huge_pages_falls_back() {
    for size in [HugePageSize::TwoMiB, HugePageSize::OneGiB] {
        let builder = Log::builder().windows(2).window_bytes(64 << 10);
        let log = builder.huge_pages(HugePages::Prefer(size)).create_memfd("prefer").unwrap();
        let expected = match size {
            HugePageSize::TwoMiB if free_huge_pages() > 0 => None,
            HugePageSize::OneGiB => None,
            HugePageSize::TwoMiB => Some(Backing::Memfd),
        };
        assert!(expected.is_none_or(|expected| log.info().backing == expected));
        log.appender().unwrap().append(b"either way").unwrap();
    }
}

/// Mounts a file system for one test.
struct Mount<'d>(&'d Path);

impl<'d> Mount<'d> {
    fn new(dir: &'d Path, options: &[&str]) -> Option<Self> {
        if !is_root() {
            skip("a small file system", "mounting one needs root");
            return None;
        }
        let mounted = Command::new("mount").args(options).arg(dir).status();
        if !mounted.is_ok_and(|status| status.success()) {
            skip("a small file system", "mount(8) is refused");
            return None;
        }
        Some(Self(dir))
    }
}

impl Drop for Mount<'_> {
    fn drop(&mut self) {
        assert!(Command::new("umount").arg(self.0).status().unwrap().success());
    }
}

#[test]
fn a_full_tmpfs_is_an_error_that_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let Some(_mount) = Mount::new(dir.path(), &["-t", "tmpfs", "-o", "size=1m", "none"]) else { return };
    let large = Log::builder().windows(16).window_bytes(64 << 10);
    let refused = large.create_at(dir.path().join("log")).unwrap_err();
    assert!(matches!(refused, CreateError::NoSpace { wanted_bytes } if wanted_bytes > 1 << 20), "{refused}");
    assert!(names(dir.path()).is_empty());
    // The region fits, the board does not.
    let refused = large.windows(14).slots(4096, 4096).create_at(dir.path().join("log")).unwrap_err();
    assert!(matches!(refused, CreateError::NoSpace { .. }), "{refused}");
    assert!(names(dir.path()).is_empty());
    let arena = Arena::create_at(dir.path().join("arena"), 2 << 20).unwrap_err();
    assert!(matches!(arena, CreateError::NoSpace { .. }), "{arena}");
    assert!(names(dir.path()).is_empty());

    let log = Log::builder().windows(8).window_bytes(64 << 10).create_at(dir.path().join("log")).unwrap();
    // Whoever fills the rest does not touch what was allocated: an append never dies of it.
    let _ = fs::write(dir.path().join("filler"), vec![1; 1 << 20]);
    let mut appender = log.appender().unwrap();
    for number in 0..20_000 {
        assert_eq!(appender.append(&payload(1, number, 64)).unwrap(), number);
    }
}

#[test]
fn a_read_only_file_system_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let Some(_mount) = Mount::new(dir.path(), &["-t", "tmpfs", "-o", "size=1m,ro", "none"]) else { return };
    assert!(matches!(Log::builder().create_at(dir.path().join("log")), Err(CreateError::Os { .. })));
    assert!(matches!(Log::open(dir.path().join("log"), Access::Append), Err(AttachError::NotFound { .. })));
}

#[test]
fn a_place_that_is_not_there_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    assert!(matches!(Log::builder().create_at(dir.path().join("no/such/place")), Err(CreateError::Os { .. })));
    fs::write(dir.path().join("file"), "").unwrap();
    assert!(Log::builder().create_at(dir.path().join("file/log")).is_err());
    let long = "x".repeat(300);
    assert!(matches!(Log::builder().create_at(dir.path().join(&long)), Err(CreateError::Os { .. })));
    assert!(Log::open(dir.path().join(long), Access::Read).is_err());
    assert_eq!(names(dir.path()), ["file"]);
    // A memfd's name is cut, whatever is in it.
    for name in ["", "a\0b", &"ä".repeat(200)] {
        Log::builder().windows(2).window_bytes(64 << 10).create_memfd(name).unwrap();
    }
}
