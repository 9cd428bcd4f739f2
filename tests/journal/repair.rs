//! Going on without what is lost, when told to.

use crate::files::{crash, first_of, flip, logs, of_kind, still};
use shmlog::{Journal, JournalError, Repaired, Start};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

const COUNT: u64 = 500;

/// Some records are deleted before.
fn is_deleted(seq: u64) -> bool {
    seq % 30 == 7
}

fn journal() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let journal = still().open(dir.path()).unwrap();
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
        let journal = still().open(dir).unwrap();
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
    assert!(still().open(dir.path()).is_err());
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
    assert!(matches!(still().open(dir.path()), Err(JournalError::Control { .. })));
    let repaired = repair(dir.path(), first_of(&files[1]), &[]);
    assert!(repaired.made_control && repaired.lost.is_empty(), "nobody knows that there was more: {repaired:?}");
}

#[test]
fn one_that_is_in_use_is_left_alone() {
    let dir = journal();
    let _open = still().open(dir.path()).unwrap();
    assert!(matches!(Journal::repair(dir.path(), ""), Err(JournalError::InUse { .. })));
}

#[test]
fn damaged_deletion_marks_cost_the_deletions_that_can_not_be_read() {
    let dir = tempfile::tempdir().unwrap();
    {
        let journal = still().open(dir.path()).unwrap();
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
    assert!(was != damaged && matches!(still().open(dir.path()), Err(JournalError::MarksDamaged { offset: 24, .. })));
    let repaired = Journal::repair(dir.path(), "").unwrap();
    assert_eq!(repaired.marks, ["00000000000000000000.del"]);
    assert_eq!(std::fs::read(dir.path().join(&repaired.aside[0])).unwrap(), damaged);
    assert!(repaired.lost.is_empty() && repaired.aside.len() == 1 && !repaired.made_control, "{repaired:?}");
    assert_eq!(Journal::repair(dir.path(), "").unwrap(), Repaired::default(), "once is enough");
    for _ in 0..2 {
        let journal = still().open(dir.path()).unwrap();
        let mut reader = journal.reader(Start::Oldest).unwrap();
        let found: Vec<_> = std::iter::from_fn(|| reader.try_next().unwrap().map(|record| record.seq())).collect();
        assert_eq!(found, (0..30).filter(|seq| ![2, 3, 20, 21].contains(seq)).collect::<Vec<_>>());
    }
    assert_eq!(Journal::verify(dir.path(), "", |_| {}).unwrap().problems, []);
}

/// Repairs, and makes sure that of so many records all but `lost` are there.
fn repair_to(dir: &Path, count: u64, lost: &[(u64, u64)]) {
    assert_eq!(Journal::repair(dir, "").unwrap().lost, lost);
    let journal = still().open(dir).unwrap();
    let mut reader = journal.reader(Start::Oldest).unwrap();
    assert_eq!(journal.next_seq(), count);
    for seq in 0..count {
        let is_lost = lost.iter().any(|(from, to)| (from..to).contains(&&seq));
        match reader.get(seq) {
            Ok(Some(record)) if !is_lost => assert_eq!(record.bytes(), [seq.to_le_bytes()[0]; 500]),
            Err(JournalError::Lost { .. }) if is_lost => {}
            other => panic!("{seq}: {other:?}"),
        }
    }
    assert_eq!(Journal::verify(dir, "", |_| {}).unwrap().problems, []);
}

/// The story: behind the last record of a file stood cursors. When that record was damaged, they were taken for records
/// behind the damage, and the file made of them took the place of the next one, with all that was in it.
#[test]
fn cursors_at_the_end_of_a_damaged_file_do_not_replace_the_next_one() {
    let dir = tempfile::tempdir().unwrap();
    {
        let journal = still().open(dir.path()).unwrap();
        let mut appender = journal.appender().unwrap();
        for number in 0..150_u64 {
            if number == 112 {
                let cursor = journal.cursor("a").unwrap();
                cursor.advance(number).unwrap();
                cursor.sync().unwrap();
            }
            appender.append_durable(&[number.to_le_bytes()[0]; 500]).unwrap();
        }
    }
    let files = logs(dir.path());
    assert_eq!(first_of(&files[1]), 112);
    flip(&files[0], 4096 + 8 + 111 * 544 + 100);
    repair_to(dir.path(), 150, &[(111, 112)]);
}

/// The story: cursors were the first thing in a file, and damaged. What was sound behind them got the name of the file,
/// which was then removed.
#[test]
fn damage_before_the_first_record_costs_none() {
    let dir = tempfile::tempdir().unwrap();
    {
        let journal = still().open(dir.path()).unwrap();
        journal.cursor("a").unwrap().sync().unwrap();
        let mut appender = journal.appender().unwrap();
        for number in 0..20_u64 {
            appender.append_durable(&[number.to_le_bytes()[0]; 500]).unwrap();
        }
    }
    flip(&logs(dir.path())[0], 4096 + 10);
    repair_to(dir.path(), 20, &[]);
}

/// The story: a record was deleted that a repair had gone on without, the first one of them. Readers passed over it, and
/// called the next one damaged.
#[test]
fn a_lost_record_can_be_deleted() {
    let dir = journal();
    let files = logs(dir.path());
    std::fs::remove_file(&files[1]).unwrap();
    let (from, to) = (first_of(&files[1]), first_of(&files[2]));
    assert_eq!(Journal::repair(dir.path(), "").unwrap().lost, [(from, to)]);
    let journal = still().open(dir.path()).unwrap();
    journal.delete(&[from]).unwrap();
    let mut reader = journal.reader(Start::At(from - 1)).unwrap();
    assert_eq!(reader.try_next().unwrap().unwrap().seq(), from - 1);
    let lost = reader.try_next().map(|record| record.is_some());
    assert!(matches!(lost, Err(JournalError::Lost { to: found, .. }) if found == to), "{lost:?}");
    assert_eq!(reader.try_next().unwrap().unwrap().seq(), to);
}

/// The story: what repair had made could be read by its user only, and others that had used the journal were refused.
#[test]
fn what_is_made_anew_is_for_whom_the_rest_is() {
    let dir = tempfile::tempdir().unwrap();
    {
        let journal = still().mode(0o640).open(dir.path()).unwrap();
        let mut appender = journal.appender().unwrap();
        for _ in 0..40 {
            appender.append_durable(&[1; 500]).unwrap();
        }
    }
    flip(&logs(dir.path())[0], 10_000);
    assert_eq!(Journal::repair(dir.path(), "").unwrap().lost.len(), 1);
    assert_eq!(logs(dir.path()).len(), 2);
    for file in logs(dir.path()) {
        assert_eq!(file.metadata().unwrap().mode() & 0o777, 0o640, "{}", file.display());
    }
}

/// The story: the last file had been cut by a recovery; the control file that was made anew said that all are to be as short.
#[test]
fn files_are_as_long_as_they_were_when_the_control_file_is_made_anew() {
    for is_pruned in [false, true] {
        let dir = tempfile::tempdir().unwrap();
        let journal = still().file_bytes(256 << 10).open(dir.path()).unwrap();
        let mut appender = journal.appender().unwrap();
        (0..1200).for_each(|_| assert!(appender.append(&[1; 500]).is_ok()));
        journal.sync().unwrap();
        let image = crash(dir.path());
        let journal = still().open(image.path()).unwrap();
        if is_pruned {
            // Only the file that was cut is left, and a spare one.
            assert_eq!(journal.prune(1200).unwrap(), 1200);
        }
        journal.close().unwrap();
        let len = |path: &Path| path.metadata().unwrap().len();
        let before: Vec<_> = logs(image.path()).iter().map(|path| len(path)).collect();
        assert_eq!(before[..before.len() - 1], vec![256 << 10; if is_pruned { 0 } else { 2 }]);
        assert!(before.last().is_some_and(|&len| (64 << 10..256 << 10).contains(&len)));
        std::fs::write(image.path().join("control"), [0; 8192]).unwrap();
        assert!(Journal::repair(image.path(), "").unwrap().made_control);
        let journal = still().open(image.path()).unwrap();
        journal.appender().unwrap().append_durable(b"more").unwrap();
        assert_eq!(logs(image.path()).last().map(|path| len(path)), Some(256 << 10));
    }
}
