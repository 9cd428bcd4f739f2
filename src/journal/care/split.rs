//! What a repair makes of a damaged file: two, and headers that are written anew.

use crate::journal::cursors::CursorTable;
use crate::journal::files::names::Names;
use crate::journal::format::frame::{FrameKind, HEAD_BYTES, MARK_BYTES, encode};
use crate::journal::format::header::Header;
use crate::journal::format::{BLOCK, BLOCK_BYTES};
use crate::sys::disk::{Disk, DiskFile, Open};
use std::io;
use std::sync::Arc;

/// Where the second copy of a header is that was written anew.
const COPY: usize = BLOCK / 2;
/// Bytes that are moved at a time.
const STEP_BYTES: usize = 1 << 20;

/// A file that can't be read on.
pub(crate) struct Damage<'f> {
    pub(crate) header: &'f Header,
    pub(crate) file: &'f dyn DiskFile,
    /// The record that is not there, and where it should be.
    pub(crate) seq: u64,
    pub(crate) offset: u64,
}

impl Damage<'_> {
    /// Makes a file of what is sound behind the damage: from the mark at `resume` on, before record `first`. The salt
    /// stays, so that its frames are what they were. Like every file it begins with a mark and the cursors. When it has its
    /// name, all of it is there for good.
    pub(crate) fn split(
        &self,
        disk: &dyn Disk,
        names: &Names,
        resume: u64,
        first: u64,
        cursors: &CursorTable,
    ) -> io::Result<()> {
        let draft = names.spare_draft();
        let behind = disk.open(&draft, Open::Create)?;
        let header = Header { first, previous: self.header.first, missing: first - self.seq, ..*self.header };
        let header = if first == self.header.first { *self.header } else { header };
        let mut lead = vec![0; HEAD_BYTES + MARK_BYTES];
        let mut from = resume + self.file.read_at(&mut lead, resume)? as u64;
        encode(&mut lead, header.frame_salt(), FrameKind::Cursors, first, &cursors.encode(first));
        behind.write_at(&header.encode(), 0)?;
        behind.write_at(&lead, BLOCK_BYTES)?;
        let (mut bytes, mut to) = (vec![0; STEP_BYTES], BLOCK_BYTES + lead.len() as u64);
        loop {
            let found = self.file.read_at(&mut bytes, from)?;
            if found == 0 {
                break;
            }
            behind.write_at(&bytes[..found], to)?;
            from += found as u64;
            to += found as u64;
        }
        behind.truncate(to.next_multiple_of(BLOCK_BYTES))?;
        behind.sync()?;
        disk.rename(&draft, &names.log(first))?;
        disk.sync()
    }

    /// Leaves of the file what is before the damage; nothing, if that is no record.
    pub(crate) fn cut(&self, disk: &dyn Disk, names: &Names) -> io::Result<()> {
        if self.seq == self.header.first {
            return disk.remove(&names.log(self.seq)).and_then(|()| disk.sync());
        }
        self.file.truncate(self.offset)?;
        self.file.truncate(self.offset.next_multiple_of(BLOCK_BYTES))?;
        self.file.sync()
    }
}

/// A file of records and its header, whichever journal it is of; and whether the header was found at the second place
/// only.
pub(crate) fn open_any(disk: &dyn Disk, names: &Names, first: u64) -> io::Result<(Header, Arc<dyn DiskFile>, bool)> {
    let file = disk.open(&names.log(first), Open::Write)?;
    let mut block = vec![0; BLOCK];
    file.read_at(&mut block, 0)?;
    let at = |from: usize| Header::decode(&block[from..]).ok().filter(|header| header.first == first);
    let (header, is_spoilt) = match at(0) {
        Some(header) => (header, false),
        None => (at(COPY).ok_or(io::ErrorKind::InvalidData)?, true),
    };
    Ok((header, file, is_spoilt))
}

/// Writes a header anew, in a file that has its name: first beside the one that is there, so that one of both is whole.
pub(crate) fn write_header(file: &dyn DiskFile, header: &Header) -> io::Result<()> {
    let block = header.encode();
    for at in [COPY as u64, 0] {
        file.write_at(&block[..COPY], at)?;
        file.sync()?;
    }
    Ok(())
}
