//! Holds against giving up, step by step: one of the two sees the other, and what was done under a
//! hold that is gone comes before what is done to the window afterwards.
#![cfg(loom)]

use loom_tests::{Heap, Seen, Shape, append, appender, check, recycle_at_one_look, spawn, two_segments};
use shmlog::model::cursor::Cursor;
use shmlog::model::exclusive::Exclusive;
use shmlog::model::hold;
use shmlog::model::memory::{Memory, Retention};
use shmlog::model::roll::{self, Kept};
use shmlog::model::sync::Ordering::Relaxed;

/// Uses the first word of a segment's arena.
fn touch(heap: &Heap, segment: u64) {
    heap.get(&heap.window(segment).arena[..1]);
}

/// Gives segment 0 up, and if that succeeds writes to its window.
fn recycle(heap: &Heap) -> bool {
    let given_up = roll::give_up(heap, 2).is_ok();
    if given_up {
        heap.put(&heap.window(2).arena[..1], 12);
    }
    given_up
}

#[test]
fn one_of_the_two_sees_the_other() {
    static SEEN: Seen<4> = Seen::new(["only entered", "only given up", "entered, left, given up", "both withdrew"]);
    check("one_of_the_two_sees_the_other", || {
        let heap = two_segments(2, Retention::Gated);
        let holder = spawn(&heap, |heap| {
            let entered = hold::enter(heap, heap.hold(1), 0);
            if entered {
                touch(heap, 0);
                hold::leave(heap.hold(1));
            }
            entered
        });
        let recycler = spawn(&heap, recycle);
        let (entered, given_up) = (holder.join().unwrap(), recycler.join().unwrap());
        SEEN.mark(match (entered, given_up) {
            (true, false) => 0,
            (false, true) => 1,
            (true, true) => 2,
            (false, false) => 3,
        });
        assert!(roll::give_up(&*heap, 2).is_ok(), "nobody holds it any more");
    });
    SEEN.assert_all();
}

/// A pin on a newer segment doesn't hide what its owner did under the one before.
#[test]
fn a_newer_hold_comes_after_the_older_one() {
    static SEEN: Seen<2> = Seen::new(["in the way", "given up while the newer is held"]);
    check("a_newer_hold_comes_after_the_older_one", || {
        let heap = two_segments(2, Retention::Gated);
        let holder = spawn(&heap, |heap| {
            let entered = hold::enter(heap, heap.hold(1), 0);
            if entered {
                touch(heap, 0);
                hold::leave(heap.hold(1));
            }
            assert!(hold::enter(heap, heap.hold(1), 1));
            entered
        });
        let recycler = spawn(&heap, recycle_at_one_look);
        let (entered, given_up) = (holder.join().unwrap(), recycler.join().unwrap());
        SEEN.mark_if(0, entered && !given_up);
        SEEN.mark_if(1, entered && given_up);
    });
    SEEN.assert_all();
}

#[test]
fn a_gate_moves_on() {
    static SEEN: Seen<2> = Seen::new(["in the way", "given up behind the gate"]);
    check("a_gate_moves_on", || {
        let heap = two_segments(2, Retention::Gated);
        let holder = spawn(&heap, |heap| {
            let entered = hold::enter(heap, heap.hold(1), 0);
            if entered {
                touch(heap, 0);
                hold::advance(heap.hold(1), 1);
            }
            entered
        });
        let recycler = spawn(&heap, recycle);
        let (entered, given_up) = (holder.join().unwrap(), recycler.join().unwrap());
        SEEN.mark_if(0, entered && !given_up);
        SEEN.mark_if(1, entered && given_up);
    });
    SEEN.assert_all();
}

/// The fence between the looks at the holds is no barrier for the light ones.
#[test]
fn nothing_is_given_up_without_the_barrier() {
    check("nothing_is_given_up_without_the_barrier", || {
        let heap = Heap::new(Shape { refuses: true, ..Shape::default() });
        assert_eq!(roll::give_up(&*heap, 2), Err(Kept::NoBarrier));
    });
}

/// A gate on segment 1 that its reader takes back to segment 0.
#[test]
fn a_gate_goes_back_or_stays() {
    static SEEN: Seen<3> = Seen::new(["went back, in the way", "stays, given up", "went back, left, given up"]);
    check("a_gate_goes_back_or_stays", || {
        let heap = two_segments(2, Retention::Gated);
        assert!(hold::enter(&*heap, heap.hold(1), 1));
        let holder = spawn(&heap, |heap| {
            let lowered = hold::lower(heap, heap.hold(1), 1, 0);
            if lowered {
                touch(heap, 0);
                hold::advance(heap.hold(1), 1);
            }
            lowered
        });
        let recycler = spawn(&heap, recycle);
        let (lowered, given_up) = (holder.join().unwrap(), recycler.join().unwrap());
        SEEN.mark_if(0, lowered && !given_up);
        SEEN.mark_if(1, !lowered && given_up);
        SEEN.mark_if(2, lowered && given_up);
        assert!(roll::give_up(&*heap, 2).is_ok(), "segment 0 is free");
        assert!(roll::give_up(&*heap, 3).is_err(), "segment 1 is held all the time");
    });
    SEEN.assert_all();
}

