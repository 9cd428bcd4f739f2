//! From what the ends of a trial tell to what was measured; and whether anything was lost.

use crate::case::{Case, Mode, Part, Suite};
use crate::told::{Times, Told, no_times};
use anyhow::{Context, Result, bail, ensure};

/// What one trial measured.
#[derive(Clone, Debug)]
pub struct Measure {
    /// Latencies or costs.
    pub times: Option<Times>,
    /// Messages, records or loads a second.
    pub per_s: Option<f64>,
    /// Publications a second, of a snapshot's writer.
    pub writes_per_s: Option<f64>,
    /// Torn values, which a snapshot's reader took for whole ones.
    pub torn: Option<u64>,
    /// Records a second until all of them were on disk.
    pub synced_per_s: Option<f64>,
}

impl Measure {
    /// Nothing yet.
    pub const NONE: Self = Self { times: None, per_s: None, writes_per_s: None, torn: None, synced_per_s: None };
}

/// Which of a measure's numbers systems are compared by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Figure {
    /// The median time: less is better.
    Time,
    /// The rate: more is better.
    Rate,
}

/// The figure of a case.
pub fn figure(case: &Case) -> Figure {
    match (case.suite, case.mode) {
        (Suite::Stream | Suite::Mpsc | Suite::Scan, _) | (_, Mode::All) => Figure::Rate,
        (Suite::JournalAppend | Suite::JournalCommit | Suite::JournalScan, _) => Figure::Rate,
        _ => Figure::Time,
    }
}

/// What a trial measured.
///
/// # Errors
/// Something was lost, doubled, changed or out of order: the trial is worth nothing.
pub fn measure(case: &Case, told: &[Told]) -> Result<Measure> {
    if case.suite != Suite::Snapshot {
        check_lossless(told)?;
    }
    let times = |part| told.iter().find(|one| one.part == part).map(Told::times).filter(|times| !times.is_empty());
    let none = Measure::NONE;
    let measure = match case.suite {
        Suite::Rtt => Measure { times: times(Part::Ping), ..none },
        Suite::Stream | Suite::Mpsc => Measure { per_s: Some(rate(told)?), ..none },
        Suite::Fanout if case.mode == Mode::All => Measure { per_s: Some(rate(told)?), ..none },
        Suite::Fanout => Measure { times: times(Part::Pace), ..none },
        Suite::Append => {
            let times = times(Part::Append).unwrap_or_else(no_times);
            // Appenders and readers do the same work all the time: the rate is the inverse of the mean cost.
            let per_s = 1e12 / times.mean();
            Measure { times: Some(times), per_s: Some(per_s), ..none }
        }
        Suite::Scan => Measure { per_s: Some(own_rate(told, Part::First)?), ..none },
        Suite::Random | Suite::Attach => Measure { times: times(Part::First), ..none },
        Suite::Wake => Measure { times: times(Part::Doze), ..none },
        Suite::Snapshot => {
            let writes_per_s = if case.mode == Mode::Restless { own_rate(told, Part::First).ok() } else { None };
            let torn = told.iter().map(|one| one.wrong).sum();
            Measure {
                times: times(Part::Second),
                per_s: Some(own_rate(told, Part::Second)?),
                writes_per_s,
                torn: Some(torn),
                ..none
            }
        }
        _ => bail!("the trials of {} are measured elsewhere", case.suite.name()),
    };
    ensure!(measure.times.is_some() || measure.per_s.is_some(), "nothing was timed in so short a time");
    Ok(measure)
}

fn check_lossless(told: &[Told]) -> Result<()> {
    let is_receiver = |one: &&Told| matches!(one.part, Part::Receive | Part::Doze | Part::Pong);
    let is_sender = |one: &&Told| matches!(one.part, Part::Send | Part::Pace | Part::Stamp | Part::Ping);
    let count: u64 = told.iter().filter(is_sender).map(|one| one.count).sum();
    let sum = told.iter().filter(is_sender).fold(0_u64, |sum, one| sum.wrapping_add(one.sum));
    for receiver in told.iter().filter(is_receiver) {
        ensure!(receiver.wrong == 0, "{} messages lost, doubled or out of order", receiver.wrong);
        ensure!(receiver.count == count, "{count} messages sent, {} received", receiver.count);
        ensure!(receiver.sum == sum, "of {count} messages some bytes were not those that were sent");
    }
    for other in told.iter().filter(|one| !is_receiver(one)) {
        ensure!(other.wrong == 0, "{} messages were not those that had to come", other.wrong);
    }
    Ok(())
}

/// What arrived, at all receivers, from the first sender's beginning to the last receiver's end.
fn rate(told: &[Told]) -> Result<f64> {
    let receivers = || told.iter().filter(|one| one.part == Part::Receive);
    let count: u64 = receivers().map(|one| one.count).sum();
    let ended = receivers().map(|one| one.ended_ns).max().context("nobody received")?;
    let senders = told.iter().filter(|one| one.part == Part::Send);
    let started = senders.map(|one| one.started_ns).min().context("nobody sent")?;
    Ok(per_second(count, started, ended))
}

fn own_rate(told: &[Told], part: Part) -> Result<f64> {
    let own = told.iter().find(|one| one.part == part).context("an end is missing")?;
    Ok(per_second(own.count, own.started_ns, own.ended_ns))
}

/// So many between two moments.
pub fn per_second(count: u64, started_ns: u64, ended_ns: u64) -> f64 {
    count as f64 * 1e9 / ended_ns.saturating_sub(started_ns).max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn case() -> Case {
        Case { suite: Suite::Stream, bytes: 64, batch: 1, senders: 1, receivers: 1, mode: Mode::Plain, records: 0 }
    }

    fn told(part: Part, count: u64, sum: u64) -> Told {
        Told { count, sum, started_ns: 1_000_000_000, ended_ns: 3_000_000_000, ..Told::new(part) }
    }

    #[test]
    fn a_rate_counts_from_the_first_to_the_last() {
        let ends = [told(Part::Send, 1000, 7), told(Part::Receive, 1000, 7)];
        assert_eq!(measure(&case(), &ends).unwrap().per_s, Some(500.0));
    }

    #[test]
    fn a_lossy_trial_is_an_error() {
        let lost = [told(Part::Send, 1000, 7), told(Part::Receive, 999, 7)];
        assert!(measure(&case(), &lost).unwrap_err().to_string().contains("999 received"));
        let changed = [told(Part::Send, 1000, 7), told(Part::Receive, 1000, 8)];
        assert!(measure(&case(), &changed).unwrap_err().to_string().contains("some bytes"));
        let disorder = Told { wrong: 1, ..told(Part::Receive, 1000, 7) };
        assert!(measure(&case(), &[told(Part::Send, 1000, 7), disorder]).is_err());
    }
}
