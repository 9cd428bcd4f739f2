//! In steady state an append and a read cost no page fault, no system call and no allocation. All are counted, over a
//! million. Rolling to the next segment is allowed its one barrier under asymmetric fences, where others may append.

#![cfg(target_env = "gnu")] // For nix's `syscall_info`.
#![allow(unsafe_code, reason = "a field of a union that ptrace(2) fills; an allocator that counts")]

mod common;

use common::{Ground, child, finish, setting, skip};
use nix::sys::ptrace;
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::signal::{Signal, raise};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{Pid, gettid};
use shmlog::{Appender, Exclusive, Fencing, Log, LogBuilder, Mode, Reader, Shared, Start};
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::process::Stdio;

const MANY: u64 = 1_000_000;
/// Laps by which everything has been touched.
const WARM_LAPS: u64 = 5;

/// Counts what each thread allocates.
struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

// SAFETY: the system's, and a count that needs no allocation.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        // SAFETY: as the caller says.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        // SAFETY: as the caller says.
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn ring(fencing: Fencing) -> LogBuilder {
    Log::builder().windows(4).window_bytes(256 << 10).record_bytes(24).fencing(fencing)
}

/// Appends and reads `count` records; every eighth through a reservation.
fn go<M: Mode>(appender: &mut Appender<M>, reader: &mut Reader, count: u64) {
    let mut bytes = [7; 24];
    for number in 0..count {
        bytes[..8].copy_from_slice(&number.to_le_bytes());
        if number % 8 == 0 {
            let mut slot = appender.reserve(24).unwrap();
            slot.write(0, &bytes);
            slot.commit().unwrap();
        } else {
            appender.append(&bytes).unwrap();
        }
        let record = reader.try_next().unwrap().unwrap();
        assert_eq!(record.read::<[u8; 24]>().unwrap(), bytes);
    }
}

fn warm<M: Mode>(log: &Log, appender: &mut Appender<M>, reader: &mut Reader) {
    while log.info().active < WARM_LAPS * log.info().windows {
        go(appender, reader, 10_000);
    }
}

fn faults() -> i64 {
    let usage = getrusage(UsageWho::RUSAGE_THREAD).unwrap();
    usage.minor_page_faults() + usage.major_page_faults()
}

fn count_faults<M: Mode>(log: &Log, mut appender: Appender<M>, is_gated: bool) -> i64 {
    let mut reader = log.reader_builder().gated(is_gated).start(Start::End).unwrap();
    warm(log, &mut appender, &mut reader);
    // The kernel may move a page under it (compaction, NUMA balancing), but not each time.
    let mut again = || {
        let before = faults();
        go(&mut appender, &mut reader, MANY);
        faults() - before
    };
    (0..3).map(|_| again()).find(|&faults| faults == 0).unwrap_or_else(again)
}

#[test]
fn a_million_appends_and_reads_fault_no_page() {
    for ground in Ground::all() {
        // The disk's pages are written back now and then, and fault when they are written again.
        if matches!(ground, Ground::In { what: "plain file", .. }) {
            continue;
        }
        let Some(log) = ground.create(&ring(Fencing::Portable), "faults") else { continue };
        assert_eq!(count_faults::<Shared>(&log, log.appender().unwrap(), true), 0, "{}", ground.name());
        assert_eq!(count_faults::<Exclusive>(&log, log.exclusive().unwrap(), false), 0, "{}", ground.name());
    }
}

/// What is present from the start needs no warming up: the first lap faults no more than the others.
#[test]
fn a_fresh_log_faults_no_page_either() {
    let log = ring(Fencing::Portable).create_memfd("fresh").unwrap();
    let mut appender = log.appender().unwrap();
    let mut reader = log.reader(Start::First).unwrap();
    // The code and the stack, not the log.
    go(&mut appender, &mut reader, 8);
    let before = faults();
    go(&mut appender, &mut reader, 40_000);
    assert!(log.info().active >= log.info().windows);
    let pages = log.info().region_bytes / 4096;
    assert!(faults() - before < 8, "{} faults, {pages} pages", faults() - before);
}

#[test]
fn a_million_appends_and_reads_allocate_nothing() {
    let log = ring(Fencing::Portable).create_memfd("allocations").unwrap();
    let mut reader = log.reader_builder().gated(true).start(Start::End).unwrap();
    let mut count = |what: &str, go: &mut dyn FnMut(&mut Reader)| {
        let before = ALLOCATIONS.get();
        go(&mut reader);
        assert_eq!(ALLOCATIONS.get(), before, "{what}");
    };
    let mut shared = log.appender().unwrap();
    count("shared", &mut |reader| go(&mut shared, reader, MANY));
    drop(shared);
    let mut exclusive = log.exclusive().unwrap();
    count("exclusive", &mut |reader| go(&mut exclusive, reader, MANY));
    count("batches", &mut |reader| {
        let mut read = 0;
        for number in 0..MANY / 4 {
            exclusive.append_parts(&[&number.to_le_bytes(), b"part"]).unwrap();
            read += reader.batch().unwrap().map(|record| record.parts().count() as u64).sum::<u64>();
        }
        assert_eq!(read, MANY / 2);
    });
}

