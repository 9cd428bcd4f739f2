//! Cache hints.
#![allow(unsafe_code, reason = "prefetch instructions")]

use crate::sync::AtomicU64;
#[cfg(not(loom))]
use crate::sync::Ordering::Relaxed;

/// Asks for the cache line of `word` in a writable state. An appender alone writes its lease, so
/// the line is wanted by nobody else; when the store comes, it need not wait (Intel SDM, PREFETCHW).
#[inline(always)]
pub fn prefetch_write(word: &AtomicU64) {
    let line = core::ptr::from_ref(word).cast::<u8>();
    #[cfg(all(target_arch = "x86_64", not(loom)))]
    // Written out, because `_mm_prefetch` becomes a fetch for reading unless the target feature
    // `prfchw` is on. Processors without the instruction take it for a no-op.
    // SAFETY: a prefetch reads and writes nothing that the program can observe.
    unsafe {
        core::arch::asm!("prefetchw [{}]", in(reg) line, options(nostack, preserves_flags, readonly));
    }
    #[cfg(all(target_arch = "aarch64", not(loom)))]
    // SAFETY: a prefetch reads and writes nothing that the program can observe.
    unsafe {
        core::arch::asm!("prfm pstl1keep, [{}]", in(reg) line, options(nostack, preserves_flags, readonly));
    }
    let _ = line;
}

/// Takes the cache line of `word`, which nobody else uses and whose content is worth nothing, by a store. Not under
/// loom: no order rests on it.
#[inline(always)]
pub fn claim_write(word: &AtomicU64) {
    #[cfg(not(loom))]
    word.store(0, Relaxed);
    let _ = word;
}
