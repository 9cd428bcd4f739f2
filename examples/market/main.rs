//! A market-data feed for many processes: the parent makes a log, passes it to workers over Unix
//! sockets and publishes a feed of exchange messages, one a record. The workers keep order books,
//! count, and join late; in the end all must agree.
//!
//! ```text
//! cargo run --release --example market -- --help
//! ```

mod args;
mod book;
mod crew;
mod feed;
mod generator;
mod itch;
mod parent;
mod progress;
mod publish;
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
        Some(role) => workers::run(role, args.wait),
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
