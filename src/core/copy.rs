//! Bytes to words and back, by relaxed atomic words: a peer that writes meanwhile, honest or not,
//! makes wrong bytes, never undefined behaviour.

use crate::sync::{AtomicU64, Ordering::Relaxed};
use crate::wide;

/// Copies `bytes` into `words`, zero padded to a whole word. What does not fit is left out.
#[inline]
pub fn write(words: &[AtomicU64], bytes: &[u8]) {
    let (whole, rest) = bytes.as_chunks::<8>();
    wide::store(words, whole);
    if !rest.is_empty() {
        write_rest(words, whole.len(), bytes, rest);
    }
}

/// Out of line: most records are whole words, and what this needs would be computed for them too.
#[inline(never)]
fn write_rest(words: &[AtomicU64], at: usize, bytes: &[u8], rest: &[u8]) {
    if let Some(word) = words.get(at) {
        word.store(last_word(bytes, rest), Relaxed);
    }
}

/// The `rest` (1 to 7 bytes) at the end of `bytes`, zero padded.
fn last_word(bytes: &[u8], rest: &[u8]) -> u64 {
    if let Some(eight) = bytes.last_chunk::<8>() {
        return u64::from_le_bytes(*eight) >> (64 - 8 * rest.len());
    }
    // First and last half overlap, and agree where they do.
    if let (Some(first), Some(last)) = (rest.first_chunk::<4>(), rest.last_chunk::<4>()) {
        return u64::from(u32::from_le_bytes(*first)) | u64::from(u32::from_le_bytes(*last)) << (8 * (rest.len() - 4));
    }
    if let (Some(first), Some(last)) = (rest.first_chunk::<2>(), rest.last_chunk::<2>()) {
        return u64::from(u16::from_le_bytes(*first)) | u64::from(u16::from_le_bytes(*last)) << (8 * (rest.len() - 2));
    }
    rest.first().map_or(0, |&byte| byte.into())
}

/// Copies `bytes.len()` bytes out of `words`. What is not there is left as it was.
#[inline]
pub fn read(words: &[AtomicU64], bytes: &mut [u8]) {
    let (whole, rest) = bytes.as_chunks_mut::<8>();
    wide::load(words, whole);
    if !rest.is_empty()
        && let Some(word) = words.get(whole.len())
    {
        let mut word = word.load(Relaxed);
        for byte in rest {
            *byte = word.to_le_bytes()[0];
            word >>= 8;
        }
    }
}

/// Copies `bytes` to byte `offset` of `words`, leaving the bytes around them as they are. The caller
/// alone writes these words. What does not fit is left out.
pub fn write_at(words: &[AtomicU64], offset: usize, bytes: &[u8]) {
    let into = offset % 8;
    let Some(words) = words.get(offset / 8..) else { return };
    let (head, rest) = bytes.split_at(bytes.len().min((8 - into) % 8));
    let words = merge(words, into, head);
    let whole = rest.len() / 8;
    write(words, &rest[..whole * 8]);
    merge(words.get(whole..).unwrap_or(&[]), 0, &rest[whole * 8..]);
}

/// Replaces some bytes of the first word, from byte `into` on. Returns the other words.
fn merge<'w>(words: &'w [AtomicU64], into: usize, bytes: &[u8]) -> &'w [AtomicU64] {
    if bytes.is_empty() {
        return words;
    }
    let Some((word, others)) = words.split_first() else { return &[] };
    let mut whole = word.load(Relaxed).to_le_bytes();
    for (old, new) in whole.iter_mut().skip(into).zip(bytes) {
        *old = *new;
    }
    word.store(u64::from_le_bytes(whole), Relaxed);
    others
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_is_written_is_read(
            bytes in prop_oneof![
                prop::collection::vec(any::<u8>(), 0..200),
                // From 2 KiB on there is another way.
                prop::collection::vec(any::<u8>(), 2000..2200),
            ],
        ) {
            let words: Vec<_> = (0..276).map(|_| AtomicU64::new(u64::MAX)).collect();
            write(&words, &bytes);
            let mut back = vec![0; bytes.len()];
            read(&words, &mut back);
            prop_assert_eq!(&back, &bytes);
            let used = bytes.len().div_ceil(8);
            prop_assert!(words[used..].iter().all(|w| w.load(Relaxed) == u64::MAX), "nothing beyond is touched");
            let padding = used * 8 - bytes.len();
            if padding > 0 {
                prop_assert_eq!(words[used - 1].load(Relaxed).leading_zeros() as usize / 8 >= padding, true);
            }
        }

        /// Against a plain byte array.
        #[test]
        fn bytes_around_are_left(offset in 0usize..70, bytes in prop::collection::vec(any::<u8>(), 0..70)) {
            let words: Vec<_> = (0..8).map(|_| AtomicU64::new(u64::from_le_bytes([0xEE; 8]))).collect();
            let mut oracle = [0xEE; 64];
            for (old, new) in oracle.iter_mut().skip(offset).zip(&bytes) { *old = *new }
            write_at(&words, offset, &bytes);
            let mut back = [0; 64];
            read(&words, &mut back);
            prop_assert_eq!(back, oracle);
        }

        /// A hostile length: neither side reaches beyond what there is.
        #[test]
        fn short_words_are_no_panic(n in 0usize..5, len in 0usize..100) {
            let words: Vec<_> = (0..n).map(|_| AtomicU64::new(0)).collect();
            write(&words, &vec![7; len]);
            let mut bytes = vec![9; len];
            read(&words, &mut bytes);
            prop_assert!(bytes.iter().skip(n * 8).all(|&b| b == 9));
        }
    }
}
