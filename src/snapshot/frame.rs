//! What a buffer holds: the log position, the length, the value.

use crate::layout::slots::SlotGeometry;
use crate::sync::{AtomicU64, Ordering::Relaxed};

/// How to read and write the words of a buffer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Frame {
    pub(crate) is_fixed: bool,
    pub(crate) capacity_bytes: u64,
}

/// A buffer's content, as it was when it was looked at.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Content<'m> {
    pub(crate) as_of: Option<u64>,
    pub(crate) len_bytes: u64,
    /// Exactly the words that the length takes.
    pub(crate) payload: &'m [AtomicU64],
}

impl Frame {
    pub(crate) fn of(shape: &SlotGeometry) -> Self {
        Self { is_fixed: shape.is_fixed, capacity_bytes: shape.capacity_bytes }
    }

    /// Bytes before the value.
    pub(crate) fn meta_bytes(self) -> u64 {
        if self.is_fixed { 8 } else { 16 }
    }

    /// Notes a value of `len_bytes` and returns the words for it.
    #[inline]
    #[allow(clippy::cast_possible_truncation, reason = "at most the capacity of what is mapped")]
    pub(crate) fn open(self, words: &[AtomicU64], as_of: Option<u64>, len_bytes: u64) -> &[AtomicU64] {
        // No position is 0; the one that can't be represented would take longer than the machine lives.
        let as_of = as_of.map_or(0, |seq| seq.saturating_add(1));
        let payload = match words {
            [position, payload @ ..] if self.is_fixed => {
                position.store(as_of, Relaxed);
                payload
            }
            [position, len, payload @ ..] => {
                position.store(as_of, Relaxed);
                len.store(len_bytes, Relaxed);
                payload
            }
            _ => &[],
        };
        payload.get(..len_bytes.div_ceil(8) as usize).unwrap_or(payload)
    }

    /// Looks at a buffer that may be overwritten meanwhile. `None`: a length that does not fit.
    #[inline]
    #[allow(clippy::cast_possible_truncation, reason = "at most the capacity of what is mapped")]
    pub(crate) fn look(self, words: &[AtomicU64]) -> Option<Content<'_>> {
        let (position, len_bytes, payload) = match words {
            [position, payload @ ..] if self.is_fixed => (position, self.capacity_bytes, payload),
            [position, len, payload @ ..] => (position, len.load(Relaxed), payload),
            _ => return None,
        };
        if len_bytes > self.capacity_bytes {
            return None;
        }
        let payload = payload.get(..len_bytes.div_ceil(8) as usize)?;
        Some(Content { as_of: position.load(Relaxed).checked_sub(1), len_bytes, payload })
    }
}
