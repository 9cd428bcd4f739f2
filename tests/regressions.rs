//! Bugs that were found, each with its story.

use shmlog::{
    Access, AppendError, Arena, AttachError, CreateError, HugePageSize, HugePages, JoinError, Log, LogBuilder,
    ReadError, Reader, Retention, Start,
};
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tempfile::TempDir;

const WINDOW_BYTES: u64 = 64 << 10;
/// Of a log with two windows: the control page, then the first window.
const FIRST_WINDOW: u64 = 8192;
const SLOTS: u64 = 4096;
const SLOT_BYTES: u64 = 256;

fn small() -> LogBuilder {
    Log::builder().windows(2).window_bytes(WINDOW_BYTES).record_bytes(48).retention(Retention::Overwrite)
}

fn named(builder: &LogBuilder) -> (TempDir, PathBuf, Log) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("log");
    let log = builder.create_at(&path).unwrap();
    (dir, path, log)
}

/// What a peer with the file may do at any time.
fn scribble(path: &Path, file: &str, offset: u64, word: u64) {
    let file = File::options().write(true).open(path.join(file)).unwrap();
    file.write_all_at(&word.to_le_bytes(), offset).unwrap();
}

/// Reads all there is: what was read, and how many records the reader was told that it missed.
fn drain(reader: &mut Reader) -> (u64, u64) {
    let (mut read, mut missed) = (0, 0);
    loop {
        match reader.try_next().map(|record| record.map(|record| record.to_vec())) {
            Ok(Some(Ok(_))) => read += 1,
            Ok(Some(Err(ReadError::GivenUp { .. }))) => missed += 1,
            Err(ReadError::Lagged { missed: more, .. }) => missed += more,
            Ok(None) => return (read, missed),
            other => panic!("{other:?}"),
        }
    }
}

/// A bump word of another lap was taken for a full arena. With both windows' words overwritten once, an
/// append closed segment after segment, for ever.
#[test]
fn a_bump_word_of_another_lap_is_an_error_not_a_chase() {
    let (_dir, path, log) = named(&small());
    let mut appender = log.appender().unwrap();
    appender.append(b"before").unwrap();
    for window in 0..2 {
        scribble(&path, "log", FIRST_WINDOW + window * WINDOW_BYTES, u64::MAX);
    }
    let large = [0; 40 << 10];
    assert_eq!(appender.append(&large), Err(AppendError::Corrupt));
    drop(appender);
    assert_eq!(log.exclusive().unwrap().append(&large), Err(AppendError::Corrupt));
}

/// Hold words of empty slots were cleared and the append tried again, without end, while a peer that
/// has only the board wrote them again.
#[test]
fn a_peer_that_keeps_writing_hold_words_is_named_in_time() {
    let (_dir, path, log) = named(&small());
    let mut appender = log.appender().unwrap();
    let is_done = AtomicBool::new(false);
    let slowest = std::thread::scope(|scope| {
        let peer = scope.spawn(|| {
            while !is_done.load(Ordering::Relaxed) {
                (1..64).for_each(|slot| scribble(&path, "board", SLOTS + slot * SLOT_BYTES, 1));
            }
        });
        let slowest = (0..20_000).map(|_| {
            let started = Instant::now();
            match appender.append(&[0; 48]) {
                Ok(_) | Err(AppendError::Full { .. }) => started.elapsed(),
                Err(error) => panic!("{error}"),
            }
        });
        let slowest = slowest.max();
        is_done.store(true, Ordering::Relaxed);
        peer.join().unwrap();
        slowest
    });
    // It had no end; what is promised is 100 ms and what a busy machine adds.
    assert!(slowest < Some(Duration::from_secs(10)), "{slowest:?}");
}

/// A word written once into an exclusive appender's own slot kept it from appending for good, because
/// nobody ever wrote that slot again.
#[test]
fn an_appender_does_not_wait_for_itself() {
    let (_dir, path, log) = named(&small());
    let mut appender = log.exclusive().unwrap();
    scribble(&path, "board", SLOTS, 1);
    for _ in 0..10_000 {
        appender.append(&[0; 48]).unwrap();
    }
}

/// `head` is raised over a segment that is held; records in it could be read in order, but neither
/// got by number nor sought.
#[test]
fn a_pinned_reader_finds_what_it_holds() {
    let log = small().create_memfd("pinned").unwrap();
    let mut appender = log.appender().unwrap();
    for n in 0..100_u64 {
        appender.append_value(&n).unwrap();
    }
    let mut reader = log.reader(Start::At(3)).unwrap();
    reader.pin().unwrap();
    let full = (0..1_000_000_u64).find_map(|n| appender.append_value(&n).err()).expect("the pin holds the segment");
    assert!(matches!(full, AppendError::Full { by: Some(_), .. }), "{full}");
    for seq in [3, 5, 99] {
        assert_eq!(reader.get(seq).unwrap().unwrap().read::<u64>().unwrap(), seq);
        reader.seek(seq).unwrap();
        assert_eq!(reader.peek().unwrap().unwrap().read::<u64>().unwrap(), seq);
    }
    reader.seek(3).unwrap();
    assert_eq!(reader.try_next().unwrap().unwrap().seq(), 3);
}

