//! RLIMIT_FSIZE: who makes a larger file, anonymous ones too, is sent a SIGXFSZ, which kills.

use crate::alone::{Traces, alone, with_limit};
use nix::sys::resource::Resource;
use shmlog::{Arena, CreateError, Log, Snapshot};
use std::path::Path;

/// Processes with a limit (`ulimit -f`) died of a signal when they made a log.
#[test]
fn a_file_that_may_not_be_so_large_is_an_error_and_no_signal() {
    alone("file size");
}

const LIMIT: u64 = 1 << 20;

pub fn role() {
    let dir = tempfile::tempdir().unwrap();
    let at = dir.path().join("named");
    let large = || Log::builder().windows(2).window_bytes(LIMIT);
    // The board is what is too large.
    let many = || Log::builder().windows(2).window_bytes(64 << 10).slots(4096, 4096);
    refuse(dir.path(), || large().create_memfd("log"));
    refuse(dir.path(), || large().create_at(&at));
    refuse(dir.path(), || large().open_or_create_at(&at));
    refuse(dir.path(), || many().create_memfd("log"));
    refuse(dir.path(), || many().create_at(&at));
    let state = || Snapshot::builder().capacity_bytes(LIMIT);
    refuse(dir.path(), || state().create_memfd("state"));
    refuse(dir.path(), || state().create_at(&at));
    refuse(dir.path(), || state().sparse(true).create_at(&at));
    refuse(dir.path(), || Arena::create_memfd("arena", LIMIT + 1));
    refuse(dir.path(), || Arena::create_at(&at, LIMIT + 1));
    // What is there already, and what is not larger, can be used.
    let there = large().create_at(&at).unwrap();
    with_limit(Resource::RLIMIT_FSIZE, LIMIT, || {
        large().open_or_create_at(&at).unwrap().appender().unwrap().append(b"x").unwrap();
        Arena::create_memfd("arena", LIMIT - 8192).unwrap();
        Log::builder().windows(2).window_bytes(256 << 10).create_memfd("log").unwrap();
    });
    assert_eq!(there.info().next_seq, 1);
}

fn refuse<T: std::fmt::Debug>(dir: &Path, make: impl Fn() -> Result<T, CreateError>) {
    let before = Traces::of(Some(dir));
    let made = with_limit(Resource::RLIMIT_FSIZE, LIMIT, &make);
    let Err(CreateError::FileLimit { wanted_bytes, limit_bytes: LIMIT }) = made else { panic!("{made:?}") };
    assert!(wanted_bytes > LIMIT);
    assert_eq!(Traces::of(Some(dir)), before);
}
