//! Making a reader: where it begins, what it is called, whether appenders wait for it.

use crate::error::JoinError;
use crate::log::Log;
use crate::log::reader::Reader;
use crate::wait::Wait;
use std::time::Duration;

/// Where a reader begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Start {
    /// At the oldest record retained.
    Oldest,
    /// At record 0.
    First,
    /// Behind the newest record.
    End,
    /// At this record, which exists or is the next one.
    At(u64),
}

/// Settings of a reader, by [`Log::reader_builder`].
///
/// ```
/// use shmlog::{Log, Start, Wait};
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let log = Log::builder().create_memfd("feed")?;
/// let reader = log.reader_builder().name("risk").gated(true).wait(Wait::Spin).start(Start::End)?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct ReaderBuilder<'l> {
    pub(crate) log: &'l Log,
    pub(crate) name: String,
    pub(crate) is_gated: bool,
    pub(crate) wait: Wait,
    pub(crate) linger: Duration,
}

impl<'l> ReaderBuilder<'l> {
    pub(crate) fn new(log: &'l Log) -> Self {
        Self { log, name: String::new(), is_gated: false, wait: Wait::default(), linger: Duration::ZERO }
    }

    /// The name others see, at most 32 bytes of it.
    #[must_use]
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }

    /// Whether appenders wait for this reader: it never lags, and a log with `Retention::Gated` is
    /// `Full` until it has moved on.
    #[must_use]
    pub fn gated(mut self, is_gated: bool) -> Self {
        self.is_gated = is_gated;
        self
    }

    /// How it waits for records.
    #[must_use]
    pub fn wait(mut self, wait: Wait) -> Self {
        self.wait = wait;
        self
    }

    /// For how long [`Reader::batch`] leaves the log alone when it comes right after records and finds few: it then
    /// spins until so much time has passed since the batch before. Zero, the default: not at all.
    ///
    /// A reader that does little with a record is otherwise always at the appender's heels, and both are as slow
    /// as lines go to and fro between their cores. With 10 us streams of 64 B to 1 KiB were 2 to 3
    /// times as fast, and 1.1 to 1.7 times between cores that share no cache (docs/performance.md); a record is seen up
    /// to 10 us later, but for the first after a pause. For recorders, and whoever wants throughput.
    #[must_use]
    pub fn linger(mut self, linger: Duration) -> Self {
        self.linger = linger;
        self
    }

    /// Takes its place.
    ///
    /// # Errors
    /// [`JoinError`]: no such record, no slot, or the log can't wait for readers.
    pub fn start(self, start: Start) -> Result<Reader, JoinError> {
        Reader::join(&self, start)
    }
}
