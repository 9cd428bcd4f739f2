//! Processes that are killed at random moments, one while the others go on, or all at once; and the front lost, as
//! after a reboot. What was acknowledged is there.

use crate::check::Expected;
use crate::common::{is_long, mounted, skip};
use crate::members::{Member, await_progress, linger};
use crate::tally::{Dice, Page, first_seed, words_of};
use crate::worker::Plan;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// After so many cycles another journal is taken: all of one is read after each.
const CYCLES_OF_ONE: u64 = 4;
/// Workers of a cycle at most, newcomers with them; and threads of one.
const PROCESSES: usize = 8;
const THREADS: usize = 5;

/// Processes die; the front stays.
#[test]
fn what_was_committed_survives_every_process() {
    cycles(if is_long() { 3000 } else { 80 }, 0, first_seed());
}

/// The machine reboots between: what was acknowledged as durable is there.
#[test]
fn what_was_durable_survives_the_front() {
    cycles(if is_long() { 3000 } else { 50 }, 2, first_seed() + 1_000_000);
}

/// Of `reboots_of` cycles one ends with the loss of the front; never, if that is 0.
fn cycles(count: u64, reboots_of: u64, seed: u64) {
    let Some(fronts) = mounted("tmpfs") else { return skip("kills", "no tmpfs is mounted for fronts") };
    let mut stage = Stage::new(&fronts, reboots_of);
    let mut held_up = Vec::new();
    for cycle in 0..count {
        if cycle % CYCLES_OF_ONE == 0 {
            stage = Stage::new(&fronts, reboots_of);
        }
        stage.cycle(seed + cycle, &mut held_up);
    }
    stage.check();
    held_up.sort_unstable();
    let [middle, most] = [held_up.len() / 2, held_up.len() - 1].map(|at| held_up[at]);
    println!(
        "{count} cycles, {} kills beside survivors, all of whom went on after {middle:.1?}, at most {most:.1?}",
        held_up.len()
    );
}

/// A journal, and what must be in it.
struct Stage {
    plan: Plan,
    fronts: TempDir,
    _dir: TempDir,
    expected: Expected,
    reboots_of: u64,
}

impl Stage {
    fn new(fronts: &Path, reboots_of: u64) -> Self {
        let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let fronts = tempfile::tempdir_in(fronts).unwrap();
        let plan = Plan::new(&dir.path().join("journal"), fronts.path());
        Self { plan, fronts, _dir: dir, expected: Expected::default(), reboots_of }
    }

    fn cycle(&mut self, seed: u64, held_up: &mut Vec<Duration>) {
        let mut dice = Dice::new(seed);
        let page = Page::new(PROCESSES * THREADS);
        let mut all = Vec::new();
        let mut members: Vec<_> =
            (0..1 + dice.index(5)).map(|_| self.start(&mut dice, &page, seed, &mut all)).collect();
        if dice.roll(4) > 0 {
            await_progress(&page, &mut members, dice.roll(12), "the beginning");
        } else {
            // Somewhere in opening.
            linger(&page, dice.roll(40_000));
        }
        for _ in 0..dice.index(members.len()) {
            let victim = members.swap_remove(dice.index(members.len()));
            victim.kill();
            // Those who are left are not held up.
            let killed = Instant::now();
            await_progress(&page, &mut members, 1, "after a kill");
            held_up.push(killed.elapsed());
            if dice.roll(4) == 0 && all.len() < PROCESSES {
                members.push(self.start(&mut dice, &page, seed, &mut all));
            }
            await_progress(&page, &mut members, dice.roll(4), "some time after a kill");
        }
        if dice.roll(4) == 0 {
            page.words()[0].store(1, Relaxed);
            members.into_iter().for_each(Member::succeed);
        } else {
            linger(&page, dice.roll(2000));
            members.into_iter().for_each(Member::kill);
        }
        let is_reboot = self.reboots_of > 0 && dice.roll(self.reboots_of) == 0;
        if is_reboot {
            self.lose_front();
        }
        for plan in all {
            for thread in 0..plan.threads {
                let words = words_of(&page, plan.slot + thread);
                self.expected.take(plan.author + thread as u64, words, self.reboots_of > 0);
            }
        }
        // Sometimes the next ones open it first, all at once.
        if dice.roll(2) == 0 {
            self.check();
        }
    }

    fn start(&self, dice: &mut Dice, page: &Page, seed: u64, all: &mut Vec<Plan>) -> Member {
        let mut plan = self.plan.clone();
        plan.threads = 1 + dice.index(THREADS);
        plan.slot = all.len() * THREADS;
        plan.author = seed << 16 | plan.slot as u64;
        plan.flush_ms = dice.roll(4);
        plan.has_thread = dice.roll(3) > 0;
        all.push(plan.clone());
        Member::start(plan, page)
    }

    fn check(&mut self) {
        self.expected.check(&self.plan);
        assert_eq!(self.left(), [] as [PathBuf; 0], "closed, it has no front");
    }

    fn left(&self) -> Vec<PathBuf> {
        std::fs::read_dir(self.fronts.path()).unwrap().map(|entry| entry.unwrap().path()).collect()
    }

    fn lose_front(&self) {
        self.left().iter().for_each(|front| std::fs::remove_dir_all(front).unwrap());
    }
}
