//! A second open file description of the same file, through /proc/self/fd (proc(5)).

use rustix::fs::{CWD, Mode, OFlags, openat};
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::Path;

/// Opens what `file` is open on once more, close-on-exec: a description of its own, so that locks
/// on it are its own.
///
/// Fails with `Unsupported` where /proc is not mounted.
pub(crate) fn reopen(file: impl AsFd, writable: bool) -> io::Result<OwnedFd> {
    let path = format!("/proc/self/fd/{}", file.as_fd().as_raw_fd());
    let access = if writable { OFlags::RDWR } else { OFlags::RDONLY };
    openat(CWD, &path, access | OFlags::CLOEXEC, Mode::empty()).map_err(|error| {
        if error == rustix::io::Errno::NOENT && !Path::new("/proc/self/fd").exists() {
            return io::Error::new(io::ErrorKind::Unsupported, "/proc is not mounted");
        }
        error.into()
    })
}
