//! A log's two mappings, checked once, seen by the algorithms as [`Memory`].
#![allow(unsafe_code, reason = "views live as long as the mappings stored beside them")]

use crate::core::doorbell;
use crate::core::memory::{Memory, NoBarrier, Retention, Window};
use crate::error::{AttachError, ReadError};
use crate::layout::board::{DOORBELLS_OFFSET, Doorbells, SLOTS_OFFSET, Slot};
use crate::layout::control::{BASES_OFFSET, CONTROL_OFFSET, Control};
use crate::layout::geometry::{Geometry, INDEX_OFFSET};
use crate::preamble::{self, Traits};
use crate::region::{Region, outliving};
use crate::sync::{AtomicU64, Fencing, Ordering::Relaxed};
use crate::sys::{barrier, fault, futex};
use std::ops::Range;
use std::os::fd::OwnedFd;

/// A log as this process has it mapped.
#[derive(Debug)]
pub struct Mapped {
    control: &'static Control,
    bases: &'static [AtomicU64],
    /// All windows, one after the other.
    windows: &'static [AtomicU64],
    slots: &'static [Slot],
    doorbells: Option<&'static Doorbells>,
    traits: Traits,
    /// The first words of log and board, which are never 0 while there is memory behind them.
    magics: [&'static AtomicU64; 2],
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
        let Geometry { windows, window_bytes, .. } = traits.geometry;
        let windows = log.words(traits.geometry.first_window(), windows * (window_bytes / 8));
        let windows = windows.ok_or_else(|| wrong_size("log", &log, traits.geometry.region_bytes()))?;
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
        // SAFETY: `log` is stored beside the view.
        let windows = unsafe { outliving(windows) };
        let magics = [magic_of(&log)?, board.as_ref().map_or_else(|| magic_of(&log), magic_of)?];
        let attached = Self { control, bases, windows, slots, doorbells, traits, magics, log, board, lock };
        attached.check_whole()?;
        Ok(attached)
    }

    /// Prepares this process for appending: registers for the recyclers' barrier, without which the
    /// light fence of a pin is none, and tries it. Readers fence for themselves.
    pub(crate) fn register(&self) -> Result<(), AttachError> {
        barrier::prepare(self.traits.fencing).map_err(|error| AttachError::NoBarrier { error: error.into() })
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

    /// Whether nothing speaks against there being memory behind log and board. Two loads of words that do not change;
    /// [`Mapped::is_lost`] says what is the matter if something does.
    #[inline]
    pub(crate) fn seems_whole(&self) -> bool {
        !fault::is_any_lost() && self.magics.iter().all(|magic| magic.load(Relaxed) != 0)
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

    /// After a commit: whether readers wait for a record.
    #[inline(always)]
    pub(crate) fn is_awaited(&self) -> bool {
        self.doorbells.is_some_and(|doorbells| doorbell::is_called(&doorbells.records, self.traits.fencing))
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
        first..first + self.traits.reader_slots as usize - usize::from(self.traits.has_floor)
    }

    /// The hold of a gated log itself, if it has one: the segments from there on are kept whoever lives or dies. It is
    /// the last slot of the board, which nobody takes and nobody clears.
    pub(crate) fn floor(&self) -> Option<&Slot> {
        self.slots.last().filter(|_| self.traits.has_floor)
    }
}

/// The first word of a region that is stored beside it.
fn magic_of(region: &Region) -> Result<&'static AtomicU64, AttachError> {
    let magic = region.view(0).ok_or_else(|| wrong_size("region", region, 8))?;
    // SAFETY: the caller stores the region beside the view.
    Ok(unsafe { outliving(magic) })
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

    #[inline]
    #[allow(clippy::cast_possible_truncation, reason = "a window is less than 128 MiB, and all are mapped")]
    fn window(&self, segment: u64) -> Window<'_> {
        let geometry = &self.traits.geometry;
        let window_words = geometry.window_bytes as usize / 8;
        let at = self.place(segment).1 as usize * window_words;
        // The geometry was checked against the region: every window lies in it.
        let window = self.windows.get(at..at + window_words).unwrap_or(&[]);
        let words = |from: usize, count: usize| window.get(from..from + count).unwrap_or(&[]);
        let (entries, arena) = (geometry.entries as usize, geometry.arena_offset() as usize / 8);
        Window {
            bump: window.first().unwrap_or(&self.control.active.0),
            index: words(INDEX_OFFSET / 8, entries),
            arena: window.get(arena..).unwrap_or(&[]),
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
