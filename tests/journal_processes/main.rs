//! A journal in the hands of many processes, on real file systems: what was acknowledged is there, once, in order,
//! whatever was killed, full, failing or foreign. `SHMLOG_LONG=1` makes it thousands of rounds.
//!
//! The children are this test binary again.

#[path = "../common/mod.rs"]
mod common;
#[path = "../common/tally.rs"]
mod tally;

// What a child needs that reaches a limit alone.
#[path = "../limits/alone.rs"]
#[allow(dead_code, reason = "a part of it is used here")]
mod alone;
#[path = "../limits/filter.rs"]
#[allow(dead_code, reason = "a part of it is used here")]
mod filter;
#[path = "../limits/mounting.rs"]
mod mounting;

mod auditor;
mod check;
mod disk_full;
mod file_systems;
mod grid;
mod hostile;
mod io_errors;
mod kills;
mod lacking;
mod members;
mod openers;
mod record;
mod refused;
mod worker;

#[test]
fn child_entry() {
    common::enter(&[
        ("worker", worker::role),
        ("disk full", disk_full::role),
        ("file size", disk_full::file_size),
        ("file systems", file_systems::role),
        ("I/O errors", io_errors::role),
        ("refused", refused::role),
        ("auditor", auditor::role),
        ("lacking", lacking::role),
        ("fork", openers::fork_role),
    ]);
}
