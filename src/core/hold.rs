//! Pins and gates: what keeps a segment from being recycled.
//!
//! A hold word is 0 or `1 + segment`: its owner may touch that segment and all newer ones. Entering
//! and recycling mirror each other: the owner writes the word, fences, looks at `head`; the recycler
//! raises `head`, fences, looks at the words. One of the two sees the other (Dekker's argument, as in
//! hazard pointers; Michael 2004). The owner enters for every append, so its fence is the light one.

use crate::core::memory::Memory;
use crate::layout::board::{ANCHOR_ROLE, Slot};
use crate::sync::{
    AtomicU64, Fencing,
    Ordering::{Acquire, Relaxed, Release, SeqCst},
    fence, light_fence,
};

/// Enters `segment` as an appender, whose process registered for the recycler's barrier. Returns
/// whether it is held now; if not, `head` has passed it and nothing is held.
#[inline]
pub fn enter<M: Memory>(memory: &M, hold: &AtomicU64, segment: u64) -> bool {
    enter_fenced(memory, hold, segment, memory.fencing())
}

/// Enters `segment` as a reader, whose process need not be registered.
pub fn enter_reading<M: Memory>(memory: &M, hold: &AtomicU64, segment: u64) -> bool {
    enter_fenced(memory, hold, segment, Fencing::Portable)
}

#[inline]
fn enter_fenced<M: Memory>(memory: &M, hold: &AtomicU64, segment: u64, fencing: Fencing) -> bool {
    // SYNC leave: Release, because a recycler that finds this word instead of the one that `leave`
    // or `advance` wrote before it must still come after what was done under the older hold.
    hold.store(segment.wrapping_add(1), Release);
    // Pairs with `heavy_fence` in `roll::give_up`.
    light_fence(fencing);
    if memory.control().head.0.load(Relaxed) <= segment {
        return true;
    }
    leave(hold);
    // SYNC head: the segment that `active` names next is newer than the head just seen.
    fence(Acquire);
    false
}

/// Extends a reader's hold on `held` to the older `segment`. Returns whether both are held now; if not, only
/// `held` still is.
pub fn lower<M: Memory>(memory: &M, hold: &AtomicU64, held: u64, segment: u64) -> bool {
    // SYNC leave: Release, as in `enter`.
    hold.store(segment.wrapping_add(1), Release);
    // Pairs with `heavy_fence` in `roll::give_up`.
    light_fence(Fencing::Portable);
    if memory.control().head.0.load(Relaxed) <= segment {
        return true;
    }
    advance(hold, held);
    false
}

/// A new owner of a slot begins: it holds nothing, and is not the one before.
///
/// SYNC beside: Release, read by [`enter_beside`] (Acquire), for which the role of the one before is gone.
pub fn begin(slot: &Slot) {
    // One that died left it.
    slot.role.store(0, Relaxed);
    slot.generation.fetch_add(1, Release);
    leave(&slot.hold.0);
}

/// Lets others enter beside the owner of a slot, which holds something from here on until it leaves. It
/// entered by [`enter_reading`].
///
/// Relaxed: the full fence of entering comes before this store, and that of [`enter_beside`] after the load that
/// sees it. So the second look there finds the hold that was entered, or a later one.
pub fn admit_others(slot: &Slot) {
    slot.role.store(ANCHOR_ROLE, Relaxed);
}

/// Enters, as a reader, the segment that the owner of another slot holds, whatever `head` is. Returns the
/// segment; `None` if the other does not admit others, or has gone on meanwhile, and nothing is held.
///
/// The recycler looks at all holds twice. If the other still held the segment after this word was written,
/// then a first look that found nobody came upon the other's word after that, and the second one
/// finds this word.
pub fn enter_beside(hold: &AtomicU64, other: &Slot) -> Option<u64> {
    let generation = other.generation.load(Relaxed);
    // SYNC beside: a role read from here on is this owner's, or a later one's.
    fence(Acquire);
    let is_anchor = other.role.load(Relaxed) == ANCHOR_ROLE;
    // One that is about to be taken back is refused by the second look.
    let held = other.hold.0.load(Relaxed);
    if !is_anchor || held == 0 {
        return None;
    }
    // SYNC leave: Release, as in `enter`.
    hold.store(held, Release);
    // Pairs with the fence between the two looks in `roll::give_up`.
    fence(SeqCst);
    let now = other.hold.0.load(Relaxed);
    // SYNC leave: if this is a word of the next owner, its generation is seen.
    fence(Acquire);
    if now == held && other.generation.load(Relaxed) == generation {
        return Some(held.wrapping_sub(1));
    }
    leave(hold);
    None
}

/// Holds from `segment` on only; older ones are let go. `segment` is newer than the one held.
///
/// SYNC leave: Release, read by `blocking` (Acquire): every access to the older segments happened
/// before their window is written again.
#[inline]
pub fn advance(hold: &AtomicU64, segment: u64) {
    hold.store(segment.wrapping_add(1), Release);
}

/// Holds nothing any more. SYNC leave, as in [`advance`].
#[inline]
pub fn leave(hold: &AtomicU64) {
    hold.store(0, Release);
}

/// The first slot that holds `segment`. SYNC leave.
pub fn blocking(slots: &[Slot], segment: u64) -> Option<usize> {
    slots.iter().position(|slot| {
        let hold = slot.hold.0.load(Acquire);
        hold != 0 && hold.wrapping_sub(1) <= segment
    })
}
