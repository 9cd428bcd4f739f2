//! Where the records of a file are: an index beside each full one, made at leisure and never trusted.
//!
//! ```text
//! NUMBER.idx
//! 0    header   64 bytes: magic, version, how many records, the salt of the file, checksum
//! 64   offsets  4 bytes each: of record NUMBER + i, in words of eight bytes
//! ```
//!
//! It is made of what was noted when the records went to the file, if one process took them all there, and by reading the
//! file else. Who takes a record checks that it is the one; if it is not, the index is made anew from the file.

use crate::error::JournalError;
use crate::journal::core::Core;
use crate::journal::files::{self, FileInfo};
use crate::journal::format::BLOCK;
use crate::journal::format::frame::Head;
use crate::journal::format::header::Header;
use crate::region::Region;
use crate::sync::{AtomicU64, Ordering::Relaxed};
use crate::sys::disk::{DiskFile, Open};
use std::io;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

const MAGIC: u64 = u64::from_le_bytes(*b"SHMJIDX\0");
/// Bytes of the header.
const HEADER_BYTES: usize = 64;

#[derive(FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
struct Raw {
    magic: u64,
    count: u64,
    salt: u64,
    first: u64,
    reserved: [u64; 3],
    crc: u32,
    padding: u32,
}

const _: () = assert!(size_of::<Raw>() == HEADER_BYTES);
const COVERED: usize = HEADER_BYTES - 8;

/// The offsets of a file's records, in words.
#[derive(Debug)]
pub(crate) enum Offsets {
    /// In the index file, so many.
    Mapped(Region, usize),
    /// Found in the file so far; where to go on, in words.
    Walked(Vec<u32>, usize),
}

impl Offsets {
    /// Nothing found yet.
    pub(crate) fn none() -> Self {
        Self::Walked(Vec::new(), BLOCK / 8)
    }

    /// Those of the index file, if there is one that belongs to this file.
    pub(crate) fn open(core: &Core, info: &FileInfo) -> Option<Self> {
        let file = core.disk.open(&core.names.index(info.header.first), Open::Read).ok()?;
        let count = count_of(&*file, &info.header)?;
        let region = Region::map_sparse(file.fd().try_clone_to_owned().ok()?, false, "journal's index").ok()?;
        let room = region.len_bytes().saturating_sub(HEADER_BYTES as u64) / 4;
        (count as u64 <= room).then_some(Self::Mapped(region, count))
    }

    /// Where record number `index` of the file is, if that is known.
    #[inline]
    pub(crate) fn get(&self, index: usize) -> Option<usize> {
        match self {
            Self::Walked(offsets, _) => offsets.get(index).map(|&offset| offset as usize),
            Self::Mapped(region, count) if index < *count => {
                let word = region.words(((HEADER_BYTES / 8 + index / 2) * 8) as u64, 1)?.first()?.load(Relaxed);
                let half = (word >> (32 * (index % 2))) & u64::from(u32::MAX);
                usize::try_from(half).ok()
            }
            Self::Mapped(..) => None,
        }
    }

    /// Walks on over the heads of a file until `count` records are known. Who takes a record checks it.
    pub(crate) fn walk(&mut self, words: &[AtomicU64], count: u64) {
        let Self::Walked(offsets, end) = self else { return };
        while (offsets.len() as u64) < count {
            let Some(head) = words.get(*end).and_then(|word| Head::of(word.load(Relaxed))) else { return };
            if head.kind.is_record() {
                offsets.push(u32::try_from(*end).unwrap_or(u32::MAX));
            }
            *end += head.frame_bytes() / 8;
        }
    }

    /// Where walking stopped, in bytes.
    pub(crate) fn end_bytes(&self) -> u64 {
        if let Self::Walked(_, end) = self { *end as u64 * 8 } else { 0 }
    }
}

/// How many records an index says it is of, if it is one of this file.
fn count_of(index: &dyn DiskFile, header: &Header) -> Option<usize> {
    let mut bytes = [0; HEADER_BYTES];
    index.read_at(&mut bytes, 0).ok()?;
    let raw = Raw::read_from_bytes(&bytes).ok()?;
    let is_whole = raw.magic == MAGIC && raw.crc == crc32c::crc32c(&bytes[..COVERED]);
    let is_its = raw.salt == header.salt && raw.first == header.first;
    usize::try_from(raw.count).ok().filter(|_| is_whole && is_its)
}

/// Whether an index says where all records of a file are.
pub(crate) fn is_index_of(index: &dyn DiskFile, header: &Header, offsets: &[u32]) -> bool {
    let mut said = vec![0_u32; offsets.len()];
    let is_read = index.read_at(said.as_mut_bytes(), HEADER_BYTES as u64).is_ok();
    count_of(index, header) == Some(offsets.len()) && is_read && said == offsets
}

