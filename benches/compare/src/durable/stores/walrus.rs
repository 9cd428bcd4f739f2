//! walrus: a topic that is read on from a cursor.
#![allow(unsafe_code, reason = "its directory is told to it by the environment")]

use crate::durable::records::Check;
use crate::durable::store::{Reader, Settings, Store, Writer};
use anyhow::Result;
use std::path::Path;
use std::sync::Once;
use walrus_rust::{FsyncSchedule, ReadConsistency, Walrus};

/// The topic, and the name of the log.
const NAME: &str = "records";
/// Bytes that are read at once in a scan.
const BLOCK: usize = 256 << 10;

/// A log.
pub struct Wal(Walrus);

impl Store for Wal {
    type Writer<'s> = Topic<'s>;
    type Reader<'s> = Topic<'s>;
    const IS_READ_ONCE: bool = true;

    fn open(dir: &Path, settings: &Settings) -> Result<Self> {
        static TOLD: Once = Once::new();
        TOLD.call_once(|| {
            // SAFETY: this process has opened nothing yet, so that this is its only thread.
            unsafe { std::env::set_var("WALRUS_DATA_DIR", dir) };
            // SAFETY: as above. Without it each step is printed.
            unsafe { std::env::set_var("WALRUS_QUIET", "1") };
        });
        // A batch syncs by itself, and would have each of its records synced beside.
        let is_each = settings.is_durable() && settings.batch == 1;
        let schedule = if is_each { FsyncSchedule::SyncEach } else { FsyncSchedule::NoFsync };
        // The cursor is never written down, so that each process begins at the beginning.
        let reads = ReadConsistency::AtLeastOnce { persist_every: u32::MAX };
        Ok(Self(Walrus::with_consistency_and_schedule_for_key(NAME, reads, schedule)?))
    }

    fn writer(&self, _index: usize) -> Result<Topic<'_>> {
        Ok(Topic(&self.0))
    }

    fn reader(&self) -> Result<Topic<'_>> {
        Ok(Topic(&self.0))
    }
}

/// The topic.
pub struct Topic<'s>(&'s Walrus);

impl Writer for Topic<'_> {
    fn write(&mut self, records: &[&[u8]], _sync: bool) -> Result<()> {
        match records {
            [record] => self.0.append_for_topic(NAME, record)?,
            _ => self.0.batch_append_for_topic(NAME, records)?,
        }
        Ok(())
    }
}

impl Reader for Topic<'_> {
    fn scan(&mut self, mut check: Check) -> Result<Check> {
        loop {
            let entries = self.0.batch_read_for_topic(NAME, BLOCK, true)?;
            if entries.is_empty() {
                return Ok(check);
            }
            entries.iter().for_each(|entry| check.see(&entry.data));
        }
    }
}
