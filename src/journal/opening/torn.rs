//! What stands behind the end of the records: torn, or what the file was before.
//!
//! A file that was used before holds old frames behind the new ones. They are known by the salt that the header keeps of
//! them: from an old mark, which says its number itself, its neighbours are found both ways. Whatever is neither such a
//! frame nor zero may be a record, and is kept.

use crate::journal::flushing::flush::MAX_FLUSH_BYTES;
use crate::journal::format::frame::{Found, FrameKind, HEAD_BYTES, Head, Mark, Salt, decode, frame_bytes};
use crate::journal::format::header::Header;
use crate::sys::disk::{Disk, DiskFile, Open};
use std::io;
use std::ops::Range;

/// Bytes of a torn tail that are kept: no flush writes more, with a record that is as long as records get at its end.
pub(crate) const TORN_BYTES: u64 = 2 * MAX_FLUSH_BYTES;
/// Bytes that are checked in vain at most, for heads of old frames that are none.
const VAIN_BYTES: usize = 64 << 20;

/// Copies what stands in a file at `torn` and may have been written there since the file has its header, to where it stood
/// from there; the rest of the copy is a hole. Returns how many bytes that are. `None`: there is nothing.
pub(crate) fn keep_torn(
    disk: &dyn Disk,
    file: &dyn DiskFile,
    header: &Header,
    torn: Range<u64>,
    name: &str,
) -> io::Result<Option<u64>> {
    let len = file.len()?.min(torn.end).saturating_sub(torn.start);
    let mut tail = vec![0; usize::try_from(len).unwrap_or(0)];
    let found = file.read_at(&mut tail, torn.start)?;
    let tail = &tail[..found];
    let torn = unknown(tail, &old_frames(tail, header.salt_before()));
    if torn.is_empty() {
        return Ok(None);
    }
    let aside = disk.open(name, Open::Create)?;
    for range in &torn {
        aside.write_at(&tail[range.clone()], range.start as u64)?;
    }
    aside.sync()?;
    disk.sync()?;
    Ok(Some(torn.iter().map(|range| range.len() as u64).sum()))
}

/// What is in none of these ranges, without the zeroes around it.
fn unknown(tail: &[u8], known: &[Range<usize>]) -> Vec<Range<usize>> {
    let begins = [0].into_iter().chain(known.iter().map(|range| range.end));
    let ends = known.iter().map(|range| range.start).chain([tail.len()]);
    begins.zip(ends).filter_map(|(begin, end)| trim(tail, begin..end)).collect()
}

fn trim(tail: &[u8], range: Range<usize>) -> Option<Range<usize>> {
    let bytes = &tail[range.clone()];
    let first = bytes.iter().position(|&byte| byte != 0)?;
    let last = bytes.iter().rposition(|&byte| byte != 0)?;
    Some(range.start + first..range.start + last + 1)
}

/// Where frames with the salt that the file had before stand, in order.
fn old_frames(tail: &[u8], salt: Option<Salt>) -> Vec<Range<usize>> {
    let (Some(salt), mut known, mut at, mut vain) = (salt, Vec::new(), 0, VAIN_BYTES) else { return Vec::new() };
    let mut lowest = 0;
    while at + HEAD_BYTES <= tail.len() {
        let mark = (tail[at + 3] == FrameKind::Mark as u8).then(|| Mark::find(&tail[at..], salt)).flatten();
        let Some(mark) = mark else {
            at += 8;
            continue;
        };
        let begin = before(tail, salt, lowest, at, mark.seq, &mut vain);
        at = behind(tail, salt, at, mark.seq);
        known.push(begin..at);
        lowest = at;
    }
    known
}

/// Where the last frame ends of those that stand behind each other from `at` on.
fn behind(tail: &[u8], salt: Salt, mut at: usize, mut seq: u64) -> usize {
    while let Found::Frame(kind, payload) = decode(&tail[at..], salt, seq) {
        at += frame_bytes(payload.len());
        seq = seq.wrapping_add(u64::from(kind.is_record()));
    }
    at
}

