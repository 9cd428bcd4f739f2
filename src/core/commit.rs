//! The one instruction by which a record appears, and finding the end of a segment.
//!
//! The current words of an index are a prefix of it: every commit goes to the first word that is
//! not current. The index is therefore its own tail, and no counter is shared. Its last word can
//! only be a `close`, so every segment ends in one and everyone agrees on its count.

use crate::layout::entry::{self, Kind, Tag};
use crate::sync::{AtomicU64, Ordering::Acquire, Ordering::Relaxed, Ordering::Release, fence};

/// Where a segment ends as far as anybody can know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// At the word where the next commit goes.
    Open(usize),
    /// For good: it holds this many records, the next segment follows.
    Closed(usize),
    /// For good, and the log with it.
    Final(usize),
}

/// What one attempt to commit found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attempt {
    /// The record is there, for everybody, for good.
    Done,
    /// Somebody's record is there: go on to the next word.
    Taken,
    /// The segment has ended.
    Ended,
    /// The word held this instead of the guess: try again with it.
    Stale(u64),
}

/// Tries to replace `guess`, a word of an older lap or zero, by `word`.
///
/// SYNC commit: Release on success, read by `Cursor::peek` and `record_here`, `Run::step`, `find_end` and
/// `locate::committed` (Acquire). Nothing on failure: who finds a `close` looks for the end again, and `find_end` fences,
/// before it writes into the next window.
#[inline(always)]
pub fn attempt(slot: &AtomicU64, tag: Tag, guess: u64, word: u64) -> Attempt {
    match slot.compare_exchange(guess, word, Release, Relaxed) {
        Ok(_) => Attempt::Done,
        Err(now) if !tag.is_current(now) => Attempt::Stale(now),
        Err(now) if entry::kind(now) == Kind::Close => Attempt::Ended,
        Err(_) => Attempt::Taken,
    }
}

/// Finds the end of a segment from `from`, all words before which are current: gallops, then
/// halves. About `2 log2(distance)` loads.
///
/// SYNC commit: what was committed before the words found is visible.
pub fn find_end(index: &[AtomicU64], tag: Tag, from: usize) -> End {
    let current = |at: usize| index.get(at).is_some_and(|slot| tag.is_current(slot.load(Relaxed)));
    let (mut low, mut step) = (from, 1);
    while current(low + step - 1) {
        low += step;
        step *= 2;
    }
    let mut high = low + step - 1;
    while low < high {
        let middle = low + (high - low) / 2;
        if current(middle) { low = middle + 1 } else { high = middle }
    }
    fence(Acquire);
    end_before(index, from, low)
}

/// The end of a segment whose first word that is not current is `low`.
fn end_before(index: &[AtomicU64], from: usize, low: usize) -> End {
    let last = low.checked_sub(1).filter(|&last| last >= from).and_then(|last| index.get(last));
    let Some(word) = last.map(|slot| slot.load(Relaxed)) else { return End::Open(low) };
    match entry::kind(word) {
        Kind::Close if entry::len_bytes(word) as u64 == entry::CLOSE_LOG => End::Final(low - 1),
        Kind::Close => End::Closed(low - 1),
        _ => End::Open(low),
    }
}

/// Commits a `close` at the first word from `from` on that is not current, unless somebody has
/// already. Returns the end, never `Open` in an index that follows the rules.
pub fn close(index: &[AtomicU64], tag: Tag, from: usize, how: u64) -> End {
    let word = tag.word(entry::body(Kind::Close, how, 0));
    let mut at = from;
    while let Some(slot) = index.get(at) {
        let seen = slot.load(Relaxed);
        // A guess must be stale: zero is, whatever the lap.
        let guess = if tag.is_current(seen) { 0 } else { seen };
        match attempt(slot, tag, guess, word) {
            Attempt::Done if how == entry::CLOSE_LOG => return End::Final(at),
            Attempt::Done => return End::Closed(at),
            Attempt::Ended => return find_end(index, tag, at),
            Attempt::Taken => at += 1,
            Attempt::Stale(_) => {}
        }
    }
    End::Open(at)
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// Against counting: the end is where the prefix of current words stops.
        #[test]
        fn the_end_is_found_from_anywhere_before_it(filled in 0usize..70, entries in 70usize..80, from in 0usize..70, how in 0u64..3) {
            let tag = Tag::of_lap(7);
            let index: Vec<_> = (0..entries).map(|i| {
                let old = Tag::of_lap(6).word(i as u64);
                AtomicU64::new(if i < filled { tag.word(entry::body(Kind::Record, 8, i as u64)) } else { old })
            }).collect();
            let from = from.min(filled);
            prop_assert_eq!(find_end(&index, tag, from), End::Open(filled));
            if how < 2 {
                let closed = close(&index, tag, from, how);
                prop_assert_eq!(closed, if how == entry::CLOSE_LOG { End::Final(filled) } else { End::Closed(filled) });
                prop_assert_eq!(find_end(&index, tag, from), closed);
                prop_assert_eq!(close(&index, tag, from, 1 - how), closed, "the first close stands");
            }
        }
    }

    #[test]
    fn an_index_full_of_records_ends_without_a_close() {
        let tag = Tag::of_lap(1);
        let index: Vec<_> = (0..8).map(|_| AtomicU64::new(tag.word(0))).collect();
        assert_eq!(close(&index, tag, 0, entry::CLOSE_SEGMENT), End::Open(8));
    }
}
