//! A shared appender dies at every step of an append, a roll and a recycling; the others finish.
#![cfg(loom)]

use loom_tests::{Heap, Seen, Shape, append_past_the_dead, appender, check_deaths, dense, mortal, spawn};
use shmlog::model::append::Append;
use shmlog::model::layout::entry::Kind;
use shmlog::model::shared::Shared;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// A role of slot 0 that appends `values` until it dies at look `looks`.
fn doomed(heap: &Heap, looks: u32, values: std::ops::Range<u64>, died: &AtomicU64) -> Vec<(u64, u64)> {
    let mut committed = Vec::new();
    let survived = mortal(heap, 0, looks, |memory| {
        let mut by = Shared::attach(memory, heap.hold(0)).unwrap();
        for value in values {
            let result = by.try_append(Kind::Record, 8, |words| {
                heap.put(words, value);
                memory.look();
            });
            committed.extend(result.ok().map(|seq| (seq, value)));
        }
    });
    if survived.is_none() {
        died.fetch_add(1, Relaxed);
    }
    committed
}

fn others_finish(name: &str, before: u64, roomy: Shape, seen: &'static Seen<3>) {
    check_deaths(name, move |looks, died| {
        let heap = Heap::new(roomy);
        for value in 0..before {
            append_past_the_dead(&mut appender(&heap, 1), &heap, value).unwrap();
        }
        let dying = spawn(&heap, move |heap| doomed(heap, looks, 10..11, died));
        let other = spawn(&heap, |heap| (append_past_the_dead(&mut appender(heap, 1), heap, 20), 20));
        let mut appended = dying.join().unwrap();
        let other = other.join().unwrap();
        seen.mark_if(0, appended.is_empty() && other.0.is_ok());
        seen.mark_if(1, !appended.is_empty() && other.0.is_ok());
        seen.mark_if(2, other.0.is_ok_and(|seq| seq == before + 1));
        appended.extend(other.0.ok().map(|seq| (seq, 20)));
        appended.extend((0..before).map(|value| (value, value)));
        let last = append_past_the_dead(&mut appender(&heap, 1), &heap, 30).expect("nobody alive is in the way");
        appended.push((last, 30));
        dense(&heap, appended);
    });
    seen.assert_all();
}

#[test]
fn others_finish_an_append() {
    static SEEN: Seen<3> = Seen::new(["died before it appended", "after", "the other's came second"]);
    others_finish("others_finish_an_append", 0, Shape { entries: 6, lines: 4, slots: 2, ..Shape::default() }, &SEEN);
}

#[test]
fn others_finish_a_roll() {
    static SEEN: Seen<3> = Seen::new(["died before it appended", "after", "the other's came second"]);
    others_finish("others_finish_a_roll", 1, Shape { windows: 4, lines: 4, slots: 2, ..Shape::default() }, &SEEN);
}

#[test]
fn others_finish_a_recycling() {
    static SEEN: Seen<3> = Seen::new(["died before it appended", "after", "the other's came second"]);
    others_finish("others_finish_a_recycling", 2, Shape { lines: 4, slots: 2, ..Shape::default() }, &SEEN);
}
