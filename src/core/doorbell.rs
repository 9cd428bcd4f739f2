//! Waking who sleeps, without a system call when nobody does.
//!
//! The waiter announces itself, fences, looks once more, sleeps; the appender commits, fences, looks
//! for announcements. One of the two sees the other. An announcement counts as answered only after
//! the wake, so an appender that dies in the middle leaves it to the next one; and waiters sleep in
//! slices, so one that dies before it looks costs a slice.

use crate::layout::board::Doorbell;
use crate::sync::{
    AtomicU32, Fencing,
    Ordering::{Acquire, Relaxed, Release},
    fence, light_fence,
};

const ANNOUNCED: u64 = 1 << 32;

#[allow(clippy::cast_possible_truncation, reason = "takes the lower half")]
fn answered(calls: u64) -> u32 {
    calls as u32
}

fn announced(calls: u64) -> u32 {
    answered(calls >> 32)
}

/// After a commit: whether somebody may be asleep.
#[inline]
pub fn is_called(doorbell: &Doorbell, fencing: Fencing) -> bool {
    // Pairs with the waiter's heavy fence between `announce` and its last look.
    light_fence(fencing);
    let calls = doorbell.calls.load(Relaxed);
    announced(calls) != answered(calls)
}

/// Wakes everybody. `wake` is futex(2) FUTEX_WAKE.
#[cold]
pub fn ring(doorbell: &Doorbell, wake: impl FnOnce(&AtomicU32)) {
    let calls = doorbell.calls.load(Relaxed);
    // SYNC announce: the ticket was drawn before this ring.
    fence(Acquire);
    doorbell.bell.fetch_add(1, Relaxed);
    wake(&doorbell.bell);
    let all = u64::from(announced(calls));
    // Changed meanwhile: somebody else announced or answered; the next commit looks again.
    let _ = doorbell.calls.compare_exchange(calls, all << 32 | all, Relaxed, Relaxed);
}

/// Before sleeping: returns the ticket to sleep on. The caller fences heavily, looks once more, and
/// then waits while the futex word is the ticket.
///
/// SYNC announce: Release, so that a ring which answers comes after the ticket.
pub fn announce(doorbell: &Doorbell) -> u32 {
    let ticket = doorbell.bell.load(Relaxed);
    doorbell.calls.fetch_add(ANNOUNCED, Release);
    ticket
}
