//! Which file a path leads to, beyond its device and inode, which another may have later: its file handle
//! (name_to_handle_at(2)), and the mount that it is found on, by a number that is used once in a boot (statx(2)).
#![allow(unsafe_code, reason = "name_to_handle_at(2), which no crate has yet")]

use nix::libc::{AT_FDCWD, c_int, c_uint, file_handle, name_to_handle_at};
use rustix::fs::{AtFlags, CWD, StatxFlags, statx};
use std::ffi::CString;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// Longest handle, MAX_HANDLE_SZ.
const MAX_BYTES: usize = 128;
/// STATX_MNT_ID_UNIQUE, since Linux 6.8.
const MOUNT_ONCE: StatxFlags = StatxFlags::from_bits_retain(0x4000);

/// What the kernel fills in.
#[repr(C, align(8))]
struct Buffer {
    handle_bytes: c_uint,
    handle_type: c_int,
    bytes: [u8; MAX_BYTES],
}

/// The type and the bytes of the handle of a file.
pub(crate) fn handle_of(path: &Path) -> io::Result<(i32, Vec<u8>)> {
    let path = CString::new(path.as_os_str().as_bytes())?;
    let mut buffer = Buffer { handle_bytes: 128, handle_type: 0, bytes: [0; MAX_BYTES] };
    let mut mount: c_int = 0;
    let handle = (&raw mut buffer).cast::<file_handle>();
    // SAFETY: `path` ends with a zero, `handle` has room for as many bytes as it says behind its two numbers, and all
    // three outlive the call.
    let done = unsafe { name_to_handle_at(AT_FDCWD, path.as_ptr(), handle, &raw mut mount, 0) };
    if done != 0 {
        return Err(io::Error::last_os_error());
    }
    let len = (buffer.handle_bytes as usize).min(MAX_BYTES);
    Ok((buffer.handle_type, buffer.bytes[..len].to_vec()))
}

/// The mount that a file is found on.
pub(crate) fn mount_of(path: &Path) -> io::Result<u64> {
    let found = statx(CWD, path, AtFlags::SYMLINK_NOFOLLOW, MOUNT_ONCE)?;
    if found.stx_mask & MOUNT_ONCE.bits() == 0 {
        return Err(io::ErrorKind::Unsupported.into());
    }
    Ok(found.stx_mnt_id)
}
