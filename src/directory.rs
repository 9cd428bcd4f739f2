//! A named log or snapshot: a directory with three files. It is prepared under another name and renamed, so
//! that it appears at once and whole, and never replaces one that is there.

use crate::error::{AttachError, CreateError};
use crate::log::Access;
use crate::sys::inspect;
use rustix::fs::{CWD, OFlags, RenameFlags, renameat, renameat_with};
use rustix::io::Errno;
use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// The three files of something with a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Names {
    /// The region.
    pub(crate) region: &'static str,
    /// The board.
    pub(crate) board: &'static str,
    /// The lock file of those who write to the region.
    pub(crate) lock: &'static str,
}

/// Of a log.
pub(crate) const LOG: Names = Names { region: "log", board: "board", lock: "lock" };
/// Of a snapshot.
pub(crate) const SNAPSHOT: Names = Names { region: "snapshot", board: "pins", lock: "writers" };

/// The name of a log at `path`, for people.
pub(crate) fn name_of(path: &Path) -> String {
    path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned()
}

/// Makes a directory by `fill`, which is given the directory and the bytes of a page there, and
/// renames it to `path`.
pub(crate) fn create<T>(
    path: &Path,
    fill: impl FnOnce(&Path, u64) -> Result<T, CreateError>,
) -> Result<T, CreateError> {
    if path.symlink_metadata().is_ok() {
        return Err(CreateError::Exists { path: path.to_owned() });
    }
    let draft = sibling(path);
    std::fs::create_dir(&draft).map_err(|error| CreateError::os("making the directory", error))?;
    let made = fill_and_rename(path, &draft, fill);
    if made.is_err() {
        // Best effort: what is left is a directory that no open will take for a log.
        discard(&draft);
    }
    made
}

/// Removes a draft: file by file, as walking through a directory takes a descriptor, and it may be those that are
/// short.
fn discard(draft: &Path) {
    for Names { region, board, lock } in [LOG, SNAPSHOT] {
        for name in [region, board, lock] {
            let _ = std::fs::remove_file(draft.join(name));
        }
    }
    let _ = std::fs::remove_dir(draft);
}

fn fill_and_rename<T>(
    path: &Path,
    draft: &Path,
    fill: impl FnOnce(&Path, u64) -> Result<T, CreateError>,
) -> Result<T, CreateError> {
    let made = fill(draft, page_bytes_in(draft)?)?;
    rename(draft, path)?;
    Ok(made)
}

fn page_bytes_in(dir: &Path) -> Result<u64, CreateError> {
    let dir = File::open(dir).map_err(|error| CreateError::os("opening the directory", error))?;
    inspect::page_bytes_at(&dir).map_err(|error| CreateError::os("fstatfs", error))
}

/// Bytes of a page of a file at `path`, which is not there yet.
pub(crate) fn page_bytes_beside(path: &Path) -> Result<u64, CreateError> {
    let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty());
    page_bytes_in(dir.unwrap_or(Path::new(".")))
}

/// Gives what was made as `draft` its name, unless that is taken.
pub(crate) fn rename(draft: &Path, path: &Path) -> Result<(), CreateError> {
    let renamed = match renameat_with(CWD, draft, CWD, path, RenameFlags::NOREPLACE) {
        // Not every file system knows that. None replaces a directory that has files in it by another.
        Err(Errno::INVAL | Errno::NOSYS) if draft.is_dir() => renameat(CWD, draft, CWD, path),
        renamed => renamed,
    };
    renamed.map_err(|error| match error {
        Errno::EXIST | Errno::NOTEMPTY | Errno::NOTDIR => CreateError::Exists { path: path.to_owned() },
        error => CreateError::os("renaming what was made", error),
    })
}

/// A name beside `path` that nobody else uses.
pub(crate) fn sibling(path: &Path) -> PathBuf {
    let mut name = path.file_name().map_or_else(OsString::new, OsString::from);
    let nonce = crate::create::random_id().map_or(0, |id| id & u128::from(u32::MAX));
    name.push(format!(".{}-{nonce:08x}.draft", std::process::id()));
    path.with_file_name(name)
}

/// The files of a log or a snapshot.
pub(crate) struct Files {
    pub(crate) region: OwnedFd,
    pub(crate) board: OwnedFd,
    pub(crate) lock: Option<OwnedFd>,
}

/// Opens the files of what is at `path`, which is its directory or the region's file in it, as far as
/// `access` needs them.
pub(crate) fn open(path: &Path, names: Names, access: Access) -> Result<Files, AttachError> {
    let dir = directory_of(path, names);
    let open = |name: &str, is_writable: bool| {
        // Without waiting for the writer of what may be a pipe.
        let no_wait = (OFlags::NONBLOCK | OFlags::NOCTTY).bits().cast_signed();
        let mut options = File::options();
        options.read(true).write(is_writable).custom_flags(no_wait);
        options.open(dir.join(name)).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => AttachError::NotFound { path: path.to_owned() },
            _ => AttachError::os("opening the log's files", error),
        })
    };
    let is_appending = access.is_writing();
    Ok(Files {
        region: open(names.region, is_appending)?.into(),
        board: open(names.board, access != Access::Observe)?.into(),
        lock: match access {
            Access::Append | Access::Own => Some(open(names.lock, true)?.into()),
            Access::Read => None,
            Access::Observe => open(names.lock, false).ok().map(OwnedFd::from),
        },
    })
}

/// Removes what is at `path`. Processes that have it open keep it. A directory that holds anything
/// but the three files is left alone.
pub(crate) fn remove(path: &Path, names: Names) -> io::Result<()> {
    let dir = directory_of(path, names);
    let mut found =
        std::fs::read_dir(dir)?.map(|entry| entry.map(|entry| entry.file_name())).collect::<Result<Vec<_>, _>>()?;
    found.sort_unstable();
    let Names { region, board, lock } = names;
    let mut expected = [region, board, lock];
    expected.sort_unstable();
    if found != expected {
        let what =
            format!("{} is not a {region}: it holds other files than {region}, {board} and {lock}", dir.display());
        return Err(io::Error::new(io::ErrorKind::InvalidInput, what));
    }
    // Out of sight at once, so that nobody opens half of it.
    let gone = sibling(dir);
    std::fs::rename(dir, &gone)?;
    for name in [region, board, lock] {
        std::fs::remove_file(gone.join(name))?;
    }
    std::fs::remove_dir(gone)
}

/// The directory of what is at `path`, which is that, or the region's file in it.
fn directory_of(path: &Path, names: Names) -> &Path {
    match path.file_name() {
        Some(name) if name == names.region && path.is_file() => path.parent().unwrap_or(path),
        _ => path,
    }
}
