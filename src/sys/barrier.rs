//! The rare side's fence: membarrier(2), GLOBAL_EXPEDITED.

use crate::sync::{Fencing, Ordering::SeqCst, fence};
use rustix::thread::{MembarrierCommand, membarrier};

/// Lets other processes' barriers reach this one. Once per process suffices; more do no harm.
fn register() -> rustix::io::Result<()> {
    membarrier(MembarrierCommand::RegisterGlobalExpedited)
}

/// Prepares a process whose threads issue the light fence: registers, and tries the barrier.
pub(crate) fn prepare(fencing: Fencing) -> rustix::io::Result<()> {
    if fencing == Fencing::Portable { Ok(()) } else { register().and_then(|()| everywhere()) }
}

/// A full fence here and, if the others issue light ones, in every running thread of theirs.
pub(crate) fn heavy_fence(fencing: Fencing) -> rustix::io::Result<()> {
    fence(SeqCst);
    if fencing == Fencing::Portable { Ok(()) } else { everywhere() }
}

/// A full fence in every running thread of every registered process.
fn everywhere() -> rustix::io::Result<()> {
    membarrier(MembarrierCommand::GlobalExpedited).or_else(|_| membarrier(MembarrierCommand::Global))
}
