//! Snapshots to work on: one of each shape, made once and put back in order before each input.

use crate::bytes::Bytes;
use crate::ground::rarely;
use arbitrary::Arbitrary;
use rustix::fs::{FallocateFlags, fallocate};
use shmlog::{Fencing, Snapshot};
use std::cell::RefCell;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::thread::LocalKey;

/// Slots of each snapshot, and seats on its board.
pub const SLOTS: u64 = 2;
pub const SEATS: u64 = 2;
/// Where the slots begin.
const FIRST: u64 = 8192;
/// Where the seats begin on the board: behind a doorbell for each slot.
const SEATS_AT: u64 = 4096 + SLOTS * 128;

/// What kind of snapshot an input works on.
#[derive(Arbitrary, Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SnapshotShape {
    pub values: Values,
    #[arbitrary(with = rarely)]
    is_asymmetric: bool,
}

/// What values it has.
#[derive(Arbitrary, Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Values {
    /// Of 16 bytes, in a cache line.
    Packed,
    /// Of 200 bytes.
    Fixed,
    /// Of up to 500 bytes.
    Any,
    /// Of up to 20,000 bytes, in memory that is taken as it is needed.
    Sparse,
}

impl Values {
    pub fn buffers(self) -> u64 {
        match self {
            Self::Packed | Self::Sparse => 2,
            Self::Fixed => 3,
            Self::Any => 4,
        }
    }

    pub fn capacity_bytes(self) -> usize {
        match self {
            Self::Packed => 16,
            Self::Fixed => 200,
            Self::Any => 500,
            Self::Sparse => 20_000,
        }
    }

    pub fn is_fixed(self) -> bool {
        matches!(self, Self::Packed | Self::Fixed)
    }

    fn first_buffer(self) -> u64 {
        match self {
            Self::Packed => 16,
            Self::Fixed | Self::Any => 128,
            Self::Sparse => 4096,
        }
    }
}

impl SnapshotShape {
    /// One to hand on.
    pub fn usual() -> Self {
        Self { values: Values::Any, is_asymmetric: false }
    }

    /// Builds such a snapshot in `dir`.
    pub fn create(self, dir: &Path) -> Snapshot {
        let (fencing, builder) = (
            if self.is_asymmetric { Fencing::Asymmetric } else { Fencing::Portable },
            Snapshot::builder().slots(SLOTS).seats(SEATS).buffers(self.values.buffers()).names(["first"]),
        );
        let bytes = self.values.capacity_bytes() as u64;
        let builder = if self.values.is_fixed() { builder.value_bytes(bytes) } else { builder.capacity_bytes(bytes) };
        builder.sparse(self.values == Values::Sparse).fencing(fencing).create_at(dir).expect("a snapshot")
    }
}

/// A snapshot, and the bytes under it.
pub struct Shelf {
    pub shape: SnapshotShape,
    pub snapshot: Snapshot,
    /// Where it was made, and still is if it is a named one.
    pub path: PathBuf,
    pub region: Bytes,
    pub board: Bytes,
    slot_bytes: u64,
}

impl Shelf {
    /// The one of this shape, as it was when it was made. Its files have no name: nothing is left behind however
    /// the process ends.
    pub fn of(shape: SnapshotShape) -> Rc<Self> {
        thread_local!(static ALL: RefCell<HashMap<SnapshotShape, Rc<Shelf>>> = RefCell::default());
        Self::pick(&ALL, shape, || Self::make(shape, tempfile::tempdir().expect("a directory").path()))
    }

    /// The named one of this shape, with a value in it. It stays where temporary files are made.
    pub fn named(shape: SnapshotShape) -> Rc<Self> {
        thread_local!(static ALL: RefCell<HashMap<SnapshotShape, Rc<Shelf>>> = RefCell::default());
        Self::pick(&ALL, shape, || {
            let mut shelf = Self::make(shape, &tempfile::tempdir().expect("a directory").keep());
            let mut writer = shelf.snapshot.writer().expect("a writer");
            for value in [[7; 500], [8; 500]] {
                let len = shape.values.capacity_bytes().min(value.len());
                writer.publish_bytes(&value[..len]).expect("room");
            }
            shelf.region.keep();
            shelf
        })
    }

    fn pick(
        all: &'static LocalKey<RefCell<HashMap<SnapshotShape, Rc<Self>>>>,
        shape: SnapshotShape,
        make: impl FnOnce() -> Self,
    ) -> Rc<Self> {
        let shelf = all.with_borrow_mut(|all| Rc::clone(all.entry(shape).or_insert_with(|| Rc::new(make()))));
        shelf.region.restore();
        shelf.board.restore();
        if shape.values == Values::Sparse {
            shelf.punch_all();
        }
        shelf
    }

