//! What happens when memory behind a region is gone: its file was truncated, or a hole was punched into it
//! and can't be filled again. Touching such a page is a SIGBUS (mmap(2)), which by default kills.
//!
//! With the first region that a process maps, this crate installs a handler for SIGBUS. It puts a page of
//! zeroes in place of one that is gone, if that belongs to a region; the operation that came upon it, and
//! every later one on that region that can fail, returns `MemoryLost` (those that can't, such as `lag` or
//! `info`, show zeroes). A file that was truncated and made as long again has its pages, and gives no signal:
//! readers find the magic gone where they find nothing else, appenders at their next lease. A signal about any other address, or sent by a
//! process, goes to the handler that was there before, or does what it does by default. (The handler of
//! Rust's standard library, which is there in most programs, then takes itself and this one away.) Operations pay one
//! load of a word of this process.
//!
//! Bytes lent out in place ([`View::as_slice`](crate::View::as_slice), [`Pinned`](crate::Pinned)) become
//! zeroes under the borrower.
//!
//! Pages with an uncorrected memory error (BUS_MCEERR_AR) are handled alike. Where the kernel has no memory
//! for the page of zeroes, the process dies.
//!
//! A program that installs a handler of its own *later* calls [`replace_page`] from it. A thread that
//! blocks SIGBUS dies of one nevertheless (sigprocmask(2)).
#![allow(unsafe_code, reason = "replace_page is for signal handlers")]

use crate::sys::fault;

/// Leaves SIGBUS to the program. To be called before the first region is made or attached to; without effect
/// afterwards.
///
/// ```
/// shmlog::sigbus::leave_alone();
/// let log = shmlog::Log::builder().create_memfd("feed")?;
/// # Ok::<(), shmlog::CreateError>(())
/// ```
pub fn leave_alone() {
    fault::leave_alone();
}

/// Puts a page of zeroes to `address` if that is in a region of this crate, and has every further operation on
/// that region return `MemoryLost`. `false`: it is somebody else's, and nothing was done.
///
/// Async-signal-safe.
///
/// # Safety
/// A SIGBUS of the kernel, whose `si_addr` this is, is being handled.
///
/// ```no_run
/// use nix::libc;
/// extern "C" fn on_sigbus(_: i32, info: *mut libc::siginfo_t, _: *mut libc::c_void) {
///     let address = unsafe { (*info).si_addr() };
///     if !unsafe { shmlog::sigbus::replace_page(address as usize) } {
///         std::process::abort();
///     }
/// }
/// ```
pub unsafe fn replace_page(address: usize) -> bool {
    // SAFETY: the caller vouches for the same.
    unsafe { fault::replace(address) }
}
