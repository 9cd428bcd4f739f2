//! Going on without records that are gone: only when asked to, never by itself.
//!
//! What can't be read is put aside, not thrown away. A file that is damaged in the middle becomes two: what is sound
//! before the damage, and what is sound behind it, which keeps its numbers. The header of the second says how many records
//! are missing before it. All of it may be interrupted and made again.

use crate::create::{random_id, unix_ns};
use crate::error::JournalError;
use crate::journal::care::split::{Damage, open_any, write_header};
use crate::journal::cursors::CursorTable;
use crate::journal::files;
use crate::journal::files::control_file::{make_control, read_control, write_control};
use crate::journal::files::marks::{are_all_deleted, cut_marks, mend_marks, move_marks};
use crate::journal::files::names::Names;
use crate::journal::format::BLOCK_BYTES;
use crate::journal::format::control::Control;
use crate::journal::format::frame::FrameKind;
use crate::journal::format::header::{Header, NO_FILE};
use crate::journal::opening::torn::keep_torn;
use crate::journal::reading::stream::FrameStream;
use crate::journal::settings::{MAX_FILE_BYTES, MIN_FILE_BYTES, Settings};
use crate::sys::disk::{Disk, DiskFile, Open};
use std::io;
use std::sync::Arc;

/// What was done, by [`Journal::repair`](crate::Journal::repair).
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Repaired {
    /// Records that are gone for good: the first of a run, and the first one after it. Behind the last one that is left,
    /// their numbers are given to others.
    pub lost: Vec<(u64, u64)>,
    /// Files of deletion marks that were damaged: records whose deletion can't be read are there again.
    pub marks: Vec<String>,
    /// Files in which was put aside what can't be read.
    pub aside: Vec<String>,
    /// Whether the control file was made anew.
    pub made_control: bool,
}

impl Repaired {
    /// Says once what was found to be gone twice, and not what had been given up.
    fn settle(&mut self, oldest: u64) {
        let mut settled: Vec<(u64, u64)> = Vec::new();
        self.lost.sort_unstable();
        for (from, to) in self.lost.iter().map(|&(from, to)| (from.max(oldest), to)).filter(|(from, to)| from < to) {
            match settled.last_mut() {
                Some((_, end)) if from <= *end => *end = to.max(*end),
                _ => settled.push((from, to)),
            }
        }
        self.lost = settled;
    }
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
    // The next one is that of words which who could not go on may have left beside the front (`salvage.rs`).
    let generation = control.generation + 2;
    let mut work = Work { disk, names, id: control.id, generation, cursors: CursorTable::default(), repaired };
    work.files()?;
    let (oldest, end) = work.chain(control.oldest)?;
    if end < control.durable {
        work.repaired.lost.push((end, control.durable));
    }
    work.repaired.settle(control.oldest);
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
    let firsts = files::firsts(disk, names).map_err(JournalError::listing)?;
    let mut control = Control {
        id: random_id()?,
        generation: 0,
        oldest: firsts.first().copied().unwrap_or(0),
        durable: 0,
        file_bytes: Settings::default().file_bytes,
        created_unix_ns: unix_ns(),
        closed: None,
        cursors: None,
        front: None,
    };
    let mut lens = Vec::new();
    for first in firsts {
        if let Ok((header, file, _)) = open_any(disk, names, first)
            && let Ok(len) = file.len()
        {
            control.id = header.id;
            control.generation = control.generation.max(header.generation);
            lens.push(len);
        }
    }
    // The spare is as long as a file is to be; of the others some are cut or lengthened.
    let spare = disk.open(&names.spare(), Open::Read).and_then(|spare| spare.len()).ok();
    if let Some(len) = spare.or_else(|| usual(lens)) {
        control.file_bytes = len.next_multiple_of(BLOCK_BYTES).clamp(MIN_FILE_BYTES, MAX_FILE_BYTES);
    }
    Ok(control)
}

/// The length that most files have, the longest of such.
fn usual(mut lens: Vec<u64>) -> Option<u64> {
    lens.sort_unstable();
    lens.chunk_by(u64::eq).max_by_key(|equal| equal.len()).map(|equal| equal[0])
}

struct Work<'d> {
    disk: &'d dyn Disk,
    names: &'d Names,
    id: u128,
    generation: u64,
    /// Those that were found last.
    cursors: CursorTable,
    repaired: Repaired,
}

