//! Finding a segment by number, by age, by sequence number. Only loads: it runs on read-only
//! mappings, where Rust guarantees relaxed loads, hence relaxed loads and fences.

use crate::core::commit::{End, find_end};
use crate::core::memory::Memory;
use crate::core::roll;
use crate::layout::entry::{self, Kind, Tag};
use crate::sync::{Ordering::Acquire, Ordering::Relaxed, fence};

/// How often a search begins anew because the log is recycled under it.
const ATTEMPTS: u32 = 1000;

/// Whether `segment` was still retained after everything read before this call.
///
/// SYNC lap: Acquire fence, pairs with the Release fence in `Tip::at_start`.
#[inline]
pub fn is_retained<M: Memory>(memory: &M, segment: u64) -> bool {
    fence(Acquire);
    memory.control().head.0.load(Relaxed) <= segment
}

/// First sequence number of `segment`, an open one, if it is still retained. SYNC base.
pub fn base_of<M: Memory>(memory: &M, segment: u64) -> Option<u64> {
    let base = memory.base(segment).load(Relaxed);
    is_retained(memory, segment).then_some(base)
}

/// The oldest segment retained and its first sequence number.
///
/// Another process may give it up at once. `None` only if that happens a thousand times over.
pub fn oldest<M: Memory>(memory: &M) -> Option<(u64, u64)> {
    for _ in 0..ATTEMPTS {
        let head = memory.control().head.0.load(Relaxed);
        // SYNC head: the base of the new head is there.
        fence(Acquire);
        if let Some(base) = base_of(memory, head) {
            return Some((head, base));
        }
    }
    None
}

/// Where a sequence number is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// In this segment, or at its end if it is the newest.
    In {
        /// The segment.
        segment: u64,
        /// Its first sequence number, at most the one sought.
        base: u64,
    },
    /// Given up.
    Gone,
    /// The control page makes no sense.
    Corrupt,
}

/// Finds the segment of `seq` among the bases between head and active.
pub fn find<M: Memory>(memory: &M, seq: u64) -> Found {
    for _ in 0..ATTEMPTS {
        let head = memory.control().head.0.load(Relaxed);
        // SYNC head: Acquire, pairs with the Release in `roll::give_up`: no base or `active` older than the head.
        fence(Acquire);
        let active = roll::active(memory);
        if active.wrapping_sub(head) >= memory.windows() {
            if is_retained(memory, head) {
                return Found::Corrupt;
            }
            continue;
        }
        // A base read after head moved past its segment is another one's: begin anew.
        let base = |segment| base_of(memory, segment);
        let Some(oldest) = base(head) else { continue };
        if seq < oldest {
            return Found::Gone;
        }
        if let Some(found) = search(seq, (head, oldest), active, base) {
            return found;
        }
    }
    Found::Gone
}

/// Finds the segment of `seq` among those from `segment` on, which begins at `base`, at most `seq`.
/// The caller holds them, so their bases stay, whatever head is.
pub fn find_held<M: Memory>(memory: &M, seq: u64, segment: u64, base: u64) -> Found {
    let active = roll::active(memory);
    if active.wrapping_sub(segment) >= memory.windows() {
        // Not opened yet: the reader followed a close. Or nonsense.
        return if segment == active.wrapping_add(1) { Found::In { segment, base } } else { Found::Corrupt };
    }
    let base_of = |segment| Some(memory.base(segment).load(Relaxed));
    search(seq, (segment, base), active, base_of).unwrap_or(Found::Corrupt)
}

/// Searches the segments from `low`, whose base is at most `seq`, to `high`. `None` if a base is.
///
/// Guesses once, then halves: segments of records of one length hold equally many, but for the newest.
#[inline]
fn search(seq: u64, mut low: (u64, u64), mut high: u64, base: impl Fn(u64) -> Option<u64>) -> Option<Found> {
    if low.0 < high {
        let last = base(high)?;
        if last <= seq {
            return Some(Found::In { segment: high, base: last });
        }
        // Both are of numbers that a peer may have written: a wrong guess costs time.
        let (ahead, span) = (seq.saturating_sub(low.1), last.saturating_sub(low.1).max(1));
        let guess = (low.0 + ahead.saturating_mul(high - low.0) / span).min(high - 1);
        let first = base(guess)?;
        if first <= seq {
            let next = base(guess + 1)?;
            if seq < next {
                return Some(Found::In { segment: guess, base: first });
            }
            low = (guess + 1, next);
        }
        // Never below `low`, whatever a peer wrote to its base meanwhile.
        high = if first <= seq { high - 1 } else { guess.max(low.0 + 1) - 1 };
    }
    while low.0 < high {
        let middle = low.0 + (high - low.0).div_ceil(2);
        let first = base(middle)?;
        if first <= seq { low = (middle, first) } else { high = middle - 1 }
    }
    Some(Found::In { segment: low.0, base: low.1 })
}

/// The commit word at `position` of `segment`, if it is a record of this lap. SYNC commit.
pub fn committed<M: Memory>(memory: &M, segment: u64, position: u64) -> Option<u64> {
    let window = memory.window(segment);
    let word = window.index.get(usize::try_from(position).ok()?)?.load(Relaxed);
    fence(Acquire);
    let is_record = matches!(entry::kind(word), Kind::Record | Kind::Batch);
    (is_record && Tag::of_lap(memory.lap(segment)).is_current(word)).then_some(word)
}

/// The sequence number after the newest record, and whether the log ends there for good.
///
/// Others may append meanwhile. `None` only if the log is recycled under it a thousand times over.
pub fn end<M: Memory>(memory: &M) -> Option<(u64, bool)> {
    (0..ATTEMPTS).find_map(|_| {
        let active = roll::active(memory);
        let base = base_of(memory, active)?;
        let tag = Tag::of_lap(memory.lap(active));
        let end = find_end(memory.window(active).index, tag, 0);
        let (End::Open(count) | End::Closed(count) | End::Final(count)) = end;
        is_retained(memory, active).then(|| (base.wrapping_add(count as u64), matches!(end, End::Final(_))))
    })
}
