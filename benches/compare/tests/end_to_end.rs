//! The whole tool, shortly: its figures mean nothing here, but that they come, and that nothing was lost.

use serde_json::Value;
use std::process::Command;

fn run(words: &[&str]) -> Vec<Value> {
    let output = Command::new(env!("CARGO_BIN_EXE_compare")).args(words).arg("--json").output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn row<'r>(lines: &'r [Value], system: &str) -> &'r Value {
    lines.iter().find(|line| line["system"] == system).unwrap_or_else(|| panic!("no row of {system}: {lines:?}"))
}

const SHORT: [&str; 6] = ["--seconds", "0.05", "--rounds", "2", "--sizes", "64"];

#[test]
fn a_tiny_stream() {
    let systems = ["--batches", "1", "--systems", "shmlog-exclusive,shmlog-shared,pipe"];
    let lines = run(&[&["stream"], &SHORT[..], &systems].concat());
    assert_eq!(lines[0]["machine"]["rounds"], 2);
    for system in ["shmlog-exclusive", "shmlog-shared", "pipe", "memcpy-ring"] {
        let row = row(&lines, system);
        assert_eq!((&row["suite"], &row["bytes"], &row["rounds"]), (&"stream".into(), &64.into(), &2.into()), "{row}");
        assert!(row["msgs_per_s"].as_f64().unwrap() > 0.0 && row["ratio_to_limit"].as_f64().unwrap() > 0.0, "{row}");
        assert!(row["missing"].is_null(), "{row}");
    }
    assert!(row(&lines, "shmlog-shared")["ratios"]["pipe"].as_f64().unwrap() > 0.0);
}

#[test]
fn a_tiny_round_trip_with_plots() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().to_str().unwrap();
    let systems = ["--systems", "shmlog-shared", "--plot", path];
    let lines = run(&[&["rtt"], &SHORT[..], &systems].concat());
    let row = row(&lines, "shmlog-shared");
    let ns = |name: &str| row[name].as_f64().unwrap();
    assert!(0.0 < ns("p50_ns") && ns("p50_ns") <= ns("p99_ns") && ns("p99_ns") <= ns("p999_ns"), "{row}");
    let picture = std::fs::read_to_string(dir.path().join("rtt-64.svg")).unwrap();
    assert!(picture.starts_with("<svg") && picture.contains("shmlog-shared"), "{picture}");
    let percentiles = std::fs::read_to_string(dir.path().join("rtt-shmlog-shared-64.hgrm")).unwrap();
    assert!(percentiles.contains("1/(1-Percentile)"), "{percentiles}");
}

#[test]
fn what_a_system_can_not_do_is_said() {
    let lines = run(&[&["stream"], &SHORT[..], &["--batches", "16", "--systems", "unix-datagram"]].concat());
    assert!(row(&lines, "unix-datagram")["missing"].as_str().unwrap().contains("no batches"));
}

#[test]
fn a_system_that_does_not_exist_is_refused() {
    let output = Command::new(env!("CARGO_BIN_EXE_compare")).args(["rtt", "--systems", "semaphore"]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && said.contains("shmlog-shared"), "{said}");
}
