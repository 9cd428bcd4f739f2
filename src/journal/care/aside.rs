//! Files in which recovery and repair put aside what is of no use to the journal: kept until somebody removes them.

use crate::error::JournalError;
use crate::journal::Journal;
use crate::journal::core::Core;
use crate::sys::disk::Open;
use rustix::fs::fstat;
use std::io;

/// A file that was put aside, as [`Journal::set_aside`] found it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetAside {
    /// Its name in the journal's directory: the record that should have been there, what it is (`torn`: the end of a
    /// file; `lost`: a whole one; `marks`: deletion marks), which recovery or repair put it there.
    pub file: String,
    /// Bytes of the disk that it takes.
    pub disk_bytes: u64,
}

impl Journal {
    /// The files in which recovery and repair put aside what they could not use, by name. Nobody else reads or removes
    /// them.
    ///
    /// # Errors
    /// What the system says.
    pub fn set_aside(&self) -> Result<Vec<SetAside>, JournalError> {
        set_aside(self.core()).map_err(|error| self.core().located(error))
    }

    /// Removes a file that was put aside, for good.
    ///
    /// # Errors
    /// [`JournalError::Os`]: there is none of that name, or what the system says.
    pub fn remove_aside(&self, file: &str) -> Result<(), JournalError> {
        let core = self.core();
        core.check_writable()?;
        let os = |error| core.located(JournalError::os("removing", file, error));
        if !core.names.is_aside(file) {
            let none = "no file that was put aside has this name: `set_aside` tells those that are";
            return Err(os(io::Error::new(io::ErrorKind::NotFound, none)));
        }
        core.disk.remove(file).and_then(|()| core.disk.sync()).map_err(os)
    }
}

fn set_aside(core: &Core) -> Result<Vec<SetAside>, JournalError> {
    let mut names = core.disk.names().map_err(JournalError::listing)?;
    names.retain(|name| core.names.is_aside(name));
    names.sort_unstable();
    let mut found = Vec::new();
    for file in names {
        let stat = core.disk.open(&file, Open::Read).and_then(|file| Ok(fstat(file.fd())?));
        match stat {
            Ok(stat) => {
                found.push(SetAside { file, disk_bytes: u64::try_from(stat.st_blocks).unwrap_or(0) * 512 });
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(JournalError::os("looking at", file, error)),
        }
    }
    Ok(found)
}
