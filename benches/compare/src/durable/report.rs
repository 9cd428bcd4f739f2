//! From what the children of a trial tell to what was measured; and how it is shown.

use crate::case::{Case, Part, Suite};
use crate::measure::{Measure, per_second};
use crate::report::Row;
use crate::told::{Told, no_times};
use anyhow::{Context, Result, ensure};

/// What a trial measured; `verified` is by whom read all of it at the end.
///
/// # Errors
/// Something was lost, doubled, changed or out of order: the trial is worth nothing.
pub fn measure(case: &Case, told: &[Told], verified: &[Told]) -> Result<Measure> {
    check(told, verified)?;
    let mut times = no_times();
    let parts = |part| told.iter().filter(move |one| one.part == part);
    for one in parts(Part::Write).chain(parts(Part::Look)) {
        times.add(one.times())?;
    }
    let times = (!times.is_empty()).then_some(times);
    let rate = |part, end: fn(&Told) -> u64| {
        let (started, ended) = (parts(part).map(|one| one.started_ns).min(), parts(part).map(end).max());
        let count = parts(part).map(|one| one.count).sum();
        anyhow::Ok(per_second(count, started.context("nobody played")?, ended.context("nobody played")?))
    };
    let none = Measure::NONE;
    let measure = match case.suite {
        Suite::JournalAppend => Measure {
            per_s: Some(rate(Part::Write, |one| one.ended_ns)?),
            synced_per_s: Some(rate(Part::Write, |one| one.synced_ns)?),
            ..none
        },
        Suite::JournalCommit => Measure { per_s: Some(rate(Part::Write, |one| one.ended_ns)?), times, ..none },
        Suite::JournalScan => Measure { per_s: Some(rate(Part::Look, |one| one.ended_ns)?), ..none },
        Suite::JournalRandom => Measure { per_s: Some(rate(Part::Look, |one| one.ended_ns)?), times, ..none },
        _ => Measure { times, ..none },
    };
    ensure!(measure.times.is_some() || measure.per_s.is_some(), "nothing was timed in so short a time");
    Ok(measure)
}

/// Who looked saw what was written, and who read it at the end did too.
fn check(told: &[Told], verified: &[Told]) -> Result<()> {
    let written = || told.iter().filter(|one| matches!(one.part, Part::Write | Part::Fill));
    let count: u64 = written().map(|one| one.count).sum();
    let sum = written().fold(0_u64, |sum, one| sum.wrapping_add(one.sum));
    ensure!(count > 0, "nothing was written");
    for one in told {
        ensure!(one.wrong == 0, "{} records read were not those that had to come", one.wrong);
        ensure!(one.part != Part::Look || one.sum == 0 || one.sum == sum, "some bytes read are not those written");
    }
    let end = verified.first().context("nobody compared")?;
    ensure!(end.count == count, "{count} records written, {} there at the end", end.count);
    ensure!(end.wrong == 0, "{} of {count} records at the end were not those that had to come", end.wrong);
    ensure!(end.sum == sum, "of {count} records some bytes at the end are not those that were written");
    Ok(())
}

/// The head of the figures of a row in a table, if its suite has its own.
pub fn head(row: &Row) -> Option<String> {
    let head = |names: &[&str]| names.iter().map(|name| format!("{name:>11}")).collect::<Vec<_>>().join(" ");
    match row.suite.as_str() {
        "journal-append" => Some(head(&["M rec/s", "GB/s", "synced M/s"])),
        "journal-commit" => Some(head(&["k rec/s", "p50 us", "p99 us", "p99.9 us"])),
        "journal-scan" => Some(head(&["M rec/s", "GB/s"])),
        "journal-random" => Some(head(&["p50 ns", "p99 ns", "M rec/s"])),
        "journal-open" => Some(head(&["p50 ms", "p99 ms"])),
        _ => None,
    }
}

/// The figures under that head, each divided by what its unit is.
pub fn figures(row: &Row) -> Option<Vec<Option<f64>>> {
    let over = |value: Option<f64>, unit: f64| value.map(|value| value / unit);
    let (us, ms) = (1e3, 1e6);
    match row.suite.as_str() {
        "journal-append" => Some(vec![over(row.msgs_per_s, 1e6), row.gb_per_s, over(row.synced_per_s, 1e6)]),
        "journal-commit" => {
            Some(vec![over(row.msgs_per_s, 1e3), over(row.p50_ns, us), over(row.p99_ns, us), over(row.p999_ns, us)])
        }
        "journal-scan" => Some(vec![over(row.msgs_per_s, 1e6), row.gb_per_s]),
        "journal-random" => Some(vec![row.p50_ns, row.p99_ns, over(row.msgs_per_s, 1e6)]),
        "journal-open" => Some(vec![over(row.p50_ns, ms), over(row.p99_ns, ms)]),
        _ => None,
    }
}

/// What the first of them, by which systems are compared, is divided by.
pub fn unit(row: &Row) -> Option<f64> {
    match row.suite.as_str() {
        "journal-commit" => Some(1e3),
        "journal-open" => Some(1e6),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::case::Mode;

    fn case(suite: Suite) -> Case {
        Case { suite, bytes: 150, batch: 1, senders: 2, receivers: 1, mode: Mode::Plain, records: 0 }
    }

    fn told(part: Part, count: u64, sum: u64) -> Told {
        Told {
            count,
            sum,
            started_ns: 1_000_000_000,
            ended_ns: 3_000_000_000,
            synced_ns: 5_000_000_000,
            ..Told::new(part)
        }
    }

    #[test]
    fn the_rates_of_writers_add_up_and_wait_for_the_last() {
        let mut slow = told(Part::Write, 200, 5);
        slow.ended_ns += 1_000_000_000;
        let measure =
            measure(&case(Suite::JournalAppend), &[told(Part::Write, 1000, 7), slow], &[told(Part::Verify, 1200, 12)]);
        let measure = measure.unwrap();
        assert_eq!((measure.per_s, measure.synced_per_s), (Some(400.0), Some(300.0)));
    }

    #[test]
    fn times_of_all_writers_count() {
        let with = |ps| {
            let mut times = no_times();
            times.saturating_record(ps);
            told(Part::Write, 1, 1).with_times(&times)
        };
        let ends = [with(1_000), with(1_000_000)];
        let measure = measure(&case(Suite::JournalCommit), &ends, &[told(Part::Verify, 2, 2)]).unwrap();
        assert_eq!(measure.times.unwrap().len(), 2);
    }

    #[test]
    fn what_is_not_there_at_the_end_is_an_error() {
        let why = |told: &[Told], end: Told| {
            measure(&case(Suite::JournalScan), told, &[end]).map(|_| ()).unwrap_err().to_string()
        };
        let (filled, seen) = (told(Part::Fill, 1000, 7), told(Part::Look, 1000, 7));
        let both = [filled.clone(), seen.clone()];
        assert!(why(&both, told(Part::Verify, 999, 7)).contains("999 there"));
        assert!(why(&both, told(Part::Verify, 1000, 8)).contains("some bytes at the end"));
        assert!(why(&both, Told { wrong: 3, ..told(Part::Verify, 1000, 7) }).contains("3 of 1000"));
        let other = [filled.clone(), Told { sum: 9, ..seen.clone() }];
        assert!(why(&other, told(Part::Verify, 1000, 7)).contains("some bytes read"));
        let disorder = [filled, Told { wrong: 1, ..seen }];
        assert!(why(&disorder, told(Part::Verify, 1000, 7)).contains("1 records read"));
    }
}
