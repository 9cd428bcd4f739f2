//! A log's two mappings, checked once, seen by the algorithms as [`Memory`].
#![allow(unsafe_code, reason = "views live as long as the mappings stored beside them")]

use crate::core::doorbell;
use crate::core::memory::{Memory, NoBarrier, Retention, Window};
use crate::error::{AttachError, ReadError};
use crate::layout::board::{DOORBELLS_OFFSET, Doorbells, SLOTS_OFFSET, Slot};
use crate::layout::control::{BASES_OFFSET, CONTROL_OFFSET, Control};
use crate::layout::geometry::INDEX_OFFSET;
use crate::preamble::{self, Traits};
use crate::region::{Region, outliving};
use crate::sync::{AtomicU64, Fencing};
use crate::sys::{barrier, fault, futex};
use std::ops::Range;
use std::os::fd::OwnedFd;

/// A log as this process has it mapped.
#[derive(Debug)]
pub struct Mapped {
    control: &'static Control,
    bases: &'static [AtomicU64],
    slots: &'static [Slot],
    doorbells: Option<&'static Doorbells>,
    traits: Traits,
    // The views above borrow from these two; a mapping does not move when its `Region` does.
    log: Region,
    board: Option<Region>,
    lock: Option<OwnedFd>,
}

impl Mapped {
    /// Attaches to a log and its board, checking every length.
    pub(crate) fn attach(log: Region, board: Option<Region>, lock: Option<OwnedFd>) -> Result<Self, AttachError> {
        let traits = preamble::read_log(&log)?;
        if let Some(board) = &board {
            preamble::check_board(board, &traits)?;
        }
        let control: &Control = log.view(CONTROL_OFFSET as u64).ok_or_else(|| wrong_size("log", &log, 0))?;
        let bases = log.words(BASES_OFFSET as u64, traits.geometry.windows);
        let bases = bases.ok_or_else(|| wrong_size("log", &log, traits.geometry.region_bytes()))?;
        let (slots, doorbells) = match &board {
            Some(board) => {
                let (slots, doorbells) = board_views(board, &traits)?;
                // SAFETY: `board` is stored beside the view.
                (unsafe { outliving(slots) }, Some(unsafe { outliving(doorbells) }))
            }
            None => (&[][..], None),
        };
        // SAFETY: `log` is stored beside the view.
        let control = unsafe { outliving(control) };
        // SAFETY: `log` is stored beside the view.
        let bases = unsafe { outliving(bases) };
        let attached = Self { control, bases, slots, doorbells, traits, log, board, lock };
        attached.check_whole()?;
        Ok(attached)
    }

    /// Prepares this process for appending: registers for the recyclers' barrier, without which the
    /// light fence of a pin is none, and tries it. Readers fence for themselves.
    pub(crate) fn register(&self) -> Result<(), AttachError> {
        barrier::prepare(self.traits.fencing).map_err(|error| AttachError::NoBarrier { source: error.into() })
    }

    /// Makes every page present in this process.
    pub(crate) fn populate(&self) -> Result<(), AttachError> {
        self.log.populate()?;
        self.board.as_ref().map_or(Ok(()), Region::populate)
    }

    /// Whether memory behind the log or its board is gone. See [`Region::is_lost`].
    #[cold]
    pub(crate) fn is_lost(&self) -> bool {
        self.log.is_lost() || self.board.as_ref().is_some_and(Region::is_lost)
    }

    /// Before a handle is taken.
    pub(crate) fn check_whole(&self) -> Result<(), AttachError> {
        if self.is_lost() { Err(AttachError::MemoryLost { what: "log" }) } else { Ok(()) }
    }

    /// Whether the operation that is done here has come upon memory that is gone. All but free.
    #[inline]
    pub(crate) fn was_lost(&self) -> bool {
        fault::is_any_lost() && self.is_lost()
    }

    /// What was found, unless it was found in memory that is gone. Where there is nothing: looks harder.
    pub(crate) fn sound<T>(&self, found: T) -> Result<T, ReadError> {
        if self.is_lost() { Err(ReadError::MemoryLost) } else { Ok(found) }
    }

    pub(crate) fn traits(&self) -> &Traits {
        &self.traits
    }

    pub(crate) fn log(&self) -> &Region {
        &self.log
    }

    pub(crate) fn board(&self) -> Option<&Region> {
        self.board.as_ref()
    }

    pub(crate) fn lock(&self) -> Option<&OwnedFd> {
        self.lock.as_ref()
    }

