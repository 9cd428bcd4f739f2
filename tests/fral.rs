//! The conformance cases of FRAL, the shared random-access log whose place this crate takes, and its faults.

mod common;

use common::{PATIENCE, child, finish, payload, succeed};
use shmlog::{
    Access, AppendError, Arena, ArenaError, AttachError, CreateError, JoinError, Log, ReadError, Reader, Retention,
    Start,
};
use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::atomic::Ordering::Relaxed;
use zerocopy::{FromBytes, Immutable, IntoBytes};

#[test]
fn child_entry() {
    common::enter(&[("pong", pong), ("editor", editor)]);
}

/// FRAL keeps everything; 14 records of any size.
fn log() -> Log {
    Log::builder().windows(2).window_bytes(64 << 10).entries(8).retention(Retention::Keep).create_memfd("fral").unwrap()
}

#[test]
fn sizes_at_init_and_connect() {
    let dir = tempfile::tempdir().unwrap();
    let arena = Arena::create_at(dir.path().join("arena"), 1000).unwrap();
    let other = Arena::open(dir.path().join("arena"), true).unwrap();
    for arena in [&arena, &other] {
        assert_eq!((arena.capacity_bytes(), arena.used_bytes(), arena.left_bytes()), (4096, 0, 4096));
    }
    arena.allocate(100, 8).unwrap();
    for arena in [&arena, &other] {
        assert_eq!((arena.capacity_bytes(), arena.used_bytes(), arena.left_bytes()), (4096, 104, 3992));
    }
    let log = Log::builder().windows(3).window_bytes(128 << 10).entries(512).create_at(dir.path().join("log")).unwrap();
    let other = Log::open(dir.path().join("log"), Access::Read).unwrap();
    for info in [log.info(), other.info()] {
        assert_eq!((info.windows, info.window_bytes, info.entries), (3, 128 << 10, 512));
        assert_eq!((info.oldest_seq, info.next_seq), (0, 0));
        assert_eq!(info.max_record_bytes, (128 << 10) - 128 - 8 * 512);
        assert!(info.region_bytes >= 3 * (128 << 10) && info.region_bytes < 4 * (128 << 10));
    }
    assert_eq!(fs::metadata(dir.path().join("log/log")).unwrap().len(), log.info().region_bytes);
}

/// `allocate(1801)` of 1000 bytes failed, then `allocate(8)` failed for ever.
#[test]
fn an_oversize_allocation_is_refused_and_the_space_kept() {
    let arena = Arena::create_memfd("fral", 1000).unwrap();
    let left_bytes = arena.left_bytes();
    let refused = arena.allocate(left_bytes + 801, 8).unwrap_err();
    assert_eq!(refused, ArenaError::Full { wanted_bytes: left_bytes + 801, left_bytes });
    assert_eq!(arena.left_bytes(), left_bytes);
    arena.allocate(8, 8).unwrap();
    arena.allocate(left_bytes - 8, 8).unwrap();

    let log = log();
    let mut appender = log.appender().unwrap();
    let limit = appender.limit_bytes();
    for _ in 0..100 {
        assert!(matches!(appender.append(&vec![1; limit + 801]), Err(AppendError::TooLarge { .. })));
        assert!(matches!(appender.reserve(limit + 1).map(drop), Err(AppendError::TooLarge { .. })));
    }
    assert_eq!(appender.append(&vec![1; limit]).unwrap(), 0);
    assert_eq!(appender.append(b"small").unwrap(), 1);
}

fn at(reader: &Reader, seq: u64) -> Vec<u8> {
    reader.get(seq).unwrap().expect("it is there").to_vec().unwrap()
}

/// An index out of range was a segmentation fault, a null record an index that could not be read.
#[test]
fn index_zero_and_indices_beyond_the_end() {
    let log = log();
    let reader = log.reader(Start::First).unwrap();
    assert!(reader.get(0).unwrap().is_none());
    let mut appender = log.appender().unwrap();
    assert_eq!(appender.append(b"").unwrap(), 0);
    assert_eq!(appender.append(b"second").unwrap(), 1);
    assert!(reader.get(0).unwrap().unwrap().is_empty());
    assert_eq!((at(&reader, 0), at(&reader, 1)), (vec![], b"second".to_vec()));
    for seq in [2, 3, 8, 14, 1 << 40, u64::MAX] {
        assert!(reader.get(seq).unwrap().is_none());
    }
    assert!(matches!(log.reader(Start::At(3)), Err(JoinError::Ahead { seq: 3 })));
}

