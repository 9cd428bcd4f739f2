//! Loading.

use crate::anchor::Anchored;
use crate::core::cell::{Attempt, Cell};
use crate::core::copy;
use crate::core::pins::PinBoard;
use crate::error::{JoinError, LoadError};
#[cfg(feature = "rkyv")]
use crate::snapshot::archive::{self, Checked, Rebuilt};
use crate::snapshot::attempt::{Glance, Overtaken, look};
use crate::snapshot::frame::{Content, Frame};
use crate::snapshot::loaded::{Loaded, Stamp};
use crate::snapshot::pinned::{PinGuard, Pinned};
use crate::snapshot::seat::Seat;
use crate::snapshot::slots::Slots;
use crate::sync::AtomicU64;
use crate::sys::inspect::allocated_from;
use crate::wait::{self, Wait};
use std::hint::spin_loop;
use std::sync::Arc;
use std::time::Duration;
use zerocopy::{FromBytes, IntoBytes};

/// A handle that loads the values of one slot, by [`Snapshot::reader`](crate::Snapshot::reader) or
/// [`Snapshot::reader_of`](crate::Snapshot::reader_of).
///
/// A load takes the newest version there is. It writes nothing, makes no system call and waits for nobody;
/// only if the writer publishes as many versions as there are buffers while it copies, it begins anew.
/// Values never go back in time.
///
/// ```
/// use std::time::Duration;
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let state = shmlog::Snapshot::builder().create_memfd("state")?;
/// let mut reader = state.reader()?;
/// let mut bytes = Vec::new();
/// assert!(reader.load_into(&mut bytes)?.is_none(), "nothing published yet");
///
/// let version = state.writer()?.publish_bytes(b"open")?;
/// let stamp = reader.load_into(&mut bytes)?.expect("published");
/// assert_eq!((bytes.as_slice(), stamp.version), (&b"open"[..], version));
/// assert!(!reader.wait_newer(version, Duration::from_millis(1)));
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct SnapshotReader {
    place: Anchored<Cell<'static>, Slots>,
    index: usize,
    frame: Frame,
    seat: Option<Seat>,
    name: String,
    wait: Wait,
    /// The version loaded last.
    seen: u64,
    retries: u64,
    /// Of a sparse region: how many bytes of each buffer are known to be allocated.
    allocated: Option<Vec<u64>>,
}

impl SnapshotReader {
    pub(crate) fn join(slots: &Arc<Slots>, index: usize) -> Result<Self, JoinError> {
        let shape = slots.traits().geometry;
        let no_slot = || JoinError::NoSlot { index, slots: usize::try_from(shape.slots).unwrap_or(usize::MAX) };
        let place = Anchored::new(Arc::clone(slots), |slots| slots.cell(index).ok_or_else(no_slot))?;
        let mut allocated = None;
        if shape.is_sparse {
            let head = shape.first_slot() + index as u64 * shape.slot_bytes();
            if allocated_from(slots.region().file(), head).unwrap_or(0) < shape.first_buffer() {
                return Err(JoinError::Corrupt);
            }
            allocated = Some(vec![0; usize::try_from(shape.buffers).unwrap_or(0)]);
        }
        let (name, wait) = (String::new(), Wait::default());
        let frame = Frame::of(&shape);
        Ok(Self { place, index, frame, seat: None, name, wait, seen: 0, retries: 0, allocated })
    }

    /// The version that this handle loaded or pinned last; 0 before the first.
    pub fn seen(&self) -> u64 {
        self.seen
    }

    /// The newest version, which this handle need not have loaded; 0 before the first.
    #[inline]
    pub fn version(&self) -> u64 {
        self.place.state().version()
    }

    /// Whether there is a newer version than `version`, one that was loaded before.
    #[inline]
    pub fn changed_since(&self, version: u64) -> bool {
        self.version() != version
    }

    /// Waits until there is a newer version than this handle has loaded, for at most `timeout`. Returns
    /// whether there is.
    pub fn wait_unseen(&self, timeout: Duration) -> bool {
        self.wait_newer(self.seen, timeout)
    }

    /// Waits until there is a newer version than `version`, for at most `timeout`. Returns whether there is.
    ///
    /// It waits as it was told to ([`SnapshotReader::set_wait`]); blocked, on a futex that the writer
    /// wakes. An observer, who can't call the writer, looks every 200 us.
    pub fn wait_newer(&self, version: u64, timeout: Duration) -> bool {
        let slots = self.place.mapped();
        let fence = || {
            let _ = slots.heavy_fence();
        };
        let look = || self.changed_since(version).then_some(());
        wait::until(fence, slots.bell(self.index), self.wait, wait::deadline_in(timeout), look).is_some()
    }

