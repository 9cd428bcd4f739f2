//! SIGBUS: memory behind a mapping that is gone. The page touched is replaced by one of zeroes, and the
//! mapping is marked as lost; the call in hand finds out and returns an error.
#![allow(unsafe_code, reason = "a signal handler, and the page it puts in place")]

use crate::sync::{AtomicBool, AtomicU32, AtomicUsize, compiler_fence};
use crate::sync::{Ordering::Acquire, Ordering::Relaxed, Ordering::Release, Ordering::SeqCst};
use nix::libc::{BUS_ADRERR, BUS_MCEERR_AR, c_int, c_void, siginfo_t};
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, raise, sigaction};
use rustix::mm::{MapFlags, ProtFlags, mmap_anonymous};
use rustix::process::getpid;
use std::sync::{Once, OnceLock};

/// Mappings in a block of the table.
const BLOCK: usize = 64;

/// Whether any mapping of this process was ever lost: what every operation looks at when it is done.
static IS_ANY_LOST: AtomicBool = AtomicBool::new(false);
/// The program handles SIGBUS itself.
static IS_LEFT_ALONE: AtomicBool = AtomicBool::new(false);
/// The disposition before ours.
static BEFORE: OnceLock<SigAction> = OnceLock::new();
static TABLE: Block = Block { entries: [const { Entry::new() }; BLOCK], next: OnceLock::new() };

/// One mapping, as the handler sees it.
#[derive(Debug)]
struct Entry {
    is_taken: AtomicBool,
    base: AtomicUsize,
    /// 0: no mapping.
    len: AtomicUsize,
    page_bytes: AtomicUsize,
    /// The process that mapped it; a child may have something else there.
    pid: AtomicU32,
    is_writable: AtomicBool,
    is_lost: AtomicBool,
}

impl Entry {
    const fn new() -> Self {
        Self {
            is_taken: AtomicBool::new(false),
            base: AtomicUsize::new(0),
            len: AtomicUsize::new(0),
            page_bytes: AtomicUsize::new(0),
            pid: AtomicU32::new(0),
            is_writable: AtomicBool::new(false),
            is_lost: AtomicBool::new(false),
        }
    }

    /// The start of the page at `address`, if that is in the mapping.
    fn page_at(&self, address: usize) -> Option<usize> {
        // SYNC watch: Acquire, pairs with the Release in `Watched::new`.
        let len = self.len.load(Acquire);
        let offset = address.checked_sub(self.base.load(Relaxed)).filter(|&offset| offset < len)?;
        let page = address - offset % self.page_bytes.load(Relaxed).max(1);
        (self.pid.load(Relaxed) == own_pid()).then_some(page)
    }

    /// Puts zeroes to `len` bytes at `start`.
    ///
    /// # Safety
    /// They lie in the mapping, and the bytes of at least one page there are gone.
    unsafe fn blank(&self, start: usize, len: usize) -> bool {
        let write = if self.is_writable.load(Relaxed) { ProtFlags::WRITE } else { ProtFlags::empty() };
        let flags = MapFlags::PRIVATE | MapFlags::FIXED | MapFlags::NORESERVE;
        // SAFETY: the bytes lie in a mapping of this crate, which stays mapped.
        unsafe { mmap_anonymous(start as *mut c_void, len, ProtFlags::READ | write, flags) }.is_ok()
    }
}

/// Entries are found by the handler, so that there must be no lock and nothing that moves.
#[derive(Debug)]
struct Block {
    entries: [Entry; BLOCK],
    next: OnceLock<Box<Block>>,
}

