//! Where a worker's messages come from: a reader of the log, and the parent's socket, whose end says
//! that no more will come.

use super::parent::Parent;
use crate::args::{Role, Waits};
use crate::itch::Message;
use crate::stamp::Stamped;
use anyhow::{Context, Result};
use serde_json::{Value, json};
use shmlog::{JoinError, Log, ReadError, Reader, ReaderBuilder, Retention, Start};
use std::time::{Duration, Instant};

/// How often a worker that has nothing to read looks whether the parent lives.
const TICK: Duration = Duration::from_millis(100);

/// How long one that is in no hurry sleeps.
pub const NAP: Duration = Duration::from_millis(1);

/// See the module.
#[derive(Debug)]
pub struct Source {
    reader: Reader,
    parent: Parent,
    record: Stamped,
    records: u64,
    /// Sequence number of the record that comes next.
    next_seq: u64,
    missed: u64,
    busy: Duration,
}

/// A message, and how it came.
#[derive(Clone, Copy, Debug)]
pub struct Arrival<'m> {
    pub seq: u64,
    pub published_ns: u64,
    /// How many messages did not come, of all before it.
    pub missed: u64,
    pub message: &'m Message,
}

impl Source {
    /// Takes a place at record 0, or at the oldest one if that is gone, and tells the parent.
    pub fn from_start(log: &Log, wait: Waits, parent: Parent) -> Result<Self> {
        let reader = join_at_start(builder(log, parent.role, wait))?;
        Self::new(reader, parent, json!({}))
    }

    /// As `from_start`, and the log waits for this worker: it must not miss anything.
    pub fn pinned_from_start(log: &Log, wait: Waits, parent: Parent) -> Result<Self> {
        let mut reader = join_at_start(builder(log, parent.role, wait))?;
        reader.pin()?;
        Self::new(reader, parent, json!({}))
    }

    /// Goes on with a reader that has a place, and tells the parent, with what else there is to say
    /// about that.
    pub fn new(reader: Reader, mut parent: Parent, mut about: Value) -> Result<Self> {
        let from_seq = reader.position();
        about["from_seq"] = from_seq.into();
        about["joined_at_seq"] = (from_seq + reader.lag()).into();
        parent.joined(&about)?;
        Ok(Self {
            reader,
            parent,
            record: Stamped::new(),
            records: 0,
            next_seq: from_seq,
            missed: 0,
            busy: Duration::ZERO,
        })
    }

    /// Calls `work` with every message, until the log is closed, or the parent is gone and nothing is
    /// left.
    pub fn each(&mut self, mut work: impl FnMut(&Arrival<'_>) -> Result<()>) -> Result<()> {
        let mut started = None;
        let mut is_orphan = false;
        loop {
            let (before, now) = (self.records, started.unwrap_or_else(Instant::now));
            match self.batch(&mut work) {
                Ok(worked) => worked?,
                Err(ReadError::Closed) => break,
                // The gap shows at the next record.
                Err(ReadError::Lagged { .. } | ReadError::GivenUp { .. }) => continue,
                Err(error) => return Err(error.into()),
            }
            if self.records > before {
                started = Some(now);
            } else if is_orphan {
                break;
            } else if !self.wait() {
                is_orphan = self.parent.is_at_end();
            }
        }
        self.busy = started.map_or(Duration::ZERO, |started| Instant::elapsed(&started));
        self.missed += self.reader.position().saturating_sub(self.next_seq);
        Ok(())
    }

    /// Waits for more, a moment at most. Returns whether there may be some. Only the worker that
    /// measures latency is in a hurry; the others leave the processors to it and to the parent.
    fn wait(&mut self) -> bool {
        if self.parent.role == Role::Book(0) {
            // An error comes again when it is read.
            return self.reader.wait_next(TICK).unwrap_or(true);
        }
        std::thread::sleep(NAP);
        false
    }

    /// What is there now.
    fn batch(&mut self, work: &mut impl FnMut(&Arrival<'_>) -> Result<()>) -> Result<Result<()>, ReadError> {
        for record in self.reader.batch()? {
            let seq = record.seq();
            self.record.copy(&record)?;
            self.missed += seq - self.next_seq;
            self.next_seq = seq + 1;
            self.records += 1;
            let message = match Message::decode(self.record.message()) {
                Ok(message) => message,
                Err(error) => return Ok(Err(error).with_context(|| format!("record {seq}"))),
            };
            let published_ns = self.record.published_ns();
            let worked = work(&Arrival { seq, published_ns, missed: self.missed, message: &message });
            if worked.is_err() {
                return Ok(worked.with_context(|| format!("record {seq}")));
            }
        }
        Ok(Ok(()))
    }

    /// Tells the parent the result, with what was read and what was missed.
    pub fn finish(self, mut result: Value) {
        let records = self.records;
        result["records"] = records.into();
        result["missed"] = self.missed.into();
        result["busy_ns"] = json!(u64::try_from(self.busy.as_nanos()).unwrap_or(u64::MAX));
        self.parent.finish(&result, &format!("read {records} records to the end"));
    }
}

/// A reader that is waited for, if the log waits for any.
pub fn builder(log: &Log, role: Role, wait: Waits) -> ReaderBuilder<'_> {
    let is_gated = log.info().retention != Retention::Overwrite;
    log.reader_builder().name(role.to_string()).gated(is_gated).wait(wait.into())
}

/// A place at record 0, or at the oldest one if that is gone.
pub fn join_at_start(builder: ReaderBuilder<'_>) -> Result<Reader, JoinError> {
    match builder.clone().start(Start::First) {
        Err(JoinError::Gone { .. }) => builder.start(Start::Oldest),
        joined => joined,
    }
}
