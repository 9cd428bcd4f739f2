//! A reservation: room for a record, to be written in place.
#![allow(unsafe_code, reason = "bytes_mut lends the arena's bytes")]

use crate::core::append::Append;
use crate::core::copy;
use crate::error::CommitError;
use crate::layout::entry::Kind;
use crate::log::appender::{Appender, Mode, Shared};
use crate::sync::AtomicU64;

/// Room for a record, by [`Appender::reserve`]. Nobody sees it before [`Slot::commit`]; dropping it
/// costs nothing but the bytes.
///
/// What it holds at first is unspecified: whatever an older lap left there.
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let log = shmlog::Log::builder().create_memfd("feed")?;
/// let mut appender = log.appender()?;
/// let mut slot = appender.reserve(11)?;
/// slot.write(0, b"in ");
/// slot.write(3, b"place...");
/// let seq = slot.commit()?;
/// # assert_eq!(log.reader(shmlog::Start::Oldest)?.get(seq)?.unwrap().to_vec()?, b"in place...");
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
#[must_use = "a slot that is dropped is not committed"]
pub struct Slot<'a, M: Mode = Shared> {
    appender: &'a mut Appender<M>,
    at: usize,
    len_bytes: usize,
}

impl<'a, M: Mode> Slot<'a, M> {
    pub(crate) fn new(appender: &'a mut Appender<M>, at: usize, len_bytes: usize) -> Self {
        Self { appender, at, len_bytes }
    }

    /// Its length in bytes.
    pub fn len(&self) -> usize {
        self.len_bytes
    }

    /// Whether it has no bytes.
    pub fn is_empty(&self) -> bool {
        self.len_bytes == 0
    }

    /// The words of the reservation, the last one padded. Plain atomics: concurrent writers that
    /// this process shares them with may fill them.
    pub fn words(&self) -> &[AtomicU64] {
        self.appender.core().tip().payload(self.at, self.len_bytes.div_ceil(8))
    }

    /// Writes `bytes` at `offset`; what does not fit is left out. Returns how many were written.
    pub fn write(&mut self, offset: usize, bytes: &[u8]) -> usize {
        let room = self.len_bytes.saturating_sub(offset);
        let bytes = bytes.get(..room).unwrap_or(bytes);
        copy::write_at(self.words(), offset, bytes);
        bytes.len()
    }

    /// The bytes themselves.
    ///
    /// # Safety
    /// No other process and no other thread touches them while the result lives: all peers must
    /// follow the protocol, which gives these bytes to this appender alone. With a peer that is
    /// hostile or broken this is undefined behaviour; use [`Slot::write`] or [`Slot::words`] then.
    /// On a log with free readers in this very process, one that has been lapped may still be
    /// reading them: the same holds.
    pub unsafe fn bytes_mut(&mut self) -> &mut [u8] {
        let words = self.words();
        let first = words.as_ptr().cast_mut().cast::<u8>();
        if words.is_empty() {
            return &mut [];
        }
        // SAFETY: the words are `len_bytes` bytes or more of a writable mapping, `&mut self` is the
        // only way to them in this process, and the caller vouches for the other ones.
        unsafe { std::slice::from_raw_parts_mut(first, self.len_bytes) }
    }

    /// Commits: from here on the record is there for everybody. Returns its sequence number.
    ///
    /// If the segment was closed by others meanwhile, the bytes are copied to the next one; only
    /// then can this fail or allocate.
    ///
    /// # Errors
    /// [`CommitError`] hands the bytes back.
    pub fn commit(self) -> Result<u64, CommitError> {
        let len_bytes = self.len_bytes;
        self.commit_first(len_bytes)
    }

    /// Commits the first `len_bytes` only (all of it if there are fewer).
    ///
    /// # Errors
    /// As [`Slot::commit`].
    pub fn commit_first(self, len_bytes: usize) -> Result<u64, CommitError> {
        let len_bytes = len_bytes.min(self.len_bytes);
        // On drop the release is repeated, which does nothing more.
        self.appender.commit(Kind::Record, self.at, len_bytes)
    }
}

impl<M: Mode> Drop for Slot<'_, M> {
    fn drop(&mut self) {
        self.appender.core_mut().release();
        self.appender.ring_room();
    }
}