    /// Loads plain data. `None`: nothing has been published yet.
    ///
    /// # Errors
    /// [`LoadError::WrongLength`] unless the value has exactly `T`'s length; else as
    /// [`SnapshotReader::load_into`].
    #[inline]
    pub fn load<T: FromBytes + IntoBytes>(&mut self) -> Result<Option<Loaded<T>>, LoadError> {
        let wanted_bytes = size_of::<T>() as u64;
        let Some(loaded) = self.load_by(|content| {
            if content.len_bytes != wanted_bytes {
                return Err(content.len_bytes);
            }
            let mut value = T::new_zeroed();
            copy::read(content.payload, value.as_mut_bytes());
            Ok(value)
        })?
        else {
            return Ok(None);
        };
        match loaded.value {
            Ok(value) => {
                self.seen = loaded.version;
                Ok(Some(Loaded { value, version: loaded.version, as_of: loaded.as_of }))
            }
            Err(found_bytes) => Err(LoadError::WrongLength { found_bytes, wanted_bytes }),
        }
    }

    /// Loads plain data if there is a newer version than this handle has loaded. `None`: there is not.
    ///
    /// # Errors
    /// As [`SnapshotReader::load`].
    #[inline]
    pub fn load_newer<T: FromBytes + IntoBytes>(&mut self) -> Result<Option<Loaded<T>>, LoadError> {
        // Before the first version there is nothing to tell memory that is gone by.
        if self.changed_since(self.seen) || self.seen == 0 { self.load() } else { Ok(None) }
    }

    /// Loads the bytes of the value in place of what is in `bytes`. `None`: nothing has been published
    /// yet, and `bytes` is as it was.
    ///
    /// # Errors
    /// [`LoadError::Overtaken`]: the writer is too fast; [`LoadError::Corrupt`]: it broke the rules. What
    /// is in `bytes` is then worth nothing.
    #[allow(clippy::cast_possible_truncation, reason = "at most the capacity of what is mapped")]
    pub fn load_into(&mut self, bytes: &mut Vec<u8>) -> Result<Option<Stamp>, LoadError> {
        let loaded = self.load_by(|content| {
            bytes.resize(content.len_bytes as usize, 0);
            copy::read(content.payload, bytes);
            content.len_bytes
        })?;
        self.seen = loaded.map_or(self.seen, |loaded| loaded.version);
        Ok(loaded.map(|Loaded { version, as_of, value: len_bytes }| Stamp { version, as_of, len_bytes }))
    }

    /// Loads the bytes of the value. `None`: nothing has been published yet.
    ///
    /// # Errors
    /// As [`SnapshotReader::load_into`].
    pub fn load_bytes(&mut self) -> Result<Option<Loaded<Vec<u8>>>, LoadError> {
        let mut value = Vec::new();
        let stamp = self.load_into(&mut value)?;
        Ok(stamp.map(|Stamp { version, as_of, .. }| Loaded { version, as_of, value }))
    }

    /// Version, log position and length of the newest value, without the value.
    ///
    /// # Errors
    /// As [`SnapshotReader::load_into`].
    pub fn stamp(&mut self) -> Result<Option<Stamp>, LoadError> {
        let loaded = self.load_by(|content| content.len_bytes)?;
        Ok(loaded.map(|Loaded { version, as_of, value: len_bytes }| Stamp { version, as_of, len_bytes }))
    }

    /// Loads a value that was published by [`SlotWriter::publish_archive`](crate::SlotWriter::publish_archive),
    /// validating the bytes first. `None`: nothing has been published yet.
    ///
    /// # Errors
    /// [`LoadError::Invalid`] if they are no archive of a `T`, or one nested more than 256 deep; else as [`SnapshotReader::load_into`].
    #[cfg(feature = "rkyv")]
    pub fn load_archive<T>(&mut self) -> Result<Option<Loaded<T>>, LoadError>
    where
        T: rkyv::Archive,
        T::Archived: for<'a> Checked<'a> + Rebuilt<T>,
    {
        let mut bytes = rkyv::util::AlignedVec::<16>::new();
        let loaded = self.load_by(|content| {
            bytes.resize(usize::try_from(content.len_bytes).unwrap_or(0), 0);
            copy::read(content.payload, &mut bytes);
        })?;
        let Some(loaded) = loaded else { return Ok(None) };
        let value = archive::read(&bytes)?;
        self.seen = loaded.version;
        Ok(Some(loaded.with(|()| value)))
    }

