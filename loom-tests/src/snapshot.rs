//! One snapshot slot on the heap, the seats of who pins, and what its users do.

use crate::mortal::{Kernel, Mortal, Watched};
use crate::shadow::Shadow;
use shmlog::model::cell::{Attempt, Cell, Pinned};
use shmlog::model::layout::board::Slot;
use shmlog::model::memory::NoBarrier;
use shmlog::model::pins::{self, PinBoard};
use shmlog::model::sync::{AtomicU64, Fencing, Ordering::Relaxed, Ordering::SeqCst, fence};
use std::sync::Arc;

/// Words of a value, each equal to its version: the fewest that can be torn.
const VALUE_WORDS: usize = 2;
/// `current` and `next`, before the buffers.
const HEAD_WORDS: usize = 2;
/// Which of a table's slots it is.
const INDEX: u64 = 1;

/// One slot and the seats.
#[derive(Debug)]
pub struct Snapshot {
    words: Box<[AtomicU64]>,
    shadows: Box<[Shadow]>,
    buffers: u64,
    seats: Box<[Slot]>,
    taken: AtomicU64,
    /// Counts full fences. Loom runs a fence in one go with the step before it, and does not try others
    /// between them; this makes it try every order of them.
    fences: AtomicU64,
    /// Who died: bit `s` for the owner of seat `s`, and [`WRITER`].
    pub kernel: Kernel,
}

/// The writer, to the kernel.
pub const WRITER: usize = 8;

impl Snapshot {
    /// A slot that has long been in use: `current` was published last, and the versions before it are
    /// in the other buffers. `seats` seats, none of them ever taken. Must be called in a model.
    pub fn new(buffers: u64, seats: usize, current: u64) -> Arc<Self> {
        let value_words = VALUE_WORDS * usize::try_from(buffers).expect("small");
        let snapshot = Self {
            words: (0..HEAD_WORDS + value_words).map(|_| AtomicU64::new(current)).collect(),
            shadows: (0..value_words).map(|_| Shadow::new()).collect(),
            buffers,
            seats: (0..seats).map(|_| Slot::new()).collect(),
            taken: AtomicU64::new(0),
            fences: AtomicU64::new(0),
            kernel: Kernel::new(),
        };
        for version in (0..buffers).map(|age| current.wrapping_sub(age)) {
            snapshot.cell().buffer(version).iter().for_each(|word| word.store(version, Relaxed));
        }
        Arc::new(snapshot)
    }

    /// The slot.
    pub fn cell(&self) -> Cell<'_> {
        Cell::new(&self.words, INDEX, HEAD_WORDS, self.buffers, VALUE_WORDS).expect("its words are there")
    }

    /// The pin word of a seat.
    pub fn pin(&self, seat: usize) -> &AtomicU64 {
        &self.seats[seat].hold.0
    }

    /// The owner of a seat is about to pin for the first time.
    pub fn open_seat(&self, seat: usize) {
        pins::open_seat(&self.taken, seat);
    }

    /// The owner of a seat has pinned the buffer of a version.
    pub fn pinned(&self, seat: usize, version: u64) {
        self.open_seat(seat);
        self.pin(seat).store(pins::word(INDEX, self.cell().buffer_of(version)), Relaxed);
    }

    /// The version announced last, as far as this thread knows.
    pub fn announced(&self) -> u64 {
        self.words[1].load(Relaxed)
    }

    fn shadow(&self, word: &AtomicU64) -> &Shadow {
        let at = self.words.iter().position(|other| std::ptr::eq(other, word)).expect("a word of the slot");
        &self.shadows[at - HEAD_WORDS]
    }
}

impl Watched for Snapshot {
    fn kernel(&self) -> &Kernel {
        &self.kernel
    }
}

impl PinBoard for Snapshot {
    fn pinning(&self, pin: u64) -> Option<usize> {
        pins::pinning(&self.seats, &self.taken, pin)
    }
    fn fencing(&self) -> Fencing {
        if self.seats.is_empty() {
            // Nobody can pin: what readers that only load rely on must not be in the full fence.
            return Fencing::Asymmetric;
        }
        self.fences.fetch_add(1, Relaxed);
        Fencing::Portable
    }
    fn heavy_fence(&self) -> Result<(), NoBarrier> {
        self.fences.fetch_add(1, Relaxed);
        fence(SeqCst);
        Ok(())
    }
}

