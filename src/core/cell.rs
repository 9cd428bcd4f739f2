//! A snapshot slot: buffers for the latest value of something, one writer, any number of readers that
//! only load.
//!
//! Version `v` of the value lives in buffer `v mod K`. Two words say where the writer is: `current` is
//! the newest complete version, `next` the one it announced last. The writer announces, writes the
//! buffer, and publishes by one store. So the buffer of `v` is not touched before a version of at least
//! `v + K` was announced: a reader that copied `v` and then finds `next < v + K` has copied it whole.
//!
//! While `v` is current, `next` stays below `v + K`, whatever the writer does or wherever it dies: who
//! reads the current version never fails, and never waits.
//!
//! A seqlock (Hemminger; Boehm, "Can seqlocks get along with programming language memory models?",
//! 2012) whose one sequence word speaks for several buffers.

use crate::core::memory::NoBarrier;
use crate::core::pins::{self, PinBoard};
use crate::sync::{
    AtomicU64,
    Ordering::{Acquire, Relaxed, Release},
    fence, light_fence,
};

/// The highest version that is published. Versions would come round after the last one, to 0 and, where the number of
/// buffers is no power of two, to another buffer than the next.
pub const MAX_VERSION: u64 = u64::MAX - 64;

/// The words of one slot.
#[derive(Clone, Copy, Debug)]
pub struct Cell<'m> {
    current: &'m AtomicU64,
    next: &'m AtomicU64,
    /// All buffers, one after the other.
    buffers: &'m [AtomicU64],
    stride_words: usize,
    count: u64,
    /// Which of a table's slots it is, for the pins.
    index: u64,
}

/// What became of one attempt to load.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attempt<T> {
    /// The value of this version, whole.
    Loaded {
        /// Its version, as new as the newest one published before the attempt.
        version: u64,
        /// What was made of it.
        value: T,
    },
    /// A newer version was published meanwhile, and the buffer may be used again: try once more.
    Overtaken,
}

/// No buffer can be written: when looked at, each one that could be was pinned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pinned {
    /// The seat of one who pins.
    pub seat: usize,
}

impl<'m> Cell<'m> {
    /// The slot `index` that consists of these words: `current`, `next`, and at word `first` the
    /// buffers, `count` of them, each of `stride_words`. `None` unless they are there.
    pub fn new(words: &'m [AtomicU64], index: u64, first: usize, count: u64, stride_words: usize) -> Option<Self> {
        let buffers = words.get(first..)?;
        let needed = usize::try_from(count).ok()?.checked_mul(stride_words)?;
        let (Some([current, next]), true) = (words.first_chunk(), count >= 2 && first >= 2) else { return None };
        Some(Self { current, next, buffers: buffers.get(..needed)?, stride_words, count, index })
    }

    /// The newest complete version; 0 before the first.
    ///
    /// SYNC publish: Acquire, pairs with the store in [`Cell::publish`].
    #[inline]
    pub fn version(&self) -> u64 {
        let version = self.current.load(Relaxed);
        fence(Acquire);
        version
    }

    /// Which buffer holds a version.
    #[inline]
    pub fn buffer_of(&self, version: u64) -> u64 {
        // A division takes longer than the rest of a load.
        if self.count.is_power_of_two() { version & (self.count - 1) } else { version % self.count }
    }

