//! What the fuzzer writes into a log: mostly words that mean something, at places that do.

use crate::bytes::Bytes;
use crate::ground::{ACTIVE, BASES, ENTRIES, Ground, HEAD, SLOTS, WINDOW, window};
use arbitrary::Arbitrary;

/// One word, written over whatever is there.
#[derive(Arbitrary, Clone, Copy, Debug)]
pub struct Scribble {
    pub place: Place,
    pub value: Value,
}

/// Where.
#[derive(Arbitrary, Clone, Copy, Debug)]
pub enum Place {
    Head,
    Active,
    Base(u8),
    Bump(u8),
    Index(u8, u8),
    Payload(u8, u8),
    Hold(u8),
    /// A word of a slot: role, generation, process, position, name.
    Slot(u8, u8),
    /// A word of a doorbell.
    Bell(u8),
    /// Any word of the log.
    Log(u16),
    /// Any word of the board.
    Board(u16),
}

/// What.
#[derive(Arbitrary, Clone, Copy, Debug)]
pub enum Value {
    Word(u64),
    Small(u8),
    /// So much below the largest.
    Top(u8),
    Bit(u8),
    /// What is there, and a little more or less.
    Add(i8),
    /// A commit word of a lap near that of its window, with a length and an offset that may fit.
    Commit {
        lap: i8,
        kind: u8,
        len: u16,
        at: u16,
    },
    /// The same with any length and offset.
    Wild {
        lap: i8,
        kind: u8,
        len: u32,
        at: u32,
    },
    /// A bump word.
    Bump {
        lap: i8,
        lines: u16,
    },
}

impl Value {
    fn word(self, now: u64, lap: u64) -> u64 {
        let near = |off: i8| lap.wrapping_add_signed(off.into());
        let commit = |lap: i8, kind: u8, len: u64, at: u64| {
            (1 + near(lap) % 16_383) << 50 | u64::from(kind & 3) << 48 | (len & 0xFF_FFFF) << 24 | (at & 0xFF_FFFF)
        };
        match self {
            Self::Word(word) => word,
            Self::Small(word) => word.into(),
            Self::Top(less) => u64::MAX - u64::from(less),
            Self::Bit(bit) => now ^ 1 << (bit % 64),
            Self::Add(off) => now.wrapping_add_signed(off.into()),
            Self::Commit { lap, kind, len, at } => commit(lap, kind, len.into(), at.into()),
            Self::Wild { lap, kind, len, at } => commit(lap, kind, len.into(), at.into()),
            Self::Bump { lap, lines } => near(lap) << 22 | u64::from(lines),
        }
    }
}

impl Scribble {
    /// Writes it. Returns whether that changed anything.
    pub fn apply(&self, ground: &Ground) -> bool {
        let windows = ground.shape.windows();
        let which = |number: u8| window(u64::from(number) % windows);
        let (region, board) = (&ground.region, &ground.board);
        let slot = |number: u8| 4096 + 256 * (u64::from(number) % (2 * SLOTS));
        let (file, at, bump) = match self.place {
            Place::Head => (region, HEAD, which(0)),
            Place::Active => (region, ACTIVE, which(0)),
            Place::Base(number) => (region, BASES + 8 * (u64::from(number) % windows), which(number)),
            Place::Bump(number) => (region, which(number), which(number)),
            Place::Index(number, entry) => {
                (region, which(number) + 128 + 8 * (u64::from(entry) % ENTRIES), which(number))
            }
            Place::Payload(number, word) => {
                (region, which(number) + 128 + 8 * ENTRIES + 8 * u64::from(word), which(number))
            }
            Place::Hold(number) => (board, slot(number), which(0)),
            Place::Slot(number, word) => (board, slot(number) + 128 + 8 * (u64::from(word) % 8), which(0)),
            Place::Bell(word) => (board, 128 + 128 * u64::from(word / 2 % 2) + 8 * u64::from(word % 2), which(0)),
            Place::Log(word) => (region, any(region, word), which(0)),
            Place::Board(word) => (board, any(board, word), which(0)),
        };
        file.set_word(at, self.value.word(file.word(at), region.word(bump) >> 22))
    }
}

/// A word anywhere, but not so far behind a window's beginning that nothing ever is there.
fn any(file: &Bytes, word: u16) -> u64 {
    let at = 8 * u64::from(word);
    if at < file.len() { at } else { at % WINDOW % file.len() }
}
