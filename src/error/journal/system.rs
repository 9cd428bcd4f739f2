//! What the system said about a journal's files, with what to do about it, and where they are.

use super::JournalError;
use crate::error::{AttachError, CreateError};
use crate::sys::disk::is_full;
use rustix::io::Errno;
use std::io;
use std::path::Path;

/// Stands for a journal's directory until that is known.
const DIRECTORY: &str = "the directory";

impl JournalError {
    /// What the system said about a file that was to have so many bytes.
    pub(crate) fn disk(doing: &'static str, file: impl Into<String>, wanted_bytes: u64, error: io::Error) -> Self {
        if is_full(&error) {
            return Self::DiskFull { file: file.into(), wanted_bytes };
        }
        Self::os(doing, file, error)
    }

    /// What the system said about a file, with what to do about it.
    pub(crate) fn os(doing: &'static str, file: impl Into<String>, error: impl Into<io::Error>) -> Self {
        use io::ErrorKind::{FileTooLarge, PermissionDenied, ReadOnlyFilesystem, Unsupported};
        let (file, error) = (file.into(), error.into());
        match error.kind() {
            PermissionDenied => Self::Denied { doing, file, error },
            ReadOnlyFilesystem => Self::ReadOnlyMount { doing, file, error },
            // Also what it does not have as a whole (ENOSYS).
            Unsupported => Self::Unsupported { doing, file, error },
            FileTooLarge => Self::FileLimit { doing, file, error },
            _ => Self::Os { doing, file, error },
        }
    }

    /// What the system said about locking a byte of a file.
    pub(crate) fn locking(file: impl Into<String>, error: impl Into<io::Error>) -> Self {
        const DOING: &str = "locking a byte (fcntl(2), F_OFD_SETLK) of";
        let (file, error) = (file.into(), error.into());
        let is_lacking = [Errno::INVAL, Errno::NOLCK, Errno::OPNOTSUPP, Errno::NOSYS];
        if is_lacking.iter().any(|errno| error.raw_os_error() == Some(errno.raw_os_error())) {
            return Self::Unsupported { doing: DOING, file, error };
        }
        Self::os(DOING, file, error)
    }

    /// What went wrong with a front of so many bytes at `path`.
    pub(crate) fn front(doing: &'static str, path: &Path, wanted_bytes: u64, error: impl Into<Self>) -> Self {
        match error.into() {
            Self::Create(CreateError::Os { error, .. }) | Self::Attach(AttachError::Os { error, .. }) => {
                Self::disk(doing, path.display().to_string(), wanted_bytes, error)
            }
            error => error,
        }
    }

    /// What the system said when the names of the journal's files were asked for.
    pub(crate) fn listing(error: io::Error) -> Self {
        Self::directory("listing", error)
    }

    /// What the system said about the journal's directory.
    pub(crate) fn directory(doing: &'static str, error: io::Error) -> Self {
        Self::os(doing, DIRECTORY, error)
    }

    /// With the path of the file instead of its name: a process may have several journals open.
    #[cold]
    pub(crate) fn within(mut self, dir: &Path) -> Self {
        match &mut self {
            Self::Version { file, .. }
            | Self::Control { file }
            | Self::Damaged { file, .. }
            | Self::MarksDamaged { file, .. }
            | Self::FileLost { file, .. }
            | Self::DiskFull { file, .. }
            | Self::Denied { file, .. }
            | Self::ReadOnlyMount { file, .. }
            | Self::Unsupported { file, .. }
            | Self::FileLimit { file, .. }
            | Self::Os { file, .. } => {
                let path = if file == DIRECTORY { dir.to_owned() } else { dir.join(&*file) };
                // One that is a path from the root stays so.
                *file = path.display().to_string();
            }
            _ => {}
        }
        self
    }
}
