//! The limit: plain files. Records lie one behind the other, without a word about them.
//!
//! Appending is a `pwrite` of each record; committing is a `pwrite` of the pages of 4 KiB that are new, into a file of
//! zeroes, and `fdatasync`; reading is a map of the file.
#![allow(unsafe_code, reason = "mmap")]

use crate::durable::records::{Check, stamp_of};
use crate::durable::store::{Reader, Settings, Store, Writer};
use anyhow::{Context, Result, ensure};
use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU64, Ordering};

/// What is written at once: a page.
const PAGE: usize = 4096;

/// A file.
pub struct Raw {
    file: File,
    end: AtomicU64,
    bytes: usize,
}

impl Store for Raw {
    type Writer<'s> = RawWriter<'s>;
    type Reader<'s> = RawReader;

    fn open(dir: &Path, settings: &Settings) -> Result<Self> {
        let path = dir.join("records");
        let mut options = File::options();
        let file = options.read(true).write(true).create(true).truncate(false).open(path)?;
        let len = file.metadata()?.len();
        if settings.is_durable() && len == 0 {
            // In pages: one large write would make one large folio, all of which each commit writes back.
            for page in 0..settings.ahead_bytes / PAGE as u64 {
                file.write_all_at(&[0; PAGE], page * PAGE as u64)?;
            }
        }
        Ok(Self { file, end: AtomicU64::new(len), bytes: settings.bytes })
    }

    fn writer(&self, _index: usize) -> Result<RawWriter<'_>> {
        Ok(RawWriter { raw: self, tail: Vec::new(), at: 0 })
    }

    fn reader(&self) -> Result<RawReader> {
        Ok(RawReader { map: Map::of(&self.file)?, bytes: self.bytes })
    }
}

/// Writes; with `sync` only one does, from the beginning.
pub struct RawWriter<'s> {
    raw: &'s Raw,
    /// What is not yet a whole page, and room for what comes next.
    tail: Vec<u8>,
    at: u64,
}

impl Writer for RawWriter<'_> {
    fn write(&mut self, records: &[&[u8]], sync: bool) -> Result<()> {
        if sync {
            return self.commit(records);
        }
        let at = self.raw.end.fetch_add((records.len() * self.raw.bytes) as u64, Ordering::Relaxed);
        if let [record] = records {
            return Ok(self.raw.file.write_all_at(record, at)?);
        }
        Ok(self.raw.file.write_all_at(&records.concat(), at)?)
    }
}

impl RawWriter<'_> {
    fn commit(&mut self, records: &[&[u8]]) -> Result<()> {
        records.iter().for_each(|record| self.tail.extend_from_slice(record));
        let (used, whole) = (self.tail.len(), self.tail.len() / PAGE * PAGE);
        self.tail.resize(used.next_multiple_of(PAGE), 0);
        self.raw.file.write_all_at(&self.tail, self.at)?;
        self.raw.file.sync_data()?;
        self.tail.truncate(used);
        self.tail.drain(..whole);
        self.at += whole as u64;
        Ok(())
    }
}

/// Reads in place.
pub struct RawReader {
    map: Map,
    bytes: usize,
}

impl Reader for RawReader {
    fn scan(&mut self, mut check: Check) -> Result<Check> {
        let records = self.map.bytes().chunks_exact(self.bytes);
        records.take_while(|record| stamp_of(record) != 0).for_each(|record| check.see(record));
        Ok(check)
    }

    fn get(&mut self, number: u64, see: &mut impl FnMut(&[u8])) -> Result<()> {
        let at = usize::try_from(number)? * self.bytes;
        see(self.map.bytes().get(at..at + self.bytes).context("a record")?);
        Ok(())
    }
}

/// A file in memory, to be read.
struct Map {
    first: NonNull<u8>,
    len: usize,
}

impl Map {
    fn of(file: &File) -> Result<Self> {
        let len = usize::try_from(file.metadata()?.len())?;
        ensure!(len > 0, "an empty file");
        // SAFETY: a new mapping, where the kernel likes.
        let first = unsafe { mmap(std::ptr::null_mut(), len, ProtFlags::READ, MapFlags::SHARED, file, 0) };
        Ok(Self { first: NonNull::new(first?.cast()).context("a mapping")?, len })
    }

    fn bytes(&self) -> &[u8] {
        // SAFETY: mapped as long as `self` lives; who writes the file has ended before anybody reads it.
        unsafe { std::slice::from_raw_parts(self.first.as_ptr(), self.len) }
    }
}

impl Drop for Map {
    fn drop(&mut self) {
        // SAFETY: mapped in `of`, and nobody can refer to it any more.
        let unmapped = unsafe { munmap(self.first.as_ptr().cast(), self.len) };
        debug_assert!(unmapped.is_ok(), "{unmapped:?}");
    }
}
