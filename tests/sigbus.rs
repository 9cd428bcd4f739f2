//! Files truncated under those who have them mapped: an error from every operation, and no SIGBUS. All
//! other signals of that name do what they always did.
#![allow(unsafe_code, reason = "a mapping that is not the library's, and signal handlers")]

mod common;

use common::{Ground, child, finish, free_huge_pages, skip};
use nix::libc;
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, raise, sigaction};
use rustix::fs::{FallocateFlags, fallocate};
use rustix::mm::{MapFlags, ProtFlags, mmap};
use shmlog::{
    Access, AppendError, Arena, ArenaError, AttachError, HugePageSize, HugePages, JoinError, LoadError, Log,
    LogBuilder, PublishError, ReadError, Retention, Snapshot, Start,
};
use std::fs::File;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::thread;
use std::time::Duration;

const LONG: Duration = Duration::from_secs(60);
const RECORD: [u8; 100] = [7; 100];
/// More appends or reads than the log below has room for.
const MANY: usize = 100_000;

fn small() -> LogBuilder {
    let builder = Log::builder();
    builder.windows(4).window_bytes(64 << 10).record_bytes(100).retention(Retention::Overwrite)
}

fn resize(path: &Path, len: u64) {
    File::options().write(true).open(path).unwrap().set_len(len).unwrap();
}

fn len(path: &Path) -> u64 {
    path.metadata().unwrap().len()
}

/// The memfd of that name, opened anew.
fn writable(name: &str) -> File {
    let links = std::fs::read_dir("/proc/self/fd").unwrap().map(|entry| entry.unwrap().path());
    let ours = |path: &std::path::PathBuf| path.read_link().is_ok_and(|to| to.to_string_lossy().contains(name));
    File::options().read(true).write(true).open(links.into_iter().find(ours).unwrap()).unwrap()
}

/// Every ground that has a name.
fn grounds() -> impl Iterator<Item = (Ground, std::path::PathBuf)> {
    Ground::all().into_iter().filter_map(|ground| {
        let Ground::In { dir, .. } = &ground else { return None };
        let path = dir.path().join("cut");
        Some((ground, path))
    })
}

#[test]
fn every_operation_on_a_truncated_log_returns_an_error() {
    for (ground, path) in grounds() {
        for half in [false, true] {
            let Some(log) = ground.create(&small(), "cut") else { continue };
            let file = path.join("log");
            let all = len(&file);
            let cut = if half { all / 2 / 4096 * 4096 } else { 0 };
            if half && ground.name() == "hugetlbfs file" {
                // It is one page.
                Log::remove(&path).unwrap();
                continue;
            }
            let mut appender = log.appender().unwrap();
            for _ in 0..1000 {
                appender.append(&RECORD).unwrap();
            }
            let mut readers = [log.reader(Start::Oldest).unwrap(), log.reader(Start::Oldest).unwrap()];
            readers[1].pin().unwrap();
            resize(&file, cut);
            let lost = (0..MANY).find_map(|_| appender.append(&RECORD).err());
            assert_eq!(lost, Some(AppendError::MemoryLost), "{cut} of {all} bytes");
            for reader in &mut readers {
                let lost = (0..MANY).find_map(|_| match reader.try_next() {
                    Ok(Some(record)) => record.to_vec().err(),
                    Ok(None) => panic!("nothing, where there was a record"),
                    Err(error) => Some(error),
                });
                assert_eq!(lost, Some(ReadError::MemoryLost), "{cut} of {all} bytes");
                let got = reader.get(3).and_then(|record| record.map(|record| record.to_vec()).transpose());
                assert_eq!(got, Err(ReadError::MemoryLost));
                let next =
                    reader.next_timeout(LONG).and_then(|record| record.map(|record| record.to_vec()).transpose());
                assert_eq!(next, Err(ReadError::MemoryLost));
            }
            assert_eq!(appender.append(&RECORD), Err(AppendError::MemoryLost));
            assert_eq!(appender.append_parts(&[b"a", b"b"]), Err(AppendError::MemoryLost));
            assert_eq!(appender.append_wait(b"a", LONG), Err(AppendError::MemoryLost));
            assert_eq!(appender.reserve(10).err(), Some(AppendError::MemoryLost));
            assert_eq!(appender.close(), Err(AppendError::MemoryLost));
            let none = log.reader(Start::At(1_000_000)).err();
            assert!(matches!(none, Some(JoinError::Attach(AttachError::MemoryLost { .. }))), "{none:?}");
            let again = Log::open(&path, Access::Append).err();
            assert!(
                matches!(again, Some(AttachError::WrongSize { .. } | AttachError::NotAllocated { .. })),
                "{again:?}"
            );
            drop((readers, log));
            Log::remove(&path).unwrap();
        }
    }
}

