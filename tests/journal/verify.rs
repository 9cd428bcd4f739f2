//! Looking through a journal: what is wrong is found and located.

use crate::files::{first_of, flip, logs, name, of_kind, small};
use shmlog::{Journal, JournalError, Problem, Start, Verified};
use std::path::Path;

const COUNT: u64 = 500;

fn journal() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let journal = small().open(dir.path()).unwrap();
    let mut appender = journal.appender().unwrap();
    for number in 0..COUNT {
        // Each with a mark of its own.
        appender.append_durable(&[number.to_le_bytes()[0]; 500]).unwrap();
    }
    journal.cursor("half way").unwrap().advance(COUNT / 2).unwrap();
    dir
}

fn verify(dir: &Path) -> Verified {
    let mut last = 0;
    let found = Journal::verify(dir, "", |progress| {
        assert!(last <= progress.done_bytes && progress.done_bytes <= progress.total_bytes, "{progress:?}");
        last = progress.done_bytes;
    });
    found.unwrap()
}

#[test]
fn nothing_is_wrong_with_a_sound_journal_open_or_closed() {
    let dir = journal();
    let sound = verify(dir.path());
    assert_eq!((sound.problems.as_slice(), sound.records, sound.end, sound.durable), (&[][..], COUNT, COUNT, COUNT));
    assert_eq!(sound.cursors, [("half way".to_owned(), COUNT / 2)]);
    assert_eq!(sound.files, logs(dir.path()).len());
    let journal = small().open(dir.path()).unwrap();
    journal.prune(100).unwrap();
    journal.appender().unwrap().append_durable(b"more").unwrap();
    let in_use = verify(dir.path());
    assert_eq!((in_use.problems.as_slice(), in_use.records, in_use.oldest), (&[][..], COUNT + 1 - 100, 100));
}

#[test]
fn a_flipped_bit_is_located_and_only_its_records_are_gone() {
    let dir = journal();
    let file = &logs(dir.path())[1];
    flip(file, 20_000);
    let found = verify(dir.path());
    let [Problem::Lost { file: at, offset, from, to }] = &found.problems[..] else { panic!("{:?}", found.problems) };
    assert_eq!((at, to - from, found.records), (&name(file), 1, COUNT - 1));
    assert!((20_000 - 520..=20_000).contains(offset), "{offset}");
    // Whoever reads it learns so, and gets the others.
    let journal = small().open(dir.path()).unwrap();
    let mut reader = journal.reader(Start::At(*from)).unwrap();
    assert!(matches!(reader.try_next(), Err(JournalError::Damaged { seq, .. }) if seq == *from));
    assert!(matches!(reader.get(*from), Err(JournalError::Damaged { seq, .. }) if seq == *from));
    assert_eq!(reader.get(*to).unwrap().unwrap().bytes(), [to.to_le_bytes()[0]; 500]);
}

#[test]
fn a_missing_file_is_named_with_its_records() {
    let dir = journal();
    let files = logs(dir.path());
    std::fs::remove_file(&files[1]).unwrap();
    let (from, to) = (first_of(&files[1]), first_of(&files[2]));
    let found = verify(dir.path());
    assert_eq!(found.problems, [Problem::Lost { file: name(&files[2]), offset: 0, from, to }]);
    assert_eq!(found.records, COUNT - (to - from));
    let refused = small().open(dir.path());
    assert!(matches!(refused, Err(JournalError::FileLost { .. })), "{refused:?}");
}

#[test]
fn damaged_headers_controls_and_indexes_are_found() {
    let dir = journal();
    let files = logs(dir.path());
    let index = files[0].with_extension("idx");
    std::fs::write(&index, [1; 4096]).unwrap();
    assert_eq!(verify(dir.path()).problems, [Problem::Index { file: name(&index) }]);
    std::fs::remove_file(&index).unwrap();
    let control = dir.path().join("control");
    let was = std::fs::read(&control).unwrap();
    std::fs::write(&control, [0; 8192]).unwrap();
    assert_eq!(verify(dir.path()).problems, [Problem::Control]);
    assert!(matches!(small().open(dir.path()), Err(JournalError::Control { .. })));
    std::fs::write(&control, was).unwrap();
    flip(&files[1], 40);
    let found = verify(dir.path()).problems;
    assert_eq!(found[0], Problem::Header { file: name(&files[1]) });
    let (from, to) = (first_of(&files[1]), first_of(&files[2]));
    assert_eq!(found[1..], [Problem::Lost { file: name(&files[2]), offset: 0, from, to }]);
    assert!(matches!(small().open(dir.path()), Err(JournalError::Damaged { .. })));
}

