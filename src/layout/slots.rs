//! The bytes of a snapshot region and its board.
//!
//! ```text
//! snapshot region
//! 0      SnapshotPreamble   magic, version, id, sizes; written once, magic last
//! 512    name               64 bytes, zero padded
//! 4096   names              N x 32 bytes: what each slot is called; the first word is stored last
//! first  slot 0 | slot 1 | ... | slot N-1
//!
//! slot
//! 0      current            newest complete version, 0 before the first
//! 8      next               version announced last
//! ...    buffer 0 | buffer 1 | ... | buffer K-1
//!
//! buffer
//! 0      as_of              0, or 1 + the log position that the value stands for
//! 8      len                bytes of the value; not there if all values have the same length
//! ...    value              padded to whole words
//!
//! board
//! 0      PinBoardHeader     magic, version, the snapshot's id, counts
//! 128    taken              how many seats were ever taken
//! 4096   doorbells          D x 128 bytes; slot i rings doorbell i mod D
//! ...    seats              256 bytes each, as on a log's board
//! ```
//!
//! A slot whose words all fit in one or two cache lines is packed into them. In others the buffers
//! begin on line pairs of their own, or, where memory is allocated as it is used, on pages.

use super::geometry::BadGeometry;
use super::{LINE_BYTES, LINE_PAIR_BYTES};
use crate::sync::AtomicU64;

/// First word of a formatted snapshot region: `SHMSNAPS`.
pub const SNAPSHOT_MAGIC: u64 = u64::from_le_bytes(*b"SHMSNAPS");
/// First word of a formatted board of a snapshot region.
pub const PIN_BOARD_MAGIC: u64 = u64::from_le_bytes(*b"SHMPINBD");
/// Offset of the slots' names, in bytes.
pub const NAMES_OFFSET: u64 = 4096;
/// Bytes of a slot's name; longer ones are refused.
pub const SLOT_NAME_BYTES: usize = 32;
/// Most slots of a region.
pub const MAX_SLOTS: u64 = 1 << 20;
/// Most buffers of a slot.
pub const MAX_BUFFERS: u64 = 64;
/// Largest value.
pub const MAX_VALUE_BYTES: u64 = 1 << 40;
/// Most seats of a board.
pub const MAX_SEATS: u64 = 4096;
/// Most doorbells of a board.
const MAX_DOORBELLS: u64 = 64;
/// Offset of the word `taken` on the board, in bytes.
pub const TAKEN_OFFSET: u64 = 128;
/// Offset of the doorbells on the board, in bytes.
pub const BELLS_OFFSET: u64 = 4096;
/// Words before the first buffer of a packed slot.
const HEAD_WORDS: u64 = 2;

/// The first 128 bytes of a snapshot region. Written once by the creator, the magic last, and read once
/// by whoever attaches.
#[repr(C)]
#[derive(Debug)]
pub struct SnapshotPreamble {
    /// [`SNAPSHOT_MAGIC`].
    pub magic: AtomicU64,
    /// `FORMAT_VERSION`.
    pub version: AtomicU64,
    /// Random identity, 128 bits; the board carries the same.
    pub id: [AtomicU64; 2],
    /// Bytes of the whole region.
    pub region_bytes: AtomicU64,
    /// Number of slots.
    pub slots: AtomicU64,
    /// Buffers of a slot.
    pub buffers: AtomicU64,
    /// Bytes of the longest value.
    pub capacity_bytes: AtomicU64,
    /// 1 if all values have `capacity_bytes`, else 0.
    pub is_fixed: AtomicU64,
    /// 1 if memory is allocated as it is used, else 0.
    pub is_sparse: AtomicU64,
    /// Bytes of a page of the backing when it was created.
    pub page_bytes: AtomicU64,
    /// `Fencing`, a small number.
    pub fencing: AtomicU64,
    /// Seats for readers that pin.
    pub seats: AtomicU64,
    /// Creation time, nanoseconds since 1970.
    pub created_unix_ns: AtomicU64,
    /// Zero.
    pub reserved: [AtomicU64; 2],
}