    /// The doorbells, if this process has the board and may write to it.
    pub(crate) fn doorbells(&self) -> Option<&Doorbells> {
        self.doorbells.filter(|_| self.board.as_ref().is_some_and(Region::is_writable))
    }

    /// Slot `index`.
    pub(crate) fn slot(&self, index: usize) -> Option<&Slot> {
        self.slots.get(index)
    }

    pub(crate) fn all_slots(&self) -> &[Slot] {
        self.slots
    }

    /// After a commit: wakes readers that wait for a record.
    #[inline]
    pub(crate) fn ring_records(&self) {
        if let Some(doorbells) = self.doorbells
            && doorbell::is_called(&doorbells.records, self.traits.fencing)
        {
            doorbell::ring(&doorbells.records, futex::wake_all);
        }
    }

    /// After a reader let a hold go: wakes appenders that wait for room. A reader's process need not
    /// be registered for the barrier, so it fences for itself.
    pub(crate) fn ring_room(&self) {
        self.ring_room_fenced(Fencing::Portable);
    }

    /// After an appender let its pin go.
    #[inline]
    pub(crate) fn ring_room_lightly(&self) {
        self.ring_room_fenced(self.traits.fencing);
    }

    #[inline]
    fn ring_room_fenced(&self, fencing: Fencing) {
        if let Some(doorbells) = self.doorbells()
            && doorbell::is_called(&doorbells.room, fencing)
        {
            doorbell::ring(&doorbells.room, futex::wake_all);
        }
    }

    /// The fence between announcing oneself at a doorbell and the last look. Refused: a wake-up may be lost,
    /// and the slice of a sleep is the bound.
    pub(crate) fn waiter_fence(&self) -> impl Fn() {
        || {
            let _ = self.heavy_fence();
        }
    }

    /// The indices of the appenders' slots.
    #[allow(clippy::cast_possible_truncation, reason = "at most MAX_SLOTS")]
    pub(crate) fn appender_slots(&self) -> Range<usize> {
        0..self.traits.appender_slots as usize
    }

    /// The indices of the readers' slots.
    #[allow(clippy::cast_possible_truncation, reason = "at most MAX_SLOTS")]
    pub(crate) fn reader_slots(&self) -> Range<usize> {
        let first = self.traits.appender_slots as usize;
        first..first + self.traits.reader_slots as usize
    }
}

fn wrong_size(what: &'static str, region: &Region, expected_bytes: u64) -> AttachError {
    AttachError::WrongSize { what, found_bytes: region.len_bytes(), expected_bytes }
}

/// Bytes that a board needs for these slots.
pub(crate) fn board_bytes(traits: &Traits) -> u64 {
    SLOTS_OFFSET as u64 + (traits.appender_slots + traits.reader_slots) * size_of::<Slot>() as u64
}

fn board_views<'r>(board: &'r Region, traits: &Traits) -> Result<(&'r [Slot], &'r Doorbells), AttachError> {
    let slots = board.slice(SLOTS_OFFSET as u64, traits.appender_slots + traits.reader_slots);
    let doorbells = board.view(DOORBELLS_OFFSET as u64);
    slots.zip(doorbells).ok_or_else(|| wrong_size("board", board, board_bytes(traits)))
}

impl Memory for Mapped {
    #[inline]
    fn control(&self) -> &Control {
        self.control
    }

    #[inline]
    fn bases(&self) -> &[AtomicU64] {
        self.bases
    }

    #[inline]
    fn slots(&self) -> &[Slot] {
        self.slots
    }

    fn window(&self, segment: u64) -> Window<'_> {
        let geometry = &self.traits.geometry;
        let at = geometry.first_window() + segment % geometry.windows * geometry.window_bytes;
        let words = |from, count| self.log.words(at + from, count).unwrap_or(&[]);
        let arena_offset = geometry.arena_offset();
        Window {
            // The geometry was checked against the region: every window lies in it.
            bump: words(0, 1).first().unwrap_or(&self.control.active.0),
            index: words(INDEX_OFFSET as u64, geometry.entries),
            arena: words(arena_offset, (geometry.window_bytes - arena_offset) / 8),
        }
    }

    #[inline]
    fn retention(&self) -> Retention {
        self.traits.retention
    }

    #[inline]
    fn lease_lines(&self) -> u32 {
        self.traits.geometry.lease_lines()
    }

    #[inline]
    fn fencing(&self) -> Fencing {
        self.traits.fencing
    }

    fn heavy_fence(&self) -> Result<(), NoBarrier> {
        barrier::heavy_fence(self.traits.fencing).map_err(|_| NoBarrier)
    }
}
