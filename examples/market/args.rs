//! The command line.

use clap::{Parser, ValueEnum};
use shmlog::{HugePageSize, HugePages, Retention, Wait};
use std::fmt;
use std::num::NonZeroU64;
use std::path::PathBuf;
use std::str::FromStr;

/// Publishes a market-data feed through a shared log to worker processes, and checks that they all
/// agree in the end.
///
/// Workers ask the parent's hub for what they need. `--workers` times "book" keeps full order books;
/// the last of them, the owner, also publishes the best bid and ask of each symbol whenever one
/// changes, and all its books now and then. "tally" counts. "watch" only loads the best bids and
/// asks. "late" is started when half of the feed is out, restores the owner's books, reads on from
/// there and must end with the same ones. When publishing as fast as possible, the second half waits
/// until "late" has joined.
///
/// A worker that is killed stops nobody; it is reported. If the parent is killed, the workers read
/// what is there and end.
///
/// `--journal` starts another one, the recorder, which takes the feed to disk and says how much is
/// safe there. If it is killed it is started again, and the log keeps for it what is not durable yet.
/// `--replay` publishes what was recorded.
#[derive(Debug, Parser)]
#[command(name = "market", version)]
pub struct Args {
    /// A NASDAQ ITCH 5.0 file, each message behind a 2-byte big-endian length. Without it a
    /// generator makes up a day of trading.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["messages", "seed"])]
    pub input: Option<PathBuf>,

    /// Take the feed from the journal in this directory, as it was recorded by `--journal`.
    #[arg(long, value_name = "DIR", conflicts_with_all = ["input", "messages", "seed"])]
    pub replay: Option<PathBuf>,

    /// Record the feed to a journal in this directory, which is made, or holds no recording yet. What
    /// is not durable the log keeps, and waits; only with `--retention overwrite` it may be gone when
    /// a recorder that was killed comes back, which is then the end of recording.
    #[arg(long, value_name = "DIR")]
    pub journal: Option<PathBuf>,

    /// Kill the recorder (SIGKILL) once so many messages are in the journal, wherever it is then; at
    /// several places if there are several numbers with commas between them.
    #[arg(long, value_name = "N,..", requires = "journal", value_delimiter = ',')]
    pub kill_recorder_after: Vec<u64>,

    /// When the recorder was killed, take away what it left in memory, as a power failure would.
    #[arg(long, requires = "journal")]
    pub lose_memory: bool,

    /// How many messages to generate.
    #[arg(long, value_name = "N", default_value_t = 1_000_000, value_parser = clap::value_parser!(u64).range(..=1_000_000_000))]
    pub messages: u64,

    /// What the generator draws from: the same seed, the same feed.
    #[arg(long, value_name = "SEED", default_value_t = 1)]
    pub seed: u64,

    /// Messages a second; as fast as possible without it.
    #[arg(long, value_name = "N")]
    pub rate: Option<NonZeroU64>,

    /// What the log lies on: small; huge (2 MiB pages, or an error); prefer (2 MiB pages if there
    /// are any); huge1g (1 GiB pages, or an error); file (a file on tmpfs, removed in the end); or
    /// file:PATH (a named log, which stays).
    #[arg(long, value_name = "PAGES", default_value = "small")]
    pub pages: Pages,

    /// What happens when the log has come round: gated (publishing waits for the slowest worker),
    /// keep (it ends) or overwrite (slow workers miss messages; only the owner is waited for).
    #[arg(long, value_enum, value_name = "RETENTION", default_value = "gated")]
    pub retention: Keeps,

    /// Size of the log in MiB; by default it holds the whole feed.
    #[arg(long, value_name = "MIB", value_parser = clap::value_parser!(u64).range(4..=131_072))]
    pub size: Option<u64>,

    /// How many processes keep books.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=64))]
    pub workers: u16,

    /// Records between two publications of the books, at most a quarter of what the log holds; by
    /// default a 16th of the feed, at least 1000.
    #[arg(long, value_name = "N")]
    pub snapshot_every: Option<NonZeroU64>,

    /// How workers wait for messages: spin, yield (spin, then let others run) or block.
    #[arg(long, value_enum, value_name = "HOW", default_value = "yield")]
    pub wait: Waits,

    /// Print one JSON object instead of the summary, and no progress.
    #[arg(long)]
    pub json: bool,

