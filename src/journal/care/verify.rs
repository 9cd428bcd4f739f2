//! Looking through all of a journal: every checksum, every index, the cursors, and whether anything is missing.
//!
//! It changes nothing and takes no lock, so that it can be done while the journal is in use; what is written meanwhile may
//! or may not be in what it finds.

use crate::error::JournalError;
use crate::journal::cursors::CursorTable;
use crate::journal::files;
use crate::journal::files::control_file::read_control;
use crate::journal::files::index::is_index_of;
use crate::journal::files::marks::{Marks, are_all_deleted};
use crate::journal::files::names::Names;
use crate::journal::format::control::Control;
use crate::journal::format::frame::FrameKind;
use crate::journal::format::header::Header;
use crate::journal::format::{BLOCK, BLOCK_BYTES};
use crate::journal::reading::stream::FrameStream;
use crate::sys::disk::{Disk, DiskFile, NativeDisk, Open};
use std::fmt;
use std::io;
use std::path::Path;
use std::sync::Arc;

/// Something that is wrong with a journal.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Problem {
    /// The control file is damaged or missing.
    Control,
    /// A file is not one of this journal's, by its header.
    Header {
        /// The file.
        file: String,
    },
    /// Records are gone: their frames are damaged, or their file is missing.
    Lost {
        /// The file they were in, or the one that follows it.
        file: String,
        /// Where in it, in bytes.
        offset: u64,
        /// The first one that is gone.
        from: u64,
        /// The first one after them that is there, or should be.
        to: u64,
    },
    /// Which records of a file are deleted can't be read, though it had been durable.
    Marks {
        /// The file of deletion marks.
        file: String,
        /// Where in it, in bytes.
        offset: u64,
    },
    /// A record is marked as deleted that is not there.
    Marked {
        /// The file of deletion marks.
        file: String,
        /// The last such record.
        seq: u64,
    },
    /// An index does not say where the records are. It is made anew when it is needed.
    Index {
        /// The index.
        file: String,
    },
    /// A cursor is ahead of the records.
    Cursor {
        /// Its name.
        name: String,
        /// The record that it is at.
        seq: u64,
    },
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Control => f.write_str("the control file is damaged or missing"),
            Self::Header { file } => write!(f, "{file}: its header is damaged, or another journal's"),
            Self::Lost { file, offset, from, to } => {
                write!(f, "{file}: records {from} to {} are gone, from byte {offset} on", to.saturating_sub(1))
            }
            Self::Marks { file, offset } => {
                write!(f, "{file}: damaged at byte {offset}; which records were deleted there is not known")
            }
            Self::Marked { file, seq } => write!(f, "{file}: record {seq} is marked as deleted, and is not there"),
            Self::Index { file } => write!(f, "{file}: the index is wrong; it is made anew when it is needed"),
            Self::Cursor { name, seq } => write!(f, "cursor {name:?} is at {seq}, ahead of all records"),
        }
    }
}

/// What was found, by [`Journal::verify`](crate::Journal::verify).
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Verified {
    /// Files of records.
    pub files: usize,
    /// Bytes of frames that were read.
    pub bytes: u64,
    /// Records that are there.
    pub records: u64,
    /// The oldest record that is kept.
    pub oldest: u64,
    /// The record after the last one.
    pub end: u64,
    /// Records below this one had been durable, as the files say.
    pub durable: u64,
    /// The cursors in the files, and where they are.
    pub cursors: Vec<(String, u64)>,
    /// Records that a repair went on without: the first of a run, and the first one after it.
    pub missing: Vec<(u64, u64)>,
    /// What is wrong; nothing, if it is empty.
    pub problems: Vec<Problem>,
}

/// How far looking through a journal has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifyProgress {
    /// The file that is being read.
    pub file: String,
    /// Bytes that were looked at.
    pub done_bytes: u64,
    /// Bytes of all files.
    pub total_bytes: u64,
}

/// See the module.
pub(crate) fn verify(
    dir: &Path,
    prefix: &str,
    progress: impl FnMut(&VerifyProgress),
) -> Result<Verified, JournalError> {
    let disk = NativeDisk::open(dir, 0).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => JournalError::NotFound { dir: dir.to_owned() },
        _ => JournalError::directory("opening", error),
    })?;
    verify_on(&disk, dir, prefix, progress)
}

