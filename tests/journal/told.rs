//! Being told when records are durable.

use crate::files::{small, still};
use shmlog::{Flush, JoinError, JournalError};
use std::sync::mpsc::channel;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(60);

#[test]
fn handles_tell_when_records_are_durable() {
    let dir = tempfile::tempdir().unwrap();
    let journal = still().open(dir.path()).unwrap();
    let mut appender = journal.appender().unwrap();
    let seq = appender.append(b"one").unwrap();
    let told = journal.on_durable(seq + 1);
    assert!(!told.is_durable() && !told.wait(Duration::from_millis(1)).unwrap());
    let waiting = std::thread::spawn({
        let told = told.clone();
        move || told.wait(PATIENCE)
    });
    journal.sync().unwrap();
    assert!(waiting.join().unwrap().unwrap());
    assert!(told.is_durable());
}

/// Who made durable what did not exist held the flush lock in turns with nobody, busily, for ever.
#[test]
fn what_does_not_exist_is_not_synced() {
    let dir = tempfile::tempdir().unwrap();
    let journal = still().open(dir.path()).unwrap();
    let mut appender = journal.appender().unwrap();
    let seq = appender.append(b"one").unwrap();
    assert!(matches!(journal.sync_to(seq + 2), Err(JournalError::Join(JoinError::Ahead { seq: 1 }))));
    assert!(matches!(appender.sync_to(u64::MAX), Err(JournalError::Join(JoinError::Ahead { .. }))));
    assert_eq!(journal.durable(), 0);
    journal.sync_to(seq + 1).unwrap();
    appender.sync_to(0).unwrap();
    assert_eq!(journal.durable(), 1);
    let looking = shmlog::Journal::open_read_only(dir.path()).unwrap();
    assert!(matches!(looking.sync_to(2), Err(JournalError::ReadOnly)));
}

#[test]
fn calls_come_when_records_are_durable_whoever_made_them_so() {
    let dir = tempfile::tempdir().unwrap();
    // One that flushes, one that only listens.
    let flushing = still().open(dir.path()).unwrap();
    let listening = small().flush(Flush::Never).open(dir.path()).unwrap();
    let (told, heard) = channel();
    let mut appender = flushing.appender().unwrap();
    for number in 0..3_u64 {
        appender.append_value(&number).unwrap();
        let (told, asked) = (told.clone(), listening.clone());
        listening.when_durable(number + 1, move |outcome| {
            outcome.unwrap();
            told.send((number, asked.durable() > number)).unwrap();
        });
    }
    assert!(heard.try_recv().is_err());
    flushing.sync().unwrap();
    let calls: Vec<_> = (0..3).map(|_| heard.recv_timeout(PATIENCE).unwrap()).collect();
    assert_eq!(calls, [(0, true), (1, true), (2, true)]);
    // At once, where they are durable already; at the latest when the journal is closed.
    listening.when_durable(2, {
        let told = told.clone();
        move |_| told.send((7, true)).unwrap()
    });
    assert_eq!(heard.try_recv(), Ok((7, true)));
    appender.append(b"last").unwrap();
    listening.when_durable(4, move |outcome| told.send((8, outcome.is_ok())).unwrap());
    drop(listening);
    assert_eq!(heard.recv_timeout(PATIENCE), Ok((8, true)));
}

/// The story: who waited for a call about a record that nobody appended waited for ever, as the call was dropped when the
/// journal was closed.
#[test]
fn calls_that_are_not_due_when_the_journal_is_closed_are_told_so() {
    for has_thread in [false, true] {
        let dir = tempfile::tempdir().unwrap();
        let journal = small().thread(has_thread).open(dir.path()).unwrap();
        let (told, heard) = channel();
        journal.appender().unwrap().append(b"one").unwrap();
        // One call may have the last handle: when it is made, the journal is closed.
        let last = has_thread.then(|| journal.clone());
        for (end, mut handle) in [(1, last), (2, None), (u64::MAX, None)] {
            let told = told.clone();
            journal.when_durable(end, move |outcome| {
                told.send((end, outcome.map_err(|error| matches!(error, JournalError::Closed)))).unwrap();
                drop(handle.take());
            });
        }
        drop((journal, told));
        let calls: Vec<_> = heard.iter().collect();
        assert_eq!(calls, [(1, Ok(())), (2, Err(true)), (u64::MAX, Err(true))]);
    }
}
