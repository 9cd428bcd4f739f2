//! The only file that names `core::sync::atomic` or `loom`.
//!
//! Everything above takes its atomics from here, so that the same source runs on mapped memory and
//! under the model checker (after left-right's `sync.rs` and crossbeam's `primitive`).

#[cfg(not(loom))]
pub use core::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering, compiler_fence, fence};
#[cfg(loom)]
pub use loom::sync::atomic::{AtomicU32, AtomicU64, Ordering, fence};

/// Who pays for the store-load fence between an appender's pin and the recycler's look at it, and
/// between a commit and the look at the doorbell.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Fencing {
    /// The frequent side issues a compiler fence only; the rare side interrupts every core with
    /// `membarrier(GLOBAL_EXPEDITED)` (see membarrier(2)). The default.
    Asymmetric = 0,
    /// Both sides issue a full fence: no system call, a locked instruction more for each append.
    Portable = 1,
}

/// The frequent side of the store-load fence.
#[inline(always)]
pub fn light_fence(fencing: Fencing) {
    #[cfg(loom)]
    if fencing == Fencing::Portable {
        fence(Ordering::SeqCst);
    }
    #[cfg(not(loom))]
    match fencing {
        Fencing::Asymmetric => compiler_fence(Ordering::SeqCst),
        Fencing::Portable => fence(Ordering::SeqCst),
    }
}
