//! Running a model and showing that it reached what it is about.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Instant;

/// Preemptions that are explored unless `LOOM_MAX_PREEMPTIONS` says otherwise.
const PREEMPTIONS: usize = 2;
/// Branches of one execution, more than any finite model here needs.
const MAX_BRANCHES: usize = 20_000;

/// How many executions reached each of the outcomes that a model is about.
#[derive(Debug)]
pub struct Seen<const N: usize> {
    names: [&'static str; N],
    counts: [AtomicU64; N],
}

impl<const N: usize> Seen<N> {
    /// None so far. The counts live outside the model: they are not the checker's atomics.
    pub const fn new(names: [&'static str; N]) -> Self {
        Self { names, counts: [const { AtomicU64::new(0) }; N] }
    }

    /// The outcome `index` was reached.
    pub fn mark(&self, index: usize) {
        self.counts[index].fetch_add(1, Relaxed);
    }

    /// Marks the outcome if `reached`.
    pub fn mark_if(&self, index: usize, reached: bool) {
        if reached {
            self.mark(index);
        }
    }

    /// How often the outcome was reached.
    pub fn count(&self, index: usize) -> u64 {
        self.counts[index].load(Relaxed)
    }

    /// Every outcome was reached.
    ///
    /// # Panics
    /// If one was not: the model then proves nothing about it.
    pub fn assert_all(&self) {
        for (name, count) in self.names.iter().zip(&self.counts) {
            assert!(count.load(Relaxed) > 0, "no execution reached: {name}");
        }
    }
}

/// Runs every execution of `model`, and prints how many there were.
pub fn check(name: &str, model: impl Fn() + Send + Sync + 'static) {
    let executions = std::sync::Arc::new(AtomicU64::new(0));
    let counter = executions.clone();
    let start = Instant::now();
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound.get_or_insert(PREEMPTIONS);
    builder.max_branches = builder.max_branches.max(MAX_BRANCHES);
    builder.check(move || {
        counter.fetch_add(1, Relaxed);
        model();
    });
    let executions = executions.load(Relaxed);
    println!("{name}: {executions} executions, {:.1} s", start.elapsed().as_secs_f64());
}
