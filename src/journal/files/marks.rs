//! The marks of deletion beside one file of records.
//!
//! ```text
//! NUMBER.del   frames (`format::frame`) with the salt of NUMBER.log; each one says which records one deletion
//!              was about
//! 0            how many bytes of NUMBER.del were durable when the frame was written
//! 8            4 bytes for each record, counted from NUMBER
//! ```
//!
//! So a frame that fails is a torn end if no frame behind it says that it had been durable, and damage if one does. A
//! *seal* is a frame without records, about all that is before it: closing and recovery put one behind the last marks.

mod keep;

pub(crate) use keep::{are_all_deleted, cut_marks, mend_marks, move_marks, seal_marks, settle_marks};

use crate::error::JournalError;
use crate::journal::files::names::Names;
use crate::journal::format::frame::{Found, FrameKind, Head, Salt, decode, encode, frame_bytes};
use crate::journal::format::header::Header;
use crate::journal::reading::stream::FrameStream;
use crate::sys::disk::{Disk, DiskFile, Open, is_full};
use std::io;
use std::sync::Arc;

/// Bytes of what a frame says before its records.
pub(crate) const PROOF_BYTES: usize = 8;
/// Bytes of a seal.
const SEAL_BYTES: usize = frame_bytes(PROOF_BYTES);
/// Bytes read at a time beyond a frame that fails.
const WINDOW_BYTES: usize = 64 << 10;

/// The marks of one file, as far as they were read.
#[derive(Debug)]
pub(crate) struct Marks {
    file: Arc<dyn DiskFile>,
    name: String,
    salt: Salt,
    /// The file's first record.
    first: u64,
    /// It has no more records.
    most: u64,
    /// Where the next frame goes.
    end: u64,
    /// So many bytes had been durable, as the frames say.
    durable: u64,
    /// Whether the last frame is a seal.
    is_sealed: bool,
    bits: Vec<u64>,
}

impl Marks {
    /// Those of a file of records; nothing is read yet.
    pub(crate) fn open(disk: &dyn Disk, names: &Names, header: &Header, how: Open) -> io::Result<Self> {
        let (name, salt, first) = (names.marks(header.first), header.frame_salt(), header.first);
        let file = disk.open(&name, how)?;
        // A frame has eight bytes at least. Without the file, nobody asks.
        let most = disk.open(&names.log(first), Open::Read).and_then(|log| log.len()).map_or(u64::MAX, |len| len / 8);
        Ok(Self { file, name, salt, first, most, end: 0, durable: 0, is_sealed: false, bits: Vec::new() })
    }

