//! The recorder: takes what is in the log to a journal, record k to record k, and says how much of it is durable.

use super::parent::Parent;
use super::source::{NAP, builder};
use crate::args::Args;
use crate::stamp::Stamped;
use anyhow::{Context, Result, bail};
use nix::sys::signal::{Signal, raise};
use serde_json::{Value, json};
use shmlog::{FrontHome, Journal, JournalAppender, JournalError, Log, ReadError, Reader, Recovery, Start};
use std::thread::{self, JoinHandle};

/// Records that are made durable together, at most.
const BATCH: usize = 4096;

/// Goes on where the journal ends, until the log does.
///
/// # Errors
/// The log does not have the record any more with which the journal goes on, or never had; the journal fails, or
/// somebody else appends to it.
pub fn run(log: &Log, args: &Args, parent: Parent) -> Result<()> {
    let mut recorder = Recorder::open(log, args, parent)?;
    let mut is_orphan = false;
    loop {
        match recorder.batch()? {
            Batch::Records => recorder.make_durable()?,
            Batch::Nothing if is_orphan => break,
            Batch::Nothing => {
                is_orphan = recorder.parent.is_at_end();
                thread::sleep(NAP);
            }
            Batch::Closed => break,
        }
    }
    recorder.finish()
}

struct Recorder {
    journal: Journal,
    appender: JournalAppender,
    reader: Reader,
    parent: Parent,
    record: Stamped,
    recorded: u64,
    /// When to be killed.
    until: Option<u64>,
    killer: Option<JoinHandle<()>>,
}

enum Batch {
    Records,
    Nothing,
    Closed,
}

impl Recorder {
    fn open(log: &Log, args: &Args, mut parent: Parent) -> Result<Self> {
        let dir = args.journal.as_ref().context("the parent says where the journal is")?;
        let home = args.front.clone().map_or(FrontHome::Auto, FrontHome::At);
        let journal = Journal::builder().front(home).open(dir).context("opening the journal")?;
        let from = journal.next_seq();
        let mut reader = builder(log, parent.role, args.wait)
            .start(Start::At(from))
            .with_context(|| format!("the journal goes on with record {from} of the log"))?;
        // A log that overwrites waits for what it holds too.
        reader.pin()?;
        parent.joined(&json!({
            "from_seq": from,
            "joined_at_seq": from + reader.lag(),
            "durable": journal.durable(),
            "recovery": journal.recovery().map(recovery_json),
        }))?;
        let appender = journal.appender_named("recorder")?;
        let until = args.kill_recorder_after.first().copied();
        let killer = until.is_some_and(|until| from >= until).then(|| thread::spawn(die));
        Ok(Self { journal, appender, reader, parent, record: Stamped::new(), recorded: 0, until, killer })
    }

    /// Appends what is there to the journal.
    fn batch(&mut self) -> Result<Batch> {
        let records = match self.reader.batch() {
            Ok(records) => records,
            Err(ReadError::Closed) => return Ok(Batch::Closed),
            Err(error) => return Err(error.into()),
        };
        let before = self.recorded;
        for record in records.take(BATCH) {
            self.record.copy(&record)?;
            let seq = self.appender.append(self.record.record())?;
            if seq != record.seq() {
                bail!("record {} became record {seq} of the journal: somebody else appends to it", record.seq());
            }
            self.recorded += 1;
            if self.until.is_some_and(|until| seq + 1 >= until) {
                self.killer.get_or_insert_with(|| thread::spawn(die));
            }
        }
        Ok(if self.recorded > before { Batch::Records } else { Batch::Nothing })
    }

    /// One write and one sync for all of a batch. What the parent is told is on disk.
    fn make_durable(&mut self) -> Result<(), JournalError> {
        let durable = self.journal.sync()?;
        self.parent.tell_meanwhile(&json!({ "durable": durable }));
        Ok(())
    }

    fn finish(self) -> Result<()> {
        let Self { journal, appender, parent, recorded, killer, .. } = self;
        if let Some(killer) = killer {
            // It was to be killed: it does not escape by being done.
            let _ = killer.join();
        }
        let records = journal.sync()?;
        drop(appender);
        journal.close()?;
        parent.finish(&json!({ "records": recorded, "durable": records }), &format!("recorded {recorded} messages"));
        Ok(())
    }
}

/// As `kill -9`, while the other threads go on.
fn die() {
    let _ = raise(Signal::SIGKILL);
}

fn recovery_json(found: &Recovery) -> Value {
    json!({
        "durable": found.durable,
        "kept": found.kept,
        "torn_bytes": found.torn_bytes,
        "generation": found.generation,
        "scanned_bytes": found.scanned_bytes,
    })
}

#[cfg(test)]
mod tests;
