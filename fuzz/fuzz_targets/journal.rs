//! Opening, reading, verifying and repairing a journal whose files are bent in any way, with checksums that fail or hold.
#![no_main]

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use shmlog::{Journal, JournalError, Start};
use shmlog_fuzz::directory::{Bend, Past, bent, builder, exercise};
use std::path::Path;

#[derive(Arbitrary, Debug)]
enum Op {
    Verify,
    Look,
    Open,
    Append,
    Prune(u16),
    Repair,
}

/// What is acknowledged by a journal that could be opened and closed is there when it is opened again; if something else
/// is damaged, it may not be found.
fn append(dir: &Path, at: &Path) {
    let is_sound = Journal::verify(at, "", |_| {}).is_ok_and(|verified| verified.problems.is_empty());
    let Ok(journal) = builder(dir).open(at) else { return };
    let appended = journal.appender().and_then(|mut appender| appender.append_durable(b"appended"));
    let is_closed = journal.close().is_ok();
    let Ok(seq) = appended else { return };
    let journal = builder(dir).open(at).unwrap_or_else(|error| panic!("closed: {is_closed}; opened again: {error}"));
    let mut reader = journal.reader(Start::End).expect("a place on the board");
    match reader.get(seq) {
        Ok(Some(record)) => assert_eq!(record.bytes(), b"appended"),
        // The marks that were there may be about records to come.
        Err(JournalError::Deleted { .. } | JournalError::MarksDamaged { .. }) => {}
        Err(JournalError::Damaged { .. }) if !is_sound => {}
        other => panic!("record {seq}: {other:?}"),
    }
}

fuzz_target!(|input: (Past, Vec<Bend>, bool, Vec<Op>)| {
    let (past, bends, is_mended, ops) = input;
    let dir = bent(past, &bends[..bends.len().min(12)], is_mended);
    let at = dir.path().join("journal");
    for op in ops.iter().take(4) {
        match op {
            Op::Verify => drop(Journal::verify(&at, "", |_| {})),
            Op::Look => drop(Journal::open_read_only(&at).map(|journal| exercise(&journal))),
            Op::Open => drop(builder(dir.path()).open(&at).map(|journal| exercise(&journal))),
            Op::Append => append(dir.path(), &at),
            Op::Prune(before) => {
                if let Ok(journal) = builder(dir.path()).open(&at) {
                    let _ = journal.prune((*before).into());
                    let _ = journal.delete(&[(*before).into()]);
                    exercise(&journal);
                }
            }
            Op::Repair => drop(Journal::repair(&at, "")),
        }
    }
});
