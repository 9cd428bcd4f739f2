//! `shmlog slots` as people run it.

mod common;

use common::{bad, descriptor, good, run};
use serde_json::{Value, json};
use shmlog::{Log, Snapshot};
use std::fs;
use std::path::Path;

fn object(args: &[&str], path: &Path) -> Value {
    serde_json::from_str(&good(&[&["slots", "--json"], args].concat(), path)).unwrap()
}

/// The cells of the table that begins with `heading`, by row.
fn table<'t>(text: &'t str, heading: &str) -> Vec<Vec<&'t str>> {
    let rows = text.lines().skip_while(|line| !line.starts_with(heading)).skip(1);
    rows.take_while(|line| !line.is_empty()).map(|line| line.split_whitespace().collect()).collect()
}

#[test]
fn slots_of_a_named_snapshot() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("prices");
    let made = Snapshot::builder().values::<u64>().names(["AAPL", "MSFT\x1b"]).slots(3).create_at(&path).unwrap();
    let mut writer = made.writer_of(1).unwrap();
    writer.first().as_of(41).publish(&7_u64).unwrap();
    let mut reader = made.reader_of(1).unwrap();
    reader.set_name("desk");
    let pinned = reader.pin().unwrap();

    let text = good(&["slots"], &path);
    for line in [
        "name         prices",
        "slots        3 of 128 B, 1 published",
        "values       exactly 8 B, 4 buffers a slot",
        "sealed       no",
    ] {
        assert!(text.lines().any(|found| found == line), "{line} in {text}");
    }
    let pid = std::process::id().to_string();
    assert_eq!(table(&text, "slot  name"), [["1", "MSFT\\u{1b}", "1", "41", "8", "yes", "seat", "0"]]);
    assert_eq!(table(&text, "seat  name"), [["0", "desk", &pid, "yes", "1"]]);
    drop(pinned);
    drop(reader);

    let text = good(&["slots", "--all"], &path.join("snapshot"));
    let rows = table(&text, "slot  name");
    assert_eq!(rows[0], ["0", "AAPL", "0", "-", "0", "no", "-"]);
    assert_eq!(rows[1][5..], ["yes", "-"]);
    assert_eq!(rows[2][..3], ["2", "-", "0"]);
    assert!(text.lines().any(|line| line == "seats        none known"), "{text}");
}

#[test]
fn an_object_has_every_field() {
    let made = Snapshot::builder().names(["A"]).slots(2).write_sealed(true).create_memfd("slots-json").unwrap();
    let mut writer = made.writer().unwrap();
    writer.publish_bytes(b"first").unwrap();
    writer.publish_bytes(b"second").unwrap();
    let mut reader = made.reader().unwrap();
    let _pinned = reader.pin().unwrap().unwrap();
    let path = descriptor("/memfd:shmlog:slots-json:snapshot (deleted)");

    let found = object(&["--value"], &path);
    let info = made.info();
    assert_eq!(found["name"], "slots-json");
    assert_eq!(found["id"], format!("{:032x}", info.id));
    assert_eq!(found["region_bytes"], info.region_bytes);
    assert_eq!(found["allocated_bytes"], info.region_bytes);
    assert_eq!(found["is_write_sealed"], true);
    assert_eq!((&found["slot_count"], &found["published"], &found["damaged"]), (&json!(2), &json!(1), &json!(0)));
    let seat = json!({"seat": 0, "name": "", "pid": std::process::id(), "alive": true, "slot": 0});
    assert_eq!(found["seats"], json!([seat]));
    let slot = json!({
        "index": 0, "name": "A", "version": 2, "as_of": null, "len": 6, "writer": true, "pins": [seat],
        "hex": "7365636f6e64",
    });
    assert_eq!(found["slots"], json!([slot]));

    let all = object(&["--all"], &path);
    assert_eq!(all["slots"].as_array().unwrap().len(), 2);
    assert_eq!(all["slots"][0].get("hex"), None);
    assert_eq!((&all["slots"][1]["version"], &all["slots"][1]["name"]), (&json!(0), &Value::Null));
}

#[test]
fn values_are_dumped_whole() {
    let made = Snapshot::builder().names(["bytes", "empty", "never"]).sparse(true).create_memfd("slots-value").unwrap();
    let mut writer = made.writer().unwrap();
    writer.slot(0).unwrap().as_of(9).publish_bytes(b"0123456789abcdef\x1b[2J").unwrap();
    writer.slot(1).unwrap().publish_bytes(b"").unwrap();
    let text = good(&["slots", "--value", "--all"], &descriptor("/memfd:shmlog:slots-value:snapshot (deleted)"));
    let dumped = "
slot 0 bytes: version 1, as of 9, 20 bytes
00000000  30 31 32 33 34 35 36 37  38 39 61 62 63 64 65 66  |0123456789abcdef|
00000010  1b 5b 32 4a                                       |.[2J|

slot 1 empty: version 1, as of -, 0 bytes

slot 2 never: nothing published
";
    assert!(text.ends_with(dumped), "{text}");
    assert!(text.contains(", more as values need it\n"), "{text}");
}

#[test]
fn the_dead_are_told_from_the_living() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("state");
    let made = Snapshot::builder().create_at(&path).unwrap();
    made.writer().unwrap().publish_bytes(b"x").unwrap();
    // As a killed reader leaves it: signed, pinning, and no lock held.
    let mut reader = made.reader().unwrap();
    let board = {
        let _pinned = reader.pin().unwrap().unwrap();
        fs::read(path.join("pins")).unwrap()
    };
    drop(reader);
    fs::write(path.join("pins"), board).unwrap();
    let text = good(&["slots"], &path);
    let pid = std::process::id().to_string();
    // Without a name the cell is empty.
    assert_eq!(table(&text, "seat  name"), [["0", &pid, "no", "0"]]);
    assert_eq!(table(&text, "slot  name"), [["0", "-", "1", "-", "1", "no", "seat", "0"]]);
}