#[test]
fn an_exclusive_appender_never_says_ok_about_memory_that_is_gone() {
    for (ground, path) in grounds() {
        let Some(log) = ground.create(&small(), "cut") else { continue };
        let mut appender = log.exclusive().unwrap();
        for _ in 0..100 {
            appender.append(&RECORD).unwrap();
        }
        resize(&path.join("log"), 0);
        assert_eq!(appender.append(&RECORD), Err(AppendError::MemoryLost), "the very next one");
        assert_eq!(appender.append(&RECORD), Err(AppendError::MemoryLost));
    }
}

#[test]
fn a_reservation_in_a_log_that_is_truncated_is_not_committed() {
    for (ground, path) in grounds() {
        let Some(log) = ground.create(&small(), "cut") else { continue };
        let mut appender = log.appender().unwrap();
        let mut slot = appender.reserve(16).unwrap();
        resize(&path.join("log"), 0);
        slot.write(0, b"to nowhere");
        assert_eq!(slot.commit().map_err(|error| error.error), Err(AppendError::MemoryLost));
        assert_eq!(appender.append(&RECORD), Err(AppendError::MemoryLost));
    }
}

#[test]
fn who_waits_learns_that_the_log_was_truncated_even_if_it_is_as_long_again() {
    for is_regrown in [false, true] {
        for (ground, path) in grounds() {
            let Some(log) = ground.create(&small(), "cut") else { continue };
            let mut appender = log.appender().unwrap();
            appender.append(&RECORD).unwrap();
            let mut reader = log.reader(Start::End).unwrap();
            let waiting = thread::spawn(move || reader.next_timeout(LONG).map(|found| found.is_some()));
            let file = path.join("log");
            let all = len(&file);
            resize(&file, 0);
            if is_regrown {
                resize(&file, all);
            }
            assert_eq!(waiting.join().unwrap(), Err(ReadError::MemoryLost));
            Log::remove(&path).unwrap();
        }
    }
}

/// Nobody gets a signal: there are pages again, of zeroes.
#[test]
fn a_log_that_was_truncated_and_made_as_long_again_is_not_appended_to_for_long() {
    for (ground, path) in grounds() {
        let Some(log) = ground.create(&small(), "cut") else { continue };
        let mut shared = log.appender().unwrap();
        shared.append(&RECORD).unwrap();
        let file = path.join("log");
        let all = len(&file);
        resize(&file, 0);
        resize(&file, all);
        // What is left of the lease.
        let lost = (0..700).find_map(|_| shared.append(&RECORD).err());
        assert_eq!(lost, Some(AppendError::MemoryLost));
        let joined = log.appender().err();
        assert!(matches!(joined, Some(JoinError::Attach(AttachError::MemoryLost { .. }))), "{joined:?}");
    }
}

#[test]
fn what_a_reader_does_without_reading_is_no_success_either() {
    for (ground, path) in grounds() {
        let Some(log) = ground.create(&small(), "cut") else { continue };
        log.appender().unwrap().append(&RECORD).unwrap();
        let mut reader = log.reader(Start::Oldest).unwrap();
        resize(&path.join("log"), 0);
        assert!(matches!(reader.pin(), Err(JoinError::Attach(AttachError::MemoryLost { .. }))));
        assert!(matches!(reader.seek(0), Err(JoinError::Attach(AttachError::MemoryLost { .. }))));
    }
}

/// Each page in a piece of its own, until a process has as many pieces of mappings as it may have (65,530).
#[test]
fn more_pages_can_be_gone_than_a_process_has_mappings() {
    let len = if common::is_long() { 300 << 20 } else { 1 << 20 };
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("arena");
    let arena = Arena::create_at(&path, len).unwrap();
    let all = arena.allocate(len - 8192, 8).unwrap();
    resize(&path, 0);
    for page in (0..all.len_bytes / 4096).step_by(2) {
        let place = shmlog::Allocation { offset_bytes: all.offset_bytes + page * 4096, len_bytes: 8 };
        assert_eq!(arena.read(place, &mut [0; 8]), Err(ArenaError::MemoryLost));
    }
}

