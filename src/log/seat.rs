//! A participant's place on a log's board.
//!
//! Appenders lock bytes of the lock file, which readers do not have; readers lock bytes of the
//! board. Byte 0 of the lock file is the append lock: shared by shared appenders, alone by an
//! exclusive one; slot `i` of the appenders is byte `1 + i`.

use crate::core::hold;
use crate::error::JoinError;
use crate::layout::board::Slot;
use crate::mapped::Mapped;
use crate::participant::Role;
use crate::region::Region;
use crate::row::Row;
use crate::sync::{AtomicU64, Ordering::Relaxed};
use crate::sys::lock::{self, Mode};
use crate::sys::reopen::reopen;
use std::io;
use std::ops::Range;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

const APPEND_LOCK: u64 = 0;

/// See the module. Freed on drop.
#[derive(Debug)]
pub(crate) struct Seat {
    mapped: Arc<Mapped>,
    index: usize,
    /// Keeps the lock: a description of its own, never mapped, never passed on.
    own: OwnedFd,
}

/// The row of slots `range`, which are all appenders' or all readers'; `None` without the file that says
/// who lives.
fn row(mapped: &Mapped, range: Range<usize>) -> Option<Row<'_>> {
    let slots = mapped.all_slots();
    if range.start < mapped.appender_slots().end {
        return mapped.lock().map(|lock| Row { slots, range, file: lock.as_fd(), first_byte: 1 + APPEND_LOCK });
    }
    mapped.board().map(|board| Row { slots, range, file: board.file(), first_byte: 0 })
}

/// The row that slot `index` is in; `None` also for the floor of a log, which nobody owns who could live or die.
fn row_of(mapped: &Mapped, index: usize) -> Option<Row<'_>> {
    (index < mapped.reader_slots().end).then(|| row(mapped, index..index + 1))?
}

impl Seat {
    /// Takes a free slot, or one whose owner is dead.
    pub(crate) fn take(mapped: &Arc<Mapped>, role: Role, name: &str) -> Result<Self, JoinError> {
        let is_appender = matches!(role, Role::Appender | Role::ExclusiveAppender);
        let slots = if is_appender { mapped.appender_slots() } else { mapped.reader_slots() };
        // The file of a board that is mapped for reading only may well be reopened for writing.
        if !mapped.board().is_some_and(Region::is_writable) {
            return Err(if is_appender { JoinError::ReadOnly } else { JoinError::Observing });
        }
        let row = row(mapped, slots.clone()).ok_or(JoinError::ReadOnly)?;
        let own = reopen(row.file, true).map_err(|error| JoinError::os("reopening the lock file", error))?;
        take_append_lock(&own, role)?;
        let index = row.occupy(&own, role, name).map_err(|error| JoinError::os("locking a slot", error))?;
        let index = index.ok_or(JoinError::BoardFull { slots: slots.len() })?;
        Ok(Self { mapped: Arc::clone(mapped), index, own })
    }

    pub(crate) fn index(&self) -> usize {
        self.index
    }

    fn slot(&self) -> &Slot {
        &self.mapped.all_slots()[self.index]
    }

    /// Lets others enter beside this participant, which holds something until it leaves.
    pub(crate) fn admit_others(&self) {
        hold::admit_others(self.slot());
    }

    /// Says for others to see where it is.
    pub(crate) fn tell(&self, position: u64) {
        self.slot().position.store(position, Relaxed);
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        if let Some(row) = row_of(&self.mapped, self.index) {
            row.vacate(&self.own, self.index);
        }
        if self.mapped.appender_slots().contains(&self.index) {
            // As in `Row::vacate`.
            let _ = lock::unlock(&self.own, APPEND_LOCK);
        }
        self.mapped.ring_room();
    }
}

fn take_append_lock(own: &OwnedFd, role: Role) -> Result<(), JoinError> {
    let (mode, taken) = match role {
        Role::Appender => (Mode::Shared, JoinError::ExclusiveAttached),
        Role::ExclusiveAppender => (Mode::Alone, JoinError::OthersAttached),
        Role::Reader | Role::GatedReader | Role::SnapshotReader | Role::Anchor | Role::Flusher => return Ok(()),
    };
    let try_lock =
        |mode| lock::try_lock(own, APPEND_LOCK, mode).map_err(|error| JoinError::os("taking the append lock", error));
    if try_lock(mode)? {
        return Ok(());
    }
    // Who keeps a shared one out too is exclusive.
    if mode == Mode::Alone && !try_lock(Mode::Shared)? {
        return Err(JoinError::ExclusiveAttached);
    }
    // Closing `own` may not suffice, as in `Row::vacate`.
    let _ = lock::unlock(own, APPEND_LOCK);
    Err(taken)
}

/// Whether the owner of slot `index` lives; `None` if this process can't know.
pub(crate) fn is_alive(mapped: &Mapped, index: usize) -> Option<bool> {
    row_of(mapped, index)?.is_alive(index)
}

/// Clears slot `index` if its owner is dead. Returns whether it was.
pub(crate) fn bury(mapped: &Mapped, index: usize) -> io::Result<bool> {
    row_of(mapped, index).map_or(Ok(false), |row| row.bury(index))
}

/// Clears the slots of all who are dead, so that nobody has to find them in the way first. Returns how many
/// that were.
pub(crate) fn bury_all(mapped: &Mapped) -> usize {
    let rows = [mapped.appender_slots(), mapped.reader_slots()].map(|range| row(mapped, range));
    let buried = rows.iter().flatten().map(Row::bury_all).sum();
    if buried > 0 {
        mapped.ring_room();
    }
    buried
}

/// The hold word of a seat taken from `mapped`.
pub(crate) fn hold_word(mapped: &'static Mapped, index: usize) -> &'static AtomicU64 {
    &mapped.all_slots()[index].hold.0
}
