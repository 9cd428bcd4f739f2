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
    pub fn mark(&self, index: impl TryInto<usize>) {
        let index = index.try_into().ok().expect("a small number");
        self.counts[index].fetch_add(1, Relaxed);
    }

    /// Marks the outcome if `reached`.
    pub fn mark_if(&self, index: usize, reached: bool) {
        if reached {
            self.mark(index);
        }
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
    check_at(PREEMPTIONS, name, model);
}

/// As [`check`], with at least so many preemptions: for a small model that needs them to go wrong.
pub fn check_at(preemptions: usize, name: &str, model: impl Fn() + Send + Sync + 'static) {
    let executions = std::sync::Arc::new(AtomicU64::new(0));
    let counter = executions.clone();
    let start = Instant::now();
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(builder.preemption_bound.unwrap_or(PREEMPTIONS).max(preemptions));
    builder.max_branches = builder.max_branches.max(MAX_BRANCHES);
    builder.check(move || {
        counter.fetch_add(1, Relaxed);
        model();
    });
    let executions = executions.load(Relaxed);
    println!("{name}: {executions} executions, {:.1} s", start.elapsed().as_secs_f64());
}

/// Runs `model` with a role that dies at its first look at the memory, at its second, and so on
/// until no execution of the model kills it. The model is given the look and counts the deaths.
pub fn check_deaths(name: &str, model: impl Fn(u32, &'static AtomicU64) + Clone + Send + Sync + 'static) {
    for looks in 0..1000 {
        let died: &'static AtomicU64 = Box::leak(Box::default());
        let model = model.clone();
        check(&format!("{name}, look {looks}"), move || model(looks, died));
        if died.load(Relaxed) == 0 {
            assert!(looks > 0, "no execution killed the role");
            return;
        }
    }
    panic!("the role looks without end");
}
