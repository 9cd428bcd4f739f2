//! Death: the same memory, but at a given moment its user dies.

use crate::heap::Heap;
use shmlog::model::layout::board::Slot;
use shmlog::model::layout::control::Control;
use shmlog::model::memory::{Memory, NoBarrier, Retention, Window};
use shmlog::model::sync::{AtomicU64, Fencing, Ordering::Acquire, Ordering::Release};
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

/// What the kernel knows: who died, a bit for each slot.
#[derive(Debug)]
pub struct Kernel {
    dead: AtomicU64,
}

impl Kernel {
    /// Everybody lives.
    pub(crate) fn new() -> Self {
        Self { dead: AtomicU64::new(0) }
    }

    /// The kernel frees the locks of a participant that died.
    fn bury(&self, slot: usize) {
        self.dead.fetch_or(1 << slot, Release);
    }

    /// Whether the participant died. Asking for its lock is what orders its accesses before ours.
    pub fn is_dead(&self, slot: usize) -> bool {
        self.dead.load(Acquire) >> slot & 1 == 1
    }
}

/// Memory whose users the kernel knows.
pub trait Watched {
    /// The kernel.
    fn kernel(&self) -> &Kernel;
}

impl Watched for Heap {
    fn kernel(&self) -> &Kernel {
        &self.kernel
    }
}

/// A view of a [`Heap`] or of a [`crate::Snapshot`] whose user dies at a given look at it. The algorithms
/// look at the memory's parts anew for each step, so that every step of theirs can be the last.
#[derive(Debug)]
pub struct Mortal<'h, H = Heap> {
    heap: &'h H,
    looks_left: Cell<u32>,
}

/// What unwinds a role that died; no destructor in `core` touches shared memory.
struct Died;

/// Runs a role of slot `slot` that dies at look `looks`. `None`: it died; the kernel knows.
pub fn mortal<H: Watched, T>(heap: &H, slot: usize, looks: u32, role: impl FnOnce(&Mortal<H>) -> T) -> Option<T> {
    let memory = Mortal { heap, looks_left: Cell::new(looks) };
    match catch_unwind(AssertUnwindSafe(|| role(&memory))) {
        Ok(result) => Some(result),
        Err(cause) if cause.is::<Died>() => {
            heap.kernel().bury(slot);
            None
        }
        Err(cause) => resume_unwind(cause),
    }
}

impl<'h, H> Mortal<'h, H> {
    /// One more moment at which death may come.
    pub fn look(&self) -> &'h H {
        match self.looks_left.get() {
            0 => resume_unwind(Box::new(Died)),
            left => self.looks_left.set(left - 1),
        }
        self.heap
    }
}

impl Memory for Mortal<'_> {
    fn control(&self) -> &Control {
        self.look().control()
    }
    fn bases(&self) -> &[AtomicU64] {
        self.look().bases()
    }
    fn slots(&self) -> &[Slot] {
        self.look().slots()
    }
    fn window(&self, segment: u64) -> Window<'_> {
        self.look().window(segment)
    }
    fn retention(&self) -> Retention {
        self.heap.retention()
    }
    fn lease_lines(&self) -> u32 {
        self.heap.lease_lines()
    }
    fn fencing(&self) -> Fencing {
        self.look().fencing()
    }
    fn heavy_fence(&self) -> Result<(), NoBarrier> {
        self.look().heavy_fence()
    }
    fn windows(&self) -> u64 {
        self.heap.windows()
    }
}
