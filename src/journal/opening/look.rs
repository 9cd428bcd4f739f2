//! What a journal's files hold, found without changing anything: as recovery would find it, if it came now.

use crate::error::JournalError;
use crate::journal::Recovery;
use crate::journal::cursors::CursorTable;
use crate::journal::files::list;
use crate::journal::files::marks::Marks;
use crate::journal::files::names::Names;
use crate::journal::format::control::{Control, Place};
use crate::journal::format::header::NO_FILE;
use crate::journal::opening::recover::{check_chain, closed_cursors, closed_place, find_end, first_retained};
use crate::journal::state::Progress;
use crate::sys::untouched::Untouched;

/// Finds where the records end, and how far they had been durable for sure.
///
/// # Errors
/// As those of recovery.
pub(crate) fn look(
    disk: &Untouched,
    names: &Names,
    control: &Control,
) -> Result<(Progress, Recovery, CursorTable), JournalError> {
    let mut found = Recovery { generation: control.generation, ..Recovery::default() };
    let mut files = list(disk, names, control.id)?;
    files.drain(..first_retained(disk, &files, control.oldest)?);
    check_chain(&files, control.oldest)?;
    let (written, cursors) = match files.last() {
        None if control.durable > control.oldest => {
            let file = names.log(control.oldest);
            return Err(JournalError::FileLost { file, from: control.oldest, to: control.durable });
        }
        None => {
            found.durable = control.oldest;
            found.was_closed = control.closed.is_some_and(|place| place.file == NO_FILE);
            (Place { seq: control.oldest, file: NO_FILE, offset: Place::FULL }, CursorTable::default())
        }
        Some(last) => match closed_place(control, last)? {
            Some(place) => {
                (found.durable, found.was_closed) = (place.seq, true);
                (place, closed_cursors(control, &files)?)
            }
            None => {
                let end = find_end(disk, names, &files, control.durable.max(last.header.durable))?;
                let info = &files[end.file];
                if end.seq < end.durable {
                    let (file, offset) = (info.name.clone(), end.offset);
                    return Err(JournalError::Damaged { file, offset, seq: end.seq, durable: end.durable });
                }
                (found.durable, found.scanned_bytes) = (end.durable, end.scanned_bytes);
                (Place { seq: end.seq, file: info.header.first, offset: end.offset }, end.cursors)
            }
        },
    };
    for info in &files {
        Marks::load(disk, names, &info.header)?;
    }
    found.kept = written.seq;
    // Where in the files that ends, nobody here needs to know.
    let durable = Place { seq: found.durable, ..written };
    Ok((Progress { written, durable }, found, cursors))
}
