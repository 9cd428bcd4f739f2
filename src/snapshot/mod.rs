//! Snapshot slots: the latest value of something, for any number of readers that only load.

mod access;
#[cfg(feature = "rkyv")]
mod archive;
mod attempt;
mod builder;
mod draft;
mod frame;
mod info;
mod loaded;
mod observe;
mod pinned;
mod preamble;
mod reader;
mod seat;
mod slots;
mod writer;

#[cfg(feature = "rkyv")]
pub use archive::{Archivable, Checked, Rebuilt};
pub use builder::SnapshotBuilder;
pub use draft::Draft;
pub use info::{PinInfo, SlotInfo, SnapshotInfo};
pub use loaded::{Loaded, Stamp};
pub use pinned::Pinned;
pub use reader::SnapshotReader;
pub use writer::{SlotWriter, SnapshotWriter};

use crate::directory::{self, SNAPSHOT};
use crate::error::{AttachError, JoinError};
use crate::log::{Access, Prefault};
use crate::name::get_name;
use crate::region::Region;
use crate::row::Row;
use crate::snapshot::slots::Slots;
use crate::wait::standing_by;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// The latest value of one thing, or of many: a region of slots, each with a few versioned buffers.
///
/// One process writes a slot at a time, which the kernel enforces, and when it dies, however it dies, the
/// next one can at once. Readers only load, on read-only mappings: they never see a value torn or older
/// than one they could have seen before, and they wait for nobody, nor does the writer wait for them. A
/// writer killed half way leaves the value before. Cheap to clone; handles are taken from it.
///
/// ```
/// use shmlog::Snapshot;
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let prices = Snapshot::builder().values::<u64>().names(["AAPL", "MSFT"]).create_memfd("prices")?;
/// let mut writer = prices.writer()?;
/// let apple = prices.find("AAPL").expect("named above");
/// let mut reader = prices.reader_of(apple)?;
/// assert!(reader.load::<u64>()?.is_none(), "nothing published yet");
///
/// writer.slot(apple)?.as_of(17).publish(&58_569_u64)?;
/// let price = reader.load::<u64>()?.expect("published");
/// assert_eq!((*price, price.as_of), (58_569, Some(17)));
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Snapshot {
    slots: Arc<Slots>,
}

impl Snapshot {
    /// Settings for a new snapshot.
    pub fn builder() -> SnapshotBuilder {
        SnapshotBuilder::default()
    }

    /// Opens a named snapshot, made by [`SnapshotBuilder::create_at`], and makes all of it present in this
    /// process unless it is sparse.
    ///
    /// # Errors
    /// [`AttachError`]: none there, or one that this crate can't or won't use. Nothing is created.
    pub fn open(path: impl AsRef<Path>, access: Access) -> Result<Self, AttachError> {
        let files = directory::open(path.as_ref(), SNAPSHOT, access)?;
        Self::attach(files.region, Some(files.board), files.lock, access, Prefault::Yes)
    }

    /// Removes a named snapshot. Processes that have it open keep it.
    ///
    /// # Errors
    /// What the file system says.
    pub fn remove(path: impl AsRef<Path>) -> std::io::Result<()> {
        directory::remove(path.as_ref(), SNAPSHOT)
    }

    pub(crate) fn attach(
        region: OwnedFd,
        board: Option<OwnedFd>,
        lock: Option<OwnedFd>,
        access: Access,
        prefault: Prefault,
    ) -> Result<Self, AttachError> {
        let region = Region::map_sparse(region, access.is_writing(), "snapshot")?;
        let board = board.map(|board| Region::map(board, access != Access::Observe, "board")).transpose()?;
        let slots = Slots::attach(region, board, lock)?;
        if access != Access::Observe && prefault == Prefault::Yes {
            slots.populate()?;
        }
        Ok(Self::of(slots))
    }

    pub(crate) fn of(slots: Slots) -> Self {
        Self { slots: Arc::new(slots) }
    }

