//! What a log on disk is to this tool.

use super::disk;
use super::records::Check;
use crate::case::{Shape, Suite};
use anyhow::{Result, bail};
use std::path::Path;

/// How it is to be opened: the same in all children of a trial.
#[derive(Clone, Debug)]
pub struct Settings {
    /// What is measured.
    pub suite: Suite,
    /// Bytes of a record.
    pub bytes: usize,
    /// Records of a unit.
    #[cfg_attr(not(feature = "walrus"), allow(dead_code, reason = "not without this peer"))]
    pub batch: usize,
    /// Bytes to be zeroed ahead, by those that can, where units are synced.
    pub ahead_bytes: u64,
    /// Several processes have it open, in variants of systems that are usually open in one.
    #[cfg_attr(not(feature = "redb"), allow(dead_code, reason = "not without this peer"))]
    pub is_shared: bool,
}

impl Settings {
    /// As the shape says.
    pub fn of(shape: &Shape) -> Self {
        Self {
            suite: shape.suite,
            bytes: shape.bytes,
            batch: shape.batch,
            ahead_bytes: shape.ahead_bytes,
            is_shared: shape.system.ends_with("-processes"),
        }
    }

    /// Whether units are synced one by one.
    pub fn is_durable(&self) -> bool {
        self.suite == Suite::JournalCommit
    }
}

/// A log on disk. Records are numbered from 0 in the order in which they were written.
pub trait Store: Sized + Sync {
    /// Writes; each thread has its own.
    type Writer<'s>: Writer + Send
    where
        Self: 's;
    /// Reads.
    type Reader<'s>: Reader
    where
        Self: 's;
    /// It can be read from the beginning only once after it was opened, or opens itself to be read.
    const IS_READ_ONCE: bool = false;
    /// Records of a unit when a log is laid out for those who read: more than one where units are transactions, which
    /// leave no trace in how records lie.
    const FILL_UNIT: usize = 1;

    /// Creates it in `dir`, or opens what is there.
    ///
    /// # Errors
    /// It can't be had here; the text becomes the reason in the report.
    fn open(dir: &Path, settings: &Settings) -> Result<Self>;

    /// One that writes; `index` tells the writers of a process apart, or the processes.
    ///
    /// # Errors
    /// As [`Store::open`].
    fn writer(&self, index: usize) -> Result<Self::Writer<'_>>;

    /// One that reads.
    ///
    /// # Errors
    /// As [`Store::open`].
    fn reader(&self) -> Result<Self::Reader<'_>>;

    /// Brings everything to the disk.
    ///
    /// # Errors
    /// As the disk says.
    fn sync(&self, dir: &Path) -> Result<()> {
        disk::sync_all(dir)
    }

    /// Closes it as its users do.
    ///
    /// # Errors
    /// It could not be closed cleanly.
    fn close(self) -> Result<()> {
        Ok(())
    }
}

/// One that writes.
pub trait Writer {
    /// Writes records as one unit, if it has units. With `sync` the unit is durable when this returns; without it the
    /// unit can be read by others.
    ///
    /// # Errors
    /// Whatever keeps it from being written.
    fn write(&mut self, records: &[&[u8]], sync: bool) -> Result<()>;
}

/// One that reads.
pub trait Reader {
    /// Shows all records, from the first to the last.
    ///
    /// # Errors
    /// Whatever keeps them from being read.
    fn scan(&mut self, check: Check) -> Result<Check>;

    /// Shows the record of this number.
    ///
    /// # Errors
    /// There is none, or the system does not find records by number.
    fn get(&mut self, number: u64, see: &mut impl FnMut(&[u8])) -> Result<()> {
        let _ = see;
        bail!("no record is found by number, not {number} either")
    }
}
