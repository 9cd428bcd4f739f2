//! Pins: readers that look at a snapshot in place say so on the board, and the writer works round
//! them. One word a reader: 0, or the buffer that it pins.

use crate::core::memory::NoBarrier;
use crate::layout::board::Slot;
use crate::layout::slots::MAX_BUFFERS;
use crate::sync::{
    AtomicU64, Fencing,
    Ordering::{Acquire, Relaxed, Release},
};

/// Where readers pin, mapped or on the heap.
pub trait PinBoard {
    /// The first seat whose word is `pin`.
    fn pinning(&self, pin: u64) -> Option<usize>;
    /// Which fence the writer issues.
    fn fencing(&self) -> Fencing;
    /// The reader's fence: a full one here and, under [`Fencing::Asymmetric`], in the writer.
    ///
    /// # Errors
    /// [`NoBarrier`] if the kernel refuses; the pin is then none.
    fn heavy_fence(&self) -> Result<(), NoBarrier>;
}

/// The word of who pins buffer `buffer` of slot `index`.
#[inline]
pub fn word(index: u64, buffer: u64) -> u64 {
    (index * MAX_BUFFERS + buffer).wrapping_add(1)
}

/// Pins nothing any more.
///
/// SYNC unpin: Release, read by [`pinning`] (Acquire): what was read in place was read before the
/// buffer is written again.
#[inline]
pub fn unpin(pin: &AtomicU64) {
    pin.store(0, Release);
}

/// The first of the seats that were ever taken, `taken` of them, whose word is `pin`.
#[inline]
pub fn pinning(seats: &[Slot], taken: &AtomicU64, pin: u64) -> Option<usize> {
    // Raised by a reader before it ever pins, so under the same fences as its word.
    let taken = usize::try_from(taken.load(Relaxed)).unwrap_or(usize::MAX);
    if taken == 0 {
        return None;
    }
    let mut seats = seats.iter().take(taken);
    // SYNC unpin.
    seats.position(|seat| seat.hold.0.load(Acquire) == pin)
}

/// Lets the writer know that the seats up to `index` may pin.
pub fn open_seat(taken: &AtomicU64, index: usize) {
    taken.fetch_max(index as u64 + 1, Relaxed);
}