/// What a snapshot's board is. Written once, the magic last.
#[repr(C)]
#[derive(Debug)]
pub struct PinBoardHeader {
    /// [`PIN_BOARD_MAGIC`].
    pub magic: AtomicU64,
    /// `FORMAT_VERSION`.
    pub version: AtomicU64,
    /// The snapshot's identity.
    pub id: [AtomicU64; 2],
}

/// The shape of a snapshot region.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SlotGeometry {
    /// Number of slots.
    pub slots: u64,
    /// Buffers of a slot.
    pub buffers: u64,
    /// Bytes of the longest value.
    pub capacity_bytes: u64,
    /// All values have `capacity_bytes`.
    pub is_fixed: bool,
    /// Memory is allocated as it is used.
    pub is_sparse: bool,
    /// Bytes of a page of the backing.
    pub page_bytes: u64,
    /// Seats for readers that pin.
    pub seats: u64,
}

impl SlotGeometry {
    /// Checks every field; all arithmetic below relies on it.
    ///
    /// # Errors
    /// [`BadGeometry`] names the first field out of range.
    pub fn check(self) -> Result<Self, BadGeometry> {
        let bad = |field, value, allowed| Err(BadGeometry { field, value, allowed });
        if !(1..=MAX_SLOTS).contains(&self.slots) {
            return bad("slots", self.slots, "1 to 1,048,576");
        }
        if !(2..=MAX_BUFFERS).contains(&self.buffers) {
            return bad("buffers", self.buffers, "2 to 64");
        }
        if self.capacity_bytes > MAX_VALUE_BYTES {
            return bad("capacity_bytes", self.capacity_bytes, "up to 1 TiB");
        }
        if !self.page_bytes.is_power_of_two() || !(4096..=1 << 30).contains(&self.page_bytes) {
            return bad("page_bytes", self.page_bytes, "a power of two from 4 KiB to 1 GiB");
        }
        if !(1..=MAX_SEATS).contains(&self.seats) {
            return bad("seats", self.seats, "1 to 4,096");
        }
        let fits = self.region_bytes_checked().is_some_and(|bytes| i64::try_from(bytes).is_ok());
        if fits { Ok(self) } else { bad("slots", self.slots, "as many as fit in the address space") }
    }

    /// Words of a buffer before the value.
    pub fn meta_words(&self) -> u64 {
        if self.is_fixed { 1 } else { 2 }
    }

    fn buffer_bytes(&self) -> u64 {
        let bytes = 8 * self.meta_words() + self.capacity_bytes.next_multiple_of(8);
        // Values of any length are aligned to 16 bytes, as archives want it.
        if self.is_fixed { bytes } else { bytes.next_multiple_of(16) }
    }

    /// Bytes of a slot of one or two cache lines, if all of it fits.
    fn packed_bytes(&self) -> Option<u64> {
        let bytes = 8 * HEAD_WORDS + self.buffers * self.buffer_bytes();
        let lines = bytes.next_power_of_two().max(LINE_BYTES as u64);
        (lines <= LINE_PAIR_BYTES as u64 && !self.is_sparse).then_some(lines)
    }

    /// What buffers are aligned to if the slot is not packed.
    fn unit_bytes(&self) -> u64 {
        if self.is_sparse { self.page_bytes } else { LINE_PAIR_BYTES as u64 }
    }

    /// Offset of the first buffer in a slot, in bytes.
    pub fn first_buffer(&self) -> u64 {
        if self.packed_bytes().is_some() { 8 * HEAD_WORDS } else { self.unit_bytes() }
    }

    /// Bytes from one buffer to the next.
    pub fn stride_bytes(&self) -> u64 {
        let bytes = self.buffer_bytes();
        if self.packed_bytes().is_some() { bytes } else { bytes.next_multiple_of(self.unit_bytes()) }
    }

    /// Bytes from one slot to the next.
    pub fn slot_bytes(&self) -> u64 {
        self.packed_bytes().unwrap_or_else(|| self.first_buffer() + self.buffers * self.stride_bytes())
    }

