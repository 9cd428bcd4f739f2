//! A process that may only read a journal's directory: as another user, from a mount that is read-only.

use crate::alone::{alone, errno_of};
use crate::common::{is_root, skip};
use crate::filter::in_fork;
use crate::mounting::{have_own_mounts, mount_tmpfs, run};
use nix::libc::{EACCES, EROFS};
use nix::unistd::{Gid, Uid, setresgid, setresuid};
use shmlog::{FrontHome, Journal, JournalBuilder, JournalError, Start};
use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

#[test]
fn who_may_only_read_reads() {
    if !is_root() {
        return skip("who may only read", "only root can mount file systems and become somebody else");
    }
    alone("auditor");
}

fn small(front: FrontHome) -> JournalBuilder {
    Journal::builder().file_bytes(64 << 10).front_size(2, 64 << 10).front(front).mode(0o644).thread(false)
}

pub fn role() {
    if !have_own_mounts("who may only read") {
        return;
    }
    let dirs = [(); 3].map(|()| tempfile::tempdir().unwrap());
    let [at, fronts, bound] = [0, 1, 2].map(|index| dirs[index].path());
    for dir in [at, fronts, bound] {
        mount_tmpfs(dir, "size=8m,mode=755");
    }
    for (number, home) in [FrontHome::Directory, FrontHome::At(fronts.to_owned())].into_iter().enumerate() {
        let dir = at.join(number.to_string());
        let (dir, builder) = (&dir, small(home));
        let writer = builder.open(dir).unwrap();
        writer.appender().unwrap().append_durable(b"durable").unwrap();
        writer.appender().unwrap().append(b"in memory").unwrap();
        writer.cursor("a").unwrap();
        let look = |count: u64| {
            check(dir, &builder, count, EACCES);
        };
        as_somebody_else("while others have it open", || look(2));
        refuse_who_may_not(dir, &builder);
        refuse_half_the_rights(dir, &builder);
        // The same directory, where nobody may write to it, root neither.
        assert!(run("mount", &["--bind", dir.to_str().unwrap(), bound.to_str().unwrap()]));
        assert!(run("mount", &["-o", "remount,bind,ro", bound.to_str().unwrap()]));
        in_fork("from a mount that is read-only", || check(bound, &builder, 2, EROFS));
        writer.appender().unwrap().append_durable(b"durable").unwrap();
        in_fork("from a mount that is read-only, later", || check(bound, &builder, 3, EROFS));
        drop(writer);
        in_fork("from a mount that is read-only, closed", || check(bound, &builder, 3, EROFS));
        assert!(run("umount", &[bound.to_str().unwrap()]));
        as_somebody_else("when it is closed", || look(3));
        assert!(run("mount", &["-o", "remount,ro", at.to_str().unwrap()]));
        in_fork("from a file system that is read-only", || check(dir, &builder, 3, EROFS));
        as_somebody_else("from a file system that is read-only", || check(dir, &builder, 3, EROFS));
        assert!(run("mount", &["-o", "remount,rw", at.to_str().unwrap()]));
        assert_eq!(builder.open(dir).unwrap().next_seq(), 3);
        after_all_died(dir, &builder);
    }
}

/// What they committed is in memory, and who comes next goes on there: who only reads sees both.
fn after_all_died(dir: &Path, builder: &JournalBuilder) {
    in_fork("one that dies", || {
        let journal = builder.open(dir).unwrap();
        let mut appender = journal.appender().unwrap();
        appender.append(b"its last").unwrap();
        std::mem::forget((appender, journal));
    });
    let only_read = builder.clone().read_only(true).open(dir).unwrap();
    assert!(only_read.recovery().is_none(), "the front is there");
    let mut reader = only_read.reader(Start::At(3)).unwrap();
    assert_eq!(reader.try_next().unwrap().unwrap().bytes(), b"its last");
    assert!(reader.try_next().unwrap().is_none());
    assert_eq!(only_read.durable(), 3);
    let journal = builder.open(dir).unwrap();
    assert!(journal.recovery().is_none(), "it joins");
    journal.appender().unwrap().append_durable(b"after it").unwrap();
    assert_eq!(reader.try_next().unwrap().unwrap().bytes(), b"after it");
    assert_eq!(only_read.durable(), 5);
}

/// In a child, which has nobody's rights.
fn as_somebody_else(what: &str, play: impl FnOnce() + std::panic::UnwindSafe) {
    in_fork(what, move || {
        let nobody = 65_534;
        setresgid(Gid::from_raw(nobody), Gid::from_raw(nobody), Gid::from_raw(nobody)).unwrap();
        setresuid(Uid::from_raw(nobody), Uid::from_raw(nobody), Uid::from_raw(nobody)).unwrap();
        play();
    });
}

