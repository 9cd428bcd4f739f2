//! Disks without room: for a file, for the journal, for its front. Nothing acknowledged is lost, and all goes on when
//! there is room.

use crate::alone::{alone, with_limit};
use crate::common::{is_root, payload, skip};
use crate::mounting::{have_own_mounts, mount_tmpfs, run};
use nix::sys::resource::Resource;
use rustix::fs::{FallocateFlags, fallocate};
use shmlog::{Flush, FrontHome, Journal, JournalAppender, JournalBuilder, JournalError, Start};
use std::fs::File;
use std::path::Path;
use std::time::Duration;

#[test]
fn a_full_disk_is_an_error_that_passes() {
    if !is_root() {
        return skip("full disks", "only root can mount them");
    }
    alone("disk full");
}

/// A process with a limit (`ulimit -f`) that flushed into a file which others had prepared was sent a SIGXFSZ.
#[test]
fn a_file_that_may_not_be_so_large_is_an_error_and_no_signal() {
    alone("file size");
}

const FILE_BYTES: u64 = 64 << 10;
const PAGE: u64 = 4096;

fn small(front: &Path) -> JournalBuilder {
    Journal::builder().file_bytes(FILE_BYTES).front_size(2, 64 << 10).front(FrontHome::At(front.to_owned()))
}

pub fn role() {
    if !have_own_mounts("full disks") {
        return;
    }
    let (dir, fronts) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (at, front) = (dir.path(), fronts.path());
    mount_tmpfs(front, "size=16m");
    for has_thread in [false, true] {
        for flush in [Flush::After(Duration::from_millis(1)), Flush::Never] {
            at_every_file(at, &small(front).thread(has_thread).flush(flush));
        }
    }
    while_opening(at, &small(front));
    while_closing(at, &small(front).thread(false));
    after_a_crash(at, front);
    for home in [FrontHome::Auto, FrontHome::At("/dev/shm".into())] {
        without_room_for_the_front(at, &home);
    }
}

fn unmount(at: &Path) {
    assert!(run("umount", &[at.to_str().unwrap()]));
}

fn resize(at: &Path, bytes: u64) {
    assert!(run("mount", &["-o", &format!("remount,size={bytes}"), at.to_str().unwrap()]));
}

fn bytes_of(seq: u64) -> Vec<u8> {
    payload(1, seq, 900)
}

/// Appends until there is no room, of one kind or the other. Returns the error.
fn fill(appender: &mut JournalAppender, next: &mut u64, is_durable: bool) -> JournalError {
    loop {
        let bytes = bytes_of(*next);
        let appended = if is_durable { appender.append_durable(&bytes) } else { appender.append(&bytes) };
        match appended {
            Ok(seq) => assert_eq!(seq, *next),
            Err(error) => return error,
        }
        *next += 1;
    }
}

fn assert_full(error: &JournalError) {
    let JournalError::DiskFull { wanted_bytes, .. } = error else { panic!("{error:?}") };
    assert_eq!(*wanted_bytes, FILE_BYTES, "{error}");
}

fn check(journal: &Journal, count: u64) {
    let mut reader = journal.reader(Start::First).unwrap();
    for seq in 0..count {
        assert_eq!(reader.try_next().unwrap().unwrap_or_else(|| panic!("record {seq}")).bytes(), bytes_of(seq));
    }
    assert!(reader.try_next().unwrap().is_none());
}

/// The disk is full at each file; in between there is room for one more.
fn at_every_file(at: &Path, builder: &JournalBuilder) {
    mount_tmpfs(at, "size=96k");
    let dir = at.join("journal");
    let journal = builder.open(&dir).unwrap();
    let mut appender = journal.appender().unwrap();
    let mut next = 0;
    for files in 2..6 {
        let acknowledged = journal.durable();
        assert_full(&fill(&mut appender, &mut next, true));
        // That one was appended, and is not durable; unless there was no room in memory either.
        let appended = journal.next_seq() - next;
        assert!(appended <= 1, "{appended}");
        next += appended;
        assert!(journal.durable() >= acknowledged && journal.durable() < next);
        assert_full(&appender.sync_to(next).unwrap_err());
        // As long as there is room in memory.
        assert_full(&fill(&mut appender, &mut next, false));
        assert_eq!(journal.next_seq(), next, "nothing was appended");
        check(&journal, next);
        assert_full(&journal.sync().unwrap_err());
        resize(at, files * FILE_BYTES + (32 << 10));
    }
    resize(at, 4 << 20);
    assert_eq!(journal.sync().unwrap(), next);
    check(&journal, next);
    drop((appender, journal));
    let journal = builder.open(&dir).unwrap();
    assert!(journal.recovery().unwrap().was_closed);
    check(&journal, next);
    drop(journal);
    unmount(at);
}

/// A file that leaves `room` of a file system, or about that.
fn squeeze(at: &Path, room: u64) -> File {
    let filler = File::create(at.join("filler")).unwrap();
    let mut len = 8 << 20;
    while fallocate(&filler, FallocateFlags::empty(), 0, len).is_err() {
        len -= PAGE;
    }
    filler.set_len(len - room.min(len)).unwrap();
    filler
}

