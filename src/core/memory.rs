//! The views the algorithms borrow.

use crate::layout::board::Slot;
use crate::layout::control::Control;
use crate::layout::entry;
use crate::sync::{AtomicU64, Fencing};

/// One window's words.
#[derive(Clone, Copy, Debug)]
pub struct Window<'m> {
    /// Lap and lines handed out (`bump`).
    pub bump: &'m AtomicU64,
    /// The commit words.
    pub index: &'m [AtomicU64],
    /// The payload words. Relaxed atomics, because a free reader races with the next lap by design
    /// and finds out afterwards.
    pub arena: &'m [AtomicU64],
}

impl<'m> Window<'m> {
    /// The payload that a commit word announces, if it lies in the arena.
    #[inline]
    pub fn payload(&self, word: u64) -> Option<&'m [AtomicU64]> {
        let at = entry::offset_words(word);
        self.arena.get(at..at + entry::words_for(entry::len_bytes(word)))
    }
}

/// What happens to the oldest segment when a new one needs its window.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Retention {
    /// Nothing is ever given up; when all windows are used, appends return `Full`.
    Keep = 0,
    /// A segment is given up when every gated reader has left it; until then appends return `Full`.
    Gated = 1,
    /// The oldest segment is given up; slow readers learn what they missed.
    Overwrite = 2,
}

/// A log's memory, mapped or on the heap.
pub trait Memory {
    /// The control words.
    fn control(&self) -> &Control;
    /// First sequence numbers, one per window; never empty.
    fn bases(&self) -> &[AtomicU64];
    /// The participants' slots.
    fn slots(&self) -> &[Slot];
    /// The window that segment `segment` lives in. All windows have equal lengths.
    fn window(&self, segment: u64) -> Window<'_>;
    /// What recycling does.
    fn retention(&self) -> Retention;
    /// Lines leased from the bump word at a time, at most.
    fn lease_lines(&self) -> u32;
    /// Which fence the frequent side issues.
    fn fencing(&self) -> Fencing;
    /// The rare side's fence: a full fence here and, under [`Fencing::Asymmetric`], in every other
    /// process that attached to the log.
    ///
    /// # Errors
    /// [`NoBarrier`] if the kernel refuses; nothing may then be concluded.
    fn heavy_fence(&self) -> Result<(), NoBarrier>;

    /// Number of windows.
    #[inline]
    fn windows(&self) -> u64 {
        self.bases().len() as u64
    }

    /// How often the window of `segment` was used before, and which one it is.
    #[inline(always)]
    fn place(&self, segment: u64) -> (u64, u64) {
        let windows = self.windows();
        // A division takes as long as half of a look-up by number.
        if windows.is_power_of_two() {
            return (segment >> windows.trailing_zeros(), segment & (windows - 1));
        }
        (segment / windows, segment % windows)
    }

    /// The word that holds the first sequence number of `segment`.
    #[inline]
    #[allow(clippy::cast_possible_truncation, reason = "less than the slice's length")]
    fn base(&self, segment: u64) -> &AtomicU64 {
        &self.bases()[self.place(segment).1 as usize]
    }

    /// How often the window of `segment` has been used, this time included.
    #[inline]
    fn lap(&self, segment: u64) -> u64 {
        self.place(segment).0 + 1
    }
}

/// The kernel refused a memory barrier that it granted when the process attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoBarrier;
