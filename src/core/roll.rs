//! From one segment to the next: give up the old window, close, open. Every step is idempotent or a
//! compare-exchange: any number of appenders may do it at once, and any of them may die in between.
//!
//! The old window is given up *before* the segment is closed. So a `close` certifies that the next
//! window is free, whoever finds it finishes without waiting, and an append that returns `Full`
//! has consumed nothing.

use crate::core::memory::{Memory, NoBarrier, Retention};
use crate::core::{bump, hold};
use crate::layout::entry::{REFRESH_PARTS, Tag};
use crate::sync::{AtomicU64, Ordering::Acquire, Ordering::Relaxed, Ordering::Release, Ordering::SeqCst, fence};

/// Why the oldest segment can't be given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kept {
    /// The log keeps everything.
    ByRetention,
    /// The participant in this slot holds the segment with this number.
    BySlot {
        /// Its index in the board.
        slot: usize,
        /// The segment that the next one needs the window of.
        segment: u64,
    },
    /// The kernel refused the barrier.
    NoBarrier,
}

impl From<NoBarrier> for Kept {
    fn from(NoBarrier: NoBarrier) -> Self {
        Self::NoBarrier
    }
}

/// Gives up the segment whose window `next` needs. Once it returned `Ok` it does so for good, for
/// everybody.
///
/// SYNC head: Release, read by `locate::oldest` (Acquire), for which the base of the new head is
/// there; readers that copy meanwhile learn of it by SYNC lap (`Tip::at_start`).
///
/// # Errors
/// [`Kept`]: who is in the way.
pub fn give_up<M: Memory>(memory: &M, next: u64) -> Result<(), Kept> {
    give_up_fenced(memory, next, || memory.heavy_fence())
}

/// The same for an appender that is alone. Only appenders pin by the light fence; readers fence fully, so that a
/// full fence here suffices, and no core is interrupted.
///
/// # Errors
/// [`Kept`]: who is in the way.
pub fn give_up_alone<M: Memory>(memory: &M, next: u64) -> Result<(), Kept> {
    give_up_fenced(memory, next, || {
        fence(SeqCst);
        Ok(())
    })
}

fn give_up_fenced<M: Memory>(
    memory: &M,
    next: u64,
    heavy_fence: impl FnOnce() -> Result<(), NoBarrier>,
) -> Result<(), Kept> {
    let Some(old) = next.checked_sub(memory.windows()) else { return Ok(()) };
    let head = &memory.control().head.0;
    let held = |slot| Err(Kept::BySlot { slot, segment: old });
    match memory.retention() {
        Retention::Keep => return Err(Kept::ByRetention),
        Retention::Gated if head.load(Relaxed) <= old => {
            if let Some(slot) = hold::blocking(memory.slots(), old) {
                return held(slot);
            }
        }
        Retention::Gated | Retention::Overwrite => {}
    }
    head.fetch_max(old + 1, Release);
    // Pairs with `light_fence` in `hold::enter` (of an appender that is alone: with the full one of readers there): who
    // entered before head moved is seen now, nobody enters after.
    heavy_fence()?;
    if let Some(slot) = hold::blocking(memory.slots(), old) {
        return held(slot);
    }
    // Pairs with the fence in `hold::enter_beside`: who entered beside one that has left since the first look
    // is seen by the second.
    fence(SeqCst);
    hold::blocking(memory.slots(), old).map_or(Ok(()), held)
}

/// Opens `next`, the segment after one that is closed, beginning at sequence number `base`.
pub fn open<M: Memory>(memory: &M, next: u64, base: u64) {
    let window = memory.window(next);
    // SYNC base: Release, read by `locate` and `oldest` (Acquire), which then see the raised head.
    memory.base(next).fetch_max(base, Release);
    bump::open(window.bump, memory.lap(next));
    refresh(window.index, memory.lap(next));
    // SYNC active: Release, read by `Tip::attach` and `locate` (Acquire): base and bump are there.
    memory.control().active.0.fetch_max(next, Release);
}

/// Clears this lap's share of the stale words, so that none gets so old that its tag comes round.
/// By compare-exchange: a record committed meanwhile stays.
#[allow(clippy::cast_possible_truncation, reason = "less than REFRESH_PARTS")]
fn refresh(index: &[AtomicU64], lap: u64) {
    let tag = Tag::of_lap(lap);
    let share = index.len().div_ceil(REFRESH_PARTS);
    let from = (lap % REFRESH_PARTS as u64) as usize * share;
    for slot in index.iter().skip(from).take(share) {
        let word = slot.load(Relaxed);
        if word != 0 && !tag.is_current(word) {
            // A word that changed meanwhile was committed, or cleared by somebody else.
            // SYNC lap: Release; a reader that misses its record here sees that it was given up.
            let _ = slot.compare_exchange(word, 0, Release, Relaxed);
        }
    }
}

/// The newest open segment. SYNC active.
pub fn active<M: Memory>(memory: &M) -> u64 {
    let active = memory.control().active.0.load(Relaxed);
    fence(Acquire);
    active
}
