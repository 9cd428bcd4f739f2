//! Going on without records that are gone: only when asked to, never by itself.
//!
//! What can't be read is put aside, not thrown away. A file that is damaged in the middle becomes two: what is sound
//! before the damage, and what is sound behind it, which keeps its numbers. The header of the second says how many records
//! are missing before it. All of it may be interrupted and made again.

use crate::create::{random_id, unix_ns};
use crate::error::JournalError;
use crate::journal::control_file::{make_control, read_control, write_control};
use crate::journal::files;
use crate::journal::format::control::Control;
use crate::journal::format::header::{Header, NO_FILE};
use crate::journal::format::{BLOCK, BLOCK_BYTES};
use crate::journal::marks::{are_all_deleted, cut_marks, mend_marks, move_marks};
use crate::journal::names::Names;
use crate::journal::stream::FrameStream;
use crate::sys::disk::{Disk, DiskFile, Open};
use std::io;
use std::sync::Arc;

/// What was done, by [`Journal::repair`](crate::Journal::repair).
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Repaired {
    /// Records that are gone for good: the first of a run, and the first one after it.
    pub lost: Vec<(u64, u64)>,
    /// Files of deletion marks that were damaged: records whose deletion can't be read are there again.
    pub marks: Vec<String>,
    /// Files in which was put aside what can't be read.
    pub aside: Vec<String>,
    /// Whether the control file was made anew.
    pub made_control: bool,
}

/// Repairs the files. Nobody has the journal open.
pub(crate) fn repair(disk: &dyn Disk, names: &Names) -> Result<Repaired, JournalError> {
    let mut repaired = Repaired::default();
    let control = match read_control(disk, names) {
        Ok(found) => found,
        Err(JournalError::Control { .. }) => None,
        Err(error) => return Err(error),
    };
    let (control, turn) = match control {
        Some(found) => found,
        None => {
            repaired.made_control = true;
            (control_from(disk, names)?, 0)
        }
    };
    let generation = control.generation + 1;
    let mut work = Work { disk, names, id: control.id, generation, repaired };
    work.files()?;
    let (oldest, end) = work.chain(control.oldest)?;
    // The scan that follows begins at the end, as no record beyond it is known to have been durable any more.
    let durable = control.durable.min(end);
    let control = Control { generation, oldest, durable, closed: None, cursors: None, ..control };
    if work.repaired.made_control {
        make_control(disk, names, &control)?;
    } else {
        write_control(disk, names, &control, turn + 1)?;
    }
    Ok(work.repaired)
}

/// What the control file would say, as far as the files say it.
fn control_from(disk: &dyn Disk, names: &Names) -> Result<Control, JournalError> {
    let firsts = files::firsts(disk, names).map_err(|error| JournalError::os("listing", "the directory", error))?;
    let mut control = Control {
        id: random_id()?,
        generation: 0,
        oldest: firsts.first().copied().unwrap_or(0),
        durable: 0,
        file_bytes: 64 << 20,
        created_unix_ns: unix_ns(),
        closed: None,
        cursors: None,
        front: None,
    };
    for first in firsts {
        if let Ok((header, file)) = open(disk, names, first)
            && let Ok(len) = file.len()
        {
            control.id = header.id;
            control.generation = control.generation.max(header.generation);
            control.file_bytes = len.max(1 << 16);
        }
    }
    Ok(control)
}

/// A file of records and its header, whichever journal it is of.
fn open(disk: &dyn Disk, names: &Names, first: u64) -> io::Result<(Header, Arc<dyn DiskFile>)> {
    let file = disk.open(&names.log(first), Open::Write)?;
    let mut block = vec![0; BLOCK];
    file.read_at(&mut block, 0)?;
    let header = Header::decode(&block).map_err(|_| io::Error::from(io::ErrorKind::InvalidData))?;
    if header.first == first { Ok((header, file)) } else { Err(io::ErrorKind::InvalidData.into()) }
}

struct Work<'d> {
    disk: &'d dyn Disk,
    names: &'d Names,
    id: u128,
    generation: u64,
    repaired: Repaired,
}

