//! Whether a file is there still, by its handle (open_by_handle_at(2)).
#![allow(unsafe_code, reason = "file handles, which no crate has")]

use nix::libc::AT_FDCWD;
use rustix::fs::{AtFlags, Mode, OFlags, StatxFlags, fstat, open, statx};
use rustix::thread::{CapabilitySet, capabilities};
use std::ffi::CString;
use std::fs::{read_link, read_to_string};
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// Longest handle, MAX_HANDLE_SZ.
const MAX_BYTES: usize = 128;
/// STATX_MNT_ID_UNIQUE, since Linux 6.8.
const MOUNT_ONCE: StatxFlags = StatxFlags::from_bits_retain(0x4000);

/// A file's handle, and where to ask for it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Handle {
    /// The mount, by a number that is used once in a boot.
    pub(crate) mount: u64,
    pub(crate) kind: i32,
    pub(crate) bytes: Vec<u8>,
}

/// What has become of a file.
#[derive(Debug)]
pub(crate) enum Found {
    /// Where it is.
    There(PathBuf),
    /// It has no name any more, but somebody has it open.
    Nameless,
    Gone,
}

/// What open_by_handle_at(2) reads.
#[repr(C, align(8))]
struct Buffer {
    handle_bytes: u32,
    handle_type: i32,
    bytes: [u8; MAX_BYTES],
}

impl Handle {
    /// Looks for the file, which has to be on this device by this number. `Err`: why that can't be found out here.
    pub(crate) fn find(&self, device: u64, inode: u64) -> Result<Found, String> {
        check_rights()?;
        let mount = self.mount().ok_or("the file system of its journal is not mounted here")?;
        let said = |error: rustix::io::Errno| format!("its journal can't be looked for: {error}");
        if fstat(&mount).map_err(said)?.st_dev != device {
            return Err("its journal is on a part of the file system that is not mounted by itself".to_owned());
        }
        let file = match self.open(&mount) {
            Ok(file) => file,
            Err(error) if error.raw_os_error() == Some(rustix::io::Errno::STALE.raw_os_error()) => {
                return Ok(Found::Gone);
            }
            Err(error) => return Err(format!("its journal can't be looked for: {error}")),
        };
        let stat = fstat(&file).map_err(said)?;
        if (stat.st_dev, stat.st_ino) != (device, inode) {
            return Err("it says that it is of another journal than its name does".to_owned());
        }
        if stat.st_nlink == 0 {
            return Ok(Found::Nameless);
        }
        let path = read_link(format!("/proc/self/fd/{}", file.as_raw_fd()));
        Ok(Found::There(path.map_err(|error| format!("/proc: {error}"))?))
    }

    /// Whether another file is at `path`, whatever its number.
    pub(crate) fn is_other(&self, path: &Path) -> bool {
        let Ok(path) = CString::new(path.as_os_str().as_bytes()) else { return false };
        let mut buffer = Buffer { handle_bytes: 128, handle_type: 0, bytes: [0; MAX_BYTES] };
        let mut mount = 0;
        let handle = (&raw mut buffer).cast();
        // SAFETY: `path` ends with a zero, `handle` has room for as many bytes as it says behind its two numbers, and all
        // three outlive the call.
        let done = unsafe { nix::libc::name_to_handle_at(AT_FDCWD, path.as_ptr(), handle, &raw mut mount, 0) };
        let len = (buffer.handle_bytes as usize).min(MAX_BYTES);
        done == 0 && (buffer.handle_type, &buffer.bytes[..len]) != (self.kind, &self.bytes)
    }

    /// The root of the mount, if it is there and not covered by another one.
    fn mount(&self) -> Option<OwnedFd> {
        let mounts = read_to_string("/proc/self/mountinfo").ok()?;
        mounts.lines().filter_map(|line| line.split(' ').nth(4)).find_map(|path| {
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::NONBLOCK;
            let root = open(unescaped(path), flags, Mode::empty()).ok()?;
            let found = statx(&root, "", AtFlags::EMPTY_PATH, MOUNT_ONCE).ok()?;
            let is_it = found.stx_mask & MOUNT_ONCE.bits() != 0 && found.stx_mnt_id == self.mount;
            is_it.then_some(root)
        })
    }

    fn open(&self, mount: &OwnedFd) -> io::Result<OwnedFd> {
        let mut buffer = Buffer { handle_bytes: 0, handle_type: self.kind, bytes: [0; MAX_BYTES] };
        buffer.bytes.get_mut(..self.bytes.len()).ok_or(io::ErrorKind::InvalidData)?.copy_from_slice(&self.bytes);
        buffer.handle_bytes = u32::try_from(self.bytes.len()).map_err(|_| io::ErrorKind::InvalidData)?;
        let flags = (OFlags::PATH | OFlags::CLOEXEC).bits().cast_signed();
        let handle = (&raw mut buffer).cast();
        // SAFETY: the kernel reads the two numbers at `handle` and as many bytes behind them as the first one says, which
        // the buffer has; it outlives the call.
        let fd = unsafe { nix::libc::open_by_handle_at(mount.as_raw_fd(), handle, flags) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the kernel just gave it to this process, and nobody else knows it.
        Ok(unsafe { OwnedFd::from_raw_fd(fd) })
    }
}

/// Whether the kernel says of any file whether it is there. To others it says that a file is gone which they may only not
/// see.
fn check_rights() -> Result<(), String> {
    let is_whole = |map: &str| map.split_whitespace().eq(["0", "0", "4294967295"]);
    let may = capabilities(None).is_ok_and(|sets| sets.effective.contains(CapabilitySet::DAC_READ_SEARCH));
    if may && read_to_string("/proc/self/uid_map").is_ok_and(|map| is_whole(&map)) {
        return Ok(());
    }
    Err("only root of the whole machine can find out whether its journal is there".to_owned())
}

/// A path as mountinfo says it: a blank is \040.
fn unescaped(path: &str) -> String {
    [("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")]
        .into_iter()
        .fold(path.to_owned(), |path, (code, char)| path.replace(code, char))
}
