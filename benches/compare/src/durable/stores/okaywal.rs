//! okaywal: a log of which its user keeps where what lies, until it is checkpointed and gone. Here it never is.

use crate::case::Suite;
use crate::durable::records::Check;
use crate::durable::store::{Reader, Settings, Store, Writer};
use anyhow::{Context, Result};
use okaywal::{Configuration, Entry, EntryId, LogManager, LogPosition, ReadChunkResult, SegmentReader, WriteAheadLog};
use std::io::{self, Read};
use std::mem::take;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

/// What is found while a log is opened: the only time at which all of it is shown.
#[derive(Debug, Default)]
struct Found {
    check: Option<Check>,
    positions: Option<Vec<LogPosition>>,
}

/// Looks at what is found.
#[derive(Debug)]
struct Finder(Arc<Mutex<Found>>);

impl LogManager for Finder {
    fn recover(&mut self, entry: &mut Entry<'_>) -> io::Result<()> {
        let mut found = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if found.check.is_none() && found.positions.is_none() {
            return Ok(());
        }
        let mut record = Vec::new();
        while let ReadChunkResult::Chunk(mut chunk) = entry.read_chunk()? {
            if let Some(positions) = &mut found.positions {
                positions.push(chunk.log_position());
            }
            record.clear();
            chunk.read_to_end(&mut record)?;
            if !chunk.check_crc()? {
                return Err(io::Error::new(io::ErrorKind::InvalidData, "a checksum"));
            }
            if let Some(check) = &mut found.check {
                check.see(&record);
            }
        }
        Ok(())
    }

    fn checkpoint_to(&mut self, _: EntryId, _: &mut SegmentReader, _: &WriteAheadLog) -> io::Result<()> {
        Ok(())
    }
}

/// A log.
pub struct OkayWal {
    log: WriteAheadLog,
    dir: PathBuf,
    settings: Settings,
    positions: Vec<LogPosition>,
}

fn open(dir: &Path, settings: &Settings, found: &Arc<Mutex<Found>>) -> Result<WriteAheadLog> {
    let mut configuration = Configuration::default_for(dir).checkpoint_after_bytes(u64::MAX);
    if settings.is_durable() {
        configuration = configuration.preallocate_bytes(u32::try_from(settings.ahead_bytes)?);
    }
    Ok(configuration.open(Finder(Arc::clone(found)))?)
}

impl Store for OkayWal {
    type Writer<'s> = Committer<'s>;
    type Reader<'s> = Positions<'s>;
    const IS_READ_ONCE: bool = true;
    const FILL_UNIT: usize = 1000;

    fn open(dir: &Path, settings: &Settings) -> Result<Self> {
        let positions = (settings.suite == Suite::JournalRandom).then(Vec::new);
        let found = Arc::new(Mutex::new(Found { check: None, positions }));
        let log = open(dir, settings, &found)?;
        let positions = take(&mut found.lock().unwrap_or_else(PoisonError::into_inner).positions);
        Ok(Self { log, dir: dir.to_owned(), settings: settings.clone(), positions: positions.unwrap_or_default() })
    }

    fn writer(&self, _index: usize) -> Result<Committer<'_>> {
        Ok(Committer(&self.log))
    }

    fn reader(&self) -> Result<Positions<'_>> {
        Ok(Positions { store: self, record: Vec::new() })
    }

    fn close(self) -> Result<()> {
        Ok(self.log.shutdown()?)
    }
}

/// Writes: each unit is an entry, each record a chunk of it. There is no commit without a sync.
pub struct Committer<'s>(&'s WriteAheadLog);

impl Writer for Committer<'_> {
    fn write(&mut self, records: &[&[u8]], _sync: bool) -> Result<()> {
        let mut entry = self.0.begin_entry()?;
        for record in records {
            entry.write_chunk(record)?;
        }
        entry.commit()?;
        Ok(())
    }
}

/// Reads by what was found when it was opened; all of it by opening it once more.
pub struct Positions<'s> {
    store: &'s OkayWal,
    record: Vec<u8>,
}

impl Reader for Positions<'_> {
    fn scan(&mut self, check: Check) -> Result<Check> {
        let found = Arc::new(Mutex::new(Found { check: Some(check), positions: None }));
        open(&self.store.dir, &self.store.settings, &found)?.shutdown()?;
        let mut found = found.lock().unwrap_or_else(PoisonError::into_inner);
        found.check.take().context("what was found")
    }

    fn get(&mut self, number: u64, see: &mut impl FnMut(&[u8])) -> Result<()> {
        let position = self.store.positions.get(usize::try_from(number)?).context("a position")?;
        self.record.clear();
        self.store.log.read_at(*position)?.read_to_end(&mut self.record)?;
        see(&self.record);
        Ok(())
    }
}
