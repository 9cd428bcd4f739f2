//! What the kernel does to a process at its own time: where it runs, what comes before it, what interrupts it.
#![allow(unsafe_code, reason = "a signal handler, and a scheduling policy")]

use nix::libc::{self, c_int};
use nix::sched::{CpuSet, sched_setaffinity};
use nix::sys::signal::{SaFlags, SigAction, SigEvent, SigHandler, SigSet, SigevNotify, Signal, sigaction};
use nix::sys::time::TimeSpec;
use nix::sys::timer::{Expiration, Timer, TimerSetTimeFlags};
use nix::time::ClockId;
use nix::unistd::{Pid, gettid};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

static INTERRUPTIONS: AtomicU64 = AtomicU64::new(0);

extern "C" fn count(_: c_int) {
    INTERRUPTIONS.fetch_add(1, Relaxed);
}

/// How often this process was interrupted.
pub fn interruptions() -> u64 {
    INTERRUPTIONS.load(Relaxed)
}

/// Interrupts the calling thread again and again, for as long as the result lives: system calls fail with EINTR.
pub fn storm(every: Duration) -> Timer {
    let action = SigAction::new(SigHandler::Handler(count), SaFlags::empty(), SigSet::empty());
    // SAFETY: the handler counts, by one atomic.
    unsafe { sigaction(Signal::SIGALRM, &action) }.unwrap();
    let thread = SigevNotify::SigevThreadId { signal: Signal::SIGALRM, thread_id: gettid().as_raw(), si_value: 0 };
    let mut timer = Timer::new(ClockId::CLOCK_MONOTONIC, SigEvent::new(thread)).unwrap();
    let every = Expiration::Interval(TimeSpec::from_duration(every));
    timer.set(every, TimerSetTimeFlags::empty()).unwrap();
    timer
}

/// Lets a thread run on this core only; on any, if there is no such core.
pub fn pin_to(thread: Pid, core: usize) {
    let mut cores = CpuSet::new();
    cores.set(core).unwrap();
    // What has just ended can't be moved.
    let _ = sched_setaffinity(thread, &cores);
}

/// Lets the calling thread come before all ordinary ones, whenever it can run. False: that is not allowed here.
pub fn come_first() -> bool {
    let param = libc::sched_param { sched_priority: 1 };
    // SAFETY: the parameters are only read.
    unsafe { libc::sched_setscheduler(0, libc::SCHED_FIFO, &raw const param) == 0 }
}
