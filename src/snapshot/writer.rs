//! Publishing.

use crate::core::cell::{Cell, MAX_VERSION, Pinned};
use crate::core::{copy, pins};
use crate::error::{JoinError, PublishError};
use crate::layout::slots::MAX_BUFFERS;
use crate::name::{get_name, is_name, put_name};
use crate::participant::Holder;
use crate::region::Region;
#[cfg(feature = "rkyv")]
use crate::snapshot::archive::Archivable;
use crate::snapshot::draft::Draft;
use crate::snapshot::frame::Frame;
use crate::snapshot::slots::Slots;
use crate::sync::{AtomicU64, Ordering::Relaxed};
use crate::sys::inspect::allocated_from;
use crate::sys::lock::{self, Mode};
use crate::sys::memory::allocate_range;
use crate::sys::reopen::reopen;
use std::collections::HashMap;
use std::io;
use std::ops::Range;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::{Duration, Instant};
use zerocopy::{Immutable, IntoBytes};

/// How long a writer waits for readers that pin everything, unless told otherwise.
const PATIENCE: Duration = Duration::from_millis(100);
/// Looks at the pins between which others are let run, before sleeping.
const YIELDS: u32 = 100;
/// Words of the smallest page there is.
const PAGE_WORDS: usize = 512;
/// Sleep between two looks at the pins.
const NAP: Duration = Duration::from_micros(50);

/// The writer of some slots, by [`Snapshot::writer`](crate::Snapshot::writer) or
/// [`Snapshot::writer_of`](crate::Snapshot::writer_of): the only one while its process lives, or until it
/// is dropped.
///
/// Publishing makes no system call, unless a reader sleeps ([`SnapshotReader::wait_newer`]), pins are in
/// the way, or a sparse value has grown.
///
/// [`SnapshotReader::wait_newer`]: crate::SnapshotReader::wait_newer
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let state = shmlog::Snapshot::builder().create_memfd("state")?;
/// let mut writer = state.writer()?;
/// assert!(state.writer().is_err(), "one at a time");
/// writer.publish(&17_u64)?;
/// writer.publish_bytes(b"of any length")?;
/// drop(writer);
/// state.writer()?.publish(&18_u64)?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct SnapshotWriter {
    slots: Arc<Slots>,
    owned: Range<usize>,
    /// Keeps the lock: a description of its own, never mapped, never passed on.
    own: OwnedFd,
    frame: Frame,
    patience: Duration,
    /// Of a sparse region: bytes known to be allocated, by offset of the buffer.
    allocated: Option<HashMap<u64, u64>>,
}

impl SnapshotWriter {
    pub(crate) fn join(slots: &Arc<Slots>, owned: Range<usize>) -> Result<Self, JoinError> {
        let (Some(lock), true) = (slots.lock(), slots.region().is_writable()) else {
            return Err(JoinError::ReadOnly);
        };
        slots.register()?;
        let own = reopen(lock, true).map_err(|error| JoinError::os("reopening the lock file", error))?;
        let locked = lock::try_lock_range(&own, owned.start as u64..owned.end as u64, Mode::Alone);
        if !locked.map_err(|error| JoinError::os("locking the slots", error))? {
            return Err(JoinError::WriterAttached);
        }
        let shape = &slots.traits().geometry;
        let allocated = shape.is_sparse.then(HashMap::new);
        Ok(Self { slots: Arc::clone(slots), owned, own, frame: Frame::of(shape), patience: PATIENCE, allocated })
    }