    /// Pins the newest value, to look at it in place for as long as the result lives: the writer works
    /// round it, and if every buffer is pinned by somebody alive, learns who. `None`: nothing has been
    /// published yet.
    ///
    /// The first pin takes a seat on the board; each costs a `membarrier`, unless the snapshot has
    /// `Fencing::Portable`. A reader that is killed pins nothing any more.
    ///
    /// # Errors
    /// [`LoadError::NoSeat`]: all are taken, or the board is read-only here; [`LoadError::NoBarrier`]; else
    /// as [`SnapshotReader::load_into`].
    pub fn pin(&mut self) -> Result<Option<Pinned<'_>>, LoadError> {
        if self.seat.is_none() {
            self.seat = Some(Seat::take(self.place.mapped(), &self.name)?);
        }
        if self.version() == 0 {
            let is_lost = self.place.mapped().is_lost();
            return if is_lost { Err(LoadError::MemoryLost) } else { Ok(None) };
        }
        let (version, words) = self.pin_newest()?;
        // Released by `Pinned`, also where it is not made.
        let guard = self.seat.as_ref().map(|seat| PinGuard(seat.pin_word()));
        let buffer = self.place.state().buffer_of(version);
        let content = look(self.place.mapped(), self.index, self.frame, self.allocated.as_mut(), buffer, words);
        if self.place.mapped().was_lost() {
            return Err(LoadError::MemoryLost);
        }
        let content = content.ok_or(LoadError::Corrupt { index: self.index })?;
        self.seen = version;
        Ok(guard.map(|guard| Pinned::new(guard, content, version, self.index)))
    }

    fn pin_newest(&mut self) -> Result<(u64, &'static [AtomicU64]), LoadError> {
        let index = self.index;
        let mut overtaken = Overtaken::default();
        loop {
            let seat = self.seat.as_ref().ok_or(LoadError::Corrupt { index })?;
            // The version that is tried is this one or a newer one.
            let before = self.version();
            let attempt = self.place.state().try_pin(&**self.place.mapped(), seat.pin_word());
            match attempt.map_err(|_| LoadError::NoBarrier)? {
                Attempt::Loaded { version, value } => return Ok((version, value)),
                Attempt::Overtaken => self.overtaken(&mut overtaken, before)?,
            }
        }
    }

    /// How often a load or a pin of this handle had to begin anew because the writer had overtaken it.
    pub fn retries(&self) -> u64 {
        self.retries
    }

    /// The slot it reads.
    pub fn index(&self) -> usize {
        self.index
    }

    /// How it waits; [`Wait::Block`] by default.
    pub fn set_wait(&mut self, wait: Wait) {
        self.wait = wait;
    }

    /// The name others see when it pins, at most 32 bytes of it. From the next seat it takes on.
    pub fn set_name(&mut self, name: impl Into<String>) {
        self.name = name.into();
    }

    /// Loads by `copy`, which must make do with any mixture of bytes: it is called again if they were one.
    #[inline]
    fn load_by<R>(&mut self, mut copy: impl FnMut(Content<'_>) -> R) -> Result<Option<Loaded<R>>, LoadError> {
        let mut overtaken = Overtaken::default();
        loop {
            let cell = *self.place.state();
            let mut tried = 0;
            let attempt = cell.try_load(|version, words| {
                tried = version;
                if version == 0 {
                    return Glance::Empty;
                }
                if !cell.is_intact(version) {
                    return Glance::Late;
                }
                let buffer = cell.buffer_of(version);
                match look(self.place.mapped(), self.index, self.frame, self.allocated.as_mut(), buffer, words) {
                    Some(content) => Glance::Value(content.as_of, copy(content)),
                    None => Glance::Nonsense,
                }
            });
            match attempt {
                Attempt::Loaded { value: Glance::Empty | Glance::Nonsense, .. } if self.place.mapped().is_lost() => {
                    return Err(LoadError::MemoryLost);
                }
                Attempt::Loaded { value: Glance::Empty, .. } => return Ok(None),
                Attempt::Loaded { version, value: Glance::Value(as_of, value) } => {
                    if self.place.mapped().was_lost() {
                        return Err(LoadError::MemoryLost);
                    }
                    return Ok(Some(Loaded { version, as_of, value }));
                }
                Attempt::Loaded { value: Glance::Nonsense, .. } => {
                    return Err(LoadError::Corrupt { index: self.index });
                }
                // The writer has taken its announcement back meanwhile.
                Attempt::Loaded { value: Glance::Late, .. } => self.overtaken(&mut overtaken, 0)?,
                Attempt::Overtaken => self.overtaken(&mut overtaken, tried)?,
            }
        }
    }

    /// Counts an attempt that was overtaken, and says when it is enough.
    #[cold]
    fn overtaken(&mut self, so_far: &mut Overtaken, tried: u64) -> Result<(), LoadError> {
        self.retries += 1;
        // An announcement that far ahead of the current version is no honest writer's.
        if tried != 0 && self.version() == tried {
            return Err(LoadError::Corrupt { index: self.index });
        }
        spin_loop();
        so_far.count()
    }
}
