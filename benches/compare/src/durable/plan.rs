//! The cases of the durable suites.

use crate::args::Args;
use crate::case::{Case, Part, Seat, Suite};
use crate::plan::{plain, sizes};
use crate::system::System;

/// Records of a batch.
const BATCH: usize = 100;
/// Bytes zeroed ahead for each second of a trial.
const AHEAD_PER_S: f64 = (512_u64 << 20) as f64;
const LEAST_AHEAD: u64 = 16 << 20;
const MOST_AHEAD: u64 = 512 << 20;

/// The cases of a suite, each a group of its own.
pub fn cases(suite: Suite, args: &Args) -> Vec<Vec<Case>> {
    let own: &[usize] = if suite == Suite::JournalAppend { &[64, 150, 1024] } else { &[150] };
    let each_size = sizes(args, own).iter().map(|&bytes| plain(suite, bytes, args));
    each_size.flat_map(|case| of_one_size(&case, args)).map(|case| vec![case]).collect()
}

fn of_one_size(case: &Case, args: &Args) -> Vec<Case> {
    let own: &[usize] = match case.suite {
        Suite::JournalAppend => &[1, 2],
        Suite::JournalCommit => &[1, 2, 8, 32],
        _ => return vec![case.clone()],
    };
    let writers = if args.writers.is_empty() { own } else { &args.writers };
    let mut cases: Vec<_> = writers.iter().map(|&senders| Case { senders, ..case.clone() }).collect();
    if case.suite == Suite::JournalCommit && writers.contains(&1) {
        cases.push(Case { batch: BATCH, ..case.clone() });
    }
    cases
}

/// Whether a system has something of its own to show in a case.
pub fn is_for(system: &System, case: &Case) -> bool {
    let is_variant =
        case.suite.is_durable() && (system.name.ends_with("-threads") || system.name.ends_with("-processes"));
    match system.name {
        // Alone, or of one record, they are the same as what they are variants of.
        "shmlog-parts" => case.batch > 1,
        _ if is_variant => case.senders > 1,
        _ => true,
    }
}

/// Bytes that are zeroed ahead in `journal-commit`, by those that can, before the time starts: more than twice what any
/// disk takes in records of a commit each, and than most take in batches. A trial ends before half of them are records.
pub fn ahead_bytes(args: &Args) -> u64 {
    ((args.seconds * AHEAD_PER_S) as u64).clamp(LEAST_AHEAD, MOST_AHEAD)
}

/// So many that play the same part, not pinned.
pub fn seats(part: Part, count: usize) -> Vec<Seat> {
    (0..count).map(|index| Seat { part, index, core: None }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::groups;
    use crate::system::Kind;
    use clap::Parser;

    fn args(words: &[&str]) -> Args {
        Args::parse_from([&["compare"], words].concat())
    }

    #[test]
    fn every_suite_has_cases_and_the_raw_disk_takes_part() {
        let args = args(&["journal"]);
        let suites = args.suite.suites();
        assert_eq!(suites.len(), 5);
        for suite in suites {
            for group in groups(suite, &args) {
                let raw = group.entries.iter().find(|(system, _)| system.name == "raw");
                assert_eq!(raw.map(|(system, _)| system.kind), Some(Kind::Limit), "{suite:?}");
                assert!(group.entries.iter().any(|(system, _)| system.name.starts_with("shmlog")), "{suite:?}");
            }
        }
        assert!(args.suite.suites().iter().all(|suite| suite.name().starts_with("journal-")));
    }

    #[test]
    fn appends_have_sizes_and_writers_commits_a_batch_too() {
        let of = |suite, words: &[&str]| -> Vec<_> {
            let cases = cases(suite, &args(words)).concat();
            cases.iter().map(|case| (case.bytes, case.senders, case.batch)).collect()
        };
        let each = [(64, 1, 1), (64, 2, 1), (150, 1, 1), (150, 2, 1), (1024, 1, 1), (1024, 2, 1)];
        assert_eq!(of(Suite::JournalAppend, &["journal"]), each);
        let each = [(150, 1, 1), (150, 2, 1), (150, 8, 1), (150, 32, 1), (150, 1, 100)];
        assert_eq!(of(Suite::JournalCommit, &["journal"]), each);
        assert_eq!(of(Suite::JournalCommit, &["journal", "--writers", "4", "--sizes", "99"]), [(99, 4, 1)]);
    }

    #[test]
    fn variants_are_left_out_where_they_are_the_same() {
        let of = |words: &[&str], senders, batch| -> Vec<_> {
            let groups = groups(Suite::JournalCommit, &args(words));
            let cases = groups.into_iter().flat_map(|group| group.entries);
            cases.filter(|(_, case)| (case.senders, case.batch) == (senders, batch)).map(|(one, _)| one.name).collect()
        };
        let all: &[&str] = &["journal-commit"];
        assert!(!of(all, 1, 1).iter().any(|name| name.ends_with("-processes") || name.ends_with("-parts")));
        assert!(of(all, 1, 100).contains(&"shmlog-parts") && !of(all, 8, 1).contains(&"shmlog-parts"));
        assert!(of(all, 8, 1).contains(&"shmlog-threads") && of(all, 8, 1).contains(&"lmdb-processes"));
        assert_eq!(of(&["journal-commit", "--systems", "okaywal"], 8, 1), ["raw", "okaywal"]);
    }

    #[test]
    fn short_trials_prepare_little() {
        let ahead = |seconds| ahead_bytes(&args(&["journal", "--seconds", seconds])) >> 20;
        assert_eq!([ahead("0.001"), ahead("0.5"), ahead("1"), ahead("60")], [16, 256, 512, 512]);
    }

    #[test]
    fn a_long_log_is_shorter_on_disk() {
        let records = |suite, words: &[&str]| plain(suite, 64, &args(words)).records;
        assert_eq!((records(Suite::Scan, &["all"]), records(Suite::JournalScan, &["all"])), (10_000_000, 2_000_000));
        assert_eq!(records(Suite::JournalOpen, &["journal", "--records", "7"]), 7);
    }
}