#[test]
fn a_truncated_board_is_an_error_too() {
    for (ground, path) in grounds() {
        let Some(log) = ground.create(&small(), "cut") else { continue };
        let mut appender = log.appender().unwrap();
        appender.append(&RECORD).unwrap();
        let mut reader = log.reader(Start::End).unwrap();
        resize(&path.join("board"), 0);
        assert_eq!(appender.append(&RECORD), Err(AppendError::MemoryLost));
        // The log is whole: the record may well be there.
        let read = reader.next_timeout(LONG).and_then(|record| record.map(|record| record.to_vec()).transpose());
        assert_eq!(read, Err(ReadError::MemoryLost));
        assert!(log.reader(Start::Oldest).is_err());
        assert!(log.appender().is_err());
    }
}

#[test]
fn a_truncated_snapshot_is_an_error() {
    for (_ground, path) in grounds() {
        let Ok(state) = Snapshot::builder().capacity_bytes(20_000).mode(0o600).create_at(&path) else { continue };
        let mut writer = state.writer().unwrap();
        writer.publish_bytes(&[1; 20_000]).unwrap();
        let mut readers = [state.reader().unwrap(), state.reader().unwrap()];
        let mut third = state.reader().unwrap();
        let _pinned = third.pin().unwrap();
        let file = path.join("snapshot");
        let all = len(&file);
        resize(&file, 0);
        let mut newcomer = state.reader().unwrap();
        assert!(newcomer.load_newer::<u64>().is_err(), "one that has loaded nothing yet");
        let load = readers[0].load_bytes().err();
        assert!(matches!(load, Some(LoadError::MemoryLost)), "{load:?}");
        let publish = writer.publish_bytes(&[2; 20_000]).err();
        assert!(matches!(publish, Some(PublishError::MemoryLost)), "{publish:?}");
        resize(&file, all);
        for reader in &mut readers {
            assert!(reader.wait_newer(1, LONG), "who waits is not left waiting");
            assert!(matches!(reader.load_bytes(), Err(LoadError::MemoryLost)));
            assert!(matches!(reader.pin(), Err(LoadError::MemoryLost)));
        }
    }
}

#[test]
fn a_truncated_arena_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("arena");
    let arena = Arena::create_at(&path, 64 << 10).unwrap();
    let number = arena.allocate_value(&17_u64).unwrap();
    resize(&path, 0);
    assert_eq!(arena.load(number), Err(ArenaError::MemoryLost));
    assert_eq!(arena.store(number, &18), Err(ArenaError::MemoryLost));
    assert_eq!(arena.allocate(8, 8), Err(ArenaError::MemoryLost));
}

#[test]
fn a_hole_that_the_pool_of_huge_pages_cant_fill_is_an_error() {
    const PAGE: u64 = 2 << 20;
    let builder = small().windows(2).window_bytes(PAGE).huge_pages(HugePages::Require(HugePageSize::TwoMiB));
    if free_huge_pages() < 8 {
        return skip("holes in huge pages", "fewer than 8 huge pages are free");
    }
    let log = builder.create_memfd("holes").unwrap();
    let mut appender = log.exclusive().unwrap();
    appender.append(&RECORD).unwrap();
    // The creator's own descriptor may write. From here on nothing is reserved for these pages.
    let file = writable("shmlog:holes:log");
    let keep = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
    fallocate(&file, keep, 0, log.info().region_bytes).unwrap();
    let thief = std::iter::from_fn(|| builder.create_memfd("thief").ok()).collect::<Vec<_>>();
    let rest = std::iter::from_fn(|| {
        let bytes = free_huge_pages().min(1) * PAGE;
        Arena::create_on("rest", bytes.checked_sub(8192)?, HugePages::Require(HugePageSize::TwoMiB)).ok()
    });
    let rest = rest.collect::<Vec<_>>();
    assert_eq!(appender.append(&RECORD), Err(AppendError::MemoryLost));
    drop((thief, rest));
    assert_eq!(appender.append(&RECORD), Err(AppendError::MemoryLost), "for good");
}

