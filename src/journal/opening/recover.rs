//! What a journal's files hold, after whatever happened to them.
//!
//! Everything here may be done again, from the start, if it is interrupted: each step leaves files whose records end at
//! the same place.

use crate::error::JournalError;
use crate::journal::Recovery;
use crate::journal::cursors::CursorTable;
use crate::journal::files::marks::{Marks, are_all_deleted, cut_marks, settle_marks};
use crate::journal::files::names::Names;
use crate::journal::files::{FileInfo, list};
use crate::journal::format::BLOCK_BYTES;
use crate::journal::format::control::{Control, Place};
use crate::journal::format::frame::{FrameKind, Mark};
use crate::journal::format::header::NO_FILE;
use crate::journal::opening::torn::{TORN_BYTES, keep_torn};
use crate::journal::reading::stream::FrameStream;
use crate::sys::disk::{Disk, Open};
use std::sync::Arc;

/// Where the records of some files end.
#[derive(Debug)]
pub(crate) struct End {
    /// Index of the file in the list.
    pub(crate) file: usize,
    /// Where in it.
    pub(crate) offset: u64,
    /// The record that is not there.
    pub(crate) seq: u64,
    /// Records below this one were durable: as the files say, wherever they say it.
    pub(crate) durable: u64,
    pub(crate) scanned_bytes: u64,
    /// As they were written last.
    pub(crate) cursors: CursorTable,
    /// Whether the file has cursors.
    has_cursors: bool,
}

/// Finds where the records end, puts what follows aside, and makes what is kept durable. Returns where the next record
/// goes.
///
/// # Errors
/// [`JournalError::Damaged`], [`JournalError::MarksDamaged`], [`JournalError::FileLost`]: what had been durable is gone;
/// nothing was changed.
pub(crate) fn recover(
    disk: &dyn Disk,
    names: &Names,
    control: &Control,
) -> Result<(Place, Recovery, CursorTable), JournalError> {
    let mut recovery = Recovery { generation: control.generation + 1, ..Recovery::default() };
    let files = list(disk, names, control.id)?;
    let files = retire(disk, files, control.oldest)?;
    check_chain(&files, control.oldest)?;
    let Some(last) = files.last() else {
        if control.durable > control.oldest {
            let file = names.log(control.oldest);
            return Err(JournalError::FileLost { file, from: control.oldest, to: control.durable });
        }
        (recovery.kept, recovery.durable) = (control.oldest, control.oldest);
        recovery.was_closed = control.closed.is_some_and(|place| place.file == NO_FILE);
        let place = Place { seq: control.oldest, file: NO_FILE, offset: Place::FULL };
        return Ok((place, recovery, CursorTable::default()));
    };
    if let Some(place) = closed_place(control, last)? {
        for info in &files {
            Marks::load(disk, names, &info.header)?;
        }
        (recovery.kept, recovery.durable, recovery.was_closed) = (place.seq, place.seq, true);
        return Ok((place, recovery, closed_cursors(control, &files)?));
    }
    let end = find_end(disk, names, &files, control.durable.max(last.header.durable))?;
    recovery.scanned_bytes = end.scanned_bytes;
    (recovery.kept, recovery.durable) = (end.seq, end.durable);
    if end.seq < end.durable {
        let file = files[end.file].name.clone();
        return Err(JournalError::Damaged { file, offset: end.offset, seq: end.seq, durable: end.durable });
    }
    settle_marks(disk, names, files.iter().map(|info| &info.header), end.seq)?;
    let place = cut(disk, names, control, &files, &end, &mut recovery)?;
    Ok((place, recovery, end.cursors))
}

/// Removes what is of no use any more.
pub(crate) fn sweep(disk: &dyn Disk, names: &Names) -> Result<(), JournalError> {
    let os = JournalError::listing;
    let all = disk.names().map_err(os)?;
    let firsts: Vec<_> = all.iter().filter_map(|name| names.first_of(name)).collect();
    for name in all.iter().filter(|name| names.is_orphan(name, &firsts)) {
        disk.remove(name).map_err(|error| JournalError::os("removing", name, error))?;
    }
    Ok(())
}

/// Removes files whose records were all given up: the removal was decided, and may have been interrupted.
fn retire(disk: &dyn Disk, mut files: Vec<FileInfo>, oldest: u64) -> Result<Vec<FileInfo>, JournalError> {
    let retained = first_retained(disk, &files, oldest)?;
    for file in files.drain(..retained) {
        // One after the other, so that none is ever missing between two that are there.
        let removed = disk.remove(&file.name).and_then(|()| disk.sync());
        removed.map_err(|error| JournalError::os("removing", &file.name, error))?;
    }
    Ok(files)
}