#[test]
fn a_snapshot_without_its_siblings_has_unknown_ones() {
    let made = Snapshot::builder().create_memfd("slots-lonely").unwrap();
    let mut writer = made.writer().unwrap();
    writer.publish_bytes(b"x").unwrap();
    let file = fs::File::open(descriptor("/memfd:shmlog:slots-lonely:snapshot (deleted)")).unwrap();
    let output = common::shmlog(&["slots"], Path::new("/proc/self/fd/0")).stdin(file).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success() && text.contains("seats        none known\n"), "{text}");
    assert_eq!(table(&text, "slot  name"), [["0", "-", "1", "-", "1", "unknown", "-"]]);
}

#[test]
fn a_damaged_slot_is_counted() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("state");
    let made = Snapshot::builder().slots(2).create_at(&path).unwrap();
    made.writer().unwrap().publish_bytes(b"whole").unwrap();
    let region = path.join("snapshot");
    let mut bytes = fs::read(&region).unwrap();
    // The one word that is the value's length.
    let at = bytes.windows(13).position(|words| words == b"\x05\0\0\0\0\0\0\0whole").unwrap();
    bytes[at + 7] = 0xFF;
    fs::write(&region, &bytes).unwrap();
    let text = good(&["slots", "--all"], &path);
    assert!(text.contains("damaged      1 slots can't be read"), "{text}");
    assert_eq!(table(&text, "slot  name").len(), 1);
    assert_eq!(object(&[], &path)["damaged"], 1);
}

#[test]
fn a_snapshot_is_left_as_it_was() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("state");
    let made = Snapshot::builder().create_at(&path).unwrap();
    made.writer().unwrap().publish_bytes(b"x").unwrap();
    let bytes = || ["snapshot", "pins", "writers"].map(|file| fs::read(path.join(file)).unwrap());
    let before = bytes();
    good(&["slots", "--all", "--value"], &path);
    object(&["--value"], &path);
    assert!(bytes() == before);
}

#[test]
fn a_log_and_a_snapshot_are_told_apart() {
    let dir = tempfile::tempdir().unwrap();
    let [feed, state] = ["feed", "state"].map(|name| dir.path().join(name));
    let _named = (Log::builder().create_at(&feed).unwrap(), Snapshot::builder().create_at(&state).unwrap());
    let _sparse = Snapshot::builder().capacity_bytes(1 << 30).sparse(true).create_memfd("apart").unwrap();
    let _log = Log::builder().create_memfd("apart").unwrap();
    let [open_log, open_snapshot] =
        ["log", "snapshot"].map(|what| descriptor(&format!("/memfd:shmlog:apart:{what} (deleted)")));
    for path in [state, open_snapshot] {
        for command in ["info", "dump"] {
            let said = bad(&[command], &path);
            let path = path.display();
            assert_eq!(
                said,
                format!("shmlog: {path} is a snapshot, not a log: look at it with `shmlog slots {path}`\n")
            );
        }
    }
    for path in [feed, open_log] {
        let said = bad(&["slots"], &path);
        let path = path.display();
        assert!(said.starts_with(&format!("shmlog: {path} is a log, not a snapshot: ")), "{said}");
        assert!(said.contains(&format!("`shmlog info {path}`")), "{said}");
    }
}

#[test]
fn what_is_no_snapshot_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let _snapshot = Snapshot::builder().create_memfd("slots-refused").unwrap();
    let pins = descriptor("/memfd:shmlog:slots-refused:pins (deleted)");
    for (path, complaint) in [
        (dir.path().join("nothing"), "nothing there"),
        (dir.path().to_owned(), "nothing there"),
        (Path::new("/proc/self/fd/999999").to_owned(), "nothing there"),
        (pins.clone(), "this is a board: name the snapshot's descriptor"),
    ] {
        let said = bad(&["slots"], &path);
        assert!(said.starts_with("shmlog: ") && said.contains(complaint), "{path:?}: {said}");
    }
    assert!(bad(&["info"], &pins).contains("this is the board of a snapshot"));
    assert_eq!(run(&["slots", "--sideways"], dir.path()).status.code(), Some(2));
}
