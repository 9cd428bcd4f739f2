//! The appender among others: pinned while it appends, committing by compare-exchange.
//!
//! The compare-exchange is tried blindly, with a guess of the stale word made ahead of time:
//! whoever owns the index line commits several records before losing it, while looking first would
//! fetch the line twice.

use crate::core::append::{Append, Moved};
use crate::core::commit::{self, Attempt, End};
use crate::core::hold;
use crate::core::memory::Memory;
use crate::core::tip::{Blocked, MAX_FOLLOWS, Tip};
use crate::layout::LINE_ENTRIES;
use crate::layout::entry::{self, Kind, Tag, words_for};
use crate::sync::{AtomicU64, Ordering::Relaxed};

/// Words walked over one by one before galloping.
const WALK_ENTRIES: u32 = 4;

/// The stale words of the index line being filled and of the one after it.
#[derive(Debug)]
struct Guesses {
    /// First position of the line; out of every index at first.
    from: usize,
    here: [u64; LINE_ENTRIES],
    ahead: [u64; LINE_ENTRIES],
}

/// A line that no position lies in or comes right after.
const NO_LINE: usize = usize::MAX / 2 - usize::MAX / 2 % LINE_ENTRIES;

impl Guesses {
    fn new() -> Self {
        Self { from: NO_LINE, here: [0; LINE_ENTRIES], ahead: [0; LINE_ENTRIES] }
    }

    /// The guess for `position`.
    #[inline]
    fn at(&mut self, index: &[AtomicU64], tag: Tag, position: usize) -> u64 {
        if position.wrapping_sub(self.from) >= LINE_ENTRIES {
            self.turn(index, tag, position);
        }
        self.here[position % LINE_ENTRIES]
    }

    /// Turns to the line of `position`; looks at the next one, for which nobody fights yet.
    fn turn(&mut self, index: &[AtomicU64], tag: Tag, position: usize) {
        let from = position - position % LINE_ENTRIES;
        self.here =
            if from.wrapping_sub(self.from) == LINE_ENTRIES { self.ahead } else { Self::look(index, tag, from) };
        self.ahead = Self::look(index, tag, from + LINE_ENTRIES);
        self.from = from;
    }

    /// A word of this lap is never a guess: it must not be replaced. Zero stands in for it.
    fn look(index: &[AtomicU64], tag: Tag, from: usize) -> [u64; LINE_ENTRIES] {
        let mut words = [0; LINE_ENTRIES];
        for (word, slot) in words.iter_mut().zip(index.iter().skip(from)) {
            let seen = slot.load(Relaxed);
            *word = if tag.is_current(seen) { 0 } else { seen };
        }
        words
    }

    #[inline]
    fn correct(&mut self, position: usize, word: u64) {
        self.here[position % LINE_ENTRIES] = word;
    }
}

/// See the module. The caller holds the append lock shared and owns `hold`.
#[derive(Debug)]
pub struct Shared<'m, M> {
    tip: Tip<'m, M>,
    hold: &'m AtomicU64,
    guesses: Guesses,
}

impl<'m, M: Memory> Shared<'m, M> {
    /// Joins at the end of the log.
    ///
    /// # Errors
    /// [`Blocked::Corrupt`]
    pub fn attach(memory: &'m M, hold: &'m AtomicU64) -> Result<Self, Blocked> {
        let tip = Tip::attach(memory, Some(hold))?;
        hold::leave(hold);
        Ok(Self { tip, hold, guesses: Guesses::new() })
    }

    #[inline]
    fn append_pinned(&mut self, kind: Kind, len_bytes: usize, write: impl Fn(&[AtomicU64])) -> Result<u64, Blocked> {
        let words = words_for(len_bytes);
        for _ in 0..MAX_FOLLOWS {
            let at = self.reserve_pinned(words)?;
            write(self.tip.payload(at, words));
            self.tip.fetch_ahead(at, words);
            match self.try_commit(kind, len_bytes, at) {
                Ok(seq) => return Ok(seq),
                Err(Moved) => self.follow()?,
            }
        }
        Err(Blocked::Corrupt)
    }

    #[inline]
    fn reserve_pinned(&mut self, words: usize) -> Result<usize, Blocked> {
        match self.tip.cut(words) {
            Some(at) => Ok(at),
            None => self.reserve_slowly(words),
        }
    }

    #[cold]
    fn reserve_slowly(&mut self, words: usize) -> Result<usize, Blocked> {
        for _ in 0..MAX_FOLLOWS {
            if self.tip.refill(words)? {
                return self.tip.cut(words).ok_or(Blocked::Corrupt);
            }
            self.follow()?;
        }
        Err(Blocked::Corrupt)
    }

    /// Leaves a segment that can't take the record.
    #[cold]
    fn follow(&mut self) -> Result<(), Blocked> {
        self.tip.advance()?;
        self.tip.catch_up();
        // Else this append, following N segments, would wait for its own pin.
        hold::advance(self.hold, self.tip.segment);
        self.guesses = Guesses::new();
        Ok(())
    }

    /// Pins the segment, or the newest one if this one has been given up.
    #[inline]
    fn pin(&mut self) -> Result<(), Blocked> {
        if hold::enter(self.tip.memory, self.hold, self.tip.segment) {
            return Ok(());
        }
        self.rejoin()
    }

    #[cold]
    fn rejoin(&mut self) -> Result<(), Blocked> {
        self.tip = Tip::attach(self.tip.memory, Some(self.hold))?;
        self.guesses = Guesses::new();
        Ok(())
    }
}

impl<'m, M: Memory> Append<'m, M> for Shared<'m, M> {
    #[inline]
    fn try_append(&mut self, kind: Kind, len_bytes: usize, write: impl Fn(&[AtomicU64])) -> Result<u64, Blocked> {
        self.pin()?;
        let result = self.append_pinned(kind, len_bytes, write);
        hold::leave(self.hold);
        result
    }

    fn try_reserve(&mut self, len_bytes: usize) -> Result<usize, Blocked> {
        self.pin()?;
        self.reserve_pinned(words_for(len_bytes)).inspect_err(|_| hold::leave(self.hold))
    }

    #[inline]
    fn try_commit(&mut self, kind: Kind, len_bytes: usize, at: usize) -> Result<u64, Moved> {
        let tip = &mut self.tip;
        let word = tip.tag.word(entry::body(kind, len_bytes as u64, at as u64));
        let mut walked = 0;
        while tip.next < tip.last() {
            let Some(slot) = tip.window.index.get(tip.next) else { break };
            match commit::attempt(slot, tip.tag, self.guesses.at(tip.window.index, tip.tag, tip.next), word) {
                Attempt::Done => {
                    tip.next += 1;
                    return Ok(tip.base.wrapping_add(tip.next as u64 - 1));
                }
                Attempt::Stale(now) => self.guesses.correct(tip.next, now),
                Attempt::Ended => return Err(Moved),
                Attempt::Taken => {
                    tip.next += 1;
                    walked += 1;
                    if walked > WALK_ENTRIES {
                        let (End::Open(at) | End::Closed(at) | End::Final(at)) = tip.end();
                        tip.next = at;
                    }
                }
            }
        }
        Err(Moved)
    }

    #[inline]
    fn release(&mut self) {
        hold::leave(self.hold);
    }

    fn try_close(&mut self) -> Result<u64, Blocked> {
        self.pin()?;
        let result = self.tip.close_log();
        hold::leave(self.hold);
        result
    }

    fn tip(&self) -> &Tip<'m, M> {
        &self.tip
    }
}
