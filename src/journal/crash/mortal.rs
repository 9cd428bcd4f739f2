//! Processes that die in the middle of what they do, while what they shared in memory stays: the next one goes on from
//! there. And syncs that fail, and lose part of what they were to make durable.

use super::explore::{Effort, Tally};
use super::oracle::Truth;
use super::planted::{Mistake, making};
use super::recording::{Died, Entry};
use super::runs::{TIMELY, crash, expect_none, is_long, record, step};
use super::scripts::crowd;
use super::workload::Session;
use crate::journal::opening::front;
use crate::journal::settings::Flush;
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::Ordering::Relaxed;

thread_local! {
    static IS_ABANDONED: Cell<bool> = const { Cell::new(false) };
}

/// Whether the journals that this thread drops are those of a dead process: nothing is closed.
pub(crate) fn is_abandoned() -> bool {
    IS_ABANDONED.get()
}

impl Session {
    /// Does something, and dies over it, if it does so much to the disk. Returns whether it lived.
    fn live(&mut self, moments: usize, act: impl FnOnce(&mut Self)) -> bool {
        self.recorder.die_in.store(u32::try_from(moments).unwrap(), Relaxed);
        let lived = catch_unwind(AssertUnwindSafe(|| act(self)));
        self.recorder.die_in.store(0, Relaxed);
        let Err(cause) = lived else { return true };
        if !cause.is::<Died>() {
            resume_unwind(cause);
        }
        IS_ABANDONED.set(true);
        (self.appender, self.journal) = (None, None);
        IS_ABANDONED.set(false);
        self.recorder.is_dead.store(false, Relaxed);
        self.recorder.is_full.store(false, Relaxed);
        self.recorder.fail_sync_in.store(0, Relaxed);
        false
    }

    /// Opens the journal, though some die over it.
    fn reopen(&mut self) {
        loop {
            let moments = if self.dice.one_in(4) { 1 + self.dice.below(20) } else { 0 };
            if self.live(moments, |session| session.open().unwrap()) {
                break;
            }
        }
        let mut truth = Truth::default();
        for entry in self.recorder.entries() {
            if let Entry::Note(note) = entry {
                truth.apply(&note);
            }
        }
        let entries = self.recorder.len();
        self.check_reader(&truth).unwrap_or_else(|wrong| panic!("after {entries} entries: {wrong}"));
    }

    /// A step by chance, which some die over.
    fn mortal_step(&mut self) {
        let moments = if self.dice.one_in(3) { 1 + self.dice.below(12) } else { 0 };
        if self.dice.one_in(9) {
            self.recorder.fail_sync_in.store(1 + u32::try_from(self.dice.below(3)).unwrap(), Relaxed);
        }
        self.recorder.is_hiding.store(self.dice.one_in(2), Relaxed);
        let path = self.journal().core().front_path.clone();
        if !self.live(moments, step) {
            if self.dice.one_in(5) {
                front::remove(&path);
            }
            self.reopen();
        } else if self.is_failed {
            if self.dice.one_in(2) {
                self.close();
            } else {
                self.kill();
            }
            self.reopen();
        }
    }
}

fn mortal(flush: Flush, seed: u64) -> Vec<Entry> {
    record(flush, seed, |session| {
        session.recorder.loss.store(seed << 32 | 1, Relaxed);
        for _ in 0..60 {
            session.mortal_step();
        }
    })
}

#[test]
fn no_death_and_no_failed_sync_breaks_a_promise() {
    let seeds = if is_long() { 1..150 } else { 1..4 };
    let effort = if is_long() { Effort { images: 24, ..Effort::SMALL } } else { Effort { images: 4, ..Effort::SMALL } };
    let mut all = Tally::default();
    for seed in seeds {
        let flush = if seed % 3 == 0 { Flush::Never } else { TIMELY };
        all.add(crash("mortal", flush, seed, &mortal(flush, seed), effort));
    }
    all.say("mortal");
    expect_none(&all);
}

const EFFORT: Effort = Effort { images: 12, enough: 1, recovery_one_in: 0, ..Effort::SMALL };

/// All deaths of somebody who makes records and cursors durable; the next one does so again, and says that it is done.
fn deaths(is_hiding: bool) -> Tally {
    let mut all = Tally::default();
    for moments in 1..9 {
        let entries = record(Flush::Never, 1, |session| {
            session.append(100);
            session.sync();
            session.append(3000);
            // To be marked, it is written.
            session.delete(&[1], false);
            session.append(200);
            session.advance("a", 2);
            session.recorder.is_hiding.store(is_hiding, Relaxed);
            if !session.live(moments, Session::sync_cursors) {
                session.reopen();
            }
            session.append(50);
            session.sync_cursors();
            session.sync();
        });
        all.add(crash("deaths", Flush::Never, 1, &entries, EFFORT));
    }
    all
}

#[test]
fn what_a_dead_process_has_done_is_not_taken_for_done() {
    for is_hiding in [false, true] {
        expect_none(&deaths(is_hiding));
    }
    let found = |mistake| making(mistake, || !deaths(true).violations.is_empty());
    assert!(found(Mistake::DeadCursors), "cursors that are written over");
    assert!(found(Mistake::DeadSync), "a sync that failed, which nobody was told");
}

/// Who replaces a file that is full of cursors alone dies over it: the next one finds out which of both has its name.
#[test]
fn who_dies_over_replacing_a_file_leaves_one_that_is_whole() {
    let mut all = Tally::default();
    for moments in 1..14 {
        let entries = record(TIMELY, 1, |session| {
            crowd(session);
            let offset = |session: &Session| session.journal().core().state.progress().written.offset;
            while offset(session) + 9000 < 128 << 10 {
                session.advance("c0", 1);
                session.sync_cursors();
            }
            let lived = session.live(moments, |session| {
                for at in 0..2 {
                    session.set_cursor("c7", at);
                    session.sync_cursors();
                }
            });
            if !lived {
                session.reopen();
                session.sync_cursors();
            }
            session.set_cursor("c7", 0);
            session.sync_cursors();
            assert!(offset(session) < 64 << 10);
            session.append(50);
            session.sync();
        });
        all.add(crash("replacing", TIMELY, 1, &entries, EFFORT));
    }
    expect_none(&all);
}

/// The story: who closed the journal died between writing the seal of some deletion marks and its sync. The next one
/// joined the front, and said in its own marks that the seal was durable; a power failure then left damage.
#[test]
fn the_seal_of_a_dead_process_is_not_taken_for_durable() {
    let mut all = Tally::default();
    for moments in 1..16 {
        let entries = record(Flush::Never, 1, |session| {
            (0..3).for_each(|_| session.append(100));
            session.delete(&[0], true);
            if !session.live(moments, Session::close) {
                session.reopen();
                session.delete(&[1], false);
                session.delete(&[2], false);
                session.sync();
            }
        });
        all.add(crash("seals", Flush::Never, 1, &entries, Effort { images: 40, ..EFFORT }));
    }
    expect_none(&all);
}
