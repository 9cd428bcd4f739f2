//! Indexes are made when files are full, and never trusted.

use crate::common::eventually;
use crate::files::{of_kind, small, still};
use shmlog::Start;
use std::os::unix::fs::FileExt;
use std::path::Path;

const COUNT: u64 = 2000;

/// A journal whose full files have indexes.
fn indexed() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let journal = small().open(dir.path()).unwrap();
    let mut appender = journal.appender().unwrap();
    for number in 0..COUNT {
        appender.append(&[number.to_le_bytes()[0]; 300][..100 + usize::try_from(number % 200).unwrap()]).unwrap();
    }
    journal.sync().unwrap();
    eventually(|| {
        let (indexes, logs) = (of_kind(dir.path(), "idx").len(), of_kind(dir.path(), "log").len());
        if indexes + 1 == logs { Ok(()) } else { Err((indexes, logs)) }
    });
    dir
}

fn check(dir: &Path) {
    let journal = still().open(dir).unwrap();
    let mut reader = journal.reader(Start::First).unwrap();
    for number in (0..COUNT).rev() {
        let record = reader.get(number).unwrap().unwrap();
        let len = 100 + usize::try_from(number % 200).unwrap();
        assert_eq!(record.bytes(), &[number.to_le_bytes()[0]; 300][..len], "{number}");
    }
}

#[test]
fn full_files_have_indexes_and_go_without() {
    let dir = indexed();
    check(dir.path());
    for index in of_kind(dir.path(), "idx") {
        std::fs::remove_file(index).unwrap();
    }
    check(dir.path());
}

#[test]
fn a_wrong_index_is_no_matter() {
    let dir = indexed();
    let indexes = of_kind(dir.path(), "idx");
    // Wrong offsets, offsets beyond the end, another file's index, half of one, none of one.
    let edit = |at: usize| std::fs::File::options().write(true).open(&indexes[at]).unwrap();
    edit(0).write_all_at(&[3; 200], 64).unwrap();
    edit(1).write_all_at(&[255; 200], 64).unwrap();
    std::fs::copy(&indexes[4], &indexes[2]).unwrap();
    edit(3).set_len(4096).unwrap();
    edit(4).write_all_at(&[7; 64], 0).unwrap();
    edit(5).set_len(0).unwrap();
    check(dir.path());
}

/// The story (found by fuzzing): a file whose unused end somebody had cut off within a page could be opened, appended to and read
/// in order, but no record of it by number.
#[test]
fn a_file_that_ends_within_a_page_is_read_by_number() {
    let dir = indexed();
    still().open(dir.path()).unwrap().close().unwrap();
    let last = of_kind(dir.path(), "log").pop().unwrap();
    let file = std::fs::File::options().write(true).open(&last).unwrap();
    file.set_len(file.metadata().unwrap().len() - 367).unwrap();
    let journal = still().open(dir.path()).unwrap();
    let seq = journal.appender().unwrap().append_durable(b"behind it").unwrap();
    journal.close().unwrap();
    check(dir.path());
    let journal = still().open(dir.path()).unwrap();
    assert_eq!(journal.reader(Start::End).unwrap().get(seq).unwrap().unwrap().bytes(), b"behind it");
    assert_eq!(shmlog::Journal::verify(dir.path(), "", |_| {}).unwrap().problems, []);
}
