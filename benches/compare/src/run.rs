//! Rounds: in each one every system has its turn.

use crate::args::Args;
use crate::case::{Case, Job, Suite};
use crate::clock::measure_ps_per_tick;
use crate::crew;
use crate::durable;
use crate::measure::{Measure, measure};
use crate::plan::{Group, seats, shape};
use crate::system::System;
use crate::told::no_times;
use anyhow::{Error, Result};
use std::path::Path;
use std::time::{Duration, Instant};

/// Starts of a process that a round of `attach` times at least.
const STARTS: u64 = 5;

/// All rounds of one system in one case.
pub struct Series {
    /// Who.
    pub system: System,
    /// What.
    pub case: Case,
    /// Of each round.
    pub measures: Vec<Measure>,
    /// Why there are no more. One failed round makes the whole series worth nothing.
    pub missing: Option<String>,
}

/// Plays all rounds of a group. `progress` is told before each trial.
pub fn play(group: &Group, args: &Args, mut progress: impl FnMut(usize, &System, &Case)) -> Vec<Series> {
    let none = |&(system, ref case): &(System, Case)| Series {
        system,
        case: case.clone(),
        measures: Vec::new(),
        missing: system.how.err().map(ToOwned::to_owned),
    };
    let mut all: Vec<_> = group.entries.iter().map(none).collect();
    let ps_per_tick = measure_ps_per_tick();
    for round in 0..args.rounds {
        for series in all.iter_mut().filter(|series| series.missing.is_none()) {
            progress(round, &series.system, &series.case);
            match trial(&series.system, &series.case, args, ps_per_tick) {
                Ok(measure) => series.measures.push(measure),
                Err(error) => series.missing = Some(in_one_line(&error)),
            }
        }
    }
    all
}

fn trial(system: &System, case: &Case, args: &Args, ps_per_tick: f64) -> Result<Measure> {
    if case.suite.is_durable() {
        return durable::trial(system, case, args, ps_per_tick);
    }
    let (make_home, _) = system.how.map_err(Error::msg)?;
    let dir = tempfile::Builder::new().prefix("compare-").tempdir_in(scratch())?;
    let job = Job {
        shape: shape(system, case, args, dir.path()),
        seats: seats(case, &args.cores),
        seconds: args.seconds,
        ps_per_tick,
        started_ns: 0,
    };
    let home = make_home(&job.shape)?;
    if case.suite != Suite::Attach {
        return measure(case, &crew::play(&*home, system.kind, &job)?);
    }
    let mut times = no_times();
    let began = Instant::now();
    while times.len() < STARTS || began.elapsed() < Duration::from_secs_f64(args.seconds) {
        let told = crew::play(&*home, system.kind, &job)?;
        let one = measure(case, &told)?;
        times.add(one.times.as_ref().unwrap_or(&no_times()))?;
    }
    Ok(Measure { times: Some(times), ..Measure::NONE })
}

/// Memory that has names.
fn scratch() -> &'static Path {
    Path::new("/dev/shm")
}

fn in_one_line(error: &Error) -> String {
    format!("{error:#}").split_whitespace().collect::<Vec<_>>().join(" ")
}
