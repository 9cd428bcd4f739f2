//! What is measured: suites, their cases, and the jobs of the children that play them.

use crate::system::{End, Place};
use clap::ValueEnum;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// A kind of measurement.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Suite {
    /// Ping-pong between two ends.
    Rtt,
    /// One way, one sender and one receiver, each message alone and in batches.
    Stream,
    /// Several senders, one receiver.
    Mpsc,
    /// One sender; what its sending costs, and what arrives, with many receivers.
    Fanout,
    /// Sending alone, nobody receives.
    Append,
    /// Reading a long log from its beginning.
    Scan,
    /// Reading a long log by number.
    Random,
    /// The latest value of something.
    Snapshot,
    /// A receiver that sleeps.
    Wake,
    /// From the start of a process to the first record in its hands.
    Attach,
    /// On disk: appending, nothing is synced.
    JournalAppend,
    /// On disk: each unit durable before the next one of the same writer.
    JournalCommit,
    /// On disk: reading all records in order.
    JournalScan,
    /// On disk: reading records by number.
    JournalRandom,
    /// On disk: opening what was closed, reading nothing.
    JournalOpen,
}

impl Suite {
    /// As in the reports.
    pub fn name(self) -> String {
        self.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned())
    }

    /// Whether it is about logs on disk: those are the ones in `durable`.
    pub fn is_durable(self) -> bool {
        matches!(
            self,
            Self::JournalAppend | Self::JournalCommit | Self::JournalScan | Self::JournalRandom | Self::JournalOpen
        )
    }
}

/// What tells the cases of a suite apart, beside sizes and numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// Nothing.
    Plain,
    /// Fan-out: one receiver polls, the others are attached.
    One,
    /// Fan-out: all receivers poll.
    All,
    /// Snapshot: the value stays.
    Idle,
    /// Snapshot: the writer never rests.
    Restless,
}

/// One set of rows that are compared with each other.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Case {
    /// Of which suite.
    pub suite: Suite,
    /// Bytes of a message.
    pub bytes: usize,
    /// Messages in a unit.
    pub batch: usize,
    /// Appenders.
    pub senders: usize,
    /// Readers.
    pub receivers: usize,
    /// Which variant.
    pub mode: Mode,
    /// How many records the suites lay out that read a long log.
    pub records: u64,
}

/// What the ends of a trial have to know to be made.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Shape {
    /// Its name in the list.
    pub system: String,
    /// What is measured.
    pub suite: Suite,
    /// Bytes of a message: a multiple of 8.
    pub bytes: usize,
    /// Messages in a unit; 1: each alone.
    pub batch: usize,
    /// Which variant.
    pub mode: Mode,
    /// Lanes: 2 for the round trip, else 1.
    pub lanes: usize,
    /// Senders of each lane.
    pub senders: usize,
    /// Receivers of each lane.
    pub receivers: usize,
    /// Windows of a log.
    pub windows: u64,
    /// Bytes of a window.
    pub window_bytes: u64,
    /// Records of a long log.
    pub records: u64,
    /// A directory of this trial alone: in memory, or, in durable suites, on disk.
    pub dir: PathBuf,
    /// Bytes of records after which a durable trial ends, whatever time it has left.
    pub most_bytes: u64,
    /// Bytes that a durable trial prepares for its commits before its time starts.
    pub ahead_bytes: u64,
    /// There are more ends than cores: who waits lets others run.
    pub yields: bool,
}

impl Shape {
    /// What each lane may take of the cache.
    pub fn footprint_bytes(&self) -> usize {
        usize::try_from(self.windows * self.window_bytes).unwrap_or(usize::MAX)
    }

    /// Whether receivers sleep, and are to be woken.
    pub fn sleeps(&self) -> bool {
        self.suite == Suite::Wake
    }
}

/// What an end does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Part {
    /// Sends, waits for the answer.
    Ping,
    /// Answers.
    Pong,
    /// Sends as fast as it can.
    Send,
    /// Sends a few, pauses, and so on; measures what each costs.
    Pace,
    /// Receives everything.
    Receive,
    /// Is attached and does not poll.
    Attend,
    /// Sends into the void; measures what each costs.
    Append,
    /// Sends one now and then, with the time in it.
    Stamp,
    /// Sleeps until it is woken.
    Doze,
    /// What only this suite has: the first end (writer, or all there is).
    First,
    /// The second one (reader).
    Second,
    /// On disk: writes until the time is over.
    Write,
    /// On disk: lays out the records that others read.
    Fill,
    /// On disk: reads, or opens, as the suite says.
    Look,
    /// On disk: opens what was written, and reads all of it, in order to compare.
    Verify,
}

impl Part {
    /// The ends that it needs, in the order in which it attaches to them.
    pub fn places(self, index: usize) -> Vec<Place> {
        let place = |lane, end| Place { lane, end, index };
        match self {
            Self::Ping => vec![place(0, End::Tx), place(1, End::Rx)],
            Self::Pong => vec![place(0, End::Rx), place(1, End::Tx)],
            Self::Send | Self::Pace | Self::Append | Self::Stamp | Self::First => vec![place(0, End::Tx)],
            Self::Receive | Self::Doze | Self::Second => vec![place(0, End::Rx)],
            Self::Attend => vec![place(0, End::Idle)],
            // They meet in a directory.
            Self::Write | Self::Fill | Self::Look | Self::Verify => Vec::new(),
        }
    }
}

/// One end's part and place.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Seat {
    /// What it does.
    pub part: Part,
    /// Which one of those that do the same.
    pub index: usize,
    /// Where it is pinned.
    pub core: Option<usize>,
}

/// What a child is told.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Job {
    /// What it attaches to.
    pub shape: Shape,
    /// Its part; those of all threads, if it is the only child.
    pub seats: Vec<Seat>,
    /// How long it goes on.
    pub seconds: f64,
    /// Of the clock in `clock.rs`.
    pub ps_per_tick: f64,
    /// When it was started: `CLOCK_MONOTONIC`.
    pub started_ns: u64,
}
