//! A process with writable mappings of everything lies to honest ones: appenders, readers, a writer and readers of a
//! snapshot, and some that attach all the time. They may get errors, or wrong bytes. They do not fault, panic, hang, or
//! take more and more memory.
//!
//! Six seconds; `SHMLOG_LONG=1` makes it five minutes, `SHMLOG_SECONDS` as many as one likes. A round is its number:
//! `SHMLOG_SEED` begins with that one.

#[path = "../common/mod.rs"]
mod common;
mod fields;
mod honest;
mod honest_snapshot;
mod map;
mod regressions;
mod round;
mod scribble;
#[path = "../common/tally.rs"]
mod tally;
mod watch;

use crate::honest::play;
use round::Round;
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::time::{Duration, Instant};
use tally::{duration, first_seed};
use watch::Account;

/// How long a log is lied about before the next one.
const ROUND: Duration = Duration::from_millis(800);

#[test]
fn child_entry() {
    common::enter(&[
        ("adversary", scribble::adversary),
        ("shared", || play(honest::shared)),
        ("exclusive", || play(honest::exclusive)),
        ("free", || play(honest::free)),
        ("gated", || play(honest::gated)),
        ("publisher", || play(honest_snapshot::publisher)),
        ("loader", || play(honest_snapshot::loader)),
        ("pinner", || play(honest_snapshot::pinner)),
        ("attacher", || play(honest_snapshot::attacher)),
    ]);
}

/// What became of all calls, by kind of process.
fn table(accounts: &BTreeMap<&str, Account>) -> String {
    let mut text = format!("{:<10} {:>10} {:>10} {:>8} {:>9}  slowest\n", "process", "calls", "ok", "MiB", "max ms");
    for (role, Account { tally, most_resident }) in accounts {
        let millis = tally.longest.as_secs_f64() * 1e3;
        let (calls, fine, mib) = (tally.calls, tally.fine, most_resident >> 20);
        text += &format!("{role:<10} {calls:>10} {fine:>10} {mib:>8} {millis:>9.1}  {}\n", tally.longest_call);
    }
    for (role, Account { tally, .. }) in accounts {
        for (kind, count) in &tally.errors {
            text += &format!("  {role:<10} {kind:<36} {count:>10}\n");
        }
    }
    text
}

#[test]
fn honest_processes_survive_a_peer_that_lies() {
    let (started, length) = (Instant::now(), duration(Duration::from_secs(6)));
    let mut accounts = BTreeMap::new();
    let mut seed = first_seed();
    while started.elapsed() < length {
        let round = Round::of(seed);
        let played = catch_unwind(AssertUnwindSafe(|| watch::play(&round, ROUND, &mut accounts)));
        if let Err(panic) = played {
            eprintln!("SHMLOG_SEED={seed}: {round:?}");
            resume_unwind(panic);
        }
        seed += 1;
    }
    println!("\n{} rounds, {:.0?}\n{}", seed - first_seed(), started.elapsed(), table(&accounts));
    for (role, account) in &accounts {
        assert!(account.tally.calls > 0, "{role} did nothing");
        assert!(*role == "adversary" || account.tally.fine > 0, "nothing that {role} did went well");
    }
}
