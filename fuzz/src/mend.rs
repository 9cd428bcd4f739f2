//! Checksums of a journal's files, made to hold, as somebody would who may write to them: so that what the journal looks at
//! behind them is fuzzed. The formats are those of src/journal/format, written down a second time.

use crate::directory::Files;
use crc32c::{crc32c, crc32c_append};

/// Where the frames of a file of records begin, and the second copy of the control file.
const BLOCK: usize = 4096;

/// Makes all checksums hold.
pub fn mend(files: &mut Files) {
    let salts: Vec<_> = files.iter_mut().filter_map(|(name, bytes)| Some((stem(name, ".log")?, mend_log(bytes)))).collect();
    for (name, bytes) in files {
        if name == "control" {
            for at in [0, BLOCK] {
                mend_range(bytes, at, 504);
            }
        } else if stem(name, ".idx").is_some() {
            mend_range(bytes, 0, 56);
        } else if let Some((first, salt)) = salts.iter().find(|(first, _)| stem(name, ".del") == Some(*first)) {
            mend_frames(bytes, 0, *salt, *first);
        }
    }
}

/// The number of a file with this ending.
fn stem(name: &str, ending: &str) -> Option<u64> {
    name.strip_suffix(ending)?.parse().ok()
}

/// The checksum at `at + covered`, of what is there before it.
fn mend_range(bytes: &mut [u8], at: usize, covered: usize) {
    let Some(bytes) = bytes.get_mut(at..at + covered + 4) else { return };
    let (covered, crc) = bytes.split_at_mut(covered);
    crc.copy_from_slice(&crc32c(covered).to_le_bytes());
}

/// Returns the salt.
fn mend_log(bytes: &mut [u8]) -> u32 {
    mend_range(bytes, 0, 120);
    let salt = crc32c(&word(bytes, 64).unwrap_or(0).to_le_bytes());
    let first = word(bytes, 40).unwrap_or(0);
    mend_frames(bytes, BLOCK, salt, first);
    salt
}

fn word(bytes: &[u8], at: usize) -> Option<u64> {
    bytes.get(at..)?.first_chunk().map(|bytes| u64::from_le_bytes(*bytes))
}

/// What a head says: kind and length.
fn what(bytes: &[u8], at: usize) -> Option<(u8, usize, u32)> {
    let what = u32::try_from(word(bytes, at)? & u64::from(u32::MAX)).ok()?;
    let kind = what.to_le_bytes()[3];
    (kind != 0).then_some((kind, (what & 0xff_ffff) as usize, what))
}

/// Where the frames are, as their lengths say it.
pub fn frames(bytes: &[u8], first: usize) -> impl Iterator<Item = usize> {
    std::iter::successors(Some(first), |&at| Some(at + 8 + what(bytes, at)?.1.next_multiple_of(8)))
        .take_while(|&at| what(bytes, at).is_some())
}

fn mend_frames(bytes: &mut [u8], first: usize, salt: u32, mut seq: u64) {
    const MARK: u8 = 3;
    let at: Vec<_> = frames(bytes, first).collect();
    for at in at {
        let Some((kind, len, what)) = what(bytes, at) else { return };
        let Some(padded) = bytes.get(at + 8..at + 8 + len.next_multiple_of(8)) else { return };
        let its = if kind == MARK { word(padded, 0).unwrap_or(0) } else { seq };
        let mixed = (its.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ u64::from(what)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let (low, high) = (mixed & u64::from(u32::MAX), mixed >> 32);
        let crc = crc32c_append(salt ^ u32::try_from(low ^ high).unwrap_or(0), padded);
        bytes[at + 4..at + 8].copy_from_slice(&crc.to_le_bytes());
        seq = seq.wrapping_add(u64::from(kind == 1 || kind == 2));
    }
}
