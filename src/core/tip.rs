//! An appender's place: its segment, the word it will commit next, and its lease.

use crate::core::bump::{self, Refused};
use crate::core::commit::{self, End};
use crate::core::hold;
use crate::core::memory::{Memory, Window};
use crate::core::roll::{self, Kept};
use crate::hint::{claim_write, prefetch_write};
use crate::layout::entry::{self, Tag};
use crate::layout::{LINE_ENTRIES, LINE_WORDS};
use crate::sync::{AtomicU64, Ordering::Relaxed, Ordering::Release, fence};

/// How many words of the lease are claimed at a time, and how far ahead of the last record: three lines. A reader that
/// is close fetches more than it reads, and would take more lines back before they are written.
const CLAIM_WORDS: usize = 24;
/// How far ahead of the commit index lines are fetched for writing, in commit words.
const AHEAD_ENTRIES: usize = 4 * LINE_ENTRIES;
/// More than there are.
const ALL_CLAIMED: usize = usize::MAX;
/// How many segments one append or close follows, each time finding it ended by others, before it
/// calls the region corrupt.
pub(crate) const MAX_FOLLOWS: u32 = 10_000;
/// How often attaching follows a head that runs away before it calls the region corrupt.
const ATTACH_ATTEMPTS: u32 = 10_000;

/// The highest number that the first record of a segment can have: those after it have one too, and the number after
/// the last.
pub const MAX_BASE: u64 = u64::MAX - (1 << 32);

/// Why nothing could be appended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Blocked {
    /// The next window can't be given up.
    Kept(Kept),
    /// The log is closed.
    Closed,
    /// The region breaks its own rules: a hostile or broken peer wrote to it.
    Corrupt,
    /// The log has counted as far as it can.
    Exhausted,
}

impl From<Kept> for Blocked {
    fn from(kept: Kept) -> Self {
        Self::Kept(kept)
    }
}

/// See the module. `'m` is the life of the mapping.
#[derive(Debug)]
pub struct Tip<'m, M> {
    pub(crate) memory: &'m M,
    pub(crate) window: Window<'m>,
    /// The commit words that a record can take: all but the last, which is for a close.
    pub(crate) open: &'m [AtomicU64],
    pub(crate) segment: u64,
    /// Sequence number of the segment's first record.
    pub(crate) base: u64,
    pub(crate) tag: Tag,
    /// Position of the next commit; all words before it are current.
    pub(crate) next: usize,
    /// The lease: words `at..end` of the arena are this appender's alone; none if `at > end`.
    at: usize,
    end: usize,
    /// The lines of the lease before this word were stored to.
    claimed: usize,
    /// Nobody else appends.
    is_alone: bool,
}

/// Lines that are leased at least where others append too: 2 KiB, of which nobody notices how often they are leased.
const LEAST_LINES: u32 = 32;
/// `at` without a lease: not even a record of no words can be cut.
const NO_LEASE: usize = usize::MAX / 2;

impl<'m, M: Memory> Tip<'m, M> {
    /// A place at the end of the log. With a `hold`, which is entered and still held on return; without one for
    /// who appends alone.
    ///
    /// # Errors
    /// [`Blocked::Corrupt`] if head never stays behind active, or the place is beyond what can be counted.
    pub fn attach(memory: &'m M, hold: Option<&AtomicU64>) -> Result<Self, Blocked> {
        for _ in 0..ATTACH_ATTEMPTS {
            let segment = roll::active(memory);
            if memory.lap(segment) >= bump::MAX_LAP {
                return Err(Blocked::Corrupt);
            }
            if hold.is_none_or(|hold| hold::enter(memory, hold, segment)) {
                let base = memory.base(segment).load(Relaxed);
                if base > MAX_BASE {
                    if let Some(hold) = hold {
                        hold::leave(hold);
                    }
                    return Err(Blocked::Corrupt);
                }
                let mut tip = Self::at_start(memory, segment, base, hold.is_none());
                let (End::Open(at) | End::Closed(at) | End::Final(at)) = tip.end();
                tip.next = at;
                return Ok(tip);
            }
        }
        Err(Blocked::Corrupt)
    }