/// It can be read, and not be opened to be written.
fn check(dir: &Path, builder: &JournalBuilder, count: u64, errno: i32) {
    let refused = builder.open(dir).unwrap_err();
    assert_says(&refused, errno, dir);
    let journal = builder.clone().read_only(true).open(dir).unwrap();
    assert_eq!((journal.oldest(), journal.next_seq()), (0, count));
    assert_eq!(journal.cursors(), [("a".to_owned(), 0)]);
    let mut reader = journal.reader(Start::First).unwrap();
    for seq in 0..count {
        let expected = if seq == 1 { &b"in memory"[..] } else { b"durable" };
        assert_eq!(reader.try_next().unwrap().unwrap().bytes(), expected);
        assert_eq!(journal.reader(Start::End).unwrap().get(seq).unwrap().unwrap().bytes(), expected);
    }
    assert!(reader.next_timeout(Duration::from_millis(1)).unwrap().is_none());
    assert!(matches!(journal.appender(), Err(JournalError::ReadOnly)));
    assert!(matches!(journal.cursor("a").unwrap().set(1), Err(JournalError::ReadOnly)));
    assert!(matches!(journal.prune(1), Err(JournalError::ReadOnly)));
    let found = Journal::verify(dir, "", |_| {}).unwrap();
    assert!(found.problems.is_empty(), "{:?}", found.problems);
}

/// What the system said, about which file, and what to do about it.
fn assert_says(error: &JournalError, errno: i32, dir: &Path) {
    let says = error.to_string();
    assert_eq!(errno_of(error), Some(errno), "{says}");
    let (is_typed, advice) = match errno {
        EROFS => (matches!(error, JournalError::ReadOnlyMount { .. }), "Mount"),
        _ => (matches!(error, JournalError::Denied { .. }), "permissions"),
    };
    assert!(is_typed && says.contains(advice) && says.contains("`read_only`"), "{error:?}: {says}");
    assert!(says.contains("lock") || says.contains(dir.to_str().unwrap()), "{says}");
}

/// Who may write to some of the files is told of the first one that it may not write to. It was refused the front of the
/// directory that this one is a copy of.
fn refuse_half_the_rights(dir: &Path, builder: &JournalBuilder) {
    let copy = dir.with_extension("copy");
    assert!(run("cp", &["-a", dir.to_str().unwrap(), copy.to_str().unwrap()]));
    let front = copy.join("front");
    let last = if front.exists() { "control" } else { "front" };
    let _ = std::fs::remove_dir_all(front);
    for (writable, expected) in [("lock", ".log"), ("00000000000000000000.log", "front"), ("", last)] {
        let mode = if writable.is_empty() { 0o777 } else { 0o666 };
        std::fs::set_permissions(copy.join(writable), Permissions::from_mode(mode)).unwrap();
        as_somebody_else(expected, || {
            let seen = builder.clone().read_only(true).open(&copy).unwrap();
            assert!(seen.recovery().is_some_and(|found| !found.was_closed), "its own files only");
            let error = builder.open(&copy).unwrap_err();
            let says = error.to_string();
            assert!(matches!(error, JournalError::Denied { .. }) && says.contains(expected), "{writable}: {says}");
        });
    }
    std::fs::remove_dir_all(copy).unwrap();
}

/// Who may not even read is told which file it is about.
fn refuse_who_may_not(dir: &Path, builder: &JournalBuilder) {
    let path = |name: &str| dir.join(name);
    let front = builder.open(dir).unwrap().front().info().region_bytes;
    assert!(front > 0);
    for name in ["lock", "control", "00000000000000000000.log", ""] {
        std::fs::set_permissions(path(name), Permissions::from_mode(0o700)).unwrap();
        as_somebody_else(name, || {
            let opened = builder.clone().read_only(true).open(dir);
            let read = opened.and_then(|journal| {
                let mut reader = journal.reader(Start::First)?;
                let is_there = reader.try_next()?.is_some();
                Ok(is_there)
            });
            match read {
                // While its records are in memory, the file is nobody's matter.
                Ok(is_there) => assert!(is_there && name.ends_with(".log")),
                Err(error) => {
                    assert!(matches!(error, JournalError::Denied { .. }), "{error:?}");
                    assert_eq!(errno_of(&error), Some(EACCES), "{error}");
                    assert!(error.to_string().contains(path(name).file_name().unwrap().to_str().unwrap()), "{error}");
                }
            }
        });
        std::fs::set_permissions(path(name), Permissions::from_mode(if name.is_empty() { 0o755 } else { 0o644 }))
            .unwrap();
    }
}
