//! What a child tells its parent.

use crate::case::Part;
use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

/// Longest time that a histogram tells apart from longer ones: 1000 s, in picoseconds.
const LONGEST_PS: u64 = 1_000_000_000_000_000;

/// Times in picoseconds.
pub type Times = Histogram<u64>;

/// An empty histogram: 10 ps to 1000 s, three digits.
pub fn no_times() -> Times {
    #[allow(clippy::expect_used, reason = "the bounds are constants")]
    Histogram::new_with_bounds(10, LONGEST_PS, 3).expect("bounds in order")
}

/// What one end did.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Told {
    /// Its part.
    pub part: Part,
    /// How many messages it sent or received.
    pub count: u64,
    /// The sum of all their words.
    pub sum: u64,
    /// When it began: `CLOCK_MONOTONIC`.
    pub started_ns: u64,
    /// When it was done.
    pub ended_ns: u64,
    /// What it saw of which it should have seen none: lost, doubled, out of order, or torn.
    pub wrong: u64,
    /// When all of it was on disk, where that was waited for.
    pub synced_ns: u64,
    /// What it measured: (picoseconds, how often).
    pub times: Vec<(u64, u64)>,
}

impl Told {
    /// By an end that has done nothing yet.
    pub fn new(part: Part) -> Self {
        Self { part, count: 0, sum: 0, started_ns: 0, ended_ns: 0, wrong: 0, synced_ns: 0, times: Vec::new() }
    }

    /// Takes the times into what is told.
    #[must_use]
    pub fn with_times(mut self, times: &Times) -> Self {
        self.times = times.iter_recorded().map(|at| (at.value_iterated_to(), at.count_at_value())).collect();
        self
    }

    /// The times, as a histogram again.
    pub fn times(&self) -> Times {
        let mut times = no_times();
        for &(ps, count) in &self.times {
            times.saturating_record_n(ps, count);
        }
        times
    }
}

/// What a child says last.
#[derive(Debug, Serialize, Deserialize)]
pub enum Word {
    /// All its ends are attached.
    Ready,
    /// What they did.
    Done(Vec<Told>),
    /// Why not.
    Failed(String),
}
