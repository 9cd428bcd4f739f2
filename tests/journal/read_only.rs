//! A journal that is opened for reading only: it sees what there is, changes nothing, keeps nobody from anything.

mod crashed;

use crate::common::eventually;
use shmlog::{FrontHome, Journal, JournalBuilder, JournalError, JournalReader, Start};
use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

fn small() -> JournalBuilder {
    Journal::builder().file_bytes(64 << 10).front_size(2, 64 << 10).front(FrontHome::Directory).thread(false)
}

fn only_read() -> JournalBuilder {
    small().read_only(true)
}

fn bytes_of(seq: u64) -> Vec<u8> {
    vec![seq.to_le_bytes()[0]; 300 + usize::try_from(seq % 100).unwrap()]
}

fn append(journal: &Journal, count: u64) {
    let mut appender = journal.appender().unwrap();
    for _ in 0..count {
        appender.append(&bytes_of(journal.next_seq())).unwrap();
    }
}

/// All of a directory: kind, permissions, times and content of each file.
fn contents(dir: &Path) -> BTreeMap<std::path::PathBuf, (u32, i64, i64, Vec<u8>)> {
    let mut all = BTreeMap::new();
    let about = dir.metadata().unwrap();
    all.insert(dir.to_owned(), (about.mode(), about.mtime(), about.mtime_nsec(), Vec::new()));
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            all.extend(contents(&path));
            continue;
        }
        let about = path.metadata().unwrap();
        let bytes = std::fs::read(&path).unwrap();
        all.insert(path, (about.mode(), about.mtime(), about.mtime_nsec(), bytes));
    }
    all
}

fn check_next(reader: &mut JournalReader, to: u64) {
    for seq in reader.position()..to {
        let record = reader.try_next().unwrap().unwrap_or_else(|| panic!("record {seq}"));
        assert_eq!((record.seq(), record.bytes()), (seq, &bytes_of(seq)[..]));
    }
}

fn check_all(journal: &Journal, count: u64) {
    let mut reader = journal.reader(Start::Oldest).unwrap();
    check_next(&mut reader, count);
    assert!(reader.try_next().unwrap().is_none());
    for seq in (journal.oldest()..count).rev().step_by(7) {
        assert_eq!(reader.get(seq).unwrap().unwrap().bytes(), bytes_of(seq));
    }
    assert!(reader.get(count).unwrap().is_none());
    reader.seek(count / 2).unwrap();
    check_next(&mut reader, count);
}

fn assert_changes_nothing(journal: &Journal, is_all_durable: bool) {
    let refused = |done: Result<u64, JournalError>| {
        let error = done.unwrap_err();
        assert!(matches!(error, JournalError::ReadOnly), "{error:?}");
        assert!(error.to_string().contains("open it without `read_only`"), "{error}");
    };
    assert!(journal.is_read_only());
    refused(journal.appender().map(|_| 0));
    refused(journal.appender_named("a").map(|_| 0));
    refused(journal.prune(1));
    refused(journal.delete(&[1]));
    refused(journal.delete_durable(&[1]));
    refused(journal.remove_aside("00000000000000000001.torn-1").map(|()| 0));
    refused(journal.cursor("new").map(|_| 0));
    let cursor = journal.cursor("old").unwrap();
    assert_eq!(cursor.get().unwrap(), 7);
    refused(cursor.set(0).map(|()| 0));
    refused(cursor.advance(9).map(|()| 0));
    refused(cursor.remove().map(|()| 0));
    let (told, is_told) = std::sync::mpsc::channel();
    journal.when_durable(journal.next_seq(), move |outcome| told.send(outcome).unwrap());
    let outcome = is_told.try_recv().expect("called at once");
    if is_all_durable {
        assert_eq!(journal.sync().unwrap(), journal.next_seq(), "there is nothing to do");
        outcome.unwrap();
        assert!(journal.wait_durable(journal.next_seq(), Duration::ZERO).unwrap());
    } else {
        refused(journal.sync());
        refused(outcome.map(|()| 0));
        assert!(!journal.wait_durable(journal.next_seq(), Duration::ZERO).unwrap());
    }
    journal.clone().close().unwrap();
}

