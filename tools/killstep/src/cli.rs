//! The command line.

use anyhow::Result;
use clap::{Parser, ValueEnum};
use killstep::report::{self, Report};
use killstep::sweep::{self, Sweep};
use std::process::ExitCode;
use std::time::Duration;

/// Kills, or stops, a process after every single instruction of each operation, and looks at what is left.
#[derive(Debug, Parser)]
#[command(name = "killstep", version)]
struct Cli {
    /// Operations whose names begin so; all unless given.
    #[arg(long, value_delimiter = ';')]
    ops: Vec<String>,
    /// Every how many instructions.
    #[arg(long, default_value_t = 1)]
    every: usize,
    /// Victims of each operation at most.
    #[arg(long)]
    most: Option<usize>,
    /// The first instruction of each operation, modulo the distance between two.
    #[arg(long, default_value_t = 0)]
    seed: usize,
    /// What is done.
    #[arg(long, value_enum, default_value_t = Mode::Kill)]
    mode: Mode,
    /// A table of Markdown at the end instead of a line for each operation.
    #[arg(long)]
    markdown: bool,
    /// The names of the operations, and nothing else.
    #[arg(long)]
    list: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Mode {
    /// Killed with SIGKILL.
    Kill,
    /// Stopped, and let go on later.
    Stop,
}

pub(crate) fn main() -> ExitCode {
    match run(&Cli::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("killstep: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Whether nothing is wrong.
fn run(cli: &Cli) -> Result<bool> {
    let all = killstep::operations();
    let chosen = sweep::choose(&all, &cli.ops)?;
    if cli.list {
        chosen.iter().for_each(|operation| println!("{}", operation.name()));
        return Ok(true);
    }
    let mode = if cli.mode == Mode::Kill { sweep::Mode::Kill } else { sweep::Mode::Stop };
    let sweep = Sweep { mode, every: cli.every, first: cli.seed, most: cli.most };
    let mut reports = Vec::new();
    for operation in chosen {
        let report = sweep.run(operation).map_err(|error| error.context(operation.name()))?;
        tell(&report, cli.markdown);
        reports.push(report);
    }
    if cli.markdown {
        print!("{}", if cli.mode == Mode::Kill { report::killed(&reports) } else { report::stopped(&reports) });
    }
    Ok(reports.iter().all(|report| report.violations.is_empty()))
}

fn tell(report: &Report, is_markdown: bool) {
    for violation in &report.violations {
        eprintln!("VIOLATION {}: {violation}", report.name);
    }
    if is_markdown {
        return;
    }
    let (there, not_there) = report.outcomes();
    let [middle, repeatable, longest] = report.recovery();
    let Report { name, instructions, victims, detours, took, .. } = report;
    print!("{name}: {instructions} instructions, {victims} victims");
    if let Some(turn) = report.turn() {
        print!(", {not_there} not there, {there} there after {turn}");
    }
    if longest > Duration::ZERO {
        print!(", recovery {middle:.1?}, repeatable {repeatable:.1?}, longest {longest:.1?}");
    }
    println!("; {detours} detours, {took:.1?}");
}
