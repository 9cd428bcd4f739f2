//! shmlog's journal, open in any number of processes.

use crate::durable::records::Check;
use crate::durable::store::{Reader, Settings, Store, Writer};
use anyhow::{Context, Result};
use shmlog::{Flush, Journal, JournalAppender, JournalReader, Start};
use std::path::Path;

/// A journal.
pub struct Shmlog(Journal);

impl Store for Shmlog {
    type Writer<'s> = Appends;
    type Reader<'s> = Reads;

    fn open(dir: &Path, settings: &Settings) -> Result<Self> {
        let mut builder = Journal::builder();
        if !settings.is_durable() {
            builder = builder.flush(Flush::Never);
        }
        Ok(Self(builder.open(dir)?))
    }

    fn writer(&self, _index: usize) -> Result<Appends> {
        Ok(Appends(self.0.appender()?))
    }

    fn reader(&self) -> Result<Reads> {
        Ok(Reads(self.0.reader(Start::First)?))
    }

    fn sync(&self, _dir: &Path) -> Result<()> {
        self.0.sync()?;
        Ok(())
    }

    fn close(self) -> Result<()> {
        Ok(self.0.close()?)
    }
}

/// Writes each record as one; those of a unit are synced together.
pub struct Appends(JournalAppender);

impl Writer for Appends {
    fn write(&mut self, records: &[&[u8]], sync: bool) -> Result<()> {
        let mut last = 0;
        for record in records {
            last = self.0.append(record)?;
        }
        if sync {
            self.0.sync_to(last + 1)?;
        }
        Ok(())
    }
}

/// Reads.
pub struct Reads(JournalReader);

impl Reader for Reads {
    fn scan(&mut self, mut check: Check) -> Result<Check> {
        self.0.seek(0)?;
        while let Some(record) = self.0.try_next()? {
            if record.is_batch() {
                for part in record.parts() {
                    check.see(part?);
                }
            } else {
                check.see(record.bytes());
            }
        }
        Ok(check)
    }

    fn get(&mut self, number: u64, see: &mut impl FnMut(&[u8])) -> Result<()> {
        see(self.0.get(number)?.context("a record")?.bytes());
        Ok(())
    }
}

/// The same journal: a unit is one record of many parts, which is there whole or not at all.
pub struct InParts(Shmlog);

impl Store for InParts {
    type Writer<'s> = Parts;
    type Reader<'s> = Reads;

    fn open(dir: &Path, settings: &Settings) -> Result<Self> {
        Ok(Self(Shmlog::open(dir, settings)?))
    }

    fn writer(&self, _index: usize) -> Result<Parts> {
        Ok(Parts(self.0.0.appender()?))
    }

    fn reader(&self) -> Result<Reads> {
        self.0.reader()
    }

    fn close(self) -> Result<()> {
        self.0.close()
    }
}

/// Writes records as parts of one.
pub struct Parts(JournalAppender);

impl Writer for Parts {
    fn write(&mut self, records: &[&[u8]], sync: bool) -> Result<()> {
        if sync {
            self.0.append_parts_durable(records)?;
        } else {
            self.0.append_parts(records)?;
        }
        Ok(())
    }
}
