//! Looking on at a snapshot that another process has open.

use crate::directory::SNAPSHOT as NAMES;
use crate::error::AttachError;
use crate::layout::board::BOARD_MAGIC;
use crate::layout::control::{ARENA_MAGIC, LOG_MAGIC};
use crate::layout::slots::PIN_BOARD_MAGIC;
use crate::log::Access;
use crate::observe::{Siblings, instead};
use crate::region::Region;
use crate::snapshot::Snapshot;
use crate::snapshot::preamble;
use crate::snapshot::slots::Slots;
use std::path::Path;

impl Snapshot {
    /// Opens a snapshot to look on: a named one, as [`Snapshot::open`] with [`Access::Observe`], or one that
    /// another process has open, by the path of its descriptor, `/proc/PID/fd/N`. It can be loaded, not pinned.
    ///
    /// The board and the lock are looked for among that process's other descriptors. Without the board it is
    /// not known who pins; without the lock, or if it may be that of another snapshot of the same name, not
    /// which slots have a writer. The process goes on meanwhile and is not disturbed, and what was found stays
    /// open here when it ends.
    ///
    /// ```
    /// use shmlog::Snapshot;
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let state = Snapshot::builder().create_memfd("state")?;
    /// state.writer()?.publish(&17_u64)?;
    /// // What `ls -l /proc/PID/fd` shows to people.
    /// let mut descriptors = std::fs::read_dir("/proc/self/fd")?.filter_map(Result::ok).map(|entry| entry.path());
    /// let is_it = |path: &std::path::PathBuf| {
    ///     std::fs::read_link(path).is_ok_and(|target| target.as_os_str() == "/memfd:shmlog:state:snapshot (deleted)")
    /// };
    /// let path = descriptors.find(is_it).ok_or("no such descriptor")?;
    /// let seen = Snapshot::observe(path)?;
    /// assert_eq!(seen.info().slots[0].version, 1);
    /// assert_eq!(*seen.reader()?.load::<u64>()?.expect("published"), 17);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`AttachError`]: no snapshot there, one that this crate can't or won't use, or a process whose
    /// descriptors this one may not see. [`AttachError::Foreign`] also if the descriptor is that of a board or
    /// a log, and says so.
    pub fn observe(path: impl AsRef<Path>) -> Result<Self, AttachError> {
        let path = path.as_ref();
        let Some((file, siblings)) = Siblings::of(path, NAMES)? else { return Self::open(path, Access::Observe) };
        let region = Region::map_sparse(file, false, "snapshot")?;
        let traits = preamble::read_snapshot(&region).map_err(|error| instead(&region, error, INSTEAD))?;
        let board = siblings.board(|board| preamble::check_board(board, &traits).is_ok());
        Ok(Self::of(Slots::attach(region, board, siblings.lock())?))
    }
}