/// On a disk that is `dir`.
fn verify_on(
    disk: &dyn Disk,
    dir: &Path,
    prefix: &str,
    mut progress: impl FnMut(&VerifyProgress),
) -> Result<Verified, JournalError> {
    let names = Names::new(prefix);
    let mut found = Verified::default();
    let control = match read_control(disk, &names) {
        Ok(Some((control, _))) => Some(control),
        Ok(None) => return Err(JournalError::NotFound { dir: dir.to_owned() }),
        Err(JournalError::Control { .. }) => {
            found.problems.push(Problem::Control);
            None
        }
        Err(error) => return Err(error),
    };
    // After that: no file is missing of which it knows.
    let firsts = files::firsts(disk, &names).map_err(JournalError::listing)?;
    let total_bytes = firsts.iter().map(|&first| len_of(disk, &names.log(first))).sum();
    let mut look = Look { disk, names: &names, control, found, id: None, previous: None, header: None, marked: None };
    let mut done_bytes = 0;
    look.begin(&firsts);
    for &first in &firsts {
        let file = names.log(first);
        let bytes = len_of(disk, &file);
        look.file(first, |at| {
            progress(&VerifyProgress { file: file.clone(), done_bytes: done_bytes + at.min(bytes), total_bytes });
        })?;
        done_bytes += bytes;
    }
    Ok(look.finish())
}

fn len_of(disk: &dyn Disk, name: &str) -> u64 {
    disk.open(name, Open::Read).and_then(|file| file.len()).unwrap_or(0)
}

struct Look<'d> {
    disk: &'d dyn Disk,
    names: &'d Names,
    control: Option<Control>,
    found: Verified,
    /// The journal, as its first file says where the control file does not.
    id: Option<u128>,
    /// The file before, by its first record, and the record after its last one.
    previous: Option<(u64, u64)>,
    /// Its header.
    header: Option<Header>,
    /// The last of its records that is marked as deleted, and whether that is there for good.
    marked: Option<(u64, bool)>,
}

