//! RLIMIT_AS, at every mapping.

use crate::alone::{Traces, alone, errno_of, with_limit};
use nix::libc::ENOMEM;
use nix::sys::resource::Resource;
use shmlog::{Access, Arena, Log, Snapshot};
use std::error::Error;
use tempfile::TempDir;

#[test]
fn a_mapping_without_address_space_is_an_error() {
    alone("address space");
}

/// Between two attempts: less than any region has.
const STEP: u64 = 64 << 10;

pub fn role() {
    let heap = keep_heap();
    let dir = tempfile::tempdir().unwrap();
    let (at, state_at) = (dir.path().join("log"), dir.path().join("state"));
    // Region and board have 2 MiB each.
    let shape = || Log::builder().windows(2).window_bytes(1 << 20).slots(4096, 4096);
    let state_shape = || Snapshot::builder().capacity_bytes(512 << 10).seats(4096);
    squeeze("a log", &dir, 2, || shape().create_memfd("log"));
    squeeze("a snapshot", &dir, 2, || state_shape().create_memfd("state"));
    squeeze("an arena", &dir, 1, || Arena::create_memfd("arena", 2 << 20));
    drop(squeeze("a named log", &dir, 2, || shape().create_at(&at)));
    drop(squeeze("a named snapshot", &dir, 2, || state_shape().create_at(&state_at)));
    for access in [Access::Append, Access::Read, Access::Observe] {
        squeeze("opening a log", &dir, 2, || Log::open(&at, access));
        squeeze("opening a snapshot", &dir, 2, || Snapshot::open(&state_at, access));
    }
    Log::open(&at, Access::Append).unwrap().appender().unwrap().append(b"x").unwrap();
    assert!(heap.capacity() > 0);
}

/// Free memory in the C library's heap, so that only regions need new address space. The last piece keeps it there.
fn keep_heap() -> Vec<u8> {
    let mut pieces: Vec<Vec<u8>> = (0..4000).map(|_| vec![1; 1000]).collect();
    pieces.pop().unwrap()
}

/// Attempts something with ever more address space until it succeeds, with as much as `regions` regions need.
fn squeeze<T, E: Error + 'static>(
    what: &str,
    dir: &TempDir,
    regions: u64,
    mut attempt: impl FnMut() -> Result<T, E>,
) -> T {
    let before = Traces::of(Some(dir.path()));
    for steps in 0.. {
        let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
        let pages: u64 = statm.split(' ').next().unwrap().parse().unwrap();
        let error = match with_limit(Resource::RLIMIT_AS, (pages << 12) + steps * STEP, &mut attempt) {
            Ok(done) => {
                assert!(steps * STEP > (regions - 1) * (2 << 20), "{what}: {steps} steps suffice");
                return done;
            }
            Err(error) => error,
        };
        assert_eq!(errno_of(&error), Some(ENOMEM), "{what}: {error:?}");
        assert!(error.to_string().contains("mapping"), "{what}: {error}");
        assert_eq!(Traces::of(Some(dir.path())), before, "{what}");
    }
    unreachable!("there is a limit that suffices");
}