fn made(dir: &Path) -> Journal {
    let journal = small().open(dir).unwrap();
    append(&journal, 500);
    let cursor = journal.cursor("old").unwrap();
    cursor.set(7).unwrap();
    cursor.sync().unwrap();
    journal
}

#[test]
fn a_closed_journal_is_read_and_stays_as_it_is() {
    let dir = tempfile::tempdir().unwrap();
    made(dir.path()).close().unwrap();
    let before = contents(dir.path());
    for journal in [Journal::open_read_only(dir.path()).unwrap(), only_read().open_existing(dir.path()).unwrap()] {
        assert!(journal.recovery().unwrap().was_closed);
        assert_eq!((journal.oldest(), journal.durable(), journal.next_seq()), (0, 500, 500));
        assert_eq!(journal.cursors(), [("old".to_owned(), 7)]);
        check_all(&journal, 500);
        assert_changes_nothing(&journal, true);
        drop(journal);
        assert!(contents(dir.path()) == before);
    }
}

/// What others commit is seen at once, before it is anywhere but in memory.
#[test]
fn an_open_journal_is_followed() {
    let dir = tempfile::tempdir().unwrap();
    let writer = made(dir.path());
    let journal = only_read().open(dir.path()).unwrap();
    assert!(journal.recovery().is_none(), "it joined");
    check_all(&journal, 500);
    let mut reader = journal.reader(Start::End).unwrap();
    append(&writer, 3);
    check_next(&mut reader, 503);
    assert_eq!(journal.durable(), 500);
    let before = contents(dir.path());
    assert_changes_nothing(&journal, false);
    assert!(contents(dir.path()) == before);
    std::thread::scope(|scope| {
        scope.spawn(|| append(&writer, 1));
        let record = reader.next_timeout(Duration::from_secs(60)).unwrap().expect("it is woken, or looks");
        assert_eq!((record.seq(), record.bytes()), (503, &bytes_of(503)[..]));
    });
    assert!(!journal.wait_durable(504, Duration::ZERO).unwrap());
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| journal.wait_durable(504, Duration::from_secs(60)).unwrap());
        writer.sync().unwrap();
        assert!(waiting.join().unwrap());
    });
    // Around the front several times: the rest comes from the files.
    let mut slow = journal.reader(Start::First).unwrap();
    append(&writer, 2000);
    check_next(&mut slow, 2504);
    // Given up, and deleted, by others.
    writer.sync().unwrap();
    writer.delete(&[2000]).unwrap();
    assert!(matches!(slow.get(2000), Err(JournalError::Deleted { seq: 2000 })));
    writer.prune(1000).unwrap();
    assert!(matches!(slow.get(5), Err(JournalError::GivenUp { seq: 5, .. })));
    assert_eq!(journal.oldest(), 1000);
}

/// Nobody waits for it: not who closes the journal, nor who recovers it or begins it anew.
#[test]
fn others_close_and_begin_anew_beside_it() {
    let dir = tempfile::tempdir().unwrap();
    let writer = made(dir.path());
    let live = only_read().open(dir.path()).unwrap();
    let mut follower = live.reader(Start::End).unwrap();
    append(&writer, 5);
    writer.close().unwrap();
    assert!(!dir.path().join("front").exists(), "it was the last one");
    check_all(&live, 505);
    let quiet = only_read().open(dir.path()).unwrap();
    check_next(&mut follower, 505);
    assert!(follower.next_timeout(Duration::from_millis(1)).unwrap().is_none());
    let again = small().open(dir.path()).unwrap();
    append(&again, 5);
    // What they have seen they see, and that they see no more is said to who waits for it.
    for journal in [&live, &quiet] {
        check_all(journal, 505);
        assert!(journal.wait_durable(505, Duration::from_secs(60)).unwrap());
        let error = journal.on_durable(506).wait(Duration::from_secs(60)).unwrap_err();
        assert!(matches!(error, JournalError::LeftBehind), "{error:?}");
        for is_durable_only in [false, true] {
            let builder = journal.reader_builder().durable_only(is_durable_only);
            let mut reader = builder.start(Start::End).unwrap();
            let error = reader.next_timeout(Duration::from_secs(60)).unwrap_err();
            assert!(matches!(error, JournalError::LeftBehind), "{error:?}");
            assert!(error.to_string().contains("open it again"), "{error}");
        }
    }
    check_all(&only_read().open(dir.path()).unwrap(), 510);
    // And what is gone is not damaged.
    append(&again, 1000);
    again.sync().unwrap();
    again.prune(1000).unwrap();
    for journal in [&live, &quiet] {
        let mut reader = journal.reader(Start::First).unwrap();
        let found = (0..505).find_map(|_| reader.try_next().err());
        assert!(matches!(found, Some(JournalError::LeftBehind)), "{found:?}");
        assert!(matches!(reader.get(3), Err(JournalError::LeftBehind)));
    }
}

