//! Logs to work on: one of each shape, made once and put back in order before each input.

use crate::bytes::Bytes;
use crate::model::Rec;
use arbitrary::{Arbitrary, Unstructured};
use shmlog::{Fencing, Log, Retention};
use std::cell::RefCell;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::thread::LocalKey;

/// Bytes of a window: the fewest there can be.
pub const WINDOW: u64 = 64 << 10;
/// Commit words of a segment: the fewest there can be, so that a few records fill one.
pub const ENTRIES: u64 = 8;
/// Slots of each kind on the board.
pub const SLOTS: u64 = 2;
/// Offsets in the log region.
pub const HEAD: u64 = 128;
pub const ACTIVE: u64 = 256;
pub const BASES: u64 = 4096;
pub const FIRST_WINDOW: u64 = 8192;

/// What kind of log an input works on.
#[derive(Arbitrary, Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct LogShape {
    has_three_windows: bool,
    kept: Kept,
    #[arbitrary(with = rarely)]
    is_asymmetric: bool,
    pub age: Age,
}

#[derive(Arbitrary, Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Kept {
    Gated,
    Overwrite,
    All,
}

/// What happened to it before.
#[derive(Arbitrary, Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Age {
    /// Nothing.
    New,
    /// A few laps, if it can be recycled.
    Used,
    /// So many laps that the tags are about to come round.
    Old,
}

/// A barrier is a system call, and some inputs issue thousands.
pub(crate) fn rarely(u: &mut Unstructured<'_>) -> arbitrary::Result<bool> {
    Ok(u.arbitrary::<u8>()? >= 240)
}

impl LogShape {
    /// One to hand on.
    pub fn usual() -> Self {
        Self { has_three_windows: false, kept: Kept::Gated, is_asymmetric: false, age: Age::Used }
    }

    pub fn windows(self) -> u64 {
        if self.has_three_windows { 3 } else { 2 }
    }

    pub fn retention(self) -> Retention {
        match self.kept {
            Kept::Gated => Retention::Gated,
            Kept::Overwrite => Retention::Overwrite,
            Kept::All => Retention::Keep,
        }
    }

    /// Builds such a log in `dir`.
    pub fn create(self, dir: &Path) -> Log {
        let fencing = if self.is_asymmetric { Fencing::Asymmetric } else { Fencing::Portable };
        let builder = Log::builder().windows(self.windows()).window_bytes(WINDOW).entries(ENTRIES).slots(SLOTS, SLOTS);
        builder.retention(self.retention()).fencing(fencing).create_at(dir).expect("a log")
    }
}

/// A log, and the bytes under it.
pub struct Ground {
    pub shape: LogShape,
    pub log: Log,
    /// Where it was made, and still is if it is a named one.
    pub path: PathBuf,
    pub region: Bytes,
    pub board: Bytes,
    /// The longest record, in bytes.
    pub limit: usize,
    /// What is in it when an input begins: the first sequence number there, and the records from it on.
    pub first: u64,
    pub records: Vec<Rec>,
}

/// Offset of a window.
pub fn window(number: u64) -> u64 {
    FIRST_WINDOW + number * WINDOW
}

impl Ground {
    /// The one of this shape, as it was when it was made. Its files have no name: nothing is left behind however
    /// the process ends.
    pub fn of(shape: LogShape) -> Rc<Self> {
        thread_local!(static ALL: RefCell<HashMap<LogShape, Rc<Ground>>> = RefCell::default());
        Self::pick(&ALL, shape, || Self::make(shape, tempfile::tempdir().expect("a directory").path()))
    }

    /// The named one of this shape. It stays where temporary files are made.
    pub fn named(shape: LogShape) -> Rc<Self> {
        thread_local!(static ALL: RefCell<HashMap<LogShape, Rc<Ground>>> = RefCell::default());
        Self::pick(&ALL, shape, || Self::make(shape, &tempfile::tempdir().expect("a directory").keep()))
    }

    fn pick(
        all: &'static LocalKey<RefCell<HashMap<LogShape, Rc<Self>>>>,
        shape: LogShape,
        make: impl FnOnce() -> Self,
    ) -> Rc<Self> {
        let ground = all.with_borrow_mut(|all| Rc::clone(all.entry(shape).or_insert_with(|| Rc::new(make()))));
        ground.region.restore();
        ground.board.restore();
        ground
    }

    fn make(shape: LogShape, dir: &Path) -> Self {
        let path = dir.join("log");
        let log = shape.create(&path);
        let (region, board) = (Bytes::open(&path.join("log")), Bytes::open(&path.join("board")));
        let limit = log.info().max_record_bytes;
        let mut ground = Self { shape, log, path, region, board, limit, first: 0, records: Vec::new() };
        match shape.age {
            Age::New => {}
            // One that keeps everything never gets old.
            Age::Old if shape.retention() != Retention::Keep => {
                // The last laps before the tags come round.
                let segment = 16_381 * shape.windows();
                ground.begin_at(segment, 100_000);
                ground.wear();
            }
            Age::Used | Age::Old => ground.wear(),
        }
        ground.region.keep();
        ground.board.keep();
        ground
    }

    /// Moves an empty log to this segment.
    fn begin_at(&mut self, segment: u64, base: u64) {
        let windows = self.shape.windows();
        self.region.set_word(HEAD, segment);
        self.region.set_word(ACTIVE, segment);
        self.region.set_word(BASES + 8 * (segment % windows), base);
        self.region.set_word(window(segment % windows), (segment / windows + 1) << 22);
        self.first = base;
    }

    /// Appends until the log has gone round a few times, or is half full.
    fn wear(&mut self) {
        let mut appender = self.log.appender().expect("an appender");
        let count =
            if self.shape.retention() == Retention::Keep { ENTRIES } else { 5 * ENTRIES * self.shape.windows() };
        for number in 0..count {
            let rec =
                Rec { salt: number as u8, len: (number * 7 % 90) as usize, parts: (number % 3 == 0).then_some(2) };
            let seq = rec.append_to(&mut appender).expect("nobody is in the way");
            assert_eq!(seq, self.first + self.records.len() as u64);
            self.records.push(rec);
        }
        drop(appender);
        let oldest = self.log.info().oldest_seq;
        let given_up = usize::try_from(oldest - self.first).expect("a few");
        self.records.drain(..given_up);
        self.first = oldest;
    }
}