/// Words of a segment that had been given up were still current, so a lapped reader was handed record
/// after record that could not be read, and told each time what it had missed in all.
#[test]
fn what_was_missed_is_counted_once() {
    let log = small().create_memfd("lapped").unwrap();
    let mut appender = log.appender().unwrap();
    let mut reader = log.reader(Start::Oldest).unwrap();
    for round in 1..200_u64 {
        for _ in 0..round * 7 {
            appender.append(&[0; 48]).unwrap();
        }
        let before = reader.position();
        let (read, missed) = drain(&mut reader);
        assert_eq!(read + missed, round * 7);
        assert_eq!(reader.position(), before + round * 7);
    }
}

/// Between fork and exec a child shares all open file descriptions: closing a handle's descriptor
/// then let go of nothing, and the next handle was refused though nobody was attached.
#[test]
fn a_dropped_handle_is_gone_even_while_a_child_is_started() {
    let log = small().create_memfd("forked").unwrap();
    let is_done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for _ in 0..100 {
                assert!(std::process::Command::new("true").status().unwrap().success());
            }
            is_done.store(true, Ordering::Relaxed);
        });
        while !is_done.load(Ordering::Relaxed) {
            log.exclusive().expect("nobody else is attached").append(b"x").unwrap();
        }
    });
}

/// An observer of a sparse copy on a full tmpfs died of SIGBUS.
#[test]
fn a_sparse_copy_is_refused() {
    let (_dir, path, log) = named(&small());
    drop(log);
    let file = path.join("log");
    let whole = std::fs::read(&file).unwrap();
    std::fs::remove_file(&file).unwrap();
    let copy = File::create_new(&file).unwrap();
    copy.write_all_at(&whole[..4096], 0).unwrap();
    copy.set_len(whole.len() as u64).unwrap();
    for access in [Access::Append, Access::Read, Access::Observe] {
        assert!(matches!(Log::open(&path, access), Err(AttachError::NotAllocated { what: "log", .. })));
    }
}

/// Any directory could be removed, whatever was in it.
#[test]
fn only_logs_are_removed() {
    let dir = tempfile::tempdir().unwrap();
    let photos = dir.path().join("photos");
    std::fs::create_dir(&photos).unwrap();
    std::fs::write(photos.join("a"), b"precious").unwrap();
    Log::remove(&photos).unwrap_err();
    assert_eq!(std::fs::read(photos.join("a")).unwrap(), b"precious");
    let (_dir, path, _log) = named(&small());
    Log::remove(path.join("log")).unwrap();
    assert!(!path.exists());
}

/// Of two processes that made an arena of one name, the second removed the first one's.
#[test]
fn an_arena_that_is_there_stays() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("arena");
    let arena = Arena::create_at(&path, 4096).unwrap();
    let price = arena.allocate_value(&7_u64).unwrap();
    assert!(matches!(Arena::create_at(&path, 4096), Err(CreateError::Exists { .. })));
    assert_eq!(Arena::open(&path, false).unwrap().load(price).unwrap(), 7);
}

/// The time-out was added to the clock without a check.
#[test]
fn the_longest_timeout_is_no_panic() {
    let log = small().create_memfd("patient").unwrap();
    let worker = log.spawn(&mut std::process::Command::new("true"), Access::Read).unwrap();
    worker.wait_attached(Duration::MAX).expect_err("`true` does not attach, and is gone");
}

/// The segment in front of the first one has no close: its bump word was of lap 0, so the first append
/// skipped a whole segment.
#[test]
fn the_first_segment_is_used() {
    let log = small().create_memfd("first").unwrap();
    log.appender().unwrap().append(b"x").unwrap();
    assert_eq!((log.info().head, log.info().active), (0, 0));
}

/// An observer's reader took a slot on a board that is mapped for reading only, and died.
#[test]
fn observers_read() {
    let (_dir, path, log) = named(&small());
    log.appender().unwrap().append(b"seen").unwrap();
    let observed = Log::open(&path, Access::Observe).unwrap();
    let mut reader = observed.reader(Start::Oldest).unwrap();
    assert_eq!(reader.try_next().unwrap().unwrap().to_vec().unwrap(), b"seen");
    assert!(matches!(reader.pin(), Err(JoinError::NoSeat)));
    assert!(matches!(observed.appender(), Err(JoinError::ReadOnly)));
    assert!(log.info().participants.is_empty());
}

