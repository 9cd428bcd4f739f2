//! A reader's place. It polls the commit words themselves; no counter is shared.

use crate::core::commit::{End, find_end};
use crate::core::locate::{self, Found};
use crate::core::memory::{Memory, Window};
use crate::core::run::Run;
use crate::core::{hold, roll};
use crate::layout::entry::{self, Kind, Tag};
use crate::sync::{AtomicU64, Ordering::Acquire, Ordering::Relaxed, fence};

/// How many records are many.
const FAR_RECORDS: usize = 64;
/// How often a place is sought anew because the log is recycled under it.
const ATTEMPTS: u32 = 1000;

/// What the reader finds at its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// A record: its commit word. The place stays; `Cursor::pass` goes on.
    Record(u64),
    /// Nothing yet.
    Nothing,
    /// The segment has ended; the place is now at the start of the next one.
    Moved,
    /// The segment was given up while the reader was in it.
    Passed,
    /// The log is closed and everything was read.
    Closed,
    /// A word that no honest appender commits.
    Corrupt,
}

/// Why there is no such place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoPlace {
    /// The record has been given up.
    Gone,
    /// The sequence number is beyond the end.
    Ahead,
    /// The control page makes no sense, or runs away.
    Corrupt,
}

/// See the module. With a gate the reader holds its segment and all newer ones.
#[derive(Debug)]
pub struct Cursor<'m, M> {
    memory: &'m M,
    window: Window<'m>,
    segment: u64,
    base: u64,
    tag: Tag,
    next: usize,
    gate: Option<&'m AtomicU64>,
}

impl<'m, M: Memory> Cursor<'m, M> {
    fn at_start(memory: &'m M, segment: u64, base: u64, gate: Option<&'m AtomicU64>) -> Self {
        let tag = Tag::of_lap(memory.lap(segment));
        Self { memory, window: memory.window(segment), segment, base, tag, next: 0, gate }
    }

    /// Repeats `find`, a segment and its base, until the segment could be entered.
    fn enter(
        memory: &'m M,
        gate: Option<&'m AtomicU64>,
        find: impl Fn() -> Result<(u64, u64), NoPlace>,
    ) -> Result<Self, NoPlace> {
        for _ in 0..ATTEMPTS {
            let (segment, base) = find()?;
            if gate.is_none_or(|gate| hold::enter_reading(memory, gate, segment)) {
                return Ok(Self::at_start(memory, segment, base, gate));
            }
        }
        Err(NoPlace::Corrupt)
    }

    /// At the oldest record retained.
    ///
    /// # Errors
    /// [`NoPlace::Corrupt`]
    pub fn at_oldest(memory: &'m M, gate: Option<&'m AtomicU64>) -> Result<Self, NoPlace> {
        Self::enter(memory, gate, || locate::oldest(memory).ok_or(NoPlace::Corrupt))
    }

    /// Behind the newest record.
    ///
    /// # Errors
    /// [`NoPlace::Corrupt`]
    pub fn at_end(memory: &'m M, gate: Option<&'m AtomicU64>) -> Result<Self, NoPlace> {
        let newest = || {
            (0..ATTEMPTS).find_map(|_| {
                let active = roll::active(memory);
                locate::base_of(memory, active).map(|base| (active, base))
            })
        };
        for _ in 0..ATTEMPTS {
            let mut cursor = Self::enter(memory, gate, || newest().ok_or(NoPlace::Corrupt))?;
            let (End::Open(at) | End::Closed(at) | End::Final(at)) = find_end(cursor.window.index, cursor.tag, 0);
            cursor.next = at;
            // Without a gate the segment may be recycled while its end is sought; what was found
            // is then not the end of anything.
            if gate.is_some() || locate::is_retained(memory, cursor.segment) {
                return Ok(cursor);
            }
        }
        Err(NoPlace::Corrupt)
    }

    /// At record `seq`, or at the end if that is `seq`.
    ///
    /// # Errors
    /// [`NoPlace`]
    pub fn at_seq(memory: &'m M, gate: Option<&'m AtomicU64>, seq: u64) -> Result<Self, NoPlace> {
        Self::enter(memory, gate, || place_of(locate::find(memory, seq)))?.forward_to(seq)
    }

    /// At record `seq`, entered beside a participant that holds it and admits others, whatever `head` is.
    ///
    /// # Errors
    /// [`NoPlace::Gone`]: nobody does; nothing is held then.
    pub fn beside(memory: &'m M, gate: &'m AtomicU64, seq: u64) -> Result<Self, NoPlace> {
        for other in memory.slots() {
            let Some(segment) = hold::enter_beside(gate, other) else { continue };
            // Held: its base stays, and those of all that come after it.
            let base = memory.base(segment).load(Relaxed);
            if base <= seq
                && let Ok((segment, base)) = place_of(locate::find_held(memory, seq, segment, base))
                && let Ok(place) = Self::at_start(memory, segment, base, Some(gate)).forward_to(seq)
            {
                hold::advance(gate, segment);
                return Ok(place);
            }
            hold::leave(gate);
        }
        Err(NoPlace::Gone)
    }

    /// From the start of its segment to `seq`, which is there or comes next.
    fn forward_to(mut self, seq: u64) -> Result<Self, NoPlace> {
        self.next = usize::try_from(seq.wrapping_sub(self.base)).map_err(|_| NoPlace::Ahead)?;
        if self.next == 0 || self.is_committed(self.next - 1) {
            return Ok(self);
        }
        let is_kept = self.gate.is_some() || locate::is_retained(self.memory, self.segment);
        Err(if is_kept { NoPlace::Ahead } else { NoPlace::Gone })
    }

