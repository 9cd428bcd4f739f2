//! Sleeping on a shared word: futex(2), not private, so that it works across processes.

use crate::sync::AtomicU32;
use rustix::io::Errno;
use rustix::thread::futex::{Flags, Timespec, wait, wait_bitset, wake, wake_bitset};
use rustix::time::{ClockId, clock_gettime};
use std::num::NonZeroU32;
use std::time::Duration;

/// Sleeps while the word is `ticket`, for at most `slice`. Returns on any wake, signal or change:
/// the caller looks again.
pub(crate) fn sleep(word: &AtomicU32, ticket: u32, slice: Duration) {
    let slice =
        Timespec { tv_sec: slice.as_secs().try_into().unwrap_or(i64::MAX), tv_nsec: slice.subsec_nanos().into() };
    match wait(word, Flags::empty(), ticket, Some(&slice)) {
        Ok(()) | Err(Errno::AGAIN | Errno::INTR | Errno::TIMEDOUT) => {}
        Err(error) => {
            tracing::debug!(%error, "futex wait refused; yielding instead");
            std::thread::yield_now();
        }
    }
}

/// Wakes everybody who sleeps on the word.
pub(crate) fn wake_all(word: &AtomicU32) {
    // Nothing to do about a refusal: sleepers look again after their slice.
    let _ = wake(word, Flags::empty(), i32::MAX.unsigned_abs());
}

/// As [`sleep`], to be woken by who wakes one of `bits`.
pub(crate) fn sleep_for(word: &AtomicU32, ticket: u32, slice: Duration, bits: u32) {
    let Some(bits) = NonZeroU32::new(bits) else { return };
    // This form takes a moment, not a time.
    let now = clock_gettime(ClockId::Monotonic);
    let nanos = now.tv_nsec + i64::from(slice.subsec_nanos());
    let seconds = i64::try_from(slice.as_secs()).unwrap_or(i64::MAX / 2);
    let until = Timespec {
        tv_sec: now.tv_sec.saturating_add(seconds).saturating_add(nanos / 1_000_000_000),
        tv_nsec: nanos % 1_000_000_000,
    };
    match wait_bitset(word, Flags::empty(), ticket, Some(&until), bits) {
        Ok(()) | Err(Errno::AGAIN | Errno::INTR | Errno::TIMEDOUT) => {}
        Err(error) => {
            tracing::debug!(%error, "futex wait refused; yielding instead");
            std::thread::yield_now();
        }
    }
}

/// Wakes at most `count` of those who sleep on the word with one of `bits`.
pub(crate) fn wake_some(word: &AtomicU32, count: u32, bits: u32) {
    if let Some(bits) = NonZeroU32::new(bits) {
        // As above.
        let _ = wake_bitset(word, Flags::empty(), count, bits);
    }
}
