//! What is appended is read, from memory and from files, before and after reopening.

use crate::files::{small, still};
use shmlog::{Flush, Journal, JournalBuilder, JournalError, Start};
use std::path::Path;
use std::time::Duration;

fn bytes_of(seq: u64) -> Vec<u8> {
    let len = seq.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 57;
    (seq..seq + len).map(|number| number.to_le_bytes()[0]).collect()
}

fn check_all(journal: &Journal, count: u64) {
    let mut reader = journal.reader(Start::First).unwrap();
    for seq in 0..count {
        let record = reader.try_next().unwrap().unwrap_or_else(|| panic!("record {seq} of {count}"));
        assert_eq!((record.seq(), record.bytes()), (seq, &bytes_of(seq)[..]));
    }
    assert!(reader.try_next().unwrap().is_none());
    for seq in (0..count).rev().step_by(7) {
        let record = reader.get(seq).unwrap().unwrap();
        assert_eq!((record.seq(), record.bytes()), (seq, &bytes_of(seq)[..]));
    }
    assert!(reader.get(count).unwrap().is_none());
}

fn fill(dir: &Path, builder: &JournalBuilder, from: u64, to: u64) {
    let journal = builder.open(dir).unwrap();
    assert_eq!(journal.next_seq(), from);
    let mut appender = journal.appender().unwrap();
    for seq in from..to {
        assert_eq!(appender.append(&bytes_of(seq)).unwrap(), seq);
    }
    check_all(&journal, to);
}

#[test]
fn what_was_appended_is_there_after_reopening() {
    for flush in [Flush::After(Duration::from_millis(1)), Flush::Never] {
        let dir = tempfile::tempdir().unwrap();
        let builder = small().flush(flush);
        for round in 0..4 {
            fill(dir.path(), &builder, round * 5000, (round + 1) * 5000);
        }
        let journal = builder.open_existing(dir.path()).unwrap();
        assert!(journal.recovery().unwrap().was_closed);
        assert_eq!(journal.durable(), 20_000);
        check_all(&journal, 20_000);
    }
}

#[test]
fn an_appender_without_a_thread_makes_its_own_room() {
    let dir = tempfile::tempdir().unwrap();
    fill(dir.path(), &still(), 0, 20_000);
}

#[test]
fn durable_is_what_was_synced() {
    let dir = tempfile::tempdir().unwrap();
    let journal = still().open(dir.path()).unwrap();
    let mut appender = journal.appender().unwrap();
    assert_eq!(journal.durable(), 0);
    appender.append(b"one").unwrap();
    let mut reader = journal.reader_builder().durable_only(true).start(Start::First).unwrap();
    assert!(reader.try_next().unwrap().is_none(), "it is not durable yet");
    assert_eq!(appender.append_durable(b"two").unwrap(), 1);
    assert_eq!(journal.durable(), 2);
    assert_eq!(reader.try_next().unwrap().unwrap().bytes(), b"one");
    assert_eq!(reader.try_next().unwrap().unwrap().bytes(), b"two");
    assert!(!journal.wait_durable(3, Duration::from_millis(1)).unwrap());
    appender.append(b"three").unwrap();
    assert_eq!(journal.sync().unwrap(), 3);
    assert!(journal.wait_durable(3, Duration::ZERO).unwrap());
}

#[test]
fn a_batch_is_one_record_with_parts() {
    let dir = tempfile::tempdir().unwrap();
    let parts: [&[u8]; 3] = [b"one", b"", b"three"];
    {
        let journal = small().open(dir.path()).unwrap();
        journal.appender().unwrap().append_parts(&parts).unwrap();
    }
    let journal = small().open(dir.path()).unwrap();
    let mut reader = journal.reader(Start::First).unwrap();
    let record = reader.try_next().unwrap().unwrap();
    assert!(record.is_batch());
    assert_eq!(record.parts().map(Result::unwrap).collect::<Vec<_>>(), parts);
}

#[test]
fn bad_settings_are_named() {
    let dir = tempfile::tempdir().unwrap();
    let bad = |builder: JournalBuilder| match builder.open(dir.path()) {
        Err(JournalError::Setting { key, .. }) => key,
        other => panic!("{other:?}"),
    };
    assert_eq!(bad(Journal::builder().file_bytes(100)), "file_bytes");
    assert_eq!(bad(Journal::builder().prefix("../x")), "prefix");
    assert_eq!(bad(Journal::builder().front_size(1, 64 << 10)), "front_windows");
    assert_eq!(bad(Journal::builder().front_size(2, 1000)), "front_window_bytes");
    assert_eq!(bad(Journal::builder().flush(Flush::After(Duration::ZERO))), "flush_after");
    assert!(matches!(Journal::builder().open_existing(dir.path()), Err(JournalError::NotFound { .. })));
}

/// The log's own errors named settings that a journal does not have.
#[test]
fn errors_of_the_front_say_what_to_do_in_a_journal() {
    let dir = tempfile::tempdir().unwrap();
    let journal = still().open(dir.path()).unwrap();
    let mut all = Vec::new();
    let error = loop {
        match journal.appender() {
            Ok(appender) => all.push(appender),
            Err(error) => break error.to_string(),
        }
    };
    assert!(all.len() == 64 && error.starts_with("a journal has at most 64 appenders"), "{error}");
    let error = all[0].append(&[0; 64 << 10]).unwrap_err().to_string();
    assert!(error.ends_with("or make the journal with a larger front_window_bytes and file_bytes"), "{error}");
    assert_eq!(journal.reader(Start::At(1)).unwrap_err().to_string(), "record 1 does not exist yet");
}

/// The story: on a disk with less room than a file of records takes, a journal could be opened, and not closed: that there are
/// no cursors was to be written down.
#[test]
fn closing_a_journal_without_records_and_cursors_takes_no_file() {
    let dir = tempfile::tempdir().unwrap();
    for was_closed in [false, true, true] {
        let journal = still().open(dir.path()).unwrap();
        assert_eq!(journal.recovery().unwrap().was_closed, was_closed);
        journal.close().unwrap();
        let mut names: Vec<_> =
            std::fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        assert_eq!(names, ["control", "lock"]);
        let looking = Journal::open_read_only(dir.path()).unwrap();
        assert!(looking.recovery().unwrap().was_closed && looking.next_seq() == 0);
    }
    // A cursor is to be found again, and, when it was removed, not to be.
    let cursors = |made: bool| {
        let journal = still().open(dir.path()).unwrap();
        let found = journal.cursors();
        let cursor = journal.cursor("a").unwrap();
        if !made {
            cursor.clone().remove().unwrap();
        }
        drop(cursor);
        journal.close().unwrap();
        found
    };
    assert_eq!(cursors(true), []);
    assert_eq!(cursors(false), [("a".to_owned(), 0)]);
    assert_eq!(cursors(true), []);
}
