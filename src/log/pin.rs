//! What a reader holds: pins, the slot they need, and who may enter beside.

use crate::core::cursor::Cursor;
use crate::core::locate;
use crate::core::memory::Memory;
use crate::error::{AttachError, JoinError};
use crate::log::reader::Reader;
use crate::log::seat::{Seat, hold_word};
use crate::mapped::Mapped;
use crate::participant::Role;
use std::sync::Arc;

impl Reader {
    /// Holds the record the reader stands at, and all newer ones, so that they can be looked at in
    /// place: appends return `Full` naming this reader once the log has come round to them, until
    /// it has moved on or [`Reader::unpin`].
    ///
    /// # Errors
    /// [`JoinError::Gone`]: given up already; [`JoinError::NoSeat`]: there is no slot for it, neither when it joined
    /// nor now; [`JoinError::Attach`]: memory behind the log is gone; [`JoinError::Os`].
    pub fn pin(&mut self) -> Result<(), JoinError> {
        if self.place.state().is_gated() {
            return Ok(());
        }
        let mapped = Arc::clone(self.place.mapped());
        let seat = self.seat(&mapped)?;
        for _ in 0..=mapped.windows() {
            let holds = self.place.with(|mapped, place| place.hold(hold_word(mapped, seat)));
            if mapped.was_lost() {
                return Err(AttachError::MemoryLost { what: "log" }.into());
            }
            if holds {
                return Ok(());
            }
            if !self.pass_given_up() {
                break;
            }
        }
        let seq = self.position();
        Err(JoinError::Gone { seq, oldest: locate::oldest(&*mapped).map_or(seq, |(_, base)| base) })
    }

    /// Goes to the oldest segment, if the reader stands behind the last record of the one before: that was given
    /// up, but no record is that the reader has not seen.
    #[cold]
    fn pass_given_up(&mut self) -> bool {
        self.place.with(|mapped, place| match Cursor::at_oldest(mapped, None) {
            Ok(oldest) if oldest.seq() == place.seq() => {
                *place = oldest;
                true
            }
            _ => false,
        })
    }

    /// Its slot, which is taken now if none could be had when it joined.
    fn seat(&mut self, mapped: &Arc<Mapped>) -> Result<usize, JoinError> {
        if let Some(seat) = &self.seat {
            return Ok(seat.index());
        }
        let seat = Seat::take(mapped, Role::Reader, &self.name).map_err(|error| match error {
            JoinError::BoardFull { .. } | JoinError::Observing => JoinError::NoSeat,
            other => other,
        })?;
        Ok(self.seat.insert(seat).index())
    }

    /// Holds nothing any more; also of a gated reader, which is a free one from here on.
    pub fn unpin(&mut self) {
        self.is_guest = false;
        self.place_mut().let_go();
        self.place.mapped().ring_room();
    }

    /// Lets newcomers enter beside this reader, which is pinned until it is dropped.
    pub(crate) fn admit_others(&self) {
        if let Some(seat) = &self.seat {
            seat.admit_others();
        }
    }

    /// As [`Reader::unpin`], but a free reader that came beside another keeps what the log would take from it
    /// at once.
    pub(crate) fn unpin_if_retained(&mut self) {
        let mapped = self.place.mapped();
        if locate::is_retained(&**mapped, self.place.state().segment()) {
            self.is_guest = false;
            self.unpin();
        } else {
            self.is_guest = true;
        }
    }

    /// Whether the segment is not recycled while this reader stands where it does.
    pub(super) fn is_held(&self, segment: u64) -> bool {
        let place = self.place.state();
        self.is_kept || (place.is_gated() && segment >= place.segment())
    }
}
