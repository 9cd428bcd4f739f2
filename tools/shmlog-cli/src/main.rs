//! Looks at logs: what they are and who is attached (`info`), what they hold (`dump`); and at snapshots (`slots`).
//!
//! It takes no part in these: regions are mapped read-only, nobody waits for it, and nothing is written to them. A journal it
//! opens as any process does (`journal`).

mod dump;
mod escape;
mod find;
mod fronts;
mod handle;
mod info;
mod journal;
mod print;
mod slots;
mod table;
mod units;
mod value;

use clap::{Parser, Subcommand};
use std::io::{self, BufWriter, Write};
use std::path::PathBuf;
use std::process::ExitCode;

/// Looks at shared-memory logs and snapshots, without taking part or disturbing those who do.
#[derive(Debug, Parser)]
#[command(name = "shmlog", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// What a log is: geometry, backing, seals, the records retained, who is attached and how far behind.
    Info {
        /// The directory of a named log, or /proc/PID/fd/N of one that a process has open.
        log: PathBuf,
        /// One JSON object.
        #[arg(long)]
        json: bool,
    },
    /// The records of a log.
    Dump(dump::Options),
    /// What a snapshot is and holds: its slots, their versions and writers, and who pins.
    Slots(slots::Options),
    /// A journal: what it holds, whether it is sound; repairs it, gives up records, sets cursors.
    #[command(subcommand)]
    Journal(journal::Action),
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let mut out = BufWriter::new(io::stdout().lock());
    let done = match cli.command {
        Command::Info { log, json } => info::run(&log, json, &mut out),
        Command::Dump(options) => dump::run(&options, &mut out),
        Command::Slots(options) => slots::run(&options, &mut out),
        Command::Journal(action) => journal::run(&action, &mut out),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if is_broken_pipe(&error) => {
            // Nobody reads what is left, and dropping the writer would try to write it.
            std::mem::forget(out);
            ExitCode::SUCCESS
        }
        Err(error) => {
            drop(out);
            // Best effort: the exit code says it too.
            let _ = writeln!(io::stderr(), "shmlog: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Whether the reader of the output went away, as `head` does: no failure.
fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}
