//! Making a reader: where it begins, what it is called, whether appenders wait for it.

use crate::error::JoinError;
use crate::log::Log;
use crate::log::reader::Reader;
use crate::wait::Wait;

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
}

impl<'l> ReaderBuilder<'l> {
    pub(crate) fn new(log: &'l Log) -> Self {
        Self { log, name: String::new(), is_gated: false, wait: Wait::default() }
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

    /// Takes its place.
    ///
    /// # Errors
    /// [`JoinError`]: no such record, no slot, or the log can't wait for readers.
    pub fn start(self, start: Start) -> Result<Reader, JoinError> {
        Reader::join(&self, start)
    }
}
