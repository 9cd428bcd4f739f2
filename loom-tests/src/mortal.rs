//! Death: the same memory, but at a given moment its user dies.

use crate::heap::Heap;
use shmlog::model::layout::board::Slot;
use shmlog::model::layout::control::Control;
use shmlog::model::memory::{Memory, NoBarrier, Retention, Window};
use shmlog::model::sync::{AtomicU64, Fencing};
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

/// A view of a [`Heap`] whose user dies at a given look at it. The algorithms look at the memory's
/// parts anew for each step, so that every step of theirs can be the last.
#[derive(Debug)]
pub struct Mortal<'h> {
    heap: &'h Heap,
    looks_left: Cell<u32>,
}

/// What unwinds a role that died; no destructor in `core` touches shared memory.
struct Died;

/// Runs a role of slot `slot` that dies at look `looks`. `None`: it died; the kernel knows.
pub fn mortal<T>(heap: &Heap, slot: usize, looks: u32, role: impl FnOnce(&Mortal) -> T) -> Option<T> {
    let memory = Mortal { heap, looks_left: Cell::new(looks) };
    match catch_unwind(AssertUnwindSafe(|| role(&memory))) {
        Ok(result) => Some(result),
        Err(cause) if cause.is::<Died>() => {
            heap.bury(slot);
            None
        }
        Err(cause) => resume_unwind(cause),
    }
}

impl Mortal<'_> {
    /// One more moment at which death may come.
    pub fn look(&self) -> &Heap {
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
