//! The main job, run as a user runs it: `cargo test` builds the example beside the tests.

mod recording;

use serde_json::Value;
use std::fs::{read_dir, read_to_string};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(60);

fn market(args: &[&str]) -> Command {
    let profile = std::env::current_exe().unwrap().ancestors().nth(2).map(Path::to_owned).unwrap();
    let mut command = Command::new(profile.join("examples/market"));
    command.args(args).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn run(args: &[&str]) -> Output {
    market(args).output().expect("the example is there: `cargo test` builds it, `cargo build --examples` too")
}

/// The JSON object that a run prints, whatever its exit status.
fn json(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"))
}

/// Tries until there is something.
fn wait_for<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let started = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(started.elapsed() < PATIENCE, "waited for {what} in vain");
        std::thread::yield_now();
    }
}

/// A number in the key-value lines of /proc/PID/status; `None` if the process is gone or a zombie.
fn parent_of(pid: u32) -> Option<u32> {
    let status = read_to_string(format!("/proc/{pid}/status")).ok()?;
    let field = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
    if field("State:")?.starts_with('Z') { None } else { field("PPid:")?.parse().ok() }
}

/// The workers of a running parent, by a word of their command line.
fn workers(parent: u32, word: &str) -> Vec<u32> {
    let pids = read_dir("/proc").unwrap().filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    let is_worker = |&pid: &u32| {
        let words = read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        parent_of(pid) == Some(parent) && words.split('\0').any(|one| one.contains(word))
    };
    pids.filter(is_worker).collect()
}

fn kill(pid: u32) {
    let pid = nix::unistd::Pid::from_raw(pid.try_into().unwrap());
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL).unwrap();
}

fn finish(child: Child) -> Output {
    child.wait_with_output().unwrap()
}

/// A worker of a running parent, once it has something of the hub's mapped.
fn attached(parent: &Child, role: &str) -> u32 {
    let worker = wait_for(role, || workers(parent.id(), role).pop());
    wait_for("it to attach", || is_attached(worker).then_some(worker))
}

fn is_attached(pid: u32) -> bool {
    read_to_string(format!("/proc/{pid}/maps")).is_ok_and(|maps| maps.contains("shmlog"))
}

/// What became of a worker.
fn outcome(report: &Value, role: &str) -> Value {
    let fates = report["workers"].as_array().unwrap();
    fates.iter().find(|worker| worker["role"] == role).expect("every role is reported")["outcome"].clone()
}

/// Late has the books of those who were there from the start, and replayed no record that was in what it
/// restored.
fn assert_late_restored(report: &Value) {
    let late = &report["late"];
    assert_eq!(late["state_equal"], true, "{report}");
    let as_of = late["snapshot_as_of"].as_u64().expect("a state was published");
    assert!(as_of > 0);
    assert_eq!(late["from_seq"], as_of + 1, "{report}");
    assert_eq!(late["replayed"], report["messages"].as_u64().unwrap() - 1 - as_of, "{report}");
    assert_eq!(late["note"], Value::Null);
}

/// One message behind its length: a system event.
fn system_event(code: u8) -> Vec<u8> {
    let mut frame = vec![0, 12, b'S'];
    frame.extend([0; 10]);
    frame.push(code);
    frame
}

fn file_of(frames: &[Vec<u8>], dir: &Path) -> PathBuf {
    let path = dir.join("feed.itch50");
    std::fs::write(&path, frames.concat()).unwrap();
    path
}

#[test]
fn all_workers_agree_on_every_backing_and_retention() {
    for (pages, retention, workers) in [
        ("small", "gated", "1"),
        ("small", "keep", "4"),
        ("small", "overwrite", "2"),
        ("file", "gated", "1"),
        ("prefer", "keep", "1"),
    ] {
        let args = ["--json", "--messages", "20000", "--pages", pages, "--retention", retention, "--workers", workers];
        let output = run(&args);
        assert!(output.status.success(), "{args:?}: {output:?}");
        let report = json(&output);
        assert_eq!(report["messages"], 20_000);
        let by_type = report["by_type"].as_object().unwrap();
        assert_eq!(by_type.values().map(|count| count.as_u64().unwrap()).sum::<u64>(), 20_000);
        assert_eq!(report["unknown_refs"], 0);
        assert_late_restored(&report);
        assert!(report["late"]["joined_at_seq"].as_u64().unwrap() >= 9_000, "{report}");
        assert_eq!(report["bids_top10"].as_array().unwrap().len(), 10);
        assert!(report["latency_ns"]["p50"].as_u64().unwrap() > 0);
        assert!(report["backing"].is_string());
        assert!(report["watch"]["loads"].as_u64().unwrap() > 0, "{report}");
        assert_eq!((&report["watch"]["symbols"], &report["watch"]["equal"]), (&8.into(), &true.into()), "{report}");
        assert_eq!(report["agree"], true, "{report}");
    }
}

/// The log has come round when late joins: what it restores makes up for the records that are gone.
#[test]
fn late_needs_no_record_that_the_books_hold() {
    for (retention, every) in [("gated", "1000000"), ("gated", "500"), ("overwrite", "2000")] {
        let args = ["--json", "--messages", "300000", "--size", "4", "--retention", retention];
        let output = run(&[&args[..], &["--snapshot-every", every]].concat());
        assert!(output.status.success(), "{output:?}");
        let report = json(&output);
        assert_eq!(report["messages"], 300_000);
        assert_eq!(report["watch"]["equal"], true, "{report}");
        assert_eq!(report["owner"]["states_end"], Value::Null, "the owner misses nothing: {report}");
        if retention == "gated" {
            assert_late_restored(&report);
        } else {
            assert!(report["late"]["snapshot_as_of"].as_u64().unwrap() > 0, "{report}");
        }
    }
}

