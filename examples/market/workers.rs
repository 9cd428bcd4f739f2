//! The workers: each a process that got the log over a Unix socket.

mod source;

use self::source::Source;
use crate::args::{Role, Waits};
use crate::book::Books;
use crate::stamp::now_ns;
use crate::tally::Tally;
use anyhow::{Context, Result};
use hdrhistogram::Histogram;
use serde_json::{Value, json};
use shmlog::Log;

const HOUR_NS: u64 = 3_600_000_000_000;

/// Does the work of `role` until the log is closed, or the parent is gone and all is read, and tells
/// the parent the result.
///
/// # Errors
/// No log was passed on, or what is in it is no feed.
pub fn run(role: Role, wait: Waits) -> Result<()> {
    let (log, parent): (Log, _) = shmlog::inherited().with_context(|| role.to_string())?;
    let mut source = Source::join(&log, parent, role, wait)?;
    let result = match role {
        Role::Book(0) => measured_books(&mut source)?,
        Role::Book(_) | Role::Late => books(&mut source)?,
        Role::Tally => tally(&mut source)?,
    };
    source.finish(result)
}

fn books(source: &mut Source) -> Result<Value> {
    let mut books = Books::default();
    source.each(|_, message| books.apply(message))?;
    Ok(books_json(&books))
}

/// Keeps books, and measures from publishing a message to having read it.
fn measured_books(source: &mut Source) -> Result<Value> {
    let mut books = Books::default();
    let mut latency = Histogram::<u64>::new_with_bounds(1, HOUR_NS, 3)?;
    source.each(|published_ns, message| {
        latency.saturating_record(now_ns().saturating_sub(published_ns));
        books.apply(message);
    })?;
    let mut result = books_json(&books);
    if !latency.is_empty() {
        let at = |quantile| latency.value_at_quantile(quantile);
        result["latency_ns"] = json!({ "p50": at(0.5), "p99": at(0.99), "p999": at(0.999) });
    }
    Ok(result)
}

fn tally(source: &mut Source) -> Result<Value> {
    let mut tally = Tally::default();
    source.each(|_, message| tally.record(message))?;
    Ok(tally.to_json())
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
