//! What roles do in most models.

use crate::heap::Heap;
use loom::thread::{self, JoinHandle};
use shmlog::model::append::Append;
use shmlog::model::cursor::{Cursor, Step};
use shmlog::model::layout::entry::Kind;
use shmlog::model::locate::is_retained;
use shmlog::model::memory::Memory;
use shmlog::model::roll::Kept;
use shmlog::model::shared::Shared;
use shmlog::model::tip::Blocked;
use std::sync::Arc;

/// Starts a role.
pub fn spawn<H: 'static, T: 'static>(heap: &Arc<H>, role: impl FnOnce(&H) -> T + 'static) -> JoinHandle<T> {
    let heap = heap.clone();
    thread::spawn(move || role(&heap))
}

/// A shared appender in slot `slot`.
pub fn appender(heap: &Heap, slot: usize) -> Shared<'_, Heap> {
    Shared::attach(heap, heap.hold(slot)).expect("an honest region")
}

/// Appends a record of one word.
///
/// # Errors
/// [`Blocked`]
pub fn append<'m, M: Memory>(by: &mut impl Append<'m, M>, heap: &Heap, value: u64) -> Result<u64, Blocked> {
    by.try_append(Kind::Record, 8, |words| heap.put(words, value))
}

/// Appends as often as the holds of the dead are in the way, which it clears.
///
/// # Errors
/// [`Blocked`] by the living
pub fn append_past_the_dead<'m, M: Memory>(
    by: &mut impl Append<'m, M>,
    heap: &Heap,
    value: u64,
) -> Result<u64, Blocked> {
    for _ in heap.slots() {
        match append(by, heap, value) {
            Err(Blocked::Kept(Kept::BySlot { slot, .. })) if heap.kernel.is_dead(slot) => {
                shmlog::model::hold::leave(heap.hold(slot));
            }
            other => return other,
        }
    }
    append(by, heap, value)
}

/// Reads to the end from the oldest record retained: sequence numbers and values. Nobody appends
/// any more.
pub fn drain(heap: &Heap) -> Vec<(u64, u64)> {
    let mut cursor = Cursor::at_oldest(heap, None).expect("an honest region");
    let mut records = Vec::new();
    loop {
        match cursor.step() {
            Step::Record(word) => {
                let words = cursor.window().payload(word).expect("in the arena");
                let value = heap.get(words);
                assert!(value.iter().all(|word| *word == value[0]), "a mixture: {value:?}");
                records.push((cursor.seq(), value[0]));
                cursor.pass();
            }
            Step::Moved => {}
            Step::Nothing | Step::Closed => return records,
            Step::Passed | Step::Corrupt => panic!("at {}: {:?}", cursor.seq(), cursor.step()),
        }
    }
}

/// Asserts that the numbers given to appenders are 0, 1, 2, ..., and that what is retained of the
/// records is what they appended.
pub fn dense(heap: &Heap, appended: impl IntoIterator<Item = (u64, u64)>) {
    let mut appended: Vec<_> = appended.into_iter().collect();
    appended.sort_unstable();
    assert!(appended.iter().zip(0..).all(|((seq, _), expected)| *seq == expected), "not dense: {appended:?}");
    let read = drain(heap);
    let given_up = appended.len().checked_sub(read.len()).expect("no record out of nothing");
    assert_eq!(read, appended[given_up..], "lost or overwritten");
}

/// A step of a free reader: it copies words that may be overwritten meanwhile, and asks afterwards
/// whether they were still retained.
pub fn step_freely(cursor: &mut Cursor<'_, Heap>, heap: &Heap) -> (Step, Option<Vec<u64>>) {
    let step = cursor.step();
    let Step::Record(word) = step else { return (step, None) };
    let words = heap.glance(cursor.window().payload(word).expect("in the arena"));
    (step, is_retained(heap, cursor.segment()).then_some(words))
}