/// Which of the files is the first one that is not given up.
pub(crate) fn first_retained(disk: &dyn Disk, files: &[FileInfo], oldest: u64) -> Result<usize, JournalError> {
    // But not one whose follower has no cursors yet.
    let mut retained = files.iter().rposition(|file| file.header.first <= oldest).unwrap_or(0);
    while let Some(file) = files.get(1..=retained).and_then(<[_]>::last) {
        if begins_with_cursors(disk, file).map_err(|error| JournalError::os("reading", &file.name, error))? {
            break;
        }
        retained -= 1;
    }
    Ok(retained)
}

/// Whether a file has what every one begins with, for sure: without it, the cursors are in the file before.
fn begins_with_cursors(disk: &dyn Disk, info: &FileInfo) -> std::io::Result<bool> {
    let file = disk.open(&info.name, Open::Write)?;
    file.sync()?;
    file.forget_cache()?;
    let mut frames = FrameStream::of_file(file, info.header.frame_salt(), info.header.first);
    let is_marked = frames.next()?.is_some_and(|frame| frame.kind == FrameKind::Mark);
    Ok(is_marked && frames.next()?.is_some_and(|frame| frame.kind == FrameKind::Cursors))
}

/// Each file says which one came before it.
pub(crate) fn check_chain(files: &[FileInfo], oldest: u64) -> Result<(), JournalError> {
    let lost =
        |file: &FileInfo, from| Err(JournalError::FileLost { file: file.name.clone(), from, to: file.header.first });
    if let Some(first) = files.first()
        && first.header.gap_from() > oldest
    {
        return lost(first, oldest);
    }
    for pair in files.windows(2) {
        if pair[1].header.previous != pair[0].header.first {
            return lost(&pair[1], pair[1].header.previous);
        }
    }
    Ok(())
}

/// Where the last process that closed the journal says that the records end.
pub(crate) fn closed_place(control: &Control, last: &FileInfo) -> Result<Option<Place>, JournalError> {
    let Some(place) = control.closed.filter(|place| place.file == last.header.first) else { return Ok(None) };
    if place.offset == Place::FULL {
        return Ok(Some(place));
    }
    // Somebody may have gone on since, without being able to say so.
    let mut rest = FrameStream::new(Arc::clone(&last.file), last.header.frame_salt(), place.offset, place.seq);
    let next = rest.next().map_err(|error| JournalError::os("reading", &last.name, error))?;
    Ok(next.is_none().then_some(place))
}

/// The cursors, where the last process that closed the journal says that they are.
pub(crate) fn closed_cursors(control: &Control, files: &[FileInfo]) -> Result<CursorTable, JournalError> {
    let Some(place) = control.cursors else { return Ok(CursorTable::default()) };
    let Some(info) = files.iter().find(|info| info.header.first == place.file) else {
        return Ok(CursorTable::default());
    };
    let mut frames = FrameStream::new(Arc::clone(&info.file), info.header.frame_salt(), place.offset, place.seq);
    match frames.next().map_err(|error| JournalError::os("reading", &info.name, error))? {
        Some(frame) if frame.kind == FrameKind::Cursors => Ok(CursorTable::decode(frame.payload)),
        _ => Err(JournalError::Damaged {
            file: info.name.clone(),
            offset: place.offset,
            seq: place.seq,
            durable: control.durable,
        }),
    }
}

/// The cursors in the newest of these files that has any: each begins with them, if it has frames at all.
fn last_cursors(files: &[FileInfo]) -> std::io::Result<CursorTable> {
    for info in files.iter().rev() {
        let mut found = None;
        let mut frames = FrameStream::of_file(Arc::clone(&info.file), info.header.frame_salt(), info.header.first);
        while let Some(frame) = frames.next()? {
            if frame.kind == FrameKind::Cursors {
                found = Some(CursorTable::decode(frame.payload));
            }
        }
        if let Some(found) = found {
            return Ok(found);
        }
    }
    Ok(CursorTable::default())
}