#[test]
fn other_regions_of_the_process_go_on() {
    let dir = tempfile::tempdir().unwrap();
    let other = small().create_memfd("sound").unwrap();
    let mut sound = (other.appender().unwrap(), other.reader(Start::Oldest).unwrap());
    let path = dir.path().join("cut");
    let log = small().create_at(&path).unwrap();
    let mut appender = log.appender().unwrap();
    resize(&path.join("log"), 0);
    assert_eq!(appender.append(&RECORD), Err(AppendError::MemoryLost));
    sound.0.append(&RECORD).unwrap();
    assert_eq!(sound.1.try_next().unwrap().unwrap().to_vec().unwrap(), RECORD);
    assert!(sound.1.try_next().unwrap().is_none());
    // The place in the handler's table is used again, for a sound one.
    drop((appender, log));
    for _ in 0..200 {
        let log = small().create_memfd("next").unwrap();
        log.appender().unwrap().append(&RECORD).unwrap();
    }
}

static CALLED: AtomicBool = AtomicBool::new(false);

extern "C" fn note(_: libc::c_int) {
    CALLED.store(true, SeqCst);
}

fn handle_sigbus(handler: SigHandler) {
    let action = SigAction::new(handler, SaFlags::empty(), SigSet::empty());
    // SAFETY: the handler stores to an atomic, or does what the signal does by default.
    unsafe { sigaction(Signal::SIGBUS, &action) }.unwrap();
}

/// Touches a page of a mapping that is not the library's, behind the end of its file.
fn touch_beyond() {
    let file = tempfile::tempfile().unwrap();
    let flags = MapFlags::SHARED;
    // SAFETY: the kernel picks the address.
    let base = unsafe { mmap(std::ptr::null_mut(), 4096, ProtFlags::READ, flags, &file, 0) }.unwrap();
    // SAFETY: mapped; that this faults is the point.
    let byte = unsafe { base.cast::<u8>().read_volatile() };
    unreachable!("read {byte} behind the end of a file");
}

fn dies_of_a_foreign_fault() {
    let _log = small().create_memfd("ours").unwrap();
    touch_beyond();
}

fn dies_of_a_signal() {
    let _log = small().create_memfd("ours").unwrap();
    // What the standard library had there returns to the default, as it does without a log.
    raise(Signal::SIGBUS).unwrap();
    raise(Signal::SIGBUS).unwrap();
    unreachable!();
}

fn calls_who_was_there_before() {
    handle_sigbus(SigHandler::Handler(note));
    let _log = small().create_memfd("ours").unwrap();
    raise(Signal::SIGBUS).unwrap();
    assert!(CALLED.load(SeqCst));
}

fn goes_on_as_it_ignored_such() {
    handle_sigbus(SigHandler::SigIgn);
    let _log = small().create_memfd("ours").unwrap();
    raise(Signal::SIGBUS).unwrap();
}

fn dies_if_left_alone() {
    shmlog::sigbus::leave_alone();
    handle_sigbus(SigHandler::SigDfl);
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("cut");
    let log = small().create_at(&path).unwrap();
    let mut appender = log.appender().unwrap();
    resize(&path.join("log"), 0);
    let _ = std::fs::remove_dir_all(&path);
    let _ = appender.append(&RECORD);
    unreachable!();
}

#[test]
fn child_entry() {
    common::enter(&[
        ("dies_of_a_foreign_fault", dies_of_a_foreign_fault),
        ("dies_of_a_signal", dies_of_a_signal),
        ("calls_who_was_there_before", calls_who_was_there_before),
        ("goes_on_as_it_ignored_such", goes_on_as_it_ignored_such),
        ("dies_if_left_alone", dies_if_left_alone),
    ]);
}

#[test]
fn what_is_not_the_librarys_is_as_without_it() {
    let kills = [("dies_of_a_foreign_fault", true), ("dies_of_a_signal", true), ("dies_if_left_alone", true)];
    let others = [("calls_who_was_there_before", false), ("goes_on_as_it_ignored_such", false)];
    for (role, is_killed) in kills.into_iter().chain(others) {
        let status = finish(child(role).spawn().unwrap(), LONG);
        assert_eq!(status.signal() == Some(libc::SIGBUS), is_killed, "{role}: {status}");
        assert!(is_killed || status.success(), "{role}: {status}");
    }
}
