use super::*;
use crate::args::Role;
use clap::Parser;
use shmlog::Retention;
use std::io::{BufRead, BufReader};
use std::os::unix::net::UnixStream;
use std::path::Path;

fn log_of(records: u64) -> Log {
    let log = Log::builder().windows(2).window_bytes(64 << 10).retention(Retention::Overwrite);
    let log = log.create_memfd("feed").unwrap();
    append(&log, 0, records);
    log
}

fn append(log: &Log, from: u64, to: u64) {
    let mut appender = log.exclusive().unwrap();
    for seq in from..to {
        appender.append(Stamped::new().set(seq, &seq.to_le_bytes())).unwrap();
    }
}

/// What the recorder says to its parent.
fn record(log: &Log, dir: &Path) -> Result<Vec<Value>> {
    let args = Args::parse_from(["market".as_ref(), "--journal".as_ref(), dir.as_os_str()]);
    let (ours, theirs) = UnixStream::pair().unwrap();
    run(log, &args, Parent::over(theirs, Role::Recorder))?;
    let lines = BufReader::new(ours).lines();
    Ok(lines.map(|line| serde_json::from_str(&line.unwrap()).unwrap()).collect())
}

fn check(dir: &Path, records: u64) {
    let journal = Journal::builder().open_existing(dir).unwrap();
    let mut reader = journal.reader(Start::First).unwrap();
    for seq in 0..records {
        let record = reader.try_next().unwrap().unwrap();
        assert_eq!((record.seq(), record.bytes()), (seq, Stamped::new().set(seq, &seq.to_le_bytes())));
    }
    assert_eq!(journal.next_seq(), records);
}

#[test]
fn it_goes_on_where_the_journal_ends() {
    let dir = tempfile::tempdir().unwrap();
    let log = log_of(1000);
    // The parent's end is open, so that the recorder is no orphan: the log's end is what ends it.
    log.exclusive().unwrap().close().unwrap();
    let said = record(&log, dir.path()).unwrap();
    assert_eq!((&said[0]["from_seq"], &said[1]["durable"]), (&json!(0), &json!(1000)));
    assert_eq!(said.last().unwrap(), &json!({ "records": 1000, "durable": 1000 }));
    check(dir.path(), 1000);
    let longer = log_of(1500);
    longer.exclusive().unwrap().close().unwrap();
    let said = record(&longer, dir.path()).unwrap();
    assert_eq!((&said[0]["from_seq"], &said[0]["recovery"]["kept"]), (&json!(1000), &json!(1000)));
    assert_eq!(said.last().unwrap(), &json!({ "records": 500, "durable": 1500 }));
    check(dir.path(), 1500);
}

/// Neither a gap nor what is of another feed is recorded.
#[test]
fn a_log_that_has_not_the_next_record_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let log = log_of(10);
    log.exclusive().unwrap().close().unwrap();
    record(&log, dir.path()).unwrap();
    let told = |log: &Log| format!("{:#}", record(log, dir.path()).unwrap_err());
    let gone = told(&log_of(20_000));
    assert!(gone.starts_with("the journal goes on with record 10 of the log: record 10 has been given up"), "{gone}");
    let other = told(&log_of(5));
    assert!(other.starts_with("the journal goes on with record 10 of the log: "), "{other}");
    check(dir.path(), 10);
}
