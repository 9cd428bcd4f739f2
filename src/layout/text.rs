//! Names in words: zero padded, cut where they do not fit.

use crate::sync::{AtomicU64, Ordering::Relaxed};

/// Writes a text into words, zero padded; what does not fit is left out.
pub fn put_text(words: &[AtomicU64], text: &[u8]) {
    for (word, at) in words.iter().zip((0..).step_by(8)) {
        let mut bytes = [0; 8];
        let rest = text.get(at..).unwrap_or(&[]);
        let len = rest.len().min(8);
        bytes[..len].copy_from_slice(&rest[..len]);
        word.store(u64::from_le_bytes(bytes), Relaxed);
    }
}

/// Reads `N` bytes of text, a multiple of eight, out of words.
pub fn get_text<const N: usize>(words: &[AtomicU64]) -> [u8; N] {
    let mut text = [0; N];
    for (bytes, word) in text.as_chunks_mut::<8>().0.iter_mut().zip(words) {
        *bytes = word.load(Relaxed).to_le_bytes();
    }
    text
}

/// The text before the padding; what is no UTF-8 is replaced.
pub fn text(bytes: &[u8]) -> String {
    let end = bytes.iter().position(|&byte| byte == 0).unwrap_or(bytes.len());
    String::from_utf8_lossy(&bytes[..end]).into_owned()
}