    fn at_start(memory: &'m M, segment: u64, base: u64, is_alone: bool) -> Self {
        let tag = Tag::of_lap(memory.lap(segment));
        let window = memory.window(segment);
        let open = window.index.split_last().map_or(window.index, |(_, open)| open);
        let tip = Self {
            memory,
            window,
            open,
            segment,
            base,
            tag,
            next: 0,
            at: NO_LEASE,
            end: 0,
            claimed: ALL_CLAIMED,
            is_alone,
        };
        // SYNC lap: Release, pairs with the Acquire fence before a reader's last look at head
        // (`locate::is_retained`). A reader that saw any word written from here on sees that the
        // window's former segment is gone.
        fence(Release);
        tip
    }

    /// Where this segment ends.
    pub fn end(&self) -> End {
        commit::find_end(self.window.index, self.tag, self.next)
    }

    /// Position that only a close can take.
    #[inline]
    pub fn last(&self) -> usize {
        self.window.index.len().wrapping_sub(1)
    }

    /// Cuts `words` from the lease, if they are there.
    #[inline]
    pub fn cut(&mut self, words: usize) -> Option<usize> {
        self.room(words).map(|(at, _)| at)
    }

    /// Cuts `words` from the lease, if they are there: their place, and they themselves.
    #[inline(always)]
    pub fn room(&mut self, words: usize) -> Option<(usize, &'m [AtomicU64])> {
        let (at, end) = (self.at, self.at + words);
        if end > self.end {
            return None;
        }
        let payload = self.window.arena.get(at..end)?;
        self.at = end;
        Some((at, payload))
    }