#[test]
fn a_damaged_file_names_the_offset_and_keeps_what_came_before() {
    let dir = tempfile::tempdir().unwrap();
    let good = [system_event(b'O'), system_event(b'S'), system_event(b'Q')];
    let mut truncated = good.to_vec();
    truncated.push(system_event(b'M')[..7].to_vec());
    let mut damaged = good.to_vec();
    damaged.extend([vec![0, 3, b'?', 1, 2], system_event(b'M')]);
    for frames in [truncated, damaged] {
        let path = file_of(&frames, dir.path());
        let output = run(&["--json", "--input", path.to_str().unwrap()]);
        assert!(!output.status.success());
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(errors.contains("at byte 42"), "{errors}");
        assert_eq!(json(&output)["messages"], 3);
        assert_eq!(json(&output)["by_type"]["S"], 3);
    }
}

#[test]
fn a_worker_that_is_killed_stops_nobody() {
    let child = market(&["--json", "--messages", "150000", "--rate", "50000"]).spawn().unwrap();
    kill(attached(&child, "tally"));
    let report = json(&finish(child));
    assert_eq!(report["messages"], 150_000);
    assert_eq!(report["late"]["state_equal"], true, "{report}");
    assert_eq!(report["watch"]["equal"], true, "{report}");
    assert_eq!(outcome(&report, "book-0"), "done", "{report}");
    assert_eq!(outcome(&report, "tally"), "killed by signal 9", "{report}");
}

/// Neither a log that holds the whole feed nor one that comes round waits for what a dead owner held.
#[test]
fn an_owner_that_is_killed_stops_nobody() {
    for size in ["64", "4"] {
        let args = ["--json", "--messages", "150000", "--rate", "75000", "--workers", "2", "--size", size];
        let child = market(&args).spawn().unwrap();
        kill(attached(&child, "book-1"));
        let output = finish(child);
        assert!(output.status.success(), "{output:?}");
        let report = json(&output);
        assert_eq!(report["messages"], 150_000);
        assert_eq!(outcome(&report, "book-1"), "killed by signal 9", "{report}");
        for role in ["book-0", "tally", "late", "watch"] {
            assert_eq!(outcome(&report, role), "done", "{report}");
        }
        assert_eq!(report["watch"]["equal"], Value::Null, "nobody says what it should have seen: {report}");
        assert_eq!(report["bids_top10"].as_array().unwrap().len(), 10);
        if size == "64" {
            assert_eq!(report["late"]["state_equal"], true, "{report}");
        }
    }
}

#[test]
fn workers_of_a_killed_parent_drain_and_end() {
    let mut child = market(&["--json", "--messages", "1000000", "--rate", "50000"]).spawn().unwrap();
    let parent = child.id();
    let all = wait_for("three workers that have attached", || {
        let all = workers(parent, "--worker");
        (all.len() >= 3 && all.iter().all(|&pid| is_attached(pid))).then_some(all)
    });
    kill(parent);
    child.wait().unwrap();
    wait_for("the workers to end", || all.iter().all(|&pid| parent_of(pid).is_none()).then_some(()));
}

/// Recorded feeds with their truth, where there are any: `SHMLOG_DATA` names a directory of pairs
/// `NAME.itch50` and `NAME.itch50.truth.json`.
fn recorded_feeds() -> Option<impl Iterator<Item = (PathBuf, Value)>> {
    let Some(dir) = std::env::var_os("SHMLOG_DATA") else {
        println!("skipped: SHMLOG_DATA names no directory of recorded feeds");
        return None;
    };
    let feeds = read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    let feeds = feeds.filter(|path| path.extension().is_some_and(|extension| extension == "itch50"));
    Some(feeds.map(|feed| {
        let truth = read_to_string(format!("{}.truth.json", feed.display())).unwrap();
        (feed, serde_json::from_str(&truth).unwrap())
    }))
}

#[test]
fn recorded_feeds_agree_with_their_truth() {
    let Some(feeds) = recorded_feeds() else { return };
    let mut compared = 0;
    for (feed, truth) in feeds {
        for args in [
            ["--workers", "1", "--pages", "small"],
            ["--workers", "4", "--pages", "prefer"],
            ["--retention", "keep", "--pages", "file"],
        ] {
            let output = run(&[&["--json", "--input", feed.to_str().unwrap()], &args[..]].concat());
            let report = json(&output);
            for (field, value) in truth.as_object().unwrap().iter().filter(|(field, _)| report.get(field).is_some()) {
                assert_eq!(&report[field], value, "{field} of {} with {args:?}", feed.display());
                compared += 1;
            }
            // Of a short feed no books are published before late starts.
            if report["messages"].as_u64().unwrap() >= 2000 {
                assert_late_restored(&report);
            }
            assert_eq!(report["late"]["state_equal"], true, "{report}");
            assert_eq!(report["watch"]["equal"], true, "{report}");
            assert_eq!(report["agree"], true, "{report}");
        }
    }
    assert!(compared > 0, "no feed in SHMLOG_DATA");
}
