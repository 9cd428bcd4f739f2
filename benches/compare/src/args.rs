//! The command line.

use crate::case::Suite;
use clap::builder::PossibleValue;
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
    /// Bytes of a message, instead of the suite's own sizes; multiples of 8, on disk at least 16.
    #[arg(long, value_delimiter = ',', value_parser = positive)]
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
    /// Records of `scan` and `random` (10 million), and of `journal-scan`, `-random` and `-open` (2 million).
    #[arg(long)]
    pub records: Option<u64>,
    /// Writers of `journal-append` (1 and 2) and `journal-commit` (1, 2, 8 and 32).
    #[arg(long, value_delimiter = ',', value_parser = positive)]
    pub writers: Vec<usize>,
    /// Where the journals are laid; by default in the directory of the build.
    #[arg(long, value_name = "DIR")]
    pub dir: Option<PathBuf>,
    /// Bytes of records after which a trial of `journal-append` ends before its time.
    #[arg(long, default_value_t = 2 << 30)]
    pub most_bytes: u64,
}

/// A suite, or several.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Choice {
    /// This one.
    One(Suite),
    /// Those in memory.
    All,
    /// Those on disk.
    Journal,
}

impl Choice {
    /// The suites to run.
    pub fn suites(self) -> Vec<Suite> {
        let mut suites = Suite::value_variants().to_vec();
        suites.retain(|suite| match self {
            Self::One(one) => *suite == one,
            Self::All => !suite.is_durable(),
            Self::Journal => suite.is_durable(),
        });
        suites
    }
}

impl ValueEnum for Choice {
    fn value_variants<'a>() -> &'a [Self] {
        use Choice::One;
        use Suite::{Append, Attach, Fanout, Mpsc, Random, Rtt, Scan, Snapshot, Stream, Wake};
        use Suite::{JournalAppend, JournalCommit, JournalOpen, JournalRandom, JournalScan};
        const EACH: &[Choice] = &[
            One(Rtt),
            One(Stream),
            One(Mpsc),
            One(Fanout),
            One(Append),
            One(Scan),
            One(Random),
            One(Snapshot),
            One(Wake),
            One(Attach),
            Choice::All,
            One(JournalAppend),
            One(JournalCommit),
            One(JournalScan),
            One(JournalRandom),
            One(JournalOpen),
            Choice::Journal,
        ];
        EACH
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        match self {
            Self::One(suite) => suite.to_possible_value(),
            Self::All => Some(PossibleValue::new("all").help("All of those above: they are in memory")),
            Self::Journal => Some(PossibleValue::new("journal").help("All five on disk")),
        }
    }
}

fn positive(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(0) => Err("zero".to_owned()),
        Ok(number) => Ok(number),
        Err(error) => Err(format!("{error}")),
    }
}
