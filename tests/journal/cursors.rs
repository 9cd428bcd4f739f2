//! Named cursors: shared, kept, never ahead.

use crate::files::{crash, logs, still};
use shmlog::{Flush, Journal, JournalError, Start};
use std::time::Duration;

#[test]
fn cursors_are_shared_and_kept() {
    let dir = tempfile::tempdir().unwrap();
    {
        let journal = still().open(dir.path()).unwrap();
        let mut appender = journal.appender().unwrap();
        for number in 0..100_u64 {
            appender.append_value(&number).unwrap();
        }
        let (a, again) = (journal.cursor("a").unwrap(), journal.cursor("a").unwrap());
        a.advance(40).unwrap();
        assert_eq!(again.get().unwrap(), 40);
        again.advance(30).unwrap();
        assert_eq!(a.get().unwrap(), 40, "it does not go back by advancing");
        a.set(30).unwrap();
        assert_eq!(again.get().unwrap(), 30, "but it does when told to");
        journal.cursor("b").unwrap().advance(100).unwrap();
        assert!(matches!(a.advance(101), Err(JournalError::Join(_))), "there is no such record");
        a.sync().unwrap();
        assert_eq!(journal.durable(), 100, "what is below a cursor is durable when it is");
    }
    let journal = still().open(dir.path()).unwrap();
    assert_eq!(journal.cursors(), [("a".to_owned(), 30), ("b".to_owned(), 100)]);
    let b = journal.cursor("b").unwrap();
    journal.cursor("b").unwrap().remove().unwrap();
    assert!(matches!(b.get(), Err(JournalError::NoCursor { .. })));
    drop(journal);
    drop(b);
    assert_eq!(still().open(dir.path()).unwrap().cursors(), [("a".to_owned(), 30)]);
}

#[test]
fn cursors_survive_files_that_are_full_and_given_up() {
    let dir = tempfile::tempdir().unwrap();
    {
        let journal = still().flush(Flush::After(Duration::from_millis(1))).open(dir.path()).unwrap();
        let cursor = journal.cursor("far").unwrap();
        let mut appender = journal.appender().unwrap();
        for _ in 0..20 {
            for _ in 0..100 {
                appender.append(&[7; 500]).unwrap();
            }
            cursor.advance(journal.next_seq()).unwrap();
            cursor.sync().unwrap();
            journal.prune(cursor.get().unwrap()).unwrap();
        }
        assert_eq!(journal.oldest(), 2000);
    }
    let journal = still().open(dir.path()).unwrap();
    assert_eq!(journal.cursors(), [("far".to_owned(), 2000)]);
    assert!(matches!(journal.reader(Start::First), Err(JournalError::Lagged { missed: 2000, next: 2000 })));
}

#[test]
fn names_and_numbers_of_cursors_are_bounded() {
    let dir = tempfile::tempdir().unwrap();
    let journal = still().open(dir.path()).unwrap();
    for bad in ["", "a name of more than 32 bytes is no name", "a\0b"] {
        assert!(matches!(journal.cursor(bad), Err(JournalError::Setting { key: "cursor", .. })), "{bad:?}");
    }
    for number in 0..256 {
        journal.cursor(&format!("cursor {number}")).unwrap();
    }
    assert!(matches!(journal.cursor("one more"), Err(JournalError::TooManyCursors { limit: 256 })));
    journal.cursor("cursor 7").unwrap().remove().unwrap();
    journal.cursor("one more").unwrap();
    let mut appender = journal.appender().unwrap();
    appender.append_durable(&vec![1; appender.limit_bytes()]).unwrap();
    drop(appender);
    drop(journal);
    assert_eq!(still().open(dir.path()).unwrap().cursors().len(), 256);
}

/// The story: whoever only moved cursors, without a record, filled a file with them; the next one had the same name, was
/// renamed over it, said of itself that it came before itself, and the journal could not be opened any more.
#[test]
fn a_file_full_of_cursors_alone_is_followed_by_one_that_can_be_opened() {
    let dir = tempfile::tempdir().unwrap();
    {
        // As two processes, of which each has the file open to be written to.
        let both = [still().open(dir.path()).unwrap(), still().open(dir.path()).unwrap()];
        both[0].appender().unwrap().append_durable(b"one").unwrap();
        let cursors = both.each_ref().map(|journal| journal.cursor("a").unwrap());
        for turn in 0..5001 {
            let cursor = &cursors[usize::from(turn % 3 == 0)];
            cursor.set(turn % 2).unwrap();
            cursor.sync().unwrap();
        }
        let bytes: Vec<_> = logs(dir.path()).iter().map(|path| path.metadata().unwrap().len()).collect();
        assert_eq!(bytes, [64 << 10, 128 << 10], "however long that goes on");
        // After a crash, the cursors are where they were, and records behind them are found by number.
        let image = crash(dir.path());
        {
            let journal = still().open(image.path()).unwrap();
            assert_eq!(journal.cursors(), [("a".to_owned(), 0)]);
            let mut appender = journal.appender().unwrap();
            for _ in 0..300 {
                appender.append_durable(&[3; 1000]).unwrap();
            }
            let mut reader = journal.reader(Start::End).unwrap();
            for seq in 1..301 {
                assert_eq!(reader.get(seq).unwrap().unwrap().bytes(), [3; 1000]);
            }
        }
        assert_eq!(Journal::verify(image.path(), "", |_| {}).unwrap().problems, []);
        let mut appender = both[0].appender().unwrap();
        for _ in 0..2 {
            appender.append_durable(&vec![2; appender.limit_bytes()]).unwrap();
        }
        both[1].cursor("b").unwrap().advance(1).unwrap();
    }
    assert_eq!(Journal::verify(dir.path(), "", |_| {}).unwrap().problems, []);
    let journal = still().open(dir.path()).unwrap();
    assert_eq!(journal.cursors(), [("a".to_owned(), 0), ("b".to_owned(), 1)]);
    let mut reader = journal.reader(Start::First).unwrap();
    assert_eq!(reader.try_next().unwrap().unwrap().bytes(), b"one");
    assert!(reader.try_next().unwrap().unwrap().bytes().iter().all(|&byte| byte == 2));
    assert_eq!((reader.position(), journal.next_seq()), (2, 3));
}
