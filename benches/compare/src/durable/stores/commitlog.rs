//! commitlog: a log in segments, with an index in a map. Its `flush` calls `File::flush`, which does nothing.

use crate::durable::records::Check;
use crate::durable::store::{Reader, Settings, Store, Writer};
use anyhow::{Context, Result, bail};
use commitlog::message::{MessageBuf, MessageSet};
use commitlog::{CommitLog, LogOptions, ReadLimit};
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Bytes that are read at once in a scan.
const BLOCK: usize = 64 << 10;
/// Bytes before each record.
const HEADER: usize = 20;

/// A log; its threads take turns.
pub struct Log {
    log: Mutex<CommitLog>,
    bytes: usize,
}

impl Log {
    fn lock(&self) -> MutexGuard<'_, CommitLog> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Store for Log {
    type Writer<'s> = Appends<'s>;
    type Reader<'s> = Reads<'s>;

    fn open(dir: &Path, settings: &Settings) -> Result<Self> {
        Ok(Self { log: Mutex::new(CommitLog::new(LogOptions::new(dir))?), bytes: settings.bytes })
    }

    fn writer(&self, _index: usize) -> Result<Appends<'_>> {
        Ok(Appends { log: self, messages: MessageBuf::default() })
    }

    fn reader(&self) -> Result<Reads<'_>> {
        Ok(Reads { log: self.lock(), bytes: self.bytes })
    }
}

/// Writes.
pub struct Appends<'s> {
    log: &'s Log,
    messages: MessageBuf,
}

impl Writer for Appends<'_> {
    fn write(&mut self, records: &[&[u8]], sync: bool) -> Result<()> {
        if sync {
            bail!("it never syncs");
        }
        self.messages.clear();
        for record in records {
            self.messages.push(record).map_err(|error| anyhow::anyhow!("{error:?}"))?;
        }
        self.log.lock().append(&mut self.messages)?;
        Ok(())
    }
}

/// Reads.
pub struct Reads<'s> {
    log: MutexGuard<'s, CommitLog>,
    bytes: usize,
}

impl Reader for Reads<'_> {
    fn scan(&mut self, mut check: Check) -> Result<Check> {
        let mut at = 0;
        loop {
            let messages = self.log.read(at, ReadLimit::max_bytes(BLOCK))?;
            if messages.is_empty() {
                return Ok(check);
            }
            messages.iter().for_each(|message| check.see(message.payload()));
            at += messages.len() as u64;
        }
    }

    fn get(&mut self, number: u64, see: &mut impl FnMut(&[u8])) -> Result<()> {
        // One more than it has: the last record of a segment is not found by a limit that it fills.
        let messages = self.log.read(number, ReadLimit::max_bytes(HEADER + self.bytes + 1))?;
        see(messages.iter().next().context("a record")?.payload());
        Ok(())
    }
}
