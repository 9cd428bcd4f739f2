//! One shared mapping.
#![allow(unsafe_code, reason = "mmap, and the bytes behind it")]

use crate::sys::fault::Watched;
use rustix::mm::{Advice, MapFlags, ProtFlags, madvise, mmap, munmap};
use std::io;
use std::os::fd::AsFd;
use std::ptr::NonNull;

/// A file mapped from its start, shared with other processes. Unmapped on drop.
#[derive(Debug)]
pub(crate) struct Map {
    base: NonNull<u8>,
    len: usize,
    writable: bool,
    watched: Watched,
}

// SAFETY: the mapping belongs to the process, not to a thread; only atomics are made of its bytes.
unsafe impl Send for Map {}
// SAFETY: as above.
unsafe impl Sync for Map {}

impl Map {
    /// Maps the first `len` bytes of `file`, which consists of pages of `page_bytes`.
    pub(crate) fn new(file: impl AsFd, len: usize, page_bytes: usize, writable: bool) -> io::Result<Self> {
        let access = if writable { ProtFlags::READ | ProtFlags::WRITE } else { ProtFlags::READ };
        // SAFETY: the kernel picks the address, so no existing mapping is touched.
        let base = unsafe { mmap(std::ptr::null_mut(), len, access, MapFlags::SHARED, file, 0) }?;
        let base = NonNull::new(base.cast()).ok_or_else(|| io::Error::other("mmap returned null"))?;
        let watched = Watched::new(base.as_ptr() as usize, len, page_bytes, writable);
        Ok(Self { base, len, writable, watched })
    }

    /// Leaves the mapping out of children that are forked and not execed (madvise(2), MADV_DONTFORK).
    pub(crate) fn keep_from_children(&self) -> io::Result<()> {
        // SAFETY: the bytes of this process stay as they are.
        unsafe { madvise(self.base.as_ptr().cast(), self.len, Advice::LinuxDontFork) }?;
        Ok(())
    }

    /// Makes every page present in this process, so that none faults later.
    pub(crate) fn populate(&self) -> io::Result<()> {
        let how = if self.writable { Advice::LinuxPopulateWrite } else { Advice::LinuxPopulateRead };
        // SAFETY: populating changes no byte.
        unsafe { madvise(self.base.as_ptr().cast(), self.len, how) }?;
        Ok(())
    }

    /// First byte; aligned to a page. Valid for [`Map::len`] bytes while `self` lives.
    pub(crate) fn base(&self) -> NonNull<u8> {
        self.base
    }

    /// Bytes mapped.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Whether a page was found gone, and replaced by one of zeroes.
    pub(crate) fn is_lost(&self) -> bool {
        self.watched.is_lost()
    }

    /// Whether the bytes may be written; a write to others faults.
    pub(crate) fn is_writable(&self) -> bool {
        self.writable
    }
}

impl Drop for Map {
    fn drop(&mut self) {
        self.watched.end();
        // SAFETY: base and len are what mmap returned; nobody borrows from a map that is dropped.
        let unmapped = unsafe { munmap(self.base.as_ptr().cast(), self.len) };
        debug_assert!(unmapped.is_ok());
    }
}