/// Whether there is a record at `offset`, in words: all of a file may have been deleted, and the file emptied.
fn has_record(info: &FileInfo, offset: Option<&u32>) -> bool {
    let mut head = [0; 8];
    let read = offset.map(|&offset| info.file.read_at(&mut head, u64::from(offset) * 8));
    matches!(read, Some(Ok(8))) && Head::of(u64::from_le_bytes(head)).is_some_and(|head| head.kind.is_record())
}

/// Finds the first `count` records of a file.
fn walk_all(info: &FileInfo, count: u64) -> io::Result<Vec<u32>> {
    let region = Region::map_ragged(info.file.fd().try_clone_to_owned()?, "journal's file");
    let region = region.map_err(io::Error::other)?;
    let mut offsets = Offsets::none();
    offsets.walk(region.words(0, region.len_bytes() / 8).unwrap_or(&[]), count);
    Ok(if let Offsets::Walked(offsets, _) = offsets { offsets } else { Vec::new() })
}

/// Bytes of an index file of these offsets: whole pages, so that it can be mapped.
fn encode(info: &FileInfo, offsets: &[u32]) -> Vec<u8> {
    let mut raw = Raw {
        magic: MAGIC,
        count: offsets.len() as u64,
        salt: info.header.salt,
        first: info.header.first,
        reserved: [0; 3],
        crc: 0,
        padding: 0,
    };
    raw.crc = crc32c::crc32c(&raw.as_bytes()[..COVERED]);
    let mut bytes = raw.as_bytes().to_vec();
    bytes.extend_from_slice(offsets.as_bytes());
    bytes.resize(bytes.len().next_multiple_of(BLOCK), 0);
    bytes
}

