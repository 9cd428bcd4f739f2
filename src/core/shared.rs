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

/// Where a quick append stopped. But in the first case the segment is still pinned.
#[derive(Clone, Copy, Debug)]
pub enum Stopped {
    /// The segment is no longer there.
    GivenUp,
    /// The lease has no room.
    NoRoom,
    /// The first attempt to commit failed.
    At {
        /// The commit word.
        word: u64,
        /// What the attempt found.
        attempt: Attempt,
    },
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

    /// The commit word of a record at `at`.
    #[inline(always)]
    fn word(&self, kind: Kind, len_bytes: usize, at: usize) -> u64 {
        self.tip.tag.word(entry::body(kind, len_bytes as u64, at as u64))
    }

    /// One attempt to commit at the next word.
    #[inline(always)]
    fn attempt(&mut self, word: u64) -> Attempt {
        let tip = &self.tip;
        // The last word of an index can only take a close.
        let Some(slot) = tip.open.get(tip.next) else { return Attempt::Ended };
        commit::attempt(slot, tip.tag, self.guesses.at(tip.window.index, tip.tag, tip.next), word)
    }

    /// The sequence number of what was just committed.
    #[inline(always)]
    fn passed(&mut self) -> u64 {
        let position = self.tip.next;
        self.tip.next = position + 1;
        self.tip.base.wrapping_add(position as u64)
    }

    /// Goes on after a first attempt to commit `word`.
    fn commit_further(&mut self, word: u64, mut attempt: Attempt) -> Result<u64, Moved> {
        let mut walked = 0;
        loop {
            match attempt {
                Attempt::Done => return Ok(self.passed()),
                Attempt::Stale(now) => self.guesses.correct(self.tip.next, now),
                Attempt::Ended => return Err(Moved),
                Attempt::Taken => {
                    self.tip.next += 1;
                    walked += 1;
                    if walked > WALK_ENTRIES {
                        let (End::Open(at) | End::Closed(at) | End::Final(at)) = self.tip.end();
                        self.tip.next = at;
                    }
                }
            }
            attempt = self.attempt(word);
        }
    }

    /// Commits what `write` put into the lease, or puts it elsewhere.
    fn append_further(
        &mut self,
        (word, attempt): (u64, Attempt),
        kind: Kind,
        len_bytes: usize,
        write: impl Fn(&[AtomicU64]),
    ) -> Result<u64, Blocked> {
        match self.commit_further(word, attempt) {
            Ok(seq) => Ok(seq),
            Err(Moved) => self.follow().and_then(|()| self.append_pinned(kind, len_bytes, write)),
        }
    }

    fn append_pinned(&mut self, kind: Kind, len_bytes: usize, write: impl Fn(&[AtomicU64])) -> Result<u64, Blocked> {
        let words = words_for(len_bytes);
        for _ in 0..MAX_FOLLOWS {
            let at = self.reserve_pinned(words)?;
            write(self.tip.payload(at, words));
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
    #[inline(always)]
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
    type Stopped = Stopped;

    #[inline(always)]
    fn append_quickly(&mut self, kind: Kind, len_bytes: usize, write: impl Fn(&[AtomicU64])) -> Result<u64, Stopped> {
        if !hold::enter(self.tip.memory, self.hold, self.tip.segment) {
            return Err(Stopped::GivenUp);
        }
        let words = words_for(len_bytes);
        let (at, payload) = self.tip.room(words).ok_or(Stopped::NoRoom)?;
        write(payload);
        let word = self.word(kind, len_bytes, at);
        match self.attempt(word) {
            Attempt::Done => {}
            other => return Err(Stopped::At { word, attempt: other }),
        }
        // The commit words are everybody's.
        let _ = self.tip.claim_ahead(words);
        hold::leave(self.hold);
        Ok(self.passed())
    }

    fn append_slowly(
        &mut self,
        stopped: Stopped,
        kind: Kind,
        len_bytes: usize,
        write: impl Fn(&[AtomicU64]),
    ) -> Result<u64, Blocked> {
        if let Stopped::GivenUp = stopped {
            self.rejoin()?;
        }
        let result = match stopped {
            Stopped::At { word, attempt } => self.append_further((word, attempt), kind, len_bytes, write),
            Stopped::GivenUp | Stopped::NoRoom => self.append_pinned(kind, len_bytes, write),
        };
        hold::leave(self.hold);
        result
    }

    fn try_reserve(&mut self, len_bytes: usize) -> Result<usize, Blocked> {
        self.pin()?;
        self.reserve_pinned(words_for(len_bytes)).inspect_err(|_| hold::leave(self.hold))
    }

    fn try_commit(&mut self, kind: Kind, len_bytes: usize, at: usize) -> Result<u64, Moved> {
        let word = self.word(kind, len_bytes, at);
        let attempt = self.attempt(word);
        self.commit_further(word, attempt)
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
