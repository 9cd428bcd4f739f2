//! Frames: what stands behind each other in a file.
//!
//! ```text
//! 0     head     length in bytes 24 | kind 8 | CRC-32C 32
//! 8     payload  padded with zeroes to eight bytes
//! ```
//!
//! The checksum is the CRC-32C of the padded payload, begun with a mix of the salt of the file, the sequence number,
//! length and kind. So a frame of what the file was before, or one that stands where another should, is none: the same
//! payload with another beginning has another checksum, always, and another payload nearly always. A head of zero is no
//! frame either.

#[cfg(test)]
use crate::journal::crash::planted::{Mistake, is_made};
use crate::journal::format::MAX_SEQ;

/// Bytes of a head.
pub(crate) const HEAD_BYTES: usize = 8;
/// Bytes of a [`Mark`]'s payload.
pub(crate) const MARK_BYTES: usize = 24;
const LEN_MASK: u32 = (1 << 24) - 1;

/// What a frame is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum FrameKind {
    /// A record.
    Record = 1,
    /// A record of several parts.
    Batch = 2,
    /// The beginning of a flush: [`Mark`].
    Mark = 3,
    /// Named cursors.
    Cursors = 4,
    /// Records that were deleted, in a file of marks.
    Deletes = 5,
}

impl FrameKind {
    fn of(bits: u32) -> Option<Self> {
        [Self::Record, Self::Batch, Self::Mark, Self::Cursors, Self::Deletes]
            .into_iter()
            .find(|&kind| kind as u32 == bits)
    }

    /// Whether it takes a sequence number.
    pub(crate) fn is_record(self) -> bool {
        matches!(self, Self::Record | Self::Batch)
    }

    /// Whether it is a record of several parts.
    pub(crate) fn is_batch(self) -> bool {
        self == Self::Batch
    }
}

/// What the checksums of a file begin with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Salt(u32);

impl Salt {
    pub(crate) fn new(salt: u64) -> Self {
        Self(crc32c::crc32c(&salt.to_le_bytes()))
    }

    /// The checksum of a frame. For given bytes it is one-to-one in the salt.
    #[inline]
    #[allow(clippy::cast_possible_truncation, reason = "takes the halves")]
    fn crc(self, seq: u64, what: u32, padded: &[u8]) -> u32 {
        // Multipliers of splitmix64 (Steele, Lea, Flood 2014): every bit of both has to do with every bit taken.
        let mixed = (seq.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ u64::from(what)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let (low, high) = (mixed as u32, (mixed >> 32) as u32);
        crc32c::crc32c_append(self.0 ^ low ^ high, padded)
    }
}

/// Bytes of a frame with a payload of so many bytes.
#[inline]
pub(crate) const fn frame_bytes(len_bytes: usize) -> usize {
    HEAD_BYTES + len_bytes.next_multiple_of(8)
}

/// Writes a frame into `to`, which has exactly [`frame_bytes`]; `fill` writes the payload.
#[inline]
pub(crate) fn encode_into(
    to: &mut [u8],
    salt: Salt,
    kind: FrameKind,
    seq: u64,
    len_bytes: usize,
    fill: impl FnOnce(&mut [u8]),
) {
    let Some((head, padded)) = to.split_first_chunk_mut::<HEAD_BYTES>() else { return };
    let (payload, padding) = padded.split_at_mut(len_bytes);
    fill(payload);
    padding.fill(0);
    let what = what(kind, len_bytes);
    let crc = salt.crc(seq, what, padded);
    *head = (u64::from(what) | u64::from(crc) << 32).to_le_bytes();
}

/// Appends a frame.
pub(crate) fn encode(to: &mut Vec<u8>, salt: Salt, kind: FrameKind, seq: u64, payload: &[u8]) {
    let at = to.len();
    to.resize(at + frame_bytes(payload.len()), 0);
    encode_into(&mut to[at..], salt, kind, seq, payload.len(), |bytes| bytes.copy_from_slice(payload));
}

#[allow(clippy::cast_possible_truncation, reason = "records are shorter than 2^24 bytes")]
fn what(kind: FrameKind, len_bytes: usize) -> u32 {
    len_bytes as u32 & LEN_MASK | u32::from(kind as u8) << 24
}

/// What a head says, if it can be one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) kind: FrameKind,
    pub(crate) len_bytes: usize,
    what: u32,
    crc: u32,
}

impl Head {
    /// `None`: no frame begins with this word.
    #[inline]
    #[allow(clippy::cast_possible_truncation, reason = "takes the halves apart")]
    pub(crate) fn of(word: u64) -> Option<Self> {
        let (what, crc) = (word as u32, (word >> 32) as u32);
        let kind = FrameKind::of(what >> 24)?;
        Some(Self { kind, len_bytes: (what & LEN_MASK) as usize, what, crc })
    }

    /// Bytes of the frame.
    #[inline]
    pub(crate) const fn frame_bytes(self) -> usize {
        frame_bytes(self.len_bytes)
    }

    /// Bytes of the payload with its padding.
    #[inline]
    pub(crate) fn padded_bytes(self) -> usize {
        self.len_bytes.next_multiple_of(8)
    }

    /// Whether `padded`, the payload with its padding, is what was written as record `seq`, or before it.
    #[inline]
    pub(crate) fn is_valid(self, salt: Salt, seq: u64, padded: &[u8]) -> bool {
        #[cfg(test)]
        if is_made(Mistake::Checksum) {
            return true;
        }
        salt.crc(seq, self.what, padded) == self.crc
    }
}

