//! Recycling against those who use the old segment: pinned appenders, gated and free readers.
//!
//! The dangerous writer is a *helper*: one role gives the old segment up and closes, another finds
//! the close and writes to the window. It has met nobody whom the first role waited for.
#![cfg(loom)]

use loom_tests::{
    Heap, Look, Seen, Shape, append, appender, check, closer, dense, helper, spawn, step_freely, two_segments,
};
use shmlog::model::append::Append;
use shmlog::model::commit::{self, Attempt};
use shmlog::model::cursor::{Cursor, Step};
use shmlog::model::layout::entry::{Kind, Tag, body};
use shmlog::model::locate;
use shmlog::model::memory::{Memory, Retention};
use shmlog::model::roll::Kept;
use shmlog::model::tip::Blocked;

#[test]
fn a_free_reader_accepts_no_mixture() {
    static SEEN: Seen<4> = Seen::new(["read", "copied, then refused", "passed by", "began in segment 1"]);
    for look in Look::ALL {
        check("a_free_reader_accepts_no_mixture", move || {
            let heap = two_segments(2, Retention::Overwrite);
            let roles = (closer(&heap), helper(&heap));
            let reader = spawn(&heap, move |heap| {
                let mut cursor = Cursor::at_oldest(heap, None).unwrap();
                let seq = cursor.seq();
                let (step, words) = step_freely(&mut cursor, heap, look);
                SEEN.mark_if(0, seq == 0 && words.is_some());
                SEEN.mark_if(1, seq == 0 && matches!(step, Step::Record(_)) && words.is_none());
                SEEN.mark_if(2, seq == 0 && step == Step::Passed);
                SEEN.mark_if(3, seq == 1);
                assert!(words.is_none_or(|words| words == [10 + seq]), "something else at {seq}");
            });
            roles.0.join().unwrap().unwrap();
            roles.1.join().unwrap();
            reader.join().unwrap();
        });
    }
    SEEN.assert_all();
}

/// The same by sequence number, without a cursor.
#[test]
fn a_record_found_by_number_is_that_record() {
    static SEEN: Seen<3> = Seen::new(["read", "copied, then refused", "gone"]);
    check("a_record_found_by_number_is_that_record", || {
        let heap = two_segments(2, Retention::Overwrite);
        let roles = (closer(&heap), helper(&heap));
        let reader = spawn(&heap, |heap| {
            let Some(word) = locate::committed(heap, 0, 0) else { return SEEN.mark(2) };
            let words = heap.glance(heap.window(0).payload(word).unwrap());
            let retained = locate::is_retained(heap, 0);
            assert!(!retained || words == [10], "{words:?}");
            SEEN.mark(if retained { 0 } else { 1 });
        });
        roles.0.join().unwrap().unwrap();
        roles.1.join().unwrap();
        reader.join().unwrap();
    });
    SEEN.assert_all();
}

#[test]
fn a_gate_is_waited_for() {
    static SEEN: Seen<4> = Seen::new(["in the way", "left, overwritten", "came too late", "overwritten too"]);
    check("a_gate_is_waited_for", || {
        let heap = two_segments(2, Retention::Gated);
        let roles = (closer(&heap), helper(&heap));
        let reader = spawn(&heap, |heap| {
            let mut cursor = Cursor::at_oldest(heap, Some(heap.hold(1))).unwrap();
            let first = cursor.seq();
            for _ in 0..2 {
                match cursor.step() {
                    Step::Record(word) => {
                        let value = heap.get(cursor.window().payload(word).unwrap());
                        assert_eq!(value, [10 + cursor.seq()]);
                        cursor.pass();
                    }
                    Step::Moved | Step::Nothing => {}
                    other => panic!("{other:?} behind a gate"),
                }
            }
            first
        });
        let closed = roles.0.join().unwrap();
        let helped = roles.1.join().unwrap();
        let first = reader.join().unwrap();
        SEEN.mark_if(0, closed == Err(Kept::BySlot { slot: 1, segment: 0 }));
        SEEN.mark_if(1, first == 0 && helped);
        SEEN.mark_if(2, first == 1);
        SEEN.mark_if(3, first == 1 && helped);
    });
    SEEN.assert_all();
}

