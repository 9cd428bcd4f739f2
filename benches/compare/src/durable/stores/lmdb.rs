//! LMDB through heed: a tree by number; each unit is a transaction.
#![allow(unsafe_code, reason = "LMDB maps a file")]

use crate::durable::records::Check;
use crate::durable::store::{Reader, Settings, Store, Writer};
use anyhow::{Context, Result};
use heed::byteorder::BE;
use heed::types::{Bytes, U64};
use heed::{CommitOrAbort, Database, Env, EnvFlags, EnvOpenOptions, PutFlags, RoTxn, WithTls};
use std::path::Path;

/// Records by number.
type Records = Database<'static, U64<BE>, Bytes>;

/// The most that a file may be.
const MAP_BYTES: usize = 64 << 30;

/// An environment with one database.
pub struct Lmdb {
    env: Env,
    records: Records,
}

impl Store for Lmdb {
    type Writer<'s> = Transactions<'s>;
    type Reader<'s> = Snapshot<'s>;
    const FILL_UNIT: usize = 1000;

    fn open(dir: &Path, settings: &Settings) -> Result<Self> {
        let mut options = EnvOpenOptions::new();
        options.map_size(MAP_BYTES);
        if !settings.is_durable() {
            // Written in place: several times as fast.
            let flags = EnvFlags::NO_SYNC | EnvFlags::WRITE_MAP;
            // SAFETY: what a crash of the machine would damage is not read after one, and nobody here writes astray.
            unsafe { options.flags(flags) };
        }
        // SAFETY: nobody but LMDB writes to the file.
        let env = unsafe { options.open(dir) }?;
        let records = env.create_databases_and_commit(env.write_txn()?, |opener, txn| {
            opener.create_database::<U64<BE>, Bytes>(txn, None).map(CommitOrAbort::<_, ()>::Commit)
        })?;
        Ok(Self { records: records.unwrap_commit(), env })
    }

    fn writer(&self, _index: usize) -> Result<Transactions<'_>> {
        Ok(Transactions(self))
    }

    fn reader(&self) -> Result<Snapshot<'_>> {
        Ok(Snapshot { txn: self.env.read_txn()?, records: self.records })
    }

    fn close(self) -> Result<()> {
        self.env.prepare_for_closing().wait();
        Ok(())
    }
}

/// Writes behind the last record, which another process may have written.
pub struct Transactions<'s>(&'s Lmdb);

impl Writer for Transactions<'_> {
    fn write(&mut self, records: &[&[u8]], _sync: bool) -> Result<()> {
        let mut txn = self.0.env.write_txn()?;
        let last = self.0.records.last(&txn)?.map(|(number, _)| number);
        let first = last.map_or(0, |number| number + 1);
        for (number, record) in (first..).zip(records) {
            self.0.records.put_with_flags(&mut txn, PutFlags::APPEND, &number, record)?;
        }
        Ok(txn.commit()?)
    }
}

/// Reads in place.
pub struct Snapshot<'s> {
    txn: RoTxn<'s, WithTls>,
    records: Records,
}

impl Reader for Snapshot<'_> {
    fn scan(&mut self, mut check: Check) -> Result<Check> {
        for found in self.records.iter(&self.txn)? {
            check.see(found?.1);
        }
        Ok(check)
    }

    fn get(&mut self, number: u64, see: &mut impl FnMut(&[u8])) -> Result<()> {
        see(self.records.get(&self.txn, &number)?.context("a record")?);
        Ok(())
    }
}