/// What else a descriptor may be open on.
const INSTEAD: &[(u64, &str)] = &[
    (PIN_BOARD_MAGIC, "snapshot (this is a board: name the snapshot's descriptor)"),
    (LOG_MAGIC, "snapshot (this is a log)"),
    (BOARD_MAGIC, "snapshot (this is the board of a log)"),
    (ARENA_MAGIC, "snapshot (this is an arena)"),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::{JoinError, LoadError};
    use crate::log::Log;
    use crate::observe::tests::descriptors;

    fn observe(name: &str, what: &str) -> Result<Snapshot, AttachError> {
        Snapshot::observe(&descriptors(&format!("/memfd:shmlog:{name}:{what} (deleted)"))[0])
    }

    #[test]
    fn board_and_lock_are_found() {
        let made = Snapshot::builder().names(["A", "B"]).slots(3).create_memfd("observed").unwrap();
        let mut writer = made.writer_of(1).unwrap();
        writer.first().as_of(7).publish_bytes(b"x").unwrap();
        let mut reader = made.reader_of(1).unwrap();
        reader.set_name("desk");
        let pinned = reader.pin().unwrap().unwrap();
        let seen = observe("observed", "snapshot").unwrap();
        let info = seen.info();
        assert_eq!(info, made.info());
        assert_eq!(info.slots.iter().map(|slot| slot.has_writer.unwrap()).collect::<Vec<_>>(), [false, true, false]);
        let pin = info.readers[0];
        assert_eq!((pin.who.name(), pin.is_alive, pin.slot), ("desk".to_owned(), Some(true), Some(1)));
        assert_eq!(seen.reader_of(1).unwrap().load_bytes().unwrap().unwrap().value, pinned.to_vec());
        assert!(!seen.mapped().region().is_writable() && !seen.mapped().board().unwrap().is_writable());
        assert!(matches!(seen.reader_of(1).unwrap().pin(), Err(LoadError::NoSeat(JoinError::Observing))));
        assert!(matches!(seen.writer(), Err(JoinError::ReadOnly)));
    }

    #[test]
    fn each_of_two_snapshots_of_one_name_has_its_own_board() {
        let made = [(); 2].map(|()| Snapshot::builder().create_memfd("snapshot twin").unwrap());
        let mut writer = made[0].writer().unwrap();
        writer.publish_bytes(b"x").unwrap();
        let mut reader = made[0].reader().unwrap();
        let _pinned = reader.pin().unwrap().unwrap();
        let paths = descriptors("/memfd:shmlog:snapshot twin:snapshot (deleted)");
        assert_eq!(paths.len(), 2);
        for path in paths {
            let info = Snapshot::observe(path).unwrap().info();
            let is_first = info.id == made[0].info().id;
            assert!(is_first || info.id == made[1].info().id);
            // Whose lock is whose nobody can tell.
            assert_eq!(info.slots[0].has_writer, None);
            assert_eq!(info.readers.len(), usize::from(is_first));
        }
    }

    #[test]
    fn sparse_and_sealed_ones_are_seen_too() {
        let sparse = Snapshot::builder().capacity_bytes(1 << 30).sparse(true).create_memfd("seen sparse").unwrap();
        sparse.writer().unwrap().publish_bytes(&[7; 10_000]).unwrap();
        let seen = observe("seen sparse", "snapshot").unwrap();
        assert_eq!(seen.reader().unwrap().load_bytes().unwrap().unwrap().value, [7; 10_000]);
        let sealed = Snapshot::builder().write_sealed(true).create_memfd("seen sealed").unwrap();
        let info = observe("seen sealed", "snapshot").unwrap().info();
        assert!(info.is_write_sealed);
        assert_eq!(info, sealed.info());
    }

    #[test]
    fn other_descriptors_are_refused() {
        let _snapshot = Snapshot::builder().create_memfd("no snapshot").unwrap();
        let _log = Log::builder().create_memfd("no snapshot").unwrap();
        for (what, said) in [("pins", "this is a board"), ("log", "a log)"), ("board", "the board of a log)")] {
            let error = observe("no snapshot", what).unwrap_err();
            assert!(matches!(error, AttachError::Foreign { .. }) && error.to_string().contains(said), "{error}");
        }
        let lock = observe("no snapshot", "writers").unwrap_err();
        assert!(matches!(lock, AttachError::WrongSize { found_bytes: 0, .. }));
        assert!(matches!(Snapshot::observe("/proc/self/fd/1000000"), Err(AttachError::NotFound { .. })));
    }

    #[test]
    fn named_snapshots_are_found_by_any_path() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("state");
        let made = Snapshot::builder().create_at(&path).unwrap();
        let _writer = made.writer().unwrap();
        let name = path.canonicalize().unwrap().join(NAMES.region);
        for path in [path.clone(), path.join(NAMES.region), descriptors(name.to_str().unwrap()).swap_remove(0)] {
            let seen = Snapshot::observe(path).unwrap().info();
            assert_eq!(seen, made.info());
            assert_eq!(seen.slots[0].has_writer, Some(true));
        }
        assert!(matches!(Snapshot::observe(dir.path().join("no")), Err(AttachError::NotFound { .. })));
    }
}
