//! Publishing: one message a record, as fast as possible or at a pace.

use crate::feed::Player;
use crate::progress::{self, Progress};
use crate::stamp::{Stamped, now_ns};
use shmlog::{AppendError, Appender, Exclusive};
use std::num::NonZeroU64;
use std::time::Duration;

const SECOND_NS: u64 = 1_000_000_000;
/// A turn that far away is slept for, but for the last part of it, which is spun.
const SLEEP_FROM_NS: u64 = 200_000;
const SPIN_NS: u64 = 100_000;

/// Why publishing came to an end.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    #[error(transparent)]
    Log(#[from] AppendError),
    #[error("reading the feed: {0}")]
    Feed(String),
}

/// What became of a feed.
#[derive(Debug)]
pub struct Published {
    pub messages: u64,
    /// From the first message to the last, without what happened at half.
    pub elapsed: Duration,
    /// Why it ended before the feed did.
    pub fault: Option<Fault>,
}

/// Publishes the feed, or as much of it as the log takes, and closes the log. `at_half` is called
/// when half of it is out.
pub fn publish(
    mut appender: Appender<Exclusive>,
    mut feed: Player<'_>,
    rate: Option<NonZeroU64>,
    at_half: impl FnOnce(),
    progress: &Progress,
) -> Published {
    let half = feed.left() / 2;
    let mut at_half = Some(at_half);
    let mut record = Stamped::new();
    let mut pace = Pace::new(rate);
    let mut messages = 0;
    let fault = loop {
        let message = match feed.next() {
            Ok(Some(message)) => message,
            Ok(None) => break None,
            Err(error) => break Some(Fault::Feed(format!("{error:#}"))),
        };
        if messages == half
            && let Some(at_half) = at_half.take()
        {
            pace.pause(at_half);
        }
        let now_ns = pace.turn(messages);
        if let Err(error) = append(&mut appender, record.set(now_ns, message), progress) {
            break Some(error.into());
        }
        messages += 1;
        if pace.is_time_to_tell(now_ns) {
            progress.at(messages);
        }
    };
    let elapsed = pace.elapsed();
    progress.at(messages);
    let closed = appender.close().err().map(Fault::from);
    Published { messages, elapsed, fault: fault.or(closed) }
}

#[inline]
fn append(appender: &mut Appender<Exclusive>, record: &[u8], progress: &Progress) -> Result<(), AppendError> {
    match appender.append(record) {
        Ok(_) => Ok(()),
        Err(AppendError::Full { by: Some(_), .. }) => append_later(appender, record, progress),
        Err(error) => Err(error),
    }
}

/// Waits for the workers that hold the oldest segment. One that has died is none of them.
#[cold]
fn append_later(appender: &mut Appender<Exclusive>, record: &[u8], progress: &Progress) -> Result<(), AppendError> {
    loop {
        match appender.append_wait(record, progress::EVERY) {
            Ok(_) => return Ok(()),
            Err(AppendError::Full { by: Some(holder), .. }) => progress.note(format!("waiting for {}", holder.name())),
            Err(error) => return Err(error),
        }
    }
}

/// Whose turn it is when.
#[derive(Debug)]
struct Pace {
    rate: Option<NonZeroU64>,
    /// When the first message was due, moved on by all pauses.
    started_ns: u64,
    told_ns: u64,
}

impl Pace {
    fn new(rate: Option<NonZeroU64>) -> Self {
        let now_ns = now_ns();
        Self { rate, started_ns: now_ns, told_ns: now_ns }
    }

    /// Waits until message `seq` is due, and returns the time.
    #[inline]
    fn turn(&self, seq: u64) -> u64 {
        let Some(rate) = self.rate else { return now_ns() };
        let due_ns = self.started_ns + due_in_ns(seq, rate);
        loop {
            let now_ns = now_ns();
            match due_ns.saturating_sub(now_ns) {
                0 => return now_ns,
                left_ns if left_ns >= SLEEP_FROM_NS => std::thread::sleep(Duration::from_nanos(left_ns - SPIN_NS)),
                _ => std::hint::spin_loop(),
            }
        }
    }

    /// Does something that takes no time.
    fn pause(&mut self, what: impl FnOnce()) {
        let before_ns = now_ns();
        what();
        self.started_ns += now_ns() - before_ns;
    }

    #[inline]
    fn is_time_to_tell(&mut self, now_ns: u64) -> bool {
        let is_time = u128::from(now_ns - self.told_ns) >= progress::EVERY.as_nanos();
        if is_time {
            self.told_ns = now_ns;
        }
        is_time
    }

    fn elapsed(&self) -> Duration {
        Duration::from_nanos(now_ns() - self.started_ns)
    }
}

/// How long after the first message message `seq` is due.
fn due_in_ns(seq: u64, rate: NonZeroU64) -> u64 {
    let (seconds, rest) = (seq / rate, seq % rate);
    let part_ns = u128::from(rest) * u128::from(SECOND_NS) / u128::from(rate.get());
    seconds * SECOND_NS + u64::try_from(part_ns).unwrap_or(SECOND_NS)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::feed::Feed;
    use shmlog::{Log, Retention, Start};
    use std::cell::Cell;

    fn publish_to(log: &Log, feed: &Feed, at_half: impl FnOnce()) -> Published {
        publish(log.exclusive().unwrap(), feed.play().unwrap(), None, at_half, &Progress::new(false))
    }

    #[test]
    fn turns_are_evenly_apart() {
        let rate = NonZeroU64::new(3).unwrap();
        let due: Vec<_> = (0..5).map(|seq| due_in_ns(seq, rate)).collect();
        assert_eq!(due, [0, 333_333_333, 666_666_666, 1_000_000_000, 1_333_333_333]);
        assert_eq!(due_in_ns(u64::MAX / SECOND_NS, NonZeroU64::MIN), u64::MAX / SECOND_NS * SECOND_NS);
    }

    #[test]
    fn every_message_is_a_record_and_half_is_told_once() {
        let log = Log::builder().create_memfd("publish").unwrap();
        let feed = Feed::generate(1, 1001);
        let seen = Cell::new(None);
        let published = publish_to(&log, &feed, || seen.set(Some(log.info().next_seq)));
        assert_eq!((published.messages, published.fault), (1001, None));
        assert_eq!(seen.get(), Some(500));
        assert!(log.info().is_closed);
        let mut reader = log.reader(Start::First).unwrap();
        let mut got = Stamped::new();
        for message in feed.play().unwrap().collect() {
            got.copy(&reader.try_next().unwrap().unwrap()).unwrap();
            assert_eq!(got.message(), message);
        }
    }

    #[test]
    fn a_log_that_keeps_everything_ends_the_feed_and_keeps_what_is_there() {
        let log = Log::builder().windows(2).window_bytes(64 << 10).retention(Retention::Keep);
        let log = log.create_memfd("publish").unwrap();
        let published = publish_to(&log, &Feed::generate(1, 20_000), || {});
        assert!(matches!(published.fault, Some(Fault::Log(AppendError::Full { by: None, .. }))));
        assert!((1000..20_000).contains(&published.messages));
        assert_eq!(log.info().next_seq, published.messages);
        assert!(log.info().is_closed);
    }
}
