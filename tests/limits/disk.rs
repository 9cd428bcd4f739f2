//! File systems that are full, at each file of a name; that are read-only; or that lack something.

use crate::alone::{Traces, alone, errno_of};
use crate::common::{is_root, payload, skip};
use crate::mounting::{have_own_mounts, mount_tmpfs, run};
use nix::libc::{ENOSPC, EROFS};
use rustix::fs::{FallocateFlags, fallocate};
use shmlog::{Access, Arena, CreateError, Log, LogBuilder, PublishError, Snapshot, SnapshotBuilder, Start};
use std::fs::File;
use std::path::Path;

#[test]
fn a_full_or_unfit_file_system_is_an_error() {
    if !is_root() {
        return skip("full file systems", "only root can mount them");
    }
    alone("disk");
}

const PAGE: u64 = 4096;

fn small() -> LogBuilder {
    Log::builder().windows(2).window_bytes(64 << 10).slots(1, 1)
}

fn state() -> SnapshotBuilder {
    Snapshot::builder().capacity_bytes(16 << 10).seats(1)
}

pub fn role() {
    if !have_own_mounts("full file systems") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let at = dir.path();
    mount_tmpfs(at, "size=1m");
    squeeze(at, 1 << 20, PAGE);
    grow(at);
    inodes(at);
    unmount(at);
    let disk = tempfile::tempdir().unwrap();
    if let Some(bytes) = mount_disk(disk.path(), at) {
        squeeze(at, bytes, 16 * PAGE);
        read_only(at);
        unmount(at);
    }
    others(disk.path(), at);
}

fn unmount(at: &Path) {
    assert!(run("umount", &[at.to_str().unwrap()]));
}

/// Makes everything with ever more room, until all was made, on a file system of `bytes`.
fn squeeze(at: &Path, bytes: u64, step: u64) {
    let named = at.join("named");
    until_it_fits(at, bytes, step, || small().create_at(&named).map(drop));
    Log::open(&named, Access::Append).unwrap().appender().unwrap().append(b"x").unwrap();
    Log::remove(&named).unwrap();
    until_it_fits(at, bytes, step, || state().create_at(&named).map(drop));
    Snapshot::open(&named, Access::Append).unwrap().writer().unwrap().publish(&1_u64).unwrap();
    Snapshot::remove(&named).unwrap();
    until_it_fits(at, bytes, step, || Arena::create_at(&named, 32 << 10).map(drop));
    std::fs::remove_file(&named).unwrap();
}

fn until_it_fits(at: &Path, bytes: u64, step: u64, make: impl Fn() -> Result<(), CreateError>) {
    let mut refused = 0;
    for room in (0..).map(|steps| steps * step) {
        let filler = fill(at, bytes, room);
        let before = Traces::of(Some(at));
        let made = make();
        match &made {
            Ok(()) => assert!(refused > 0, "it fits where there is no room"),
            Err(CreateError::NoSpace { .. }) => refused += 1,
            // The directory, on a disk.
            Err(error) => assert_eq!(errno_of(error), Some(ENOSPC), "{error:?}"),
        }
        drop(filler);
        std::fs::remove_file(at.join("filler")).unwrap();
        if made.is_ok() {
            return;
        }
        let left: Vec<_> = std::fs::read_dir(at).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert!(left.iter().all(|name| name == "lost+found"), "{left:?}");
        assert_eq!(before.without("filler"), Traces::of(Some(at)).without("filler"));
    }
}

/// A file that leaves `room` of a file system of `bytes`, or about that.
fn fill(at: &Path, bytes: u64, room: u64) -> File {
    let filler = File::create_new(at.join("filler")).unwrap();
    let mut len = bytes;
    while fallocate(&filler, FallocateFlags::empty(), 0, len).is_err() {
        len -= PAGE;
    }
    filler.set_len(len - room.min(len)).unwrap();
    filler.sync_all().unwrap();
    filler
}

/// Values that grow until there is no room: the one before stays, and the same writer goes on when there is.
fn grow(at: &Path) {
    let named = at.join("growing");
    let snapshot = Snapshot::builder().capacity_bytes(1 << 20).sparse(true).seats(1).create_at(&named).unwrap();
    let (mut writer, mut reader) = (snapshot.writer().unwrap(), snapshot.reader().unwrap());
    let mut last = Vec::new();
    let error = loop {
        let longer = payload(1, 1, last.len() + (16 << 10));
        match writer.publish_bytes(&longer) {
            Ok(_) => last = longer,
            Err(error) => break error,
        }
    };
    assert!(matches!(error, PublishError::NoSpace { .. }), "{error:?}");
    assert!(!last.is_empty() && reader.load_bytes().unwrap().unwrap().value == last);
    assert!(run("mount", &["-o", "remount,size=8m", at.to_str().unwrap()]));
    writer.publish_bytes(&payload(2, 1, 1 << 20)).unwrap();
    assert_eq!(reader.load_bytes().unwrap().unwrap().value, payload(2, 1, 1 << 20));
    drop((snapshot, writer, reader));
    Snapshot::remove(&named).unwrap();
}