    /// Goes to record `seq`, or to the end if that is `seq`. The gate follows.
    ///
    /// # Errors
    /// [`NoPlace`]; the cursor and its gate stay where they are.
    pub fn seek(&mut self, seq: u64) -> Result<(), NoPlace> {
        let (segment, base) = place_of(self.find(seq))?;
        // The gate does not hold an older segment yet.
        let gate = self.gate.filter(|_| segment >= self.segment);
        let found = Self::at_start(self.memory, segment, base, gate).forward_to(seq)?;
        if let Some(gate) = self.gate {
            if found.segment >= self.segment {
                hold::advance(gate, found.segment);
            } else if !hold::lower(self.memory, gate, self.segment, found.segment) {
                return Err(NoPlace::Gone);
            }
        }
        *self = Self { gate: self.gate, ..found };
        Ok(())
    }

    /// The segment of `seq`: among those held also where `head` has passed them.
    pub fn find(&self, seq: u64) -> Found {
        if self.gate.is_some() && seq >= self.base {
            return locate::find_held(self.memory, seq, self.segment, self.base);
        }
        locate::find(self.memory, seq)
    }

    /// Holds the segment and all newer ones from here on. False: it has been given up.
    pub fn hold(&mut self, gate: &'m AtomicU64) -> bool {
        let held = hold::enter_reading(self.memory, gate, self.segment);
        if held {
            self.gate = Some(gate);
        }
        held
    }

    /// Holds nothing any more.
    pub fn let_go(&mut self) {
        if let Some(gate) = self.gate.take() {
            hold::leave(gate);
        }
    }

    /// Whether the word at `position` is a record of this lap.
    fn is_committed(&self, position: usize) -> bool {
        let word = self.window.index.get(position).map_or(0, |slot| slot.load(Relaxed));
        self.tag.is_current(word) && entry::kind(word) != Kind::Close
    }

    /// Looks at the place. Never waits. Goes on to the next segment if this one has ended.
    #[inline]
    pub fn step(&mut self) -> Step {
        match self.peek() {
            Step::Moved => self.follow(),
            other => other,
        }
    }

    /// The record at the place, if there is one and nothing else to know: else [`Cursor::step`] says what there is.
    #[inline(always)]
    pub fn record_here(&self) -> Option<u64> {
        let word = self.window.index.get(self.next)?.load(Relaxed);
        if !self.tag.is_record(word) {
            return None;
        }
        // SYNC commit, as in `peek`.
        fence(Acquire);
        (!self.is_passed()).then_some(word)
    }

    /// Looks at the place and stays there. `Moved`: the segment has ended.
    #[inline]
    pub fn peek(&self) -> Step {
        let Some(slot) = self.window.index.get(self.next) else { return Step::Corrupt };
        let word = slot.load(Relaxed);
        if !self.tag.is_current(word) {
            return if self.is_passed() { Step::Passed } else { Step::Nothing };
        }
        // SYNC commit: what was written before the word was committed is visible.
        fence(Acquire);
        // A word stays current for a while after its segment was given up, and is again when its tag
        // has come round.
        if self.is_passed() {
            return Step::Passed;
        }
        match (entry::kind(word), entry::len_bytes(word) as u64) {
            (Kind::Record | Kind::Batch, _) => Step::Record(word),
            (Kind::Close, entry::CLOSE_SEGMENT) => Step::Moved,
            (Kind::Close, entry::CLOSE_LOG) => Step::Closed,
            _ => Step::Corrupt,
        }
    }

    /// The records from the place to the end of what is there of the segment.
    #[inline(always)]
    pub fn run(&self) -> Run<'m> {
        let head = if self.gate.is_none() { Some(&self.memory.control().head.0) } else { None };
        let rest = self.window.index.get(self.next..).unwrap_or(&[]);
        Run { rest, window: self.window, tag: self.tag, head, segment: self.segment, seq: self.seq() }
    }

    /// Whether there are many records from the place on, in its segment.
    pub fn is_far_behind(&self) -> bool {
        let ahead = self.window.index.get(self.next + FAR_RECORDS);
        ahead.is_some_and(|slot| self.tag.is_record(slot.load(Relaxed)))
    }

    /// Whether the segment was given up under a reader that does not hold it. Head may move past a
    /// held one, whose window is kept all the same (`roll::give_up`).
    #[inline(always)]
    fn is_passed(&self) -> bool {
        self.gate.is_none() && self.memory.control().head.0.load(Relaxed) > self.segment
    }

    #[cold]
    fn follow(&mut self) -> Step {
        *self = Self::at_start(self.memory, self.segment.wrapping_add(1), self.seq(), self.gate);
        if let Some(gate) = self.gate {
            hold::advance(gate, self.segment);
        }
        Step::Moved
    }

    /// Goes on to the next record.
    #[inline]
    pub fn pass(&mut self) {
        self.next += 1;
    }

    /// Sequence number of the record at the place.
    #[inline]
    pub fn seq(&self) -> u64 {
        self.base.wrapping_add(self.next as u64)
    }

    /// The segment of the place.
    #[inline]
    pub fn segment(&self) -> u64 {
        self.segment
    }

    /// Whether the segment is kept while the cursor is in it.
    #[inline]
    pub fn is_gated(&self) -> bool {
        self.gate.is_some()
    }

    /// The window of the place.
    #[inline]
    pub fn window(&self) -> Window<'m> {
        self.window
    }
}

fn place_of(found: Found) -> Result<(u64, u64), NoPlace> {
    match found {
        Found::In { segment, base } => Ok((segment, base)),
        Found::Gone => Err(NoPlace::Gone),
        Found::Corrupt => Err(NoPlace::Corrupt),
    }
}