/// An appender pinned in the old segment has written there and is then too late to commit.
#[test]
fn a_pin_is_waited_for() {
    static SEEN: Seen<3> = Seen::new(["in the way", "left, overwritten", "went to segment 1"]);
    check("a_pin_is_waited_for", || {
        let heap = Heap::new(Shape { slots: 2, lines: 2, ..Shape::default() });
        let mut by = appender(&heap, 0);
        append(&mut by, &heap, 10).unwrap();
        append(&mut by, &heap, 11).unwrap();
        let roles = (closer(&heap), helper(&heap));
        let pinned = spawn(&heap, |heap| {
            if !shmlog::model::hold::enter(heap, heap.hold(1), 0) {
                return false;
            }
            heap.put(&heap.window(0).arena[8..9], 99);
            heap.put(&heap.window(0).arena[0..1], 98);
            let word = Tag::of_lap(1).word(body(Kind::Record, 8, 8));
            assert_eq!(commit::attempt(&heap.window(0).index[1], Tag::of_lap(1), 0, word), Attempt::Ended);
            shmlog::model::hold::leave(heap.hold(1));
            true
        });
        let closed = roles.0.join().unwrap();
        let helped = roles.1.join().unwrap();
        let entered = pinned.join().unwrap();
        SEEN.mark_if(0, closed == Err(Kept::BySlot { slot: 1, segment: 0 }));
        SEEN.mark_if(1, entered && helped);
        SEEN.mark_if(2, !entered);
    });
    SEEN.assert_all();
}

/// A whole appender in the old segment while another goes twice around.
#[test]
fn no_record_is_lost_or_overwritten() {
    static SEEN: Seen<3> = Seen::new(["the slow one is in the way", "it was first", "it came after the recycling"]);
    check("no_record_is_lost_or_overwritten", || {
        let heap = Heap::new(Shape { slots: 2, lines: 2, ..Shape::default() });
        let slow = spawn(&heap, |heap| append(&mut appender(heap, 0), heap, 9));
        let quick = spawn(&heap, |heap| {
            let mut by = appender(heap, 1);
            [1, 2, 3].map(|value| (append(&mut by, heap, value), value))
        });
        let slow = slow.join().unwrap();
        let quick = quick.join().unwrap();
        let kept = |result: &_| matches!(result, Err(Blocked::Kept(Kept::BySlot { slot: 0, .. })));
        SEEN.mark_if(0, quick.iter().any(|(result, _)| kept(result)));
        SEEN.mark_if(1, slow == Ok(0));
        SEEN.mark_if(2, slow == Ok(3));
        let appended = quick.into_iter().chain([(slow, 9)]);
        dense(&heap, appended.filter_map(|(result, value)| Some((result.ok()?, value))));
    });
    SEEN.assert_all();
}

/// A reservation keeps its segment until it is released, whether it could be committed or not.
#[test]
fn a_reservation_is_waited_for() {
    static SEEN: Seen<3> = Seen::new(["in the way", "committed", "too late, recycled"]);
    check("a_reservation_is_waited_for", || {
        let heap = Heap::new(Shape { slots: 2, lines: 2, ..Shape::default() });
        let reserving = spawn(&heap, |heap| {
            let mut by = appender(heap, 0);
            let at = by.try_reserve(8).ok()?;
            heap.put(by.tip().payload(at, 1), 9);
            let committed = by.try_commit(Kind::Record, 8, at).ok();
            by.release();
            committed
        });
        let quick = spawn(&heap, |heap| {
            let mut by = appender(heap, 1);
            [1, 2, 3].map(|value| (append(&mut by, heap, value), value))
        });
        let committed = reserving.join().unwrap();
        let quick = quick.join().unwrap();
        let kept = |result: &_| matches!(result, Err(Blocked::Kept(Kept::BySlot { slot: 0, .. })));
        SEEN.mark_if(0, quick.iter().any(|(result, _)| kept(result)));
        SEEN.mark_if(1, committed.is_some());
        SEEN.mark_if(2, committed.is_none() && quick[2].0 == Ok(2));
        let appended = quick.into_iter().filter_map(|(result, value)| Some((result.ok()?, value)));
        dense(&heap, appended.chain(committed.map(|seq| (seq, 9))));
    });
    SEEN.assert_all();
}
