//! Named logs and snapshots: who may do what says the mode of each file.

use crate::common::{is_root, setting, skip, succeed};
use crate::stage::{Feeder, NOBODY, Program, Thing};
use nix::Error;
use shmlog::{Access, AttachError, Log, Snapshot};
use std::fs::{self, File, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// The region, the board and the lock file.
const FILES: [(&str, [&str; 3]); 2] =
    [("log", ["log", "board", "lock"]), ("snapshot", ["snapshot", "pins", "writers"])];

fn create(kind: &str, path: &Path) -> Thing {
    match kind {
        "log" => Thing::Log(Log::builder().windows(2).window_bytes(64 << 10).create_at(path).unwrap()),
        _ => Thing::Snapshot(Snapshot::builder().create_at(path).unwrap()),
    }
}

fn open(kind: &str, path: &Path, access: Access) -> Result<Thing, AttachError> {
    match kind {
        "log" => Log::open(path, access).map(Thing::Log),
        _ => Snapshot::open(path, access).map(Thing::Snapshot),
    }
}

#[test]
fn a_named_one_is_as_open_as_its_files() {
    if !is_root() {
        return skip("named files", "only root can start processes of another user");
    }
    let program = Program::new();
    let dir = tempfile::tempdir().unwrap();
    fs::set_permissions(dir.path(), Permissions::from_mode(0o755)).unwrap();
    for (kind, files) in FILES {
        let path = dir.path().join(kind);
        let thing = create(kind, &path);
        let mut feeder = Feeder::alone(&thing);
        feeder.feed(0);
        // The directory too has a mode of its own.
        fs::set_permissions(&path, Permissions::from_mode(0o755)).unwrap();
        for (modes, allowed) in [
            ([0o600, 0o600, 0o600], ""),
            ([0o644, 0o644, 0o600], "Observe"),
            ([0o644, 0o666, 0o600], "Observe Read"),
            ([0o666, 0o666, 0o666], "Observe Read Append"),
        ] {
            for (file, mode) in files.iter().zip(modes) {
                fs::set_permissions(path.join(file), Permissions::from_mode(mode)).unwrap();
            }
            let mut command = program.child("opener", Some(NOBODY));
            command.env("SHMLOG_TEST_KIND", kind).env("SHMLOG_TEST_PATH", &path).env("SHMLOG_TEST_ALLOWED", allowed);
            succeed(command.spawn().unwrap());
        }
        feeder.feed(1);
        thing.check(2);
    }
}

/// In a child: opens it in every way, of which those that are allowed must work and no others.
pub fn opener() {
    let (kind, path): (String, PathBuf) = (setting("SHMLOG_TEST_KIND"), setting("SHMLOG_TEST_PATH"));
    let allowed: String = setting("SHMLOG_TEST_ALLOWED");
    for access in [Access::Observe, Access::Read, Access::Append] {
        match open(&kind, &path, access) {
            Ok(thing) if allowed.contains(&format!("{access:?}")) => thing.check(1),
            Err(AttachError::Os { error, .. }) if !allowed.contains(&format!("{access:?}")) => {
                assert_eq!(error.kind(), io::ErrorKind::PermissionDenied);
            }
            other => panic!("{allowed:?}, {access:?}: {other:?}"),
        }
    }
    if allowed.contains("Append") {
        return;
    }
    let (_, [region, _, lock]) = FILES.into_iter().find(|(found, _)| *found == kind).unwrap();
    let refused = |done: io::Result<File>| done.unwrap_err().raw_os_error();
    assert_eq!(refused(File::options().write(true).open(path.join(region))), Some(Error::EACCES as i32));
    assert_eq!(refused(File::open(path.join(lock))), Some(Error::EACCES as i32));
    let chmod = fs::set_permissions(path.join(region), Permissions::from_mode(0o666)).unwrap_err();
    assert_eq!(chmod.raw_os_error(), Some(Error::EPERM as i32));
    let other = path.with_file_name("other");
    assert!(fs::rename(&path, other).is_err() && fs::remove_file(path.join(region)).is_err());
}