#[test]
fn a_full_index_is_an_error_and_stays_readable() {
    let log = log();
    let mut appender = log.appender().unwrap();
    for seq in 0..14 {
        assert_eq!(appender.append(&payload(1, seq, 9)).unwrap(), seq);
    }
    for _ in 0..3 {
        assert_eq!(appender.append(b"x").unwrap_err(), AppendError::Full { by: None, since: 0 });
    }
    let reader = log.reader(Start::First).unwrap();
    for seq in 0..14 {
        assert_eq!(at(&reader, seq), payload(1, seq, 9));
    }
}

/// Its blobs were not aligned.
#[test]
fn a_blob_knows_its_size_and_is_aligned() {
    let log = log();
    let mut appender = log.appender().unwrap();
    let reader = log.reader(Start::First).unwrap();
    for (seq, len) in [0, 1, 7, 8, 9, 255, 4096].into_iter().enumerate() {
        let seq = seq as u64;
        appender.append(&payload(2, seq, len)).unwrap();
        let record = reader.get(seq).unwrap().unwrap();
        assert_eq!((record.len(), record.is_empty()), (len, len == 0));
        let words = record.atomics().unwrap();
        assert_eq!(words.len(), len.div_ceil(8));
        assert!(words.as_ptr().is_aligned());
    }
}

#[test]
fn a_round_trip_through_a_second_handle() {
    let dir = tempfile::tempdir().unwrap();
    let one = Log::builder().create_at(dir.path().join("log")).unwrap();
    let other = Log::open(dir.path().join("log"), Access::Append).unwrap();
    let (mut here, mut there) = (one.appender().unwrap(), other.appender().unwrap());
    let readers = [one.reader(Start::First).unwrap(), other.reader(Start::First).unwrap()];
    for seq in 0..200 {
        let bytes = payload(seq % 2, seq, 77);
        let appended = if seq % 2 == 0 { here.append(&bytes) } else { there.append(&bytes) };
        assert_eq!(appended.unwrap(), seq);
        assert!(readers.iter().all(|reader| at(reader, seq) == bytes));
    }
}

#[test]
fn a_hundred_structs() {
    #[derive(IntoBytes, FromBytes, Immutable, Clone, Copy, PartialEq, Debug)]
    #[repr(C)]
    struct Sample {
        id: u64,
        value: f64,
        flags: [u16; 4],
    }
    let sample = |id: u16| Sample { id: id.into(), value: f64::from(id) / 3.0, flags: [id, !id, 0, 7] };
    let log = Log::builder().create_memfd("structs").unwrap();
    let mut appender = log.appender().unwrap();
    for id in 0..100 {
        appender.append_value(&sample(id)).unwrap();
    }
    let mut reader = log.reader(Start::First).unwrap();
    for id in 0..100 {
        assert_eq!(reader.try_next().unwrap().unwrap().read::<Sample>().unwrap(), sample(id));
    }
    assert_eq!(reader.get(50).unwrap().unwrap().read::<Sample>().unwrap(), sample(50));
}

/// Its Python test pickles data frames: blobs whose lengths nobody knows beforehand.
#[test]
fn a_hundred_serialised_frames() {
    let frame = |number: usize| -> serde_json::Value {
        let columns: Vec<_> =
            (0..number % 13).map(|at| serde_json::json!({ "at": at, "text": "ü".repeat(at) })).collect();
        serde_json::json!({ "frame": number, "columns": columns })
    };
    let log =
        Log::builder().windows(4).window_bytes(64 << 10).retention(Retention::Keep).create_memfd("frames").unwrap();
    let mut appender = log.appender().unwrap();
    for number in 0..100 {
        let bytes = serde_json::to_vec(&frame(number)).unwrap();
        // The length first, then in place.
        let mut slot = appender.reserve(bytes.len()).unwrap();
        slot.write(0, &bytes);
        assert_eq!(slot.commit().unwrap(), number as u64);
    }
    let reader = log.reader(Start::First).unwrap();
    for number in (0..100).rev() {
        assert_eq!(serde_json::from_slice::<serde_json::Value>(&at(&reader, number as u64)).unwrap(), frame(number));
    }
}

const ROUNDS: u64 = 3000;

