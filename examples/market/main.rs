//! A market-data feed for many processes: the parent makes a log and two snapshots, gives them out by
//! its hub and publishes a feed of exchange messages, one a record. The workers keep order books and
//! count; one publishes its books and a board of prices, one joins late, one watches the board. In
//! the end all must agree.
//!
//! ```text
//! cargo run --release --example market -- --help
//! ```

mod args;
mod board;
mod book;
mod crew;
mod desk;
mod feed;
mod gate;
mod generator;
mod itch;
mod parent;
mod progress;
mod publish;
mod recorder;
mod regions;
mod report;
mod stamp;
mod tally;
mod workers;

use crate::args::Args;
use clap::Parser;
use std::process::ExitCode;

fn main() -> ExitCode {
    let args = Args::parse();
    let done = match args.worker {
        Some(role) => workers::run(role, &args),
        None => parent::run(&args),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            progress::say(&format!("market: {error:#}"));
            ExitCode::FAILURE
        }
    }
}
