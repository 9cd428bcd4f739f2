//! The commit word: one per record, in the index. A record exists from the moment its word does.
//!
//! ```text
//! 63      50 49  48 47          24 23           0
//! |lap tag 14|kind 2|length bytes 24|offset words 24|
//! ```
//!
//! The offset counts 8-byte words from the start of the arena. The lap tag is `1 + lap mod 16383`,
//! never 0, so that neither a fresh word nor one of an older lap looks current.

/// Laps after which a tag comes round. Every roll refreshes [`REFRESH_PARTS`]`⁻¹` of the index, so
/// no word older than that many laps survives.
pub const TAG_CYCLE: u64 = 16_383;
/// In how many laps the whole index of a window has been refreshed.
pub const REFRESH_PARTS: usize = 1024;

const TAG_SHIFT: u32 = 50;
const KIND_SHIFT: u32 = 48;
const LEN_SHIFT: u32 = 24;
const FIELD_24: u64 = (1 << 24) - 1;

/// The largest length a commit word can carry, in bytes.
pub const MAX_LEN_BYTES: usize = (1 << 24) - 2;

/// What a commit word announces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// One payload.
    Record = 0,
    /// One payload that is a list of parts, each behind its length.
    Batch = 1,
    /// The segment, or with length [`CLOSE_LOG`] the whole log, ends here.
    Close = 2,
    /// Reserved; readers refuse it.
    Tombstone = 3,
}

/// Length of a `Close` word that ends the segment: the next one follows.
pub const CLOSE_SEGMENT: u64 = 0;
/// Length of a `Close` word that ends the log.
pub const CLOSE_LOG: u64 = 1;

/// A lap's tag, in place: the upper 14 bits of every current word of that lap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tag(u64);

impl Tag {
    /// The tag of lap `lap`.
    #[inline]
    pub fn of_lap(lap: u64) -> Self {
        Self((1 + lap % TAG_CYCLE) << TAG_SHIFT)
    }

    /// Whether `word` was committed in this lap.
    #[inline]
    pub fn is_current(self, word: u64) -> bool {
        (word ^ self.0) >> TAG_SHIFT == 0
    }

    /// Whether `word` is a record of this lap, alone or a batch, and no close: the upper bit of the kind is next to
    /// the tag.
    #[inline(always)]
    pub fn is_record(self, word: u64) -> bool {
        (word ^ self.0) >> (KIND_SHIFT + 1) == 0
    }

    /// The commit word of this lap with the given body (see [`body`]).
    #[inline]
    pub fn word(self, body: u64) -> u64 {
        self.0 | body
    }
}

/// The commit word less its tag.
#[inline]
pub fn body(kind: Kind, len_bytes: u64, offset_words: u64) -> u64 {
    debug_assert!(len_bytes <= FIELD_24 && offset_words <= FIELD_24);
    (kind as u64) << KIND_SHIFT | len_bytes << LEN_SHIFT | offset_words
}

/// The kind a commit word carries.
#[inline]
pub fn kind(word: u64) -> Kind {
    match (word >> KIND_SHIFT) & 3 {
        0 => Kind::Record,
        1 => Kind::Batch,
        2 => Kind::Close,
        _ => Kind::Tombstone,
    }
}

/// The payload's length in bytes.
#[inline]
#[allow(clippy::cast_possible_truncation, reason = "24 bits")]
pub fn len_bytes(word: u64) -> usize {
    ((word >> LEN_SHIFT) & FIELD_24) as usize
}

/// Where the payload begins, in 8-byte words from the start of the arena.
#[inline]
#[allow(clippy::cast_possible_truncation, reason = "24 bits")]
pub fn offset_words(word: u64) -> usize {
    (word & FIELD_24) as usize
}

/// How many 8-byte words `len_bytes` bytes take.
#[inline]
pub fn words_for(len_bytes: usize) -> usize {
    len_bytes.div_ceil(8)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn zero_and_other_laps_are_never_current() {
        for lap in [0, 1, 5, TAG_CYCLE - 1, TAG_CYCLE, TAG_CYCLE + 1, u64::MAX / 2] {
            let tag = Tag::of_lap(lap);
            assert!(!tag.is_current(0));
            assert!(tag.is_current(tag.word(0)));
            assert!(!tag.is_current(Tag::of_lap(lap + 1).word(0)));
            assert!(tag.is_current(Tag::of_lap(lap + TAG_CYCLE).word(0)), "tags come round");
        }
    }

    proptest! {
        #[test]
        fn fields_round_trip(lap in 0u64..1 << 40, len in 0u64..=FIELD_24, offset in 0u64..=FIELD_24, k in 0u8..4) {
            let k = [Kind::Record, Kind::Batch, Kind::Close, Kind::Tombstone][k as usize];
            let word = Tag::of_lap(lap).word(body(k, len, offset));
            prop_assert!(Tag::of_lap(lap).is_current(word));
            prop_assert_eq!(kind(word), k);
            prop_assert_eq!(len_bytes(word) as u64, len);
            prop_assert_eq!(offset_words(word) as u64, offset);
            prop_assert_eq!(Tag::of_lap(lap).is_record(word), matches!(k, Kind::Record | Kind::Batch));
            prop_assert!(!Tag::of_lap(lap + 1).is_record(word));
        }
    }
}
