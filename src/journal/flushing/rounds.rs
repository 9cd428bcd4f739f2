//! Waiting for a flush.
//!
//! Flushes come in rounds, counted when the flush lock is let go of. Who wants something durable while a flush is under way
//! is served by that round or by the next one, depending on how far the flush took the front; and sleeps with the bit of
//! that round. At its end all of the round are woken, and one of the next, who makes it. If many processes wait, half of
//! them would else be woken in vain each time.
//!
//! A sleep is short: if whoever should wake others dies, they look around by themselves.

use crate::journal::state::State;
use crate::layout::journal::Sleepers;
use crate::sync::{
    Ordering::{Acquire, Relaxed, Release, SeqCst},
    fence,
};
use crate::sys::futex;
use std::time::{Duration, Instant};

/// Longest sleep before a lock is asked for again whose holder may have died.
const SLICE: Duration = Duration::from_millis(5);
/// Longest sleep of who waits for others to make something durable.
const LONG_SLICE: Duration = Duration::from_millis(50);
/// Who is woken at the end of every round.
const EVERY: u32 = 0b11;
/// As many as there are.
const ALL: u32 = i32::MAX as u32;

/// The bit of those who are served by a round.
fn bit_of(round: u64) -> u32 {
    if round.is_multiple_of(2) { 0b01 } else { 0b10 }
}

impl State {
    fn sleepers(&self) -> &Sleepers {
        &self.words().sleepers
    }

    /// How often the flush lock was let go of. SYNC rounds: Acquire, pairs with [`State::let_go`]: who finds the lock
    /// taken after this load sleeps only as long as the count stays.
    pub(crate) fn rounds(&self) -> u64 {
        self.words().flush.rounds.load(Acquire)
    }

    /// A flush begins: nobody knows yet how far it will take the front.
    pub(crate) fn begin_round(&self) {
        self.words().flush.taken.store(u64::MAX, Relaxed);
    }

    /// The flush under way has taken the records below `end`.
    pub(crate) fn end_taking(&self, end: u64) {
        self.words().flush.taken.store(end, Release);
    }

    /// After the flush lock was let go of: wakes who waited for what was flushed, and one to make the next flush.
    pub(crate) fn let_go(&self) {
        let round = self.words().flush.rounds.fetch_add(1, SeqCst);
        if self.begin_waking() {
            futex::wake_some(&self.sleepers().bell, ALL, bit_of(round));
            futex::wake_some(&self.sleepers().bell, 1, bit_of(round.wrapping_add(1)));
        }
    }

    /// Wakes everybody.
    pub(crate) fn ring(&self) {
        if self.begin_waking() {
            futex::wake_some(&self.sleepers().bell, ALL, EVERY);
        }
    }

    /// By one who was woken and needs no flush: another may have been meant to make one.
    pub(crate) fn pass_on(&self) {
        if !self.is_flushing() && self.begin_waking() {
            futex::wake_some(&self.sleepers().bell, 1, EVERY);
        }
    }

    /// Whether anybody sleeps, or is about to: who has not slept yet will not.
    fn begin_waking(&self) -> bool {
        // Pairs with the fence in `sleep`: it sees what was changed before, or is counted here.
        fence(SeqCst);
        // One that was killed asleep is counted for ever, which costs a system call a round.
        let is_any = self.sleepers().count.load(Relaxed) != 0;
        if is_any {
            self.sleepers().bell.fetch_add(1, Release);
        }
        is_any
    }

    /// Sleeps with these bits unless `is_over`, until it is woken or `until`.
    fn sleep(&self, bits: u32, until: Instant, is_over: impl Fn() -> bool) {
        if !self.is_writable() {
            std::thread::sleep(until.saturating_duration_since(Instant::now()).min(SLICE));
            return;
        }
        let Sleepers { count, bell } = self.sleepers();
        count.fetch_add(1, Relaxed);
        let ticket = bell.load(Acquire);
        // Pairs with the fence in `begin_waking`.
        fence(SeqCst);
        if !is_over() {
            futex::sleep_for(bell, ticket, until.saturating_duration_since(Instant::now()), bits);
        }
        count.fetch_sub(1, Relaxed);
    }

    /// Sleeps while the flush lock was let go of `rounds` times; at most until `deadline`, and not for long. Who waits for
    /// the records below `wanted` sleeps with the round that serves them.
    pub(crate) fn sleep_in(&self, rounds: u64, wanted: Option<u64>, deadline: Option<Instant>) {
        let taken = self.words().flush.taken.load(Acquire);
        let bits = wanted.map_or(EVERY, |end| bit_of(rounds.wrapping_add(u64::from(end > taken))));
        let slice = Instant::now() + SLICE;
        let until = deadline.map_or(slice, |deadline| deadline.min(slice));
        self.sleep(bits, until, || self.rounds() != rounds || self.is_failed());
    }

    /// Looks until there is something, or until `deadline`, sleeping in between.
    pub(crate) fn wait<T>(&self, deadline: Option<Instant>, mut look: impl FnMut() -> Option<T>) -> Option<T> {
        loop {
            let rounds = self.rounds();
            if let Some(found) = look() {
                return Some(found);
            }
            let now = Instant::now();
            if deadline.is_some_and(|deadline| now >= deadline) {
                return None;
            }
            let slice = now + LONG_SLICE;
            let until = deadline.map_or(slice, |deadline| deadline.min(slice));
            self.sleep(EVERY, until, || self.rounds() != rounds || self.is_failed());
        }
    }
}
