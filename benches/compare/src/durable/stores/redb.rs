//! redb: a table by number; each unit is a transaction.

use crate::durable::records::Check;
use crate::durable::store::{Reader, Settings, Store, Writer};
use anyhow::{Context, Result};
use redb::{ConcurrencyMode, Database, Durability, ReadOnlyTable, ReadableDatabase, ReadableTable, TableDefinition};
use std::marker::PhantomData;
use std::path::Path;

/// Records by number.
const RECORDS: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("records");
/// Room for what is read again and again.
const CACHE_BYTES: usize = 1 << 30;

/// A database with one table.
pub struct Redb(Database);

impl Store for Redb {
    type Writer<'s> = Transactions<'s>;
    type Reader<'s> = Snapshot<'s>;
    const FILL_UNIT: usize = 1000;

    fn open(dir: &Path, settings: &Settings) -> Result<Self> {
        let mut builder = Database::builder();
        builder.set_cache_size(CACHE_BYTES);
        if settings.is_shared {
            builder.set_concurrency_mode(ConcurrencyMode::MultiWriter);
        }
        let database = builder.create(dir.join("records.redb"))?;
        Ok(Self(database))
    }

    fn writer(&self, _index: usize) -> Result<Transactions<'_>> {
        Ok(Transactions(&self.0))
    }

    fn reader(&self) -> Result<Snapshot<'_>> {
        Ok(Snapshot(self.0.begin_read()?.open_table(RECORDS)?, PhantomData))
    }

    fn sync(&self, _dir: &Path) -> Result<()> {
        // Commits without a sync before are on the disk with this one.
        Ok(self.0.begin_write()?.commit()?)
    }

    fn close(self) -> Result<()> {
        Ok(self.0.close()?)
    }
}

/// Writes behind the last record, which another process may have written.
pub struct Transactions<'s>(&'s Database);

impl Writer for Transactions<'_> {
    fn write(&mut self, records: &[&[u8]], sync: bool) -> Result<()> {
        let mut transaction = self.0.begin_write()?;
        transaction.set_durability(if sync { Durability::Immediate } else { Durability::None })?;
        let mut table = transaction.open_table(RECORDS)?;
        let last = table.last()?.map(|(number, _)| number.value());
        let first = last.map_or(0, |number| number + 1);
        for (number, record) in (first..).zip(records) {
            table.insert(number, *record)?;
        }
        drop(table);
        Ok(transaction.commit()?)
    }
}

/// Reads in place.
pub struct Snapshot<'s>(ReadOnlyTable<u64, &'static [u8]>, PhantomData<&'s Database>);

impl Reader for Snapshot<'_> {
    fn scan(&mut self, mut check: Check) -> Result<Check> {
        for found in self.0.iter()? {
            check.see(found?.1.value());
        }
        Ok(check)
    }

    fn get(&mut self, number: u64, see: &mut impl FnMut(&[u8])) -> Result<()> {
        see(self.0.get(number)?.context("a record")?.value());
        Ok(())
    }
}
