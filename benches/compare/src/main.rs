//! Compares shmlog with its peers and with what the hardware allows. See README.md.
#![cfg_attr(
    not(any(feature = "crossbeam", feature = "disruptor", feature = "rtrb")),
    allow(dead_code, reason = "nothing else runs in threads")
)]

mod args;
mod case;
mod child;
mod clock;
mod crew;
mod durable;
mod hgrm;
mod machine;
mod measure;
mod parts;
mod pin;
mod plan;
mod plot;
mod report;
mod run;
mod source;
mod system;
mod systems;
mod table;
mod told;

use crate::args::Args;
use crate::machine::Machine;
use crate::report::Row;
use anyhow::{Context, Result, ensure};
use clap::Parser;
use std::io::{IsTerminal, Write, stderr, stdout};

fn main() -> Result<()> {
    // Before anything else: how long a child takes to start is measured too.
    let mut words = std::env::args().skip(1);
    if words.next().as_deref() == Some(child::FLAG) {
        return child::main(&words.next().context("a job")?);
    }
    let mut args = Args::parse();
    if args.cores.is_empty() {
        args.cores = pin::cores().into_iter().take(2).collect();
    }
    check(&args)?;
    if args.suite.suites().iter().any(|suite| suite.is_durable()) {
        args.dir = Some(durable::disk::choose(args.dir.take())?);
    }
    compare(&args)
}

fn check(args: &Args) -> Result<()> {
    ensure!(args.seconds > 0.0 && args.seconds.is_finite(), "a trial takes some time");
    ensure!(args.rounds > 0, "no rounds, no figures");
    for suite in args.suite.suites() {
        let can_have = |&bytes: &usize| if suite.is_durable() { bytes >= 16 } else { bytes.is_multiple_of(8) };
        ensure!(
            args.sizes.iter().all(can_have),
            "{}: sizes are {}",
            suite.name(),
            if suite.is_durable() { "at least 16 bytes" } else { "multiples of 8" }
        );
    }
    for name in &args.systems {
        ensure!(systems::all().iter().any(|system| system.name == name), "there is no system {name:?}: {}", names());
    }
    Ok(())
}

fn names() -> String {
    let mut names: Vec<_> = systems::all().iter().map(|system| system.name).collect();
    names.sort_unstable();
    names.dedup();
    names.join(", ")
}

fn compare(args: &Args) -> Result<()> {
    let machine = Machine::look(args);
    if args.json {
        say(&serde_json::to_string(&serde_json::json!({ "machine": machine }))?)?;
    } else {
        say(&machine.text())?;
    }
    let mut all: Vec<Row> = Vec::new();
    for suite in args.suite.suites() {
        for group in plan::groups(suite, args) {
            let series = run::play(&group, args, |round, system, case| {
                progress(&format!("{} {} B round {}: {}", case.suite.name(), case.bytes, round + 1, system.name));
            });
            progress("");
            let rows = report::rows(&series);
            if args.json {
                for row in &rows {
                    say(&serde_json::to_string(row)?)?;
                }
            } else {
                say(&table::table(&rows))?;
            }
            all.extend(rows);
        }
    }
    if let Some(dir) = &args.plot {
        std::fs::create_dir_all(dir).with_context(|| format!("making {}", dir.display()))?;
        hgrm::write_all(dir, &all)?;
        plot::write_all(dir, &all, &machine)?;
    }
    Ok(())
}

/// At once, so that what was measured is there when a later suite is interrupted.
fn say(line: &str) -> Result<()> {
    let mut out = stdout().lock();
    writeln!(out, "{line}")?;
    Ok(out.flush()?)
}

fn progress(what: &str) {
    if stderr().is_terminal() {
        eprint!("\r\x1b[K{what}");
    }
}
