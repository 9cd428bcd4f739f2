//! Directories that no journal can be in, or that this user may not use: errors that say which.

use crate::alone::{alone, errno_of};
use crate::common::{is_root, skip};
use crate::mounting::{have_own_mounts, mount_tmpfs, run};
use nix::libc::{EACCES, EROFS};
use nix::unistd::{Gid, Uid, setresgid, setresuid};
use shmlog::{FrontHome, Journal, JournalBuilder, JournalError, Start};
use std::fs::Permissions;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

#[test]
fn a_directory_that_can_t_be_used_is_an_error() {
    if !is_root() {
        return skip("refused directories", "only root can mount file systems and become somebody else");
    }
    alone("refused");
}

fn small(front: &Path) -> JournalBuilder {
    Journal::builder().file_bytes(64 << 10).front_size(2, 64 << 10).front(FrontHome::At(front.to_owned()))
}

pub fn role() {
    if !have_own_mounts("refused directories") {
        return;
    }
    let (dir, fronts) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (at, builder) = (dir.path(), small(fronts.path()));
    for nowhere in ["/proc/journal", "/sys/journal", "/dev/null"] {
        let error = builder.open(nowhere).unwrap_err();
        assert!(error.to_string().contains(nowhere), "{nowhere}: {error}");
        assert!(builder.open_existing(nowhere).is_err());
    }
    for name in ["control", "lock"] {
        unusual(&at.join(name), name, &builder);
    }
    mount_tmpfs(at, "size=4m");
    read_only(at, &builder);
    as_somebody_else(at, &builder);
}

/// Where the file of this name should be there is something else.
fn unusual(dir: &Path, name: &str, builder: &JournalBuilder) {
    std::fs::create_dir(dir).unwrap();
    let path = dir.join(name);
    std::fs::create_dir(&path).unwrap();
    builder.open(dir).unwrap_err();
    std::fs::remove_dir(&path).unwrap();
    let elsewhere = dir.join("elsewhere");
    std::fs::write(&elsewhere, b"somebody's").unwrap();
    symlink(&elsewhere, &path).unwrap();
    builder.open(dir).unwrap_err();
    assert_eq!(std::fs::read(&elsewhere).unwrap(), b"somebody's", "{name}: links are not followed");
    std::fs::remove_file(&path).unwrap();
    assert!(run("mkfifo", &[path.to_str().unwrap()]));
    if let Ok(journal) = builder.open(dir) {
        assert_eq!(name, "lock", "what is locked need not be a file");
        journal.appender().unwrap().append_durable(b"x").unwrap();
    }
}

fn read_only(at: &Path, builder: &JournalBuilder) {
    let dir = at.join("journal");
    builder.open(&dir).unwrap().appender().unwrap().append_durable(b"x").unwrap();
    let mount = |how: &str| assert!(run("mount", &["-o", how, at.to_str().unwrap()]));
    mount("remount,ro");
    for error in [builder.open(&dir).unwrap_err(), builder.open(at.join("other")).unwrap_err()] {
        assert_eq!(errno_of(&error), Some(EROFS), "{error:?}");
    }
    assert!(matches!(builder.open_existing(at.join("other")), Err(JournalError::NotFound { .. })));
    mount("remount,rw");
    let journal = builder.open(&dir).unwrap();
    assert_eq!(journal.reader(Start::First).unwrap().try_next().unwrap().unwrap().bytes(), b"x");
}

fn as_somebody_else(at: &Path, builder: &JournalBuilder) {
    std::fs::set_permissions(at, Permissions::from_mode(0o755)).unwrap();
    let dir = at.join("journal");
    let nobody = 65_534;
    setresgid(Gid::from_raw(nobody), Gid::from_raw(nobody), Gid::from_raw(nobody)).unwrap();
    setresuid(Uid::from_raw(nobody), Uid::from_raw(nobody), Uid::from_raw(nobody)).unwrap();
    for error in [builder.open(&dir).unwrap_err(), builder.open(at.join("other")).unwrap_err()] {
        assert_eq!(errno_of(&error), Some(EACCES), "{error:?}");
    }
}