/// A name takes four: the directory and its files.
fn inodes(at: &Path) {
    assert!(run("mount", &["-o", "remount,size=8m,nr_inodes=5", at.to_str().unwrap()]));
    let named = at.join("named");
    for spare in 0..4 {
        (spare..4).for_each(|number| drop(File::create_new(at.join(number.to_string())).unwrap()));
        let before = Traces::of(Some(at));
        for error in [small().create_at(&named).err(), state().create_at(&named).err()] {
            let error = error.unwrap_or_else(|| panic!("{spare} suffice"));
            assert_eq!(errno_of(&error), Some(ENOSPC), "{error:?}");
        }
        assert_eq!(Traces::of(Some(at)), before);
        (spare..4).for_each(|number| std::fs::remove_file(at.join(number.to_string())).unwrap());
    }
    small().create_at(&named).unwrap();
}

/// A disk of 16 MiB that is a file in `dir`. `None`, with a word on it: there are no loop devices, or no ext4.
fn mount_disk(dir: &Path, at: &Path) -> Option<u64> {
    let (image, bytes) = (dir.join("image"), 16 << 20);
    File::create_new(&image).unwrap().set_len(bytes).unwrap();
    let image = image.to_str().unwrap();
    let is_there = run("mkfs.ext4", &["-q", "-m", "0", image])
        && run("mount", &["-t", "ext4", "-o", "loop", image, at.to_str().unwrap()]);
    is_there.then_some(bytes)
}

fn read_only(at: &Path) {
    let named = at.join("named");
    assert_eq!(small().create_at(&named).unwrap().appender().unwrap().append(b"x"), Ok(0));
    assert!(run("mount", &["-o", "remount,ro", at.to_str().unwrap()]));
    let before = Traces::of(Some(at));
    let made = small().create_at(at.join("other")).unwrap_err();
    assert_eq!(errno_of(&made), Some(EROFS), "{made:?}");
    for access in [Access::Append, Access::Read] {
        let opened = Log::open(&named, access).unwrap_err();
        assert_eq!(errno_of(&opened), Some(EROFS), "{opened:?}");
    }
    assert_eq!(Traces::of(Some(at)), before);
    let observed = Log::open(&named, Access::Observe).unwrap();
    let mut reader = observed.reader(Start::First).unwrap();
    assert_eq!(reader.try_next().unwrap().unwrap().to_vec().unwrap(), b"x");
    drop((observed, reader));
    assert!(run("mount", &["-o", "remount,rw", at.to_str().unwrap()]));
    Log::open(&named, Access::Append).unwrap().appender().unwrap().append(b"y").unwrap();
}

/// Where no files can be made, where nothing can be allocated beforehand, and where a file is two.
fn others(scratch: &Path, at: &Path) {
    for nowhere in ["/proc/shmlog", "/sys/shmlog"] {
        let error = small().create_at(nowhere).unwrap_err();
        assert!(matches!(error, CreateError::Os { doing: "making the directory", .. }), "{error:?}");
    }
    let place = at.to_str().unwrap();
    assert!(run("mount", &["-t", "ramfs", "none", place]));
    use_log(&at.join("named"));
    let sparse = state().sparse(true).create_at(at.join("sparse")).unwrap_err();
    assert!(matches!(sparse, CreateError::Os { .. }), "{sparse:?}");
    // Memory, as on tmpfs: what is more than there is must not be tried.
    let all = Log::builder().windows(1 << 16).window_bytes(128 << 20);
    let error = all.create_at(at.join("all")).unwrap_err();
    assert!(matches!(error, CreateError::NoSpace { .. }), "{error:?}");
    assert_eq!(std::fs::read_dir(at).unwrap().count(), 1, "nothing but the log");
    unmount(at);
    mount_tmpfs(scratch, "size=8m");
    for layer in ["lower", "upper", "work"] {
        std::fs::create_dir(scratch.join(layer)).unwrap();
    }
    let layers = scratch.display();
    let layers = format!("lowerdir={layers}/lower,upperdir={layers}/upper,workdir={layers}/work");
    if run("mount", &["-t", "overlay", "-o", &layers, "none", place]) {
        use_log(&at.join("named"));
        unmount(at);
    }
}

fn use_log(named: &Path) {
    small().create_at(named).unwrap();
    let log = Log::open(named, Access::Append).unwrap();
    let mut appender = log.appender().unwrap();
    (0..10_000).for_each(|number| assert_eq!(appender.append(&payload(1, number, 40)).unwrap(), number));
}
