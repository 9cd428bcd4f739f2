//! What recovery, closing and repairing do with whole files of marks.

use super::{Marks, encode_marks, encode_seal};
use crate::error::JournalError;
use crate::journal::files::names::Names;
use crate::journal::format::frame::Salt;
use crate::journal::format::header::Header;
use crate::sys::disk::{Disk, Open};
use std::io;

/// Makes the file of marks of a file of records.
fn write_marks(disk: &dyn Disk, names: &Names, first: u64, salt: Salt, marks: &[u32]) -> Result<(), JournalError> {
    let (draft, name) = (names.marks_draft(), names.marks(first));
    // It gets its name when all of it is durable.
    let mut frames = encode_marks(salt, first, marks, |at| at);
    let seal = encode_seal(salt, first, frames.len() as u64);
    frames.extend(seal);
    let write = || -> io::Result<()> {
        let file = disk.open(&draft, Open::Create)?;
        file.write_at(&frames, 0)?;
        file.sync()?;
        disk.rename(&draft, &name)?;
        disk.sync()
    };
    write().map_err(|error| JournalError::disk("making", &name, frames.len() as u64, error))
}

/// Whether all records of a file, up to the one before `next`, are deleted.
pub(crate) fn are_all_deleted(
    disk: &dyn Disk,
    names: &Names,
    header: &Header,
    next: u64,
) -> Result<bool, JournalError> {
    // A header may say anything of how many records are missing.
    let Some(count) = next.checked_sub(header.first) else { return Ok(false) };
    Ok(Marks::load(disk, names, header)?.is_some_and(|marks| marks.count_below(count) == count))
}

/// Gives the marks of the records from `first` on to the file that begins there and has the same salt.
pub(crate) fn move_marks(disk: &dyn Disk, names: &Names, header: &Header, first: u64) -> Result<(), JournalError> {
    let Some(marks) = Marks::load(disk, names, header)? else { return Ok(()) };
    write_marks(disk, names, first, marks.salt, &marks.list(first - header.first, u64::MAX))
}

/// Takes back the marks of records from `end` on, which are not there any more: others will have their numbers.
pub(crate) fn cut_marks(disk: &dyn Disk, names: &Names, header: &Header, end: u64) -> Result<(), JournalError> {
    let Some(marks) = Marks::load(disk, names, header)? else { return Ok(()) };
    let count = end - header.first;
    if marks.last().is_none_or(|last| last < count) {
        return Ok(());
    }
    write_marks(disk, names, header.first, marks.salt, &marks.list(0, count))
}

/// Makes durable the marks of these files of records, which end before `end`, and cuts off half of one. Changes nothing if
/// any are damaged.
pub(crate) fn settle_marks<'h>(
    disk: &dyn Disk,
    names: &Names,
    headers: impl Iterator<Item = &'h Header>,
    end: u64,
) -> Result<(), JournalError> {
    let mut all = Vec::new();
    for header in headers {
        all.extend(Marks::find(disk, names, header, Open::Write)?);
    }
    all.iter_mut().try_for_each(Marks::settle)?;
    for marks in &mut all {
        marks.cut().map_err(|error| marks.os("cutting", error))?;
        // Marks of records that are not there any more are no good yet.
        if marks.last().is_none_or(|last| marks.first.saturating_add(last) < end) {
            marks.seal().map_err(|error| marks.os("sealing", error))?;
        }
    }
    Ok(())
}

/// The same for one file, when a journal is closed: nothing is to be done if it was sealed before, and is settled since.
pub(crate) fn seal_marks(
    disk: &dyn Disk,
    names: &Names,
    header: &Header,
    is_settled: bool,
) -> Result<(), JournalError> {
    let Some(mut marks) = Marks::find(disk, names, header, Open::Write)? else { return Ok(()) };
    if is_settled && marks.ends_sealed().map_err(|error| marks.os("reading", error))? {
        return Ok(());
    }
    marks.settle()?;
    marks.cut().and_then(|()| marks.seal()).map_err(|error| marks.os("sealing", error))
}

/// Makes a damaged file of marks anew, of those that can be read. Returns the name of a copy of what it was.
pub(crate) fn mend_marks(
    disk: &dyn Disk,
    names: &Names,
    header: &Header,
    generation: u64,
) -> Result<Option<String>, JournalError> {
    let Some(mut marks) = Marks::find(disk, names, header, Open::Read)? else { return Ok(None) };
    match marks.read() {
        Ok(()) => return Ok(None),
        Err(JournalError::MarksDamaged { .. }) => {}
        Err(error) => return Err(error),
    }
    let mut beyond = Vec::new();
    marks.each_beyond(|payload| beyond.push(payload.to_vec())).map_err(|error| marks.os("reading", error))?;
    for payload in beyond {
        marks.take(&payload);
    }
    let aside = names.lost_marks(header.first, generation);
    let copy = || -> io::Result<()> {
        let mut bytes = vec![0; usize::try_from(marks.file.len()?).unwrap_or(0)];
        let found = marks.file.read_at(&mut bytes, 0)?;
        let copy = disk.open(&aside, Open::Create)?;
        copy.write_at(&bytes[..found], 0)?;
        copy.sync()?;
        disk.sync()
    };
    copy().map_err(|error| JournalError::disk("putting aside", &aside, 0, error))?;
    write_marks(disk, names, header.first, marks.salt, &marks.list(0, u64::MAX))?;
    Ok(Some(aside))
}
