//! What both appenders can do, so that handles are written once.

use crate::core::memory::Memory;
use crate::core::tip::{Blocked, Tip};
use crate::layout::entry::Kind;
use crate::sync::AtomicU64;

/// The segment can't take the record any more: closed by others, or its index is full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moved;

/// An appender's operations. None waits.
pub trait Append<'m, M: Memory> {
    /// Where a quick append stopped.
    type Stopped: Copy;

    /// Appends a record of `len_bytes` that `write` puts into the words given to it, if the lease and the
    /// segment have room and nobody else appends. Returns the sequence number. Nothing else is in it, so
    /// that it is worth having at every place that appends.
    ///
    /// # Errors
    /// Where it stopped: go on by [`Append::append_slowly`], and at once.
    fn append_quickly(
        &mut self,
        kind: Kind,
        len_bytes: usize,
        write: impl Fn(&[AtomicU64]),
    ) -> Result<u64, Self::Stopped>;

    /// Goes on where a quick append stopped.
    ///
    /// # Errors
    /// [`Blocked`]; nothing was appended, nothing is held.
    fn append_slowly(
        &mut self,
        stopped: Self::Stopped,
        kind: Kind,
        len_bytes: usize,
        write: impl Fn(&[AtomicU64]),
    ) -> Result<u64, Blocked>;

    /// Appends a record of `len_bytes` that `write` puts into the words given to it; it may be
    /// called again with other words. Returns the sequence number.
    ///
    /// # Errors
    /// [`Blocked`]; nothing was appended, nothing is held.
    #[inline]
    fn try_append(&mut self, kind: Kind, len_bytes: usize, write: impl Fn(&[AtomicU64])) -> Result<u64, Blocked> {
        self.append_quickly(kind, len_bytes, &write)
            .or_else(|stopped| self.append_slowly(stopped, kind, len_bytes, &write))
    }

    /// Reserves room for a record. Returns its place, in words. What protects it stays until
    /// [`Append::release`].
    ///
    /// # Errors
    /// [`Blocked`]; nothing was consumed, nothing is held.
    fn try_reserve(&mut self, len_bytes: usize) -> Result<usize, Blocked>;

    /// Commits what was reserved last, of at most the reserved length, and written since.
    ///
    /// # Errors
    /// [`Moved`]: write it again in the next segment.
    fn try_commit(&mut self, kind: Kind, len_bytes: usize, at: usize) -> Result<u64, Moved>;

    /// Ends the protection of a reservation.
    fn release(&mut self);

    /// Ends the log. Returns how many records it ever held.
    ///
    /// # Errors
    /// [`Blocked`]
    fn try_close(&mut self) -> Result<u64, Blocked>;

    /// The place.
    fn tip(&self) -> &Tip<'m, M>;
}
