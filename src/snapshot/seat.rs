//! A reader's place on a snapshot's board, from which it pins.

use crate::core::pins;
use crate::error::JoinError;
use crate::participant::Role;
use crate::region::Region;
use crate::snapshot::slots::Slots;
use crate::sync::AtomicU64;
use crate::sys::reopen::reopen;
use std::os::fd::OwnedFd;
use std::sync::Arc;

/// See the module. Freed on drop.
#[derive(Debug)]
pub(crate) struct Seat {
    slots: Arc<Slots>,
    index: usize,
    /// Keeps the lock: a description of its own, never mapped, never passed on.
    own: OwnedFd,
}

impl Seat {
    /// Takes a free seat, or one whose owner is dead.
    pub(crate) fn take(slots: &Arc<Slots>, name: &str) -> Result<Self, JoinError> {
        let is_writable = slots.board().is_some_and(Region::is_writable);
        let (Some(row), Some(taken), true) = (slots.row(), slots.taken(), is_writable) else {
            return Err(JoinError::Observing);
        };
        let own = reopen(row.file, true).map_err(|error| JoinError::os("reopening the board", error))?;
        let index = row.occupy(&own, Role::SnapshotReader, name);
        let index = index.map_err(|error| JoinError::os("locking a seat", error))?;
        let index = index.ok_or(JoinError::BoardFull { slots: row.slots.len() })?;
        pins::open_seat(taken, index);
        Ok(Self { slots: Arc::clone(slots), index, own })
    }

    /// The word to pin with.
    pub(crate) fn pin_word(&self) -> &AtomicU64 {
        &self.slots.seats()[self.index].hold.0
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        if let Some(row) = self.slots.row() {
            row.vacate(&self.own, self.index);
        }
    }
}