    /// The same, if there are any.
    fn find(disk: &dyn Disk, names: &Names, header: &Header, how: Open) -> Result<Option<Self>, JournalError> {
        match Self::open(disk, names, header, how) {
            Ok(found) => Ok(Some(found)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(JournalError::os("opening", names.marks(header.first), error)),
        }
    }

    /// All marks of a file of records.
    pub(crate) fn load(disk: &dyn Disk, names: &Names, header: &Header) -> Result<Option<Self>, JournalError> {
        let mut found = Self::find(disk, names, header, Open::Read)?;
        found.as_mut().map_or(Ok(()), Self::read)?;
        Ok(found)
    }

    fn os(&self, doing: &'static str, error: io::Error) -> JournalError {
        JournalError::os(doing, &self.name, error)
    }

    /// Reads on.
    ///
    /// # Errors
    /// [`JournalError::MarksDamaged`]
    pub(crate) fn read(&mut self) -> Result<(), JournalError> {
        loop {
            self.read_whole().map_err(|error| self.os("reading", error))?;
            let end = self.end;
            if !self.is_proven_beyond().map_err(|error| self.os("reading", error))? {
                return Ok(());
            }
            // The frame may have been written since: whoever wrote the proof found it whole.
            self.read_whole().map_err(|error| self.os("reading", error))?;
            if self.end == end {
                return Err(JournalError::MarksDamaged { file: self.name.clone(), offset: end });
            }
        }
    }

    /// Reads on until there is no frame.
    fn read_whole(&mut self) -> io::Result<()> {
        let mut frames = FrameStream::new(Arc::clone(&self.file), self.salt, self.end, self.first);
        while let Some(frame) = frames.next()? {
            if !self.take(frame.payload) {
                break;
            }
            self.is_sealed = is_seal(frame.payload, self.end);
            self.end = frames.offset();
        }
        Ok(())
    }

    /// Whether a frame can be about records of the file; then what it says counts.
    fn take(&mut self, payload: &[u8]) -> bool {
        let indices = payload.get(PROOF_BYTES..).unwrap_or(&[]).as_chunks::<4>().0;
        let indices = indices.iter().map(|index| u32::from_le_bytes(*index));
        if indices.clone().any(|index| u64::from(index) >= self.most) {
            return false;
        }
        self.durable = self.durable.max(proof(payload));
        indices.for_each(|index| self.set(index));
        true
    }

    /// Whether a frame beyond the end says that what should be there had been durable.
    fn is_proven_beyond(&self) -> io::Result<bool> {
        if self.file.len()? <= self.end {
            return Ok(false);
        }
        let mut is_proven = false;
        self.each_beyond(|payload| is_proven |= proof(payload) > self.end)?;
        Ok(is_proven)
    }

    /// Looks for frames beyond the end, which is none.
    fn each_beyond(&self, mut each: impl FnMut(&[u8])) -> io::Result<()> {
        let (mut window, mut at) = (vec![0; WINDOW_BYTES], self.end + 8);
        loop {
            let found = self.file.read_at(&mut window, at)?;
            let words = window[..found].as_chunks::<8>().0;
            if words.is_empty() {
                return Ok(());
            }
            let is_head =
                |word: &[u8; 8]| Head::of(u64::from_le_bytes(*word)).is_some_and(|it| it.kind == FrameKind::Deletes);
            let Some(index) = words.iter().position(is_head) else {
                at += words.len() as u64 * 8;
                continue;
            };
            at += index as u64 * 8;
            let mut frames = FrameStream::new(Arc::clone(&self.file), self.salt, at, self.first);
            while let Some(frame) = frames.next()? {
                each(frame.payload);
            }
            at = frames.offset().max(at + 8);
        }
    }

    /// Whether all of it had been durable, and nothing followed.
    pub(crate) fn is_sealed(&self) -> bool {
        self.is_sealed
    }

    pub(crate) fn has(&self, index: u64) -> bool {
        let word = usize::try_from(index / 64).ok().and_then(|at| self.bits.get(at));
        word.is_some_and(|word| word >> (index % 64) & 1 == 1)
    }

    /// How many of the first `end` records are marked.
    pub(crate) fn count_below(&self, end: u64) -> u64 {
        let whole = usize::try_from(end / 64).unwrap_or(usize::MAX).min(self.bits.len());
        let rest = self.bits.get(whole).map_or(0, |word| word & !(u64::MAX << (end % 64)));
        let bits = self.bits[..whole].iter().chain([&rest]);
        bits.map(|word| u64::from(word.count_ones())).sum()
    }

    /// The last record that is marked, counted from the first.
    pub(crate) fn last(&self) -> Option<u64> {
        let at = self.bits.iter().rposition(|&word| word != 0)?;
        Some(at as u64 * 64 + u64::from(63 - self.bits[at].leading_zeros()))
    }

    /// The marks of the records from `from` to `to`, counted from `from`.
    fn list(&self, from: u64, to: u64) -> Vec<u32> {
        let marked = (from..to.min(self.bits.len() as u64 * 64)).filter(|&index| self.has(index));
        marked.filter_map(|index| u32::try_from(index - from).ok()).collect()
    }

    fn set(&mut self, index: u32) {
        let at = index as usize / 64;
        if self.bits.len() <= at {
            self.bits.resize(at + 1, 0);
        }
        self.bits[at] |= 1 << (index % 64);
    }

    /// Takes those of records from `end` on, counted from the first, for none.
    pub(crate) fn forget_from(&mut self, end: u64) {
        let whole = usize::try_from(end / 64).unwrap_or(usize::MAX);
        if whole < self.bits.len() {
            self.bits.truncate(whole + 1);
            self.bits[whole] &= !(u64::MAX << (end % 64));
        }
    }

    /// Appends marks. `is_durable`: those that were read are. By the holder of the marks lock.
    pub(crate) fn append(&mut self, list: &[u32], is_durable: bool) -> io::Result<()> {
        if self.file.len()? > self.end {
            // Half of a frame, whose process died. That it is gone need not be durable: it never becomes a whole one,
            // and nothing is behind it.
            self.file.truncate(self.end)?;
        }
        let durable = if is_durable { self.end } else { self.durable };
        let frames = encode_marks(self.salt, self.first, list, |_| durable);
        self.file.write_at(&frames, self.end)?;
        self.read_whole()
    }

    /// Cuts off what follows the last frame, for good: nothing of it is to come back.
    fn cut(&self) -> io::Result<()> {
        if self.file.len()? > self.end {
            self.file.truncate(self.end)?;
            self.file.sync()?;
        }
        Ok(())
    }

    /// Says for good that all that was read is durable, if there is room for that.
    fn seal(&mut self) -> io::Result<()> {
        if !self.is_sealed && self.end > 0 {
            match self.file.write_at(&encode_seal(self.salt, self.first, self.end), self.end) {
                // What it is for is no reason not to open or close a journal.
                Err(error) if is_full(&error) || error.kind() == io::ErrorKind::FileTooLarge => return self.cut(),
                written => written?,
            }
            self.file.sync()?;
            self.read_whole()?;
        }
        Ok(())
    }

    /// Whether a seal is the last thing in the file: whatever is before it.
    fn ends_sealed(&self) -> io::Result<bool> {
        let Some(at) = self.file.len()?.checked_sub(SEAL_BYTES as u64) else { return Ok(false) };
        let mut bytes = [0; SEAL_BYTES];
        self.file.read_at(&mut bytes, at)?;
        let found = decode(&bytes, self.salt, self.first);
        Ok(matches!(found, Found::Frame(FrameKind::Deletes, payload) if is_seal(payload, at)))
    }

    /// Takes what is on the disk, and makes it durable.
    fn settle(&mut self) -> Result<(), JournalError> {
        // As for records: what is said to be there must be on the disk.
        self.file.sync().and_then(|()| self.file.forget_cache()).map_err(|error| self.os("settling", error))?;
        self.read()
    }
}

/// How many bytes had been durable, as a frame says.
fn proof(payload: &[u8]) -> u64 {
    payload.first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes))
}

fn is_seal(payload: &[u8], at: u64) -> bool {
    payload.len() == PROOF_BYTES && proof(payload) == at
}

/// The frames of some marks: one, unless there are more than fit. `durable` says of a place what was durable then.
fn encode_marks(salt: Salt, first: u64, marks: &[u32], durable: impl Fn(u64) -> u64) -> Vec<u8> {
    let mut frames = Vec::new();
    for list in marks.chunks(1 << 20) {
        let proof = durable(frames.len() as u64).to_le_bytes();
        let indices = list.iter().flat_map(|index| index.to_le_bytes());
        let payload: Vec<u8> = proof.into_iter().chain(indices).collect();
        encode(&mut frames, salt, FrameKind::Deletes, first, &payload);
    }
    frames
}

fn encode_seal(salt: Salt, first: u64, at: u64) -> Vec<u8> {
    let mut frame = Vec::new();
    encode(&mut frame, salt, FrameKind::Deletes, first, &at.to_le_bytes());
    frame
}
