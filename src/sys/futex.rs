//! Sleeping on a shared word: futex(2), not private, so that it works across processes.

use crate::sync::AtomicU32;
use rustix::io::Errno;
use rustix::thread::futex::{Flags, Timespec, wait, wake};
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