/// Where the first frame begins of those that stand behind each other up to `end`, where record `seq` comes next.
fn before(tail: &[u8], salt: Salt, lowest: usize, mut end: usize, mut seq: u64, vain: &mut usize) -> usize {
    let mut at = end;
    while at >= lowest + HEAD_BYTES {
        at -= HEAD_BYTES;
        let Some(head) = tail[at..].first_chunk().and_then(|word| Head::of(u64::from_le_bytes(*word))) else {
            continue;
        };
        if head.frame_bytes() != end - at {
            continue;
        }
        let seq_of = seq.wrapping_sub(u64::from(head.kind.is_record()));
        if head.is_valid(salt, seq_of, &tail[at + HEAD_BYTES..end]) {
            (end, seq) = (at, seq_of);
            continue;
        }
        let Some(left) = vain.checked_sub(end - at) else { break };
        *vain = left;
    }
    end
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::format::frame::{MARK_BYTES, encode};
    use proptest::prelude::*;

    /// A mark before every fourth record.
    fn frames(salt: u64, mut seq: u64, lens: &[usize]) -> Vec<u8> {
        let (salt, mut bytes) = (Salt::new(salt), Vec::new());
        for (count, len) in lens.iter().enumerate() {
            if count % 4 == 0 {
                let at = bytes.len();
                bytes.resize(at + HEAD_BYTES + MARK_BYTES, 0);
                Mark { seq, durable: seq, unix_ns: 1 }.encode_into(&mut bytes[at..], salt);
            }
            encode(&mut bytes, salt, FrameKind::Record, seq, &vec![7; *len]);
            seq += 1;
        }
        bytes
    }

    proptest! {
        /// Old frames, of which the first may be half overwritten, and new bytes in the middle: only these are unknown,
        /// with what is left of the old frames that they hit.
        #[test]
        fn what_is_new_is_kept_and_what_is_old_is_not(
            lens in proptest::collection::vec(0_usize..200, 8..40),
            cut in 0_usize..30,
            new in proptest::collection::vec(1_u8.., 0..300),
            at: proptest::sample::Index,
        ) {
            let old = frames(5, 1000, &lens);
            let mut tail = old[cut * 8..].to_vec();
            let at = at.index(tail.len() / 8) * 8;
            let end = (at + new.len()).min(tail.len());
            tail[at..end].copy_from_slice(&new[..end - at]);
            let torn = unknown(&tail, &old_frames(&tail, Some(Salt::new(5))));
            for index in at..end {
                let is_kept = torn.iter().any(|range| range.contains(&index));
                prop_assert!(is_kept || old[cut * 8 + index] == new[index - at], "{}", index);
            }
            // The first one may be half, and there may be no mark before or behind what is new.
            let kept: usize = torn.iter().map(ExactSizeIterator::len).sum();
            prop_assert!(kept <= end - at + 7 * 240, "{} bytes of {}", kept, tail.len());
            // Not knowing what was before, all is kept.
            prop_assert_eq!(unknown(&tail, &old_frames(&tail, None)), trim(&tail, 0..tail.len()).into_iter().collect::<Vec<_>>());
        }
    }

    #[test]
    fn untouched_old_frames_are_nothing() {
        let old = frames(5, 3, &[100, 0, 33, 8, 1000, 60]);
        assert!(unknown(&old, &old_frames(&old, Some(Salt::new(5)))).is_empty());
        // From the middle of the second record on: found from the mark behind it.
        let tail = &old[32 + 112 + 8 + 16..];
        let torn = unknown(tail, &old_frames(tail, Some(Salt::new(5))));
        assert_eq!((torn.len(), &torn[0]), (1, &(0..25)), "but for the padding");
        assert_eq!(unknown(tail, &old_frames(tail, Some(Salt::new(6)))).len(), 1);
        assert!(unknown(&[0; 64], &[]).is_empty());
    }
}
