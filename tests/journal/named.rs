//! Which journal an error is about: a process may have several open.

use shmlog::{Journal, JournalError};
use std::fs::{create_dir, remove_file, write};
use std::path::Path;

fn journal(dir: &Path) -> Journal {
    Journal::builder().file_bytes(64 << 10).thread(false).open(dir).unwrap()
}

#[track_caller]
fn names(error: &JournalError, path: &Path) {
    let (said, path) = (error.to_string(), path.to_str().unwrap());
    assert_eq!(said.matches(path).count(), 1, "{said}");
}

#[test]
fn what_keeps_a_journal_from_being_opened_says_where_it_is() {
    let root = tempfile::tempdir().unwrap();
    let damaged = root.path().join("damaged");
    journal(&damaged).close().unwrap();
    write(damaged.join("control"), [0; 8192]).unwrap();
    write(damaged.join("00000000000000000000.log"), [1; 8192]).unwrap();
    names(&Journal::open(&damaged).unwrap_err(), &damaged.join("control"));
    names(&Journal::open_read_only(&damaged).unwrap_err(), &damaged.join("control"));

    let locked = root.path().join("locked");
    create_dir(&locked).unwrap();
    create_dir(locked.join("lock")).unwrap();
    names(&Journal::open(&locked).unwrap_err(), &locked.join("lock"));
    names(&Journal::repair(&locked, "").unwrap_err(), &locked.join("lock"));

    let missing = root.path().join("missing");
    names(&Journal::open_read_only(&missing).unwrap_err(), &missing);
    names(&Journal::verify(&missing, "", |_| {}).unwrap_err(), &missing);
    write(&missing, "no directory").unwrap();
    names(&Journal::open(&missing).unwrap_err(), &missing);
    names(&Journal::verify(&missing, "", |_| {}).unwrap_err(), &missing);
}

#[test]
fn what_an_open_journal_says_tells_where_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let open = journal(dir.path());
    names(&Journal::repair(dir.path(), "").unwrap_err(), dir.path());
    names(&open.remove_aside("control").unwrap_err(), &dir.path().join("control"));

    let mut appender = open.appender().unwrap();
    let mut seq = 0;
    while seq < 3000 {
        seq = appender.append(&[7; 100]).unwrap();
    }
    open.sync().unwrap();
    let first = dir.path().join("00000000000000000000.log");
    assert!(open.prune(1).unwrap() == 1 && first.exists());
    let gone = JournalError::GivenUp { seq: 0, oldest: 1 }.to_string();
    assert_eq!(gone, "record 0 was given up, the oldest is 1");
    assert_eq!(open.delete(&[0]).unwrap_err().to_string(), gone);

    // Under those who have it open.
    remove_file(dir.path().join("control")).unwrap();
    names(&open.prune(2).unwrap_err(), &dir.path().join("control"));
}