#[test]
fn what_is_not_there_is_not_made() {
    let dir = tempfile::tempdir().unwrap();
    let nowhere = dir.path().join("none");
    for builder in [only_read(), only_read().prefix("other-")] {
        assert!(matches!(builder.open(&nowhere), Err(JournalError::NotFound { .. })));
        assert!(matches!(builder.open(dir.path()), Err(JournalError::NotFound { .. })));
    }
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    // A copy need not have the lock.
    made(dir.path()).close().unwrap();
    std::fs::remove_file(dir.path().join("lock")).unwrap();
    check_all(&only_read().open(dir.path()).unwrap(), 500);
    assert!(!dir.path().join("lock").exists());
    std::fs::remove_file(dir.path().join("control")).unwrap();
    let error = only_read().open(dir.path()).unwrap_err();
    assert!(matches!(error, JournalError::NotFound { .. } | JournalError::Control { .. }), "{error:?}");
}

/// Others have it open, but their front is not to be seen here.
#[test]
fn a_front_that_can_t_be_seen_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let _writer = made(dir.path());
    let (front, hidden) = (dir.path().join("front"), dir.path().join("hidden"));
    std::fs::rename(&front, &hidden).unwrap();
    let error = only_read().open(dir.path()).unwrap_err();
    assert!(matches!(&error, JournalError::FrontUnreachable { path } if *path == front), "{error:?}");
    std::fs::rename(&hidden, &front).unwrap();
    // Something else in its place, which nobody else has open.
    for name in ["log", "board", "lock", "state"] {
        let (path, aside) = (front.join(name), front.join("aside"));
        std::fs::rename(&path, &aside).unwrap();
        assert!(Command::new("mkfifo").arg(&path).status().unwrap().success());
        match only_read().open(dir.path()) {
            Err(JournalError::FrontUnreachable { .. } | JournalError::Os { .. }) => {}
            // Only who appends locks it.
            Ok(_) => assert_eq!(name, "lock"),
            Err(error) => panic!("{name}: {error:?}"),
        }
        std::fs::rename(&aside, &path).unwrap();
    }
    check_all(&only_read().open(dir.path()).unwrap(), 500);
}

/// It opens again and again while others open, append, and close.
#[test]
fn it_opens_whatever_others_are_about() {
    let dir = tempfile::tempdir().unwrap();
    made(dir.path()).close().unwrap();
    std::thread::scope(|scope| {
        let writing = scope.spawn(|| {
            for _ in 0..40 {
                let journal = eventually(|| small().open(dir.path()));
                append(&journal, 60);
                journal.prune(journal.next_seq() - 300).unwrap();
            }
        });
        let mut newest = 0;
        while !writing.is_finished() {
            let journal = only_read().open(dir.path()).unwrap();
            let end = journal.next_seq();
            assert!(end >= newest, "{end} after {newest}");
            newest = end;
            let mut reader = journal.reader(Start::End).unwrap();
            for seq in (end - 100..end).step_by(9) {
                match reader.get(seq) {
                    Ok(Some(record)) => assert_eq!(record.bytes(), bytes_of(seq)),
                    Err(JournalError::LeftBehind | JournalError::Lagged { .. }) => {}
                    other => panic!("record {seq} of {end}: {other:?}"),
                }
            }
        }
        writing.join().unwrap();
    });
    assert_eq!(only_read().open(dir.path()).unwrap().next_seq(), 500 + 40 * 60);
}
