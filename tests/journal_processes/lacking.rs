//! File systems that lack something, and what else may be refused: by a filter of system calls. Each error says what was
//! tried with which file, and what to do about it.

use crate::alone::{alone, errno_of, with_limit};
use crate::filter::{Which, in_fork, refuse};
use nix::libc::{
    EDQUOT, EFBIG, EINVAL, ENOLCK, ENOSPC, EOPNOTSUPP, EPERM, SYS_fallocate, SYS_fcntl, SYS_fsync, SYS_mkdir,
    SYS_pwrite64, SYS_renameat2, c_long,
};
use nix::sys::resource::Resource;
use shmlog::{FrontHome, Journal, JournalBuilder, JournalError, Start};
use std::path::Path;

#[test]
fn what_a_file_system_lacks_is_said() {
    alone("lacking");
}

/// fcntl(2), F_OFD_SETLK.
const SETLK: Which = Which::With(SYS_fcntl, 1, 37);

pub fn role() {
    for errno in [EINVAL, ENOLCK, EOPNOTSUPP] {
        refused("locks", SETLK, errno, |error, says| {
            matches!(error, JournalError::Unsupported { .. }) && says.contains("lock:") && says.contains("ext4")
        });
    }
    refused("locks, not allowed", SETLK, EPERM, |error, _| matches!(error, JournalError::Denied { .. }));
    for errno in [EINVAL, EOPNOTSUPP] {
        refused("syncing a directory", Which::All(SYS_fsync), errno, |error, says| {
            matches!(error, JournalError::Unsupported { .. }) && says.contains("control") && says.contains("ext4")
        });
    }
    for errno in [ENOSPC, EDQUOT] {
        for (what, call) in [("no directory", SYS_mkdir), ("no control file", SYS_fallocate)] {
            refused(what, Which::All(call), errno, |error, says| {
                matches!(error, JournalError::DiskFull { wanted_bytes: 1.., .. }) && says.contains("quota")
            });
        }
    }
    // What can be done without.
    for (what, call, errno) in [("no fallocate", SYS_fallocate, EOPNOTSUPP), ("no renameat2", SYS_renameat2, EINVAL)] {
        in_fork(what, || does_without(Which::All(call), errno));
    }
    for errno in [EDQUOT, EFBIG] {
        for call in [SYS_fallocate, SYS_pwrite64] {
            in_fork("a quota, or the largest file", || is_enough(call, errno));
        }
    }
    in_fork("RLIMIT_FSIZE", file_limit);
}

fn small() -> JournalBuilder {
    Journal::builder().file_bytes(64 << 10).front_size(2, 64 << 10).front(FrontHome::Directory).thread(false)
}

/// Making a journal fails by this error, and leaves nothing that keeps it from being made.
fn refused(what: &str, which: Which, errno: i32, is_it: fn(&JournalError, &str) -> bool) {
    let dir = tempfile::tempdir().unwrap();
    let at = dir.path().join("journal");
    in_fork(what, || {
        refuse(&[which], errno);
        let error = small().open(&at).unwrap_err();
        assert!(is_it(&error, &error.to_string()), "{what}, {errno}: {error}; {error:?}");
        let full = matches!(error, JournalError::DiskFull { .. });
        assert!(full || errno_of(&error).is_some_and(|found| found == errno || found == EOPNOTSUPP), "{error:?}");
    });
    works(&at);
}

fn works(at: &Path) {
    let journal = small().open(at).unwrap();
    let mut appender = journal.appender().unwrap();
    for _ in 0..300 {
        appender.append_durable(&[7; 400]).unwrap();
    }
    let mut reader = journal.reader(Start::First).unwrap();
    for _ in 0..300 {
        assert_eq!(reader.try_next().unwrap().unwrap().bytes(), [7; 400]);
    }
}

fn does_without(which: Which, errno: i32) {
    let dir = tempfile::tempdir().unwrap();
    refuse(&[which], errno);
    works(&dir.path().join("journal"));
}

/// A disk, or a quota, that is full for a process does not end the journal; nothing acknowledged is lost.
fn is_enough(call: c_long, errno: i32) {
    let dir = tempfile::tempdir().unwrap();
    let journal = small().open(dir.path()).unwrap();
    let mut appender = journal.appender().unwrap();
    appender.append_durable(b"before").unwrap();
    in_fork("refused", || {
        let other = small().open(dir.path()).unwrap();
        let mut appender = other.appender().unwrap();
        refuse(&[Which::All(call)], errno);
        let error = (0..1000).find_map(|_| appender.append_durable(&[1; 400]).err()).unwrap();
        let says = error.to_string();
        let is_it = match &error {
            JournalError::DiskFull { wanted_bytes: 1.., .. } => errno == EDQUOT && says.contains("quota"),
            JournalError::FileLimit { .. } => errno == EFBIG && says.contains("RLIMIT_FSIZE"),
            _ => false,
        };
        assert!(is_it, "{error:?}: {says}");
        assert!(says.contains(".log") || says.contains("spare"), "which file: {says}");
        // Past what closes it, as if it were killed.
        std::mem::forget((appender, other));
    });
    appender.append_durable(b"after").unwrap();
    let mut reader = journal.reader(Start::First).unwrap();
    assert_eq!(reader.try_next().unwrap().unwrap().bytes(), b"before");
    let count = journal.next_seq();
    assert_eq!(reader.get(count - 1).unwrap().unwrap().bytes(), b"after");
}

fn file_limit() {
    let dir = tempfile::tempdir().unwrap();
    let refused = |limit| {
        let error = with_limit(Resource::RLIMIT_FSIZE, limit, || {
            let journal = small().open(dir.path().join("journal"))?;
            journal.appender()?.append_durable(b"x")
        });
        let error = error.unwrap_err();
        assert!(error.to_string().contains("ulimit -f"), "{error}");
        error
    };
    assert!(matches!(refused(4096), JournalError::FileLimit { file, .. } if file.ends_with("/journal/control")));
    assert!(matches!(refused(100 << 10), JournalError::Create(_)), "the front");
    works(&dir.path().join("journal"));
}