impl Look<'_> {
    fn begin(&mut self, firsts: &[u64]) {
        let first = firsts.first().copied();
        self.id = self.control.as_ref().map(|control| control.id);
        let oldest = self.control.as_ref().map_or(first.unwrap_or(0), |control| control.oldest);
        self.found.durable = self.control.as_ref().map_or(0, |control| control.durable);
        (self.found.oldest, self.found.end) = (oldest, oldest);
        if let Some(first) = first.filter(|&first| first > oldest) {
            self.lost(&self.names.log(first), 0, oldest, first);
        }
    }

    fn file(&mut self, first: u64, mut progress: impl FnMut(u64)) -> Result<(), JournalError> {
        let name = self.names.log(first);
        let os = |error| JournalError::os("reading", &name, error);
        let file = match self.disk.open(&name, Open::Read) {
            Ok(file) => file,
            // Given up meanwhile; if not, its records are missed by the file that follows.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(os(error)),
        };
        let mut block = vec![0; BLOCK];
        file.read_at(&mut block, 0).map_err(os)?;
        let id = self.id;
        let Some(header) =
            Header::decode(&block).ok().filter(|header| header.first == first && id.is_none_or(|id| header.id == id))
        else {
            self.found.problems.push(Problem::Header { file: name });
            return Ok(());
        };
        self.id = Some(header.id);
        self.found.files += 1;
        self.found.durable = self.found.durable.max(header.durable);
        // Records between this file and what was found before it.
        let end = self.previous.map_or(self.found.end.max(first), |(_, end)| end);
        let end = if header.missing > 0 && end == header.gap_from() {
            // Known to be.
            self.found.missing.push((end, first));
            first
        } else {
            end
        };
        if end < first {
            let is_emptied = |before: &Header| are_all_deleted(self.disk, self.names, before, first).unwrap_or(false);
            if end != self.previous.map_or(0, |(before, _)| before) || !self.header.as_ref().is_some_and(is_emptied) {
                self.lost(&name, 0, end, first);
            }
        }
        self.check_marked(first, false);
        self.header = Some(header);
        // Before the records: those that are marked while this is done are read then, and all that the index is about.
        self.marked = self.marks(&header)?;
        let index = self.index(first);
        let offsets = self.frames(&file, &header, &mut progress).map_err(os)?;
        let is_wrong = |index: Arc<dyn DiskFile>, offsets: &[u32]| !is_index_of(&*index, &header, offsets);
        if let Some(offsets) = offsets
            && index.is_some_and(|index| is_wrong(index, &offsets))
            // Else the file was given up or emptied meanwhile.
            && self.index(first).is_some_and(|index| is_wrong(index, &offsets))
        {
            self.found.problems.push(Problem::Index { file: self.names.index(first) });
        }
        self.previous = Some((first, self.found.end));
        Ok(())
    }

    fn index(&self, first: u64) -> Option<Arc<dyn DiskFile>> {
        self.disk.open(&self.names.index(first), Open::Read).ok()
    }

    /// The last record of a file that is marked as deleted.
    fn marks(&mut self, header: &Header) -> Result<Option<(u64, bool)>, JournalError> {
        match Marks::load(self.disk, self.names, header) {
            Ok(marks) => {
                Ok(marks.and_then(|marks| Some((header.first.saturating_add(marks.last()?), marks.is_sealed()))))
            }
            Err(JournalError::MarksDamaged { file, offset }) => {
                self.found.problems.push(Problem::Marks { file, offset });
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// Of the file before, whose records end before `end`. The last file's may end with a crash, until it is recovered.
    fn check_marked(&mut self, end: u64, is_last: bool) {
        if let Some((seq, is_for_good)) = self.marked.filter(|&(seq, _)| seq >= end)
            && let Some((first, _)) = self.previous
            && (is_for_good || !is_last)
        {
            self.found.problems.push(Problem::Marked { file: self.names.marks(first), seq });
        }
    }

    /// Reads the frames of a file, going on behind damage at the next mark. Returns where the records are, in words;
    /// `None` if some are gone.
    fn frames(
        &mut self,
        file: &Arc<dyn DiskFile>,
        header: &Header,
        progress: &mut impl FnMut(u64),
    ) -> io::Result<Option<Vec<u32>>> {
        let (salt, first) = (header.frame_salt(), header.first);
        let (mut offsets, mut is_whole, mut began) = (Vec::new(), true, BLOCK_BYTES);
        let mut frames = FrameStream::of_file(Arc::clone(file), salt, first);
        loop {
            let offset = frames.offset();
            let Some(frame) = frames.next()? else {
                let (seq, file_name) = (frames.seq(), self.names.log(first));
                self.found.bytes += offset - began;
                let Some((resume, mark)) = frames.find_marks_beyond()?.into_iter().find(|(_, mark)| mark.seq >= seq)
                else {
                    self.found.end = seq;
                    break;
                };
                // Half of it was there, and who wrote it has gone on since.
                let mut again = FrameStream::new(Arc::clone(file), salt, offset, seq);
                if again.peek()?.is_some() {
                    (frames, began) = (again, offset);
                    continue;
                }
                self.lost(&file_name, offset, seq, mark.seq);
                (is_whole, began) = (false, resume);
                frames = FrameStream::new(Arc::clone(file), salt, resume, mark.seq);
                continue;
            };
            match frame.kind {
                FrameKind::Record | FrameKind::Batch => {
                    self.found.records += u64::from(frame.seq >= self.found.oldest);
                    offsets.push(u32::try_from(offset / 8).unwrap_or(u32::MAX));
                    if offsets.len().is_multiple_of(1024) {
                        progress(offset);
                    }
                }
                FrameKind::Mark => {
                    let durable =
                        crate::journal::format::frame::Mark::decode(frame.payload).map_or(0, |mark| mark.durable);
                    self.found.durable = self.found.durable.max(durable);
                }
                FrameKind::Deletes => {}
                FrameKind::Cursors => self.found.cursors = CursorTable::decode(frame.payload).cursors,
            }
        }
        Ok(is_whole.then_some(offsets))
    }

    /// What is given up, also since this began, can't be lost.
    fn lost(&mut self, file: &str, offset: u64, from: u64, to: u64) {
        if let Some(known) = &self.control
            && let Ok(Some((control, _))) = read_control(self.disk, self.names)
            && control.id == known.id
        {
            self.found.oldest = self.found.oldest.max(control.oldest);
        }
        let from = from.max(self.found.oldest);
        if from < to {
            self.found.problems.push(Problem::Lost { file: file.to_owned(), offset, from, to });
        }
    }

    fn finish(mut self) -> Verified {
        let (end, durable) = (self.found.end, self.found.durable);
        self.check_marked(end.max(durable), true);
        if end < durable {
            let file = self.previous.map_or_else(|| self.names.log(end), |(first, _)| self.names.log(first));
            self.lost(&file, 0, end, durable);
        }
        for (name, seq) in &self.found.cursors {
            if *seq > end.max(durable) {
                self.found.problems.push(Problem::Cursor { name: name.clone(), seq: *seq });
            }
        }
        self.found
    }
}

#[cfg(test)]
mod tests;
