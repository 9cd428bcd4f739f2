//! What a file says of itself, in its first block.

use crate::journal::format::frame::Salt;
use crate::journal::format::{BLOCK, JOURNAL_VERSION, MAX_SEQ, Unfit};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// The first eight bytes of a file of records.
const MAGIC: u64 = u64::from_le_bytes(*b"SHMJRNL\0");
/// `previous` of a journal's first file.
pub(crate) const NO_FILE: u64 = u64::MAX;

/// See the module. Written, and synced, before the file gets its name; never changed afterwards.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    /// The journal.
    pub(crate) id: u128,
    /// How often the journal had been recovered.
    pub(crate) generation: u64,
    /// Sequence number of the first record.
    pub(crate) first: u64,
    /// First sequence number of the file before, or [`NO_FILE`].
    pub(crate) previous: u64,
    /// All records below this one were durable when the file got its name.
    pub(crate) durable: u64,
    /// What the checksums of this file begin with: random, so that frames of what the file was before are none.
    pub(crate) salt: u64,
    /// Nanoseconds since 1970.
    pub(crate) created_unix_ns: u64,
    /// How many records are missing before the first one: a repair went on without them.
    pub(crate) missing: u64,
    /// The salt of the frames that the file may have of old; 0: there are none.
    pub(crate) before: u64,
}

#[derive(FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
struct Raw {
    magic: u64,
    version: u32,
    block_bytes: u32,
    id: [u8; 16],
    generation: u64,
    first: u64,
    previous: u64,
    durable: u64,
    salt: u64,
    created_unix_ns: u64,
    missing: u64,
    before: u64,
    reserved: [u64; 3],
    crc: u32,
    padding: u32,
}

const _: () = assert!(size_of::<Raw>() == 128);
/// The distance of header and frames, as the header says it.
#[allow(clippy::cast_possible_truncation, reason = "4,096")]
const RAW_BLOCK: u32 = BLOCK as u32;
/// Bytes that the checksum covers.
const COVERED: usize = 120;

impl Header {
    /// The whole first block.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut raw = Raw {
            magic: MAGIC,
            version: JOURNAL_VERSION,
            block_bytes: RAW_BLOCK,
            id: self.id.to_le_bytes(),
            generation: self.generation,
            first: self.first,
            previous: self.previous,
            durable: self.durable,
            salt: self.salt,
            created_unix_ns: self.created_unix_ns,
            missing: self.missing,
            before: self.before,
            reserved: [0; 3],
            crc: 0,
            padding: 0,
        };
        raw.crc = crc32c::crc32c(&raw.as_bytes()[..COVERED]);
        let mut block = raw.as_bytes().to_vec();
        block.resize(BLOCK, 0);
        block
    }

    /// # Errors
    /// [`Unfit`]
    pub(crate) fn decode(block: &[u8]) -> Result<Self, Unfit> {
        let (raw, _) = Raw::read_from_prefix(block).map_err(|_| Unfit::Foreign)?;
        if raw.magic != MAGIC {
            return Err(Unfit::Foreign);
        }
        if raw.crc != crc32c::crc32c(&raw.as_bytes()[..COVERED]) {
            return Err(Unfit::Damaged);
        }
        if raw.version != JOURNAL_VERSION || raw.block_bytes != RAW_BLOCK {
            return Err(Unfit::Version(raw.version));
        }
        if [raw.generation, raw.first, raw.durable, raw.missing].into_iter().any(|number| number > MAX_SEQ) {
            return Err(Unfit::Damaged);
        }
        Ok(Self {
            id: u128::from_le_bytes(raw.id),
            generation: raw.generation,
            first: raw.first,
            previous: raw.previous,
            durable: raw.durable,
            salt: raw.salt,
            created_unix_ns: raw.created_unix_ns,
            missing: raw.missing,
            before: raw.before,
        })
    }

    /// The record that would come after the last one of the file before.
    pub(crate) fn gap_from(&self) -> u64 {
        self.first.saturating_sub(self.missing)
    }

    /// What the checksums of frames begin with that the file may have of old.
    pub(crate) fn salt_before(&self) -> Option<Salt> {
        (self.before != 0).then(|| Salt::new(self.before))
    }

    /// What the checksums of the file's frames begin with.
    pub(crate) fn frame_salt(&self) -> Salt {
        Salt::new(self.salt)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header() -> Header {
        Header {
            id: 7 << 90,
            generation: 3,
            first: 1000,
            previous: 10,
            durable: 990,
            salt: 0x1234_5678_9abc_def0,
            created_unix_ns: 5,
            missing: 2,
            before: 8,
        }
    }

    #[test]
    fn headers_round_trip() {
        let block = header().encode();
        assert_eq!(block.len(), BLOCK);
        assert_eq!(Header::decode(&block), Ok(header()));
    }

    #[test]
    fn every_bit_of_a_header_counts() {
        let block = header().encode();
        for bit in 0..124 * 8 {
            let mut bad = block.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert!(Header::decode(&bad).is_err(), "bit {bit}");
        }
        assert_eq!(Header::decode(&[0; 4096]), Err(Unfit::Foreign));
        assert_eq!(Header::decode(b"short"), Err(Unfit::Foreign));
    }

    #[test]
    fn numbers_that_no_journal_has_are_damage() {
        let numbers: [fn(&mut Header) -> &mut u64; 4] =
            [|it| &mut it.first, |it| &mut it.durable, |it| &mut it.generation, |it| &mut it.missing];
        for number in numbers {
            for (value, is_bad) in [(MAX_SEQ, false), (MAX_SEQ + 1, true), (u64::MAX, true)] {
                let mut header = header();
                *number(&mut header) = value;
                assert_eq!(Header::decode(&header.encode()).is_err(), is_bad);
            }
        }
    }

    #[test]
    fn a_newer_format_is_named() {
        let mut block = header().encode();
        block[8] = 9;
        let crc = crc32c::crc32c(&block[..COVERED]);
        block[COVERED..COVERED + 4].copy_from_slice(&crc.to_le_bytes());
        assert_eq!(Header::decode(&block), Err(Unfit::Version(9)));
    }
}
