//! The durable suites, shortly: their figures mean nothing here, but that they come, that everything that was written is
//! read again (a trial that finds anything else has no figures), and that what is missing says why.

use serde_json::Value;
use std::process::Command;

/// Why a system may be missing.
const REASONS: &[&str] = &["built without", "every commit syncs", "never syncs", "nothing by number"];

fn run(words: &[&str]) -> Vec<Value> {
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let path = dir.path().to_str().unwrap();
    let fixed = ["--json", "--dir", path, "--seconds", "0.05", "--rounds", "1", "--sizes", "150"];
    let output = Command::new(env!("CARGO_BIN_EXE_compare")).args(words).args(fixed).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(std::fs::read_dir(&dir).unwrap().count(), 0, "trials leave nothing behind");
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// All rows have the figures of these names, or are missing for a reason; the limit and shmlog are there.
fn check(lines: &[Value], suite: &str, figures: &[&str]) {
    assert!(lines[0]["machine"]["file_system"].is_string(), "{}", lines[0]);
    for row in &lines[1..] {
        assert_eq!((&row["suite"], &row["bytes"]), (&suite.into(), &150.into()), "{row}");
        match row["missing"].as_str() {
            Some(why) => assert!(REASONS.iter().any(|reason| why.contains(reason)), "{row}"),
            None => figures.iter().for_each(|name| assert!(row[name].as_f64().unwrap() > 0.0, "{row}")),
        }
    }
    for system in ["raw", "shmlog"] {
        assert!(lines.iter().any(|row| row["system"] == system && row["missing"].is_null()), "{system}: {lines:?}");
    }
}

fn rows_of<'r>(lines: &'r [Value], system: &str) -> Vec<&'r Value> {
    lines.iter().filter(|row| row["system"] == system).collect()
}

#[test]
fn a_tiny_append() {
    let lines = run(&["journal-append"]);
    check(&lines, "journal-append", &["msgs_per_s", "synced_per_s", "ratio_to_limit"]);
    let appenders: Vec<_> = rows_of(&lines, "shmlog").iter().map(|row| row["appenders"].as_u64().unwrap()).collect();
    assert_eq!(appenders, [1, 2], "processes");
    assert_eq!(rows_of(&lines, "shmlog-threads")[0]["appenders"], 2);
    assert!(rows_of(&lines, "okaywal")[0]["missing"].is_string());
}

#[test]
fn a_tiny_commit() {
    let lines = run(&["journal-commit", "--writers", "1,5"]);
    check(&lines, "journal-commit", &["msgs_per_s", "p50_ns", "p99_ns", "ratio_to_limit"]);
    let cases: Vec<_> = rows_of(&lines, "shmlog").iter().map(|row| (&row["appenders"], &row["batch"])).collect();
    assert_eq!(cases, [(&1.into(), &1.into()), (&5.into(), &1.into()), (&1.into(), &100.into())]);
    assert_eq!(rows_of(&lines, "shmlog-parts")[0]["batch"], 100);
}

#[test]
fn a_tiny_scan() {
    check(&run(&["journal-scan", "--records", "3000"]), "journal-scan", &["msgs_per_s", "ratio_to_limit"]);
}

#[test]
fn a_tiny_random() {
    let lines = run(&["journal-random", "--records", "3000"]);
    check(&lines, "journal-random", &["p50_ns", "msgs_per_s", "ratio_to_limit"]);
}

#[test]
fn a_tiny_open() {
    check(&run(&["journal-open", "--records", "3000"]), "journal-open", &["p50_ns", "ratio_to_limit"]);
}

#[test]
fn memory_is_no_disk() {
    let dir = tempfile::tempdir_in("/dev/shm").unwrap();
    let words = ["journal-open", "--records", "10", "--seconds", "0.01", "--rounds", "1", "--systems", "raw", "--dir"];
    let output = Command::new(env!("CARGO_BIN_EXE_compare")).args(words).arg(dir.path()).output().unwrap();
    let (said, warned) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(said.contains("journals on tmpfs") && warned.contains("nothing is durable"), "{said} {warned}");
}

#[test]
fn a_record_must_have_room_for_what_it_says() {
    let output = Command::new(env!("CARGO_BIN_EXE_compare")).args(["journal-scan", "--sizes", "8"]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && said.contains("at least 16 bytes"), "{said}");
}
