//! The files of records as one reader knows them, to look records up by number.

use crate::core::copy;
use crate::error::JournalError;
use crate::journal::core::Core;
use crate::journal::files;
use crate::journal::format::BLOCK;
use crate::journal::format::frame::{FrameKind, HEAD_BYTES, Head, Salt};
use crate::journal::stream::FrameStream;
use crate::region::Region;
use crate::sync::{AtomicU64, Ordering::Relaxed};

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Shelf {
    /// First records of the files, sorted, as of `version`.
    firsts: Vec<u64>,
    version: Option<u64>,
    /// Those that were mapped, in the order of their first records.
    sheets: Vec<Sheet>,
}

/// One file, mapped, and where its records are.
#[derive(Debug)]
struct Sheet {
    first: u64,
    salt: Salt,
    region: Region,
    /// Offsets of the records known so far, in words.
    offsets: Vec<u32>,
    /// Where the next record would be.
    end_words: usize,
}

impl Shelf {
    /// The file of record `seq`, and the one after it, if there is one.
    pub(crate) fn file_of(&mut self, core: &Core, seq: u64) -> Result<Option<(u64, Option<u64>)>, JournalError> {
        let version = core.state.files();
        if self.version != Some(version) {
            self.firsts = files::firsts(&*core.disk, &core.names)
                .map_err(|error| JournalError::os("listing", core.dir.display().to_string(), error))?;
            self.version = Some(version);
            let firsts = &self.firsts;
            self.sheets.retain(|sheet| firsts.binary_search(&sheet.first).is_ok());
        }
        let after = self.firsts.partition_point(|&first| first <= seq);
        Ok(after.checked_sub(1).map(|at| (self.firsts[at], self.firsts.get(after).copied())))
    }

    /// A stream of the frames of the file that begins at `first`.
    pub(crate) fn stream(core: &Core, first: u64) -> Result<FrameStream, JournalError> {
        let info = files::open(&*core.disk, &core.names, core.id, first)?;
        Ok(FrameStream::of_file(info.file, info.header.frame_salt(), first))
    }

    /// Copies record `seq`, which is in the files, to `to`. Returns whether it is a batch; `None`: there is no such
    /// file.
    pub(crate) fn get(&mut self, core: &Core, seq: u64, to: &mut Vec<u8>) -> Result<Option<bool>, JournalError> {
        let Some((first, _)) = self.file_of(core, seq)? else { return Ok(None) };
        let at = match self.sheets.binary_search_by_key(&first, |sheet| sheet.first) {
            Ok(at) => at,
            Err(at) => {
                self.sheets.insert(at, Sheet::open(core, first)?);
                at
            }
        };
        let sheet = &mut self.sheets[at];
        let damaged = |offset: u64| JournalError::Damaged {
            file: core.names.log(first),
            offset,
            seq,
            durable: core.state.durable(),
        };
        let offset = sheet.find(seq, core.state.written()).map_err(damaged)?;
        sheet.copy(offset, seq, to).map(Some).ok_or_else(|| damaged(offset as u64 * 8))
    }
}

impl Sheet {
    fn open(core: &Core, first: u64) -> Result<Self, JournalError> {
        let info = files::open(&*core.disk, &core.names, core.id, first)?;
        let fd = info.file.fd().try_clone_to_owned();
        let fd = fd.map_err(|error| JournalError::os("opening", &info.name, error))?;
        let region = Region::map_sparse(fd, false, "journal's file")?;
        let end_words = BLOCK / 8;
        Ok(Self { first, salt: info.header.frame_salt(), region, offsets: Vec::new(), end_words })
    }

    fn words(&self) -> &[AtomicU64] {
        self.region.words(0, self.region.len_bytes() / 8).unwrap_or(&[])
    }

    /// Where record `seq` is, in words. Heads only are looked at: who takes the record checks it.
    ///
    /// # Errors
    /// The offset in bytes where a head should be and is none.
    fn find(&mut self, seq: u64, written: u64) -> Result<usize, u64> {
        let index = usize::try_from(seq - self.first).unwrap_or(usize::MAX);
        if let Some(&offset) = self.offsets.get(index) {
            return Ok(offset as usize);
        }
        let (mut at, mut offsets) = (self.end_words, std::mem::take(&mut self.offsets));
        let words = self.words();
        // As far as is written now, so that not every look up at the end is a walk.
        while self.first + (offsets.len() as u64) < written {
            let Some(head) = words.get(at).and_then(|word| Head::of(word.load(Relaxed))) else { break };
            if head.kind.is_record() {
                offsets.push(u32::try_from(at).unwrap_or(u32::MAX));
            }
            at += head.frame_bytes() / 8;
        }
        self.offsets = offsets;
        self.end_words = at;
        self.offsets.get(index).map(|&offset| offset as usize).ok_or(at as u64 * 8)
    }

    /// Copies the record at `offset` words. `None`: it is not that of `seq`, or not whole.
    fn copy(&self, offset: usize, seq: u64, to: &mut Vec<u8>) -> Option<bool> {
        let words = self.words();
        let head = Head::of(words.get(offset)?.load(Relaxed))?;
        let from = offset + HEAD_BYTES / 8;
        let payload = words.get(from..from + head.len_bytes.div_ceil(8))?;
        to.resize(head.len_bytes, 0);
        copy::read(payload, to);
        let is_it = head.kind.is_record() && head.is_valid(self.salt, seq, to) && !self.region.was_lost();
        is_it.then_some(head.kind == FrameKind::Batch)
    }
}
