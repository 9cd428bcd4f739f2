//! Where a worker's messages come from: a reader of the log, and the parent's socket, whose end says
//! that no more will come.

use crate::args::{Role, Waits};
use crate::itch::Message;
use crate::progress::say;
use crate::stamp::Stamped;
use anyhow::{Context, Result};
use serde_json::{Value, json};
use shmlog::{JoinError, Log, ReadError, Reader, Retention, Start};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

/// How often a worker that has nothing to read looks whether the parent lives.
const TICK: Duration = Duration::from_millis(100);

/// How long one that is in no hurry sleeps.
const NAP: Duration = Duration::from_millis(1);

/// See the module.
#[derive(Debug)]
pub struct Source {
    role: Role,
    reader: Reader,
    parent: UnixStream,
    is_orphan: bool,
    record: Stamped,
    records: u64,
    /// Sequence number of the record that comes next.
    next_seq: u64,
    missed: u64,
    busy: Duration,
}

impl Source {
    /// Takes a place at record 0, or at the oldest one if that is gone, and tells the parent.
    pub fn join(log: &Log, parent: UnixStream, role: Role, wait: Waits) -> Result<Self> {
        let reader = join(log, role, wait).with_context(|| role.to_string())?;
        let from_seq = reader.position();
        let mut source = Self {
            role,
            reader,
            parent,
            is_orphan: false,
            record: Stamped::new(),
            records: 0,
            next_seq: from_seq,
            missed: 0,
            busy: Duration::ZERO,
        };
        let joined_at_seq = from_seq + source.reader.lag();
        let told = source.tell(&json!({ "joined_at_seq": joined_at_seq, "from_seq": from_seq }));
        source.is_orphan = told.is_err();
        source.parent.set_nonblocking(true)?;
        Ok(source)
    }

    /// Calls `work` with every message and the time at which it was published, until the log is
    /// closed, or the parent is gone and nothing is left.
    pub fn each(&mut self, mut work: impl FnMut(u64, &Message)) -> Result<()> {
        let mut started = None;
        loop {
            let (before, now) = (self.records, started.unwrap_or_else(Instant::now));
            match self.batch(&mut work) {
                Ok(decoded) => decoded?,
                Err(ReadError::Closed) => break,
                // The gap shows at the next record.
                Err(ReadError::Lagged { .. } | ReadError::GivenUp { .. }) => continue,
                Err(error) => return Err(error.into()),
            }
            if self.records > before {
                started = Some(now);
            } else if self.is_orphan {
                break;
            } else if !self.wait() {
                self.is_orphan = self.is_parent_gone();
            }
        }
        self.busy = started.map_or(Duration::ZERO, |started| Instant::elapsed(&started));
        self.missed += self.reader.position().saturating_sub(self.next_seq);
        Ok(())
    }

    /// Waits for more, a moment at most. Returns whether there may be some. Only the worker that
    /// measures latency is in a hurry; the others leave the processors to it and to the parent.
    fn wait(&mut self) -> bool {
        if self.role == Role::Book(0) {
            // An error comes again when it is read.
            return self.reader.wait_next(TICK).unwrap_or(true);
        }
        std::thread::sleep(NAP);
        false
    }

    /// What is there now.
    fn batch(&mut self, work: &mut impl FnMut(u64, &Message)) -> Result<Result<()>, ReadError> {
        for record in self.reader.batch()? {
            let seq = record.seq();
            self.record.copy(&record)?;
            let message = match Message::decode(self.record.message()) {
                Ok(message) => message,
                Err(error) => return Ok(Err(error).with_context(|| format!("record {seq}"))),
            };
            work(self.record.published_ns(), &message);
            self.missed += seq - self.next_seq;
            self.next_seq = seq + 1;
            self.records += 1;
        }
        Ok(Ok(()))
    }

    /// Tells the parent the result, with what was read and what was missed.
    pub fn finish(mut self, mut result: Value) -> Result<()> {
        result["records"] = self.records.into();
        result["missed"] = self.missed.into();
        result["busy_ns"] = json!(u64::try_from(self.busy.as_nanos()).unwrap_or(u64::MAX));
        self.parent.set_nonblocking(false)?;
        if self.is_orphan || self.tell(&result).is_err() {
            let (role, pid, records) = (self.role, std::process::id(), self.records);
            say(&format!("market: {role} (pid {pid}) read {records} records to the end; the parent is gone"));
        }
        Ok(())
    }

    fn tell(&mut self, what: &Value) -> Result<()> {
        Ok(self.parent.write_all(format!("{what}\n").as_bytes())?)
    }

    /// The parent never says anything: its socket has an end, or nothing.
    fn is_parent_gone(&mut self) -> bool {
        match self.parent.read(&mut [0]) {
            Ok(len) => len == 0,
            Err(error) => !matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted),
        }
    }
}

fn join(log: &Log, role: Role, wait: Waits) -> Result<Reader, JoinError> {
    let is_gated = log.info().retention != Retention::Overwrite;
    let builder = log.reader_builder().name(role.to_string()).gated(is_gated).wait(wait.into());
    match builder.clone().start(Start::First) {
        Err(JoinError::Gone { .. }) => builder.start(Start::Oldest),
        joined => joined,
    }
}
