//! The parent: makes the log, starts the workers, publishes, and reports.

use crate::args::{Args, Pages};
use crate::crew::Crew;
use crate::feed::Feed;
use crate::progress::Progress;
use crate::publish::publish;
use crate::report::Report;
use crate::stamp::record_bytes;
use anyhow::{Context, Result};
use shmlog::{Log, LogBuilder};
use std::path::Path;
use tempfile::TempDir;

const WINDOW_BYTES: u64 = 2 << 20;
/// What the end of a window may lack to hold one more record, and what rounding takes, in records.
const SPARE_RECORDS: u64 = 64;

/// Runs it all and prints the summary.
///
/// # Errors
/// Anything that keeps the feed from being published whole, or workers that failed or disagree.
pub fn run(args: &Args) -> Result<()> {
    let progress = Progress::new(!args.json);
    progress.step("preparing the feed");
    let feed = match &args.input {
        Some(path) => Feed::load(path)?,
        None => Feed::generate(args.seed, args.messages),
    };
    progress.step("making the log");
    let (log, _draft) = create(args, &feed).context("making the log")?;
    let appender = log.exclusive_named("publisher")?;
    let (crew, late) = Crew::start(&log, args, &progress);
    crew.wait_ready();
    progress.count(feed.len(), "publishing");
    let is_paced = args.rate.is_some();
    let at_half = move || {
        let joined = late.start();
        // The rest would be out before a process can start.
        if !is_paced {
            joined.wait();
        }
    };
    let published = publish(appender, &feed, args.rate, at_half, &progress);
    progress.count(published.messages, "workers are reading");
    let workers = crew.finish(|| progress.at(slowest(&log).unwrap_or(published.messages)));
    progress.clear();
    let report = Report { feed_fault: feed.fault(), published, is_paced, log: log.info(), workers };
    if args.json {
        println!("{}", report.to_json());
    } else {
        println!("{report}");
    }
    report.verdict()
}

/// Makes a log that holds the whole feed, unless told otherwise; and a directory to remove in the end.
fn create(args: &Args, feed: &Feed) -> Result<(Log, Option<TempDir>)> {
    let slot_bytes = 8 + record_bytes(feed.longest_bytes()).next_multiple_of(8) as u64;
    let windows = match args.size {
        Some(mib) => (mib << 20) / WINDOW_BYTES,
        None => 2 + feed.len() / (WINDOW_BYTES / slot_bytes - SPARE_RECORDS),
    };
    let builder = Log::builder()
        .windows(windows)
        .window_bytes(WINDOW_BYTES)
        .record_bytes(slot_bytes - 8)
        .retention(args.retention.into());
    match &args.pages {
        Pages::Memory(huge_pages) => Ok((builder.huge_pages(*huge_pages).create_memfd("market")?, None)),
        Pages::File => create_file(&builder),
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

/// Where the slowest reader is.
fn slowest(log: &Log) -> Option<u64> {
    log.info().participants.iter().filter_map(|participant| participant.position).min()
}
