//! Cores.

use anyhow::{Context, Result};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// Pins this thread.
///
/// # Errors
/// There is no such core, or this process may not use it.
pub fn pin(core: usize) -> Result<()> {
    let mut set = CpuSet::new();
    set.set(core);
    sched_setaffinity(None, &set).with_context(|| format!("pinning to core {core}"))
}

/// The cores that this process may use.
pub fn cores() -> Vec<usize> {
    let Ok(set) = sched_getaffinity(None) else { return vec![0] };
    (0..CpuSet::MAX_CPU).filter(|&core| set.is_set(core)).collect()
}

/// Waits a moment: by spinning, or, where there are more ends than cores, by letting others run soon.
#[derive(Clone, Copy, Debug)]
pub struct Idle {
    yields: bool,
    spins: u32,
}

impl Idle {
    /// Spins before the first yield.
    const SPINS: u32 = 50;

    /// As the shape says.
    pub fn new(yields: bool) -> Self {
        Self { yields, spins: 0 }
    }

    /// There was nothing to do.
    #[inline]
    pub fn wait(&mut self) {
        std::hint::spin_loop();
        if self.yields {
            self.spins += 1;
            if self.spins > Self::SPINS {
                std::thread::yield_now();
            }
        }
    }

    /// There was something to do.
    #[inline]
    pub fn done(&mut self) {
        self.spins = 0;
    }
}
