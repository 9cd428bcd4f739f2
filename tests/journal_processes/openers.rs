//! Many who open and close at once, copies of directories, forked children.
#![allow(unsafe_code, reason = "fork")]

use crate::alone::alone;
use crate::check::Expected;
use crate::common::{is_long, mounted, skip};
use crate::members::{Member, linger};
use crate::tally::{Dice, Page, first_seed, words_of};
use crate::worker::{COMMITTED, Plan};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{ForkResult, fork};
use shmlog::{Journal, JournalBuilder, JournalError, Start};
use std::path::Path;
use std::process::Command;
use std::sync::atomic::Ordering::Relaxed;

const RACERS: usize = 4;

/// Somewhere to be, and the front of it.
fn stage() -> Option<(tempfile::TempDir, tempfile::TempDir, Plan)> {
    let fronts = mounted("tmpfs").and_then(|place| tempfile::tempdir_in(place).ok())?;
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let plan = Plan::new(&dir.path().join("journal"), fronts.path());
    Some((dir, fronts, plan))
}

fn racers(plan: &Plan, page: &Page) -> Vec<Plan> {
    let racer = |slot| Plan { slot, author: 1 + slot as u64, count: 2, ..plan.clone() };
    let plans: Vec<_> = (0..RACERS).map(racer).collect();
    assert!(plans.iter().all(|plan| words_of(page, plan.slot)[COMMITTED].load(Relaxed) == 0));
    plans
}

/// They make one journal, in which all records of all of them are.
#[test]
fn who_creates_it_at_once_shares_it() {
    for _ in 0..if is_long() { 300 } else { 20 } {
        let Some((_dir, fronts, plan)) = stage() else { return skip("racing openers", "no tmpfs") };
        let page = Page::new(RACERS);
        let plans = racers(&plan, &page);
        let members: Vec<_> = plans.iter().map(|plan| Member::start(plan.clone(), &page)).collect();
        members.into_iter().for_each(Member::succeed);
        assert_eq!(std::fs::read_dir(fronts.path()).unwrap().count(), 0, "the last one has closed it");
        let mut expected = Expected::default();
        plans.iter().for_each(|plan| expected.take(plan.author, words_of(&page, plan.slot), true));
        assert_eq!(expected.least(), 2 * RACERS as u64);
        expected.check(&plan);
    }
}

/// Some are killed while they open or close it; nobody else notices.
#[test]
fn an_opener_that_dies_leaves_nothing_in_the_way() {
    for round in 0..if is_long() { 1000 } else { 30 } {
        let mut dice = Dice::new(first_seed() + round);
        let Some((_dir, _fronts, plan)) = stage() else { return skip("dying openers", "no tmpfs") };
        let page = Page::new(RACERS);
        let plans = racers(&plan, &page);
        let members: Vec<_> = plans.iter().map(|plan| Member::start(plan.clone(), &page)).collect();
        for member in members {
            if dice.roll(3) == 0 {
                member.succeed();
            } else {
                linger(&page, dice.roll(60_000));
                member.kill();
            }
        }
        let mut expected = Expected::default();
        plans.iter().for_each(|plan| expected.take(plan.author, words_of(&page, plan.slot), false));
        expected.check(&plan);
    }
}

fn append(journal: &Journal, texts: &[&str]) {
    let mut appender = journal.appender().unwrap();
    for text in texts {
        appender.append_durable(text.as_bytes()).unwrap();
    }
}

fn assert_holds(journal: &Journal, texts: &[&str]) {
    let mut reader = journal.reader(Start::First).unwrap();
    let mut found = Vec::new();
    while let Some(record) = reader.try_next().unwrap() {
        found.push(String::from_utf8(record.to_vec()).unwrap());
    }
    assert_eq!(found, texts);
}

fn copy(from: &Path, to: &Path) {
    assert!(Command::new("cp").arg("-a").args([from, to]).status().unwrap().success());
}

