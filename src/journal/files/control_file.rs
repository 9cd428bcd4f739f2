//! The control file: read, made, written.

use crate::error::JournalError;
use crate::journal::files;
use crate::journal::files::names::Names;
use crate::journal::format::control::{CONTROL_BYTES, Control};
use crate::journal::format::{JOURNAL_VERSION, Unfit};
use crate::sys::disk::{Disk, Open};
use std::io;

/// Makes the control file, with turn 1.
pub(crate) fn make_control(disk: &dyn Disk, names: &Names, control: &Control) -> Result<(), JournalError> {
    let (draft, name) = (names.control_draft(), names.control());
    let make = || -> io::Result<()> {
        let file = disk.open(&draft, Open::Create)?;
        file.allocate(CONTROL_BYTES as u64)?;
        let (at, bytes) = control.encode(1);
        file.write_at(&bytes, at)?;
        file.sync()?;
        disk.rename(&draft, &name)?;
        disk.sync()
    };
    make().map_err(|error| JournalError::disk("making", &name, CONTROL_BYTES as u64, error))
}

/// Reads the control file, and its turn. `None`: there is no journal.
pub(crate) fn read_control(disk: &dyn Disk, names: &Names) -> Result<Option<(Control, u64)>, JournalError> {
    let name = names.control();
    let os = |error| JournalError::os("reading", &name, error);
    let file = match disk.open(&name, Open::Read) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return match files::firsts(disk, names).map_err(os)?.is_empty() {
                true => Ok(None),
                false => Err(JournalError::Control { file: name.clone() }),
            };
        }
        Err(error) => return Err(JournalError::os("opening", &name, error)),
    };
    let mut bytes = vec![0; CONTROL_BYTES];
    let found = file.read_at(&mut bytes, 0).map_err(os)?;
    match Control::decode(&bytes[..found]) {
        Ok(found) => Ok(Some(found)),
        Err(Unfit::Version(found)) => Err(JournalError::Version { file: name, found, known: JOURNAL_VERSION }),
        Err(Unfit::Foreign | Unfit::Damaged) => Err(JournalError::Control { file: name }),
    }
}

/// Reads the control file as it is on the disk, to be written anew. After a failed write the kernel's cache may have a
/// copy that the disk has not, and the next turn would be written over the only good one.
pub(crate) fn reread_control(disk: &dyn Disk, names: &Names) -> Result<Option<(Control, u64)>, JournalError> {
    if let Ok(file) = disk.open(&names.control(), Open::Write) {
        let forgotten = file.sync().and_then(|()| file.forget_cache());
        forgotten.map_err(|error| JournalError::os("rereading", names.control(), error))?;
    }
    read_control(disk, names)
}

/// Writes the control file of turn `turn`. By the holder of the open lock, or of the flush lock.
pub(crate) fn write_control(disk: &dyn Disk, names: &Names, control: &Control, turn: u64) -> Result<(), JournalError> {
    let name = names.control();
    let write = || -> io::Result<()> {
        let file = disk.open(&name, Open::Write)?;
        let (at, bytes) = control.encode(turn);
        file.write_at(&bytes, at)?;
        file.sync()
    };
    write().map_err(|error| JournalError::disk("writing", &name, CONTROL_BYTES as u64, error))
}
