//! Deleting single records.

use crate::files::{first_of, logs, still};
use shmlog::{Journal, JournalError, Start};
use std::collections::BTreeSet;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

const COUNT: u64 = 600;

fn filled(dir: &Path) -> Journal {
    let journal = still().open(dir).unwrap();
    let mut appender = journal.appender().unwrap();
    for number in 0..COUNT {
        appender.append(&[number.to_le_bytes()[0]; 400]).unwrap();
    }
    journal
}

/// By order and by number.
fn check(journal: &Journal, deleted: &BTreeSet<u64>) {
    let expected: Vec<_> = (journal.oldest()..journal.next_seq()).filter(|seq| !deleted.contains(seq)).collect();
    let mut reader = journal.reader(Start::Oldest).unwrap();
    let mut found = Vec::new();
    while let Some(record) = reader.try_next().unwrap() {
        assert_eq!(record.bytes(), [record.seq().to_le_bytes()[0]; 400]);
        found.push(record.seq());
    }
    assert_eq!(found, expected);
    for seq in journal.oldest()..journal.next_seq() {
        match reader.get(seq) {
            Ok(Some(record)) => assert!(record.seq() == seq && !deleted.contains(&seq)),
            Err(JournalError::Deleted { seq: named }) => assert!(named == seq && deleted.contains(&seq)),
            other => panic!("{seq}: {other:?}"),
        }
    }
}

#[test]
fn deleted_records_are_gone_for_everybody_and_for_good() {
    let dir = tempfile::tempdir().unwrap();
    let deleted: BTreeSet<u64> = (0..COUNT).filter(|seq| seq % 7 == 3 || (200..230).contains(seq)).collect();
    {
        let journal = filled(dir.path());
        let other = still().open(dir.path()).unwrap();
        let mut reading = other.reader(Start::First).unwrap();
        assert_eq!(reading.try_next().unwrap().unwrap().seq(), 0);
        let list: Vec<_> = deleted.iter().copied().collect();
        assert_eq!(journal.delete(&list[..10]).unwrap(), 10);
        assert_eq!(other.delete(&list).unwrap(), list.len() as u64 - 10, "ten were deleted before");
        assert_eq!(journal.delete_durable(&list).unwrap(), 0);
        check(&journal, &deleted);
        check(&other, &deleted);
        assert_eq!(
            std::iter::from_fn(|| reading.try_next().unwrap().map(|record| record.seq())).take(4).collect::<Vec<_>>(),
            [1, 2, 4, 5]
        );
        // The newest, which is only in memory when it is deleted.
        let mut appender = journal.appender().unwrap();
        let seq = appender.append(&[COUNT.to_le_bytes()[0]; 400]).unwrap();
        assert_eq!(other.delete(&[seq, seq]).unwrap(), 1);
    }
    let journal = still().open(dir.path()).unwrap();
    let mut all = deleted.clone();
    all.insert(COUNT);
    check(&journal, &all);
    assert_eq!(Journal::verify(dir.path(), "", |_| {}).unwrap().problems, []);
}

#[test]
fn a_file_of_deleted_records_gives_its_room_back() {
    let dir = tempfile::tempdir().unwrap();
    // The first record of each, and the bytes that it takes.
    let files = || -> Vec<(u64, u64)> {
        logs(dir.path()).iter().map(|file| (first_of(file), file.metadata().unwrap().blocks() * 512)).collect()
    };
    let journal = filled(dir.path());
    journal.sync().unwrap();
    let before = files();
    // All of the third file: emptied. All of the first: gone.
    let third: Vec<_> = (before[2].0..before[3].0).collect();
    journal.delete(&third).unwrap();
    assert_eq!(files()[2], (before[2].0, 4096));
    check(&journal, &third.iter().copied().collect());
    journal.delete(&(0..before[1].0).collect::<Vec<_>>()).unwrap();
    assert_eq!(files()[0], before[1]);
    assert_eq!(journal.oldest(), before[1].0);
    check(&journal, &third.iter().copied().collect());
    drop(journal);
    let journal = still().open(dir.path()).unwrap();
    check(&journal, &third.iter().copied().collect());
    assert_eq!(Journal::verify(dir.path(), "", |_| {}).unwrap().problems, []);
}

#[test]
fn what_can_not_be_deleted_is_said() {
    let dir = tempfile::tempdir().unwrap();
    let journal = filled(dir.path());
    assert!(matches!(journal.delete(&[5, COUNT]), Err(JournalError::Join(_))), "there is no such record");
    journal.sync().unwrap();
    journal.prune(100).unwrap();
    assert!(matches!(journal.delete(&[100, 99]), Err(JournalError::GivenUp { seq: 99, oldest: 100 })));
    assert_eq!(journal.delete(&[]).unwrap(), 0);
    check(&journal, &BTreeSet::new());
}

/// The story: a record was deleted before it was durable, and did not survive the crash, but its mark did. The record that
/// got its number next was born deleted.
#[test]
fn a_mark_does_not_outlive_its_record() {
    let (dir, image) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let journal = still().open(dir.path()).unwrap();
    let mut appender = journal.appender().unwrap();
    for number in 0..10_u8 {
        appender.append(&[number; 400]).unwrap();
    }
    journal.delete(&[2, 8]).unwrap();
    for entry in std::fs::read_dir(dir.path()).unwrap() {
        let path = entry.unwrap().path();
        std::fs::copy(&path, image.path().join(path.file_name().unwrap())).unwrap();
    }
    // Of the only flush, the records from the sixth on did not reach the disk.
    let file = std::fs::File::options().write(true).open(image.path().join("00000000000000000000.log")).unwrap();
    let sixth = 4096 + 32 + 8 + 5 * 408;
    std::os::unix::fs::FileExt::write_all_at(&file, &[0; 5 * 408], sixth).unwrap();
    let recovered = still().open(image.path()).unwrap();
    assert_eq!(recovered.recovery().unwrap().kept, 5);
    let mut appender = recovered.appender().unwrap();
    for number in 5..10_u8 {
        appender.append(&[number; 400]).unwrap();
    }
    check(&recovered, &BTreeSet::from([2]));
}

/// The story: each of many records of one call was looked for among all before it.
#[test]
fn very_many_records_are_deleted_by_one_call_each_once() {
    const MANY: u64 = 100_000;
    let dir = tempfile::tempdir().unwrap();
    let journal = still().file_bytes(4 << 20).front_size(4, 1 << 20).open(dir.path()).unwrap();
    let mut appender = journal.appender().unwrap();
    (0..MANY).for_each(|number| assert_eq!(appender.append_value(&number).unwrap(), number));
    let twice: Vec<_> = (0..MANY).chain((0..MANY).rev()).collect();
    assert_eq!(journal.delete(&twice).unwrap(), MANY);
    assert!(journal.reader(Start::Oldest).unwrap().try_next().unwrap().is_none());
}
