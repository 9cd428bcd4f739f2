//! A log's memory on the heap.

use crate::mortal::Kernel;
use crate::shadow::Shadow;
use shmlog::model::bump;
use shmlog::model::layout::LINE_WORDS;
use shmlog::model::layout::board::{Doorbell, Slot};
use shmlog::model::layout::control::Control;
use shmlog::model::memory::{Memory, NoBarrier, Retention, Window};
use shmlog::model::sync::{AtomicU64, Fencing, Ordering::Relaxed, Ordering::SeqCst, fence};
use std::sync::Arc;

/// Sizes of a [`Heap`], the smallest that make sense.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    /// Number of windows.
    pub windows: usize,
    /// Commit words of a window: a segment holds one record less.
    pub entries: usize,
    /// Cache lines of an arena; a lease is one line, eight words.
    pub lines: usize,
    /// Slots of the board.
    pub slots: usize,
    /// What recycling does.
    pub retention: Retention,
    /// The segment it begins with; a large one stands for a log that has run for long.
    pub first: u64,
    /// Whether the kernel refuses the barrier.
    pub refuses: bool,
}

impl Default for Shape {
    fn default() -> Self {
        Self { windows: 2, entries: 2, lines: 1, slots: 1, retention: Retention::Overwrite, first: 0, refuses: false }
    }
}

#[derive(Debug)]
struct HeapWindow {
    bump: AtomicU64,
    index: Box<[AtomicU64]>,
    arena: Box<[AtomicU64]>,
    shadows: Box<[Shadow]>,
}

/// An open log at the start of its first segment, made of the layout's own types.
#[derive(Debug)]
pub struct Heap {
    control: Control,
    bases: Box<[AtomicU64]>,
    slots: Box<[Slot]>,
    windows: Box<[HeapWindow]>,
    retention: Retention,
    refuses: bool,
    /// Rung after a commit.
    pub doorbell: Doorbell,
    /// Who of the slots' owners died.
    pub kernel: Kernel,
}

impl Heap {
    /// Must be called in a model.
    pub fn new(shape: Shape) -> Arc<Self> {
        let words = |count: usize| -> Box<[AtomicU64]> { (0..count).map(|_| AtomicU64::new(0)).collect() };
        let arena_words = shape.lines * LINE_WORDS as usize;
        let window = || HeapWindow {
            bump: AtomicU64::new(0),
            index: words(shape.entries),
            arena: words(arena_words),
            shadows: (0..arena_words).map(|_| Shadow::new()).collect(),
        };
        let heap = Self {
            control: Control::new(),
            bases: words(shape.windows),
            slots: (0..shape.slots).map(|_| Slot::new()).collect(),
            windows: (0..shape.windows).map(|_| window()).collect(),
            retention: shape.retention,
            refuses: shape.refuses,
            doorbell: Doorbell::new(),
            kernel: Kernel::new(),
        };
        heap.control.head.0.store(shape.first, Relaxed);
        heap.control.active.0.store(shape.first, Relaxed);
        bump::open(heap.window(shape.first).bump, heap.lap(shape.first));
        Arc::new(heap)
    }

    /// The hold word of a slot.
    pub fn hold(&self, slot: usize) -> &AtomicU64 {
        &self.slots[slot].hold.0
    }

    /// Writes `value` into every word of a reservation. Nobody else may be using the words.
    pub fn put(&self, words: &[AtomicU64], value: u64) {
        for word in words {
            self.shadow(word).write();
            word.store(value, Relaxed);
        }
    }

    /// Reads a record's words. Nobody may be writing them: it was committed and is held.
    pub fn get(&self, words: &[AtomicU64]) -> Vec<u64> {
        words.iter().for_each(|word| self.shadow(word).read());
        self.glance(words)
    }

    /// Reads words that somebody may be writing.
    pub fn glance(&self, words: &[AtomicU64]) -> Vec<u64> {
        words.iter().map(|word| word.load(Relaxed)).collect()
    }

    fn shadow(&self, word: &AtomicU64) -> &Shadow {
        let place = |window: &HeapWindow| window.arena.iter().position(|other| std::ptr::eq(other, word));
        self.windows.iter().find_map(|window| place(window).map(|at| &window.shadows[at])).expect("an arena's word")
    }
}

impl Memory for Heap {
    fn control(&self) -> &Control {
        &self.control
    }
    fn bases(&self) -> &[AtomicU64] {
        &self.bases
    }
    fn slots(&self) -> &[Slot] {
        &self.slots
    }
    fn window(&self, segment: u64) -> Window<'_> {
        let at = segment % self.windows.len() as u64;
        let HeapWindow { bump, index, arena, .. } = &self.windows[usize::try_from(at).expect("small")];
        Window { bump, index, arena }
    }
    fn retention(&self) -> Retention {
        self.retention
    }
    fn lease_lines(&self) -> u32 {
        1
    }
    fn fencing(&self) -> Fencing {
        Fencing::Portable
    }
    fn heavy_fence(&self) -> Result<(), NoBarrier> {
        fence(SeqCst);
        if self.refuses { Err(NoBarrier) } else { Ok(()) }
    }
}
