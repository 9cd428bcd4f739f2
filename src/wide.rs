//! Copies whole words by instructions wider than one, to and from memory that peers may access meanwhile.
//!
//! The language's atomics are at most a word wide, and compilers do not merge relaxed ones. A load of 16
//! bytes, written out, is to the program what two relaxed loads of a word are: it is ordered with other
//! loads and stores as any (it is no string instruction and no non-temporal one), and what a peer writes
//! meanwhile makes wrong bytes, as with words. So are stores. Half as many stores fill the store buffer half
//! as fast while it waits for a line that a reader has just looked at.
//!
//! Under loom, under `--cfg shmlog_words` (for sanitizers, which do not see into assembly) and on other
//! processors the words are copied one by one.
#![allow(unsafe_code, reason = "vector loads and stores, which the language has no atomics for")]

use crate::sync::AtomicU64;

/// Stores `from` to as many words as there are.
#[inline(always)]
pub(crate) fn store(to: &[AtomicU64], from: &[[u8; 8]]) {
    #[cfg(all(target_arch = "x86_64", not(loom), not(shmlog_words)))]
    {
        let words = to.len().min(from.len());
        // SAFETY: so many words are in both; the one is borrowed, the other atomics.
        unsafe { blocks::store(from.as_ptr().cast(), to.as_ptr().cast_mut().cast(), words) };
    }
    #[cfg(not(all(target_arch = "x86_64", not(loom), not(shmlog_words))))]
    for (word, bytes) in to.iter().zip(from) {
        word.store(u64::from_le_bytes(*bytes), crate::sync::Ordering::Relaxed);
    }
}

/// Loads as many words as fit into `to`.
#[inline(always)]
pub(crate) fn load(from: &[AtomicU64], to: &mut [[u8; 8]]) {
    #[cfg(all(target_arch = "x86_64", not(loom), not(shmlog_words)))]
    {
        let words = to.len().min(from.len());
        // SAFETY: so many words are in both; the one is borrowed alone, the other atomics.
        unsafe { blocks::load(from.as_ptr().cast(), to.as_mut_ptr().cast(), words) };
    }
    #[cfg(not(all(target_arch = "x86_64", not(loom), not(shmlog_words))))]
    for (bytes, word) in to.iter_mut().zip(from) {
        *bytes = word.load(crate::sync::Ordering::Relaxed).to_le_bytes();
    }
}

#[cfg(all(target_arch = "x86_64", not(loom), not(shmlog_words)))]
mod blocks {
    use core::arch::asm;

    /// From so many words on the way to [`lines`] is worth it: 2 KiB.
    const LONG_WORDS: usize = 256;

    /// Copies `words` words, by two loads of a word and one store of two.
    ///
    /// What is stored has often just been made: a load of two words that two stores of one word are under way
    /// to has to wait until they, and all before them, are in the cache (Intel optimization manual, "store
    /// forwarding"), which takes as long as a line from the other core. A load of one word is answered at once.
    ///
    /// # Safety
    /// Both are valid for `words * 8` bytes, do not overlap, and are accessed by others as atomics at most.
    #[inline(always)]
    pub(super) unsafe fn store(from: *const u8, to: *mut u8, words: usize) {
        // SAFETY: as the caller says; `four` copies four words.
        unsafe { by_blocks::<4>(from, to, words, four) };
    }

    /// Copies `words` words, two at a time.
    ///
    /// # Safety
    /// As [`store`].
    #[inline(always)]
    pub(super) unsafe fn load(from: *const u8, to: *mut u8, words: usize) {
        // SAFETY: as the caller says; `line` copies eight words.
        unsafe { by_blocks::<8>(from, to, words, line) };
    }

