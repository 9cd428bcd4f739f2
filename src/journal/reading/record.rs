//! A record of a journal, as a reader has it.

use crate::error::ReadError;
use zerocopy::{FromBytes, IntoBytes};

/// One record: bytes that were copied out of memory or a file, and checked. It lives until its reader is used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JournalRecord<'r> {
    seq: u64,
    is_batch: bool,
    bytes: &'r [u8],
}

impl<'r> JournalRecord<'r> {
    pub(crate) fn new(seq: u64, is_batch: bool, bytes: &'r [u8]) -> Self {
        Self { seq, is_batch, bytes }
    }

    /// Its sequence number.
    #[inline]
    pub fn seq(&self) -> u64 {
        self.seq
    }

    /// Its bytes. Of a batch: all parts with their lengths, see [`JournalRecord::parts`].
    #[inline]
    pub fn bytes(&self) -> &'r [u8] {
        self.bytes
    }

    /// Length in bytes.
    #[inline]
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Whether there are no bytes.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Copies its bytes to a new vector.
    pub fn to_vec(&self) -> Vec<u8> {
        self.bytes.to_vec()
    }

    /// Plain data.
    ///
    /// # Errors
    /// [`ReadError::WrongLength`] unless the length is exactly `T`'s.
    #[inline]
    pub fn read<T: FromBytes + IntoBytes>(&self) -> Result<T, ReadError> {
        let wrong = ReadError::WrongLength { found_bytes: self.len(), wanted_bytes: size_of::<T>() };
        T::read_from_bytes(self.bytes).map_err(|_| wrong)
    }

    /// Whether it was appended as several parts.
    #[inline]
    pub fn is_batch(&self) -> bool {
        self.is_batch
    }

    /// Its parts: of a batch, those appended; of any other record, the record itself.
    pub fn parts(&self) -> JournalParts<'r> {
        let single = (!self.is_batch).then_some(self.bytes);
        JournalParts { seq: self.seq, single, rest: if self.is_batch { self.bytes } else { &[] } }
    }
}

/// The parts of a record, by [`JournalRecord::parts`].
#[derive(Clone, Debug)]
pub struct JournalParts<'r> {
    seq: u64,
    single: Option<&'r [u8]>,
    rest: &'r [u8],
}

impl<'r> Iterator for JournalParts<'r> {
    /// An error if the lengths make no sense: whoever appended it did not follow the rules.
    type Item = Result<&'r [u8], ReadError>;

    fn next(&mut self) -> Option<Self::Item> {
        if let Some(single) = self.single.take() {
            return Some(Ok(single));
        }
        if self.rest.is_empty() {
            return None;
        }
        let Some((part, rest)) = split(self.rest) else {
            self.rest = &[];
            return Some(Err(ReadError::Corrupt { seq: self.seq }));
        };
        self.rest = rest;
        Some(Ok(part))
    }
}

/// Cuts the first part off.
fn split(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (len, rest) = bytes.split_first_chunk::<8>()?;
    let len = usize::try_from(u64::from_le_bytes(*len)).ok()?;
    let padded = len.checked_next_multiple_of(8)?;
    Some((rest.get(..len)?, rest.get(padded..)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::parts;
    use crate::sync::{AtomicU64, Ordering::Relaxed};
    use proptest::prelude::*;

    proptest! {
        /// What the log writes as parts is taken apart again.
        #[test]
        fn parts_round_trip(parts in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..40), 0..6)) {
            let slices: Vec<&[u8]> = parts.iter().map(Vec::as_slice).collect();
            let words: Vec<_> = (0..parts::len_bytes(&slices) / 8).map(|_| AtomicU64::new(0)).collect();
            parts::write(&words, &slices);
            let bytes: Vec<u8> = words.iter().flat_map(|word| word.load(Relaxed).to_le_bytes()).collect();
            let found: Vec<&[u8]> = JournalRecord::new(3, true, &bytes).parts().map(|part| part.unwrap()).collect();
            prop_assert_eq!(found, slices);
        }

        #[test]
        fn nonsense_is_an_error(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            prop_assert!(JournalRecord::new(3, true, &bytes).parts().count() <= 8);
            prop_assert_eq!(JournalRecord::new(3, false, &bytes).parts().collect::<Vec<_>>(), [Ok(&bytes[..])]);
        }
    }
}
