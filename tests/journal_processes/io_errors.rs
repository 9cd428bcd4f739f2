//! A disk that fails: after its first error the journal is failed for all processes, nothing is acknowledged any more,
//! and when all have closed it what was acknowledged is there. The error is the kernel's, by a filter of system calls.

use crate::alone::alone;
use crate::check::Expected;
use crate::common::{mounted, skip};
use crate::filter::{Which, in_fork, refuse};
use crate::members::{Member, await_progress};
use crate::record::record;
use crate::tally::{Page, words_of};
use crate::worker::{COMMITTED, DURABLE, FAILED, Plan};
use nix::libc::{EIO, SYS_fdatasync, SYS_fsync, SYS_pwrite64, c_long};
use shmlog::{JournalAppender, JournalError};
use std::path::Path;
use std::sync::atomic::Ordering::Relaxed;

#[test]
fn one_error_ends_it_for_all() {
    alone("I/O errors");
}

/// Threads of the process beside the one whose disk fails.
const THREADS: usize = 2;
/// The author whose disk fails.
const OWN: u64 = 100;
/// Where it tells what was acknowledged, to those whose calls are not refused.
const TOLD: &str = "told";

pub fn role() {
    let Some(fronts) = mounted("tmpfs") else { return skip("I/O errors", "no tmpfs is mounted for fronts") };
    let fronts = tempfile::tempdir_in(fronts).unwrap();
    for (what, call) in [("fdatasync", SYS_fdatasync), ("pwrite64", SYS_pwrite64), ("fsync", SYS_fsync)] {
        let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let mut plan = Plan::new(&dir.path().join("journal"), fronts.path());
        (plan.has_thread, plan.may_fail, plan.threads, plan.file_bytes) = (false, true, THREADS, 64 << 10);
        let told = dir.path().join(TOLD);
        in_fork(what, || fail(&plan, &told, what, call));
        // All have closed it: who comes alone sees the disk as it is.
        let mut expected = Expected::default();
        for line in std::fs::read_to_string(&told).unwrap().lines() {
            let numbers: Vec<u64> = line.split(' ').map(|number| number.parse().unwrap()).collect();
            expected.add(numbers[0], numbers[2]..=numbers[1] + 1);
        }
        expected.check(&plan);
    }
}

fn fail(plan: &Plan, told: &Path, what: &str, call: c_long) {
    let page = Page::new(THREADS);
    let journal = plan.builder().open(&plan.dir).unwrap();
    let mut appender = journal.appender().unwrap();
    let mut peers = [Member::start(plan.clone(), &page)];
    await_progress(&page, &mut peers, 20, what);
    refuse(&[Which::All(call)], EIO);
    let (committed, durable) = append_until_it_fails(&mut appender, what);
    let end = journal.durable();
    for _ in 0..3 {
        assert!(matches!(appender.append(b"x"), Err(JournalError::Failed { .. })), "{what}");
        assert!(matches!(journal.sync(), Err(JournalError::Failed { .. })), "{what}");
        assert!(matches!(journal.appender(), Err(JournalError::Failed { .. })), "{what}");
    }
    let [peer] = peers;
    peer.end(FAILED);
    assert_eq!(journal.durable(), end, "{what}: nothing is acknowledged any more");
    drop(appender);
    assert!(matches!(journal.close(), Err(JournalError::Failed { .. })), "{what}");
    let mut text = format!("{OWN} {committed} {durable}\n");
    for thread in 0..THREADS {
        let [committed, durable] = [COMMITTED, DURABLE].map(|at| words_of(&page, thread)[at].load(Relaxed));
        text += &format!("{} {committed} {durable}\n", plan.author + thread as u64);
    }
    std::fs::write(told, text).unwrap();
}

/// Until it leads a flush itself. Returns how many were appended, and how many of them acknowledged.
fn append_until_it_fails(appender: &mut JournalAppender, what: &str) -> (u64, u64) {
    let (mut committed, mut durable) = (0, 0);
    loop {
        let (bytes, cut) = record(OWN, committed);
        let appended = match cut {
            Some(cut) => appender.append_parts(&[&bytes[..cut], &bytes[cut..]]),
            None => appender.append(&bytes),
        };
        let done = appended.and_then(|seq| {
            committed += 1;
            appender.sync_to(seq + 1)
        });
        match done {
            Ok(()) => durable = committed,
            Err(JournalError::Failed { .. }) => return (committed, durable),
            // A file could not be prepared, on which nothing depends yet.
            Err(JournalError::Os { error, .. }) => assert_eq!(error.raw_os_error(), Some(EIO), "{what}"),
            Err(error) => panic!("{what}: {error:?}"),
        }
    }
}
