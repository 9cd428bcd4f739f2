//! Going on without what is lost, when told to.

use crate::files::{first_of, flip, logs, of_kind};
use shmlog::{Journal, JournalBuilder, JournalError, Repaired, Start};
use std::path::Path;

const COUNT: u64 = 500;

fn small() -> JournalBuilder {
    Journal::builder().file_bytes(64 << 10).front_size(2, 64 << 10).thread(false)
}

/// Some records are deleted before.
fn is_deleted(seq: u64) -> bool {
    seq % 30 == 7
}

fn journal() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let journal = small().open(dir.path()).unwrap();
    let mut appender = journal.appender().unwrap();
    for number in 0..COUNT {
        appender.append_durable(&[number.to_le_bytes()[0]; 500]).unwrap();
    }
    journal.delete(&(0..COUNT).filter(|&seq| is_deleted(seq)).collect::<Vec<_>>()).unwrap();
    journal.cursor("half way").unwrap().advance(COUNT / 2).unwrap();
    dir
}

/// Repairs, and makes sure that all but `lost` is there, and that the journal goes on.
fn repair(dir: &Path, oldest: u64, lost: &[(u64, u64)]) -> Repaired {
    let repaired = Journal::repair(dir, "").unwrap();
    let again = Journal::repair(dir, "").unwrap();
    assert_eq!(again, Repaired::default(), "once is enough");
    for round in 0..2_u64 {
        let journal = small().open(dir).unwrap();
        let end = COUNT + round;
        assert_eq!((journal.oldest(), journal.next_seq()), (oldest, end));
        assert_eq!(journal.cursors(), [("half way".to_owned(), COUNT / 2)]);
        let mut reader = journal.reader(Start::Oldest).unwrap();
        let (mut next, mut found) = (oldest, Vec::new());
        loop {
            match reader.try_next() {
                Ok(Some(record)) => {
                    assert_eq!(record.bytes(), [record.seq().to_le_bytes()[0]; 500]);
                    assert!((next..record.seq()).all(is_deleted), "{next} to {}", record.seq());
                    next = record.seq() + 1;
                }
                Ok(None) => break,
                Err(JournalError::Lost { from, to }) => {
                    assert!((next..from).all(is_deleted));
                    found.push((from, to));
                    next = to;
                }
                Err(error) => panic!("{error}"),
            }
        }
        assert_eq!((next, found.as_slice()), (end, lost));
        for &(from, to) in lost {
            let got = reader.get(from + (to - from) / 2);
            assert!(matches!(got, Err(JournalError::Lost { .. } | JournalError::Deleted { .. })), "{got:?}");
        }
        journal.appender().unwrap().append_durable(&[end.to_le_bytes()[0]; 500]).unwrap();
    }
    let verified = Journal::verify(dir, "", |_| {}).unwrap();
    assert_eq!((verified.problems.as_slice(), verified.missing.as_slice()), (&[][..], lost));
    repaired
}

#[test]
fn a_sound_journal_needs_none() {
    let dir = journal();
    assert_eq!(repair(dir.path(), 0, &[]), Repaired::default());
}

#[test]
fn damage_in_the_middle_costs_what_is_damaged() {
    let dir = journal();
    let file = &logs(dir.path())[1];
    // Two records of one file, and one of another.
    flip(file, 20_000);
    flip(file, 40_000);
    flip(&logs(dir.path())[3], 4096 + 700);
    let lost = Journal::verify(dir.path(), "", |_| {}).unwrap();
    assert_eq!(lost.problems.len(), 3);
    let ranges: Vec<_> = lost
        .problems
        .iter()
        .map(|problem| match problem {
            shmlog::Problem::Lost { from, to, .. } => (*from, *to),
            other => panic!("{other}"),
        })
        .collect();
    let repaired = repair(dir.path(), 0, &ranges);
    assert_eq!((repaired.lost, repaired.aside.len(), repaired.made_control), (ranges, 3, false));
}

#[test]
fn a_missing_file_and_a_damaged_header_cost_their_records() {
    let dir = journal();
    let files = logs(dir.path());
    std::fs::remove_file(&files[1]).unwrap();
    flip(&files[3], 50);
    assert!(small().open(dir.path()).is_err());
    let range = |at: usize| (first_of(&files[at]), first_of(&files[at + 1]));
    let repaired = repair(dir.path(), 0, &[range(1), range(3)]);
    assert_eq!((repaired.lost.len(), repaired.aside.len()), (2, 1));
}

#[test]
fn the_first_file_can_be_missing_and_the_control_file_too() {
    let dir = journal();
    let files = logs(dir.path());
    std::fs::remove_file(&files[0]).unwrap();
    std::fs::write(dir.path().join("control"), [0; 8192]).unwrap();
    assert!(matches!(small().open(dir.path()), Err(JournalError::Control { .. })));
    let repaired = repair(dir.path(), first_of(&files[1]), &[]);
    assert!(repaired.made_control && repaired.lost.is_empty(), "nobody knows that there was more: {repaired:?}");
}

#[test]
fn one_that_is_in_use_is_left_alone() {
    let dir = journal();
    let _open = small().open(dir.path()).unwrap();
    assert!(matches!(Journal::repair(dir.path(), ""), Err(JournalError::InUse)));
}

#[test]
fn damaged_deletion_marks_cost_the_deletions_that_can_not_be_read() {
    let dir = tempfile::tempdir().unwrap();
    {
        let journal = small().open(dir.path()).unwrap();
        let mut appender = journal.appender().unwrap();
        for _ in 0..30 {
            appender.append(&[7; 50]).unwrap();
        }
        for seqs in [[2, 3], [10, 11], [20, 21]] {
            journal.delete_durable(&seqs).unwrap();
        }
    }
    let marks = of_kind(dir.path(), "del").remove(0);
    let was = std::fs::read(&marks).unwrap();
    flip(&marks, 30);
    let damaged = std::fs::read(&marks).unwrap();
    assert!(was != damaged && matches!(small().open(dir.path()), Err(JournalError::MarksDamaged { offset: 24, .. })));
    let repaired = Journal::repair(dir.path(), "").unwrap();
    assert_eq!(repaired.marks, ["00000000000000000000.del"]);
    assert_eq!(std::fs::read(dir.path().join(&repaired.aside[0])).unwrap(), damaged);
    assert!(repaired.lost.is_empty() && repaired.aside.len() == 1 && !repaired.made_control, "{repaired:?}");
    assert_eq!(Journal::repair(dir.path(), "").unwrap(), Repaired::default(), "once is enough");
    for _ in 0..2 {
        let journal = small().open(dir.path()).unwrap();
        let mut reader = journal.reader(Start::Oldest).unwrap();
        let found: Vec<_> = std::iter::from_fn(|| reader.try_next().unwrap().map(|record| record.seq())).collect();
        assert_eq!(found, (0..30).filter(|seq| ![2, 3, 20, 21].contains(seq)).collect::<Vec<_>>());
    }
    assert_eq!(Journal::verify(dir.path(), "", |_| {}).unwrap().problems, []);
}