/// A memfd's mode is 0777: whoever was sent a read-only descriptor could open it anew for writing, of
/// whatever user it was.
#[test]
fn another_user_cannot_reopen_the_log_for_writing() {
    if !nix::unistd::geteuid().is_root() {
        println!("skipped: only root can become another user");
        return;
    }
    let _log = small().create_memfd("guarded").unwrap();
    let descriptors = std::fs::read_dir("/proc/self/fd").unwrap().map(|entry| entry.unwrap().path());
    let is_log = |path: &PathBuf| {
        std::fs::read_link(path).is_ok_and(|target| target.as_os_str() == "/memfd:shmlog:guarded:log (deleted)")
    };
    let path = descriptors.into_iter().find(is_log).expect("the log is open");
    let reopens = |how: &str| {
        let mut shell = std::process::Command::new("sh");
        shell.args(["-c", how]).stdin(File::open(&path).unwrap()).stderr(std::process::Stdio::null());
        std::os::unix::process::CommandExt::uid(&mut shell, 65_534).status().unwrap().success()
    };
    assert!(!reopens("exec 3<> /proc/self/fd/0"), "it may not write");
    assert!(!reopens("exec 3< /proc/self/fd/0"), "and what it may read it has been sent");
}

/// `Require` was ignored for named logs.
#[test]
fn required_huge_pages_are_required_of_named_logs_too() {
    let dir = tempfile::tempdir().unwrap();
    let builder = small().huge_pages(HugePages::Require(HugePageSize::TwoMiB));
    let error = builder.create_at(dir.path().join("log")).unwrap_err();
    assert!(matches!(error, CreateError::NotHugetlbfs { wanted_bytes: 0x20_0000, .. }), "{error}");
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0, "nothing is left behind");
}

/// An append that met a reservation of somebody else waited 100 ms, whether that was too long or too
/// short.
#[test]
fn how_long_an_append_stalls_can_be_said() {
    let log = small().create_memfd("stalled").unwrap();
    let mut holder = log.appender_named("holder").unwrap();
    let slot = holder.reserve(48).unwrap();
    let mut appender = log.appender().unwrap();
    appender.set_stall_wait(Duration::ZERO);
    let full = (0..1_000_000).find_map(|_| appender.append(&[0; 48]).err());
    let full = full.expect("the reservation holds its segment");
    assert!(full.to_string().contains("\"holder\""), "{full}");
    // A holder that was waited for in vain is not waited for again, so the patient one is new.
    let mut patient = log.appender().unwrap();
    patient.set_stall_wait(Duration::from_secs(3600));
    std::thread::scope(|scope| {
        let appended = scope.spawn(move || patient.append(&[0; 48]));
        drop(slot);
        appended.join().unwrap().expect("the reservation is gone");
    });
}

/// A free reader that had read all of a segment, and not yet looked further, could not pin: «record 7 has been
/// given up, the oldest is 7». Found by the fuzzer.
#[test]
fn a_reader_behind_the_last_record_of_what_was_given_up_pins_the_next() {
    let log = small().entries(8).create_memfd("behind").unwrap();
    let mut appender = log.appender().unwrap();
    let mut reader = log.reader(Start::First).unwrap();
    for number in 0..7_u64 {
        appender.append_value(&number).unwrap();
        reader.try_next().unwrap().unwrap();
    }
    for number in 7..15_u64 {
        appender.append_value(&number).unwrap();
    }
    assert!(matches!(log.reader(Start::At(6)), Err(JoinError::Gone { seq: 6, oldest: 7 })));
    reader.pin().unwrap();
    let full = (15..40_u64).find_map(|number| appender.append_value(&number).err());
    assert!(matches!(full, Some(AppendError::Full { by: Some(_), since: 7 })), "{full:?}");
    assert_eq!(reader.try_next().unwrap().unwrap().read::<u64>().unwrap(), 7);
}

/// The story: with more appenders than a segment has leases, each took one, used it for one record, and found the
/// segment closed by whoever came last. 32 processes that appended durably rolled the front every 33 records.
#[test]
fn many_appenders_fill_a_segment_before_they_leave_it() {
    let fill = |appenders: usize| {
        let log = Log::builder()
            .windows(4)
            .window_bytes(2 << 20)
            .slots(64, 1)
            .retention(Retention::Keep)
            .create_memfd("many")
            .unwrap();
        let mut all: Vec<_> = (0..appenders).map(|_| log.appender().unwrap()).collect();
        let mut count = 0_u64;
        loop {
            for appender in &mut all {
                match appender.append(&[7; 150]) {
                    Ok(_) => count += 1,
                    Err(AppendError::Full { .. }) => return count,
                    Err(error) => panic!("{error}"),
                }
            }
        }
    };
    let alone = fill(1);
    for appenders in [2, 8, 31, 32, 33, 64] {
        let count = fill(appenders);
        assert!(count * 2 > alone, "{appenders}: {count} records, one alone {alone}");
    }
}