/// The story: from a wrong bit in a file of deletion marks on, all of it was taken for a torn end, and the records came
/// back.
#[test]
fn a_flipped_bit_among_deletion_marks_is_located_and_brings_nothing_back() {
    let dir = journal();
    {
        let journal = small().open(dir.path()).unwrap();
        journal.delete_durable(&[3, 4]).unwrap();
        journal.delete_durable(&[9]).unwrap();
    }
    let marks = of_kind(dir.path(), "del").remove(0);
    assert_eq!(verify(dir.path()).problems, []);
    // Two frames of 24 bytes, and one that says that they are durable.
    for (at, begin) in [(3, 0), (20, 0), (24, 24), (47, 24)] {
        flip(&marks, at);
        assert_eq!(verify(dir.path()).problems, [Problem::Marks { file: name(&marks), offset: begin }]);
        let refused = small().open(dir.path());
        assert!(matches!(refused, Err(JournalError::MarksDamaged { offset, .. }) if offset == begin), "{refused:?}");
        flip(&marks, at);
    }
    let journal = small().open(dir.path()).unwrap();
    assert!(matches!(journal.reader(Start::First).unwrap().get(9), Err(JournalError::Deleted { seq: 9 })));
    flip(&marks, 5);
    let mut reader = journal.reader(Start::First).unwrap();
    assert!(matches!(reader.try_next(), Err(JournalError::MarksDamaged { offset: 0, .. })));
}

/// The story: a file that was given up while all of them were looked through was an error, and what was written over it
/// was taken for damage.
#[test]
fn what_is_given_up_meanwhile_is_no_problem() {
    let dir = tempfile::tempdir().unwrap();
    let journal = small().file_bytes(1 << 20).open(dir.path()).unwrap();
    let mut appender = journal.appender().unwrap();
    let mut append = |count| {
        for _ in 0..count {
            appender.append(&[5; 200]).unwrap();
        }
        journal.sync().unwrap();
    };
    append(20_000);
    let mut is_pruned = false;
    // Called in the midst of the first file, when some of it was read.
    let found = Journal::verify(dir.path(), "", |_| {
        if !std::mem::replace(&mut is_pruned, true) {
            journal.prune(15_000).unwrap();
            append(7000);
        }
    });
    assert!(is_pruned);
    let found = found.unwrap();
    assert_eq!((found.problems.as_slice(), found.oldest), (&[][..], 15_000));
}

/// Damage is where it is: what is behind it in the same file, behind the mark of a later flush, is read by number and in
/// order, also by who may only read. The story (found by fuzzing): behind damage in records that had been given up, what was
/// appended and acknowledged was not found, though nothing was wrong with what was kept.
#[test]
fn what_is_behind_damage_is_read() {
    let dir = tempfile::tempdir().unwrap();
    let journal = small().file_bytes(1 << 20).open(dir.path()).unwrap();
    let mut appender = journal.appender().unwrap();
    for number in 0..100_u64 {
        appender.append_durable(&number.to_le_bytes()).unwrap();
    }
    journal.close().unwrap();
    drop(appender);
    let log = logs(dir.path()).pop().unwrap();
    let bytes = std::fs::read(&log).unwrap();
    // The payload behind the head of a record of eight bytes.
    let words: Vec<_> = bytes.as_chunks::<8>().0.iter().map(|word| u64::from_le_bytes(*word)).collect();
    let is_head = |word: u64| word & 0xffff_ffff == 1 << 24 | 8;
    let of = |number: u64| {
        let at = words.windows(2).position(|pair| is_head(pair[0]) && pair[1] == number).unwrap();
        8 * (at as u64 + 1)
    };
    // In a payload, and in the length of a frame.
    flip(&log, of(40));
    flip(&log, of(70) - 8);
    for is_read_only in [true, false] {
        let journal = small().read_only(is_read_only).open(dir.path()).unwrap();
        let mut reader = journal.reader(Start::First).unwrap();
        let (mut read, mut damaged) = (Vec::new(), Vec::new());
        while reader.position() < 100 {
            match reader.try_next() {
                Ok(Some(record)) => read.push((record.seq(), record.read::<u64>().unwrap())),
                Err(JournalError::Damaged { seq, .. }) => {
                    damaged.push(seq);
                    reader.seek(seq + 1).unwrap();
                }
                other => panic!("{other:?}"),
            }
        }
        assert_eq!((read.len(), damaged), (98, vec![40, 70]));
        assert!(read.iter().all(|(seq, number)| seq == number));
        for number in (0..100).filter(|number| ![40, 70].contains(number)) {
            assert_eq!(reader.get(number).unwrap().unwrap().read::<u64>().unwrap(), number);
        }
        assert!(matches!(reader.get(70), Err(JournalError::Damaged { seq: 70, .. })));
    }
}
