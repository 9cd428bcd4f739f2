//! The tool and a journal's directory.

mod common;

use common::{bad, good};
use serde_json::Value;
use shmlog::Journal;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

fn journal(dir: &Path) {
    let journal = Journal::builder().file_bytes(64 << 10).front_size(2, 64 << 10).open(dir).unwrap();
    let mut appender = journal.appender().unwrap();
    for number in 0..300_u64 {
        appender.append_durable(&[number.to_le_bytes()[0]; 500]).unwrap();
    }
    appender.append_parts(&[b"one", b"two\x1b"]).unwrap();
    journal.cursor("risk").unwrap().advance(7).unwrap();
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

#[test]
fn a_sound_journal_is_shown() {
    let dir = tempfile::tempdir().unwrap();
    journal(dir.path());
    let info = good(&["journal", "info"], dir.path());
    assert!(info.contains("records      0 to 300, durable below 301"), "{info}");
    assert!(info.contains("cursor       risk at 7, 294 behind"), "{info}");
    let info = json(&good(&["journal", "info", "--json"], dir.path()));
    assert_eq!((&info["next"], &info["cursors"]["risk"]), (&301.into(), &7.into()));
    assert!(good(&["journal", "verify"], dir.path()).starts_with("301 records in 3 files, "));
    assert_eq!(good(&["journal", "aside"], dir.path()), "nothing is put aside\n");
    assert!(bad(&["info"], dir.path()).contains("is a journal: look at it with `shmlog journal info"));
    let dump = good(&["journal", "dump", "--from", "299", "--format", "text"], dir.path());
    assert_eq!(dump.lines().skip(1).collect::<Vec<_>>(), ["300.0\t3\tone", "300.1\t4\ttwo\\u{1b}"]);
    let lengths = good(&["journal", "dump", "--to", "2", "--format", "length"], dir.path());
    assert_eq!(lengths, "0\t500\n1\t500\n");
    let last = json(&good(&["journal", "dump", "--from", "300", "--json"], dir.path()));
    assert_eq!((&last["seq"], &last["parts"][0]["text"]), (&300.into(), &"one".into()));
    assert_eq!(good(&["journal", "repair"], dir.path()), "there was nothing to repair\n");
}

/// The tool recovered a journal that it was to show, and so made durable, cut and put aside what nobody had asked it to.
#[test]
fn looking_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let (at, copy) = (dir.path().join("journal"), dir.path().join("copy"));
    journal(&at);
    let closed = good(&["journal", "info"], &at);
    assert!(closed.contains("closed       by the last"), "{closed}");
    let open = Journal::open(&at).unwrap();
    open.appender().unwrap().append_durable(b"more").unwrap();
    let appender = open.appender_named("desk").unwrap();
    let info = good(&["journal", "info"], &at);
    assert!(info.contains("front        16 MiB\n") && info.contains("  desk  "), "as others have it open: {info}");
    drop(appender);
    assert!(good(&["journal", "info"], &at).contains("front        16 MiB, no appender lives"));
    // As a crash would leave it.
    std::fs::create_dir(&copy).unwrap();
    for entry in std::fs::read_dir(&at).unwrap() {
        let path = entry.unwrap().path();
        std::fs::copy(&path, copy.join(path.file_name().unwrap())).unwrap();
    }
    let files = || {
        let mut files: Vec<_> = std::fs::read_dir(&copy).unwrap().map(|entry| entry.unwrap().path()).collect();
        files.sort();
        files.into_iter().map(|path| (std::fs::read(&path).unwrap(), path)).collect::<Vec<_>>()
    };
    let before = files();
    let info = good(&["journal", "info"], &copy);
    assert!(info.contains("records      0 to 301") && info.contains("not closed   "), "{info}");
    assert_eq!(good(&["journal", "dump", "--from", "301", "--format", "length"], &copy), "301\t4\n");
    assert!(good(&["journal", "cursors"], &copy).contains("risk"));
    assert!(good(&["journal", "verify"], &copy).starts_with("302 records"));
    assert!(files() == before);
}