    /// Where slot 0 begins.
    pub fn first_slot(&self) -> u64 {
        let unit_bytes = if self.is_sparse { self.page_bytes } else { 4096 };
        (NAMES_OFFSET + self.slots * SLOT_NAME_BYTES as u64).next_multiple_of(unit_bytes)
    }

    fn region_bytes_checked(&self) -> Option<u64> {
        let slots = self.slots.checked_mul(self.slot_bytes())?;
        self.first_slot().checked_add(slots)?.checked_next_multiple_of(self.page_bytes)
    }

    /// Bytes of the whole region: whole pages.
    pub fn region_bytes(&self) -> u64 {
        self.region_bytes_checked().unwrap_or(u64::MAX)
    }

    /// Number of doorbells on the board: a power of two.
    pub fn doorbells(&self) -> u64 {
        self.slots.min(MAX_DOORBELLS).next_power_of_two()
    }

    /// Where the seats begin on the board.
    pub fn seats_offset(&self) -> u64 {
        BELLS_OFFSET + self.doorbells() * LINE_PAIR_BYTES as u64
    }

    /// Bytes of the board, before rounding up to pages.
    #[cfg(not(loom))]
    pub fn board_bytes(&self) -> u64 {
        self.seats_offset() + self.seats * size_of::<super::board::Slot>() as u64
    }
}

#[cfg(not(loom))]
const _: () = {
    assert!(size_of::<SnapshotPreamble>() == 128);
    assert!(size_of::<PinBoardHeader>() as u64 <= TAKEN_OFFSET);
    assert!(TAKEN_OFFSET + size_of::<super::Line>() as u64 <= BELLS_OFFSET);
    assert!(size_of::<super::board::Doorbell>() == LINE_PAIR_BYTES);
};

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn shape(slots: u64, buffers: u64, capacity_bytes: u64, is_fixed: bool, is_sparse: bool) -> SlotGeometry {
        SlotGeometry { slots, buffers, capacity_bytes, is_fixed, is_sparse, page_bytes: 4096, seats: 8 }
    }

    #[test]
    fn a_price_with_two_buffers_is_one_line() {
        assert_eq!(shape(4096, 2, 16, true, false).slot_bytes(), 64);
        assert_eq!(shape(4096, 2, 40, true, false).slot_bytes(), 128);
        assert_eq!(shape(4096, 2, 16, true, false).first_slot(), 4096 + 128 * 1024);
        assert_eq!(shape(1, 4, 64, true, false).slot_bytes(), 128 * 5);
    }

    #[test]
    fn hundreds_of_gigabytes_are_a_shape() {
        let large = shape(1, 4, 512 << 30, false, true).check().unwrap();
        assert!(large.region_bytes() > 2 << 40);
        assert_eq!(large.first_buffer(), 4096);
        assert!(shape(MAX_SLOTS, 64, MAX_VALUE_BYTES, false, true).check().is_err());
    }

    proptest! {
        /// Whatever passes `check` has buffers that lie apart, inside their slot, in whole words.
        #[test]
        fn buffers_lie_apart(
            slots in 0u64..2000, buffers in 0u64..70, capacity in 0u64..10_000, fixed: bool, sparse: bool,
        ) {
            let Ok(g) = shape(slots, buffers, capacity, fixed, sparse).check() else { return Ok(()) };
            prop_assert!(g.first_buffer() >= 16);
            prop_assert!(g.stride_bytes() >= 8 * g.meta_words() + capacity);
            prop_assert!(g.first_buffer() + g.buffers * g.stride_bytes() <= g.slot_bytes());
            prop_assert_eq!(g.stride_bytes() % 8 + g.first_buffer() % 8 + g.slot_bytes() % 64, 0);
            prop_assert!(g.is_fixed || g.stride_bytes() % 16 + g.first_buffer() % 16 == 0);
            prop_assert!(g.first_slot() + g.slots * g.slot_bytes() <= g.region_bytes());
            prop_assert_eq!(g.region_bytes() % 4096, 0);
            prop_assert!(!sparse || g.stride_bytes() % 4096 == 0);
        }
    }
}
