//! Leaving the log alone for a moment, so that the appender gets on.
//!
//! A reader that is as fast as the appender takes over every record while the next one is written, and their
//! cores pass the same lines to and fro for each. One that comes by seldom finds many records in lines that nobody
//! writes any more. (docs/performance.md)

use std::hint::spin_loop;
use std::time::{Duration, Instant};

/// One reader's memory of when it was here.
#[derive(Debug)]
pub(crate) struct Linger {
    /// Zero: not at all.
    length: Duration,
    /// When the last batch began that came after records.
    began: Instant,
    /// Where the reader was then.
    position: u64,
}

impl Linger {
    pub(crate) fn new(length: Duration) -> Self {
        Self { length, began: Instant::now(), position: u64::MAX }
    }

    #[inline(always)]
    pub(crate) fn is_set(&self) -> bool {
        !self.length.is_zero()
    }

    /// Before a batch at `position`: if records were read since the last one, and there may be few now, waits until
    /// `length` has passed since that began.
    #[inline(never)]
    pub(crate) fn pause(&mut self, position: u64, are_few: impl FnOnce() -> bool) {
        // Nothing came: who waits for a first record gets it at once.
        if position == self.position {
            return;
        }
        self.position = position;
        if are_few() {
            while self.began.elapsed() < self.length {
                spin_loop();
            }
        }
        self.began = Instant::now();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_pauses_only_between_records_that_are_few() {
        let long = Duration::from_secs(3600);
        let mut linger = Linger::new(long);
        // Each of these would take an hour.
        linger.pause(0, || false);
        linger.pause(0, || true);
        linger.pause(0, || true);
        linger.pause(64, || false);
        linger.length = Duration::from_millis(1);
        let before = Instant::now();
        linger.began = before;
        linger.pause(65, || true);
        assert!(before.elapsed() >= linger.length && linger.began > before);
    }
}
