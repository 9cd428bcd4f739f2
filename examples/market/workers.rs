//! The workers: each a process that gets what it needs from the parent's hub.

mod late;
mod owner;
mod parent;
mod record;
mod source;
#[cfg(test)]
mod tests;
mod watch;

pub use self::owner::ANCHOR;

use self::owner::Owner;
use self::parent::Parent;
use self::source::Source;
use crate::args::{Args, Role};
use crate::book::Books;
use crate::desk::{BOOKS, FEED, TOPS};
use crate::stamp::now_ns;
use crate::tally::Tally;
use anyhow::{Context, Result};
use hdrhistogram::Histogram;
use serde_json::{Value, json};
use shmlog::{Access, HubClient, Log, Replica};

const HOUR_NS: u64 = 3_600_000_000_000;

/// Does the work of `role` until the log is closed, or the parent is gone and all is read, and tells
/// the parent the result.
///
/// # Errors
/// There is no hub, it refuses, or what is in the log is no feed.
pub fn run(role: Role, args: &Args) -> Result<()> {
    // At its end the hub would take back what the owner owns.
    let mut hub = HubClient::inherited()?;
    work(role, args, &mut hub).with_context(|| role.to_string())
}

fn work(role: Role, args: &Args, hub: &mut HubClient) -> Result<()> {
    let parent = Parent::on_stdin(role)?;
    match role {
        Role::Recorder => record::run(&hub.log(FEED, Access::Read)?, args, parent),
        Role::Watch => watch::run(hub.snapshot(TOPS, Access::Read)?, parent),
        Role::Late => {
            let replica = Replica::new(&hub.log(FEED, Access::Read)?, &hub.snapshot(BOOKS, Access::Read)?);
            late::run(&replica, args.wait, parent)
        }
        Role::Tally => tally(Source::from_start(&hub.log(FEED, Access::Read)?, args.wait, parent)?),
        Role::Book(_) => {
            let log = hub.log(FEED, Access::Read)?;
            let owner = if role == args.owner() { Some(owner(args, hub, &log)?) } else { None };
            let latency = if role == Role::Book(0) { Some(Histogram::new_with_bounds(1, HOUR_NS, 3)?) } else { None };
            let join = if owner.is_some() { Source::pinned_from_start } else { Source::from_start };
            books(join(&log, args.wait, parent)?, owner, latency)
        }
    }
}

fn owner(args: &Args, hub: &mut HubClient, log: &Log) -> Result<Owner> {
    let every = args.snapshot_every.context("the parent says how often to publish")?;
    let tops = hub.snapshot(TOPS, Access::Own)?;
    let books = hub.snapshot(BOOKS, Access::Own)?;
    Owner::new(&tops, &Replica::new(log, &books), every.into())
}

/// Keeps books. The owner publishes them; the first worker measures from publishing a message to
/// having read it.
fn books(mut source: Source, mut owner: Option<Owner>, mut latency: Option<Histogram<u64>>) -> Result<()> {
    let mut books = Books::default();
    source.each(|arrival| {
        if let Some(latency) = &mut latency {
            latency.saturating_record(now_ns().saturating_sub(arrival.published_ns));
        }
        let touched = books.apply(arrival.message);
        match &mut owner {
            Some(owner) => owner.publish(arrival, touched, &books),
            None => Ok(()),
        }
    })?;
    let mut result = books_json(&books);
    if let Some(owner) = owner {
        result["owner"] = owner.to_json(&books);
    }
    if let Some(latency) = latency.filter(|latency| !latency.is_empty()) {
        let at = |quantile| latency.value_at_quantile(quantile);
        result["latency_ns"] = json!({ "p50": at(0.5), "p99": at(0.99), "p999": at(0.999) });
    }
    source.finish(result);
    Ok(())
}

fn tally(mut source: Source) -> Result<()> {
    let mut tally = Tally::default();
    source.each(|arrival| {
        tally.record(arrival.message);
        Ok(())
    })?;
    source.finish(tally.to_json());
    Ok(())
}

fn books_json(books: &Books) -> Value {
    json!({
        "digest": books.digest(),
        "unknown_refs": books.unknown_refs(),
        "executed_shares": books.executed_shares(),
        "live_orders": books.live_orders(),
        "bids_top10": books.bids_top10(),
        "asks_top10": books.asks_top10(),
    })
}
