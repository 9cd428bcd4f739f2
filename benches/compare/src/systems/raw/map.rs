//! Memory that processes share, without any protocol.
#![allow(unsafe_code, reason = "mmap, memcpy and prefetchw")]

use anyhow::{Context, Result};
use rustix::fs::{FallocateFlags, Mode, OFlags, fallocate, open};
use rustix::mm::{MapFlags, ProtFlags, mmap};
use std::path::Path;
use std::ptr::null_mut;
use std::sync::atomic::{AtomicU32, AtomicU64};

/// A mapping that is never taken back: children end with it.
#[derive(Clone, Copy)]
pub struct Map {
    base: *mut u8,
    bytes: usize,
}

// SAFETY: it is shared by processes already; what is not atomic is accessed by unsafe functions.
unsafe impl Send for Map {}

impl Map {
    /// Makes the file, with memory behind all of it.
    ///
    /// # Errors
    /// There is no memory.
    pub fn make(path: &Path, bytes: usize) -> Result<()> {
        let file = open(path, OFlags::RDWR | OFlags::CREATE | OFlags::EXCL, Mode::RUSR | Mode::WUSR)?;
        fallocate(&file, FallocateFlags::empty(), 0, bytes as u64).context("memory for a limit")
    }

    /// Maps the file, all pages present.
    ///
    /// # Errors
    /// It is not there, or can't be mapped.
    pub fn open(path: &Path) -> Result<Self> {
        let file = open(path, OFlags::RDWR, Mode::empty())?;
        let bytes = usize::try_from(rustix::fs::fstat(&file)?.st_size)?;
        let rights = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: a new mapping, at an address that the kernel chooses.
        let base = unsafe { mmap(null_mut(), bytes, rights, MapFlags::SHARED | MapFlags::POPULATE, &file, 0) };
        Ok(Self { base: base?.cast(), bytes })
    }

    /// Its length.
    pub fn len(&self) -> usize {
        self.bytes
    }

    /// The word at this offset, a multiple of 8.
    #[inline]
    pub fn word(&self, at: usize) -> &'static AtomicU64 {
        assert!(at.is_multiple_of(8) && at + 8 <= self.bytes);
        let word = self.base.wrapping_add(at).cast::<u64>();
        // SAFETY: within the mapping, which is never taken back, and aligned.
        unsafe { AtomicU64::from_ptr(word) }
    }

    /// The half word at this offset, a multiple of 4.
    #[inline]
    pub fn half(&self, at: usize) -> &'static AtomicU32 {
        assert!(at.is_multiple_of(4) && at + 4 <= self.bytes);
        let word = self.base.wrapping_add(at).cast::<u32>();
        // SAFETY: as in `word`.
        unsafe { AtomicU32::from_ptr(word) }
    }

    /// Copies `bytes` to `at`.
    ///
    /// # Safety
    /// Nobody else touches these bytes meanwhile.
    #[inline]
    pub unsafe fn put(&self, at: usize, bytes: &[u8]) {
        assert!(at + bytes.len() <= self.bytes);
        let to = self.base.wrapping_add(at);
        // SAFETY: within the mapping; the caller vouches for the others.
        unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), to, bytes.len()) }
    }

    /// The bytes at `at`.
    ///
    /// # Safety
    /// Nobody writes to them while the result lives.
    #[inline]
    pub unsafe fn show(&self, at: usize, len: usize) -> &[u8] {
        assert!(at + len <= self.bytes);
        let from = self.base.wrapping_add(at);
        // SAFETY: within the mapping; the caller vouches for the others.
        unsafe { std::slice::from_raw_parts(from, len) }
    }

    /// Asks for a line that will be written soon.
    #[inline(always)]
    pub fn prefetch_write(&self, at: usize) {
        let line = self.base.wrapping_add(at);
        #[cfg(target_arch = "x86_64")]
        // SAFETY: a prefetch touches nothing that a program can observe.
        unsafe {
            core::arch::asm!("prefetchw [{}]", in(reg) line, options(nostack, preserves_flags, readonly));
        }
        let _ = line;
    }
}
