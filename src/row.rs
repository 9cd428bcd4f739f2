//! Places on a board, each held by an OFD lock on a byte of a file: the kernel frees it when the
//! participant dies, however it dies.

use crate::core::hold;
use crate::layout::board::Slot;
use crate::layout::text::put_text;
use crate::participant::{Holder, Role};
use crate::sync::Ordering::Relaxed;
use crate::sys::lock::{self, Mode};
use crate::sys::reopen::reopen;
use std::io;
use std::ops::Range;
use std::os::fd::{AsFd, BorrowedFd};

/// Looks for a free slot.
const PASSES: u32 = 3;

/// Some of a board's slots, and the file whose bytes say which are taken.
#[derive(Clone, Debug)]
pub(crate) struct Row<'m> {
    /// All slots of the board.
    pub(crate) slots: &'m [Slot],
    /// Those of this row.
    pub(crate) range: Range<usize>,
    /// Slot `i` is byte `first_byte + i` of this file.
    pub(crate) file: BorrowedFd<'m>,
    pub(crate) first_byte: u64,
}

impl Row<'_> {
    fn byte(&self, index: usize) -> u64 {
        self.first_byte + index as u64
    }

    /// Takes a free slot, or one whose owner is dead, by locks of the description `own`. `None`: all are
    /// taken by the living.
    pub(crate) fn occupy(&self, own: impl AsFd, role: Role, name: &str) -> io::Result<Option<usize>> {
        let is_free = |&index: &usize| self.slots.get(index).is_some_and(|slot| slot.role.load(Relaxed) == 0);
        for _ in 0..PASSES {
            let first_free = self.range.clone().filter(is_free);
            for index in first_free.chain(self.range.clone()) {
                let Some(slot) = self.slots.get(index) else { continue };
                if lock::try_lock(&own, self.byte(index), Mode::Alone)? {
                    sign(slot, role, name);
                    return Ok(Some(index));
                }
            }
            // Somebody may just be clearing the slot of a dead one, by its lock.
            std::thread::yield_now();
        }
        Ok(None)
    }

    /// Leaves slot `index`. Closing `own` does not suffice: a child that this process is just starting
    /// has a copy of the descriptor until it execs.
    pub(crate) fn vacate(&self, own: impl AsFd, index: usize) {
        if let Some(slot) = self.slots.get(index) {
            hold::leave(&slot.hold.0);
            slot.role.store(0, Relaxed);
        }
        // Unlocking one's own lock fails only where locking is impossible too.
        let _ = lock::unlock(own, self.byte(index));
    }

    /// Whether the owner of slot `index` lives; `None` if this process can't know.
    pub(crate) fn is_alive(&self, index: usize) -> Option<bool> {
        lock::is_locked(self.file, self.byte(index)).ok()
    }

    /// Clears slot `index` if its owner is dead. Returns whether it was.
    ///
    /// The slot's lock is held meanwhile, so nobody can take the seat in between.
    pub(crate) fn bury(&self, index: usize) -> io::Result<bool> {
        let Some(slot) = self.slots.get(index) else { return Ok(false) };
        if lock::is_locked(self.file, self.byte(index))? {
            return Ok(false);
        }
        let own = reopen(self.file, true)?;
        if !lock::try_lock(&own, self.byte(index), Mode::Alone)? {
            return Ok(false);
        }
        tracing::debug!(holder = %Holder::of(slot, index), "cleared a dead participant's slot");
        hold::leave(&slot.hold.0);
        slot.role.store(0, Relaxed);
        Ok(true)
    }

    /// Clears the slots of all who signed and are dead. Returns how many that were.
    pub(crate) fn bury_all(&self) -> usize {
        let is_signed = |&index: &usize| self.slots.get(index).is_some_and(|slot| slot.role.load(Relaxed) != 0);
        self.range.clone().filter(is_signed).filter(|&index| self.bury(index).unwrap_or(false)).count()
    }
}

fn sign(slot: &Slot, role: Role, name: &str) {
    hold::begin(slot);
    slot.pid.store(u64::from(std::process::id()), Relaxed);
    slot.position.store(0, Relaxed);
    put_text(&slot.name, name.as_bytes());
    slot.role.store(role as u64, Relaxed);
}
