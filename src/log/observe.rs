//! Looking on at a log that another process has open, through its descriptors in /proc (proc(5)).

use crate::directory::LOG as NAMES;
use crate::error::AttachError;
use crate::layout::board::{BOARD_MAGIC, BoardHeader};
use crate::log::{Access, Log};
use crate::mapped::Mapped;
use crate::preamble::{self, Traits, check_magic};
use crate::region::Region;
use rustix::fs::OFlags;
use std::collections::HashSet;
use std::fs::{self, File};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

impl Log {
    /// Opens a log to look on: a named one, as [`Log::open`] with [`Access::Observe`], or one that
    /// another process has open, by the path of its descriptor, `/proc/PID/fd/N`.
    ///
    /// The board and the lock are looked for among that process's other descriptors. Without the
    /// board nothing is known of the participants; without the lock, or if it may be that of another
    /// log of the same name, not whether appenders live. The process goes on meanwhile and is not
    /// disturbed, and what was found stays open here when it ends.
    ///
    /// ```
    /// use shmlog::Log;
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let log = Log::builder().create_memfd("feed")?;
    /// log.appender()?.append(b"hello")?;
    /// // What `ls -l /proc/PID/fd` shows to people.
    /// let mut descriptors = std::fs::read_dir("/proc/self/fd")?.filter_map(Result::ok).map(|entry| entry.path());
    /// let is_log = |path: &std::path::PathBuf| {
    ///     std::fs::read_link(path).is_ok_and(|target| target.as_os_str() == "/memfd:shmlog:feed:log (deleted)")
    /// };
    /// let path = descriptors.find(is_log).ok_or("no such descriptor")?;
    /// assert_eq!(Log::observe(path)?.info().next_seq, 1);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`AttachError`]: no log there, one that this crate can't or won't use, or a process whose
    /// descriptors this one may not see. [`AttachError::Foreign`] also if the descriptor is that of
    /// a board.
    pub fn observe(path: impl AsRef<Path>) -> Result<Self, AttachError> {
        let path = path.as_ref();
        match (descriptors_around(path), path.file_name()) {
            (Some(descriptors), Some(number)) if !path.is_dir() => {
                observe(path, &descriptors, &descriptors.join(number))
            }
            _ => Self::open(path, Access::Observe),
        }
    }
}

/// The directory that `path` lies in, if it is one of a process's descriptors.
fn descriptors_around(path: &Path) -> Option<PathBuf> {
    let parent = path.parent()?;
    let parent = if parent.as_os_str().is_empty() { Path::new(".") } else { parent };
    let directory = parent.canonicalize().ok()?;
    (directory.starts_with("/proc") && directory.ends_with("fd")).then_some(directory)
}

/// `path` is what the caller called `descriptor`, one of `descriptors`.
fn observe(path: &Path, descriptors: &Path, descriptor: &Path) -> Result<Log, AttachError> {
    let file = open(descriptor).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => AttachError::NotFound { path: path.to_owned() },
        _ => AttachError::os("opening the descriptor", error),
    })?;
    let log = Region::map(file, false, "log")?;
    let traits = preamble::read_log(&log).map_err(|error| if is_board(&log) { BOARD_INSTEAD } else { error })?;
    let name = fs::read_link(descriptor).unwrap_or_default();
    let siblings = Siblings { descriptors, log_name: name.as_os_str().as_bytes() };
    Ok(Log::of(Mapped::attach(log, siblings.board(&traits), siblings.lock())?))
}

const BOARD_INSTEAD: AttachError = AttachError::Foreign { what: "log (this is a board: name the log's descriptor)" };

fn is_board(region: &Region) -> bool {
    let header = region.view::<BoardHeader>(0);
    header.is_some_and(|header| check_magic(&header.magic, &header.version, BOARD_MAGIC, NAMES.board).is_ok())
}

/// Opens for reading, without waiting for the writer of what may be a pipe.
fn open(path: &Path) -> io::Result<OwnedFd> {
    let no_wait = (OFlags::NONBLOCK | OFlags::NOCTTY).bits().cast_signed();
    File::options().read(true).custom_flags(no_wait).open(path).map(OwnedFd::from)
}

/// The descriptors that a process has beside the log's.
#[derive(Clone, Copy, Debug)]
struct Siblings<'p> {
    descriptors: &'p Path,
    /// Where the log's descriptor leads: `/memfd:shmlog:NAME:log (deleted)`, or `/PATH/log`.
    log_name: &'p [u8],
}

impl Siblings<'_> {
    /// The board that belongs to the log, as both say themselves.
    fn board(self, traits: &Traits) -> Option<Region> {
        let mapped = self
            .named(NAMES.board)
            .into_iter()
            .filter_map(|path| Region::map(open(&path).ok()?, false, NAMES.board).ok());
        mapped.into_iter().find(|board| preamble::check_board(board, traits).is_ok())
    }

    /// The lock. It does not say whose it is: `None` unless there is one log and one lock of the name.
    fn lock(self) -> Option<OwnedFd> {
        let locks = self.named(NAMES.lock);
        if count_files(&locks) == 1 && count_files(&self.named(NAMES.region)) == 1 {
            open(locks.first()?).ok()
        } else {
            None
        }
    }

    /// Descriptors that are called as the log is, with `what` in place of `log`.
    fn named(self, what: &str) -> Vec<PathBuf> {
        let (Some(wanted), Ok(entries)) = (sibling_name(self.log_name, what), fs::read_dir(self.descriptors)) else {
            return Vec::new();
        };
        let is_wanted = |path: &PathBuf| fs::read_link(path).is_ok_and(|name| name.as_os_str().as_bytes() == wanted);
        entries.filter_map(Result::ok).map(|entry| entry.path()).filter(is_wanted).collect()
    }
}

