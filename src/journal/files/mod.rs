//! The files of records in a directory.

pub(crate) mod control_file;
pub(crate) mod index;
pub(crate) mod marks;
pub(crate) mod names;

use crate::error::JournalError;
use crate::journal::files::names::Names;
use crate::journal::format::header::Header;
use crate::journal::format::{BLOCK, JOURNAL_VERSION, Unfit};
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::Journal;
    use crate::journal::files::control_file::read_control;
    use crate::journal::format::frame::{FrameKind, MARK_BYTES, Mark, encode, frame_bytes};
    use crate::journal::format::{BLOCK_BYTES, MAX_SEQ};
    use crate::log::Start;
    use crate::sys::disk::NativeDisk;

    /// A mark before record `seq`, and some records.
    fn frames(header: &Header, seq: u64) -> Vec<u8> {
        let (salt, mut frames) = (header.frame_salt(), vec![0; frame_bytes(MARK_BYTES)]);
        Mark { seq, durable: seq, unix_ns: 1 }.encode_into(&mut frames, salt);
        for seq in (0..4).filter_map(|count| seq.checked_add(count)) {
            encode(&mut frames, salt, FrameKind::Record, seq, b"one too many");
        }
        frames
    }

    /// The story: a file in the directory had a name near the highest number there is, or said such numbers. Who counted on
    /// from there overflowed, which is a panic in debug builds.
    #[test]
    fn numbers_that_no_journal_has_are_passed_over() {
        let dir = tempfile::tempdir().unwrap();
        let builder = Journal::builder().file_bytes(64 << 10).thread(false);
        builder.open(dir.path()).unwrap().appender().unwrap().append_durable(b"one").unwrap();
        let (disk, names) = (NativeDisk::open(dir.path(), 0o600).unwrap(), Names::new(""));
        let id = read_control(&disk, &names).unwrap().unwrap().0.id;
        let header = open(&disk, &names, id, 0).unwrap().header;
        for first in [MAX_SEQ + 1, u64::MAX - 2, u64::MAX] {
            let file = disk.open(&names.log(first), Open::Create).unwrap();
            file.write_at(&Header { first, durable: first, missing: 7, ..header }.encode(), 0).unwrap();
            file.write_at(&frames(&header, first), BLOCK_BYTES).unwrap();
            disk.open(&names.marks(first), Open::Create).unwrap().write_at(&frames(&header, first), 0).unwrap();
        }
        // Behind the end of the records.
        disk.open(&names.log(0), Open::Write).unwrap().write_at(&frames(&header, u64::MAX - 2), 32 << 10).unwrap();
        for round in 1..4 {
            let found = Journal::verify(dir.path(), "", |_| {}).unwrap();
            assert_eq!((found.end, found.problems), (round, vec![]));
            let looking = Journal::open_read_only(dir.path()).unwrap();
            assert_eq!(looking.next_seq(), round);
            let journal = builder.open(dir.path()).unwrap();
            journal.appender().unwrap().append_durable(b"more").unwrap();
            let mut reader = journal.reader(Start::Oldest).unwrap();
            (0..=round).for_each(|seq| assert_eq!(reader.try_next().unwrap().unwrap().seq(), seq));
            assert!(matches!(reader.try_next(), Ok(None)));
            while journal.core().index_ahead().unwrap() {}
            drop(reader);
            journal.close().unwrap();
            let repaired = Journal::repair(dir.path(), "").unwrap();
            assert!(repaired.lost.is_empty() && repaired.aside.is_empty());
        }
        disk.remove(&names.control()).unwrap();
        assert!(Journal::repair(dir.path(), "").unwrap().made_control);
        assert_eq!(builder.open(dir.path()).unwrap().next_seq(), 4);
    }
}