/// What stands at the front of some bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Found<'b> {
    /// A frame: its kind and payload.
    Frame(FrameKind, &'b [u8]),
    /// Its head says that it takes so many bytes, which are more than there are here.
    Longer(usize),
    /// No frame.
    Nothing,
}

/// Looks for the frame of `seq` at the front of `bytes`.
#[inline]
pub(crate) fn decode(bytes: &[u8], salt: Salt, seq: u64) -> Found<'_> {
    let Some(head) = bytes.first_chunk::<HEAD_BYTES>() else { return Found::Longer(HEAD_BYTES) };
    let Some(head) = Head::of(u64::from_le_bytes(*head)) else { return Found::Nothing };
    let Some(padded) = bytes.get(HEAD_BYTES..head.frame_bytes()) else { return Found::Longer(head.frame_bytes()) };
    if head.is_valid(salt, seq, padded) { Found::Frame(head.kind, &padded[..head.len_bytes]) } else { Found::Nothing }
}

/// Begins every flush. Its own number makes it known wherever it stands, so that it is found beyond damage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Mark {
    /// The record that comes next.
    pub(crate) seq: u64,
    /// All records below this one were durable when the flush began.
    pub(crate) durable: u64,
    /// Nanoseconds since 1970.
    pub(crate) unix_ns: u64,
}

impl Mark {
    /// Writes its frame into `to`, which has exactly the bytes for it.
    pub(crate) fn encode_into(self, to: &mut [u8], salt: Salt) {
        encode_into(to, salt, FrameKind::Mark, self.seq, MARK_BYTES, |payload| {
            let chunks = payload.as_chunks_mut::<8>().0;
            for (chunk, value) in chunks.iter_mut().zip([self.seq, self.durable, self.unix_ns]) {
                *chunk = value.to_le_bytes();
            }
        });
    }

    pub(crate) fn decode(payload: &[u8]) -> Option<Self> {
        let (words, rest) = payload.as_chunks::<8>();
        let [seq, durable, unix_ns] = words else { return None };
        let word = |bytes: &[u8; 8]| u64::from_le_bytes(*bytes);
        let is_one = rest.is_empty() && word(seq).max(word(durable)) <= MAX_SEQ;
        is_one.then(|| Self { seq: word(seq), durable: word(durable), unix_ns: word(unix_ns) })
    }

    /// The mark at the front of `bytes`, whichever record it stands before.
    pub(crate) fn find(bytes: &[u8], salt: Salt) -> Option<Self> {
        let seq = u64::from_le_bytes(*bytes.get(HEAD_BYTES..)?.first_chunk()?);
        match decode(bytes, salt, seq) {
            Found::Frame(FrameKind::Mark, payload) => Self::decode(payload),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn frames_round_trip(payload in proptest::collection::vec(any::<u8>(), 0..300), seq: u64, salt: u64, is_batch: bool) {
            let kind = if is_batch { FrameKind::Batch } else { FrameKind::Record };
            let mut bytes = vec![9; 16];
            encode(&mut bytes, Salt::new(salt), kind, seq, &payload);
            prop_assert_eq!(bytes.len() - 16, frame_bytes(payload.len()));
            prop_assert_eq!(decode(&bytes[16..], Salt::new(salt), seq), Found::Frame(kind, &payload[..]));
            prop_assert_eq!(decode(&bytes[16..], Salt::new(salt), seq.wrapping_add(1)), Found::Nothing);
            prop_assert_eq!(decode(&bytes[16..], Salt::new(salt ^ 1), seq), Found::Nothing);
            let short = &bytes[16..bytes.len() - usize::from(!payload.is_empty())];
            if !payload.is_empty() {
                prop_assert_eq!(decode(short, Salt::new(salt), seq), Found::Longer(frame_bytes(payload.len())));
            }
        }

        /// One wrong bit anywhere in what is covered: no frame, or one that is longer than what there is.
        #[test]
        fn a_flipped_bit_is_no_frame(payload in proptest::collection::vec(any::<u8>(), 0..60), bit: proptest::sample::Index) {
            let mut bytes = Vec::new();
            encode(&mut bytes, Salt::new(1), FrameKind::Record, 5, &payload);
            let bit = bit.index(bytes.len() * 8);
            bytes[bit / 8] ^= 1 << (bit % 8);
            prop_assert!(!matches!(decode(&bytes, Salt::new(1), 5), Found::Frame(..)));
        }

        #[test]
        fn marks_are_found_wherever_they_stand(seq in 0..=MAX_SEQ, durable in 0..=MAX_SEQ, unix_ns: u64) {
            let (mark, mut bytes) = (Mark { seq, durable, unix_ns }, vec![0; HEAD_BYTES + MARK_BYTES]);
            mark.encode_into(&mut bytes, Salt::new(2));
            prop_assert_eq!(Mark::find(&bytes, Salt::new(2)), Some(mark));
            prop_assert_eq!(Mark::find(&bytes, Salt::new(3)), None);
            prop_assert_eq!(Mark::find(&bytes[..20], Salt::new(2)), None);
        }
    }

    #[test]
    fn zeroes_are_no_frame_and_an_empty_record_is_one() {
        assert_eq!(decode(&[0; 64], Salt::new(0), 0), Found::Nothing);
        let mut bytes = Vec::new();
        encode(&mut bytes, Salt::new(0), FrameKind::Record, 0, &[]);
        assert_eq!(decode(&bytes, Salt::new(0), 0), Found::Frame(FrameKind::Record, &[]));
    }
}