    /// One of the slots it owns.
    ///
    /// # Errors
    /// [`PublishError::NoSlot`]
    #[inline]
    pub fn slot(&mut self, index: usize) -> Result<SlotWriter<'_>, PublishError> {
        if !self.owned.contains(&index) {
            let (first, last) = (self.owned.start, self.owned.end - 1);
            return Err(PublishError::NoSlot { index, first, last });
        }
        Ok(SlotWriter { index, writer: self, as_of: None })
    }

    /// The first slot it owns.
    #[inline]
    pub fn first(&mut self) -> SlotWriter<'_> {
        SlotWriter { index: self.owned.start, writer: self, as_of: None }
    }

    /// Publishes plain data to the first slot; see [`SlotWriter::publish`].
    ///
    /// # Errors
    /// [`PublishError`]
    #[inline]
    pub fn publish<T: IntoBytes + Immutable + ?Sized>(&mut self, value: &T) -> Result<u64, PublishError> {
        self.first().publish(value)
    }

    /// Publishes bytes to the first slot; see [`SlotWriter::publish_bytes`].
    ///
    /// # Errors
    /// [`PublishError`]
    pub fn publish_bytes(&mut self, bytes: &[u8]) -> Result<u64, PublishError> {
        self.first().publish_bytes(bytes)
    }

    /// Publishes `len_bytes` bytes to the first slot, written in place; see [`SlotWriter::publish_with`].
    ///
    /// # Errors
    /// [`PublishError`]
    pub fn publish_with(&mut self, len_bytes: usize, fill: impl FnOnce(&mut Draft<'_>)) -> Result<u64, PublishError> {
        self.first().publish_with(len_bytes, fill)
    }

    /// Publishes any value that rkyv can serialize to the first slot; see [`SlotWriter::publish_archive`].
    ///
    /// # Errors
    /// [`PublishError`]
    #[cfg(feature = "rkyv")]
    pub fn publish_archive<T: for<'a> Archivable<'a>>(&mut self, value: &T) -> Result<u64, PublishError> {
        self.first().publish_archive(value)
    }

    /// Names a slot, once and for all, by 1 to 32 bytes that no other slot has; readers find it from then on.
    ///
    /// # Errors
    /// [`PublishError::Name`] if it has another name or this one does not fit; [`PublishError::NoSlot`].
    pub fn set_name(&mut self, index: usize, name: &str) -> Result<(), PublishError> {
        self.slot(index)?;
        let words = self.slots.name_words(index);
        let old = get_name(words);
        if self.slots.was_lost() {
            return Err(PublishError::MemoryLost);
        }
        match old {
            Some(old) if old == name => Ok(()),
            None if is_name(name) && self.slots.find(name).is_none() => {
                put_name(words, name);
                Ok(())
            }
            _ => Err(PublishError::Name { index, name: name.to_owned() }),
        }
    }

    /// How long a publication waits while living readers pin all buffers; 100 ms by default. Zero: not at
    /// all.
    pub fn set_patience(&mut self, patience: Duration) {
        self.patience = patience;
    }

    /// Waits for a buffer that nobody alive pins.
    #[cold]
    fn reserve_patiently(&self, cell: &Cell<'_>, index: usize) -> Result<u64, PublishError> {
        let started = Instant::now();
        let mut looks = 0_u32;
        loop {
            self.bury_pins(index);
            match cell.reserve(&*self.slots) {
                Ok(version) => return Ok(version),
                Err(Pinned { seat }) if started.elapsed() >= self.patience => {
                    return Err(PublishError::Busy { by: Holder::of(&self.slots.seats()[seat], seat) });
                }
                Err(_) if looks < YIELDS => std::thread::yield_now(),
                Err(_) => std::thread::sleep(NAP),
            }
            looks = looks.saturating_add(1);
        }
    }

    /// Clears the pins that the dead hold on a slot.
    fn bury_pins(&self, index: usize) {
        let Some(row) = self.slots.row() else { return };
        let ours = pins::word(index as u64, 0)..=pins::word(index as u64, MAX_BUFFERS - 1);
        for (seat, slot) in row.slots.iter().enumerate() {
            if ours.contains(&slot.hold.0.load(Relaxed)) {
                // What can't be asked counts as alive.
                let _ = row.bury(seat);
            }
        }
    }
}

impl Drop for SnapshotWriter {
    fn drop(&mut self) {
        // Closing does not suffice: a child that this process is just starting has a copy of the
        // descriptor until it execs.
        let _ = lock::unlock_range(&self.own, self.owned.start as u64..self.owned.end as u64);
    }
}

/// One slot of a [`SnapshotWriter`], to publish to.
#[derive(Debug)]
pub struct SlotWriter<'w> {
    writer: &'w mut SnapshotWriter,
    index: usize,
    as_of: Option<u64>,
}

