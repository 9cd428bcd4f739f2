//! Marks of processes that died, of many files, and of no records.

use super::open_marks;
use crate::journal::files;
use crate::journal::files::marks::Marks;
use crate::journal::{Journal, JournalAppender, Problem};
use crate::log::Start;
use crate::sys::disk::Open;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

fn journal(dir: &Path) -> Journal {
    let journal = Journal::builder().file_bytes(64 << 10).front_size(2, 64 << 10).thread(false).open(dir).unwrap();
    let mut appender = journal.appender().unwrap();
    for number in 0..20_u64 {
        appender.append_value(&number).unwrap();
    }
    journal.sync().unwrap();
    journal
}

fn firsts(journal: &Journal) -> Vec<u64> {
    let core = journal.core();
    files::firsts(&*core.disk, &core.names).unwrap()
}

/// Appends until there is a second file. Returns its first record.
fn begin_second(journal: &Journal, appender: &mut JournalAppender) -> u64 {
    while firsts(journal).len() < 2 {
        appender.append_durable(&[1; 1000]).unwrap();
    }
    firsts(journal)[1]
}

fn marks(journal: &Journal) -> Marks {
    let core = journal.core();
    let info = files::open(&*core.disk, &core.names, core.id, 0).unwrap();
    let mut marks = Marks::open(&*core.disk, &core.names, &info.header, Open::Create).unwrap();
    marks.read().unwrap();
    marks
}

/// The story: a process died when it had written its mark, and before it was counted. Who deleted the same record next
/// found it deleted, did nothing, and was told that it is durable, though nobody had synced it.
#[test]
fn a_mark_whose_process_died_is_counted_and_synced_by_the_next() {
    let dir = tempfile::tempdir().unwrap();
    let journal = journal(dir.path());
    let state = &journal.core().state;
    state.set_marking(Some(0));
    marks(&journal).append(&[5], true).unwrap();
    let before = state.marks();
    assert_eq!(journal.delete_durable(&[5]).unwrap(), 0);
    assert!(state.marks() > before && state.marks_durable() == state.marks());
    assert_eq!((state.marking(), state.dirty_marks()), (None, vec![]), "it was dirty until that sync");
}

/// Nobody says of a mark that it is durable while it may not be: so the sync of somebody else's marks does not count.
#[test]
fn what_a_dead_process_marked_stays_dirty() {
    let dir = tempfile::tempdir().unwrap();
    let journal = journal(dir.path());
    let core = journal.core();
    core.state.marks_changed();
    core.state.set_marking(Some(0));
    assert!(core.state.mark_dirty(0));
    core.sync_marks().unwrap();
    assert_eq!(core.state.dirty_marks(), [0]);
}

/// More files than there is room for in the list of those that are to be synced.
#[test]
fn any_number_of_files_is_marked_between_syncs() {
    let dir = tempfile::tempdir().unwrap();
    let journal = journal(dir.path());
    let mut appender = journal.appender().unwrap();
    for _ in 20..70 {
        appender.append(&[1; 30_000]).unwrap();
    }
    journal.sync().unwrap();
    let seqs: Vec<_> = (1..70).step_by(2).collect();
    assert_eq!(journal.delete(&seqs).unwrap(), seqs.len() as u64);
    drop((appender, journal));
    let journal = Journal::open(dir.path()).unwrap();
    let mut reader = journal.reader(Start::First).unwrap();
    let found: Vec<_> = std::iter::from_fn(|| reader.try_next().unwrap().map(|record| record.seq())).collect();
    assert_eq!(found, (0..70).step_by(2).collect::<Vec<_>>());
}

/// The story: a file was given up between the listing of the directory and the opening of its marks, which go before it.
/// Who read meanwhile was told that there is no such file.
#[test]
fn marks_that_are_given_up_while_they_are_looked_for_are_no_error() {
    let dir = tempfile::tempdir().unwrap();
    let journal = journal(dir.path());
    for (first, how) in [(0, Open::Read), (0, Open::Write), (7, Open::Read)] {
        assert!(open_marks(journal.core(), first, how).unwrap().is_none());
    }
}

#[test]
fn a_mark_of_no_record_is_found() {
    let dir = tempfile::tempdir().unwrap();
    let journal = journal(dir.path());
    marks(&journal).append(&[5, 33], true).unwrap();
    let found = || Journal::verify(dir.path(), "", |_| {}).unwrap().problems;
    assert_eq!(found(), [], "a crash may leave that, and it is not said to be there for good");
    let core = std::sync::Arc::clone(journal.core());
    core.seal_marks().unwrap();
    assert_eq!(found(), [Problem::Marked { file: core.names.marks(0), seq: 33 }]);
}

