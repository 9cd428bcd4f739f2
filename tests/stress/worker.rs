//! What every process of a round begins with.

use crate::common::{setting, skip, to_parent};
use crate::kernel::{come_first, interruptions, storm};
use crate::plan::Plan;
use crate::tally::{Dice, Page, is_over, own_words};
use nix::sys::timer::Timer;
use nix::unistd::gettid;
use shmlog::{Log, Snapshot};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// Word of the page: odd while appenders are to be alone.
const PHASE: usize = 1;
/// Word of the page: the number whose publication has returned last.
pub const TOLD: usize = 2;
/// Words of its own: how much it has done, and the thread that does it.
pub const DONE: usize = 0;
pub const THREAD: usize = 1;
/// And, in the end, how often it was interrupted.
pub const INTERRUPTIONS: usize = 2;

pub struct Worker {
    pub log: Log,
    pub snapshot: Snapshot,
    pub parent: UnixStream,
    pub page: Page,
    pub number: usize,
    pub dice: Dice,
    /// Comes before the others: it must give way by itself.
    pub is_first: bool,
    _storm: Option<Timer>,
}

impl Worker {
    pub fn new() -> Self {
        let plan = Plan::of(setting("SHMLOG_TEST_SEED"));
        let storm = (plan.storm_micros > 0).then(|| storm(Duration::from_micros(plan.storm_micros)));
        let parent = to_parent();
        let page = Page::receive(&parent);
        // Before the parent knows that the log has arrived.
        own_words(&page)[THREAD].store(gettid().as_raw().unsigned_abs().into(), Relaxed);
        let (log, snapshot) = (Log::receive(&parent).unwrap(), Snapshot::receive(&parent).unwrap());
        let number = setting("SHMLOG_TEST_NUMBER");
        let is_first = setting("SHMLOG_TEST_FIRST") && come_first();
        if setting("SHMLOG_TEST_FIRST") && !is_first {
            skip("coming before others", "SCHED_FIFO is not allowed here");
        }
        let dice = Dice::new(plan.seed << 16 | number as u64);
        Self { log, snapshot, parent, page, number, dice, is_first, _storm: storm }
    }

    pub fn is_over(&self) -> bool {
        is_over(&self.page)
    }

    /// Whether appenders are to be alone now.
    pub fn is_alone(&self) -> bool {
        self.page.words()[PHASE].load(Relaxed) % 2 == 1
    }

    /// How much it has done, for the parent to see.
    pub fn done(&self) -> &AtomicU64 {
        &own_words(&self.page)[DONE]
    }

    /// The number whose publication has returned last, for all to see.
    pub fn told(&self) -> &AtomicU64 {
        &self.page.words()[TOLD]
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        own_words(&self.page)[INTERRUPTIONS].store(interruptions(), Relaxed);
    }
}

/// In the parent: the next phase begins.
pub fn change_phase(page: &Page) {
    page.words()[PHASE].fetch_add(1, Relaxed);
}
