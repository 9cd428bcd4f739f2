//! A record of several parts: each behind its length, both 8-byte aligned.
//!
//! ```text
//! |length in bytes u64|bytes, zero padded to 8|length|bytes|...
//! ```

use crate::core::copy;
use crate::sync::{AtomicU64, Ordering::Relaxed};

/// Bytes of a batch of these parts.
pub(crate) fn len_bytes(parts: &[&[u8]]) -> usize {
    parts.iter().fold(0_usize, |sum, part| sum.saturating_add(8).saturating_add(part.len().next_multiple_of(8)))
}

/// Writes the parts into words that are exactly long enough.
pub(crate) fn write(words: &[AtomicU64], parts: &[&[u8]]) {
    let mut rest = words;
    for part in parts {
        let Some((len, payload)) = rest.split_first() else { return };
        len.store(part.len() as u64, Relaxed);
        copy::write(payload, part);
        rest = payload.get(part.len().div_ceil(8)..).unwrap_or(&[]);
    }
}

/// Cuts the first part off. `None`: the lengths do not add up.
#[inline]
pub(crate) fn split(words: &[AtomicU64]) -> Option<(&[AtomicU64], usize, &[AtomicU64])> {
    let (len, rest) = words.split_first()?;
    let len_bytes = usize::try_from(len.load(Relaxed)).ok()?;
    let (part, rest) = rest.split_at_checked(len_bytes.div_ceil(8))?;
    Some((part, len_bytes, rest))
}
