//! The command line.

use anyhow::Result;
use clap::{Parser, ValueEnum};
use indicatif::{ProgressBar, ProgressStyle};
use killstep::report::{self, Report};
use killstep::sweep::{self, Sweep};
use std::env::{args_os, current_exe, var_os};
use std::io::Write as _;
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};
use std::time::Duration;

/// Without it the C library fills and copies much memory by instructions that repeat themselves, and each time is a step.
const TUNABLES: &str = "GLIBC_TUNABLES";
const PLAIN: &str = "glibc.cpu.x86_rep_stosb_threshold=1000000000:glibc.cpu.x86_rep_movsb_threshold=1000000000";

/// Kills, or stops, a process after every single instruction of each operation, and looks at what is left.
#[derive(Debug, Parser)]
#[command(name = "killstep", version)]
struct Cli {
    /// Operations whose names begin so; all unless given.
    #[arg(long, value_delimiter = ';')]
    ops: Vec<String>,
    /// Every how many instructions; of a journal, of those that others can't see.
    #[arg(long, default_value_t = 1)]
    every: usize,
    /// Victims of each operation at most, evenly from all.
    #[arg(long)]
    most: Option<usize>,
    /// The first instruction of each operation, modulo the distance between two.
    #[arg(long, default_value_t = 0)]
    seed: usize,
    /// What is done.
    #[arg(long, value_enum, default_value_t = Mode::Kill)]
    mode: Mode,
    /// Rows of a table of Markdown instead of lines.
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
    let cli = Cli::parse();
    if var_os(TUNABLES).is_none() {
        // It takes effect when a program begins. Comes back only if that is impossible; then it takes more steps.
        let again = current_exe().map(|this| Command::new(this).args(args_os().skip(1)).env(TUNABLES, PLAIN).exec());
        eprintln!("killstep: beginning again with {TUNABLES}: {again:?}");
    }
    match run(&cli) {
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
    let is_kill = cli.mode == Mode::Kill;
    if cli.markdown {
        println!("{}", if is_kill { report::KILLED } else { report::STOPPED });
    }
    // Draws when it is told something, and has no thread: who forks must not have any.
    let bar = ProgressBar::new(0).with_style(ProgressStyle::with_template("{wide_bar} {pos}/{len} {eta:>5} {msg}")?);
    let mut is_right = true;
    for operation in chosen {
        bar.reset();
        bar.set_message(operation.name());
        let tick = |done: usize, all: usize| {
            bar.set_length(all as u64);
            bar.set_position(done as u64);
        };
        let report = sweep.run(operation, tick).map_err(|error| error.context(operation.name()))?;
        bar.suspend(|| tell(&report, cli))?;
        is_right &= report.violations.is_empty();
    }
    bar.finish_and_clear();
    Ok(is_right)
}

/// Says what was found, at once.
fn tell(report: &Report, cli: &Cli) -> Result<()> {
    for violation in &report.violations {
        eprintln!("VIOLATION {}: {violation}", report.name);
    }
    match (cli.markdown, cli.mode) {
        (true, Mode::Kill) => println!("{}", report::killed(report)),
        (true, Mode::Stop) => println!("{}", report::stopped(report)),
        (false, _) => println!("{}", line(report)),
    }
    Ok(std::io::stdout().flush()?)
}

fn line(report: &Report) -> String {
    let (there, not_there) = report.outcomes();
    let [middle, repeatable, longest] = report.recovery();
    let Report { name, instructions, visible, unseen, victims, beside_visible, detours, took, .. } = report;
    let mut line = format!("{name}: {instructions} instructions, {visible} visible, {unseen} others checked");
    line += &format!("; {victims} victims, {beside_visible} beside visible ones");
    if let Some(turn) = report.turn() {
        line += &format!(", {not_there} not there, {there} there after {turn}");
    }
    if longest > Duration::ZERO {
        line += &format!(", recovery {middle:.1?}, repeatable {repeatable:.1?}, longest {longest:.1?}");
    }
    line + &format!("; {detours} detours, {took:.1?}")
}