/// Scans from the file that holds record `durable` on.
pub(crate) fn find_end(
    disk: &dyn Disk,
    names: &Names,
    files: &[FileInfo],
    mut durable: u64,
) -> Result<End, JournalError> {
    let from = files.iter().rposition(|file| file.header.first <= durable).unwrap_or(0);
    let (mut scanned_bytes, mut cursors) = (0, None);
    for (index, info) in files.iter().enumerate().skip(from) {
        let os = |doing| move |error| JournalError::os(doing, &info.name, error);
        let file = disk.open(&info.name, Open::Write).map_err(os("opening"))?;
        // What is kept must be durable, and be what is on the disk: after a failed write the kernel's pages are not.
        file.sync().map_err(os("syncing"))?;
        file.forget_cache().map_err(os("reading"))?;
        let mut frames = FrameStream::of_file(file, info.header.frame_salt(), info.header.first);
        let end = files.get(index + 1).map_or(u64::MAX, |next| next.header.gap_from());
        let mut has_cursors = false;
        while frames.seq() < end
            && let Some(frame) = frames.next().map_err(os("reading"))?
        {
            if frame.kind == FrameKind::Mark {
                durable = durable.max(Mark::decode(frame.payload).map_or(0, |mark| mark.durable));
            }
            if frame.kind == FrameKind::Cursors {
                cursors = Some(CursorTable::decode(frame.payload));
                has_cursors = true;
            }
        }
        scanned_bytes += frames.offset();
        if frames.seq() == end {
            continue;
        }
        // Emptied, because all of its records were deleted.
        if end != u64::MAX && are_all_deleted(disk, names, &info.header, end)? {
            continue;
        }
        let (offset, seq) = (frames.offset(), frames.seq());
        let cursors = match cursors {
            Some(cursors) => cursors,
            None => last_cursors(&files[..from]).map_err(os("reading"))?,
        };
        let durable = durable.max(proven_durable(frames, &files[index + 1..]).map_err(os("reading"))?);
        return Ok(End { file: index, offset, seq, durable, scanned_bytes, cursors, has_cursors });
    }
    unreachable!("the last file has no end")
}

/// What is said beyond the place of `frames`, there and in later files, of how far the records were durable once.
fn proven_durable(mut frames: FrameStream, later: &[FileInfo]) -> std::io::Result<u64> {
    let mut durable = 0;
    for (_, mark) in frames.find_marks_beyond()? {
        durable = durable.max(mark.durable);
    }
    for info in later {
        durable = durable.max(info.header.durable);
        let mut frames = FrameStream::of_file(Arc::clone(&info.file), info.header.frame_salt(), info.header.first);
        for (_, mark) in frames.find_marks_beyond()? {
            durable = durable.max(mark.durable);
        }
    }
    Ok(durable)
}

/// Puts aside what follows the end.
fn cut(
    disk: &dyn Disk,
    names: &Names,
    control: &Control,
    files: &[FileInfo],
    end: &End,
    recovery: &mut Recovery,
) -> Result<Place, JournalError> {
    let os = |doing: &'static str, name: &str, error| JournalError::os(doing, name, error);
    // From the last one on, each for good before the one before it, so that none is ever missing in the middle.
    for info in files.iter().skip(end.file + 1).rev() {
        let lost = names.lost(info.header.first, recovery.generation);
        disk.rename(&info.name, &lost).map_err(|error| os("renaming", &info.name, error))?;
        disk.sync().map_err(|error| os("syncing the directory of", &lost, error))?;
        recovery.quarantined.push(lost);
    }
    let info = &files[end.file];
    let file = disk.open(&info.name, Open::Write).map_err(|error| os("opening", &info.name, error))?;
    let torn = names.torn(end.seq, recovery.generation);
    let behind = end.offset..end.offset.saturating_add(TORN_BYTES);
    let kept = keep_torn(disk, &*file, &info.header, behind, &torn).map_err(|error| {
        let wanted_bytes = file.len().unwrap_or(0).saturating_sub(end.offset);
        JournalError::disk("keeping the torn end of", &info.name, wanted_bytes, error)
    })?;
    if let Some(bytes) = kept {
        recovery.torn_bytes = bytes;
        recovery.quarantined.push(torn);
    }
    cut_marks(disk, names, &info.header, end.seq)?;
    if end.seq == info.header.first && end.has_cursors {
        // Cursors are in it, and nowhere else. No other file can have its name, so what comes next goes on in it.
        // Whole pages, as below: it may have been lengthened.
        let len_bytes = control.file_bytes.max(end.offset.next_multiple_of(BLOCK_BYTES));
        let cut = file.truncate(end.offset).and_then(|()| file.allocate(len_bytes));
        cut.map_err(|error| os("cutting", &info.name, error))?;
        file.sync().map_err(|error| os("syncing", &info.name, error))?;
        return Ok(Place { seq: end.seq, file: info.header.first, offset: end.offset });
    }
    if end.seq == info.header.first {
        // Nothing is in it, and the next file gets its name.
        disk.remove(&info.name).map_err(|error| os("removing", &info.name, error))?;
        disk.sync().map_err(|error| os("syncing the directory of", &info.name, error))?;
        return Ok(Place { seq: end.seq, file: info.header.previous, offset: Place::FULL });
    }
    // Whole pages, so that it can be mapped; what is behind the end reads as zeroes.
    let cut = file.truncate(end.offset).and_then(|()| file.truncate(end.offset.next_multiple_of(BLOCK_BYTES)));
    cut.map_err(|error| os("cutting", &info.name, error))?;
    file.sync().map_err(|error| os("syncing", &info.name, error))?;
    Ok(Place { seq: end.seq, file: info.header.first, offset: Place::FULL })
}
