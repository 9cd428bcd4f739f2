//! fjall: a keyspace by number; a durable unit is a batch that syncs the journal.

use crate::durable::records::Check;
use crate::durable::store::{Reader, Settings, Store, Writer};
use anyhow::{Context, Result};
use fjall::{Database, Keyspace, KeyspaceCreateOptions, PersistMode};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

/// Room for what is read again and again.
const CACHE_BYTES: u64 = 1 << 30;

/// A database with one keyspace.
pub struct Fjall {
    database: Database,
    records: Keyspace,
    next: AtomicU64,
}

impl Store for Fjall {
    type Writer<'s> = Batches<'s>;
    type Reader<'s> = Ranges<'s>;

    fn open(dir: &Path, _settings: &Settings) -> Result<Self> {
        let database = Database::builder(dir).cache_size(CACHE_BYTES).open()?;
        let records = database.keyspace("records", KeyspaceCreateOptions::default)?;
        let next = match records.last_key_value() {
            Some(last) => u64::from_be_bytes(last.key()?.as_ref().try_into()?) + 1,
            None => 0,
        };
        Ok(Self { database, records, next: AtomicU64::new(next) })
    }

    fn writer(&self, _index: usize) -> Result<Batches<'_>> {
        Ok(Batches(self))
    }

    fn reader(&self) -> Result<Ranges<'_>> {
        Ok(Ranges(&self.records))
    }
}

/// Writes.
pub struct Batches<'s>(&'s Fjall);

impl Writer for Batches<'_> {
    fn write(&mut self, records: &[&[u8]], sync: bool) -> Result<()> {
        let first = self.0.next.fetch_add(records.len() as u64, Ordering::Relaxed);
        if let [record] = records {
            self.0.records.insert(first.to_be_bytes(), *record)?;
            if sync {
                self.0.database.persist(PersistMode::SyncData)?;
            }
            return Ok(());
        }
        let mut batch = self.0.database.batch();
        if sync {
            batch = batch.durability(Some(PersistMode::SyncData));
        }
        for (number, record) in (first..).zip(records) {
            batch.insert(&self.0.records, number.to_be_bytes(), *record);
        }
        Ok(batch.commit()?)
    }
}

/// Reads.
pub struct Ranges<'s>(&'s Keyspace);

impl Reader for Ranges<'_> {
    fn scan(&mut self, mut check: Check) -> Result<Check> {
        for found in self.0.iter() {
            check.see(&found.value()?);
        }
        Ok(check)
    }

    fn get(&mut self, number: u64, see: &mut impl FnMut(&[u8])) -> Result<()> {
        see(&self.0.get(number.to_be_bytes())?.context("a record")?);
        Ok(())
    }
}
