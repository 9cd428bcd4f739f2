//! The appender that is alone, and who takes over from it.
#![cfg(loom)]

use loom::sync::Mutex;
use loom_tests::{Heap, Seen, Shape, append, appender, check, check_deaths, dense, drain, mortal, spawn};
use shmlog::model::append::Append;
use shmlog::model::cursor::{Cursor, Step};
use shmlog::model::exclusive::Exclusive;
use shmlog::model::layout::entry::Kind;
use shmlog::model::memory::Retention;
use shmlog::model::tip::Blocked;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Segments of one record, none given up.
const LONG: Shape =
    Shape { windows: 4, entries: 2, lines: 1, slots: 1, retention: Retention::Keep, first: 0, refuses: false };

/// Two roles take the append lock after each other; a reader follows.
fn handed_over(name: &str, shape: Shape) {
    let names = ["the first role first", "the second role first", "nothing read", "all read"];
    let seen: &Seen<4> = Box::leak(Box::new(Seen::new(names)));
    check(name, move || {
        let heap = Heap::new(shape);
        let lock = Arc::new(Mutex::new(()));
        let roles = [1, 3].map(|value| {
            let lock = lock.clone();
            spawn(&heap, move |heap| {
                let _alone = lock.lock().unwrap();
                let mut by = Exclusive::attach(heap).unwrap();
                append(&mut by, heap, value).unwrap()
            })
        });
        let reader = spawn(&heap, |heap| {
            let mut cursor = Cursor::at_oldest(heap, None).unwrap();
            let mut read = Vec::new();
            for _ in 0..3 {
                if let Step::Record(word) = cursor.step() {
                    read.push(heap.get(cursor.window().payload(word).unwrap())[0]);
                    cursor.pass();
                }
            }
            read
        });
        let [first, second] = roles.map(|role| role.join().unwrap());
        let read = reader.join().unwrap();
        seen.mark_if(0, first == 0);
        seen.mark_if(1, second == 0);
        seen.mark_if(2, read.is_empty());
        seen.mark_if(3, read.len() == 2);
        let appended = if first == 0 { [1, 3] } else { [3, 1] };
        assert_eq!(read, appended[..read.len()]);
        dense(&heap, [(first, 1), (second, 3)]);
    });
    seen.assert_all();
}

#[test]
fn the_lock_is_handed_over() {
    handed_over("the_lock_is_handed_over", LONG);
}

/// The second one goes on where the first one stopped.
#[test]
fn the_lock_is_handed_over_in_a_segment() {
    handed_over("the_lock_is_handed_over_in_a_segment", Shape { entries: 4, lines: 2, ..LONG });
}

/// It rolls over windows that a gated reader keeps.
#[test]
fn it_waits_for_a_gate() {
    static SEEN: Seen<2> = Seen::new(["kept", "went on"]);
    check("it_waits_for_a_gate", || {
        let heap = Heap::new(Shape { retention: Retention::Gated, ..Shape::default() });
        let alone = spawn(&heap, |heap| {
            let mut by = Exclusive::attach(heap).unwrap();
            [0, 1, 2].map(|value| append(&mut by, heap, value))
        });
        let reader = spawn(&heap, |heap| {
            let mut cursor = Cursor::at_oldest(heap, Some(heap.hold(0))).unwrap();
            for _ in 0..3 {
                match cursor.step() {
                    Step::Record(word) => {
                        assert_eq!(heap.get(cursor.window().payload(word).unwrap()), [cursor.seq()]);
                        cursor.pass();
                    }
                    Step::Moved | Step::Nothing => {}
                    other => panic!("{other:?} behind a gate"),
                }
            }
        });
        let appended = alone.join().unwrap();
        reader.join().unwrap();
        assert_eq!(appended[..2], [Ok(0), Ok(1)]);
        match appended[2] {
            Ok(seq) => assert_eq!(seq, 2),
            Err(blocked) => assert!(matches!(blocked, Blocked::Kept(_))),
        }
        SEEN.mark(usize::from(appended[2].is_ok()));
    });
    SEEN.assert_all();
}