    /// The words of a reservation.
    #[inline]
    pub fn payload(&self, at: usize, words: usize) -> &'m [AtomicU64] {
        self.window.arena.get(at..at + words).unwrap_or(&[])
    }

    /// After the commit of a record of `words`: sees to it that the lines that are written next are this core's by
    /// then. Returns whether it was time for that. A record of many lines has stores to many lines under way anyway.
    #[inline(always)]
    pub fn claim_ahead(&mut self, words: usize) -> bool {
        let is_due = self.at + CLAIM_WORDS > self.claimed && words <= CLAIM_WORDS;
        if is_due {
            self.claim();
        }
        is_due
    }

    /// Asks for a line of the commit words that come next, for an appender that is alone.
    #[inline(always)]
    pub fn fetch_words(&self) {
        if let Some(ahead) = self.open.get(self.next + AHEAD_ENTRIES) {
            prefetch_write(ahead);
        }
    }

    /// Claims some lines of the lease by storing to each, one right after the other.
    ///
    /// A line that a reader has looked at has to be taken back from it before it can be stored to, and stores
    /// reach the cache in their order: one that waits for its line holds up all after it. As many lines as there
    /// are stores to in the store buffer are under way at a time. These stores are to as many lines; those of a
    /// record are to one or two, among many to the stack. A prefetch will not do: for a line that this core
    /// still has, shared, some processors ignore it (docs/performance.md). It does bring those that it has not.
    #[cold]
    #[inline(never)]
    fn claim(&mut self) {
        let from = self.at.max(self.claimed).next_multiple_of(LINE_WORDS as usize);
        let leased = self.window.arena.get(from..self.end).unwrap_or(&[]);
        // What is left over at the end of a lease is claimed by writing to it.
        let Some((now, later)) = leased.split_first_chunk::<CLAIM_WORDS>() else {
            self.claimed = ALL_CLAIMED;
            return;
        };
        for line in now.as_chunks::<{ LINE_WORDS as usize }>().0 {
            claim_write(&line[0]);
        }
        if let Some(later) = later.first_chunk::<CLAIM_WORDS>() {
            for line in later.as_chunks::<{ LINE_WORDS as usize }>().0 {
                prefetch_write(&line[0]);
            }
        }
        self.claimed = from + CLAIM_WORDS;
    }

    /// Leases anew so that `words` can be cut. `Ok(false)`: the arena has no room for them.
    ///
    /// # Errors
    /// [`Blocked::Corrupt`]: the bump word is of another lap. Its segment is pinned, or its appender
    /// alone, and it was opened before `active` named it: no honest peer does that.
    #[cold]
    pub fn refill(&mut self, words: usize) -> Result<bool, Blocked> {
        let line = LINE_WORDS as usize;
        #[allow(clippy::cast_possible_truncation, reason = "both are less than 2^22")]
        let (need, limit) = (words.div_ceil(line).max(1) as u32, (self.window.arena.len() / line) as u32);
        let lap = self.memory.lap(self.segment);
        let most = self.memory.lease_lines();
        let least = if self.is_alone { most } else { most.min(LEAST_LINES) };
        let lease = match bump::lease(self.window.bump, lap, need, least..=most, limit) {
            Ok(lease) => lease,
            Err(Refused::Used) => return Ok(false),
            Err(Refused::OtherLap) => return Err(Blocked::Corrupt),
        };
        let start = lease.start as usize * line;
        if start != self.end || self.at > self.end {
            self.at = start;
        }
        self.end = lease.end as usize * line;
        self.claimed = self.at;
        Ok(true)
    }

    /// Leaves this segment for the next, closing and opening as far as nobody has yet.
    ///
    /// # Errors
    /// [`Blocked`]; the place stays where it is.
    #[cold]
    pub fn advance(&mut self) -> Result<(), Blocked> {
        let end = match self.end() {
            End::Open(at) => {
                // Before anything was changed for the next segment, so that the log can still be closed.
                self.check_next(at)?;
                let give_up = if self.is_alone { roll::give_up_alone } else { roll::give_up };
                give_up(self.memory, self.segment + 1)?;
                commit::close(self.window.index, self.tag, at, entry::CLOSE_SEGMENT)
            }
            ended => ended,
        };
        match end {
            End::Closed(count) => {
                let (segment, base) = self.check_next(count)?;
                roll::open(self.memory, segment, base);
                *self = Self::at_start(self.memory, segment, base, self.is_alone);
                Ok(())
            }
            End::Final(_) => Err(Blocked::Closed),
            End::Open(_) => Err(Blocked::Corrupt),
        }
    }

    /// The segment after this one, if it holds `count` records, and its base.
    ///
    /// # Errors
    /// [`Blocked::Exhausted`]: the next would be one too many for its lap or its numbers. No honest log gets so far
    /// in the life of a machine; one does whose control page a peer wrote to.
    fn check_next(&self, count: usize) -> Result<(u64, u64), Blocked> {
        let base = self.base.checked_add(count as u64).filter(|&base| base <= MAX_BASE);
        let segment = self.segment.checked_add(1).filter(|&segment| self.memory.lap(segment) < bump::MAX_LAP);
        segment.zip(base).ok_or(Blocked::Exhausted)
    }

    /// Goes to the newest segment if others are more than one ahead. Needs a hold on this or an
    /// older segment, so that the newest can't be recycled meanwhile.
    pub fn catch_up(&mut self) {
        let active = roll::active(self.memory);
        // More than a lap ahead is impossible while this segment is held.
        if active > self.segment + 1 && active - self.segment < self.memory.windows() {
            let base = self.memory.base(active).load(Relaxed);
            *self = Self::at_start(self.memory, active, base, self.is_alone);
        }
    }

    /// Ends the log. Returns the number of records it ever held.
    ///
    /// # Errors
    /// [`Blocked`]
    pub fn close_log(&mut self) -> Result<u64, Blocked> {
        for _ in 0..MAX_FOLLOWS {
            match self.end() {
                End::Open(at) => {
                    if commit::close(self.window.index, self.tag, at, entry::CLOSE_LOG) == End::Open(self.last() + 1) {
                        return Err(Blocked::Corrupt);
                    }
                }
                End::Closed(_) => self.advance()?,
                End::Final(count) => {
                    self.at = NO_LEASE;
                    return Ok(self.base.wrapping_add(count as u64));
                }
            }
        }
        Err(Blocked::Corrupt)
    }
}