fn sibling_name(log_name: &[u8], what: &str) -> Option<Vec<u8>> {
    const GONE: &[u8] = b" (deleted)";
    let (name, tail) = log_name.strip_suffix(GONE).map_or((log_name, &b""[..]), |name| (name, GONE));
    let stem =
        name.strip_suffix(NAMES.region.as_bytes()).filter(|stem| stem.ends_with(b":") || stem.ends_with(b"/"))?;
    Some([stem, what.as_bytes(), tail].concat())
}

/// How many different files these descriptors are open on.
fn count_files(paths: &[PathBuf]) -> usize {
    let identity = |path: &PathBuf| fs::metadata(path).ok().map(|file| (file.dev(), file.ino()));
    paths.iter().filter_map(identity).collect::<HashSet<_>>().len()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::Start;

    /// This process's descriptors of that name.
    fn descriptors(link: &str) -> Vec<PathBuf> {
        let paths = fs::read_dir("/proc/self/fd").unwrap().map(|entry| entry.unwrap().path());
        paths.filter(|path| fs::read_link(path).is_ok_and(|name| name.as_os_str() == link)).collect()
    }

    fn liveness(log: &Log) -> Vec<Option<bool>> {
        log.info().participants.iter().map(|who| who.is_alive).collect()
    }

    #[test]
    fn board_and_lock_are_found() {
        let log = Log::builder().create_memfd("observed").unwrap();
        let mut appender = log.appender_named("feeder").unwrap();
        let _reader = log.reader(Start::End).unwrap();
        appender.append(b"x").unwrap();
        let seen = Log::observe(&descriptors("/memfd:shmlog:observed:log (deleted)")[0]).unwrap();
        assert_eq!(seen.info(), log.info());
        assert_eq!(liveness(&seen), [Some(true), Some(true)]);
        assert_eq!(seen.info().participants[0].who.name(), "feeder");
        assert!(!seen.mapped().log().is_writable() && !seen.mapped().board().unwrap().is_writable());
    }

    #[test]
    fn each_of_two_logs_of_one_name_has_its_own_board() {
        let logs = [(); 2].map(|()| Log::builder().create_memfd("twin").unwrap());
        let _handles = [(logs[0].appender().unwrap(), logs[0].reader(Start::End).unwrap())];
        let paths = descriptors("/memfd:shmlog:twin:log (deleted)");
        assert_eq!(paths.len(), 2);
        for path in paths {
            let seen = Log::observe(path).unwrap();
            let is_first = seen.info().id == logs[0].info().id;
            assert!(is_first || seen.info().id == logs[1].info().id);
            // Whose lock is whose nobody can tell; readers lock the board.
            assert_eq!(liveness(&seen), if is_first { vec![None, Some(true)] } else { vec![] });
        }
    }

    #[test]
    fn other_descriptors_are_refused() {
        let _log = Log::builder().create_memfd("refused").unwrap();
        let observe = |what: &str| Log::observe(&descriptors(&format!("/memfd:shmlog:refused:{what} (deleted)"))[0]);
        let error = observe("board").unwrap_err();
        assert!(
            matches!(error, AttachError::Foreign { .. }) && error.to_string().contains("this is a board"),
            "{error}"
        );
        assert!(matches!(observe("lock").unwrap_err(), AttachError::WrongSize { found_bytes: 0, .. }));
        assert!(matches!(Log::observe("/proc/self/fd/1000000").unwrap_err(), AttachError::NotFound { .. }));
        let (_pipe, writer) = io::pipe().unwrap();
        let pipe = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&writer));
        assert!(matches!(Log::observe(pipe).unwrap_err(), AttachError::WrongSize { .. }));
    }

    #[test]
    fn named_logs_are_found_by_any_path() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("feed");
        let log = Log::builder().create_at(&path).unwrap();
        let _appender = log.appender().unwrap();
        let name = path.canonicalize().unwrap().join(NAMES.region);
        for path in [path.clone(), path.join(NAMES.region), descriptors(name.to_str().unwrap()).swap_remove(0)] {
            assert_eq!(Log::observe(path).unwrap().info(), log.info());
        }
        assert!(matches!(Log::observe(dir.path().join("no")).unwrap_err(), AttachError::NotFound { .. }));
    }

    #[test]
    fn names_of_siblings() {
        let board =
            |name: &str| sibling_name(name.as_bytes(), NAMES.board).map(|name| String::from_utf8(name).unwrap());
        assert_eq!(board("/memfd:shmlog:a:log (deleted)").unwrap(), "/memfd:shmlog:a:board (deleted)");
        assert_eq!(board("/dev/shm/log/log").unwrap(), "/dev/shm/log/board");
        assert_eq!(board("/dev/shm/catalog"), None);
        assert_eq!(board(""), None);
    }
}
