//! Names in shared words, of a snapshot's slots and a journal's cursors: given once, then only read.

use crate::layout::slots::SLOT_NAME_BYTES;
use crate::layout::text::{get_text, put_text, text};
use crate::sync::{AtomicU64, Ordering::Acquire, Ordering::Relaxed, Ordering::Release, fence};

/// Whether it can be a slot's name.
pub(crate) fn is_name(name: &str) -> bool {
    (1..=SLOT_NAME_BYTES).contains(&name.len()) && !name.contains('\0')
}

/// Gives a slot that has none its name, of at most 32 bytes.
///
/// SYNC name: the first word is stored last, Release, read by [`get_name`] (Acquire), which then sees all.
pub(crate) fn put_name(words: &[AtomicU64], name: &str) {
    let Some((first, others)) = words.split_first() else { return };
    put_text(others, name.as_bytes().get(8..).unwrap_or(&[]));
    let start = AtomicU64::new(0);
    put_text(std::slice::from_ref(&start), name.as_bytes());
    first.store(start.into_inner(), Release);
}

/// A slot's name; `None` if it has none yet.
pub(crate) fn get_name(words: &[AtomicU64]) -> Option<String> {
    if words.first()?.load(Relaxed) == 0 {
        return None;
    }
    // SYNC name.
    fence(Acquire);
    Some(text(&get_text::<SLOT_NAME_BYTES>(words)))
}

/// A name to look for, as the words of a slot hold it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wanted([u64; SLOT_NAME_BYTES / 8]);

impl Wanted {
    /// `None` if no slot can have that name.
    pub(crate) fn new(name: &str) -> Option<Self> {
        let words = [const { AtomicU64::new(0) }; SLOT_NAME_BYTES / 8];
        put_text(&words, name.as_bytes());
        is_name(name).then(|| Self(words.map(AtomicU64::into_inner)))
    }

    /// Whether these are the words of a slot that has the name.
    pub(crate) fn is_in(&self, words: &[AtomicU64]) -> bool {
        let Some((first, others)) = words.split_first() else { return false };
        if first.load(Relaxed) != self.0[0] {
            return false;
        }
        // SYNC name.
        fence(Acquire);
        others.iter().zip(&self.0[1..]).all(|(word, wanted)| word.load(Relaxed) == *wanted)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_come_back() {
        for name in ["A", "ABCDEFG", "ABCDEFGH", "ABCDEFGHI", "a name of exactly thirty-two byte"] {
            let name = &name[..name.len().min(SLOT_NAME_BYTES)];
            let words = [const { AtomicU64::new(0) }; SLOT_NAME_BYTES / 8];
            assert_eq!(get_name(&words), None);
            put_name(&words, name);
            assert_eq!(get_name(&words).as_deref(), Some(name));
            assert!(Wanted::new(name).unwrap().is_in(&words));
            assert!(!Wanted::new(&name[1..]).is_some_and(|other| other.is_in(&words)));
        }
    }
}