/// A journal that is made, with ever more room.
fn while_opening(at: &Path, builder: &JournalBuilder) {
    mount_tmpfs(at, "size=1m");
    let dir = at.join("journal");
    let mut refused = 0;
    for room in (0..).map(|pages| pages * PAGE) {
        squeeze(at, room);
        match builder.open(&dir) {
            Ok(journal) => {
                // Made, but there is no room for records.
                let appended = journal.appender().unwrap().append_durable(&bytes_of(0));
                assert_full(&appended.unwrap_err());
                std::fs::remove_file(at.join("filler")).unwrap();
                assert_eq!(journal.sync().unwrap(), 1);
                check(&journal, 1);
                break;
            }
            Err(JournalError::DiskFull { .. }) => refused += 1,
            Err(error) => panic!("with {room} bytes: {error:?}"),
        }
        std::fs::remove_file(at.join("filler")).unwrap();
    }
    assert!(refused > 0);
    check(&builder.open_existing(&dir).unwrap(), 1);
    unmount(at);
}

/// Closing has a last frame to write, if there are cursors. `close` said that all was well, and left the front behind.
fn while_closing(at: &Path, builder: &JournalBuilder) {
    mount_tmpfs(at, "size=32k");
    builder.open(at).unwrap().close().unwrap();
    let journal = builder.open(at).unwrap();
    drop(journal.cursor("a").unwrap());
    assert_full(&journal.close().unwrap_err());
    resize(at, 1 << 20);
    builder.open(at).unwrap().close().unwrap();
    unmount(at);
}

/// A journal that was not closed, on a disk that is full by now: it can be opened and read, and goes on later.
fn after_a_crash(at: &Path, front: &Path) {
    mount_tmpfs(at, "size=1m");
    let dir = at.join("journal");
    let builder = small(front).thread(false);
    let copy = at.join("copy");
    {
        let journal = builder.open(&dir).unwrap();
        let mut appender = journal.appender().unwrap();
        (0..20).for_each(|seq| assert_eq!(appender.append_durable(&bytes_of(seq)).unwrap(), seq));
        // As the disk is if the power fails now; with something behind the end that is none of it.
        assert!(run("cp", &["-r", dir.to_str().unwrap(), copy.to_str().unwrap()]));
    }
    let last = copy.join(format!("{:020}.log", 0));
    let torn = std::os::unix::fs::FileExt::write_all_at;
    torn(&File::options().write(true).open(&last).unwrap(), &[7; 100], FILE_BYTES - 200).unwrap();
    squeeze(at, 0);
    match builder.open(&copy) {
        Ok(journal) => {
            check(&journal, 20);
            let sync = journal.appender().unwrap().append_durable(&bytes_of(20));
            assert!(matches!(sync, Ok(20) | Err(JournalError::DiskFull { .. })), "{sync:?}");
        }
        Err(error) => assert!(matches!(error, JournalError::DiskFull { .. }), "{error:?}"),
    }
    std::fs::remove_file(at.join("filler")).unwrap();
    let journal = builder.open(&copy).unwrap();
    let count = journal.next_seq();
    assert!((20..=21).contains(&count));
    check(&journal, count);
    journal.sync().unwrap();
    drop(journal);
    unmount(at);
}

/// The front finds no room where it should be; its memory, or its names.
fn without_room_for_the_front(at: &Path, home: &FrontHome) {
    let shm = Path::new("/dev/shm");
    for options in ["size=64k", "size=16m,ro", "size=16m,nr_inodes=2", "size=16m,nr_inodes=3", "size=16m,nr_inodes=5"] {
        mount_tmpfs(shm, options);
        mount_tmpfs(at, "size=16m");
        let opened = small(at).front(home.clone()).open(at.join("journal"));
        if *home == FrontHome::Auto {
            let journal = opened.unwrap_or_else(|error| panic!("{options}: {error:?}"));
            journal.appender().unwrap().append_durable(&bytes_of(0)).unwrap();
            assert!(at.join("journal/front").is_dir(), "{options}: in the directory instead");
        } else {
            let error = opened.unwrap_err();
            let is_it = match &error {
                JournalError::ReadOnlyMount { .. } => options.contains("ro"),
                JournalError::Create(_) | JournalError::DiskFull { .. } => true,
                _ => false,
            };
            let says = error.to_string();
            assert!(is_it && (says.contains("front") || says.contains("/dev/shm")), "{options}: {says}");
        }
        assert_eq!(std::fs::read_dir(shm).unwrap().count(), 0, "{options}: nothing is left");
        unmount(at);
        unmount(shm);
    }
}

pub fn file_size() {
    const LIMIT: u64 = 256 << 10;
    let dir = tempfile::tempdir().unwrap();
    let builder = small(dir.path()).file_bytes(1 << 20).thread(false);
    let at = dir.path().join("journal");
    let journal = builder.open(&at).unwrap();
    let mut appender = journal.appender().unwrap();
    appender.append_durable(&bytes_of(0)).unwrap();
    let mut next = 1;
    let error = with_limit(Resource::RLIMIT_FSIZE, LIMIT, || fill(&mut appender, &mut next, true));
    assert!(error.to_string().contains("large"), "{error}");
    assert!(next > 200, "as far as it may: {next}");
    // It is this process's own affair.
    assert_eq!(journal.sync().unwrap(), next + 1);
    check(&journal, next + 1);
    drop((appender, journal));
    let refused = with_limit(Resource::RLIMIT_FSIZE, 4096, || builder.open(dir.path().join("other")).unwrap_err());
    assert!(refused.to_string().contains("large") || refused.to_string().contains("limit"), "{refused}");
}
