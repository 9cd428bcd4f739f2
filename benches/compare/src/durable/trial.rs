//! One trial, as its parent sees it.

use super::{plan, report};
use crate::args::Args;
use crate::case::{Case, Job, Part, Suite};
use crate::crew;
use crate::measure::Measure;
use crate::plan::{seats, shape};
use crate::system::{Kind, NoHome, System};
use crate::told::Told;
use anyhow::{Context, Error, Result};
use std::time::{Duration, Instant};

/// How often a trial opens at least.
const OPENINGS: usize = 5;
/// Seconds that filling, and comparing at the end, may take.
const LONG: f64 = 600.0;

/// Plays one trial in a directory of its own, which is gone at the end.
///
/// # Errors
/// A child failed, or something is not as it was written.
pub fn trial(system: &System, case: &Case, args: &Args, ps_per_tick: f64) -> Result<Measure> {
    system.how.map_err(Error::msg)?;
    let within = args.dir.as_deref().context("a directory on disk")?;
    let dir = tempfile::Builder::new().prefix("compare-").tempdir_in(within)?;
    let case = &gathered(system, case);
    let job = Job {
        shape: shape(system, case, args, dir.path()),
        seats: seats(case, &args.cores),
        seconds: args.seconds,
        ps_per_tick,
        started_ns: 0,
    };
    let kind = if system.kind == Kind::Process { Kind::Process } else { Kind::Threads };
    let alone = |part| Job { seats: plan::seats(part, 1), seconds: LONG, ..job.clone() };
    let play = |job: &Job| crew::play(&NoHome, kind, job);
    let measured = match case.suite {
        Suite::JournalAppend | Suite::JournalCommit => play(&job)?,
        _ => {
            let mut told = play(&alone(Part::Fill)).context("filling it")?;
            told.extend(looks(case, args, || play(&job))?);
            told
        }
    };
    let verified = play(&alone(Part::Verify)).context("reading all of it at the end")?;
    report::measure(case, &measured, &verified)
}

/// The limit of many writers is one that writes what all of them have as one unit.
fn gathered(system: &System, case: &Case) -> Case {
    if system.kind == Kind::Limit && case.suite == Suite::JournalCommit {
        return Case { batch: case.batch * case.senders, senders: 1, ..case.clone() };
    }
    case.clone()
}

/// What is opened is opened again and again, each time by another process.
fn looks(case: &Case, args: &Args, mut look: impl FnMut() -> Result<Vec<Told>>) -> Result<Vec<Told>> {
    let mut told = look()?;
    if case.suite == Suite::JournalOpen {
        let began = Instant::now();
        while told.len() < OPENINGS || began.elapsed() < Duration::from_secs_f64(args.seconds) {
            told.extend(look()?);
        }
    }
    Ok(told)
}
