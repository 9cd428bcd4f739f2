//! The bump allocator by itself: position-independent allocations for many processes.

use crate::core::{bump, copy};
use crate::create::{HugePages, OWNER, label, map_memfd, on_pages, random_id};
use crate::directory;
use crate::error::{ArenaError, AttachError, CreateError};
use crate::layout::Line;
use crate::layout::control::{ARENA_MAGIC, BASES_OFFSET, CONTROL_OFFSET, FORMAT_VERSION, Preamble};
use crate::preamble::{check_magic, get_id, put_id, put_magic};
use crate::region::Region;
use crate::sync::{AtomicU64, Ordering::Relaxed};
use crate::sys::inspect::small_page_bytes;
use crate::sys::memory::{self, Allocate, HugePage};
use std::fs::File;
use std::marker::PhantomData;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Where the bytes begin: everything before is the control page.
const FIRST: u64 = BASES_OFFSET as u64;

/// An allocation: valid in every process that has the arena, and plain data, so it can be put into
/// a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Allocation {
    /// Bytes from the start of the arena.
    pub offset_bytes: u64,
    /// Length in bytes.
    pub len_bytes: u64,
}

/// An allocation of one `T`, valid in every process that has the arena.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct Typed<T> {
    /// Bytes from the start of the arena.
    pub offset_bytes: u64,
    of: PhantomData<fn() -> T>,
}

impl<T> Clone for Typed<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Typed<T> {}

impl<T> Typed<T> {
    /// The handle of a `T` at this offset; checked when it is used.
    pub fn at(offset_bytes: u64) -> Self {
        Self { offset_bytes, of: PhantomData }
    }

    fn allocation(self) -> Allocation {
        Allocation { offset_bytes: self.offset_bytes, len_bytes: size_of::<T>() as u64 }
    }
}

/// A region that many processes allocate from at once; nothing is ever freed.
///
/// An allocation is one compare-exchange; a process killed at any instruction blocks nobody and
/// wastes at most the allocation in hand. A refused one consumes nothing.
///
/// ```
/// use shmlog::Arena;
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let arena = Arena::create_memfd("symbols", 1 << 20)?;
/// let name = arena.allocate(4, 8)?;
/// arena.write(name, 0, b"AAPL")?;
/// let price = arena.allocate_value(&585_690_u64)?;
/// assert_eq!(arena.load(price)?, 585_690);
/// assert!(arena.allocate(2 << 20, 8).is_err(), "refused, and nothing is lost");
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Arena {
    region: Region,
}

impl Arena {
    /// Makes an anonymous arena of `capacity_bytes` (rounded up to whole pages), all of it allocated
    /// and sealed against resizing.
    ///
    /// # Errors
    /// [`CreateError`]; nothing is left behind.
    pub fn create_memfd(name: &str, capacity_bytes: u64) -> Result<Self, CreateError> {
        Self::create_on(name, capacity_bytes, HugePages::Off)
    }

    /// Makes an anonymous arena on huge pages.
    ///
    /// # Errors
    /// [`CreateError`]; nothing is left behind.
    pub fn create_on(name: &str, capacity_bytes: u64, pages: HugePages) -> Result<Self, CreateError> {
        let file = on_pages(pages, |huge| {
            let page_bytes = huge.map_or_else(small_page_bytes, HugePage::bytes);
            let len = region_bytes(capacity_bytes, page_bytes)?;
            memory::create_memfd(&label(name, "arena"), len, huge, OWNER, Allocate::All)
        })?;
        Self::format(map_memfd(file, "arena", false)?)
    }

    /// Makes an arena in a new file, which appears at once and whole.
    ///
    /// # Errors
    /// [`CreateError`]; nothing is left behind.
    pub fn create_at(path: impl AsRef<Path>, capacity_bytes: u64) -> Result<Self, CreateError> {
        let path = path.as_ref();
        if path.symlink_metadata().is_ok() {
            return Err(CreateError::Exists { path: path.to_owned() });
        }
        let draft = directory::sibling(path);
        let len = region_bytes(capacity_bytes, directory::page_bytes_beside(path)?)?;
        let file = memory::create_file(&draft, len, 0o600, Allocate::All)?;
        let made = Region::map(file.into(), true, "arena").map_err(CreateError::from).and_then(Self::format);
        let made = made.and_then(|arena| directory::rename(&draft, path).map(|()| arena));
        made.inspect_err(|_| drop(std::fs::remove_file(&draft)))
    }