    fn make(shape: SnapshotShape, dir: &Path) -> Self {
        let path = dir.join("snapshot");
        let snapshot = shape.create(&path);
        let (region, board) = (Bytes::open(&path.join("snapshot")), Bytes::open(&path.join("pins")));
        let slot_bytes = snapshot.info().slot_bytes;
        Self { shape, snapshot, path, region, board, slot_bytes }
    }

    /// Makes holes of all buffers that begin with nothing.
    fn punch_all(&self) {
        for slot in 0..SLOTS {
            for buffer in 0..self.shape.values.buffers() {
                let (at, next) = (self.buffer(slot, buffer), self.buffer(slot, buffer + 1));
                if self.region.good_word(at + 8) == 0 {
                    self.punch(at, next - at);
                }
            }
        }
    }

    fn punch(&self, at: u64, bytes: u64) {
        let how = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
        fallocate(self.region.file(), how, at, bytes).expect("a file that can have holes");
    }

    fn buffer(&self, slot: u64, buffer: u64) -> u64 {
        let first = self.shape.values.first_buffer();
        let stride = (self.slot_bytes - first) / self.shape.values.buffers();
        FIRST + slot * self.slot_bytes + first + buffer * stride
    }
}

/// One word, written over whatever is there.
#[derive(Arbitrary, Clone, Copy, Debug)]
pub struct Scribble {
    place: Place,
    value: Value,
}

#[derive(Arbitrary, Clone, Copy, Debug)]
enum Place {
    Current(bool),
    Next(bool),
    /// A word of a buffer: position, length, the value.
    Buffer(bool, u8, u8),
    Name(bool, u8),
    Taken,
    Hold(bool),
    Seat(bool, u8),
    Bell(u8),
    Region(u16),
    Board(u16),
    /// A page of a sparse buffer goes back to the system.
    Hole(bool, u8, u8),
}

#[derive(Arbitrary, Clone, Copy, Debug)]
enum Value {
    Word(u64),
    Small(u8),
    Top(u8),
    Bit(u8),
    Add(i8),
    /// What pins this buffer of this slot.
    Pin(u8, u8),
    Letters([u8; 8]),
}

impl Value {
    fn word(self, now: u64) -> u64 {
        match self {
            Self::Word(word) => word,
            Self::Small(word) => word.into(),
            Self::Top(less) => u64::MAX - u64::from(less),
            Self::Bit(bit) => now ^ 1 << (bit % 64),
            Self::Add(off) => now.wrapping_add_signed(off.into()),
            Self::Pin(slot, buffer) => 1 + u64::from(slot % 4) * 64 + u64::from(buffer % 8),
            Self::Letters(letters) => u64::from_le_bytes(letters),
        }
    }
}

impl Scribble {
    /// Writes it. Returns whether that changed anything.
    pub fn apply(&self, shelf: &Shelf) -> bool {
        let (region, board) = (&shelf.region, &shelf.board);
        let slot = |is_second: bool| FIRST + u64::from(is_second) * shelf.slot_bytes;
        let seat = |is_second: bool| SEATS_AT + 256 * u64::from(is_second);
        let buffer = |is_second: bool, number: u8| {
            shelf.buffer(is_second.into(), u64::from(number) % shelf.shape.values.buffers())
        };
        let (file, at) = match self.place {
            Place::Current(second) => (region, slot(second)),
            Place::Next(second) => (region, slot(second) + 8),
            Place::Buffer(second, number, word) => (region, buffer(second, number) + 8 * u64::from(word)),
            Place::Name(second, word) => (region, 4096 + 32 * u64::from(second) + 8 * u64::from(word % 4)),
            Place::Taken => (board, 128),
            Place::Hold(second) => (board, seat(second)),
            Place::Seat(second, word) => (board, seat(second) + 128 + 8 * u64::from(word % 8)),
            Place::Bell(word) => (board, 4096 + 128 * u64::from(word / 2 % 2) + 8 * u64::from(word % 2)),
            Place::Region(word) => (region, 8 * u64::from(word) % region.len()),
            Place::Board(word) => (board, 8 * u64::from(word) % board.len()),
            Place::Hole(second, number, page) => {
                if shelf.shape.values == Values::Sparse {
                    shelf.punch(buffer(second, number) + 4096 * u64::from(page % 5), 4096);
                    return true;
                }
                return false;
            }
        };
        file.set_word(at, self.value.word(file.word(at)))
    }
}
