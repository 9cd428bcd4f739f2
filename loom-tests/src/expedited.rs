//! membarrier(2) as the algorithms rely on it, and roles that fence lightly: no fence at all, but an interruption
//! at any look at the memory.

use crate::heap::Heap;
use crate::snapshot::{Snapshot, User};
use loom::thread::{self, JoinHandle};
use shmlog::model::layout::board::Slot;
use shmlog::model::layout::control::Control;
use shmlog::model::memory::{Memory, NoBarrier, Retention, Window};
use shmlog::model::pins::PinBoard;
use shmlog::model::sync::{
    AtomicU64, Fencing, Ordering::AcqRel, Ordering::Acquire, Ordering::Relaxed, Ordering::Release,
};
use std::sync::Arc;

/// The answer of a role that has ended: whoever stops running has passed a barrier.
const ENDED: u64 = u64::MAX;

/// Memory whose users, one for each role, are interrupted by each other's barriers.
///
/// A call returns when every other role has answered it, at a look of its own between the call's begin and
/// end. An answer is no fence, but a message each way, which is less: what came before the role's answer comes
/// before what follows the call, and what came before the call comes before what follows the answer. There is
/// no full fence in these models, which loom would take for more than one.
#[derive(Debug)]
pub struct Expedited<H> {
    /// What the roles share.
    pub memory: Arc<H>,
    calls: AtomicU64,
    answered: Box<[AtomicU64]>,
}

/// The memory as one role sees it.
#[derive(Debug)]
pub struct Light<'e, H> {
    shared: &'e Expedited<H>,
    role: usize,
}

impl<H: 'static> Expedited<H> {
    /// For `roles` roles, each of which must be started.
    pub fn new(memory: Arc<H>, roles: usize) -> Arc<Self> {
        let answered = (0..roles).map(|_| AtomicU64::new(0)).collect();
        Arc::new(Self { memory, calls: AtomicU64::new(0), answered })
    }

    /// Starts role `role`.
    pub fn spawn<T: 'static>(
        self: &Arc<Self>,
        role: usize,
        run: impl FnOnce(&Light<H>) -> T + 'static,
    ) -> JoinHandle<T> {
        let shared = self.clone();
        thread::spawn(move || {
            let result = run(&Light { shared: &shared, role });
            shared.answered[role].store(ENDED, Release);
            result
        })
    }
}

impl<'e, H> Light<'e, H> {
    /// A moment at which the role may be interrupted.
    pub fn look(&self) -> &'e H {
        let (call, answered) = (self.shared.calls.load(Acquire), &self.shared.answered[self.role]);
        if answered.load(Relaxed) < call {
            answered.store(call, Release);
        }
        &self.shared.memory
    }

    fn interrupt_others(&self) {
        let call = self.shared.calls.fetch_add(1, AcqRel) + 1;
        for (role, answered) in self.shared.answered.iter().enumerate() {
            while role != self.role && answered.load(Acquire) < call {
                self.look();
                thread::yield_now();
            }
        }
    }
}

impl Memory for Light<'_, Heap> {
    fn control(&self) -> &Control {
        self.look().control()
    }
    fn bases(&self) -> &[AtomicU64] {
        self.shared.memory.bases()
    }
    fn slots(&self) -> &[Slot] {
        self.look().slots()
    }
    fn window(&self, segment: u64) -> Window<'_> {
        self.look().window(segment)
    }
    fn retention(&self) -> Retention {
        self.shared.memory.retention()
    }
    fn lease_lines(&self) -> u32 {
        self.shared.memory.lease_lines()
    }
    fn fencing(&self) -> Fencing {
        self.look();
        Fencing::Asymmetric
    }
    fn heavy_fence(&self) -> Result<(), NoBarrier> {
        self.interrupt_others();
        Ok(())
    }
}

impl PinBoard for Light<'_, Snapshot> {
    fn pinning(&self, pin: u64) -> Option<usize> {
        self.look().pinning(pin)
    }
    fn fencing(&self) -> Fencing {
        self.look();
        Fencing::Asymmetric
    }
    fn heavy_fence(&self) -> Result<(), NoBarrier> {
        self.interrupt_others();
        Ok(())
    }
}

impl User for Light<'_, Snapshot> {
    fn look(&self) -> &Snapshot {
        self.look()
    }
}
