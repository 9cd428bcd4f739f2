//! The hub's socket in the file system.

use crate::error::HubError;
use crate::sys::packet::{FileId, check_path, connect_to, file_id, listen_at};
use rustix::fs::{
    AtFlags, CWD, FileType, FlockOperation, Mode, OFlags, RenameFlags, flock, openat, rename, renameat_with, statat,
    unlink,
};
use rustix::io::Errno;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// How long to wait for others that replace a dead hub's socket in the same directory.
const PATIENCE: Duration = Duration::from_secs(5);

/// Listens at a path. The path is removed on drop, if this socket is still there.
#[derive(Debug)]
pub(crate) struct Listener {
    socket: OwnedFd,
    /// From the root: the working directory may change.
    path: PathBuf,
    id: FileId,
}

impl Listener {
    /// Listens at `path`. The socket gets that name when it is ready and its mode is set, so nobody meets one
    /// that is not.
    pub(crate) fn open(path: &Path, mode: u32) -> Result<Self, HubError> {
        let absolute = std::path::absolute(path).map_err(|error| HubError::os("the hub's path", error))?;
        // Its draft's name may be shorter.
        check_path(path).map_err(|error| HubError::os("the hub's path", error))?;
        let nonce = crate::create::random_id().map_or(0, |id| id & u128::from(u32::MAX));
        let draft = path.with_file_name(format!(".{nonce:08x}.hub"));
        let socket = listen_at(&draft, mode).map_err(|error| match error {
            Errno::NOENT => HubError::NoDirectory { path: path.to_owned() },
            _ => HubError::os("making the hub's socket", error),
        })?;
        let placed = file_id(&draft)
            .map_err(|error| HubError::os("looking at the hub's socket", error))
            .and_then(|id| place(&draft, path).map(|()| id));
        if placed.is_err() {
            let _ = unlink(&draft);
        }
        Ok(Self { socket, path: absolute, id: placed? })
    }

    /// Where it listens.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        // The inode is not used again as long as the socket is open.
        if file_id(&self.path) == Ok(self.id) {
            let _ = unlink(&self.path);
        }
    }
}

/// Gives the socket `draft` its name. A dead hub's is replaced, under a lock on the directory that all hubs take:
/// two that find the same dead one would else replace each other.
fn place(draft: &Path, path: &Path) -> Result<(), HubError> {
    if rename_to_free(draft, path)? {
        return Ok(());
    }
    let directory = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let directory = openat(CWD, directory, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
        .map_err(|error| HubError::os("opening the hub's directory", error))?;
    lock(&directory)?;
    if rename_to_free(draft, path)? {
        return Ok(());
    }
    if !is_abandoned(path) {
        return Err(HubError::InUse { path: path.to_owned() });
    }
    rename(draft, path).map_err(|error| HubError::os("replacing a dead hub's socket", error))
}

/// Renames, unless there is something.
fn rename_to_free(draft: &Path, path: &Path) -> Result<bool, HubError> {
    match renameat_with(CWD, draft, CWD, path, RenameFlags::NOREPLACE) {
        Ok(()) => Ok(true),
        Err(Errno::EXIST) => Ok(false),
        Err(error) => Err(HubError::os("naming the hub's socket", error)),
    }
}

/// Locks the directory, until it is closed. Whoever may read it can lock it: nobody waits for ever.
fn lock(directory: &OwnedFd) -> Result<(), HubError> {
    let started = Instant::now();
    loop {
        match flock(directory, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Ok(()),
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) if started.elapsed() < PATIENCE => sleep(Duration::from_millis(5)),
            Err(error) => return Err(HubError::os("locking the hub's directory, which another process does", error)),
        }
    }
}

/// Whether there is a socket that nobody listens at.
fn is_abandoned(path: &Path) -> bool {
    let is_socket = statat(CWD, path, AtFlags::SYMLINK_NOFOLLOW)
        .is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::Socket);
    is_socket && connect_to(path).is_err_and(|error| error == Errno::CONNREFUSED)
}
