//! A snapshot's two mappings, checked once, and the views of them.
#![allow(unsafe_code, reason = "views live as long as the mappings stored beside them")]

use crate::core::cell::Cell;
use crate::core::doorbell;
use crate::core::memory::NoBarrier;
use crate::core::pins::{self, PinBoard};
use crate::error::AttachError;
use crate::layout::Line;
use crate::layout::board::{Doorbell, Slot};
use crate::layout::slots::{BELLS_OFFSET, NAMES_OFFSET, SLOT_NAME_BYTES, SlotGeometry, TAKEN_OFFSET};
use crate::name::Wanted;
use crate::region::{Region, outliving};
use crate::row::Row;
use crate::snapshot::preamble::{self, SlotTraits};
use crate::sync::{AtomicU64, Fencing};
use crate::sys::{barrier, fault, futex};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// A snapshot region as this process has it mapped.
#[derive(Debug)]
pub(crate) struct Slots {
    /// The words of all slots.
    cells: &'static [AtomicU64],
    /// The words of their names.
    names: &'static [AtomicU64],
    seats: &'static [Slot],
    taken: Option<&'static AtomicU64>,
    bells: &'static [Doorbell],
    traits: SlotTraits,
    places: Places,
    // The views above borrow from these two; a mapping does not move when its `Region` does.
    region: Region,
    board: Option<Region>,
    lock: Option<OwnedFd>,
}

/// Where things are in the words of a slot, computed once.
#[derive(Clone, Copy, Debug)]
struct Places {
    slot_words: usize,
    first_words: usize,
    stride_words: usize,
}

impl Places {
    #[allow(clippy::cast_possible_truncation, reason = "sizes of what is mapped")]
    fn of(shape: &SlotGeometry) -> Self {
        let words = |bytes: u64| (bytes / 8) as usize;
        Self {
            slot_words: words(shape.slot_bytes()),
            first_words: words(shape.first_buffer()),
            stride_words: words(shape.stride_bytes()),
        }
    }
}

impl Slots {
    /// Attaches to a region and its board, checking every length.
    pub(crate) fn attach(region: Region, board: Option<Region>, lock: Option<OwnedFd>) -> Result<Self, AttachError> {
        let traits = preamble::read_snapshot(&region)?;
        let shape = traits.geometry;
        if let Some(board) = &board {
            preamble::check_board(board, &traits)?;
        }
        let wrong = |found: &Region, expected_bytes| AttachError::WrongSize {
            what: "snapshot",
            found_bytes: found.len_bytes(),
            expected_bytes,
        };
        let cells = region.words(shape.first_slot(), shape.slots * shape.slot_bytes() / 8);
        let names = region.words(NAMES_OFFSET, shape.slots * SLOT_NAME_BYTES as u64 / 8);
        let (cells, names) = cells.zip(names).ok_or_else(|| wrong(&region, shape.region_bytes()))?;
        let (mut seats, mut bells, mut taken): (&[Slot], &[Doorbell], Option<&Line>) = (&[], &[], None);
        if let Some(board) = &board {
            let views =
                board.slice(shape.seats_offset(), shape.seats).zip(board.slice(BELLS_OFFSET, shape.doorbells()));
            (seats, bells) = views.ok_or_else(|| wrong(board, shape.board_bytes()))?;
            taken = board.view(TAKEN_OFFSET);
        }
        // SAFETY: `board` is stored beside the views.
        let (seats, bells) = (unsafe { outliving(seats) }, unsafe { outliving(bells) });
        // SAFETY: `board` is stored beside the view.
        let taken = taken.map(|line| unsafe { outliving(&line.0) });
        // SAFETY: `region` is stored beside the views.
        let (cells, names) = (unsafe { outliving(cells) }, unsafe { outliving(names) });
        let places = Places::of(&shape);
        let attached = Self { cells, names, seats, taken, bells, places, traits, region, board, lock };
        if attached.was_lost() {
            return Err(AttachError::MemoryLost { what: "snapshot" });
        }
        Ok(attached)
    }

    /// Prepares this process for publishing: readers that pin rely on its light fence.
    pub(crate) fn register(&self) -> Result<(), AttachError> {
        barrier::prepare(self.traits.fencing).map_err(|error| AttachError::NoBarrier { error: error.into() })
    }

