//! Two clocks: one that all processes share, and one that costs little.
#![allow(unsafe_code, reason = "rdtsc")]

use rustix::time::{ClockId, clock_gettime};
use std::time::{Duration, Instant};

/// `CLOCK_MONOTONIC`, which all processes of a machine share.
#[inline]
pub fn shared_ns() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    now.tv_sec.cast_unsigned() * 1_000_000_000 + now.tv_nsec.cast_unsigned()
}

/// A moment for intervals on one core.
#[inline]
pub fn ticks() -> u64 {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: every x86-64 has it, and Linux allows it unless a process forbids it itself (prctl(2)).
    unsafe {
        core::arch::x86_64::_rdtsc()
    }
    #[cfg(not(target_arch = "x86_64"))]
    shared_ns()
}

/// How long a tick is, in picoseconds.
pub fn measure_ps_per_tick() -> f64 {
    let (began, first) = (Instant::now(), ticks());
    while began.elapsed() < Duration::from_millis(50) {}
    let (took, last) = (began.elapsed(), ticks());
    took.as_secs_f64() * 1e12 / (last - first) as f64
}

/// Ticks to picoseconds.
#[derive(Clone, Copy, Debug)]
pub struct Scale {
    ps_per_tick: f64,
}

impl Scale {
    /// As the parent measured it.
    pub fn new(ps_per_tick: f64) -> Self {
        Self { ps_per_tick }
    }

    /// Of `ticks`, each of `parts` parts of it.
    #[inline]
    pub fn ps(self, ticks: u64, parts: u64) -> u64 {
        (ticks as f64 * self.ps_per_tick / parts as f64) as u64
    }

    /// How many ticks `seconds` are.
    pub fn ticks(self, seconds: f64) -> u64 {
        (seconds * 1e12 / self.ps_per_tick) as u64
    }
}
