//! The parent: makes the regions, starts the hub and the workers, publishes, and reports.

use crate::args::Args;
use crate::crew::Crew;
use crate::desk::Desk;
use crate::feed::Feed;
use crate::gate::Gate;
use crate::progress::Progress;
use crate::publish::publish;
use crate::recorder::Recorder;
use crate::regions::Regions;
use crate::report::Report;
use crate::workers::ANCHOR;
use anyhow::Result;
use shmlog::{Log, SnapshotReader};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long the owner may take to publish its first books.
const PATIENCE: Duration = Duration::from_secs(10);
/// How often to look whether the owner lives.
const TICK: Duration = Duration::from_millis(100);

/// Runs it all and prints the summary.
///
/// # Errors
/// Anything that keeps the feed from being published whole, or workers that failed or disagree.
pub fn run(args: &Args) -> Result<()> {
    let progress = Progress::new(!args.json);
    progress.step("preparing the feed");
    let feed = match (&args.input, &args.replay) {
        (Some(path), _) => Feed::load(path)?,
        (None, Some(dir)) => Feed::recorded(dir)?,
        (None, None) => Feed::generate(args.seed, args.messages),
    };
    progress.step("making the log");
    let regions = Regions::create(args, &feed)?;
    let appender = regions.log.exclusive_named("publisher")?;
    let desk = Arc::new(Desk::open(&regions, args.owner())?);
    let recorder = Recorder::start(&desk, args, &regions.log, &progress)?;
    let (crew, late, owner_ended) = Crew::start(&desk, args, regions.every, &progress);
    crew.wait_ready();
    if let Some(recorder) = &recorder {
        recorder.wait_ready();
    }
    progress.count(feed.len(), "publishing");
    let is_paced = args.rate.is_some();
    let states = regions.books.reader()?;
    let has_state = feed.len() / 2 >= regions.every;
    let at_half = move || {
        // Without a pace the rest would be out before a process can start.
        if !is_paced && has_state {
            wait_for_state(&states, &owner_ended);
        }
        let joined = late.start();
        if !is_paced {
            joined.wait();
        }
    };
    let published = publish(appender, feed.play()?, args.rate, at_half, &progress);
    progress.count(published.messages, "workers are reading");
    let workers = crew.finish(|| progress.at(slowest(&regions.log).unwrap_or(published.messages)));
    let recording = recorder.map(|recorder| recorder.finish(&feed, published.messages)).transpose()?;
    progress.clear();
    let replayed = args.replay.clone();
    let (owner, log) = (args.owner(), regions.log.info());
    let report = Report { feed_fault: feed.fault(), published, is_paced, log, owner, workers, recording, replayed };
    if args.json {
        println!("{}", report.to_json());
    } else {
        println!("{report}");
    }
    report.verdict()
}

/// Waits until the owner has published its books, or will not.
fn wait_for_state(states: &SnapshotReader, owner_ended: &Gate) {
    let started = Instant::now();
    while !owner_ended.is_open() && started.elapsed() < PATIENCE && !states.wait_newer(0, TICK) {}
}

/// Where the slowest reader is.
fn slowest(log: &Log) -> Option<u64> {
    let readers = log.info().participants.into_iter().filter(|participant| participant.who.name() != ANCHOR);
    readers.filter_map(|reader| reader.position).min()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gate::gate;
    use shmlog::Snapshot;

    #[test]
    fn a_state_is_waited_for_as_long_as_there_is_an_owner() {
        let books = Snapshot::builder().create_memfd("books").unwrap();
        let (owner, ended) = gate();
        let waiting = std::thread::spawn({
            let states = books.reader().unwrap();
            move || {
                wait_for_state(&states, &ended);
                (states.version() > 0, ended)
            }
        });
        books.writer().unwrap().publish(&1_u64).unwrap();
        let (is_published, ended) = waiting.join().unwrap();
        assert!(is_published);
        drop(owner);
        let never = Snapshot::builder().create_memfd("books").unwrap();
        wait_for_state(&never.reader().unwrap(), &ended);
    }
}
