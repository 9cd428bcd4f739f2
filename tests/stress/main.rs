//! Long stress on real mappings: three to eight processes on one core, on two, and moving between them; interrupted by
//! signals all the time, stopped, killed and replaced; some of them before all others. Every record exactly once, each
//! author's in order, dense, whole; what was acknowledged is there; what is loaded or pinned is whole and never older.
//!
//! Five seconds; `SHMLOG_LONG=1` makes it five minutes, `SHMLOG_SECONDS` as many as one likes. A round is its number:
//! `SHMLOG_SEED` begins with that one.

#[path = "../common/mod.rs"]
mod common;
mod creation;
mod crowd;
mod fence;
mod kernel;
mod plan;
mod records;
#[path = "../common/tally.rs"]
mod tally;
mod values;
mod worker;

use plan::Plan;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::time::{Duration, Instant};
use tally::{duration, first_seed};

/// How long a crowd lives.
const ROUND: Duration = Duration::from_millis(900);

#[test]
fn child_entry() {
    common::enter(&[
        ("oracle", records::oracle),
        ("author", records::author),
        ("gated", records::gated),
        ("free", records::free),
        ("publisher", values::publisher),
        ("loader", values::loader),
        ("pinner", values::pinner),
        ("creator", creation::creator),
    ]);
}

/// What was done to whom, in a few words.
fn troubles(plan: &Plan) -> String {
    let mut text = format!("{:?} core(s), {:?}", plan.cores, plan.fencing);
    if plan.storm_micros > 0 {
        text += &format!(", a signal each {} us", plan.storm_micros);
    }
    let others = [("two before all others", plan.is_realtime), ("alone at times", plan.is_alone_at_times)];
    others.into_iter().filter(|(_, is_so)| *is_so).fold(text, |text, (what, _)| text + ", " + what)
}

#[test]
fn nothing_is_lost_or_torn_whatever_the_kernel_does_to_processes() {
    let (started, length) = (Instant::now(), duration(Duration::from_secs(5)));
    let (mut seed, mut all) = (first_seed(), crowd::Outcome::default());
    println!("round processes  records stops kills unacknowledged moves signals");
    while started.elapsed() < length {
        let plan = Plan::of(seed);
        let played = catch_unwind(AssertUnwindSafe(|| crowd::play(&plan, ROUND)));
        let outcome = played.unwrap_or_else(|panic| {
            eprintln!("SHMLOG_SEED={seed}");
            resume_unwind(panic);
        });
        println!("{seed:>5} {:>9} {outcome}  {}", plan.roles.len(), troubles(&plan));
        all.add(&outcome);
        seed += 1;
    }
    println!("  all           {all}\n{} rounds, {:.0?}", seed - first_seed(), started.elapsed());
    assert!(all.records > 0, "nobody came to append anything");
    let is_long = length > Duration::from_secs(60);
    assert!(!is_long || (all.kills > 0 && all.stops > 0 && all.interruptions > 0), "nobody was disturbed");
}