    /// Makes every page present in this process; of a sparse region, none.
    pub(crate) fn populate(&self) -> Result<(), AttachError> {
        if !self.traits.geometry.is_sparse {
            self.region.populate()?;
        }
        self.board.as_ref().map_or(Ok(()), Region::populate)
    }

    /// Whether memory behind the snapshot or its board is gone. See [`Region::is_lost`].
    #[cold]
    pub(crate) fn is_lost(&self) -> bool {
        self.region.is_lost() || self.board.as_ref().is_some_and(Region::is_lost)
    }

    /// Whether the operation that is done here has come upon memory that is gone. All but free.
    #[inline]
    pub(crate) fn was_lost(&self) -> bool {
        fault::is_any_lost() && self.is_lost()
    }

    pub(crate) fn traits(&self) -> &SlotTraits {
        &self.traits
    }

    pub(crate) fn region(&self) -> &Region {
        &self.region
    }

    pub(crate) fn board(&self) -> Option<&Region> {
        self.board.as_ref()
    }

    pub(crate) fn lock(&self) -> Option<BorrowedFd<'_>> {
        self.lock.as_ref().map(AsFd::as_fd)
    }

    pub(crate) fn lock_file(&self) -> Option<&OwnedFd> {
        self.lock.as_ref()
    }

    /// Slot `index`, if there is one.
    #[inline]
    pub(crate) fn cell(&self, index: usize) -> Option<Cell<'_>> {
        let Places { slot_words, first_words, stride_words } = self.places;
        let at = index.checked_mul(slot_words)?;
        let words = self.cells.get(at..at.checked_add(slot_words)?)?;
        Cell::new(words, index as u64, first_words, self.traits.geometry.buffers, stride_words)
    }

    /// Offset in the region of buffer `buffer` of slot `index`, in bytes.
    pub(crate) fn buffer_offset(&self, index: usize, buffer: u64) -> u64 {
        let shape = &self.traits.geometry;
        let slot = shape.first_slot() + index as u64 * shape.slot_bytes();
        slot + shape.first_buffer() + buffer * shape.stride_bytes()
    }

    /// The slot of this name.
    pub(crate) fn find(&self, name: &str) -> Option<usize> {
        let wanted = Wanted::new(name)?;
        self.names.chunks_exact(SLOT_NAME_BYTES / 8).position(|words| wanted.is_in(words))
    }

    /// The words of a slot's name.
    pub(crate) fn name_words(&self, index: usize) -> &[AtomicU64] {
        self.names.chunks_exact(SLOT_NAME_BYTES / 8).nth(index).unwrap_or(&[])
    }

    /// The seats, and the file whose bytes say which are taken.
    pub(crate) fn row(&self) -> Option<Row<'_>> {
        let board = self.board.as_ref()?;
        Some(Row { slots: self.seats, range: 0..self.seats.len(), file: board.file(), first_byte: 0 })
    }

    pub(crate) fn seats(&self) -> &[Slot] {
        self.seats
    }

    /// How many seats were ever taken.
    pub(crate) fn taken(&self) -> Option<&AtomicU64> {
        self.taken
    }

    /// The doorbell of slot `index`, one of a power of two, if this process may write to the board.
    pub(crate) fn bell(&self, index: usize) -> Option<&Doorbell> {
        let is_writable = self.board.as_ref().is_some_and(Region::is_writable);
        self.bells.get(index & self.bells.len().wrapping_sub(1)).filter(|_| is_writable)
    }

    /// After publishing: wakes readers that wait for a newer version.
    #[inline]
    pub(crate) fn ring(&self, index: usize) {
        if let Some(bell) = self.bell(index)
            && doorbell::is_called(bell, self.traits.fencing)
        {
            doorbell::ring(bell, futex::wake_all);
        }
    }
}

impl PinBoard for Slots {
    #[inline]
    fn pinning(&self, pin: u64) -> Option<usize> {
        pins::pinning(self.seats, self.taken?, pin)
    }

    #[inline]
    fn fencing(&self) -> Fencing {
        self.traits.fencing
    }

    fn heavy_fence(&self) -> Result<(), NoBarrier> {
        barrier::heavy_fence(self.traits.fencing).map_err(|_| NoBarrier)
    }
}