/// Answers every even record.
fn pong() {
    let (log, _parent) = shmlog::inherited().unwrap();
    let (mut appender, mut reader) = (log.appender().unwrap(), log.reader(Start::First).unwrap());
    for round in 0..ROUNDS {
        assert_eq!(next(&mut reader), (2 * round, round));
        appender.append(&(round + 1).to_le_bytes()).unwrap();
        assert_eq!(next(&mut reader), (2 * round + 1, round + 1));
    }
}

fn next(reader: &mut Reader) -> (u64, u64) {
    let record = reader.next_timeout(PATIENCE).unwrap().expect("the other side answers");
    (record.seq(), record.read().unwrap())
}

#[test]
fn two_processes_play_ping_pong() {
    let log = Log::builder().create_memfd("ping-pong").unwrap();
    let (mut appender, mut reader) = (log.appender().unwrap(), log.reader(Start::First).unwrap());
    let worker = log.spawn(&mut child("pong"), Access::Append).unwrap();
    for round in 0..ROUNDS {
        appender.append(&round.to_le_bytes()).unwrap();
        assert_eq!(next(&mut reader), (2 * round, round));
        assert_eq!(next(&mut reader), (2 * round + 1, round + 1));
    }
    succeed(worker.child);
}

fn editor() {
    let (log, _parent) = shmlog::inherited().unwrap();
    let reader = log.reader(Start::First).unwrap();
    assert_eq!(at(&reader, 0), b"TEST");
    let word = &reader.get(0).unwrap().unwrap().atomics().unwrap()[0];
    word.store(u64::from_le_bytes(*b"DEST\0\0\0\0"), Relaxed);
}

#[test]
fn a_readers_edits_are_seen_by_others() {
    let log = log();
    log.appender().unwrap().append(b"TEST").unwrap();
    let reader = log.reader(Start::First).unwrap();
    let before = reader.get(0).unwrap().unwrap();
    assert_eq!(before.to_vec().unwrap(), b"TEST");
    succeed(log.spawn(&mut child("editor"), Access::Append).unwrap().child);
    assert_eq!(before.to_vec().unwrap(), b"DEST", "a record is a view, not a copy");
}

/// The README's demo is an example; it must say what the README says.
#[test]
fn the_demo_prints_test_test_dest() {
    let Some(demo) = example("fral") else {
        return common::skip("the example fral", "cargo could not build it");
    };
    let printed = Command::new(demo).stderr(Stdio::inherit()).output().unwrap();
    assert!(printed.status.success());
    assert_eq!(String::from_utf8(printed.stdout).unwrap(), "TEST\nTEST\nDEST\n");
}

/// `cargo test` has built it beside this binary; `cargo test --test fral` has not.
fn example(name: &str) -> Option<PathBuf> {
    let profile = std::env::current_exe().unwrap().parent()?.parent()?.to_owned();
    let built = profile.join("examples").join(name);
    if !built.exists() {
        let mut cargo = Command::new(std::env::var_os("CARGO")?);
        cargo.args(["build", "--example", name]).args((!cfg!(debug_assertions)).then_some("--release"));
        finish(cargo.spawn().ok()?, 5 * PATIENCE);
    }
    built.exists().then_some(built)
}

/// A zeroed file was connected to, garbage ended the process.
#[test]
fn what_is_no_log_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("log");
    let len = usize::try_from(Log::builder().create_at(&path).unwrap().info().region_bytes).unwrap();
    for garbage in [vec![0; len], vec![b'x'; len], payload(1, 1, len)] {
        fs::write(path.join("log"), garbage).unwrap();
        assert!(matches!(Log::open(&path, Access::Append), Err(AttachError::Foreign { what: "log" })));
    }
}

/// Creating it again orphaned its users.
#[test]
fn creating_again_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("log");
    let log = Log::builder().create_at(&path).unwrap();
    assert!(matches!(Log::builder().create_at(&path), Err(CreateError::Exists { .. })));
    Log::open(&path, Access::Append).unwrap().appender().unwrap().append(b"together").unwrap();
    assert_eq!(at(&log.reader(Start::First).unwrap(), 0), b"together");
    log.appender().unwrap().close().unwrap();
    let mut reader = log.reader(Start::End).unwrap();
    assert_eq!(reader.try_next().map(drop).unwrap_err(), ReadError::Closed);
}
