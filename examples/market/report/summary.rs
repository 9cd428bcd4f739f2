//! The summary that a person reads.

use super::{Report, per_second, worker_rate};
use crate::args::Role;
use crate::crew::{Fate, Outcome};
use indicatif::{HumanBytes, HumanCount};
use serde_json::Value;
use std::fmt;
use std::time::Duration;

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write_feed(f)?;
        self.write_latency(f)?;
        self.write_workers(f)?;
        self.write_books(f)?;
        if let Some(recording) = &self.recording {
            writeln!(f)?;
            recording.lines().iter().try_for_each(|line| writeln!(f, "{line}"))?;
        }
        match self.agree() {
            Some(true) => write!(f, "\nAll workers that read the whole feed agree."),
            Some(false) => write!(f, "\nTHE WORKERS DISAGREE."),
            None => write!(f, "\nFewer than two workers read the whole feed: nothing to compare."),
        }
    }
}

impl Report {
    fn write_feed(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (published, log) = (&self.published, &self.log);
        let rate = per_second(published.messages, published.elapsed);
        if let Some(dir) = &self.replayed {
            writeln!(f, "replayed from the journal in {}", dir.display())?;
        }
        writeln!(
            f,
            "{} messages published in {:.1?}, {} a second\nlog: {} on {}, retention {:?}\n",
            HumanCount(published.messages),
            published.elapsed,
            HumanCount(rate),
            HumanBytes(log.region_bytes),
            log.backing,
            log.retention,
        )?;
        let Some(tally) = self.tally() else { return Ok(()) };
        for (kind, messages) in tally["by_type"].as_object().into_iter().flatten() {
            writeln!(f, "  {kind} {:26}{:>14}", name_of_type(kind), count(messages))?;
        }
        let (executed, hidden) = (count(&tally["executed_shares"]), count(&tally["trade_P_shares"]));
        writeln!(f, "  shares executed {executed}, hidden {hidden}")
    }

    fn write_latency(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(latency) = self.latency() else { return Ok(()) };
        let at = |quantile: &str| Duration::from_nanos(latency[quantile].as_u64().unwrap_or(0));
        let (p50, p99, p999) = (at("p50"), at("p99"), at("p999"));
        writeln!(f, "\nlatency from publish to read: p50 {p50:.1?}, p99 {p99:.1?}, p99.9 {p999:.1?}")?;
        if !self.is_paced {
            writeln!(f, "  as fast as possible, that is mostly the queue: try --rate 100000")?;
        }
        Ok(())
    }

    fn write_workers(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f)?;
        for worker in &self.workers {
            let pid = worker.pid.map_or_else(|| "-".to_owned(), |pid| pid.to_string());
            write!(f, "  {:8} pid {pid:>7}  ", worker.role)?;
            match &worker.result {
                Some(result) if worker.fate == Fate::Done => write_result(f, worker, result)?,
                _ => write!(f, "{}", worker.fate)?,
            }
            writeln!(f)?;
        }
        self.write_late(f)?;
        self.write_prices(f)
    }

    fn write_late(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let late = self.late_json();
        if late["from_seq"].is_null() {
            return Ok(());
        }
        write!(f, "  late joined at record {}", count(&late["joined_at_seq"]))?;
        if !late["snapshot_as_of"].is_null() {
            write!(f, ", restored the books as of record {}", count(&late["snapshot_as_of"]))?;
        }
        let (replayed, from) = (count(&late["replayed"]), count(&late["from_seq"]));
        writeln!(f, ",\n    replayed {replayed} from record {from} on")?;
        match self.late_state_equal() {
            Some(true) => writeln!(f, "    and has the same books as who was there from the start")?,
            Some(false) => writeln!(f, "    and has OTHER BOOKS than who was there from the start")?,
            None => {}
        }
        self.late_note().map_or(Ok(()), |note| writeln!(f, "    {note}"))
    }

    fn write_prices(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(published) = self.published_by_owner() {
            let (tops, states) = (count(&published["tops"]), count(&published["states"]));
            writeln!(f, "  {} published {tops} changes of prices, and its books {states} times", self.owner)?;
            if let Some(why) = published["states_end"].as_str() {
                writeln!(f, "    until it gave that up: {why}")?;
            }
        }
        let Some(seen) = self.seen_by_watch() else { return Ok(()) };
        let same = match self.watch_equal() {
            Some(true) => "in the end the same",
            Some(false) => "in the end OTHERS",
            None => "not compared",
        };
        writeln!(f, "  watch loaded {} prices of {} symbols, {same}", count(&seen["loads"]), count(&seen["symbols"]))
    }

    fn write_books(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(books) = self.books() else { return Ok(()) };
        let best = |side: &str| match (books[side][0][0].as_f64(), &books[side][0][1]) {
            (Some(price), shares) => format!("{} at {:.4}", count(shares), price / 10_000.0),
            (None, _) => "none".to_owned(),
        };
        let (live, unknown) = (count(&books["live_orders"]), count(&books["unknown_refs"]));
        write!(f, "\nbooks: {live} live orders, {unknown} unknown references")?;
        // Of several symbols the best prices say nothing together.
        if self.tally().is_some_and(|tally| count_symbols(tally) == 1) {
            write!(f, "; best bid {}, best ask {}", best("bids_top10"), best("asks_top10"))?;
        }
        writeln!(f)
    }
}

fn write_result(f: &mut fmt::Formatter<'_>, worker: &Outcome, result: &Value) -> fmt::Result {
    if worker.role == Role::Watch {
        return write!(f, "{:>13} loads", count(&result["loads"]));
    }
    write!(f, "{:>13} messages", count(&result["records"]))?;
    if let Some(rate) = worker_rate(worker) {
        write!(f, ", {:>11} a second", HumanCount(rate).to_string())?;
    }
    match worker.role {
        Role::Tally => write!(f, ", {} symbols", count_symbols(result))?,
        _ => write!(f, ", books {:016x}", result["digest"].as_u64().unwrap_or(0))?,
    }
    match result["missed"].as_u64() {
        None | Some(0) => Ok(()),
        Some(missed) => write!(f, ", MISSED {}", HumanCount(missed)),
    }
}

fn count_symbols(tally: &Value) -> usize {
    tally["by_symbol"].as_array().into_iter().flatten().filter(|symbol| symbol["locate"] != 0).count()
}

fn count(value: &Value) -> String {
    value.as_u64().map_or_else(|| "?".to_owned(), |n| HumanCount(n).to_string())
}

fn name_of_type(kind: &str) -> &'static str {
    match kind {
        "S" => "system event",
        "R" => "stock directory",
        "H" => "trading action",
        "Y" => "short sale restriction",
        "L" => "participant position",
        "V" | "W" => "circuit breaker",
        "K" => "IPO quoting period",
        "J" => "auction collar",
        "h" => "operational halt",
        "A" => "add order",
        "F" => "add order, attributed",
        "E" => "order executed",
        "C" => "order executed at price",
        "X" => "order cancelled in part",
        "D" => "order deleted",
        "U" => "order replaced",
        "P" => "trade, hidden",
        "Q" => "cross trade",
        "B" => "broken trade",
        "I" => "order imbalance",
        "N" => "retail price improvement",
        "O" => "direct listing",
        _ => "",
    }
}