/// A copy that was opened on the same machine joined the front of the journal that it was copied from: records of each
/// went to the files of the other.
#[test]
fn a_copy_is_a_journal_of_its_own() {
    let Some((dir, _fronts, plan)) = stage() else { return skip("copies", "no tmpfs") };
    let builder = plan.builder();
    let journal = builder.open(&plan.dir).unwrap();
    append(&journal, &["one", "two"]);
    let copied = dir.path().join("copy");
    copy(&plan.dir, &copied);
    let other = builder.open(&copied).unwrap();
    assert_holds(&other, &["one", "two"]);
    append(&other, &["of the copy"]);
    append(&journal, &["three"]);
    assert_holds(&other, &["one", "two", "of the copy"]);
    assert_holds(&journal, &["one", "two", "three"]);
    drop(other);
    // Nor does it take the other's front away.
    append(&journal, &["four"]);
    assert_holds(&builder.open(&plan.dir).unwrap(), &["one", "two", "three", "four"]);
    drop(journal);
    assert_holds(&builder.open(&copied).unwrap(), &["one", "two", "of the copy"]);
    assert_holds(&builder.open(&plan.dir).unwrap(), &["one", "two", "three", "four"]);
}

/// A directory may be renamed, with the journal open, too; what is opened by the new name is the same.
#[test]
fn a_directory_may_be_renamed() {
    let Some((dir, _fronts, plan)) = stage() else { return skip("renamed directories", "no tmpfs") };
    let builder = plan.builder();
    let journal = builder.open(&plan.dir).unwrap();
    append(&journal, &["one"]);
    let renamed = dir.path().join("renamed");
    std::fs::rename(&plan.dir, &renamed).unwrap();
    let other = builder.open(&renamed).unwrap();
    append(&other, &["two"]);
    append(&journal, &["three"]);
    drop((journal, other));
    assert_holds(&builder.open(&renamed).unwrap(), &["one", "two", "three"]);
}

fn prefixed(builder: &JournalBuilder, prefix: &str) -> JournalBuilder {
    builder.clone().prefix(prefix)
}

/// Two journals in one directory have nothing to do with each other.
#[test]
fn prefixes_keep_journals_apart() {
    let Some((_dir, _fronts, plan)) = stage() else { return skip("prefixes", "no tmpfs") };
    let prefixes = ["", "a-", "a", "lock", "control.", "0"];
    for round in ["one", "two"] {
        let all = prefixes.map(|prefix| prefixed(&plan.builder(), prefix).open(&plan.dir).unwrap());
        all.iter().zip(prefixes).for_each(|(journal, prefix)| append(journal, &[round, prefix]));
    }
    for prefix in prefixes {
        let journal = prefixed(&plan.builder(), prefix).open_existing(&plan.dir).unwrap();
        assert_holds(&journal, &["one", prefix, "two", prefix]);
    }
}

/// A child that was forked without exec let go of its parent's locks when it dropped what it had inherited: the next one
/// to open the journal took itself for the only one.
#[test]
fn a_forked_child_takes_nothing_from_its_parent() {
    alone("fork");
}

pub fn fork_role() {
    let Some((_dir, _fronts, plan)) = stage() else { return skip("forks", "no tmpfs") };
    let builder = Plan { has_thread: false, ..plan.clone() }.builder();
    let journal = builder.open(&plan.dir).unwrap();
    append(&journal, &["one"]);
    // SAFETY: this process has one thread.
    match unsafe { fork() }.unwrap() {
        ForkResult::Child => {
            let refused = matches!(journal.sync(), Ok(_) | Err(JournalError::Forked));
            drop(journal);
            // SAFETY: ends the process.
            unsafe { nix::libc::_exit(i32::from(!refused)) }
        }
        ForkResult::Parent { child } => assert_eq!(waitpid(child, None), Ok(WaitStatus::Exited(child, 0))),
    }
    let mut appender = journal.appender().unwrap();
    appender.append(b"two").unwrap();
    let other = builder.open(&plan.dir).unwrap();
    assert!(other.recovery().is_none(), "it joins");
    append(&other, &["three"]);
    drop((appender, journal, other));
    assert_holds(&builder.open(&plan.dir).unwrap(), &["one", "two", "three"]);
}
