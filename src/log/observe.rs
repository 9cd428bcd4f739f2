//! Looking on at a log that another process has open.

use crate::directory::LOG as NAMES;
use crate::error::AttachError;
use crate::layout::board::BOARD_MAGIC;
use crate::layout::control::ARENA_MAGIC;
use crate::layout::slots::{PIN_BOARD_MAGIC, SNAPSHOT_MAGIC};
use crate::log::{Access, Log};
use crate::mapped::Mapped;
use crate::observe::{Siblings, instead};
use crate::preamble;
use crate::region::Region;
use std::path::Path;

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
    /// a board or a snapshot, and says so.
    pub fn observe(path: impl AsRef<Path>) -> Result<Self, AttachError> {
        let path = path.as_ref();
        let Some((file, siblings)) = Siblings::of(path, NAMES)? else { return Self::open(path, Access::Observe) };
        let log = Region::map(file, false, "log")?;
        let traits = preamble::read_log(&log).map_err(|error| instead(&log, error, INSTEAD))?;
        let board = siblings.board(|board| preamble::check_board(board, &traits).is_ok());
        Ok(Self::of(Mapped::attach(log, board, siblings.lock())?))
    }
}

/// What else a descriptor may be open on.
const INSTEAD: &[(u64, &str)] = &[
    (BOARD_MAGIC, "log (this is a board: name the log's descriptor)"),
    (SNAPSHOT_MAGIC, "log (this is a snapshot)"),
    (PIN_BOARD_MAGIC, "log (this is the board of a snapshot)"),
    (ARENA_MAGIC, "log (this is an arena)"),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arena::Arena;
    use crate::log::Start;
    use crate::observe::tests::descriptors;
    use crate::snapshot::Snapshot;
    use std::io;

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
        let _snapshot = Snapshot::builder().create_memfd("refused").unwrap();
        let _arena = Arena::create_memfd("refused", 4096).unwrap();
        for (what, said) in [("snapshot", "a snapshot)"), ("pins", "the board of a snapshot)"), ("arena", "an arena)")]
        {
            let error = observe(what).unwrap_err();
            assert!(error.to_string().contains(said), "{error}");
        }
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
}