impl Work<'_> {
    fn firsts(&self) -> Result<Vec<u64>, JournalError> {
        files::firsts(self.disk, self.names).map_err(|error| JournalError::os("listing", "the directory", error))
    }

    /// Leaves only files that are sound from their beginning to where their records end.
    fn files(&mut self) -> Result<(), JournalError> {
        let mut next = 0;
        // Files come into being behind the place.
        while let Some(&first) = self.firsts()?.iter().find(|&&first| first >= next) {
            let name = self.names.log(first);
            let os = |error| JournalError::disk("repairing", &name, BLOCK_BYTES, error);
            match open(self.disk, self.names, first) {
                Ok((header, file)) if header.id == self.id => {
                    self.marks(&header)?;
                    self.file(&header, &file)?;
                }
                Ok(_) => self.put_aside(first).map_err(os)?,
                Err(error) if error.kind() == io::ErrorKind::InvalidData => self.put_aside(first).map_err(os)?,
                Err(error) => return Err(os(error)),
            }
            let Some(following) = first.checked_add(1) else { break };
            next = following;
        }
        Ok(())
    }

    /// A file that is not one of this journal's.
    fn put_aside(&mut self, first: u64) -> io::Result<()> {
        let lost = self.names.lost(first, self.generation);
        self.disk.rename(&self.names.log(first), &lost)?;
        self.disk.sync()?;
        self.repaired.aside.push(lost);
        Ok(())
    }

    /// First, as what is done about the records needs them.
    fn marks(&mut self, header: &Header) -> Result<(), JournalError> {
        if let Some(aside) = mend_marks(self.disk, self.names, header, self.generation)? {
            self.repaired.marks.push(self.names.marks(header.first));
            self.repaired.aside.push(aside);
        }
        Ok(())
    }

    fn file(&mut self, header: &Header, file: &Arc<dyn DiskFile>) -> Result<(), JournalError> {
        let name = self.names.log(header.first);
        let os = |error| JournalError::disk("repairing", &name, BLOCK_BYTES, error);
        let mut frames = FrameStream::of_file(Arc::clone(file), header.frame_salt(), header.first);
        while frames.next().map_err(os)?.is_some() {}
        let (seq, offset) = (frames.seq(), frames.offset());
        let beyond = frames.find_marks_beyond().map_err(os)?;
        let Some((resume, mark)) = beyond.into_iter().find(|(_, mark)| mark.seq >= seq) else {
            return Ok(());
        };
        let end = self.split(header, file, resume, mark.seq).map_err(os)?;
        let torn = self.names.torn(seq, self.generation);
        copy(&**file, self.disk, &torn, offset, resume).map_err(os)?;
        self.repaired.aside.push(torn);
        // Only now, when all of it is elsewhere.
        let _ = self.disk.remove(&self.names.index(header.first));
        debug_assert!(end >= mark.seq);
        move_marks(self.disk, self.names, header, mark.seq)?;
        cut_marks(self.disk, self.names, header, seq)?;
        if seq == header.first {
            return self.disk.remove(&name).and_then(|()| self.disk.sync()).map_err(os);
        }
        let cut = file.truncate(offset).and_then(|()| file.truncate(offset.next_multiple_of(BLOCK_BYTES)));
        cut.and_then(|()| file.sync()).map_err(os)
    }

    /// Makes a file of what is sound behind the damage. The salt stays, so that its frames are what they were.
    fn split(&self, header: &Header, file: &Arc<dyn DiskFile>, resume: u64, first: u64) -> io::Result<u64> {
        let draft = self.names.spare_draft();
        let behind = self.disk.open(&draft, Open::Create)?;
        let header = Header { first, previous: header.first, ..*header };
        behind.write_at(&header.encode(), 0)?;
        let (mut bytes, mut from, mut to) = (vec![0; 1 << 20], resume, BLOCK_BYTES);
        loop {
            let found = file.read_at(&mut bytes, from)?;
            if found == 0 {
                break;
            }
            behind.write_at(&bytes[..found], to)?;
            from += found as u64;
            to += found as u64;
        }
        behind.truncate(to.next_multiple_of(BLOCK_BYTES))?;
        behind.sync()?;
        self.disk.rename(&draft, &self.names.log(first))?;
        self.disk.sync()?;
        Ok(first)
    }

    /// Makes each header say which file comes before it, and how many records are missing in between. Returns the oldest
    /// record, and where the records end.
    fn chain(&mut self, oldest: u64) -> Result<(u64, u64), JournalError> {
        let mut before: Option<(Header, u64)> = None;
        let mut found_oldest = oldest;
        for first in self.firsts()? {
            let name = self.names.log(first);
            let os = |error| JournalError::disk("repairing", &name, BLOCK_BYTES, error);
            let (header, file) = open(self.disk, self.names, first).map_err(os)?;
            let (previous, mut end) = before.map_or((NO_FILE, first), |(header, end)| (header.first, end));
            if let Some((before, _)) = &before
                && end < first
                && are_all_deleted(self.disk, self.names, before, first)?
            {
                end = first;
            }
            if before.is_none() && first > oldest {
                self.repaired.lost.push((oldest, first));
                found_oldest = first;
            }
            let missing = first.saturating_sub(end);
            if missing > header.missing && before.is_some() {
                self.repaired.lost.push((end, first));
            }
            let previous = if before.is_some() { previous } else { header.previous };
            let wanted = Header { previous, missing, ..header };
            if wanted != header {
                file.write_at(&wanted.encode(), 0).and_then(|()| file.sync()).map_err(os)?;
            }
            let mut frames = FrameStream::of_file(file, header.frame_salt(), first);
            while frames.next().map_err(os)?.is_some() {}
            before = Some((header, frames.seq()));
        }
        Ok((found_oldest, before.map_or(found_oldest, |(_, end)| end)))
    }
}

/// Copies some bytes of a file to another.
fn copy(file: &dyn DiskFile, disk: &dyn Disk, name: &str, from: u64, to: u64) -> io::Result<()> {
    let mut bytes = vec![0; usize::try_from(to - from).unwrap_or(0)];
    let found = file.read_at(&mut bytes, from)?;
    let aside = disk.open(name, Open::Create)?;
    aside.write_at(&bytes[..found], 0)?;
    aside.sync()?;
    disk.sync()
}