/// A gate keeps all of its segment, what its reader has read and what not.
#[test]
fn it_waits_for_a_gate_within_a_segment() {
    static SEEN: Seen<3> = Seen::new(["kept", "went on behind the gate", "both records read, then overwritten"]);
    check("it_waits_for_a_gate_within_a_segment", || {
        let heap = Heap::new(Shape { entries: 3, retention: Retention::Gated, ..Shape::default() });
        let mut before = Exclusive::attach(&*heap).unwrap();
        (0..4).for_each(|value| assert_eq!(append(&mut before, &heap, value), Ok(value)));
        drop(before);
        let alone = spawn(&heap, |heap| {
            let mut by = Exclusive::attach(heap).unwrap();
            [4, 5].map(|value| append(&mut by, heap, value).is_ok())
        });
        let reader = spawn(&heap, |heap| {
            let mut cursor = Cursor::at_oldest(heap, Some(heap.hold(0))).unwrap();
            let first = cursor.seq();
            for _ in 0..3 {
                match cursor.step() {
                    Step::Record(word) => {
                        assert_eq!(heap.get(cursor.window().payload(word).unwrap()), [cursor.seq()]);
                        cursor.pass();
                    }
                    Step::Moved | Step::Nothing => {}
                    other => panic!("{other:?} behind a gate"),
                }
            }
            first
        });
        let (appended, first) = (alone.join().unwrap(), reader.join().unwrap());
        SEEN.mark_if(0, first == 0 && !appended[1]);
        SEEN.mark_if(1, first == 2 && appended[1]);
        SEEN.mark_if(2, first == 0 && appended[1]);
    });
    SEEN.assert_all();
}

/// Whenever it dies, its successor finds all that it had committed, and goes on: first another one
/// alone, then one among others. A reader follows all the time.
#[test]
fn its_successor_goes_on() {
    static LAST: AtomicU64 = AtomicU64::new(0);
    check_deaths("its_successor_goes_on", |looks, died| {
        let heap = Heap::new(Shape { windows: 2, lines: 3, slots: 2, ..Shape::default() });
        let roles = spawn(&heap, move |heap| {
            let mut committed = Vec::new();
            let doomed = mortal(heap, 0, looks, |memory| {
                let mut by = Exclusive::attach(memory).unwrap();
                for value in 10..13 {
                    let seq = by.try_append(Kind::Record, 8, |words| {
                        heap.put(words, value);
                        memory.look();
                    });
                    committed.push((seq.unwrap(), value));
                }
            });
            if doomed.is_none() {
                died.fetch_add(1, Relaxed);
            }
            LAST.fetch_max(committed.len() as u64, Relaxed);
            let next = append(&mut Exclusive::attach(heap).unwrap(), heap, 20).unwrap();
            let last = append(&mut appender(heap, 1), heap, 21).unwrap();
            committed.into_iter().chain([(next, 20), (last, 21)]).collect::<Vec<_>>()
        });
        let reader = spawn(&heap, |heap| {
            let mut cursor = Cursor::at_oldest(heap, None).unwrap();
            for _ in 0..2 {
                let (step, words) = loom_tests::step_freely(&mut cursor, heap, loom_tests::Look::Step);
                let seq = cursor.seq();
                match (step, words) {
                    (Step::Record(_), Some(words)) => {
                        assert!(words == [10 + seq] || words[0] >= 20, "{words:?} at {seq}");
                        cursor.pass();
                    }
                    (Step::Record(_) | Step::Passed, _) => return,
                    (Step::Moved | Step::Nothing, _) => {}
                    (Step::Closed | Step::Corrupt, _) => panic!("{step:?}"),
                }
            }
        });
        let appended = roles.join().unwrap();
        reader.join().unwrap();
        dense(&heap, appended);
        assert!(!drain(&heap).is_empty());
    });
    assert_eq!(LAST.load(Relaxed), 3);
}