#[test]
fn cursors_and_the_oldest_record_are_set() {
    let dir = tempfile::tempdir().unwrap();
    journal(dir.path());
    let table = good(&["journal", "cursors", "--set", "new=100"], dir.path());
    assert_eq!(table.split_whitespace().skip(3).collect::<Vec<_>>(), ["risk", "7", "294", "new", "100", "201"]);
    let left = good(&["journal", "cursors", "--remove", "risk", "--json"], dir.path());
    assert_eq!(json(&left), serde_json::json!({ "new": 100 }));
    assert!(bad(&["journal", "cursors", "--remove", "risk"], dir.path()).contains("there is no cursor"));
    assert!(bad(&["journal", "cursors", "--set", "risk"], dir.path()).contains("NAME=SEQ"));
    let ahead = bad(&["journal", "cursors", "--set", "new=1000"], dir.path());
    assert_eq!(ahead, "shmlog: record 1000 does not exist yet\n", "once");
    assert_eq!(good(&["journal", "cursors", "--remove", "new"], dir.path()), "there are no cursors\n");
    assert_eq!(good(&["journal", "prune", "--before", "200"], dir.path()), "the oldest record is 200\n");
    assert!(bad(&["journal", "dump", "--from", "5"], dir.path()).contains("given up"));
}

#[test]
fn damage_is_found_and_repaired() {
    let dir = tempfile::tempdir().unwrap();
    journal(dir.path());
    let file = dir.path().join("00000000000000000000.log");
    let mut bytes = std::fs::read(&file).unwrap();
    bytes[30_000] ^= 1;
    std::fs::write(&file, bytes).unwrap();
    let output = common::run(&["journal", "verify"], dir.path());
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(String::from_utf8(output.stderr).unwrap(), "shmlog: 1 problem found\n");
    assert!(!output.status.success() && text.contains("00000000000000000000.log: records 47 to 47 are gone"), "{text}");
    let repaired = good(&["journal", "repair"], dir.path());
    assert!(repaired.starts_with("records 47 to 47 are gone\nput aside: "), "{repaired}");
    let name = "00000000000000000047.torn-4";
    let info = good(&["journal", "info"], dir.path());
    assert!(info.contains(&format!("set aside    {name}, ")), "{info}");
    assert!(
        bad(&["journal", "aside", "--remove", "control"], dir.path())
            .contains("no file that was put aside has this name")
    );
    assert!(good(&["journal", "aside"], dir.path()).contains(name));
    let left = good(&["journal", "aside", "--remove-all", "--json"], dir.path());
    assert!(json(&left) == serde_json::json!([]) && !dir.path().join(name).exists());
    let found = json(&good(&["journal", "verify", "--json"], dir.path()));
    assert_eq!(found["missing"], serde_json::json!([[47, 48]]));
    assert!(bad(&["journal", "info"], &dir.path().join("no")).contains("no journal there"));
}

/// The story: a file that the tool had begun could be read by its user only, and others that had used the journal were
/// refused.
#[test]
fn what_is_made_is_for_whom_the_rest_is() {
    let dir = tempfile::tempdir().unwrap();
    let (at, copy) = (dir.path().join("journal"), dir.path().join("copy"));
    let journal = Journal::builder().file_bytes(64 << 10).mode(0o640).thread(false).open(&at).unwrap();
    journal.appender().unwrap().append_durable(b"one").unwrap();
    // As a crash would leave it: the file is cut, and another one begun.
    std::fs::create_dir(&copy).unwrap();
    for entry in std::fs::read_dir(&at).unwrap() {
        let path = entry.unwrap().path();
        std::fs::copy(&path, copy.join(path.file_name().unwrap())).unwrap();
    }
    good(&["journal", "cursors", "--set", "risk=1"], &copy);
    let files: Vec<_> = std::fs::read_dir(&copy).unwrap().map(|entry| entry.unwrap()).collect();
    assert!(files.iter().filter(|file| file.path().extension().is_some_and(|kind| kind == "log")).count() == 2);
    for file in files {
        assert_eq!(file.metadata().unwrap().mode() & 0o777, 0o640, "{}", file.path().display());
    }
}
