//! The one cast from mapped bytes to views.
#![allow(unsafe_code, reason = "the cast")]

use crate::error::AttachError;
use crate::layout::words::Words;
use crate::sync::{AtomicU64, Ordering::Relaxed};
use crate::sys::fault;
use crate::sys::inspect::{self, Footing, Inspected, small_page_bytes};
use crate::sys::map::Map;
use crate::sys::memory::seal_seals;
use rustix::io::Errno;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// A mapped region: the file and its bytes, seen as atomics only.
#[derive(Debug)]
pub(crate) struct Region {
    map: Map,
    file: OwnedFd,
    footing: Footing,
    /// When it was mapped.
    allocated_bytes: u64,
}

impl Region {
    /// Maps all of `file`. `what` names it in errors.
    ///
    /// The size is fixed by seals; who truncates a named file destroys what is in it, and everybody else is told
    /// ([`Region::is_lost`]).
    pub(crate) fn map(file: OwnedFd, writable: bool, what: &'static str) -> Result<Self, AttachError> {
        let region = Self::map_sparse(file, writable, what)?;
        region.check_allocated(what)?;
        Ok(region)
    }

    /// Makes sure that the file had no holes when it was mapped.
    pub(crate) fn check_allocated(&self, what: &'static str) -> Result<(), AttachError> {
        let (allocated_bytes, len_bytes) = (self.allocated_bytes, self.len_bytes());
        if allocated_bytes < len_bytes {
            return Err(AttachError::NotAllocated { what, allocated_bytes, len_bytes });
        }
        Ok(())
    }

    /// Maps all of `file`, which may have holes: who touches one may find no memory.
    pub(crate) fn map_sparse(file: OwnedFd, writable: bool, what: &'static str) -> Result<Self, AttachError> {
        Self::map_pages(file, writable, what, false)
    }

    /// Maps all of `file` for reading, also if it ends within a page: zeroes follow then.
    pub(crate) fn map_ragged(file: OwnedFd, what: &'static str) -> Result<Self, AttachError> {
        Self::map_pages(file, false, what, true)
    }

    fn map_pages(file: OwnedFd, writable: bool, what: &'static str, is_ragged: bool) -> Result<Self, AttachError> {
        let Inspected { len_bytes, page_bytes, footing, allocated_bytes } =
            inspect::inspect(&file).map_err(|error| AttachError::os("inspecting the file", error))?;
        if footing == Footing::Loose {
            return Err(AttachError::NotSealed { what });
        }
        let min = small_page_bytes();
        let wrong = AttachError::WrongSize {
            what,
            found_bytes: len_bytes,
            expected_bytes: len_bytes.next_multiple_of(min).max(min),
        };
        let whole_bytes = len_bytes.next_multiple_of(min);
        if len_bytes == 0 || (whole_bytes != len_bytes && !is_ragged) {
            return Err(wrong);
        }
        let len = usize::try_from(whole_bytes).map_err(|_| wrong)?;
        let map = Map::new(&file, len, page_bytes, writable).map_err(|error| AttachError::os("mapping", error))?;
        Ok(Self { map, file, footing, allocated_bytes })
    }

    /// Makes every page present, so that none faults later.
    pub(crate) fn populate(&self) -> Result<(), AttachError> {
        self.map.populate().map_err(|error| {
            // Touching the page would be a SIGBUS (madvise(2), MADV_POPULATE_READ).
            let is_gone = error.raw_os_error() == Some(Errno::FAULT.raw_os_error());
            if is_gone {
                AttachError::MemoryLost { what: "region" }
            } else {
                AttachError::os("populating the mapping", error)
            }
        })
    }

    /// Forbids further seals; if `is_write_sealed`, all writing but through this mapping, which then stays
    /// with this very process.
    pub(crate) fn seal(&self, is_write_sealed: bool) -> io::Result<()> {
        if is_write_sealed {
            self.map.keep_from_children()?;
        }
        seal_seals(&self.file, is_write_sealed)
    }

    /// Whether the file can't be written to any more, but through mappings that are there already.
    pub(crate) fn is_write_sealed(&self) -> bool {
        self.footing == Footing::Sealed && inspect::is_write_sealed(&self.file)
    }

    /// Whether memory behind the mapping is gone: it was found so, or the magic is, as in a file that was
    /// truncated and made longer again. Of a region that has been formatted.
    #[cold]
    pub(crate) fn is_lost(&self) -> bool {
        let magic = self.words(0, 1).and_then(<[_]>::first);
        self.map.is_lost() || magic.is_none_or(|magic| magic.load(Relaxed) == 0)
    }

    /// Whether the operation that is done here has come upon memory that is gone. All but free.
    #[inline]
    pub(crate) fn was_lost(&self) -> bool {
        fault::is_any_lost() && self.is_lost()
    }

    pub(crate) fn len_bytes(&self) -> u64 {
        self.map.len() as u64
    }

    pub(crate) fn is_writable(&self) -> bool {
        self.map.is_writable()
    }

    pub(crate) fn footing(&self) -> Footing {
        self.footing
    }

    pub(crate) fn file(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }

    /// `count` values of `T` at `offset` bytes, if they lie inside and are aligned.
    pub(crate) fn slice<T: Words>(&self, offset: u64, count: u64) -> Option<&[T]> {
        let bytes = count.checked_mul(size_of::<T>() as u64)?;
        let end = offset.checked_add(bytes)?;
        let first = usize::try_from(offset).ok()?;
        if end > self.len_bytes() || !first.is_multiple_of(align_of::<T>()) {
            return None;
        }
        // SAFETY: `first <= end <= len`, so the result lies in the mapping or at its end.
        let base = unsafe { self.map.base().add(first) }.cast::<T>();
        let count = usize::try_from(count).ok()?;
        // SAFETY: in bounds (above), aligned (the base is page-aligned, the offset a multiple),
        // alive as long as `self`, and `Words` are valid and shareable whatever anybody writes.
        Some(unsafe { std::slice::from_raw_parts(base.as_ptr(), count) })
    }

    /// One `T` at `offset` bytes.
    pub(crate) fn view<T: Words>(&self, offset: u64) -> Option<&T> {
        self.slice(offset, 1)?.first()
    }

    /// `count` words at `offset` bytes.
    pub(crate) fn words(&self, offset: u64, count: u64) -> Option<&[AtomicU64]> {
        self.slice(offset, count)
    }
}

/// A view with a longer life than its borrow.
///
/// # Safety
/// The caller keeps what `view` borrows from alive for as long as the result is used.
pub(crate) unsafe fn outliving<'long, T: ?Sized>(view: &T) -> &'long T {
    let view: *const T = view;
    // SAFETY: valid now, and the caller vouches for later.
    unsafe { &*view }
}
