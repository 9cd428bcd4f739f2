//! Going over the records of a segment that are there.

use crate::core::memory::Window;
use crate::layout::entry::Tag;
use crate::sync::{AtomicU64, Ordering::Acquire, Ordering::Relaxed, fence};

/// What a cursor knows of a segment, to go over its records: few enough words to stay in registers.
#[derive(Debug)]
pub struct Run<'m> {
    pub(super) rest: &'m [AtomicU64],
    pub(super) window: Window<'m>,
    pub(super) tag: Tag,
    /// Where to see whether the segment was given up, if it is not held.
    pub(super) head: Option<&'m AtomicU64>,
    /// The segment.
    pub segment: u64,
    /// Sequence number of the next record.
    pub seq: u64,
}

impl<'m> Run<'m> {
    /// The commit word and the payload of the next record, found as by `Cursor::record_here`. `None` also where the
    /// word announces what does not lie in the arena.
    #[inline(always)]
    pub fn step(&mut self) -> Option<(u64, &'m [AtomicU64])> {
        let (slot, rest) = self.rest.split_first()?;
        let word = slot.load(Relaxed);
        if !self.tag.is_record(word) {
            return None;
        }
        // SYNC commit, as in `Cursor::peek`.
        fence(Acquire);
        if self.head.is_some_and(|head| head.load(Relaxed) > self.segment) {
            return None;
        }
        let payload = self.window.payload(word)?;
        self.rest = rest;
        self.seq = self.seq.wrapping_add(1);
        Some((word, payload))
    }
}
