//! Closing a journal.

use crate::error::JournalError;
use crate::journal::core::{Core, OPEN_LOCK, USE_LOCK};
use crate::journal::files::control_file::{reread_control, write_control};
use crate::journal::format::control::{Control, Place};
use crate::journal::format::frame::frame_bytes;
use crate::journal::opening::front;
use crate::journal::opening::open::NAP;
use crate::sys::lock::{self, Mode};
use std::time::Instant;

impl Core {
    /// Makes everything durable, and, if nobody else has the journal open, puts down where its records end and removes
    /// the front.
    pub(crate) fn close(&self) -> Result<(), JournalError> {
        self.close_here().map_err(|error| self.located(error))
    }

    fn close_here(&self) -> Result<(), JournalError> {
        let end = self.end();
        let flushed = self.make_durable(end);
        let let_go = || {
            let _ = lock::unlock(self.locks.fd(), USE_LOCK);
        };
        let os = |error| JournalError::locking(self.names.lock(), error);
        let began = Instant::now();
        let is_locked = loop {
            // One that closes too must not take this one for a user that stays.
            let is_locked = lock::try_lock(self.locks.fd(), OPEN_LOCK, Mode::Alone).map_err(os)?;
            if is_locked || began.elapsed() >= self.settings.open_wait {
                break is_locked;
            }
            std::thread::sleep(NAP);
        };
        let is_last = is_locked && lock::try_lock(self.locks.fd(), USE_LOCK, Mode::Alone).map_err(os)?;
        let closed = if is_last && flushed.is_ok() { self.close_last() } else { Ok(()) };
        let_go();
        let _ = lock::unlock(self.locks.fd(), OPEN_LOCK);
        flushed.and(closed)
    }

    /// Whether there are none in memory, and none are left in the files that were removed: then nothing is to be written,
    /// for which there may be no room.
    fn has_no_cursors(&self) -> bool {
        let progress = self.state.progress();
        let is_durable = !self.state.is_flushing()
            && progress.written == progress.durable
            && self.state.cursors_version() == self.state.cursors_durable()
            && self.state.marks() == self.state.marks_durable();
        is_durable && self.state.cursor_table().0.cursors.is_empty()
    }

    fn close_last(&self) -> Result<(), JournalError> {
        // Others may have appended and died.
        let end = self.end();
        self.make_durable(end)?;
        if !self.has_no_cursors() {
            // They become the last frame, where they are found without a scan.
            self.state.cursors_changed();
            self.sync_cursors()?;
        }
        self.seal_marks()?;
        let Some((control, turn)) = reread_control(&*self.disk, &self.names)? else { return Ok(()) };
        let progress = self.state.progress();
        let table = self.state.cursor_table().0;
        let frame = frame_bytes(table.encode(0).len()) as u64;
        let offset = progress.written.offset.wrapping_sub(frame);
        let control = Control {
            closed: Some(progress.written),
            cursors: (!table.cursors.is_empty()).then_some(Place { offset, ..progress.written }),
            durable: progress.durable.seq,
            oldest: self.state.oldest(),
            front: None,
            ..control
        };
        debug_assert_eq!(progress.written, progress.durable);
        write_control(&*self.disk, &self.names, &control, turn + 1)?;
        front::remove(&self.front_path);
        Ok(())
    }
}