/// The story: a file whose records were all deleted while it was the last one never gave its room back.
#[test]
fn a_file_that_is_full_after_its_records_were_deleted_is_emptied() {
    let dir = tempfile::tempdir().unwrap();
    let journal = journal(dir.path());
    let core = journal.core();
    let firsts = || firsts(&journal);
    let mut appender = journal.appender().unwrap();
    let middle = begin_second(&journal, &mut appender);
    let mut append = || appender.append_durable(&[1; 1000]).unwrap();
    journal.delete(&[middle]).unwrap();
    while firsts().len() < 3 {
        let seq = append();
        if firsts().len() < 3 {
            journal.delete(&[seq]).unwrap();
        }
    }
    let blocks = || std::fs::metadata(dir.path().join(core.names.log(middle))).unwrap().blocks();
    let full = blocks();
    while core.index_ahead().unwrap() {}
    assert!(blocks() < full, "{} of {full} blocks", blocks());
    assert_eq!(Journal::verify(dir.path(), "", |_| {}).unwrap().problems, []);
    let mut reader = journal.reader(Start::First).unwrap();
    let read: Vec<_> = std::iter::from_fn(|| reader.try_next().unwrap().map(|record| record.seq())).collect();
    assert_eq!((read.len() as u64, read.last()), (middle + 1, Some(&firsts()[2])));
}

/// A file that one who died had begun, and nobody else knows of, does not make the one before it full.
#[test]
fn the_file_that_is_written_to_is_not_emptied() {
    let dir = tempfile::tempdir().unwrap();
    let journal = journal(dir.path());
    let core = journal.core();
    let last = begin_second(&journal, &mut journal.appender().unwrap());
    let end = journal.next_seq();
    journal.delete_durable(&(last..end).collect::<Vec<_>>()).unwrap();
    std::fs::write(dir.path().join(core.names.log(end)), [0; 4096]).unwrap();
    while core.index_ahead().unwrap() {}
    let file = core.disk.open(&core.names.log(last), Open::Read).unwrap();
    let mut bytes = [0; 2000];
    file.read_at(&mut bytes, 4096).unwrap();
    assert!(bytes.contains(&1), "its frames are there");
}

/// The story (found by fuzzing): a mark with a checksum that holds, of a record that no file has room for, took half a GiB.
#[test]
fn marks_of_records_that_no_file_has_room_for_are_none() {
    let dir = tempfile::tempdir().unwrap();
    let journal = journal(dir.path());
    let mut marks = marks(&journal);
    marks.append(&[3], true).unwrap();
    marks.append(&[u32::MAX], true).unwrap();
    let core = journal.core();
    let info = files::open(&*core.disk, &core.names, core.id, 0).unwrap();
    let read = Marks::load(&*core.disk, &core.names, &info.header).unwrap().unwrap();
    assert!(read.has(3) && read.last() == Some(3));
}

/// The story: a process was killed when it had begun a file, and before the cursors were in it. The file before, where they
/// were, was emptied: after a power failure they were where they had been a file earlier.
#[test]
fn a_file_is_emptied_when_the_next_one_has_the_cursors() {
    let (dir, copy) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let journal = journal(dir.path());
    let core = journal.core();
    let mut appender = journal.appender().unwrap();
    let middle = begin_second(&journal, &mut appender);
    let cursor = journal.cursor("consumer").unwrap();
    cursor.advance(middle).unwrap();
    cursor.sync().unwrap();
    journal.delete_durable(&(middle..journal.next_seq()).collect::<Vec<_>>()).unwrap();
    core.flusher.lock().unwrap().next_file(core, &mut core.state.progress()).unwrap();
    while core.index_ahead().unwrap() {}
    let blocks = || std::fs::metadata(dir.path().join(core.names.log(middle))).unwrap().blocks();
    let full = blocks();
    for name in core.disk.names().unwrap() {
        std::fs::copy(dir.path().join(&name), copy.path().join(&name)).unwrap();
    }
    let copied = Journal::builder().thread(false).open(copy.path()).unwrap();
    assert_eq!(copied.cursors(), [("consumer".to_owned(), middle)]);
    appender.append(&[2]).unwrap();
    while core.index_ahead().unwrap() {}
    assert!(blocks() < full, "{} of {full} blocks", blocks());
}
