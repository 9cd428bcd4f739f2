//! What who only reads sees after a crash, before anybody has recovered the journal.

use super::{append, bytes_of, check_next, contents, made, only_read, small};
use shmlog::{Journal, JournalError, Start};
use std::path::Path;
use std::process::Command;

/// As a crash of all processes and of the machine would leave it.
fn crashed(dir: &Path, copy: &Path) {
    assert!(Command::new("cp").args(["-a", "--no-target-directory"]).args([dir, copy]).status().unwrap().success());
    std::fs::remove_dir_all(copy.join("front")).unwrap();
}

/// What is said of each record by its number.
fn records_of(journal: &Journal) -> Vec<String> {
    let mut reader = journal.reader(Start::First).unwrap();
    let mut get = |seq| format!("{:?}", reader.get(seq).map(|record| record.map(|record| record.to_vec())));
    (0..=540).map(&mut get).collect()
}

/// After a crash it sees what who recovers then finds, wherever the last file ends.
#[test]
fn after_a_crash_it_sees_what_recovery_finds() {
    let scratch = tempfile::tempdir().unwrap();
    let (dir, copy) = (scratch.path().join("journal"), scratch.path().join("copy"));
    let writer = made(&dir);
    writer.delete_durable(&[100]).unwrap();
    append(&writer, 40);
    // Written by who finds the front full, or because others ask for it; not known to be durable.
    writer.delete(&[520, 539]).unwrap();
    let newest = std::fs::read_dir(&dir).unwrap().map(|entry| entry.unwrap().file_name());
    let newest = newest.filter(|name| name.to_str().is_some_and(|name| name.ends_with(".log"))).max().unwrap();
    let mut ends = std::collections::BTreeSet::new();
    for cut in [0, 5000, 10_000, 11_000, 30_000, 40_000] {
        crashed(&dir, &copy);
        let file = std::fs::File::options().write(true).open(copy.join(&newest)).unwrap();
        let bytes = std::fs::read(copy.join(&newest)).unwrap();
        let end = bytes.iter().rposition(|&byte| byte != 0).unwrap() as u64;
        file.set_len(end.saturating_sub(cut)).unwrap();
        file.set_len(64 << 10).unwrap();
        let before = contents(&copy);
        let seen = only_read().open(&copy);
        // Before who recovers settles anything.
        let records = seen.as_ref().map(records_of).unwrap_or_default();
        assert!(contents(&copy) == before, "{cut}");
        let recovered = small().open(&copy);
        match (seen, recovered) {
            (Ok(seen), Ok(recovered)) => {
                let (found, recovery) = (seen.recovery().unwrap(), recovered.recovery().unwrap());
                assert_eq!((found.kept, found.durable), (recovery.kept, recovery.durable), "{cut}");
                assert_eq!((seen.next_seq(), seen.cursors()), (recovered.next_seq(), recovered.cursors()), "{cut}");
                assert_eq!(seen.durable(), found.durable, "{cut}: nobody has synced");
                assert!(records == records_of(&recovered), "{cut}: {records:?}");
                ends.insert(found.kept);
            }
            (Err(seen), Err(recovered)) => assert_eq!(seen.to_string(), recovered.to_string(), "{cut}"),
            (seen, recovered) => panic!("{cut}: {seen:?}, {recovered:?}"),
        }
        std::fs::remove_dir_all(&copy).unwrap();
    }
    assert!(ends.len() > 2, "{ends:?}");
}

/// What it saw at the end may not be on the disk, and who recovers then cuts it off; others get its numbers.
#[test]
fn an_end_that_is_cut_is_never_read_wrongly() {
    let scratch = tempfile::tempdir().unwrap();
    let (dir, copy) = (scratch.path().join("journal"), scratch.path().join("copy"));
    let writer = made(&dir);
    append(&writer, 40);
    writer.delete(&[520]).unwrap();
    crashed(&dir, &copy);
    let seen = only_read().open(&copy).unwrap();
    assert_eq!(seen.next_seq(), 540);
    let mut early = seen.reader(Start::At(505)).unwrap();
    check_next(&mut early, 506);
    // As if the kernel had lost it.
    let newest = std::fs::read_dir(&copy).unwrap().map(|entry| entry.unwrap().path());
    let newest = newest.filter(|path| path.extension().is_some_and(|kind| kind == "log")).max().unwrap();
    let mut bytes = std::fs::read(&newest).unwrap();
    let end = bytes.iter().rposition(|&byte| byte != 0).unwrap();
    bytes[end - 8000..].fill(0);
    std::fs::write(&newest, bytes).unwrap();
    let recovered = small().open(&copy).unwrap();
    let end = recovered.next_seq();
    assert!((506..540).contains(&end), "{end}");
    let mut appender = recovered.appender().unwrap();
    while recovered.next_seq() < 600 {
        appender.append_durable(b"another").unwrap();
    }
    let mut reader = seen.reader(Start::At(end)).unwrap();
    for seq in end..540 {
        for found in [reader.try_next(), seen.reader(Start::First).unwrap().get(seq)] {
            match found {
                Ok(Some(record)) => assert_eq!(record.bytes(), b"another", "record {seq}"),
                other => assert!(matches!(other, Err(JournalError::LeftBehind)), "{other:?}"),
            }
        }
    }
    // It had a part of the file before.
    while let Ok(Some(record)) = early.try_next() {
        let is_old = record.bytes() == bytes_of(record.seq());
        assert!(is_old || record.seq() >= end && record.bytes() == b"another");
    }
}

/// What recovery refuses to go on from is refused here too, in the same words.
#[test]
fn damage_is_told_as_by_who_recovers() {
    let scratch = tempfile::tempdir().unwrap();
    let (dir, copy) = (scratch.path().join("journal"), scratch.path().join("copy"));
    let writer = made(&dir);
    for seq in [3, 5, 7] {
        writer.delete_durable(&[seq]).unwrap();
    }
    crashed(&dir, &copy);
    drop(writer);
    for dir in [copy, dir] {
        let marks = dir.join("00000000000000000000.del");
        let mut bytes = std::fs::read(&marks).unwrap();
        bytes[10] ^= 1;
        std::fs::write(&marks, bytes).unwrap();
        let [seen, recovered] = [only_read(), small()].map(|builder| builder.open(&dir).unwrap_err());
        assert!(matches!(seen, JournalError::MarksDamaged { .. }), "{seen:?}");
        assert_eq!(seen.to_string(), recovered.to_string());
    }
}