impl PinBoard for Mortal<'_, Snapshot> {
    fn pinning(&self, pin: u64) -> Option<usize> {
        self.look().pinning(pin)
    }
    fn fencing(&self) -> Fencing {
        self.look().fencing()
    }
    fn heavy_fence(&self) -> Result<(), NoBarrier> {
        self.look().heavy_fence()
    }
}

/// Who uses a snapshot slot: the slot itself for the immortal, or a [`Mortal`] view of it.
pub trait User: PinBoard {
    /// The slot, at one more step, which can be the last.
    fn look(&self) -> &Snapshot;
}

impl User for Snapshot {
    fn look(&self) -> &Snapshot {
        self
    }
}

impl User for Mortal<'_, Snapshot> {
    fn look(&self) -> &Snapshot {
        self.look()
    }
}

/// Writes what was reserved.
pub fn write(by: &impl User, version: u64) {
    for word in by.look().cell().buffer(version) {
        by.look().shadow(word).write();
        word.store(version, Relaxed);
    }
}

/// Reserves, writes and publishes one version.
///
/// # Errors
/// [`Pinned`]
pub fn publish(by: &impl User) -> Result<u64, Pinned> {
    let cell = by.look().cell();
    let version = cell.reserve(by)?;
    write(by, version);
    by.look();
    cell.publish(version);
    Ok(version)
}

/// Publishes `count` versions; the newest, or the first pin in the way.
///
/// # Errors
/// [`Pinned`]
pub fn publish_many(by: &impl User, count: usize) -> Result<u64, Pinned> {
    (1..count).try_for_each(|_| publish(by).map(|_| ()))?;
    publish(by)
}

/// Publishes one version; clears the pins of the dead that are in the way.
///
/// # Errors
/// [`Pinned`] by the living
pub fn publish_past_the_dead(slot: &Snapshot) -> Result<u64, Pinned> {
    for _ in &slot.seats {
        match publish(slot) {
            Err(Pinned { seat }) if slot.kernel.is_dead(seat) => pins::unpin(slot.pin(seat)),
            other => return other,
        }
    }
    publish(slot)
}

/// Loads once: the version, which is whole, or `None` if overtaken: then there is a newer one.
pub fn load(slot: &Snapshot) -> Option<u64> {
    let mut tried = 0;
    let copy = |version, words: &[AtomicU64]| {
        tried = version;
        words.iter().map(|word| word.load(Relaxed)).collect::<Vec<_>>()
    };
    match slot.cell().try_load(copy) {
        Attempt::Loaded { version, value } => {
            assert!(value.iter().all(|word| *word == version), "torn or old: {version} is {value:?}");
            Some(version)
        }
        Attempt::Overtaken => {
            assert!(slot.cell().version().wrapping_sub(tried).cast_signed() > 0, "overtaken by nothing newer");
            None
        }
    }
}

/// Reads in place what the owner of a seat has pinned, and unpins it.
pub fn read_and_unpin(by: &impl User, seat: usize, version: u64) {
    let words = by.look().cell().buffer(version);
    // Twice, because it must not change either.
    for word in words.iter().chain(words) {
        by.look().shadow(word).read();
        assert_eq!(word.load(Relaxed), version, "not what was pinned");
    }
    pins::unpin(by.look().pin(seat));
}

/// Pins once, reads in place and unpins: the version, or `None` if overtaken.
pub fn pin_and_read(by: &impl User, seat: usize) -> Option<u64> {
    let slot = by.look();
    match slot.cell().try_pin(by, slot.pin(seat)).expect("no barrier is refused") {
        Attempt::Loaded { version, value } => {
            assert!(std::ptr::eq(value, slot.cell().buffer(version)), "another buffer");
            read_and_unpin(by, seat, version);
            Some(version)
        }
        Attempt::Overtaken => None,
    }
}