    /// Opens an arena in a file.
    ///
    /// # Errors
    /// [`AttachError`]: none there, or one that this crate can't use.
    pub fn open(path: impl AsRef<Path>, is_writable: bool) -> Result<Self, AttachError> {
        let path = path.as_ref();
        let file = File::options().read(true).write(is_writable).open(path).map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound => AttachError::NotFound { path: path.to_owned() },
            _ => AttachError::os("opening the arena", error),
        })?;
        Self::from_fd(file.into(), is_writable)
    }

    /// Attaches to an arena whose descriptor was passed on (see [`Arena::as_fd`]).
    ///
    /// # Errors
    /// [`AttachError`]: not an arena, truncated, not sealed, or of a newer format.
    pub fn from_fd(file: OwnedFd, is_writable: bool) -> Result<Self, AttachError> {
        let region = Region::map(file, is_writable, "arena")?;
        let found_bytes = region.len_bytes();
        let wrong = |expected_bytes| AttachError::WrongSize { what: "arena", found_bytes, expected_bytes };
        let preamble = region.view::<Preamble>(0).ok_or_else(|| wrong(2 * FIRST))?;
        check_magic(&preamble.magic, &preamble.version, ARENA_MAGIC, "arena")?;
        let expected_bytes = preamble.region_bytes.load(Relaxed);
        if expected_bytes != found_bytes || found_bytes <= FIRST {
            return Err(wrong(expected_bytes));
        }
        region.populate()?;
        Ok(Self { region })
    }

    fn format(region: Region) -> Result<Self, CreateError> {
        region.populate()?;
        if let Some(preamble) = region.view::<Preamble>(0) {
            put_id(&preamble.id, random_id()?);
            preamble.version.store(FORMAT_VERSION, Relaxed);
            preamble.region_bytes.store(region.len_bytes(), Relaxed);
            put_magic(&preamble.magic, ARENA_MAGIC);
        }
        Ok(Self { region })
    }

    /// Allocates `len_bytes` at a multiple of `align_bytes` (a power of two; at least 8 is used). The
    /// bytes are zero. Others allocate meanwhile.
    ///
    /// # Errors
    /// [`ArenaError::Full`] says what is left, which can still be had.
    pub fn allocate(&self, len_bytes: u64, align_bytes: u64) -> Result<Allocation, ArenaError> {
        self.check_writable()?;
        if !align_bytes.is_power_of_two() || align_bytes > FIRST {
            return Err(ArenaError::Alignment { align_bytes });
        }
        let full = |left_bytes| ArenaError::Full { wanted_bytes: len_bytes, left_bytes };
        let units = len_bytes.checked_next_multiple_of(8).ok_or_else(|| full(self.left_bytes()))?;
        let taken = bump::take(self.bump()?, units, align_bytes.max(8), self.capacity_bytes());
        self.check_whole()?;
        taken.map(|offset_bytes| Allocation { offset_bytes, len_bytes }).map_err(full)
    }

    /// Allocates one value and stores it.
    ///
    /// # Errors
    /// As [`Arena::allocate`].
    pub fn allocate_value<T: IntoBytes + Immutable>(&self, value: &T) -> Result<Typed<T>, ArenaError> {
        let allocation = self.allocate(size_of::<T>() as u64, align_of::<T>() as u64)?;
        self.write(allocation, 0, value.as_bytes())?;
        Ok(Typed::at(allocation.offset_bytes))
    }

    /// Copies a value out. Another process may be writing it: agree on who does, or publish its
    /// handle through a log after it is written.
    ///
    /// # Errors
    /// [`ArenaError::OutOfRange`]
    pub fn load<T: FromBytes + IntoBytes>(&self, handle: Typed<T>) -> Result<T, ArenaError> {
        let mut value = T::new_zeroed();
        copy::read(self.words(handle.allocation())?, value.as_mut_bytes());
        self.check_whole()?;
        Ok(value)
    }

    /// Stores a value in place; other processes see it change, word by word.
    ///
    /// # Errors
    /// [`ArenaError::OutOfRange`], [`ArenaError::ReadOnly`]
    pub fn store<T: IntoBytes + Immutable>(&self, handle: Typed<T>, value: &T) -> Result<(), ArenaError> {
        self.write(handle.allocation(), 0, value.as_bytes()).map(|_| ())
    }

    /// Writes `bytes` at `at` bytes into an allocation; what does not fit is left out. Returns how
    /// many were written. Concurrent writers must write different words of eight bytes.
    ///
    /// # Errors
    /// [`ArenaError::OutOfRange`], [`ArenaError::ReadOnly`]
    pub fn write(&self, allocation: Allocation, at: usize, bytes: &[u8]) -> Result<usize, ArenaError> {
        self.check_writable()?;
        let words = self.words(allocation)?;
        let room = usize::try_from(allocation.len_bytes).unwrap_or(usize::MAX).saturating_sub(at);
        let bytes = bytes.get(..room).unwrap_or(bytes);
        copy::write_at(words, at, bytes);
        self.check_whole()?;
        Ok(bytes.len())
    }

    /// Copies an allocation's bytes to the front of `to`, as much as fits; returns how many.
    ///
    /// # Errors
    /// [`ArenaError::OutOfRange`]
    pub fn read(&self, allocation: Allocation, to: &mut [u8]) -> Result<usize, ArenaError> {
        let words = self.words(allocation)?;
        let len = to.len().min(usize::try_from(allocation.len_bytes).unwrap_or(usize::MAX));
        copy::read(words, &mut to[..len]);
        self.check_whole()?;
        Ok(len)
    }

    /// The words of an allocation, the last one padded. On an arena that is open for reading only,
    /// storing to them is not possible: this returns [`ArenaError::ReadOnly`].
    ///
    /// # Errors
    /// [`ArenaError::OutOfRange`], [`ArenaError::ReadOnly`]
    pub fn atomics(&self, allocation: Allocation) -> Result<&[AtomicU64], ArenaError> {
        self.check_writable()?;
        self.words(allocation)
    }

    fn words(&self, allocation: Allocation) -> Result<&[AtomicU64], ArenaError> {
        let Allocation { offset_bytes, len_bytes } = allocation;
        let at = FIRST.checked_add(offset_bytes);
        let words = at.and_then(|at| self.region.words(at, len_bytes.div_ceil(8)));
        words.ok_or(ArenaError::OutOfRange { offset_bytes, len_bytes })
    }

    fn bump(&self) -> Result<&AtomicU64, ArenaError> {
        let line = self.region.view::<Line>(CONTROL_OFFSET as u64);
        line.map(|line| &line.0).ok_or(ArenaError::OutOfRange { offset_bytes: 0, len_bytes: 0 })
    }

    /// Random identity, 128 bits: the same in every process.
    pub fn id(&self) -> u128 {
        self.region.view::<Preamble>(0).map_or(0, |preamble| get_id(&preamble.id))
    }

    pub(crate) fn region(&self) -> &Region {
        &self.region
    }

    fn check_writable(&self) -> Result<(), ArenaError> {
        if self.region.is_writable() { Ok(()) } else { Err(ArenaError::ReadOnly) }
    }

    #[inline]
    fn check_whole(&self) -> Result<(), ArenaError> {
        if self.region.was_lost() { Err(ArenaError::MemoryLost) } else { Ok(()) }
    }

    /// Bytes that can be allocated in all.
    pub fn capacity_bytes(&self) -> u64 {
        self.region.len_bytes() - FIRST
    }

    /// Bytes allocated so far, with what alignment took.
    pub fn used_bytes(&self) -> u64 {
        self.bump().map_or(0, |bump| bump.load(Relaxed)).min(self.capacity_bytes())
    }

    /// Bytes left.
    pub fn left_bytes(&self) -> u64 {
        self.capacity_bytes() - self.used_bytes()
    }
}

impl AsFd for Arena {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.region.file()
    }
}

fn region_bytes(capacity_bytes: u64, page_bytes: u64) -> Result<u64, CreateError> {
    let whole = capacity_bytes.max(1).checked_add(FIRST).and_then(|len| len.checked_next_multiple_of(page_bytes));
    whole.filter(|&len| i64::try_from(len).is_ok()).ok_or(CreateError::NoSpace { wanted_bytes: capacity_bytes })
}