#[test]
fn child_entry() {
    common::enter(&[("traced", traced)]);
}

/// Does its million between two stops.
fn traced() {
    let fencing =
        if setting::<String>("SHMLOG_TEST_FENCING") == "Portable" { Fencing::Portable } else { Fencing::Asymmetric };
    let log = ring(fencing).create_memfd("traced").unwrap();
    if setting("SHMLOG_TEST_EXCLUSIVE") {
        trace_me::<Exclusive>(&log, log.exclusive().unwrap());
    } else {
        trace_me::<Shared>(&log, log.appender().unwrap());
    }
}

fn trace_me<M: Mode>(log: &Log, mut appender: Appender<M>) {
    let mut reader = log.reader_builder().gated(true).start(Start::End).unwrap();
    warm(log, &mut appender, &mut reader);
    let segment = log.info().active;
    let is_traced = ptrace::traceme().is_ok();
    let mut out = std::io::stderr().lock();
    writeln!(out, "\nTHREAD {} {is_traced}", gettid()).unwrap();
    if is_traced {
        raise(Signal::SIGSTOP).unwrap();
        go(&mut appender, &mut reader, MANY);
        raise(Signal::SIGSTOP).unwrap();
        writeln!(out, "\nSEGMENTS {}", log.info().active - segment).unwrap();
    }
}

/// Calls by number, and the segments that were begun; `None` where tracing is not allowed.
fn count_calls(fencing: Fencing, is_exclusive: bool) -> Option<(BTreeMap<u64, u64>, u64)> {
    let mut command = child("traced");
    command.env("SHMLOG_TEST_FENCING", format!("{fencing:?}")).env("SHMLOG_TEST_EXCLUSIVE", is_exclusive.to_string());
    let mut traced = command.stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(traced.stderr.take().unwrap()).lines().map(Result::unwrap);
    let mut find =
        |what: &str| lines.find_map(|line| line.strip_prefix(what).map(str::to_owned)).expect("a child's line");
    let line = find("THREAD ");
    let (thread, is_traced) = line.split_once(' ').unwrap();
    if is_traced != "true" {
        finish(traced, common::PATIENCE);
        return None;
    }
    let thread = Pid::from_raw(thread.parse().unwrap());
    let wait = || waitpid(thread, Some(WaitPidFlag::__WALL)).unwrap();
    assert_eq!(wait(), WaitStatus::Stopped(thread, Signal::SIGSTOP));
    ptrace::setoptions(thread, ptrace::Options::PTRACE_O_TRACESYSGOOD).unwrap();
    let mut calls = BTreeMap::new();
    loop {
        ptrace::syscall(thread, None).unwrap();
        match wait() {
            WaitStatus::PtraceSyscall(_) => {
                let info = ptrace::syscall_info(thread).unwrap();
                if info.op == nix::libc::PTRACE_SYSCALL_INFO_ENTRY {
                    // SAFETY: `op` says which of the fields is valid.
                    let number = unsafe { info.u.entry.nr };
                    *calls.entry(number).or_insert(0) += 1;
                }
            }
            WaitStatus::Stopped(_, Signal::SIGSTOP) => break,
            other => panic!("{other:?}"),
        }
    }
    ptrace::detach(thread, None).unwrap();
    let segments = find("SEGMENTS ").parse().unwrap();
    assert!(finish(traced, common::PATIENCE).success());
    Some((calls, segments))
}

#[test]
fn a_million_appends_and_reads_call_the_system_only_to_roll() {
    for (fencing, is_exclusive) in [
        (Fencing::Portable, false),
        (Fencing::Portable, true),
        (Fencing::Asymmetric, false),
        (Fencing::Asymmetric, true),
    ] {
        let Some((mut calls, segments)) = count_calls(fencing, is_exclusive) else {
            return skip("counting system calls", "ptrace(2) is not allowed here");
        };
        let barriers = calls.remove(&nix::libc::SYS_membarrier.cast_unsigned()).unwrap_or(0);
        eprintln!("{fencing:?}, exclusive {is_exclusive}: {barriers} barriers in {segments} segments, else {calls:?}");
        assert!(segments > 30);
        // Who appends alone has nobody to interrupt.
        let interrupts = fencing == Fencing::Asymmetric && !is_exclusive;
        assert_eq!(barriers, if interrupts { segments } else { 0 });
        // The two stops themselves: masking signals, kill, and the ids it needs.
        assert!(calls.values().sum::<u64>() <= 10, "{calls:?}");
    }
}
