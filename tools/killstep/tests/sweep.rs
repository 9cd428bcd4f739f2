//! Some of the instructions of every operation: what `killstep` does for all of them, in a few seconds. By the tool
//! itself, because a process that forks victims must have one thread only.
#![cfg(target_arch = "x86_64")]

use std::process::Command;

/// Victims of each operation.
const MOST: &str = "12";
/// Of a journal's, where most of the time is that of stepping through the operation once.
const MANY: &str = "40";
/// Of those that have many instructions.
const FEW: &str = "4";

fn killstep(arguments: &[&str]) -> (bool, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_killstep")).args(arguments).output().unwrap();
    let both = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8(both).unwrap())
}

fn sweep(mode: &str, operations: &str) {
    sweep_at_most(MOST, mode, operations);
}

fn sweep_at_most(most: &str, mode: &str, operations: &str) {
    let (is_right, said) = killstep(&["--mode", mode, "--most", most, "--markdown", "--ops", operations]);
    assert!(is_right, "{said}");
    let (_, listed) = killstep(&["--list", "--ops", operations]);
    let row = |name: &str| format!("\n| {name} | ");
    assert!(!listed.is_empty() && listed.lines().all(|name| said.contains(&row(name))), "{said}");
}

const APPENDING: &str = "append,;batch;reserve;commit;close";
const COMING_AND_GOING: &str = "attach;detach;hand-over;log reader;gated reader s";
const SLOTS: &str = "publish 16;publish 64 B;name;load 16;load 64 B;pin;unpin;wait";
const OTHERS: &str = "own;publish a state;let;join;allocate";
const LONG: &str = "publish 64 KiB;load 64 KiB;publish, sparse;gated reader w";
const AT_A_FRONT: &str = "journal: join;journal: take;journal: prune";
const AT_FILES: &str = "journal: append;journal: sync;journal: set;journal: delete;journal: leave;journal: close";
const MAKING: &str = "journal: make;journal: recover;journal: repair;journal: go on";
/// Looks for room very often before it sleeps.
const SPINNING: &str = "appender waits";

#[test]
fn killed_while_appending() {
    sweep("kill", APPENDING);
}

#[test]
fn killed_while_coming_and_going() {
    sweep("kill", COMING_AND_GOING);
}

#[test]
fn killed_at_a_snapshot() {
    sweep("kill", SLOTS);
}

#[test]
fn stopped_while_appending() {
    sweep("stop", APPENDING);
}

#[test]
fn stopped_while_coming_and_going() {
    sweep("stop", COMING_AND_GOING);
}

#[test]
fn stopped_at_a_snapshot() {
    sweep("stop", SLOTS);
}

#[test]
fn killed_at_a_state_or_an_arena() {
    sweep("kill", OTHERS);
}

#[test]
fn stopped_at_a_state_or_an_arena() {
    sweep("stop", OTHERS);
}

#[test]
#[cfg_attr(debug_assertions, ignore = "millions of instructions, unless optimized")]
fn killed_in_something_long() {
    sweep_at_most(FEW, "kill", LONG);
}

#[test]
#[cfg_attr(debug_assertions, ignore = "millions of instructions, unless optimized")]
fn stopped_in_something_long() {
    sweep_at_most(FEW, "stop", LONG);
}

#[test]
#[cfg_attr(debug_assertions, ignore = "millions of instructions, unless optimized")]
fn killed_and_stopped_while_waiting_for_room() {
    sweep_at_most(FEW, "kill", SPINNING);
    sweep_at_most(FEW, "stop", SPINNING);
}

#[test]
fn killed_or_stopped_at_the_front_of_a_journal() {
    sweep_at_most(MANY, "kill", AT_A_FRONT);
    sweep_at_most(FEW, "stop", AT_A_FRONT);
}

#[test]
#[cfg_attr(debug_assertions, ignore = "millions of instructions, unless optimized")]
fn killed_or_stopped_at_the_files_of_a_journal() {
    sweep_at_most(MANY, "kill", AT_FILES);
    sweep_at_most(FEW, "stop", AT_FILES);
}

#[test]
#[cfg_attr(debug_assertions, ignore = "millions of instructions, unless optimized")]
fn killed_while_a_journal_is_made_recovered_or_repaired() {
    sweep_at_most(MOST, "kill", MAKING);
}

#[test]
fn no_operation_is_left_out() {
    let (_, all) = killstep(&["--list"]);
    let swept = [APPENDING, COMING_AND_GOING, SLOTS, OTHERS, LONG, SPINNING, AT_A_FRONT, AT_FILES, MAKING].join(";");
    let (_, covered) = killstep(&["--list", "--ops", &swept]);
    assert!(all.lines().count() > 60, "{all}");
    assert_eq!(covered, all);
}

#[test]
fn operations_that_there_are_not_are_refused() {
    let (is_right, said) = killstep(&["--ops", "no such thing"]);
    assert!(!is_right && said.contains("no such thing"), "{said}");
}
