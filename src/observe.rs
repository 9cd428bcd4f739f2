//! Looking on at what another process has open, through its descriptors in /proc (proc(5)).

use crate::directory::Names;
use crate::error::AttachError;
use crate::region::Region;
use crate::sync::{AtomicU64, Ordering::Relaxed};
use rustix::fs::OFlags;
use std::collections::HashSet;
use std::fs::{self, File};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// The descriptors that a process has beside a region's.
#[derive(Debug)]
pub(crate) struct Siblings {
    descriptors: PathBuf,
    /// Where the region's descriptor leads: `/memfd:shmlog:NAME:log (deleted)`, or `/PATH/log`.
    region_name: Vec<u8>,
    names: Names,
}

impl Siblings {
    /// Opens for reading what the descriptor at `path` is open on, and says where its siblings are. `None`: that
    /// is no process's descriptor, or a directory's.
    pub(crate) fn of(path: &Path, names: Names) -> Result<Option<(OwnedFd, Self)>, AttachError> {
        let (Some(descriptors), Some(number)) = (descriptors_around(path), path.file_name()) else { return Ok(None) };
        if path.is_dir() {
            return Ok(None);
        }
        let descriptor = descriptors.join(number);
        let file = open(&descriptor).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => AttachError::NotFound { path: path.to_owned() },
            _ => AttachError::os("opening the descriptor", error),
        })?;
        let link = fs::read_link(&descriptor).unwrap_or_default();
        Ok(Some((file, Self { descriptors, region_name: link.as_os_str().as_bytes().to_vec(), names })))
    }

    /// The board that belongs to the region, as `is_its` says.
    pub(crate) fn board(&self, is_its: impl Fn(&Region) -> bool) -> Option<Region> {
        let paths = self.named(self.names.board).into_iter();
        let mut mapped = paths.filter_map(|path| Region::map(open(&path).ok()?, false, "board").ok());
        mapped.find(is_its)
    }

    /// The lock file. It does not say whose it is: `None` unless there is one region and one lock of the name.
    pub(crate) fn lock(&self) -> Option<OwnedFd> {
        let locks = self.named(self.names.lock);
        if count_files(&locks) == 1 && count_files(&self.named(self.names.region)) == 1 {
            open(locks.first()?).ok()
        } else {
            None
        }
    }

    /// Descriptors that are called as the region is, with `what` in place of `log` or `snapshot`.
    fn named(&self, what: &str) -> Vec<PathBuf> {
        let wanted = sibling_name(&self.region_name, self.names.region, what);
        let (Some(wanted), Ok(entries)) = (wanted, fs::read_dir(&self.descriptors)) else { return Vec::new() };
        let is_wanted = |path: &PathBuf| fs::read_link(path).is_ok_and(|name| name.as_os_str().as_bytes() == wanted);
        entries.filter_map(Result::ok).map(|entry| entry.path()).filter(is_wanted).collect()
    }
}

/// What to say of a region that is not the one wanted: `error`, or, if it begins with one of these magics, that
/// it is foreign and what it is instead.
pub(crate) fn instead(region: &Region, error: AttachError, known: &[(u64, &'static str)]) -> AttachError {
    let magic = region.view::<AtomicU64>(0).map(|word| word.load(Relaxed));
    let found = known.iter().find(|(known, _)| Some(*known) == magic);
    found.map_or(error, |&(_, what)| AttachError::Foreign { what })
}

/// The directory that `path` lies in, if it is one of a process's descriptors.
fn descriptors_around(path: &Path) -> Option<PathBuf> {
    let parent = path.parent()?;
    let parent = if parent.as_os_str().is_empty() { Path::new(".") } else { parent };
    let directory = parent.canonicalize().ok()?;
    (directory.starts_with("/proc") && directory.ends_with("fd")).then_some(directory)
}

/// Opens for reading, without waiting for the writer of what may be a pipe.
fn open(path: &Path) -> io::Result<OwnedFd> {
    let no_wait = (OFlags::NONBLOCK | OFlags::NOCTTY).bits().cast_signed();
    File::options().read(true).custom_flags(no_wait).open(path).map(OwnedFd::from)
}

/// What a descriptor beside that of `name` is called, which ends in `region`: the same with `what` there.
fn sibling_name(name: &[u8], region: &str, what: &str) -> Option<Vec<u8>> {
    const GONE: &[u8] = b" (deleted)";
    let (name, tail) = name.strip_suffix(GONE).map_or((name, &b""[..]), |name| (name, GONE));
    let stem = name.strip_suffix(region.as_bytes()).filter(|stem| stem.ends_with(b":") || stem.ends_with(b"/"))?;
    Some([stem, what.as_bytes(), tail].concat())
}

/// How many different files these descriptors are open on.
fn count_files(paths: &[PathBuf]) -> usize {
    let identity = |path: &PathBuf| fs::metadata(path).ok().map(|file| (file.dev(), file.ino()));
    paths.iter().filter_map(identity).collect::<HashSet<_>>().len()
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::directory::{LOG, SNAPSHOT};

    /// This process's descriptors of that name.
    pub(crate) fn descriptors(link: &str) -> Vec<PathBuf> {
        let paths = fs::read_dir("/proc/self/fd").unwrap().map(|entry| entry.unwrap().path());
        paths.filter(|path| fs::read_link(path).is_ok_and(|name| name.as_os_str() == link)).collect()
    }

    #[test]
    fn names_of_siblings() {
        let sibling = |name: &str, names: Names, what: &str| {
            sibling_name(name.as_bytes(), names.region, what).map(|name| String::from_utf8(name).unwrap())
        };
        let board = |name: &str| sibling(name, LOG, LOG.board);
        assert_eq!(board("/memfd:shmlog:a:log (deleted)").unwrap(), "/memfd:shmlog:a:board (deleted)");
        assert_eq!(board("/dev/shm/log/log").unwrap(), "/dev/shm/log/board");
        assert_eq!(board("/dev/shm/catalog"), None);
        assert_eq!(board(""), None);
        let lock = |name: &str| sibling(name, SNAPSHOT, SNAPSHOT.lock);
        assert_eq!(lock("/memfd:shmlog:log:snapshot (deleted)").unwrap(), "/memfd:shmlog:log:writers (deleted)");
        assert_eq!(lock("/memfd:shmlog:snapshot:log (deleted)"), None);
    }

    #[test]
    fn only_what_is_in_a_process_counts_as_a_descriptor() {
        assert!(descriptors_around(Path::new("/proc/self/fd/0")).is_some());
        assert!(descriptors_around(Path::new("/dev/fd/0")).is_some());
        for path in ["/proc/self/0", "/proc/self/fdinfo/0", "/dev/shm/fd/0", "fd", ""] {
            assert_eq!(descriptors_around(Path::new(path)), None, "{path}");
        }
    }
}