impl Work<'_> {
    fn firsts(&self) -> Result<Vec<u64>, JournalError> {
        files::firsts(self.disk, self.names).map_err(JournalError::listing)
    }

    /// Leaves only files that are sound from their beginning to where their records end.
    fn files(&mut self) -> Result<(), JournalError> {
        // First, as each is looked at together with the one that follows.
        self.each(|work, first, found| match found {
            Ok((header, ..)) if header.id == work.id => Ok(()),
            Ok(_) => work.put_aside(first),
            Err(error) if error.kind() == io::ErrorKind::InvalidData => work.put_aside(first),
            Err(error) => Err(work.refused(first)(error)),
        })?;
        self.each(|work, first, found| {
            let (header, file, _) = found.map_err(work.refused(first))?;
            work.marks(&header)?;
            work.file(&header, &file)
        })
    }

    /// Does something with each file, also with those that come into being behind the place meanwhile.
    fn each(
        &mut self,
        mut act: impl FnMut(&mut Self, u64, io::Result<(Header, Arc<dyn DiskFile>, bool)>) -> Result<(), JournalError>,
    ) -> Result<(), JournalError> {
        let mut next = Some(0);
        while let Some(from) = next
            && let Some(&first) = self.firsts()?.iter().find(|&&first| first >= from)
        {
            act(self, first, open_any(self.disk, self.names, first))?;
            next = first.checked_add(1);
        }
        Ok(())
    }

    fn refused(&self, first: u64) -> impl Fn(io::Error) -> JournalError + use<> {
        let name = self.names.log(first);
        move |error| JournalError::disk("repairing", &name, BLOCK_BYTES, error)
    }

    /// A file that is not one of this journal's.
    fn put_aside(&mut self, first: u64) -> Result<(), JournalError> {
        let lost = self.names.lost(first, self.generation);
        let renamed = self.disk.rename(&self.names.log(first), &lost).and_then(|()| self.disk.sync());
        renamed.map_err(self.refused(first))?;
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
        let os = self.refused(header.first);
        let following = self.firsts()?.into_iter().find(|&first| first > header.first);
        if let Some(following) = following
            && are_all_deleted(self.disk, self.names, header, following)?
        {
            // Emptied, or half so.
            return Ok(());
        }
        let mut frames = FrameStream::of_file(Arc::clone(file), header.frame_salt(), header.first);
        while let Some(frame) = frames.next().map_err(&os)? {
            if frame.kind == FrameKind::Cursors {
                self.cursors = CursorTable::decode(frame.payload);
            }
        }
        let damage = Damage { header, file: &**file, seq: frames.seq(), offset: frames.offset() };
        let beyond = frames.find_marks_beyond().map_err(&os)?;
        let Some((resume, mark)) = beyond.into_iter().find(|(_, mark)| mark.seq >= damage.seq) else {
            let is_short = following.is_some_and(|following| damage.seq < following);
            return if is_short { self.forget_beyond(&damage) } else { Ok(()) };
        };
        // What is beside a file is gone before there is another one of its name.
        let _ = self.disk.remove(&self.names.index(header.first));
        if following.is_none_or(|following| mark.seq < following) {
            self.put_torn(&damage, resume).map_err(&os)?;
            move_marks(self.disk, self.names, header, mark.seq)?;
            damage.split(self.disk, self.names, resume, mark.seq, &self.cursors).map_err(&os)?;
            self.repaired.lost.push((damage.seq, mark.seq));
            if mark.seq == header.first {
                // It took the place of this one.
                return Ok(());
            }
        } else if !self.is_split(header, following) {
            // Behind the last records stand cursors, and those of the next file are newer.
            let end = file.len().map_err(&os)?;
            self.put_torn(&damage, end).map_err(&os)?;
        }
        // Only now, when all of it is elsewhere.
        self.forget_beyond(&damage)?;
        damage.cut(self.disk, self.names).map_err(&os)
    }

    /// Whether the file that follows was made of this one by a repair that was interrupted: no other has its salt.
    fn is_split(&self, header: &Header, following: Option<u64>) -> bool {
        let following = following.and_then(|first| open_any(self.disk, self.names, first).ok());
        following.is_some_and(|(following, ..)| (following.id, following.salt) == (header.id, header.salt))
    }

    /// Nothing is known any more of the records from the damage on.
    fn forget_beyond(&self, damage: &Damage<'_>) -> Result<(), JournalError> {
        let _ = self.disk.remove(&self.names.index(damage.header.first));
        cut_marks(self.disk, self.names, damage.header, damage.seq)
    }

    /// Copies what can't be read, up to `end`.
    fn put_torn(&mut self, damage: &Damage<'_>, end: u64) -> io::Result<()> {
        let torn = self.names.torn(damage.seq, self.generation);
        if keep_torn(self.disk, damage.file, damage.header, damage.offset..end, &torn)?.is_some() {
            self.repaired.aside.push(torn);
        }
        Ok(())
    }

    /// Makes each header say which file comes before it, and how many records are missing in between. Returns the oldest
    /// record, and where the records end.
    fn chain(&mut self, oldest: u64) -> Result<(u64, u64), JournalError> {
        let mut before: Option<(Header, u64)> = None;
        let mut found_oldest = oldest;
        for first in self.firsts()? {
            let os = self.refused(first);
            let (header, file, is_spoilt) = open_any(self.disk, self.names, first).map_err(&os)?;
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
            if wanted != header || is_spoilt {
                write_header(&*file, &wanted).map_err(&os)?;
            }
            let mut frames = FrameStream::of_file(file, header.frame_salt(), first);
            while frames.next().map_err(&os)?.is_some() {}
            before = Some((header, frames.seq()));
        }
        Ok((found_oldest, before.map_or(found_oldest, |(_, end)| end)))
    }
}