impl SlotWriter<'_> {
    /// Says which log position the next value stands for: everything up to and with record `seq` is in it.
    #[inline]
    #[must_use]
    pub fn as_of(mut self, seq: u64) -> Self {
        self.as_of = Some(seq);
        self
    }

    /// Publishes plain data: from its return on, every load brings this value or a newer one. Returns the
    /// version. Readers are not waited for.
    ///
    /// # Errors
    /// [`PublishError`]; the value before it stays.
    #[inline]
    pub fn publish<T: IntoBytes + Immutable + ?Sized>(self, value: &T) -> Result<u64, PublishError> {
        self.publish_bytes(value.as_bytes())
    }

    /// Publishes bytes.
    ///
    /// # Errors
    /// As [`SlotWriter::publish`].
    #[inline]
    pub fn publish_bytes(self, bytes: &[u8]) -> Result<u64, PublishError> {
        self.put(bytes.len(), |words| copy::write(words, bytes))
    }

    /// Publishes `len_bytes` bytes that `fill` writes in place. If it panics, nothing is published.
    ///
    /// # Errors
    /// As [`SlotWriter::publish`].
    pub fn publish_with(self, len_bytes: usize, fill: impl FnOnce(&mut Draft<'_>)) -> Result<u64, PublishError> {
        self.put(len_bytes, |words| fill(&mut Draft::new(words, len_bytes)))
    }

    /// Publishes any value that rkyv can serialize.
    ///
    /// # Errors
    /// As [`SlotWriter::publish`]; [`PublishError::Serialize`].
    #[cfg(feature = "rkyv")]
    pub fn publish_archive<T: for<'a> Archivable<'a>>(self, value: &T) -> Result<u64, PublishError> {
        let bytes = rkyv::to_bytes::<rkyv::rancor::BoxedError>(value);
        let bytes = bytes.map_err(|error| PublishError::Serialize { reason: error.to_string() })?;
        self.publish_bytes(&bytes)
    }

    #[inline]
    fn put(self, len: usize, fill: impl FnOnce(&[AtomicU64])) -> Result<u64, PublishError> {
        let Self { writer, index, as_of } = self;
        let len_bytes = len as u64;
        let Frame { is_fixed, capacity_bytes } = writer.frame;
        if len_bytes > capacity_bytes || (is_fixed && len_bytes != capacity_bytes) {
            return Err(wrong_length(writer.frame, len_bytes));
        }
        let Some(cell) = writer.slots.cell(index) else { return Err(wrong_length(writer.frame, len_bytes)) };
        let version = match cell.reserve(&*writer.slots) {
            Ok(version) => version,
            Err(_) => writer.reserve_patiently(&cell, index)?,
        };
        if version > MAX_VERSION {
            return Err(PublishError::Exhausted { index });
        }
        if let Some(allocated) = &mut writer.allocated {
            let offset = writer.slots.buffer_offset(index, cell.buffer_of(version));
            let known = allocated.entry(offset).or_default();
            let wanted_bytes = writer.frame.meta_bytes() + len_bytes;
            allocate(writer.slots.region(), known, offset, wanted_bytes, cell.buffer(version))?;
        }
        fill(writer.frame.open(cell.buffer(version), as_of, len_bytes));
        cell.publish(version);
        writer.slots.ring(index);
        if writer.slots.was_lost() {
            return Err(PublishError::MemoryLost);
        }
        Ok(version)
    }
}

#[cold]
fn wrong_length(frame: Frame, len_bytes: u64) -> PublishError {
    let Frame { is_fixed, capacity_bytes } = frame;
    if is_fixed {
        return PublishError::WrongLength { len_bytes, value_bytes: capacity_bytes };
    }
    PublishError::TooLarge { len_bytes, limit_bytes: capacity_bytes }
}

/// Takes memory for a value of a sparse region: `wanted_bytes` from `offset` on, where `words` are. Writes to
/// each page, which counts as a hole until then (lseek(2), SEEK_HOLE): a value need not be written in full.
#[allow(clippy::cast_possible_truncation, reason = "at most the capacity of what is mapped")]
fn allocate(
    region: &Region,
    known: &mut u64,
    offset: u64,
    wanted_bytes: u64,
    words: &[AtomicU64],
) -> Result<(), PublishError> {
    if *known >= wanted_bytes {
        return Ok(());
    }
    let have = known.saturating_add(allocated_from(region.file(), offset + *known).unwrap_or(0)).min(wanted_bytes);
    let missing = wanted_bytes - have;
    allocate_range(region.file(), offset + have, missing).map_err(|error| match error.kind() {
        io::ErrorKind::StorageFull => PublishError::NoSpace { wanted_bytes: missing },
        _ => PublishError::Os { doing: "allocating memory for the value", error },
    })?;
    let words = words.get(..wanted_bytes.div_ceil(8) as usize).unwrap_or(words);
    for word in words.iter().step_by(PAGE_WORDS).skip((have / 8) as usize / PAGE_WORDS) {
        word.store(word.load(Relaxed), Relaxed);
    }
    // Whole pages were taken.
    *known = wanted_bytes.next_multiple_of(8 * PAGE_WORDS as u64);
    Ok(())
}
