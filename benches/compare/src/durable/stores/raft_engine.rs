//! raft-engine: a log for each writer, which is what a group is to it, in the same files; group commit among threads.

use crate::durable::records::{Check, number_of};
use crate::durable::store::{Reader, Settings, Store, Writer};
use anyhow::{Context, Result};
use protobuf::well_known_types::BytesValue;
use raft_engine::{Config, Engine, LogBatch, MessageExt, ReadableSize};
use std::path::Path;

/// Entries that are fetched at once.
const BLOCK: u64 = 1024;

/// An entry: its index is in the record itself.
#[derive(Clone)]
struct Entry;

impl MessageExt for Entry {
    type Entry = BytesValue;

    fn index(entry: &BytesValue) -> u64 {
        number_of(&entry.value) + 1
    }
}

/// An engine.
pub struct RaftEngine(Engine);

impl Store for RaftEngine {
    type Writer<'s> = Group<'s>;
    type Reader<'s> = Groups<'s>;

    fn open(dir: &Path, settings: &Settings) -> Result<Self> {
        let mut config = Config {
            dir: dir.to_str().context("a path in UTF-8")?.to_owned(),
            // Nobody else compresses.
            batch_compression_threshold: ReadableSize(0),
            ..Config::default()
        };
        if settings.is_durable() {
            // Files of zeroes, into which a commit changes no metadata; half as much again as the limit says.
            config.prefill_for_recycle = true;
            config.prefill_limit = Some(ReadableSize(settings.ahead_bytes * 3 / 4));
            config.target_file_size.0 = config.target_file_size.0.min(settings.ahead_bytes / 4);
        }
        Ok(Self(Engine::open(config)?))
    }

    fn writer(&self, index: usize) -> Result<Group<'_>> {
        Ok(Group { engine: &self.0, group: index as u64 + 1, batch: LogBatch::default() })
    }

    fn reader(&self) -> Result<Groups<'_>> {
        Ok(Groups { engine: &self.0, entries: Vec::new() })
    }
}

/// Writes to its own group.
pub struct Group<'s> {
    engine: &'s Engine,
    group: u64,
    batch: LogBatch,
}

impl Writer for Group<'_> {
    fn write(&mut self, records: &[&[u8]], sync: bool) -> Result<()> {
        let entry = |record: &&[u8]| BytesValue { value: record.to_vec(), ..BytesValue::default() };
        if let [record] = records {
            self.batch.add_entries::<Entry>(self.group, &[entry(record)])?;
        } else {
            self.batch.add_entries::<Entry>(self.group, &records.iter().map(entry).collect::<Vec<_>>())?;
        }
        self.engine.write(&mut self.batch, sync)?;
        Ok(())
    }
}

/// Reads one group after the other.
pub struct Groups<'s> {
    engine: &'s Engine,
    entries: Vec<BytesValue>,
}

impl Reader for Groups<'_> {
    fn scan(&mut self, mut check: Check) -> Result<Check> {
        for group in self.engine.raft_groups() {
            let end = self.engine.last_index(group).context("an entry")? + 1;
            let mut at = self.engine.first_index(group).context("an entry")?;
            while at < end {
                self.entries.clear();
                let until = end.min(at + BLOCK);
                self.engine.fetch_entries_to::<Entry>(group, at, until, None, &mut self.entries)?;
                self.entries.iter().for_each(|entry| check.see(&entry.value));
                at = until;
            }
        }
        Ok(check)
    }

    fn get(&mut self, number: u64, see: &mut impl FnMut(&[u8])) -> Result<()> {
        see(&self.engine.get_entry::<Entry>(1, number + 1)?.context("an entry")?.value);
        Ok(())
    }
}