/// A gate that moved on and was then taken back a little doesn't hide what was read before.
#[test]
fn a_gate_that_went_back_a_little_comes_after_what_it_left() {
    static SEEN: Seen<2> = Seen::new(["in the way", "given up behind the gate"]);
    check("a_gate_that_went_back_a_little_comes_after_what_it_left", || {
        let heap = Heap::new(Shape { windows: 3, slots: 2, ..Shape::default() });
        let mut by = appender(&heap, 0);
        for value in 10..13 {
            append(&mut by, &heap, value).unwrap();
        }
        assert!(hold::enter(&*heap, heap.hold(1), 0));
        let holder = spawn(&heap, |heap| {
            touch(heap, 0);
            hold::advance(heap.hold(1), 2);
            hold::lower(heap, heap.hold(1), 2, 1);
        });
        let recycler = spawn(&heap, recycle_at_one_look);
        holder.join().unwrap();
        let given_up = recycler.join().unwrap();
        SEEN.mark(usize::from(given_up));
    });
    SEEN.assert_all();
}

/// SYNC head: who could not enter finds a newer segment at once. The roller is the exclusive
/// appender, which fences only when it gives up: loom orders all threads by their full fences, more
/// than the language does, and doesn't try every order of them.
#[test]
fn who_comes_too_late_goes_to_a_newer_segment() {
    static SEEN: Seen<2> = Seen::new(["entered", "too late"]);
    check("who_comes_too_late_goes_to_a_newer_segment", || {
        let heap = Heap::new(Shape { slots: 2, ..Shape::default() });
        let roller = spawn(&heap, |heap| {
            let mut by = Exclusive::attach(heap).unwrap();
            (10..13).filter(|value| append(&mut by, heap, *value).is_ok()).count()
        });
        let late = spawn(&heap, |heap| {
            let entered = hold::enter(heap, heap.hold(1), 0);
            assert!(entered || roll::active(heap) >= 1, "head has passed segment 0");
            entered
        });
        let entered = late.join().unwrap();
        roller.join().unwrap();
        SEEN.mark(usize::from(!entered));
    });
    SEEN.assert_all();
}

/// Of two who give up, one after the other's segment, the slower doesn't take `head` back.
#[test]
fn head_does_not_go_back() {
    static SEEN: Seen<2> = Seen::new(["seen at 1", "seen at 2"]);
    check("head_does_not_go_back", || {
        let heap = Heap::new(Shape { windows: 3, ..Shape::default() });
        let slow = spawn(&heap, |heap| roll::give_up(heap, 3));
        let quick = spawn(&heap, |heap| [3, 4].map(|next| roll::give_up(heap, next)));
        let reader = spawn(&heap, |heap| [(); 2].map(|()| heap.control().head.0.load(Relaxed)));
        assert_eq!((slow.join().unwrap(), quick.join().unwrap()), (Ok(()), [Ok(()); 2]));
        let seen = reader.join().unwrap();
        SEEN.mark_if(0, seen[0] == 1);
        SEEN.mark_if(1, seen[1] == 2);
        assert!(seen[0] <= seen[1]);
        assert_eq!(heap.control().head.0.load(Relaxed), 2);
    });
    SEEN.assert_all();
}

/// A reader that seeks back and forth keeps what it stands on.
#[test]
fn a_gated_reader_seeks_back() {
    static SEEN: Seen<2> = Seen::new(["went back", "too late"]);
    check("a_gated_reader_seeks_back", || {
        let heap = two_segments(2, Retention::Gated);
        let reader = spawn(&heap, |heap| {
            let mut cursor = Cursor::at_seq(heap, Some(heap.hold(1)), 1).unwrap();
            let back = cursor.seek(0).is_ok();
            touch(heap, cursor.segment());
            back
        });
        let recycler = spawn(&heap, recycle);
        let (back, given_up) = (reader.join().unwrap(), recycler.join().unwrap());
        SEEN.mark(usize::from(!back));
        assert!(!(back && given_up), "the reader still stands there");
    });
    SEEN.assert_all();
}
