//! What came of it, for programs and (see `summary`) for people.

mod summary;

use crate::args::Role;
use crate::crew::{Fate, Outcome};
use crate::itch::frames::FrameError;
use crate::publish::Published;
use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use shmlog::LogInfo;
use std::time::Duration;

/// What all fields of the summary are computed from.
#[derive(Debug)]
pub struct Report {
    pub feed_fault: Option<FrameError>,
    pub published: Published,
    pub is_paced: bool,
    pub log: LogInfo,
    pub workers: Vec<Outcome>,
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
            "backing": self.log.backing.to_string(),
            "log_bytes": self.log.region_bytes,
            "retention": format!("{:?}", self.log.retention).to_lowercase(),
            "agree": self.agree(),
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
        Ok(())
    }

    /// Whether all who read the whole feed agree on it; `None` if fewer than two did.
    fn agree(&self) -> Option<bool> {
        let read_all: Vec<_> = self.workers.iter().filter_map(|worker| self.whole(worker)).collect();
        let agree_on = |field: &str| {
            let mut said = read_all.iter().filter_map(|result| result.get(field));
            let first = said.next();
            said.all(|other| Some(other) == first)
        };
        (read_all.len() > 1).then(|| agree_on("digest") && agree_on("unknown_refs") && agree_on("executed_shares"))
    }

    /// Whether the late worker has the same books as one that was there from the start.
    fn late_state_equal(&self) -> Option<bool> {
        let late = self.whole(self.late()?)?;
        let other = self.first_whole(|role| matches!(role, Role::Book(_)))?;
        Some(late["digest"] == other["digest"] && late["unknown_refs"] == other["unknown_refs"])
    }

    /// Why the late worker's books can't be compared.
    fn late_note(&self) -> Option<&'static str> {
        let late = self.late()?;
        match (&late.fate, &late.joined) {
            (Fate::Killed { .. } | Fate::Failed { .. }, _) => Some("not possible: it did not end"),
            (_, Some(joined)) if joined["from_seq"] != 0 => {
                Some("not possible: record 0 was gone, it joined at the oldest")
            }
            _ if self.whole(late).is_none() => Some("not possible: it missed records"),
            _ if self.late_state_equal().is_none() => Some("not possible: no other books of the whole feed"),
            _ => None,
        }
    }

    fn late_json(&self) -> Value {
        let joined = self.late().and_then(|late| late.joined.as_ref()).unwrap_or(&Value::Null);
        json!({
            "joined_at_seq": joined["joined_at_seq"],
            "from_seq": joined["from_seq"],
            "state_equal": self.late_state_equal(),
            "note": self.late_note(),
        })
    }

    fn late(&self) -> Option<&Outcome> {
        self.workers.iter().find(|worker| worker.role == Role::Late)
    }

    fn tally(&self) -> Option<&Value> {
        self.first_whole(|role| role == Role::Tally)
    }

    fn books(&self) -> Option<&Value> {
        self.first_whole(|role| role != Role::Tally)
    }

    /// As measured; also if not the whole feed was read.
    fn latency(&self) -> Option<&Value> {
        self.workers.iter().find_map(|worker| worker.result.as_ref()?.get("latency_ns"))
    }

    fn first_whole(&self, is_wanted: impl Fn(Role) -> bool) -> Option<&Value> {
        self.workers.iter().filter(|worker| is_wanted(worker.role)).find_map(|worker| self.whole(worker))
    }

    /// The result of a worker that read every message.
    fn whole<'w>(&self, worker: &'w Outcome) -> Option<&'w Value> {
        let result = worker.result.as_ref().filter(|_| worker.fate == Fate::Done);
        result.filter(|result| result["records"] == self.published.messages)
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
mod tests {
    use super::*;
    use shmlog::{AppendError, Log};

    fn outcome(role: Role, records: u64, digest: u64) -> Outcome {
        let result = json!({ "records": records, "missed": 0, "digest": digest, "unknown_refs": 0, "busy_ns": 1000 });
        let joined = Some(json!({ "joined_at_seq": 5, "from_seq": 0 }));
        Outcome { role, pid: Some(1), joined, result: Some(result), fate: Fate::Done }
    }

    fn report(workers: Vec<Outcome>) -> Report {
        let log = Log::builder().create_memfd("report").unwrap().info();
        let published = Published { messages: 10, elapsed: Duration::from_micros(1), fault: None };
        Report { feed_fault: None, published, is_paced: false, log, workers }
    }

    #[test]
    fn equal_books_agree_and_others_do_not() {
        let sound = report(vec![outcome(Role::Book(0), 10, 7), outcome(Role::Late, 10, 7)]);
        assert_eq!((sound.agree(), sound.late_state_equal(), sound.late_note()), (Some(true), Some(true), None));
        assert!(sound.verdict().is_ok());
        assert_eq!(sound.to_json()["messages_per_s"], 10_000_000);
        let odd = report(vec![outcome(Role::Book(0), 10, 7), outcome(Role::Late, 10, 8)]);
        assert_eq!((odd.agree(), odd.late_state_equal()), (Some(false), Some(false)));
        assert_eq!(odd.to_json()["error"], "the workers disagree");
    }

    #[test]
    fn who_did_not_read_everything_is_not_compared() {
        let mut lagged = report(vec![outcome(Role::Book(0), 10, 7), outcome(Role::Late, 9, 8)]);
        assert_eq!((lagged.agree(), lagged.late_state_equal()), (None, None));
        assert_eq!(lagged.late_note(), Some("not possible: it missed records"));
        lagged.workers[1].joined = Some(json!({ "joined_at_seq": 5, "from_seq": 1 }));
        assert!(lagged.late_note().unwrap().contains("record 0 was gone"));
        assert!(lagged.verdict().is_ok());
    }

    #[test]
    fn a_killed_worker_is_reported_and_no_failure() {
        let mut report = report(vec![outcome(Role::Book(0), 10, 7), outcome(Role::Book(1), 10, 7)]);
        report.workers[0].fate = Fate::Killed { signal: 9 };
        report.workers[0].result = None;
        assert!(report.verdict().is_ok());
        assert_eq!(report.to_json()["workers"][0]["outcome"], "killed by signal 9");
        report.workers[1].fate = Fate::Failed { why: "exit status: 1".to_owned() };
        assert_eq!(report.to_json()["error"], "book-1 failed: exit status: 1");
    }

    #[test]
    fn an_error_says_what_was_published() {
        let mut report = report(Vec::new());
        report.published.fault = Some(AppendError::Closed);
        let told = format!("{:#}", report.verdict().unwrap_err());
        assert_eq!(told, "ended after 10 messages, which stay readable: the log is closed");
    }
}
