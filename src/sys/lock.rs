//! Open-file-description locks on single bytes (fcntl(2), F_OFD_SETLK): the kernel lets go of them
//! when the last descriptor of that open file description is gone, whatever killed its owner.

use nix::fcntl::{FcntlArg, fcntl};
use nix::libc::{F_RDLCK, F_UNLCK, F_WRLCK, SEEK_SET, c_int, flock};
use std::io;
use std::ops::Range;
use std::os::fd::AsFd;

/// How a byte is locked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// With others that lock it shared.
    Shared,
    /// Alone.
    Alone,
}

#[allow(clippy::cast_possible_truncation, reason = "the constants fit, whatever the fields' type")]
fn range(kind: c_int, bytes: Range<u64>) -> flock {
    flock {
        l_type: kind as _,
        l_whence: SEEK_SET as _,
        l_start: i64::try_from(bytes.start).unwrap_or(i64::MAX),
        l_len: i64::try_from(bytes.end.saturating_sub(bytes.start)).unwrap_or(1),
        l_pid: 0,
    }
}

fn kind(mode: Mode) -> c_int {
    match mode {
        Mode::Shared => F_RDLCK,
        Mode::Alone => F_WRLCK,
    }
}

/// Locks byte `at` for this open file description. `Ok(false)`: another holds it.
pub(crate) fn try_lock(file: impl AsFd, at: u64, mode: Mode) -> io::Result<bool> {
    try_lock_range(file, at..at + 1, mode)
}

/// Locks some bytes, all or none, for this open file description. `Ok(false)`: another holds one of them.
pub(crate) fn try_lock_range(file: impl AsFd, bytes: Range<u64>, mode: Mode) -> io::Result<bool> {
    match fcntl(file, FcntlArg::F_OFD_SETLK(&range(kind(mode), bytes))) {
        Ok(_) => Ok(true),
        Err(nix::Error::EAGAIN | nix::Error::EACCES) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Unlocks byte `at` of this open file description, whatever copies of its descriptor there are.
pub(crate) fn unlock(file: impl AsFd, at: u64) -> io::Result<()> {
    unlock_range(file, at..at + 1)
}

/// Unlocks some bytes of this open file description, whatever copies of its descriptor there are.
pub(crate) fn unlock_range(file: impl AsFd, bytes: Range<u64>) -> io::Result<()> {
    fcntl(file, FcntlArg::F_OFD_SETLK(&range(F_UNLCK, bytes)))?;
    Ok(())
}

/// Whether another open file description holds byte `at` in any mode.
pub(crate) fn is_locked(file: impl AsFd, at: u64) -> io::Result<bool> {
    let mut probe = range(F_WRLCK, at..at + 1);
    fcntl(file, FcntlArg::F_OFD_GETLK(&mut probe))?;
    Ok(c_int::from(probe.l_type) != F_UNLCK)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::reopen::reopen;

    #[test]
    fn descriptions_exclude_each_other_and_closing_lets_go() {
        let file = tempfile::tempfile().unwrap();
        let a = reopen(&file, true).unwrap();
        let b = reopen(&file, true).unwrap();
        assert!(try_lock(&a, 5, Mode::Alone).unwrap());
        assert!(!try_lock(&b, 5, Mode::Alone).unwrap());
        assert!(!try_lock(&b, 5, Mode::Shared).unwrap());
        assert!(try_lock(&b, 6, Mode::Shared).unwrap());
        assert!(is_locked(&file, 5).unwrap() && is_locked(&file, 6).unwrap() && !is_locked(&file, 7).unwrap());
        drop(a);
        assert!(!is_locked(&file, 5).unwrap());
        assert!(try_lock(&b, 5, Mode::Alone).unwrap());
    }
}
