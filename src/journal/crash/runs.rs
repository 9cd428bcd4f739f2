//! The workloads, and all their crashes.

use super::explore::{Effort, Explorer, Tally};
use super::images::Dice;
use super::memory_disk::Image;
use super::oracle::Truth;
use super::recording::Entry;
use super::scripts::SCRIPTS;
use super::workload::Session;
use crate::journal::settings::Flush;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

pub(super) const TIMELY: Flush = Flush::After(Duration::from_millis(1));

/// How much of everything: more where time is given.
pub(super) fn is_long() -> bool {
    std::env::var_os("SHMLOG_LONG").is_some()
}

/// Some steps by chance.
pub(super) fn stroll(session: &mut Session, steps: usize) {
    for _ in 0..steps {
        step(session);
    }
}

pub(super) fn step(session: &mut Session) {
    let large = if session.dice.one_in(4) { 20_000 } else { 900 };
    let len = session.dice.below(large);
    let end = session.journal().next_seq();
    match session.dice.below(30) {
        0..=8 => session.append(len),
        9..=10 => session.append_parts(&[len / 2, len % 50, 8]),
        11..=15 => session.sync(),
        16 => session.prepare_ahead(),
        23..=24 => {
            let seqs: Vec<_> =
                (0..=len as u64 % 40).map(|back| end.saturating_sub(back * (1 + len as u64 % 3))).collect();
            session.delete(&seqs, len.is_multiple_of(2));
        }
        20 => session.advance(["a", "b"][len % 2], end),
        21 => session.sync_cursors(),
        22 => session.prune(end.saturating_sub(len as u64 % 16)),
        17 => session.recorder.is_full.store(true, Relaxed),
        18 => {
            session.close();
            session.open().unwrap();
        }
        26 => session.set_cursor(["a", "b"][len % 2], end.saturating_sub(len as u64 % 9)),
        27 => session.remove_cursor(["a", "b"][len % 2]),
        28 => session.tend(),
        29 => session.delete(&(end / 2..end - end / 5).collect::<Vec<_>>(), len.is_multiple_of(2)),
        _ => {
            session.kill();
            session.open().unwrap();
        }
    }
}

/// Records a workload from an empty directory on.
pub(super) fn record(flush: Flush, seed: u64, steps: impl FnOnce(&mut Session)) -> Vec<Entry> {
    let mut session = Session::native(flush, seed);
    session.open().unwrap();
    steps(&mut session);
    session.end()
}

/// Tries the crashes of what was recorded.
pub(super) fn crash(name: &str, flush: Flush, seed: u64, entries: &[Entry], effort: Effort) -> Tally {
    let mut tally = Tally::default();
    let name = format!("{name}, seed {seed}");
    let mut explorer = Explorer { effort, dice: Dice::new(seed ^ 0x55), flush, tally: &mut tally, name };
    explorer.explore(&Image::default(), &Truth::default(), entries, 0);
    tally
}

pub(super) fn expect_none(tally: &Tally) {
    let mut first = tally.violations.clone();
    first.dedup_by_key(|violation| violation.split(", after ").next().map(str::to_owned));
    first.truncate(9);
    assert!(first.is_empty(), "{} violations, the first ones: {first:#?}", tally.violations.len());
}

#[test]
fn no_crash_of_a_scripted_workload_breaks_a_promise() {
    let seeds = if is_long() { 1..9 } else { 1..2 };
    let effort = if is_long() { Effort { images: 40, ..Effort::SMALL } } else { Effort::SMALL };
    let mut all = Tally::default();
    for (name, flush, steps) in SCRIPTS {
        let mut tally = Tally::default();
        for seed in seeds.clone() {
            tally.add(crash(name, flush, seed, &record(flush, seed, steps), effort));
        }
        tally.say(name);
        all.add(tally);
    }
    all.say("all scripts");
    expect_none(&all);
}

/// There is no room to say that deletions are durable, when the journal is recovered or closed.
fn cramped(session: &mut Session) {
    for count in 0..3 {
        (0..40).for_each(|_| session.append(1000));
        session.delete(&[count * 40 + 7, count * 40 + 30], true);
        session.recorder.is_full_for_marks.store(count != 1, Relaxed);
        session.kill();
        session.open().unwrap();
        session.close();
        session.open().unwrap();
        assert_eq!(session.journal().next_seq(), (count + 1) * 40);
        session.recorder.is_full_for_marks.store(false, Relaxed);
    }
}

#[test]
fn a_full_disk_keeps_nobody_from_opening_or_closing_a_journal_with_deletions() {
    let tally = crash("cramped", TIMELY, 1, &record(TIMELY, 1, cramped), Effort::SMALL);
    tally.say("cramped");
    expect_none(&tally);
}

#[test]
fn no_crash_of_a_random_workload_breaks_a_promise() {
    let seeds = if is_long() { 1..200 } else { 1..5 };
    let effort = if is_long() { Effort { images: 30, ..Effort::SMALL } } else { Effort::SMALL };
    let mut all = Tally::default();
    for seed in seeds {
        let flush = if seed % 3 == 0 { Flush::Never } else { TIMELY };
        let entries = record(flush, seed, |session| stroll(session, 40));
        all.add(crash("random", flush, seed, &entries, effort));
    }
    all.say("random");
    expect_none(&all);
}