    /// The words of the buffer that holds a version.
    #[inline]
    #[allow(clippy::cast_possible_truncation, reason = "less than the number of buffers in memory")]
    pub fn buffer(&self, version: u64) -> &'m [AtomicU64] {
        let at = self.buffer_of(version) as usize * self.stride_words;
        self.buffers.get(at..at + self.stride_words).unwrap_or(&[])
    }

    /// Whether the buffer of `version` held it, whole, up to now.
    ///
    /// SYNC announce version: Acquire fence, pairs with the Release fence in [`Cell::announce`].
    #[inline]
    pub fn is_intact(&self, version: u64) -> bool {
        fence(Acquire);
        self.next.load(Relaxed).wrapping_sub(version) < self.count
    }

    /// Loads the newest version by `copy`, which is given the version and its words, and must make do
    /// with any mixture in them.
    #[inline]
    pub fn try_load<T>(&self, copy: impl FnOnce(u64, &'m [AtomicU64]) -> T) -> Attempt<T> {
        let version = self.version();
        let value = copy(version, self.buffer(version));
        if self.is_intact(version) { Attempt::Loaded { version, value } } else { self.overtaken() }
    }

    /// SYNC overtake: Acquire, pairs with the store of the announcement; the next attempt finds the version
    /// that was current when it was made.
    #[cold]
    fn overtaken<T>(&self) -> Attempt<T> {
        fence(Acquire);
        Attempt::Overtaken
    }

    /// Pins the buffer of the newest version with `pin`, this reader's word on the board, so that it
    /// stays as it is until [`pins::unpin`].
    ///
    /// # Errors
    /// [`NoBarrier`]; nothing is pinned.
    pub fn try_pin<B: PinBoard>(&self, board: &B, pin: &AtomicU64) -> Result<Attempt<&'m [AtomicU64]>, NoBarrier> {
        let version = self.version();
        // SYNC unpin: Release, because this may hide the word that `unpin` wrote.
        pin.store(self.pin_of(version), Release);
        // Pairs with `light_fence` in `reserve`: the writer sees the pin, or this reader what it announced.
        let fenced = board.heavy_fence();
        if fenced.is_ok() && self.is_intact(version) {
            return Ok(Attempt::Loaded { version, value: self.buffer(version) });
        }
        pins::unpin(pin);
        fenced.map(|()| self.overtaken())
    }

    /// The pin word of who pins the buffer of a version.
    fn pin_of(&self, version: u64) -> u64 {
        pins::word(self.index, self.buffer_of(version))
    }

    /// Announces the version to write next, in a buffer that nobody pins. The one writer calls this, and
    /// a second time to begin anew.
    ///
    /// # Errors
    /// [`Pinned`]; the current version stays.
    #[inline]
    pub fn reserve<B: PinBoard>(&self, board: &B) -> Result<u64, Pinned> {
        let current = self.current.load(Relaxed);
        let before = self.next.load(Relaxed);
        let announced = before.wrapping_sub(current);
        // What was announced and never published, by a dead writer perhaps, may be written in part. That
        // announcement must not be taken back: readers of the version before it would miss that.
        let first = if announced < self.count { announced.max(1) } else { 1 };
        let mut blocked = Pinned { seat: 0 };
        for ahead in first..self.count {
            let version = current.wrapping_add(ahead);
            match self.announce(version, board) {
                None => return Ok(version),
                Some(seat) => blocked = Pinned { seat },
            }
        }
        // Nothing was written under the announcements of this call; left standing, they would keep the
        // next one from the buffers before them.
        self.next.store(before, Relaxed);
        Err(blocked)
    }

    /// Announces a version unless its buffer is pinned; then returns the seat of who pins.
    #[inline]
    fn announce<B: PinBoard>(&self, version: u64, board: &B) -> Option<usize> {
        let pin = self.pin_of(version);
        if let Some(seat) = board.pinning(pin) {
            return Some(seat);
        }
        // SYNC overtake: Release.
        self.next.store(version, Release);
        // Pairs with `heavy_fence` in `try_pin`.
        light_fence(board.fencing());
        if let Some(seat) = board.pinning(pin) {
            return Some(seat);
        }
        // SYNC announce version: who reads a word that is written from here on sees the announcement.
        fence(Release);
        None
    }

    /// Makes a version that was reserved and written the newest one.
    ///
    /// SYNC publish: Release, read by [`Cell::version`].
    #[inline]
    pub fn publish(&self, version: u64) {
        self.current.store(version, Release);
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::sync::Fencing;
    use std::cell::RefCell;

    /// Readers that pin and unpin between two looks of the writer: who pins, look by look.
    struct Script(RefCell<Vec<Option<usize>>>);

    impl PinBoard for Script {
        fn pinning(&self, _: u64) -> Option<usize> {
            self.0.borrow_mut().remove(0)
        }
        fn fencing(&self) -> Fencing {
            Fencing::Portable
        }
        fn heavy_fence(&self) -> Result<(), NoBarrier> {
            Ok(())
        }
    }

    fn slot(current: u64, next: u64) -> Vec<AtomicU64> {
        let mut words = vec![AtomicU64::new(current), AtomicU64::new(next)];
        words.extend((0..3).map(|_| AtomicU64::new(0)));
        words
    }

    fn reserve(words: &[AtomicU64], looks: &[Option<usize>]) -> Result<u64, Pinned> {
        Cell::new(words, 0, 2, 3, 1).unwrap().reserve(&Script(RefCell::new(looks.to_vec())))
    }

    /// A writer that was refused, because a reader pinned one buffer and then the other just before each look,
    /// had announced the last version there was room for, and went on trying that alone.
    #[test]
    fn a_refused_writer_begins_anew() {
        let words = slot(6, 6);
        // Version 7's buffer is pinned; then that of 8, between the two looks at it.
        assert_eq!(reserve(&words, &[Some(4), None, Some(4)]), Err(Pinned { seat: 4 }));
        assert_eq!(reserve(&words, &[None, None]), Ok(7));
    }

    /// What a dead writer had announced, and may have begun to write, stays announced.
    #[test]
    fn an_announcement_of_the_dead_is_not_taken_back() {
        let words = slot(6, 8);
        assert_eq!(reserve(&words, &[Some(1)]), Err(Pinned { seat: 1 }));
        assert_eq!(words[1].load(Relaxed), 8);
        assert_eq!(reserve(&words, &[None, None]), Ok(8));
    }

    #[test]
    fn nonsense_makes_no_cell() {
        let words = slot(0, 0);
        for (first, count, stride) in [(2, 1, 1), (1, 2, 1), (2, 4, 1), (6, 2, 1), (2, u64::MAX, 2)] {
            assert!(Cell::new(&words, 0, first, count, stride).is_none(), "{first} {count} {stride}");
        }
        assert!(Cell::new(&[], 0, 2, 2, 0).is_none());
    }
}
