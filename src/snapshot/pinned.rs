//! A value looked at in place.
#![allow(unsafe_code, reason = "as_slice lends the buffer's bytes")]

use crate::core::copy;
use crate::core::pins;
use crate::error::LoadError;
#[cfg(feature = "rkyv")]
use crate::snapshot::archive::{self, Checked};
use crate::snapshot::frame::Content;
use crate::sync::AtomicU64;
use zerocopy::{FromBytes, IntoBytes};

/// The newest value at the moment of [`SnapshotReader::pin`](crate::SnapshotReader::pin), which stays as it
/// is while this lives, as far as those who may write to the board let it.
#[derive(Debug)]
pub struct Pinned<'r> {
    content: Content<'r>,
    version: u64,
    index: usize,
    _pin: PinGuard<'r>,
}

impl<'r> Pinned<'r> {
    pub(crate) fn new(pin: PinGuard<'r>, content: Content<'r>, version: u64, index: usize) -> Self {
        Self { content, version, index, _pin: pin }
    }

    /// Its version.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// The log position that it stands for, if its writer said so.
    pub fn as_of(&self) -> Option<u64> {
        self.content.as_of
    }

    /// Length in bytes.
    #[allow(clippy::cast_possible_truncation, reason = "at most the capacity of what is mapped")]
    pub fn len(&self) -> usize {
        self.content.len_bytes as usize
    }

    /// Whether there are no bytes.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The words in place, the last one padded. Only load them: the mapping may be read-only.
    pub fn words(&self) -> &[AtomicU64] {
        self.content.payload
    }

    /// Copies bytes from `offset` on to the front of `to`, as much as there is; returns how many. For parts
    /// of a large value.
    pub fn copy_at(&self, offset: usize, to: &mut [u8]) -> usize {
        let len = self.len().saturating_sub(offset).min(to.len());
        let Some(words) = self.content.payload.get(offset / 8..) else { return 0 };
        let into = offset % 8;
        if into == 0 {
            copy::read(words, &mut to[..len]);
            return len;
        }
        let mut head = [0; 8];
        copy::read(words, &mut head);
        let first = len.min(8 - into);
        to[..first].copy_from_slice(&head[into..into + first]);
        copy::read(words.get(1..).unwrap_or(&[]), &mut to[first..len]);
        len
    }

    /// Copies all bytes to a new vector.
    pub fn to_vec(&self) -> Vec<u8> {
        let mut bytes = vec![0; self.len()];
        copy::read(self.content.payload, &mut bytes);
        bytes
    }

    /// Copies plain data out.
    ///
    /// # Errors
    /// [`LoadError::WrongLength`] unless the length is exactly `T`'s.
    pub fn read<T: FromBytes + IntoBytes>(&self) -> Result<T, LoadError> {
        let (found_bytes, wanted_bytes) = (self.content.len_bytes, size_of::<T>() as u64);
        if found_bytes != wanted_bytes {
            return Err(LoadError::WrongLength { found_bytes, wanted_bytes });
        }
        let mut value = T::new_zeroed();
        copy::read(self.content.payload, value.as_mut_bytes());
        Ok(value)
    }

    /// The bytes themselves, aligned to 8 bytes, and to 16 where values have no fixed length.
    ///
    /// # Safety
    /// While the result lives the writer follows the protocol, which leaves a pinned buffer alone; nobody else
    /// writes to the region; and nobody who may write to the board lets go of a pin that is not its own. A
    /// sealed snapshot ([`SnapshotBuilder::write_sealed`](crate::SnapshotBuilder::write_sealed)) can be written
    /// to by its creator alone, but its board by all who read it with `Access::Read`. With a peer that is hostile
    /// or broken this is undefined behaviour.
    pub unsafe fn as_slice(&self) -> &[u8] {
        let words = self.content.payload;
        if words.is_empty() {
            return &[];
        }
        // SAFETY: the words are at least that many bytes of a mapping that outlives `self`, and the caller
        // vouches that nobody writes them.
        unsafe { std::slice::from_raw_parts(words.as_ptr().cast(), self.len()) }
    }

    /// The value of [`SlotWriter::publish_archive`](crate::SlotWriter::publish_archive) in place, validated
    /// and not copied.
    ///
    /// # Safety
    /// As [`Pinned::as_slice`].
    ///
    /// # Errors
    /// [`LoadError::Invalid`] if the bytes are no archive of a `T`.
    #[cfg(feature = "rkyv")]
    pub unsafe fn archive<T>(&self) -> Result<&T::Archived, LoadError>
    where
        T: rkyv::Archive,
        T::Archived: for<'a> Checked<'a>,
    {
        // SAFETY: the caller's promise.
        let bytes = unsafe { self.as_slice() };
        archive::access::<T>(bytes)
    }

    /// The slot it is in.
    pub fn index(&self) -> usize {
        self.index
    }
}

/// Lets a pin go when it is dropped.
#[derive(Debug)]
pub(crate) struct PinGuard<'r>(pub(crate) &'r AtomicU64);

impl Drop for PinGuard<'_> {
    fn drop(&mut self) {
        pins::unpin(self.0);
    }
}
