//! The appender that is alone: no pin, no compare-exchange; the commit is one store.

use crate::core::append::{Append, Moved};
use crate::core::commit::End;
use crate::core::memory::Memory;
use crate::core::tip::{Blocked, MAX_FOLLOWS, Tip};
use crate::layout::entry::{self, Kind, words_for};
use crate::sync::{AtomicU64, Ordering::Release};

/// See the module. The caller holds the append lock alone.
#[derive(Debug)]
pub struct Exclusive<'m, M> {
    tip: Tip<'m, M>,
}

impl<'m, M: Memory> Exclusive<'m, M> {
    /// Takes the log over where it ends, finishing a roll that a dead predecessor began.
    ///
    /// # Errors
    /// [`Blocked::Corrupt`]
    pub fn attach(memory: &'m M) -> Result<Self, Blocked> {
        let mut tip = Tip::attach(memory, None)?;
        match tip.end() {
            End::Open(_) => {}
            // The close certifies that the next window is free: this does not wait.
            End::Closed(_) => tip.advance()?,
            // Every append goes the slow way and learns it there.
            End::Final(_) => {}
        }
        Ok(Self { tip })
    }

    /// Commits to `slot`, the next one.
    #[inline(always)]
    fn commit_at(&mut self, slot: &'m AtomicU64, kind: Kind, len_bytes: usize, at: usize) -> u64 {
        let tip = &mut self.tip;
        let position = tip.next;
        // SYNC commit: Release, as in `commit::attempt`.
        slot.store(tip.tag.word(entry::body(kind, len_bytes as u64, at as u64)), Release);
        tip.next = position + 1;
        if tip.claim_ahead(words_for(len_bytes)) {
            tip.fetch_words();
        }
        tip.base.wrapping_add(position as u64)
    }

    #[cold]
    fn reserve_slowly(&mut self, words: usize) -> Result<usize, Blocked> {
        for _ in 0..MAX_FOLLOWS {
            if let End::Final(_) = self.tip.end() {
                return Err(Blocked::Closed);
            }
            if self.tip.next < self.tip.open.len() && self.tip.refill(words)? {
                return self.tip.cut(words).ok_or(Blocked::Corrupt);
            }
            self.tip.advance()?;
        }
        Err(Blocked::Corrupt)
    }
}

impl<'m, M: Memory> Append<'m, M> for Exclusive<'m, M> {
    type Stopped = ();

    #[inline(always)]
    fn append_quickly(&mut self, kind: Kind, len_bytes: usize, write: impl Fn(&[AtomicU64])) -> Result<u64, ()> {
        let slot = self.tip.open.get(self.tip.next).ok_or(())?;
        let (at, payload) = self.tip.room(words_for(len_bytes)).ok_or(())?;
        write(payload);
        Ok(self.commit_at(slot, kind, len_bytes, at))
    }

    fn append_slowly(
        &mut self,
        (): (),
        kind: Kind,
        len_bytes: usize,
        write: impl Fn(&[AtomicU64]),
    ) -> Result<u64, Blocked> {
        let words = words_for(len_bytes);
        let at = self.reserve_slowly(words)?;
        write(self.tip.payload(at, words));
        self.try_commit(kind, len_bytes, at).map_err(|Moved| Blocked::Corrupt)
    }

    #[inline]
    fn try_reserve(&mut self, len_bytes: usize) -> Result<usize, Blocked> {
        let words = words_for(len_bytes);
        if self.tip.next < self.tip.open.len()
            && let Some(at) = self.tip.cut(words)
        {
            return Ok(at);
        }
        self.reserve_slowly(words)
    }

    #[inline]
    fn try_commit(&mut self, kind: Kind, len_bytes: usize, at: usize) -> Result<u64, Moved> {
        let slot = self.tip.open.get(self.tip.next).ok_or(Moved)?;
        Ok(self.commit_at(slot, kind, len_bytes, at))
    }

    #[inline]
    fn release(&mut self) {}

    fn try_close(&mut self) -> Result<u64, Blocked> {
        self.tip.close_log()
    }

    fn tip(&self) -> &Tip<'m, M> {
        &self.tip
    }
}
