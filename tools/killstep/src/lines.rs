//! Words of a segment that no handle shows: how much of its arena is handed out, and what is committed; as
//! `ARCHITECTURE.md` draws them.

use anyhow::{Context, Result};
use std::fs::{File, read_dir, read_link};
use std::os::unix::fs::FileExt;

const PAGE_BYTES: u64 = 4096;
const LINES_BITS: u32 = 22;
const INDEX_OFFSET: u64 = 128;
const TAG_SHIFT: u32 = 50;
const TAGS: u64 = 16_383;

/// The region of a log that this process has open.
#[derive(Debug)]
pub(crate) struct Lines {
    region: File,
    windows: u64,
    window_bytes: u64,
}

impl Lines {
    /// Of the memfd log of this name.
    pub(crate) fn of(name: &str, windows: u64, window_bytes: u64) -> Result<Self> {
        let target = format!("/memfd:shmlog:{name}:log (deleted)");
        let mut open = read_dir("/proc/self/fd")?.filter_map(Result::ok).map(|entry| entry.path());
        let path = open.find(|path| read_link(path).is_ok_and(|link| link.as_os_str() == target.as_str()));
        Ok(Self { region: File::open(path.context("the log's descriptor")?)?, windows, window_bytes })
    }

    fn word(&self, segment: u64, offset: u64) -> Result<u64> {
        let first_window = (PAGE_BYTES + 8 * self.windows).next_multiple_of(PAGE_BYTES);
        let mut word = [0; 8];
        self.region.read_exact_at(&mut word, first_window + segment % self.windows * self.window_bytes + offset)?;
        Ok(u64::from_le_bytes(word))
    }

    /// Lines handed out of a segment; none before it is opened.
    pub(crate) fn used(&self, segment: u64) -> Result<u64> {
        let word = self.word(segment, 0)?;
        let is_open = word >> LINES_BITS == segment / self.windows + 1;
        Ok(if is_open { word & ((1 << LINES_BITS) - 1) } else { 0 })
    }

    /// Whether there is a record or a close at this position of a segment.
    pub(crate) fn is_committed(&self, segment: u64, position: u64) -> Result<bool> {
        let lap = segment / self.windows + 1;
        let tag = self.word(segment, INDEX_OFFSET + 8 * position)? >> TAG_SHIFT;
        Ok(tag == 1 + lap % TAGS)
    }
}
