//! The log: making one, opening one, taking handles.

pub(crate) mod appender;
pub(crate) mod batch;
pub(crate) mod blocked;
pub(crate) mod builder;
pub(crate) mod info;
mod linger;
pub(crate) mod observe;
pub(crate) mod parts;
pub(crate) mod pin;
pub(crate) mod reader;
pub(crate) mod record;
pub(crate) mod seat;
pub(crate) mod slot;
pub(crate) mod start;

pub use appender::{Appender, Exclusive, Mode, Shared};
pub use batch::Batch;
pub use builder::LogBuilder;
pub use info::{Backing, LogInfo, ParticipantInfo};
pub use reader::Reader;
pub use record::{Parts, Record, View};
pub use slot::Slot;
pub use start::{ReaderBuilder, Start};

use crate::directory;
use crate::error::{AttachError, JoinError};
use crate::mapped::Mapped;
use crate::region::Region;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Arc;

/// What a process may do with a log it opens or is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Access {
    /// Append and read; to a snapshot, publish and load.
    Append,
    /// Read: the log is mapped read-only, the board writable. Whether appenders live is not known here:
    /// readers have no descriptor of their locks.
    Read,
    /// Look on: log and board are mapped read-only. Readers take no slot, can't gate, and wait by
    /// looking now and then.
    Observe,
    /// As `Append`, and a hub grants it to one process at a time.
    Own,
}

impl Access {
    /// Whether the log itself is written to.
    pub(crate) fn is_writing(self) -> bool {
        matches!(self, Self::Append | Self::Own)
    }
}

/// Whether attaching makes every page present in this process at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum Prefault {
    /// Yes: attaching takes longer, and nothing faults later. The default; an observer never does.
    #[default]
    Yes,
    /// No: each page faults when it is first touched. The memory is allocated all the same.
    No,
}

/// A log as this process has it mapped. Cheap to clone; handles are taken from it.
///
/// A process forked without exec shares its parent's handles and must neither use nor drop them, and
/// keeps its parent's locks alive; pass the log on instead.
///
/// ```
/// use shmlog::{Log, Start};
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let log = Log::builder().create_memfd("feed")?;
/// let mut appender = log.appender()?;
/// let mut reader = log.reader(Start::Oldest)?;
/// appender.append(b"hello")?;
/// assert_eq!(reader.try_next()?.unwrap().to_vec()?, b"hello");
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Log {
    mapped: Arc<Mapped>,
}

impl Log {
    /// Settings for a new log.
    pub fn builder() -> LogBuilder {
        LogBuilder::default()
    }

    /// Opens a named log, made by [`LogBuilder::create_at`], and makes all of it present in this
    /// process, so that nothing faults later.
    ///
    /// # Errors
    /// [`AttachError`]: no log there, or one that this crate can't or won't use.
    pub fn open(path: impl AsRef<Path>, access: Access) -> Result<Self, AttachError> {
        Self::open_with(path, access, Prefault::Yes)
    }

    /// Opens a named log as [`Log::open`] does, with or without making its pages present.
    ///
    /// # Errors
    /// As [`Log::open`].
    pub fn open_with(path: impl AsRef<Path>, access: Access, prefault: Prefault) -> Result<Self, AttachError> {
        let files = directory::open(path.as_ref(), directory::LOG, access)?;
        Self::attach(files.region, Some(files.board), files.lock, access, prefault)
    }

    /// Removes a named log. Processes that have it open keep it.
    ///
    /// # Errors
    /// What the file system says.
    pub fn remove(path: impl AsRef<Path>) -> std::io::Result<()> {
        directory::remove(path.as_ref(), directory::LOG)
    }

    pub(crate) fn attach(
        log: OwnedFd,
        board: Option<OwnedFd>,
        lock: Option<OwnedFd>,
        access: Access,
        prefault: Prefault,
    ) -> Result<Self, AttachError> {
        let log = Region::map(log, access.is_writing(), "log")?;
        let board = board.map(|board| Region::map(board, access != Access::Observe, "board")).transpose()?;
        let mapped = Mapped::attach(log, board, lock)?;
        // An observer looks at a little of it, and should not make a large log present.
        if access != Access::Observe && prefault == Prefault::Yes {
            mapped.populate()?;
        }
        Ok(Self::of(mapped))
    }

    pub(crate) fn of(mapped: Mapped) -> Self {
        Self { mapped: Arc::new(mapped) }
    }

    pub(crate) fn mapped(&self) -> &Arc<Mapped> {
        &self.mapped
    }

    /// Takes a shared appender: any number at once.
    ///
    /// # Errors
    /// [`JoinError`]: an exclusive one is attached, the board is full, or the log is read-only here.
    pub fn appender(&self) -> Result<Appender<Shared>, JoinError> {
        Appender::join(self, "")
    }

    /// Takes a shared appender with a name, at most 32 bytes of it, for others to see.
    ///
    /// # Errors
    /// As [`Log::appender`].
    pub fn appender_named(&self, name: &str) -> Result<Appender<Shared>, JoinError> {
        Appender::join(self, name)
    }

    /// Takes the exclusive appender: faster, but alone. When its process dies, however it dies, the
    /// next one can be taken at once.
    ///
    /// # Errors
    /// [`JoinError`]: others are attached, or the log is read-only here.
    pub fn exclusive(&self) -> Result<Appender<Exclusive>, JoinError> {
        Appender::join(self, "")
    }

    /// Takes the exclusive appender with a name.
    ///
    /// # Errors
    /// As [`Log::exclusive`].
    pub fn exclusive_named(&self, name: &str) -> Result<Appender<Exclusive>, JoinError> {
        Appender::join(self, name)
    }

    /// Takes a free reader.
    ///
    /// # Errors
    /// [`JoinError`]: no such record.
    pub fn reader(&self, start: Start) -> Result<Reader, JoinError> {
        self.reader_builder().start(start)
    }

    /// Settings for a reader.
    pub fn reader_builder(&self) -> ReaderBuilder<'_> {
        ReaderBuilder::new(self)
    }

    /// What the log is and who is attached, now. A snapshot: others go on meanwhile.
    pub fn info(&self) -> LogInfo {
        LogInfo::of(&self.mapped)
    }
}