impl Core {
    /// Makes the index of a full file that has none. For whoever has nothing better to do. Returns whether to come again.
    pub(crate) fn index_ahead(&self) -> Result<bool, JournalError> {
        let names = self.disk.names().map_err(JournalError::listing)?;
        let mut firsts: Vec<_> = names.iter().filter_map(|name| self.names.first_of(name)).collect();
        firsts.sort_unstable();
        // Unless who began the next one died before that was said: then this one is written to still.
        let is_full = |first| self.state.progress().written.file != first;
        for pair in firsts.windows(2).filter(|pair| is_full(pair[0])) {
            if !names.contains(&self.names.index(pair[0])) {
                // Once: it has an index then.
                if names.contains(&self.names.marks(pair[0])) && !self.reclaim_full(pair[0], pair[1])? {
                    continue;
                }
                if let Some(_guard) = self.lock_prepare(false)? {
                    self.make_index(pair[0], pair[1])?;
                }
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn make_index(&self, first: u64, next: u64) -> Result<(), JournalError> {
        let info = match files::open(&*self.disk, &self.names, self.id, first) {
            Ok(info) => info,
            // Given up meanwhile.
            Err(JournalError::Os { error, .. }) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(error),
        };
        let (name, draft) = (self.names.index(first), self.names.index_draft());
        let make = || -> io::Result<()> {
            let noted = self.trails.take(first, next).filter(|offsets| has_record(&info, offsets.first()));
            let offsets = noted.map_or_else(|| walk_all(&info, next - first), Ok)?;
            let file = self.disk.open(&draft, Open::Create)?;
            file.write_at(&encode(&info, &offsets), 0)?;
            self.disk.rename(&draft, &name)?;
            // Who empties a file removes the index after that: unless it was not there yet.
            if !offsets.is_empty() && !has_record(&info, offsets.first()) {
                let _ = self.disk.remove(&name);
            }
            Ok(())
        };
        make().map_err(|error| JournalError::disk("making", &name, 4 * (next - first), error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::Journal;
    use crate::journal::failing::{self, Faults};
    use crate::journal::flushing::flush::BLOCK;
    use crate::journal::opening::open::open;
    use crate::journal::settings::Settings;
    use std::sync::Arc;

    /// What is noted while records go to a file is where they are found in it; a file that two took turns at is read.
    #[test]
    fn an_index_that_was_noted_is_the_one_that_is_read() {
        let dir = tempfile::tempdir().unwrap();
        let settings = Settings { file_bytes: 64 << 10, has_thread: false, ..Settings::default() };
        let open = || Journal::of(open(dir.path(), &settings, true).unwrap().0, None).unwrap();
        let (journal, other) = (open(), open());
        let mut appender = journal.appender().unwrap();
        for count in 0..900_usize {
            appender.append(&vec![7; count * 37 % 700]).unwrap();
            appender.append_parts(&[b"of", b"two"]).unwrap();
            if count % 50 == 0 {
                journal.sync().unwrap();
            }
        }
        journal.sync().unwrap();
        let core = journal.core();
        let firsts = || files::firsts(&*core.disk, &core.names).unwrap();
        let pairs: Vec<_> = firsts().windows(2).map(|pair| (pair[0], pair[1])).collect();
        assert!(pairs.len() > 3);
        for &(first, next) in &pairs[pairs.len() - 2..] {
            let info = files::open(&*core.disk, &core.names, core.id, first).unwrap();
            assert_eq!(core.trails.take(first, next).unwrap(), walk_all(&info, next - first).unwrap());
        }
        let shared = firsts().pop().unwrap();
        for _ in 0..200 {
            appender.append(&[8; 500]).unwrap();
            other.sync().unwrap();
        }
        journal.sync().unwrap();
        assert!(firsts().pop().unwrap() > shared);
        assert!([core, other.core()].iter().all(|core| core.trails.take(shared, firsts()[pairs.len() + 1]).is_none()));
        while core.index_ahead().unwrap() {}
        let verified = Journal::verify(dir.path(), "", |_| {}).unwrap();
        assert_eq!((verified.files, verified.problems), (firsts().len(), Vec::new()));
    }

    /// The story: a block that one process could not write, for want of room, another one wrote, behind a mark of its own.
    /// The first one went on behind that, and made an index of where those records would have been.
    #[test]
    fn what_could_not_be_written_was_not_noted() {
        let (dir, faults) = (tempfile::tempdir().unwrap(), Arc::new(Faults::default()));
        let settings = Settings { front_windows: 16, ..Settings::default() };
        let open = || failing::try_open(dir.path(), &faults, &settings).unwrap();
        let (journal, other) = (open(), open());
        let core = journal.core();
        let mut appender = journal.appender().unwrap();
        appender.append_durable(&[1; 400]).unwrap();
        // More than one block.
        while appender.front_mut().append(&[2; 400]).is_ok() {}
        faults.room_bytes.store(BLOCK as u64, Relaxed);
        assert!(matches!(journal.sync(), Err(JournalError::DiskFull { .. })));
        faults.room_bytes.store(0, Relaxed);
        other.sync().unwrap();
        while files::firsts(&*core.disk, &core.names).unwrap().len() < 2 {
            appender.append_durable(&[3; 400]).unwrap();
        }
        while core.index_ahead().unwrap() {}
        assert_eq!(Journal::verify(dir.path(), "", |_| {}).unwrap().problems, []);
    }

    /// The story: a file was emptied while its index was made, which then was that of the file before.
    #[test]
    fn a_file_that_is_emptied_meanwhile_gets_no_index() {
        let (dir, faults) = (tempfile::tempdir().unwrap(), Arc::new(Faults::default()));
        let (journal, other) = (failing::open(dir.path(), &faults), failing::open(dir.path(), &faults));
        let core = journal.core();
        let firsts = || files::firsts(&*core.disk, &core.names).unwrap();
        let mut appender = journal.appender().unwrap();
        while firsts().len() < 3 {
            appender.append_durable(&[1; 30_000]).unwrap();
        }
        assert!(core.index_ahead().unwrap());
        let seqs: Vec<_> = (firsts()[1]..firsts()[2]).collect();
        let delete = move || assert_eq!(other.delete_durable(&seqs).unwrap(), seqs.len() as u64);
        *faults.meanwhile.0.lock().unwrap() = Some(Box::new(delete));
        while core.index_ahead().unwrap() {}
        assert!(faults.meanwhile.0.lock().unwrap().is_none());
        assert_eq!(Journal::verify(dir.path(), "", |_| {}).unwrap().problems, []);
    }

    /// The story: one who died had begun the next file, to write cursors there. The index of the one before was made then,
    /// though it got more records.
    #[test]
    fn the_file_that_is_written_to_gets_no_index() {
        let dir = tempfile::tempdir().unwrap();
        let settings = Settings { file_bytes: 64 << 10, has_thread: false, ..Settings::default() };
        let journal = Journal::of(open(dir.path(), &settings, true).unwrap().0, None).unwrap();
        let core = journal.core();
        let mut appender = journal.appender().unwrap();
        appender.append_durable(&[1; 100]).unwrap();
        std::fs::write(dir.path().join(core.names.log(1)), [0; 4096]).unwrap();
        core.leading(|| core.state.begin_flush()).unwrap();
        while core.index_ahead().unwrap() {}
        for _ in 0..1000 {
            appender.append_durable(&[1; 100]).unwrap();
        }
        while core.index_ahead().unwrap() {}
        assert_eq!(Journal::verify(dir.path(), "", |_| {}).unwrap().problems, []);
    }
}
