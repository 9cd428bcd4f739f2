//! What a front on tmpfs belongs to, for whoever finds it there when its journal is gone (`shmlog journal fronts`).
//!
//! Its name says device and inode of the journal's lock file, which another file may have later, on another file system
//! even. A file handle and the mount it is found on are nobody else's in this boot.

use crate::sys::handle::{handle_of, mount_of};
use std::fmt::Write as _;
use std::fs::OpenOptions;
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// The file, beside those of the front.
pub(crate) const ORIGIN: &str = "origin";

/// Puts it down in the front at `front`: of the journal that locks `lock`.
///
/// Three lines, `mount` with a number, `handle` with its type and its bytes in hexadecimal, `lock` with a path; and `end`.
pub(crate) fn put(front: &Path, lock: &Path, mode: u32) -> io::Result<()> {
    let (kind, handle) = handle_of(lock)?;
    let mut text = format!("mount {}\nhandle {kind} ", mount_of(lock)?);
    for byte in handle {
        // Writing to a string does not fail.
        let _ = write!(text, "{byte:02x}");
    }
    let text = [text.as_bytes(), b"\nlock ", lock.as_os_str().as_bytes(), b"\nend\n"].concat();
    OpenOptions::new().write(true).create_new(true).mode(mode).open(front.join(ORIGIN))?.write_all(&text)
}
