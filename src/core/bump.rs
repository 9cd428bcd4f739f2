//! The bump allocator: one word, `lap 42 | lines handed out 22`.
//!
//! Appenders lease runs of whole cache lines and cut records from them alone, so the word is
//! contended once per lease, not once per record. A refused lease consumes nothing.

use crate::sync::{AtomicU64, Ordering::Relaxed};
use std::ops::{Range, RangeInclusive};

/// The part of what is left of an arena that one lease takes: whoever comes late must not find that all of it is leased,
/// and close a segment in which others have hardly begun.
const SHARE: u32 = 32;
const LINES_BITS: u32 = 22;
/// Laps that a bump word can count. At one lap a microsecond: 50 days; at the speed of memory and
/// the smallest log: years.
pub const MAX_LAP: u64 = (1 << 42) - 1;
const LINES_MASK: u64 = (1 << LINES_BITS) - 1;

/// Packs a bump word.
#[inline]
pub fn word(lap: u64, lines: u32) -> u64 {
    lap << LINES_BITS | u64::from(lines)
}

/// The lap of a bump word.
#[inline]
pub fn lap(word: u64) -> u64 {
    word >> LINES_BITS
}

/// The lines handed out in that lap.
#[inline]
#[allow(clippy::cast_possible_truncation, reason = "22 bits")]
pub fn lines(word: u64) -> u32 {
    (word & LINES_MASK) as u32
}

/// Why a lease is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// Fewer than the lines needed are left.
    Used,
    /// The window is in another lap: it was recycled, or never opened.
    OtherLap,
}

/// Leases a share of the lines that are left, as many as `chunk` allows; but at least `need`, and at most what is left.
///
/// Relaxed: the lines' former users were waited for before the window was opened (`roll`), and the
/// lease itself passes no data on.
///
/// # Errors
/// [`Refused`]; nothing was consumed.
pub fn lease(
    bump: &AtomicU64,
    lap_wanted: u64,
    need: u32,
    chunk: RangeInclusive<u32>,
    limit: u32,
) -> Result<Range<u32>, Refused> {
    let mut seen = bump.load(Relaxed);
    loop {
        if lap(seen) != lap_wanted {
            return Err(Refused::OtherLap);
        }
        let used = lines(seen).min(limit);
        let left = limit - used;
        if need > left {
            return Err(Refused::Used);
        }
        let share = (left / SHARE).min(*chunk.end()).max(*chunk.start());
        let take = share.max(need).min(left);
        match bump.compare_exchange_weak(seen, word(lap_wanted, used + take), Relaxed, Relaxed) {
            Ok(_) => return Ok(used..used + take),
            Err(now) => seen = now,
        }
    }
}

/// Opens the allocator for `lap_new`. Any number may try, at any time later too: a word of that lap
/// or a newer one is left alone.
pub fn open(bump: &AtomicU64, lap_new: u64) {
    let mut seen = bump.load(Relaxed);
    while lap(seen) < lap_new {
        match bump.compare_exchange_weak(seen, word(lap_new, 0), Relaxed, Relaxed) {
            Ok(_) => return,
            Err(now) => seen = now,
        }
    }
}

/// Takes `units` at a multiple of `align` (a power of two) from a plain bump word that counts
/// units up to `limit`. The allocator of `Arena`.
///
/// # Errors
/// The units left if they do not suffice; nothing was consumed.
pub fn take(bump: &AtomicU64, units: u64, align: u64, limit: u64) -> Result<u64, u64> {
    let mut seen = bump.load(Relaxed);
    loop {
        let used = seen.min(limit);
        let at = used.next_multiple_of(align);
        let end = at.checked_add(units).filter(|&end| end <= limit);
        let Some(end) = end else { return Err(limit - used) };
        match bump.compare_exchange_weak(seen, end, Relaxed, Relaxed) {
            Ok(_) => return Ok(at),
            Err(now) => seen = now,
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_refused_lease_consumes_nothing() {
        let bump = AtomicU64::new(word(3, 0));
        assert_eq!(lease(&bump, 3, 1, 4..=4, 10), Ok(0..4));
        assert_eq!(lease(&bump, 3, 7, 7..=7, 10), Err(Refused::Used));
        assert_eq!(lease(&bump, 3, 1, 4..=4, 10), Ok(4..8));
        assert_eq!(lease(&bump, 3, 1, 4..=4, 10), Ok(8..10), "the rest, less than a chunk");
        assert_eq!(lease(&bump, 3, 1, 4..=4, 10), Err(Refused::Used));
        assert_eq!(lease(&bump, 2, 1, 4..=4, 10), Err(Refused::OtherLap));
        open(&bump, 3);
        assert_eq!(lines(bump.load(Relaxed)), 10, "opening the same lap changes nothing");
        open(&bump, 4);
        assert_eq!(lease(&bump, 4, 2, 1..=1, 10), Ok(0..2));
    }

    #[test]
    fn leases_become_smaller_as_an_arena_fills() {
        let (bump, limit) = (AtomicU64::new(0), 32_000);
        let mut lens = Vec::new();
        while let Ok(lines) = lease(&bump, 0, 1, 32..=900, limit) {
            lens.push(lines.len());
        }
        assert_eq!(lens.iter().sum::<usize>(), 32_000);
        assert_eq!((lens[0], lens[3], lens[4]), (900, 900, 887), "the most that is allowed, then a share");
        assert!(lens.is_sorted_by(|a, b| a >= b) && lens.len() > 120, "{lens:?}");
        assert_eq!(lease(&AtomicU64::new(0), 0, 5000, 32..=900, limit), Ok(0..5000), "what is needed");
    }

    #[test]
    fn a_word_beyond_the_limit_is_refused_not_believed() {
        let bump = AtomicU64::new(word(1, 4000));
        assert_eq!(lease(&bump, 1, 1, 4..=4, 10), Err(Refused::Used));
        let plain = AtomicU64::new(u64::MAX);
        assert_eq!(take(&plain, 1, 1, 10), Err(0));
    }

    /// FRAL's fault: `allocate(1801)` of 1000 B failed, then `allocate(8)` failed for ever.
    #[test]
    fn an_oversize_allocation_leaves_the_room() {
        let bump = AtomicU64::new(0);
        assert_eq!(take(&bump, 1801, 8, 1000), Err(1000));
        assert_eq!(take(&bump, 8, 8, 1000), Ok(0));
        assert_eq!(take(&bump, 8, 64, 1000), Ok(64));
        assert_eq!(take(&bump, u64::MAX, 8, 1000), Err(1000 - 72));
    }
}
