//! The files of records as one reader knows them, to look records up by number.

use crate::core::copy;
use crate::error::JournalError;
use crate::journal::core::Core;
#[cfg(test)]
use crate::journal::crash::planted::{Mistake, is_made};
use crate::journal::files;
use crate::journal::files::index::Offsets;
use crate::journal::format::frame::{FrameKind, HEAD_BYTES, Head, Salt};
use crate::journal::reading::stream::FrameStream;
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
    offsets: Offsets,
}

impl Shelf {
    /// The file of record `seq`, and the one after it, if there is one.
    pub(crate) fn file_of(&mut self, core: &Core, seq: u64) -> Result<Option<(u64, Option<u64>)>, JournalError> {
        let version = core.state.files();
        if self.version != Some(version) {
            self.firsts = files::firsts(&*core.disk, &core.names).map_err(JournalError::listing)?;
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
        if let Some(is_batch) = sheet.get(seq, core.state.written(), to) {
            return Ok(Some(is_batch));
        }
        // An index that is wrong is as good as none.
        sheet.offsets = Offsets::none();
        if let Some(is_batch) = sheet.get(seq, core.state.written(), to) {
            return Ok(Some(is_batch));
        }
        if seq < core.state.oldest() {
            return Ok(None);
        }
        if let Some(&to) = self.firsts.get(self.firsts.partition_point(|&other| other <= seq)) {
            let from = files::open(&*core.disk, &core.names, core.id, to)?.header.gap_from();
            if (from..to).contains(&seq) {
                return Err(JournalError::Lost { from, to });
            }
        }
        // Heads are believed when a file is walked: behind a damaged one nothing is found.
        let mut frames = Self::stream(core, first)?;
        let found =
            frames.find_past_damage(seq).map_err(|error| JournalError::os("reading", core.names.log(first), error))?;
        if let Some(frame) = frames.pass().filter(|_| found) {
            frame.payload.clone_into(to);
            return Ok(Some(frame.kind.is_batch()));
        }
        let index = usize::try_from(seq - first).unwrap_or(usize::MAX);
        let offset = sheet.offsets.get(index).map_or(sheet.offsets.end_bytes(), |offset| offset as u64 * 8);
        Err(JournalError::Damaged { file: core.names.log(first), offset, seq, durable: core.state.durable() })
    }
}

impl Sheet {
    fn open(core: &Core, first: u64) -> Result<Self, JournalError> {
        let info = files::open(&*core.disk, &core.names, core.id, first)?;
        let fd = info.file.fd().try_clone_to_owned();
        let fd = fd.map_err(|error| JournalError::os("opening", &info.name, error))?;
        let region = Region::map_ragged(fd, "journal's file")?;
        let offsets = Offsets::open(core, &info).unwrap_or_else(Offsets::none);
        Ok(Self { first, salt: info.header.frame_salt(), region, offsets })
    }

    fn words(&self) -> &[AtomicU64] {
        self.region.words(0, self.region.len_bytes() / 8).unwrap_or(&[])
    }

    /// Copies record `seq`. Returns whether it is a batch; `None`: it is not where it should be, or not whole.
    #[inline]
    fn get(&mut self, seq: u64, written: u64, to: &mut Vec<u8>) -> Option<bool> {
        let index = usize::try_from(seq - self.first).ok()?;
        let offset = match self.offsets.get(index) {
            Some(offset) => offset,
            None => {
                // As far as is written now, so that not every look-up at the end is a walk.
                let words = self.region.words(0, self.region.len_bytes() / 8)?;
                self.offsets.walk(words, written.saturating_sub(self.first));
                self.offsets.get(index)?
            }
        };
        self.copy(offset, seq, to)
    }

    /// Copies the record at `offset` words. `None`: it is not that of `seq`, or not whole.
    #[inline]
    fn copy(&self, offset: usize, seq: u64, to: &mut Vec<u8>) -> Option<bool> {
        let words = self.words();
        let head = Head::of(words.get(offset)?.load(Relaxed))?;
        let from = offset + HEAD_BYTES / 8;
        let payload = words.get(from..from + head.len_bytes.div_ceil(8))?;
        to.resize(head.padded_bytes(), 0);
        copy::read(payload, to);
        let is_valid = head.is_valid(self.salt, seq, to);
        #[cfg(test)]
        let is_valid = is_valid || is_made(Mistake::Index);
        let is_it = head.kind.is_record() && is_valid && !self.region.was_lost();
        to.truncate(head.len_bytes);
        is_it.then_some(head.kind == FrameKind::Batch)
    }
}
