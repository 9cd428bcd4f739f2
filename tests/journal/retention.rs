//! Giving up old records.

use crate::files::{crash, flip, logs, still};
use shmlog::{Journal, JournalError, Retain, Start};
use std::time::Duration;

fn append(journal: &Journal, count: u64) {
    let mut appender = journal.appender().unwrap();
    for _ in 0..count {
        let seq = journal.next_seq();
        appender.append_durable(&[seq.to_le_bytes()[0]; 1000]).unwrap();
    }
}

fn check(journal: &Journal) {
    let mut reader = journal.reader(Start::Oldest).unwrap();
    let mut expected = journal.oldest();
    while let Some(record) = reader.try_next().unwrap() {
        assert_eq!((record.seq(), record.bytes()), (expected, &[expected.to_le_bytes()[0]; 1000][..]));
        expected += 1;
    }
    assert_eq!(expected, journal.next_seq());
}

#[test]
fn pruned_records_are_gone_for_good_and_their_files_used_again() {
    let dir = tempfile::tempdir().unwrap();
    {
        let journal = still().open(dir.path()).unwrap();
        append(&journal, 500);
        let all = logs(dir.path()).len();
        let mut slow = journal.reader(Start::First).unwrap();
        slow.try_next().unwrap().unwrap();
        assert_eq!(journal.prune(300).unwrap(), 300);
        assert_eq!(journal.oldest(), 300);
        assert!(logs(dir.path()).len() < all);
        assert!(matches!(slow.get(10), Err(JournalError::GivenUp { seq: 10, oldest: 300 })));
        // Files that were given up are written again under other names.
        append(&journal, 500);
        assert_eq!(journal.prune(1 << 40).unwrap(), 1000, "what is durable, at most");
        append(&journal, 500);
        check(&journal);
        let lagged = std::iter::from_fn(|| slow.try_next().map(|record| record.map(|record| record.seq())).transpose())
            .find_map(Result::err);
        assert!(matches!(lagged, Some(JournalError::Lagged { next: 1000, .. })), "{lagged:?}");
        assert_eq!(slow.try_next().unwrap().unwrap().seq(), 1000);
    }
    let journal = still().open(dir.path()).unwrap();
    assert_eq!((journal.oldest(), journal.next_seq()), (1000, 1500));
    check(&journal);
}

/// The story: a reader was in a file that was given up and written to again, and the next one was gone: it was told that
/// there is no such file, each time it tried.
#[test]
fn a_reader_whose_file_and_the_next_one_are_gone_lags() {
    let dir = tempfile::tempdir().unwrap();
    // Longer than what a reader reads at a time.
    let journal = still().file_bytes(1 << 20).open(dir.path()).unwrap();
    append(&journal, 3200);
    let mut slow = journal.reader(Start::First).unwrap();
    assert_eq!(slow.try_next().unwrap().unwrap().seq(), 0);
    assert_eq!(journal.prune(3000).unwrap(), 3000);
    append(&journal, 2000);
    let lagged = std::iter::from_fn(|| slow.try_next().map(|record| record.map(|record| record.seq())).transpose())
        .find_map(Result::err);
    assert!(matches!(lagged, Some(JournalError::Lagged { next: 3000, .. })), "{lagged:?}");
    assert_eq!(slow.try_next().unwrap().unwrap().seq(), 3000);
}

#[test]
fn no_more_files_are_kept_than_were_asked_for() {
    for retain in [
        Retain { files: Some(3), ..Retain::default() },
        Retain { bytes: Some(3 * (64 << 10) + 1), ..Retain::default() },
    ] {
        let dir = tempfile::tempdir().unwrap();
        let journal = still().retain(retain).open(dir.path()).unwrap();
        append(&journal, 1000);
        assert_eq!(logs(dir.path()).len(), 3);
        assert!(journal.oldest() > 700);
        check(&journal);
    }
}

#[test]
fn what_is_too_old_is_given_up() {
    let dir = tempfile::tempdir().unwrap();
    let retain = Retain { age: Some(Duration::from_secs(3600)), ..Retain::default() };
    {
        let journal = still().retain(retain).open(dir.path()).unwrap();
        append(&journal, 500);
        assert_eq!(journal.oldest(), 0, "nothing is an hour old");
    }
    let retain = Retain { age: Some(Duration::from_nanos(1)), ..Retain::default() };
    let journal = still().retain(retain).open(dir.path()).unwrap();
    append(&journal, 100);
    assert!(journal.oldest() > 400);
    check(&journal);
}

#[test]
fn settings_of_retention_are_checked() {
    let dir = tempfile::tempdir().unwrap();
    let open = |retain| still().retain(retain).open(dir.path());
    let none = open(Retain { files: Some(0), ..Retain::default() });
    assert!(matches!(none, Err(JournalError::Setting { key: "retain_files", .. })));
    let too_few = open(Retain { bytes: Some(1000), ..Retain::default() });
    assert!(matches!(too_few, Err(JournalError::Setting { key: "retain_bytes", .. })));
}

/// The story: after a crash the rest of a file that had been used before was put aside as torn, nearly all of it each
/// time, and nothing ever removed it.
#[test]
fn what_a_file_held_before_is_not_torn_and_what_is_torn_is_kept_until_it_is_removed() {
    const FRAMES: u64 = 32 + 1008;
    let dir = tempfile::tempdir().unwrap();
    let journal = still().retain(Retain { files: Some(3), ..Retain::default() }).open(dir.path()).unwrap();
    append(&journal, 500);
    for _ in 0..8 {
        append(&journal, 9);
        let image = crash(dir.path());
        let recovered = still().open(image.path()).unwrap();
        let recovery = recovered.recovery().unwrap();
        assert_eq!(recovery.kept, journal.next_seq());
        // Of the old frame that was half written over, and beyond those that the file held before.
        assert!(recovery.torn_bytes < 2 * FRAMES, "{recovery:?}");
    }
    let image = crash(dir.path());
    let last = logs(image.path()).pop().unwrap();
    let bytes = std::fs::read(&last).unwrap();
    let wanted = [(journal.next_seq() - 1).to_le_bytes()[0]; 1000];
    let at = bytes.windows(1000).rposition(|window| window == wanted).unwrap();
    flip(&last, at as u64 + 500);
    let recovered = still().open(image.path()).unwrap();
    let recovery = recovered.recovery().unwrap();
    assert_eq!(recovery.kept, journal.next_seq() - 1);
    assert!((1000..3 * FRAMES).contains(&recovery.torn_bytes), "{recovery:?}");
    let set_aside = recovered.set_aside().unwrap();
    let names: Vec<_> = set_aside.iter().map(|aside| aside.file.clone()).collect();
    assert_eq!(names, recovery.quarantined);
    let torn = std::fs::read(image.path().join(&names[0])).unwrap();
    assert_eq!(torn[8..508], wanted[..500], "from where the record should be");
    assert!(torn[8..1008] != wanted && set_aside[0].disk_bytes >= 1000);
    for other in ["control", "00000000000000000000.torn-1", &format!("../{}", names[0])] {
        assert!(matches!(recovered.remove_aside(other), Err(JournalError::Os { .. })), "{other}");
    }
    recovered.remove_aside(&names[0]).unwrap();
    assert_eq!(recovered.set_aside().unwrap(), []);
    assert_eq!(Journal::verify(image.path(), "", |_| {}).unwrap().problems, []);
}
