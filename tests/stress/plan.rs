//! One round: who takes part, and what is done to them. Its seed says all of it.

use crate::tally::Dice;
use shmlog::{Fencing, Log, Retention, Snapshot};

/// Where the processes run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cores {
    /// All on one.
    One,
    /// Every other one on each of two.
    Two,
    /// On one at a time, and soon on another.
    Changing,
    /// Wherever the kernel likes.
    Any,
}

#[derive(Clone, Debug)]
pub struct Plan {
    pub seed: u64,
    pub roles: Vec<&'static str>,
    pub cores: Cores,
    pub fencing: Fencing,
    pub windows: u64,
    pub entries: u64,
    /// Microseconds between two signals, in each process; 0: none.
    pub storm_micros: u64,
    /// Processes are stopped for a while.
    pub stops: bool,
    /// Processes are killed, and others take their places.
    pub kills: bool,
    /// Some processes come before all others.
    pub is_realtime: bool,
    /// From time to time appenders are alone, one after the other.
    pub is_alone_at_times: bool,
}

impl Plan {
    pub fn of(seed: u64) -> Self {
        let mut dice = Dice::new(seed);
        let others = ["free", "publisher", "loader", "gated", "pinner", "author"];
        let mut roles = vec!["oracle", "author", "author"];
        // Three to eight, publishers before those that load.
        roles.extend(&others[..dice.index(others.len())]);
        if seed % 3 != 2 {
            roles.truncate(2);
            roles.extend(["author", "free", "publisher", "loader", "pinner"]);
        }
        let trouble = seed % 5;
        Self {
            seed,
            roles,
            cores: *dice.pick(&[Cores::One, Cores::Two, Cores::Changing, Cores::Any]),
            fencing: if seed.is_multiple_of(2) { Fencing::Asymmetric } else { Fencing::Portable },
            windows: 2 + dice.roll(3),
            entries: *dice.pick(&[8, 64, 500]),
            storm_micros: if trouble == 0 || trouble == 4 { 50 << dice.roll(5) } else { 0 },
            stops: trouble == 1 || trouble == 4,
            kills: trouble == 2 || trouble == 4,
            is_realtime: trouble == 3,
            is_alone_at_times: dice.roll(2) == 0,
        }
    }

    pub fn log(&self) -> Log {
        let builder = Log::builder().windows(self.windows).window_bytes(64 << 10).entries(self.entries);
        builder.retention(Retention::Gated).fencing(self.fencing).slots(8, 8).create_memfd("stress").unwrap()
    }

    /// With a buffer for each who pins, and two.
    pub fn snapshot(&self) -> Snapshot {
        let builder = Snapshot::builder().capacity_bytes(16 << 10).buffers(4).seats(4);
        builder.fencing(self.fencing).create_memfd("stress").unwrap()
    }
}
