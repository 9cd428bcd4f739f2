//! Giving up old records.

use crate::files::logs;
use shmlog::{Journal, JournalBuilder, JournalError, Retain, Start};
use std::time::Duration;

fn small() -> JournalBuilder {
    Journal::builder().file_bytes(64 << 10).front_size(2, 64 << 10).thread(false)
}

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
        let journal = small().open(dir.path()).unwrap();
        append(&journal, 500);
        let all = logs(dir.path()).len();
        let mut slow = journal.reader(Start::First).unwrap();
        slow.try_next().unwrap().unwrap();
        assert_eq!(journal.prune(300).unwrap(), 300);
        assert_eq!(journal.oldest(), 300);
        assert!(logs(dir.path()).len() < all);
        assert!(matches!(slow.get(10), Err(JournalError::Lagged { next: 300, .. })));
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
    let journal = small().open(dir.path()).unwrap();
    assert_eq!((journal.oldest(), journal.next_seq()), (1000, 1500));
    check(&journal);
}

#[test]
fn no_more_files_are_kept_than_were_asked_for() {
    for retain in [
        Retain { files: Some(3), ..Retain::default() },
        Retain { bytes: Some(3 * (64 << 10) + 1), ..Retain::default() },
    ] {
        let dir = tempfile::tempdir().unwrap();
        let journal = small().retain(retain).open(dir.path()).unwrap();
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
        let journal = small().retain(retain).open(dir.path()).unwrap();
        append(&journal, 500);
        assert_eq!(journal.oldest(), 0, "nothing is an hour old");
    }
    let retain = Retain { age: Some(Duration::from_nanos(1)), ..Retain::default() };
    let journal = small().retain(retain).open(dir.path()).unwrap();
    append(&journal, 100);
    assert!(journal.oldest() > 400);
    check(&journal);
}

#[test]
fn settings_of_retention_are_checked() {
    let dir = tempfile::tempdir().unwrap();
    let open = |retain| small().retain(retain).open(dir.path());
    let none = open(Retain { files: Some(0), ..Retain::default() });
    assert!(matches!(none, Err(JournalError::Setting { key: "retain_files", .. })));
    let too_few = open(Retain { bytes: Some(1000), ..Retain::default() });
    assert!(matches!(too_few, Err(JournalError::Setting { key: "retain_bytes", .. })));
}