impl Block {
    fn all(&'static self) -> impl Iterator<Item = &'static Entry> {
        std::iter::successors(Some(self), |block| block.next.get().map(|next| &**next)).flat_map(|block| &block.entries)
    }

    fn take(&'static self) -> &'static Entry {
        let is_free = |entry: &&Entry| entry.is_taken.compare_exchange(false, true, Acquire, Relaxed).is_ok();
        if let Some(entry) = self.entries.iter().find(is_free) {
            return entry;
        }
        let more = || Box::new(Self { entries: [const { Entry::new() }; BLOCK], next: OnceLock::new() });
        self.next.get_or_init(more).take()
    }
}

/// A mapping that the handler knows, until it is dropped.
#[derive(Debug)]
pub(crate) struct Watched(&'static Entry);

impl Watched {
    /// Makes `len` bytes at `base`, in pages of `page_bytes`, known to the handler, which is installed
    /// with the first of them.
    pub(crate) fn new(base: usize, len: usize, page_bytes: usize, is_writable: bool) -> Self {
        static INSTALLED: Once = Once::new();
        if !IS_LEFT_ALONE.load(Relaxed) {
            INSTALLED.call_once(install);
        }
        let entry = TABLE.take();
        entry.is_lost.store(false, Relaxed);
        entry.base.store(base, Relaxed);
        entry.page_bytes.store(page_bytes, Relaxed);
        entry.is_writable.store(is_writable, Relaxed);
        entry.pid.store(own_pid(), Relaxed);
        // SYNC watch: Release.
        entry.len.store(len, Release);
        Self(entry)
    }

    /// Makes the mapping unknown to the handler: it is about to be unmapped.
    pub(crate) fn end(&self) {
        self.0.len.store(0, Relaxed);
    }

    /// Whether memory behind the mapping was found gone.
    pub(crate) fn is_lost(&self) -> bool {
        self.0.is_lost.load(Relaxed)
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        self.end();
        // The next owner takes it with Acquire.
        self.0.is_taken.store(false, Release);
    }
}

/// Whether memory behind any mapping of this process was ever found gone. One load of a word that does not
/// change: asked at the end of every operation.
#[inline(always)]
pub(crate) fn is_any_lost() -> bool {
    // The handler ran on this thread, if it was this operation that came upon it: what the operation did
    // stays before this load.
    compiler_fence(SeqCst);
    IS_ANY_LOST.load(Relaxed)
}

/// Installs no handler from here on.
pub(crate) fn leave_alone() {
    IS_LEFT_ALONE.store(true, Relaxed);
}

/// Puts a page of zeroes to `address` and marks the mapping, if it is one of ours.
///
/// # Safety
/// The page at `address` can't be accessed: a SIGBUS has just said so.
pub(crate) unsafe fn replace(address: usize) -> bool {
    let Some((entry, page)) = TABLE.all().find_map(|entry| entry.page_at(address).map(|page| (entry, page))) else {
        return false;
    };
    entry.is_lost.store(true, Relaxed);
    IS_ANY_LOST.store(true, Relaxed);
    // SAFETY: the page lies in the mapping, and is gone.
    let is_page = unsafe { entry.blank(page, entry.page_bytes.load(Relaxed)) };
    // A process has only so many pieces of mappings: then all of it at once, which was lost anyway.
    // SAFETY: this is the mapping.
    is_page || unsafe { entry.blank(entry.base.load(Relaxed), entry.len.load(Relaxed)) }
}

fn own_pid() -> u32 {
    getpid().as_raw_nonzero().get().unsigned_abs()
}

fn install() {
    let flags = SaFlags::SA_SIGINFO | SaFlags::SA_ONSTACK | SaFlags::SA_RESTART;
    let ours = SigAction::new(SigHandler::SigAction(on_sigbus), flags, SigSet::empty());
    // SAFETY: `on_sigbus` calls only what is safe to call in a handler.
    let before = unsafe { sigaction(Signal::SIGBUS, &ours) };
    match before {
        Ok(before) => drop(BEFORE.set(before)),
        Err(error) => tracing::warn!(%error, "no handler for SIGBUS: truncating a region kills this process"),
    }
}

extern "C" fn on_sigbus(signal: c_int, info: *mut siginfo_t, context: *mut c_void) {
    // SAFETY: the kernel hands a valid siginfo to a handler with SA_SIGINFO.
    let said = unsafe { &*info };
    // From the kernel, about an address that has no memory; not about one that is not aligned.
    if [BUS_ADRERR, BUS_MCEERR_AR].contains(&said.si_code) {
        // SAFETY: a SIGBUS of the kernel has an address.
        let address = unsafe { said.si_addr() };
        // SAFETY: this is the SIGBUS about `address`.
        if unsafe { replace(address as usize) } {
            return;
        }
    }
    match BEFORE.get().map(SigAction::handler) {
        Some(SigHandler::SigAction(before)) => before(signal, info, context),
        Some(SigHandler::Handler(before)) => before(signal),
        // One that a process sent, to a program that ignored such.
        Some(SigHandler::SigIgn) if said.si_code <= 0 => {}
        _ => die(said.si_code),
    }
}

/// Lets the signal do what it does by default.
fn die(code: c_int) {
    let default = SigAction::new(SigHandler::SigDfl, SaFlags::empty(), SigSet::empty());
    // SAFETY: no handler is installed.
    let _ = unsafe { sigaction(Signal::SIGBUS, &default) };
    // A fault comes again when the handler returns; a signal that somebody sent does not.
    if code <= 0 {
        let _ = raise(Signal::SIGBUS);
    }
}