    /// Copies `words` words by `block`, which copies `WORDS`; many by [`lines`], and what is left over one by one.
    ///
    /// # Safety
    /// As [`store`].
    #[inline(always)]
    unsafe fn by_blocks<const WORDS: usize>(
        mut from: *const u8,
        mut to: *mut u8,
        mut words: usize,
        block: unsafe fn(*const u8, *mut u8),
    ) {
        if words >= LONG_WORDS {
            // SAFETY: as the caller says; no more words than there are.
            unsafe { lines(from, to, words / 8) };
            from = from.wrapping_add(words / 8 * 64);
            to = to.wrapping_add(words / 8 * 64);
            words %= 8;
        }
        let end = from.wrapping_add(words / WORDS * WORDS * 8);
        while from != end {
            // SAFETY: a block of each is left.
            unsafe { block(from, to) };
            from = from.wrapping_add(WORDS * 8);
            to = to.wrapping_add(WORDS * 8);
        }
        for _ in 0..words % WORDS {
            // SAFETY: a word of each is left.
            unsafe { one(from, to) };
            from = from.wrapping_add(8);
            to = to.wrapping_add(8);
        }
    }

    /// Copies four words, loading each by itself.
    ///
    /// # Safety
    /// As [`store`].
    #[inline(always)]
    unsafe fn four(from: *const u8, to: *mut u8) {
        // SAFETY: the caller vouches for the addresses; the registers are declared.
        unsafe {
            asm!(
                "movq {a}, [{from}]",
                "movq {b}, [{from} + 16]",
                "movhps {a}, [{from} + 8]",
                "movhps {b}, [{from} + 24]",
                "movups [{to}], {a}",
                "movups [{to} + 16], {b}",
                from = in(reg) from,
                to = in(reg) to,
                a = out(xmm_reg) _,
                b = out(xmm_reg) _,
                options(nostack, preserves_flags),
            );
        }
    }

    /// Copies lines of eight words, by the widest instructions that there are.
    ///
    /// # Safety
    /// As [`store`].
    #[inline(never)]
    unsafe fn lines(mut from: *const u8, mut to: *mut u8, lines: usize) {
        let end = from.wrapping_add(lines * 64);
        if std::arch::is_x86_feature_detected!("avx") {
            while from != end {
                // SAFETY: eight words of each are left; the processor has the registers, whose lower halves are
                // declared, and their upper halves are nobody's.
                unsafe {
                    asm!(
                        "vmovdqu ymm0, [{from}]",
                        "vmovdqu ymm1, [{from} + 32]",
                        "vmovdqu [{to}], ymm0",
                        "vmovdqu [{to} + 32], ymm1",
                        from = in(reg) from,
                        to = in(reg) to,
                        out("xmm0") _,
                        out("xmm1") _,
                        options(nostack, preserves_flags),
                    );
                }
                from = from.wrapping_add(64);
                to = to.wrapping_add(64);
            }
            // SAFETY: zeroes upper halves, without which instructions on lower ones are slow; all registers that it
            // touches are declared.
            unsafe { asm!("vzeroupper", clobber_abi("C"), options(nomem, nostack)) };
            return;
        }
        while from != end {
            // SAFETY: eight words of each are left.
            unsafe { line(from, to) };
            from = from.wrapping_add(64);
            to = to.wrapping_add(64);
        }
    }

    /// Copies eight words.
    ///
    /// # Safety
    /// As [`store`].
    #[inline(always)]
    unsafe fn line(from: *const u8, to: *mut u8) {
        // SAFETY: the caller vouches for the addresses; the registers are declared.
        unsafe {
            asm!(
                "movups {a}, [{from}]",
                "movups {b}, [{from} + 16]",
                "movups {c}, [{from} + 32]",
                "movups {d}, [{from} + 48]",
                "movups [{to}], {a}",
                "movups [{to} + 16], {b}",
                "movups [{to} + 32], {c}",
                "movups [{to} + 48], {d}",
                from = in(reg) from,
                to = in(reg) to,
                a = out(xmm_reg) _,
                b = out(xmm_reg) _,
                c = out(xmm_reg) _,
                d = out(xmm_reg) _,
                options(nostack, preserves_flags),
            );
        }
    }

    /// Copies a word.
    ///
    /// # Safety
    /// As [`store`].
    #[inline(always)]
    unsafe fn one(from: *const u8, to: *mut u8) {
        // SAFETY: the caller vouches for the addresses; the register is declared.
        unsafe {
            asm!(
                "mov {a}, [{from}]",
                "mov [{to}], {a}",
                from = in(reg) from,
                to = in(reg) to,
                a = out(reg) _,
                options(nostack, preserves_flags),
            );
        }
    }
}