    /// Be this worker; set by the parent.
    #[arg(long, hide = true)]
    pub worker: Option<Role>,

    /// Keep the journal's memory in this directory; set by the parent.
    #[arg(long, hide = true)]
    pub front: Option<PathBuf>,
}

impl Args {
    /// The worker that publishes its books.
    pub fn owner(&self) -> Role {
        Role::Book(self.workers - 1)
    }
}

/// See [`Args::pages`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Pages {
    Memory(HugePages),
    /// A file without a name.
    File,
    NamedFile(PathBuf),
}

impl FromStr for Pages {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Ok(Self::Memory(match text {
            "small" => HugePages::Off,
            "huge" => HugePages::Require(HugePageSize::TwoMiB),
            "prefer" => HugePages::Prefer(HugePageSize::TwoMiB),
            "huge1g" => HugePages::Require(HugePageSize::OneGiB),
            "file" => return Ok(Self::File),
            _ => {
                let path = text.strip_prefix("file:").filter(|path| !path.is_empty());
                let named = path.map(|path| Self::NamedFile(path.into()));
                return named.ok_or_else(|| "one of small, huge, prefer, huge1g, file, file:PATH".to_owned());
            }
        }))
    }
}

/// See [`Args::retention`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Keeps {
    Keep,
    Gated,
    Overwrite,
}

impl From<Keeps> for Retention {
    fn from(keeps: Keeps) -> Self {
        match keeps {
            Keeps::Keep => Self::Keep,
            Keeps::Gated => Self::Gated,
            Keeps::Overwrite => Self::Overwrite,
        }
    }
}

/// See [`Args::wait`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Waits {
    Spin,
    Yield,
    Block,
}

impl From<Waits> for Wait {
    fn from(waits: Waits) -> Self {
        match waits {
            Waits::Spin => Self::Spin,
            Waits::Yield => Self::SpinThenYield,
            Waits::Block => Self::Block,
        }
    }
}

/// Name of a value as the command line has it.
pub fn name_of(value: &impl ValueEnum) -> String {
    value.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned())
}

/// What a worker does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// Keeps books. The first one, 0, also measures latency.
    Book(u16),
    Tally,
    /// Keeps books, but starts late.
    Late,
    /// Looks at the best bids and asks.
    Watch,
    /// Takes the feed to disk.
    Recorder,
}

impl Role {
    pub fn keeps_books(self) -> bool {
        matches!(self, Self::Book(_) | Self::Late)
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Book(number) => f.pad(&format!("book-{number}")),
            Self::Tally => f.pad("tally"),
            Self::Late => f.pad("late"),
            Self::Watch => f.pad("watch"),
            Self::Recorder => f.pad("recorder"),
        }
    }
}

impl FromStr for Role {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "tally" => Ok(Self::Tally),
            "late" => Ok(Self::Late),
            "watch" => Ok(Self::Watch),
            "recorder" => Ok(Self::Recorder),
            _ => {
                let number = text.strip_prefix("book-").and_then(|number| number.parse().ok());
                number.map(Self::Book).ok_or_else(|| format!("no such worker: {text}"))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Args::command().debug_assert();
    }

    #[test]
    fn roles_are_told_to_workers_by_name() {
        for role in [Role::Book(0), Role::Book(63), Role::Tally, Role::Late, Role::Watch, Role::Recorder] {
            assert_eq!(role.to_string().parse(), Ok(role));
        }
        for wrong in ["", "book", "book-", "book--1", "early"] {
            assert!(wrong.parse::<Role>().is_err());
        }
    }

    #[test]
    fn the_recorder_is_killed_at_any_number_of_places() {
        let args = |line: &str| Args::try_parse_from(line.split(' '));
        assert_eq!(args("market --journal d --kill-recorder-after 1,20").unwrap().kill_recorder_after, [1, 20]);
        assert!(args("market --kill-recorder-after 1").is_err());
        assert!(args("market --lose-memory").is_err());
        assert!(args("market --replay d --seed 3").is_err());
    }

    #[test]
    fn files_may_have_names() {
        assert_eq!("file".parse(), Ok(Pages::File));
        assert_eq!("file:/dev/shm/feed".parse(), Ok(Pages::NamedFile("/dev/shm/feed".into())));
        assert_eq!("small".parse(), Ok(Pages::Memory(HugePages::Off)));
        assert!("file:".parse::<Pages>().is_err());
    }
}
