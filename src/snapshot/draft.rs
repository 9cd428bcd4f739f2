//! A value being written in place.

use crate::core::copy;
use crate::sync::AtomicU64;

/// Room for a value, in [`SlotWriter::publish_with`](crate::SlotWriter::publish_with). Nobody sees it before
/// it is published; what it holds at first is what an older version left there.
#[derive(Debug)]
pub struct Draft<'d> {
    words: &'d [AtomicU64],
    len_bytes: usize,
}

impl<'d> Draft<'d> {
    pub(crate) fn new(words: &'d [AtomicU64], len_bytes: usize) -> Self {
        Self { words, len_bytes }
    }

    /// Its length in bytes.
    pub fn len(&self) -> usize {
        self.len_bytes
    }

    /// Whether it has no bytes.
    pub fn is_empty(&self) -> bool {
        self.len_bytes == 0
    }

    /// Writes `bytes` at `offset`; what does not fit is left out. Returns how many were written.
    pub fn write(&mut self, offset: usize, bytes: &[u8]) -> usize {
        let room = self.len_bytes.saturating_sub(offset);
        let bytes = bytes.get(..room).unwrap_or(bytes);
        copy::write_at(self.words, offset, bytes);
        bytes.len()
    }

    /// The words, the last one padded.
    pub fn words(&self) -> &'d [AtomicU64] {
        self.words
    }
}
