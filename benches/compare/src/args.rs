//! The command line.

use crate::case::Suite;
use clap::{Parser, ValueEnum};
use std::path::PathBuf;

/// shmlog beside its peers and beside what the hardware allows, in one run: the systems take turns, round by
/// round, on the same cores; every byte is written, read and checked.
#[derive(Clone, Debug, Parser)]
#[command(name = "compare")]
pub struct Args {
    /// What to measure.
    pub suite: Choice,
    /// One JSON object a line instead of tables.
    #[arg(long)]
    pub json: bool,
    /// Writes plots (SVG) and percentiles (.hgrm) into this directory.
    #[arg(long, value_name = "DIR")]
    pub plot: Option<PathBuf>,
    /// Seconds of each trial.
    #[arg(long, default_value_t = 1.0)]
    pub seconds: f64,
    /// Rounds: how often each system has its turn.
    #[arg(long, default_value_t = 5)]
    pub rounds: usize,
    /// Only these systems; the limits are always there.
    #[arg(long, value_delimiter = ',')]
    pub systems: Vec<String>,
    /// Bytes of a message, instead of the suite's own sizes; multiples of 8.
    #[arg(long, value_delimiter = ',', value_parser = size)]
    pub sizes: Vec<usize>,
    /// Cores to pin to: sender first; by default the first ones that there are.
    #[arg(long, value_delimiter = ',')]
    pub cores: Vec<usize>,
    /// Windows of a log. The footprint of everybody is this times the size of a window.
    #[arg(long, default_value_t = 8)]
    pub windows: u64,
    /// Bytes of a window.
    #[arg(long, default_value_t = 256 << 10)]
    pub window_bytes: u64,
    /// Units of `stream`: messages alone, and so many at once.
    #[arg(long, value_delimiter = ',', default_values_t = [1, 16, 256], value_parser = positive)]
    pub batches: Vec<usize>,
    /// Appenders of `mpsc`.
    #[arg(long, value_delimiter = ',', default_values_t = [2, 4], value_parser = positive)]
    pub appenders: Vec<usize>,
    /// Readers of `fanout`.
    #[arg(long, value_delimiter = ',', default_values_t = [1, 8, 64], value_parser = positive)]
    pub readers: Vec<usize>,
    /// Records of `scan` and `random`.
    #[arg(long, default_value_t = 10_000_000)]
    pub records: u64,
}

/// A suite, or all of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Choice(pub Option<Suite>);

impl Choice {
    /// The suites to run.
    pub fn suites(self) -> Vec<Suite> {
        self.0.map_or_else(|| Suite::value_variants().to_vec(), |suite| vec![suite])
    }
}

impl ValueEnum for Choice {
    fn value_variants<'a>() -> &'a [Self] {
        use Suite::{Append, Attach, Fanout, Mpsc, Random, Rtt, Scan, Snapshot, Stream, Wake};
        const ALL: &[Choice] = &[
            Choice(Some(Rtt)),
            Choice(Some(Stream)),
            Choice(Some(Mpsc)),
            Choice(Some(Fanout)),
            Choice(Some(Append)),
            Choice(Some(Scan)),
            Choice(Some(Random)),
            Choice(Some(Snapshot)),
            Choice(Some(Wake)),
            Choice(Some(Attach)),
            Choice(None),
        ];
        ALL
    }

    fn to_possible_value(&self) -> Option<clap::builder::PossibleValue> {
        match self.0 {
            Some(suite) => suite.to_possible_value(),
            None => Some(clap::builder::PossibleValue::new("all").help("All of them")),
        }
    }
}

fn size(text: &str) -> Result<usize, String> {
    let bytes = positive(text)?;
    if bytes.is_multiple_of(8) { Ok(bytes) } else { Err("not a multiple of 8".to_owned()) }
}

fn positive(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(0) => Err("zero".to_owned()),
        Ok(number) => Ok(number),
        Err(error) => Err(format!("{error}")),
    }
}
