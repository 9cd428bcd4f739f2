//! A participant's place on the board, held by an OFD lock on its byte: the kernel frees it when
//! the participant dies, however it dies.
//!
//! Appenders lock bytes of the lock file, which readers do not have; readers lock bytes of the
//! board. Byte 0 of the lock file is the append lock: shared by shared appenders, alone by an
//! exclusive one; slot `i` of the appenders is byte `1 + i`.

use crate::core::hold;
use crate::error::JoinError;
use crate::layout::board::Slot;
use crate::layout::text::put_text;
use crate::mapped::Mapped;
use crate::participant::{Holder, Role};
use crate::region::Region;
use crate::sync::{AtomicU64, Ordering::Relaxed};
use crate::sys::lock::{self, Mode};
use crate::sys::reopen::reopen;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
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

/// The file and the byte whose lock says that slot `index` is taken.
fn lock_byte(mapped: &Mapped, index: usize) -> Option<(BorrowedFd<'_>, u64)> {
    if mapped.appender_slots().contains(&index) {
        return mapped.lock().map(|lock| (lock.as_fd(), 1 + index as u64));
    }
    mapped.board().map(|board| (board.file(), index as u64))
}

impl Seat {
    /// Takes a free slot, or one whose owner is dead.
    pub(crate) fn take(mapped: &Arc<Mapped>, role: Role, name: &str) -> Result<Self, JoinError> {
        let slots = match role {
            Role::Appender | Role::ExclusiveAppender => mapped.appender_slots(),
            Role::Reader | Role::GatedReader => mapped.reader_slots(),
        };
        // The file of a board that is mapped for reading only may well be reopened for writing.
        if !mapped.board().is_some_and(Region::is_writable) {
            return Err(JoinError::ReadOnly);
        }
        let (file, _) = lock_byte(mapped, slots.start).ok_or(JoinError::ReadOnly)?;
        let own = reopen(file, true).map_err(|error| JoinError::os("reopening the lock file", error))?;
        take_append_lock(&own, role)?;
        let is_free = |&index: &usize| mapped.slot(index).is_some_and(|slot| slot.role.load(Relaxed) == 0);
        let first_free = slots.clone().filter(is_free);
        for index in first_free.chain(slots.clone()) {
            let Some((_, byte)) = lock_byte(mapped, index) else { continue };
            if lock::try_lock(&own, byte, Mode::Alone).map_err(|error| JoinError::os("locking a slot", error))? {
                let seat = Self { mapped: Arc::clone(mapped), index, own };
                seat.sign(role, name);
                return Ok(seat);
            }
        }
        Err(JoinError::BoardFull { slots: slots.len() })
    }

    fn sign(&self, role: Role, name: &str) {
        let slot = self.slot();
        hold::leave(&slot.hold.0);
        slot.pid.store(u64::from(std::process::id()), Relaxed);
        slot.position.store(0, Relaxed);
        put_text(&slot.name, name.as_bytes());
        slot.role.store(role as u64, Relaxed);
    }

    pub(crate) fn index(&self) -> usize {
        self.index
    }

    fn slot(&self) -> &Slot {
        &self.mapped.all_slots()[self.index]
    }

    /// Closing does not suffice: a child that this process is just starting has a copy of the
    /// descriptor until it execs.
    fn unlock(&self) {
        let append_lock = self.mapped.appender_slots().contains(&self.index).then_some(APPEND_LOCK);
        let slot = lock_byte(&self.mapped, self.index).map(|(_, byte)| byte);
        for byte in slot.into_iter().chain(append_lock) {
            // Unlocking one's own lock fails only where locking is impossible too.
            let _ = lock::unlock(&self.own, byte);
        }
    }

    /// Says for others to see where it is.
    pub(crate) fn tell(&self, position: u64) {
        self.slot().position.store(position, Relaxed);
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let slot = self.slot();
        hold::leave(&slot.hold.0);
        slot.role.store(0, Relaxed);
        self.unlock();
        self.mapped.ring_room();
    }
}

fn take_append_lock(own: &OwnedFd, role: Role) -> Result<(), JoinError> {
    let (mode, taken) = match role {
        Role::Appender => (Mode::Shared, JoinError::ExclusiveAttached),
        Role::ExclusiveAppender => (Mode::Alone, JoinError::OthersAttached),
        Role::Reader | Role::GatedReader => return Ok(()),
    };
    let locked =
        lock::try_lock(own, APPEND_LOCK, mode).map_err(|error| JoinError::os("taking the append lock", error))?;
    if locked { Ok(()) } else { Err(taken) }
}

/// Whether the owner of slot `index` lives; `None` if this process can't know.
pub(crate) fn is_alive(mapped: &Mapped, index: usize) -> Option<bool> {
    let (file, byte) = lock_byte(mapped, index)?;
    lock::is_locked(file, byte).ok()
}

/// Clears slot `index` if its owner is dead. Returns whether it was.
///
/// The slot's lock is held meanwhile, so nobody can take the seat in between.
pub(crate) fn bury(mapped: &Mapped, index: usize) -> io::Result<bool> {
    let (Some((file, byte)), Some(slot)) = (lock_byte(mapped, index), mapped.slot(index)) else { return Ok(false) };
    if lock::is_locked(file, byte)? {
        return Ok(false);
    }
    let own = reopen(file, true)?;
    if !lock::try_lock(&own, byte, Mode::Alone)? {
        return Ok(false);
    }
    tracing::debug!(holder = %Holder::of(slot, index), "cleared a dead participant's slot");
    hold::leave(&slot.hold.0);
    slot.role.store(0, Relaxed);
    Ok(true)
}

/// The hold word of a seat taken from `mapped`.
pub(crate) fn hold_word(mapped: &'static Mapped, index: usize) -> &'static AtomicU64 {
    &mapped.all_slots()[index].hold.0
}
