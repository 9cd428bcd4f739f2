//! Files bent before anybody attaches to them.

use crate::bytes::Bytes;
use arbitrary::Arbitrary;

/// A change of one file.
#[derive(Arbitrary, Clone, Debug)]
pub enum Bend {
    /// A word of the first two lines, which say what the region is.
    Header(u8, Word),
    /// Any word of the first pages.
    Early(u16, Word),
    /// Bytes, anywhere in the first pages.
    Bytes(u16, Vec<u8>),
    /// Nothing but these bytes from the beginning.
    Instead(Vec<u8>),
    /// So many pages more or less.
    Pages(i8),
    /// So many bytes more or less.
    Cut(i8),
}

/// What to write.
#[derive(Arbitrary, Clone, Copy, Debug)]
pub enum Word {
    Any(u64),
    Small(u8),
    Bit(u8),
    Add(i8),
    /// A power of two, and a little more or less.
    Power(u8, i8),
}

impl Word {
    pub fn of(self, now: u64) -> u64 {
        match self {
            Self::Any(word) => word,
            Self::Small(word) => word.into(),
            Self::Bit(bit) => now ^ 1 << (bit % 64),
            Self::Add(off) => now.wrapping_add_signed(off.into()),
            Self::Power(power, off) => (1_u64 << (power % 64)).wrapping_add_signed(off.into()),
        }
    }
}

impl Bend {
    /// Changes the file, which nobody may have mapped that would touch its end.
    pub fn apply(&self, file: &Bytes) {
        let bend = |at: u64, word: Word| file.set_word(at, word.of(file.word(at)));
        match self {
            Self::Header(at, word) => drop(bend(8 * u64::from(at % 16), *word)),
            Self::Early(at, word) => drop(bend(8 * u64::from(at % 4096), *word)),
            Self::Bytes(at, bytes) => file.set(u64::from(at % 16_384), bytes),
            Self::Instead(bytes) => {
                file.set(0, &vec![0; usize::try_from(file.len()).unwrap_or(0)]);
                file.set(0, bytes);
            }
            Self::Pages(pages) => file.resize(file.len().saturating_add_signed(4096 * i64::from(*pages))),
            Self::Cut(bytes) => file.resize(file.len().saturating_add_signed((*bytes).into())),
        }
    }
}
