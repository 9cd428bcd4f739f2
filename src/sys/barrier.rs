//! The rare side's fence: membarrier(2), GLOBAL_EXPEDITED.

use rustix::thread::{MembarrierCommand, membarrier};

/// Lets other processes' barriers reach this one. Once per process suffices; more do no harm.
pub(crate) fn register() -> rustix::io::Result<()> {
    membarrier(MembarrierCommand::RegisterGlobalExpedited)
}

/// A full fence in every running thread of every registered process.
pub(crate) fn everywhere() -> rustix::io::Result<()> {
    membarrier(MembarrierCommand::GlobalExpedited).or_else(|_| membarrier(MembarrierCommand::Global))
}
