//! Memory of victims: handed out piece by piece and never taken back.
//!
//! What the system's allocator does depends on all that its process did before. Without it every victim executes the same
//! instructions.
#![allow(unsafe_code, reason = "an allocator")]

use nix::libc;
use std::alloc::{GlobalAlloc, Layout, System};
use std::ptr::null_mut;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// More than any operation takes; taken from the system as it is used.
const LEN: usize = 1 << 30;
/// Where the next piece begins; 0: the process is no victim.
static NEXT: AtomicUsize = AtomicUsize::new(0);
static END: AtomicUsize = AtomicUsize::new(0);

/// The allocator: the system's, until [`begin`].
#[derive(Debug)]
pub(crate) struct Memory;

/// From now on, in this process, which has one thread. Returns whether there is room.
pub(crate) fn begin() -> bool {
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
    // SAFETY: a new mapping, where nothing is.
    let start = unsafe { libc::mmap(null_mut(), LEN, libc::PROT_READ | libc::PROT_WRITE, flags, -1, 0) };
    if start == libc::MAP_FAILED {
        return false;
    }
    END.store(start.addr() + LEN, Relaxed);
    NEXT.store(start.expose_provenance(), Relaxed);
    true
}

/// A piece of it, zeroed. Null: there is none left.
fn take(layout: Layout) -> *mut u8 {
    let start = NEXT.load(Relaxed).next_multiple_of(layout.align());
    let end = start.saturating_add(layout.size());
    if end > END.load(Relaxed) {
        return null_mut();
    }
    NEXT.store(end, Relaxed);
    std::ptr::with_exposed_provenance_mut(start)
}

fn is_victim() -> bool {
    NEXT.load(Relaxed) != 0
}

// SAFETY: pieces lie within the mapping, aligned, of the length asked for, and no two overlap. What the system gave before
// is kept when it is given back.
unsafe impl GlobalAlloc for Memory {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if is_victim() {
            return take(layout);
        }
        // SAFETY: as the caller promises.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        if is_victim() {
            return take(layout);
        }
        // SAFETY: as the caller promises.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, piece: *mut u8, layout: Layout) {
        if !is_victim() {
            // SAFETY: it came from there, as this process never was a victim.
            unsafe { System.dealloc(piece, layout) }
        }
    }

    unsafe fn realloc(&self, piece: *mut u8, layout: Layout, len: usize) -> *mut u8 {
        if !is_victim() {
            // SAFETY: it came from there, as this process never was a victim.
            return unsafe { System.realloc(piece, layout, len) };
        }
        let Ok(wanted) = Layout::from_size_align(len, layout.align()) else { return null_mut() };
        let new = take(wanted);
        if !new.is_null() {
            // SAFETY: both are at least that long, and do not overlap.
            unsafe { piece.copy_to_nonoverlapping(new, layout.size().min(len)) };
        }
        new
    }
}
