//! What the parent makes in shared memory: the log of the feed, and the owner's two snapshots.

use crate::args::{Args, Pages};
use crate::board::Top;
use crate::feed::Feed;
use crate::stamp::record_bytes;
use anyhow::{Context, Result};
use shmlog::{Log, LogBuilder, Snapshot};
use std::path::Path;
use tempfile::TempDir;

const WINDOW_BYTES: u64 = 2 << 20;
/// What the end of a window may lack to hold one more record, and what rounding takes, in records.
const SPARE_RECORDS: u64 = 64;
/// Room for forty million orders; memory is taken for those there are.
const BOOKS_BYTES: u64 = 1 << 30;
/// The owner's books are published as often as this in the whole feed.
const STATES: u64 = 16;
const STATE_EVERY_MIN: u64 = 1000;

/// See the module.
#[derive(Debug)]
pub struct Regions {
    pub log: Log,
    /// The board: a [`Top`] for each stock locate.
    pub tops: Snapshot,
    /// The books of all symbols, in one slot.
    pub books: Snapshot,
    /// Records between two publications of the books.
    pub every: u64,
    _draft: Option<TempDir>,
}

impl Regions {
    /// Makes them for a feed. The log holds all of it, unless told otherwise.
    pub fn create(args: &Args, feed: &Feed) -> Result<Self> {
        let slot_bytes = 8 + record_bytes(feed.longest_bytes()).next_multiple_of(8) as u64;
        let per_window = WINDOW_BYTES / slot_bytes - SPARE_RECORDS;
        let windows = match args.size {
            Some(mib) => (mib << 20) / WINDOW_BYTES,
            None => 2 + feed.len() / per_window,
        };
        let builder = Log::builder()
            .windows(windows)
            .window_bytes(WINDOW_BYTES)
            .record_bytes(slot_bytes - 8)
            .retention(args.retention.into());
        let (log, draft) = create_log(&builder, &args.pages).context("making the log")?;
        let board = Snapshot::builder().values::<Top>().buffers(2).slots(feed.locates().max(1) as u64);
        let tops = board.create_memfd("tops").context("making the board of prices")?;
        let books = Snapshot::builder().capacity_bytes(BOOKS_BYTES).sparse(true).buffers(4);
        let books = books.create_memfd("books").context("making the snapshot of the books")?;
        let every = every(args.snapshot_every.map(Into::into), feed.len(), windows * per_window);
        Ok(Self { log, tops, books, every, _draft: draft })
    }
}

/// The log waits for the owner as it does for a gated reader: it must publish well before the log comes
/// round.
fn every(wanted: Option<u64>, messages: u64, log_holds: u64) -> u64 {
    wanted.unwrap_or((messages / STATES).max(STATE_EVERY_MIN)).min(log_holds / 4)
}

/// The log, and a directory to remove in the end.
fn create_log(builder: &LogBuilder, pages: &Pages) -> Result<(Log, Option<TempDir>)> {
    match pages {
        Pages::Memory(huge_pages) => Ok((builder.clone().huge_pages(*huge_pages).create_memfd("market")?, None)),
        Pages::File => create_file(builder),
        Pages::NamedFile(path) => Ok((builder.create_at(path)?, None)),
    }
}

/// A file on tmpfs. It keeps its name while it is passed on: what has none could be an unsealed memfd,
/// and is refused.
fn create_file(builder: &LogBuilder) -> Result<(Log, Option<TempDir>)> {
    let tmpfs = Path::new("/dev/shm");
    let dir = if tmpfs.is_dir() { tmpfs.to_owned() } else { std::env::temp_dir() };
    let dir = tempfile::Builder::new().prefix("market-").tempdir_in(&dir).context(dir.display().to_string())?;
    Ok((builder.create_at(dir.path().join("feed"))?, Some(dir)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_books_are_published_before_the_log_comes_round() {
        assert_eq!(every(None, 1_000_000, 2_000_000), 62_500);
        assert_eq!(every(None, 92_000, 200_000), 5_750);
        assert_eq!(every(None, 10, 200_000), 1000);
        assert_eq!(every(None, 1_000_000, 60_000), 15_000);
        assert_eq!(every(Some(100), 1_000_000, 60_000), 100);
        assert_eq!(every(Some(1_000_000), 1_000_000, 60_000), 15_000);
    }
}
