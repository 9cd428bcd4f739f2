//! The files of records in a directory.

use crate::error::JournalError;
use crate::journal::format::header::Header;
use crate::journal::format::{BLOCK, JOURNAL_VERSION, Unfit};
use crate::journal::names::Names;
use crate::sys::disk::{Disk, DiskFile, Open};
use std::sync::Arc;

/// One file of records.
#[derive(Clone, Debug)]
pub(crate) struct FileInfo {
    pub(crate) name: String,
    pub(crate) header: Header,
    pub(crate) file: Arc<dyn DiskFile>,
}

/// The first records of the files of records, sorted.
pub(crate) fn firsts(disk: &dyn Disk, names: &Names) -> std::io::Result<Vec<u64>> {
    let mut firsts: Vec<_> = disk.names()?.iter().filter_map(|name| names.first_of(name)).collect();
    firsts.sort_unstable();
    Ok(firsts)
}

/// Opens the file of records that begins at `first`, to be read.
pub(crate) fn open(disk: &dyn Disk, names: &Names, id: u128, first: u64) -> Result<FileInfo, JournalError> {
    let name = names.log(first);
    let file = disk.open(&name, Open::Read).map_err(|error| JournalError::os("opening", &name, error))?;
    let mut block = vec![0; BLOCK];
    file.read_at(&mut block, 0).map_err(|error| JournalError::os("reading", &name, error))?;
    let damaged = |durable| JournalError::Damaged { file: name.clone(), offset: 0, seq: first, durable };
    let header = Header::decode(&block).map_err(|unfit| match unfit {
        Unfit::Version(found) => JournalError::Version { file: name.clone(), found, known: JOURNAL_VERSION },
        Unfit::Foreign | Unfit::Damaged => damaged(first),
    })?;
    if header.first != first || header.id != id {
        return Err(damaged(header.durable));
    }
    Ok(FileInfo { name, header, file })
}

/// All files of records, in order.
pub(crate) fn list(disk: &dyn Disk, names: &Names, id: u128) -> Result<Vec<FileInfo>, JournalError> {
    let firsts = firsts(disk, names).map_err(JournalError::listing)?;
    firsts.into_iter().map(|first| open(disk, names, id, first)).collect()
}