    pub(crate) fn mapped(&self) -> &Arc<Slots> {
        &self.slots
    }

    /// Number of slots.
    #[allow(clippy::cast_possible_truncation, reason = "at most 2^20")]
    pub fn len(&self) -> usize {
        self.slots.traits().geometry.slots as usize
    }

    /// Whether there are no slots: never.
    pub fn is_empty(&self) -> bool {
        false
    }

    /// Bytes of the longest value.
    pub fn capacity_bytes(&self) -> u64 {
        self.slots.traits().geometry.capacity_bytes
    }

    /// The slots that have names, with them. The writer may name others meanwhile.
    pub fn names(&self) -> impl Iterator<Item = (usize, String)> + '_ {
        (0..self.len()).filter_map(|index| self.name(index).map(|name| (index, name)))
    }

    /// The slot of this name. Looks at one name after the other: keep what it says. The writer may name others
    /// meanwhile.
    pub fn find(&self, name: &str) -> Option<usize> {
        self.slots.find(name)
    }

    /// The name of a slot, if it has one.
    pub fn name(&self, index: usize) -> Option<String> {
        get_name(self.slots.name_words(index))
    }

    /// Becomes the writer of all slots.
    ///
    /// # Errors
    /// [`JoinError::WriterAttached`] while a writer of any of them lives; [`JoinError::ReadOnly`].
    pub fn writer(&self) -> Result<SnapshotWriter, JoinError> {
        SnapshotWriter::join(&self.slots, 0..self.len())
    }

    /// Becomes the writer of all slots when the one before has died or let go; waits for that at most
    /// `timeout`. For a process that stands by.
    ///
    /// # Errors
    /// As [`Snapshot::writer`].
    pub fn writer_within(&self, timeout: Duration) -> Result<SnapshotWriter, JoinError> {
        standing_by(timeout, || self.writer(), |error| matches!(error, JoinError::WriterAttached))
    }

    /// Becomes the writer of one slot; other processes may write the others.
    ///
    /// # Errors
    /// [`JoinError::WriterAttached`] while another one lives; [`JoinError::ReadOnly`];
    /// [`JoinError::NoSlot`].
    pub fn writer_of(&self, index: usize) -> Result<SnapshotWriter, JoinError> {
        self.check_slot(index)?;
        SnapshotWriter::join(&self.slots, index..index + 1)
    }

    /// Takes a reader of slot 0: any number at once.
    ///
    /// # Errors
    /// As [`Snapshot::reader_of`].
    pub fn reader(&self) -> Result<SnapshotReader, JoinError> {
        self.reader_of(0)
    }

    /// Takes a reader of one slot: any number at once.
    ///
    /// # Errors
    /// [`JoinError::NoSlot`]; [`JoinError::Corrupt`] if the slot's memory is not there.
    pub fn reader_of(&self, index: usize) -> Result<SnapshotReader, JoinError> {
        self.check_slot(index)?;
        SnapshotReader::join(&self.slots, index)
    }

    fn check_slot(&self, index: usize) -> Result<(), JoinError> {
        if index < self.len() { Ok(()) } else { Err(JoinError::NoSlot { index, slots: self.len() }) }
    }

    /// What it is, and what its slots hold, now. Others go on meanwhile.
    pub fn info(&self) -> SnapshotInfo {
        SnapshotInfo::of(self)
    }

    /// The reader of the slot of this name.
    ///
    /// # Errors
    /// [`JoinError::NoName`]; else as [`Snapshot::reader_of`].
    pub fn reader_named(&self, name: &str) -> Result<SnapshotReader, JoinError> {
        self.reader_of(self.find(name).ok_or_else(|| JoinError::NoName { name: name.to_owned() })?)
    }

    /// Clears the pins of the dead, so that the writer need not find them first. Returns how many.
    pub(crate) fn bury_dead(&self) -> usize {
        self.slots.row().as_ref().map_or(0, Row::bury_all)
    }
}
