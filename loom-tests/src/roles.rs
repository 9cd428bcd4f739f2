//! What roles do in most models.

use crate::heap::{Heap, Shape};
use loom::thread::{self, JoinHandle};
use shmlog::model::append::Append;
use shmlog::model::commit::{self, Attempt, End};
use shmlog::model::cursor::{Cursor, Step};
use shmlog::model::hold;
use shmlog::model::layout::entry::{CLOSE_SEGMENT, Kind, Tag, body};
use shmlog::model::locate::is_retained;
use shmlog::model::memory::{Memory, Retention};
use shmlog::model::roll::{self, Kept};
use shmlog::model::shared::Shared;
use shmlog::model::sync::Ordering::Release;
use shmlog::model::tip::{Blocked, Tip};
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
                hold::leave(heap.hold(slot));
            }
            other => return other,
        }
    }
    append(by, heap, value)
}

/// Segments 0 and 1 of one record each, 10 and 11; segment 2 needs the window of segment 0. Slot 0 was their
/// appender's.
pub fn two_segments(slots: usize, retention: Retention) -> Arc<Heap> {
    let heap = Heap::new(Shape { slots, retention, ..Shape::default() });
    let mut by = appender(&heap, 0);
    append(&mut by, &heap, 10).expect("room");
    append(&mut by, &heap, 11).expect("room");
    heap
}

/// Gives segment 0 up, and if that succeeds writes to its window. As `roll::give_up`, but with one look at the
/// holds, which is enough for those who enter on their own: the fence between the two looks hides what they
/// don't release, because loom orders all threads by their full fences, more than the language does.
pub fn recycle_at_one_look(heap: &Heap) -> bool {
    heap.control().head.0.fetch_max(1, Release);
    heap.heavy_fence().expect("a fence");
    let given_up = hold::blocking(heap.slots(), 0).is_none();
    if given_up {
        heap.put(&heap.window(0).arena[..1], 12);
    }
    given_up
}

/// A role that gives segment 0 of two up and closes segment 1, then dies.
pub fn closer(heap: &Arc<Heap>) -> JoinHandle<Result<(), Kept>> {
    spawn(heap, |heap| {
        roll::give_up(heap, 2)?;
        let end = commit::close(heap.window(1).index, Tag::of_lap(1), 1, CLOSE_SEGMENT);
        assert_eq!(end, End::Closed(1));
        Ok(())
    })
}

/// A role that, if segment 1 is closed, opens segment 2, writes over what was in the window and commits. It has
/// met nobody whom the closer waited for. Pinned in segment 1 from the start, as an appender is (slot 0).
pub fn helper(heap: &Arc<Heap>) -> JoinHandle<bool> {
    assert!(hold::enter(&**heap, heap.hold(0), 1));
    spawn(heap, |heap| {
        let mut tip = Tip::attach(heap, None).unwrap();
        if !matches!(tip.end(), End::Closed(1)) {
            return false;
        }
        tip.advance().unwrap();
        assert_eq!(tip.refill(1), Ok(true));
        let at = tip.cut(1).unwrap();
        heap.put(tip.payload(at, 1), 12);
        let (slot, word) = (&heap.window(2).index[0], Tag::of_lap(2).word(body(Kind::Record, 8, at as u64)));
        while let Attempt::Stale(now) = commit::attempt(slot, Tag::of_lap(2), 0, word) {
            let Attempt::Stale(_) = commit::attempt(slot, Tag::of_lap(2), now, word) else { break };
        }
        true
    })
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

/// The ways in which readers look for a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Look {
    /// By a step.
    Step,
    /// The quick way first, as `Reader::try_next`.
    Quick,
    /// As a batch, and then by a step.
    Batch,
}

impl Look {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Step, Self::Quick, Self::Batch];

    /// What is at the place.
    pub fn at(self, cursor: &mut Cursor<'_, Heap>) -> Step {
        let quick = match self {
            Self::Step => None,
            Self::Quick => cursor.record_here(),
            Self::Batch => cursor.run().step().map(|(word, _)| word),
        };
        quick.map_or_else(|| cursor.step(), Step::Record)
    }
}

/// A step of a free reader: it copies words that may be overwritten meanwhile, and asks afterwards
/// whether they were still retained.
pub fn step_freely(cursor: &mut Cursor<'_, Heap>, heap: &Heap, look: Look) -> (Step, Option<Vec<u64>>) {
    let step = look.at(cursor);
    let Step::Record(word) = step else { return (step, None) };
    let words = heap.glance(cursor.window().payload(word).expect("in the arena"));
    (step, is_retained(heap, cursor.segment()).then_some(words))
}
