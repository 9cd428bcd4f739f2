//! What came of it, for programs and (see `summary`) for people.

mod late;
mod prices;
mod recording;
mod summary;

use crate::args::Role;
use crate::crew::{Fate, Outcome};
use crate::feed::FeedFault;
use crate::publish::Published;
use crate::recorder::Recording;
use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use shmlog::LogInfo;
use std::path::PathBuf;
use std::time::Duration;

/// What all fields of the summary are computed from.
#[derive(Debug)]
pub struct Report {
    pub feed_fault: Option<FeedFault>,
    pub published: Published,
    pub is_paced: bool,
    pub log: LogInfo,
    /// The worker that published its books.
    pub owner: Role,
    pub workers: Vec<Outcome>,
    pub recording: Option<Recording>,
    /// Where the feed was recorded.
    pub replayed: Option<PathBuf>,
}

impl Report {
    /// One object; what no worker that read the whole feed could tell is null.
    pub fn to_json(&self) -> Value {
        let null = Value::Null;
        let (tally, books) = (self.tally().unwrap_or(&null), self.books().unwrap_or(&null));
        json!({
            "messages": self.published.messages,
            "by_type": tally["by_type"],
            "executed_shares": if tally.is_null() { &books["executed_shares"] } else { &tally["executed_shares"] },
            "trade_P_shares": tally["trade_P_shares"],
            "unknown_refs": books["unknown_refs"],
            "live_orders": books["live_orders"],
            "bids_top10": books["bids_top10"],
            "asks_top10": books["asks_top10"],
            "messages_per_s": per_second(self.published.messages, self.published.elapsed),
            "latency_ns": self.latency().unwrap_or(&null),
            "late": self.late_json(),
            "watch": self.watch_json(),
            "owner": self.owner_json(),
            "backing": self.log.backing.to_string(),
            "log_bytes": self.log.region_bytes,
            "retention": format!("{:?}", self.log.retention).to_lowercase(),
            "agree": self.agree(),
            "journal": self.recording_json(),
            "replay": self.replay_json(),
            "workers": self.workers.iter().map(worker_json).collect::<Vec<_>>(),
            "error": self.verdict().err().map(|error| format!("{error:#}")),
        })
    }

    /// Whether the feed was published whole and the workers did their work. A worker that was killed
    /// is no failure.
    pub fn verdict(&self) -> Result<()> {
        let published = || format!("ended after {} messages, which stay readable", self.published.messages);
        if let Some(fault) = &self.published.fault {
            return Err(fault.clone()).with_context(published);
        }
        if let Some(fault) = self.feed_fault {
            return Err(fault).with_context(published);
        }
        for worker in &self.workers {
            if let Fate::Failed { why } = &worker.fate {
                bail!("{} failed: {why}", worker.role);
            }
        }
        if self.agree() == Some(false) {
            bail!("the workers disagree");
        }
        self.recording.as_ref().map_or(Ok(()), Recording::verdict)
    }

    /// Whether all who read the whole feed agree on it, and who watched the prices agrees with their
    /// owner; `None` if fewer than two read it.
    fn agree(&self) -> Option<bool> {
        if self.watch_equal() == Some(false) {
            return Some(false);
        }
        let read_all: Vec<_> = self.workers.iter().filter_map(|worker| self.whole(worker)).collect();
        let agree_on = |field: &str| {
            let mut said = read_all.iter().filter_map(|result| result.get(field));
            let first = said.next();
            said.all(|other| Some(other) == first)
        };
        (read_all.len() > 1).then(|| agree_on("digest") && agree_on("unknown_refs") && agree_on("executed_shares"))
    }

    fn worker(&self, role: Role) -> Option<&Outcome> {
        self.workers.iter().find(|worker| worker.role == role)
    }

    fn tally(&self) -> Option<&Value> {
        self.first_whole(|role| role == Role::Tally)
    }

    fn books(&self) -> Option<&Value> {
        self.first_whole(Role::keeps_books)
    }

    /// As measured; also if not the whole feed was read.
    fn latency(&self) -> Option<&Value> {
        self.workers.iter().find_map(|worker| worker.result.as_ref()?.get("latency_ns"))
    }

    fn first_whole(&self, is_wanted: impl Fn(Role) -> bool) -> Option<&Value> {
        self.workers.iter().filter(|worker| is_wanted(worker.role)).find_map(|worker| self.whole(worker))
    }

    /// The result of a worker that read every message that was not in what it began with.
    fn whole<'w>(&self, worker: &'w Outcome) -> Option<&'w Value> {
        let result = worker.result.as_ref().filter(|_| worker.fate == Fate::Done)?;
        let known = worker.read_before()? + result["records"].as_u64()?;
        (known == self.published.messages && result["missed"] == 0).then_some(result)
    }
}

fn worker_json(worker: &Outcome) -> Value {
    let result = worker.result.as_ref().unwrap_or(&Value::Null);
    json!({
        "role": worker.role.to_string(),
        "pid": worker.pid,
        "outcome": worker.fate.to_string(),
        "records": result["records"],
        "missed": result["missed"],
        "digest": result["digest"],
        "messages_per_s": worker_rate(worker),
    })
}

/// Messages a second from the worker's first to its last.
fn worker_rate(worker: &Outcome) -> Option<u64> {
    let result = worker.result.as_ref()?;
    Some(per_second(result["records"].as_u64()?, Duration::from_nanos(result["busy_ns"].as_u64()?)))
}

fn per_second(messages: u64, elapsed: Duration) -> u64 {
    let per_second = u128::from(messages) * 1_000_000_000 / elapsed.as_nanos().max(1);
    u64::try_from(per_second).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
