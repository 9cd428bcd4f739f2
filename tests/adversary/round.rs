//! One round: what is attacked, and how. Its seed says all of it.

use crate::tally::Dice;
use shmlog::{Fencing, Log, LogBuilder, Retention, Snapshot, SnapshotBuilder};

/// What the adversary does most of the time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Random words at random places.
    Random,
    /// The fields of the log's region, one after the other.
    Log,
    /// Those of the boards and of the snapshot.
    Boards,
    /// Toggles fields between values that look legal, as fast as it can.
    Racing,
    /// Puts back what was there before.
    Replay,
    /// Takes locks, rings and silences doorbells.
    Locks,
    /// Each of these in turn, and takes nothing back.
    Ruin,
}

const MODES: [Mode; 7] = [Mode::Log, Mode::Racing, Mode::Boards, Mode::Replay, Mode::Locks, Mode::Random, Mode::Ruin];

/// The shape of the snapshot's slots.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// Two values of 16 bytes on one cache line.
    Packed,
    /// Of any length up to 5,000 bytes.
    Any,
    /// Up to 256 KiB, taken as needed.
    Sparse,
}

#[derive(Clone, Debug)]
pub struct Round {
    pub seed: u64,
    pub mode: Mode,
    /// One appender at a time.
    pub is_exclusive: bool,
    pub windows: u64,
    pub entries: u64,
    pub shape: Shape,
    retention: Retention,
    fencing: Fencing,
}

pub const WINDOW_BYTES: u64 = 64 << 10;
pub const APPENDER_SLOTS: u64 = 4;
pub const READER_SLOTS: u64 = 6;
pub const SNAPSHOT_SLOTS: u64 = 3;
pub const SEATS: u64 = 4;

impl Round {
    pub fn of(seed: u64) -> Self {
        let mut dice = Dice::new(seed);
        Self {
            seed,
            mode: MODES[usize::try_from(seed).unwrap() % MODES.len()],
            is_exclusive: dice.roll(2) == 0,
            windows: 2 + dice.roll(3),
            entries: *dice.pick(&[8, 16, 100, 1000]),
            shape: *dice.pick(&[Shape::Packed, Shape::Any, Shape::Sparse]),
            retention: *dice.pick(&[Retention::Gated, Retention::Overwrite, Retention::Overwrite]),
            fencing: *dice.pick(&[Fencing::Asymmetric, Fencing::Portable]),
        }
    }

    pub fn has_gates(&self) -> bool {
        self.retention == Retention::Gated
    }

    fn log_builder(&self) -> LogBuilder {
        let builder = Log::builder().windows(self.windows).window_bytes(WINDOW_BYTES).entries(self.entries);
        builder.retention(self.retention).fencing(self.fencing).slots(APPENDER_SLOTS, READER_SLOTS)
    }

    fn snapshot_builder(&self) -> SnapshotBuilder {
        let builder = Snapshot::builder().slots(SNAPSHOT_SLOTS).seats(SEATS).names(["AAPL"]).fencing(self.fencing);
        match self.shape {
            Shape::Packed => builder.value_bytes(16).buffers(2),
            Shape::Any => builder.capacity_bytes(5000).buffers(3),
            Shape::Sparse => builder.capacity_bytes(256 << 10).sparse(true).buffers(4),
        }
    }

    /// Bytes of a value that fits, if values have one length.
    pub fn value_bytes(&self, dice: &mut Dice) -> usize {
        match self.shape {
            Shape::Packed => 16,
            Shape::Any => 8 * dice.index(600),
            Shape::Sparse => 8 * dice.index(32 << 10),
        }
    }

    pub fn make(&self) -> (Log, Snapshot) {
        let name = format!("prey-{}", self.seed);
        (self.log_builder().create_memfd(&name).unwrap(), self.snapshot_builder().create_memfd(&name).unwrap())
    }

    /// The name of one of the memfds, of both together there are six.
    pub fn file(&self, what: &str) -> String {
        format!("prey-{}:{what}", self.seed)
    }
}
