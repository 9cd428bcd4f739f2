//! Entering beside an anchor that lets go at the same moment, whatever `head` is, against giving up.
//!
//! The recycler may have raised `head` long ago: what the newcomer enters is kept by the anchor's word alone,
//! and from some moment on by its own.
#![cfg(loom)]

use loom_tests::{
    Heap, Seen, Shape, append, appender, check, closer, helper, mortal, recycle_at_one_look, spawn, two_segments,
};
use shmlog::model::cursor::{Cursor, Step};
use shmlog::model::memory::{Memory, Retention};
use shmlog::model::roll::{self, Kept};
use shmlog::model::sync::{AtomicU64, Ordering::Relaxed};
use shmlog::model::{hold, locate};

/// An anchor in `slot` on `segment`.
fn anchor(heap: &Heap, slot: usize, segment: u64) {
    assert!(hold::enter_reading(heap, heap.hold(slot), segment));
    hold::admit_others(&heap.slots()[slot]);
}

/// An anchor on segment 0, whose window somebody wanted: that raised `head`.
fn anchor_behind_head(heap: &Heap, slot: usize) {
    anchor(heap, slot, 0);
    assert_eq!(roll::give_up(heap, 2), Err(Kept::BySlot { slot, segment: 0 }));
    assert!(!locate::is_retained(heap, 0));
}

/// Reads the record of a segment that is held.
fn read(heap: &Heap, segment: u64) {
    let word = locate::committed(heap, segment, 0).expect("committed");
    assert_eq!(heap.get(heap.window(segment).payload(word).unwrap()), [10 + segment]);
}

/// Enters beside the owner of slot `other`, reads what it came into, and leaves. Returns the segment.
fn visit(heap: &Heap, slot: usize, other: usize) -> Option<u64> {
    let entered = hold::enter_beside(heap.hold(slot), &heap.slots()[other]);
    if let Some(segment) = entered {
        read(heap, segment);
        hold::leave(heap.hold(slot));
    }
    entered
}

/// Gives segment 0 up, and if that succeeds writes to its window.
fn recycle(heap: &Heap) -> Result<(), Kept> {
    roll::give_up(heap, 2)?;
    heap.put(&heap.window(2).arena[..1], 12);
    Ok(())
}

/// The anchor lets go by `let_go`; the newcomer, in `slot`, enters beside it, while the window is written anew.
/// In a log that overwrites, `head` was raised before.
fn beside_one_that_lets_go(name: &str, retention: Retention, (slot, other): (usize, usize), let_go: fn(&AtomicU64)) {
    let names = ["entered, in the way", "entered, left, overwritten", "too late", "the anchor in the way"];
    let seen: &Seen<4> = Box::leak(Box::new(Seen::new(names)));
    check(name, move || {
        let heap = two_segments(3, retention);
        match retention {
            Retention::Gated => anchor(&heap, other, 0),
            _ => anchor_behind_head(&heap, other),
        }
        let roles = (closer(&heap), helper(&heap));
        let anchor = spawn(&heap, move |heap| let_go(heap.hold(other)));
        let newcomer = spawn(&heap, move |heap| visit(heap, slot, other));
        let (closed, helped) = (roles.0.join().unwrap(), roles.1.join().unwrap());
        anchor.join().unwrap();
        let entered = newcomer.join().unwrap() == Some(0);
        seen.mark_if(0, closed == Err(Kept::BySlot { slot, segment: 0 }));
        seen.mark_if(1, entered && helped);
        seen.mark_if(2, !entered && helped);
        seen.mark_if(3, closed == Err(Kept::BySlot { slot: other, segment: 0 }));
    });
    seen.assert_all();
}

#[test]
fn beside_one_that_goes_on() {
    beside_one_that_lets_go("beside_one_that_goes_on", Retention::Overwrite, (2, 1), |hold| hold::advance(hold, 1));
}

#[test]
fn beside_one_that_leaves() {
    beside_one_that_lets_go("beside_one_that_leaves", Retention::Overwrite, (1, 2), hold::leave);
}

#[test]
fn beside_one_in_a_gated_log() {
    beside_one_that_lets_go("beside_one_in_a_gated_log", Retention::Gated, (1, 2), hold::leave);
}

/// As `Row::vacate` and `Row::bury` do.
fn clear(heap: &Heap) {
    hold::leave(heap.hold(2));
    heap.slots()[2].role.store(0, Relaxed);
}

/// The anchor dies; who finds it in the way clears its slot.
#[test]
fn beside_one_that_dies() {
    static SEEN: Seen<3> = Seen::new(["in the way", "entered, left, overwritten", "too late"]);
    check("beside_one_that_dies", || {
        let heap = two_segments(3, Retention::Overwrite);
        anchor(&heap, 2, 0);
        let dying = spawn(&heap, |heap| mortal(heap, 2, 0, |memory| _ = memory.look()));
        let newcomer = spawn(&heap, |heap| visit(heap, 1, 2));
        let recycler = spawn(&heap, |heap| match recycle(heap) {
            Err(Kept::BySlot { slot: 2, .. }) if heap.kernel.is_dead(2) => {
                clear(heap);
                recycle(heap)
            }
            other => other,
        });
        assert_eq!(dying.join().unwrap(), None);
        let (entered, recycled) = (newcomer.join().unwrap(), recycler.join().unwrap());
        SEEN.mark_if(0, recycled == Err(Kept::BySlot { slot: 1, segment: 0 }));
        SEEN.mark_if(1, entered.is_some() && recycled.is_ok());
        SEEN.mark_if(2, entered.is_none() && recycled.is_ok());
    });
    SEEN.assert_all();
}

/// The anchor's slot gets a new owner, which tries to enter the segment that `head` has passed: for a moment
/// its word is what the anchor's was. Nobody must take it for that.
fn beside_the_next_owner(name: &str, vacate: fn(&Heap)) {
    let names = ["entered, left, overwritten", "in the way", "too late"];
    let seen: &Seen<3> = Box::leak(Box::new(Seen::new(names)));
    check(name, move || {
        let heap = two_segments(3, Retention::Overwrite);
        anchor_behind_head(&heap, 2);
        let owners = spawn(&heap, move |heap| {
            vacate(heap);
            let slot = &heap.slots()[2];
            hold::begin(slot);
            slot.role.store(3, Relaxed);
            assert!(!hold::enter_reading(heap, heap.hold(2), 0), "head has passed it");
        });
        let newcomer = spawn(&heap, |heap| visit(heap, 1, 2));
        let recycler = spawn(&heap, recycle);
        owners.join().unwrap();
        let (entered, recycled) = (newcomer.join().unwrap(), recycler.join().unwrap());
        seen.mark_if(0, entered.is_some() && recycled.is_ok());
        seen.mark_if(1, entered.is_some() && recycled.is_err());
        seen.mark_if(2, entered.is_none() && recycled.is_ok());
    });
    seen.assert_all();
}

#[test]
fn beside_the_next_owner_of_the_slot() {
    beside_the_next_owner("beside_the_next_owner_of_the_slot", clear);
}

/// The anchor died and nobody had cleared its slot when it was taken.
#[test]
fn beside_the_heir_of_a_dead_one() {
    beside_the_next_owner("beside_the_heir_of_a_dead_one", |_| {});
}

/// An anchor that first comes too late for segment 0, and then stands on segment 1: only that is entered.
#[test]
fn beside_one_that_came_too_late_itself() {
    static SEEN: Seen<3> = Seen::new(["beside it, on segment 0", "on segment 1", "it admits nobody yet"]);
    check("beside_one_that_came_too_late_itself", || {
        let heap = two_segments(3, Retention::Overwrite);
        let anchor = spawn(&heap, |heap| {
            let oldest = hold::enter_reading(heap, heap.hold(2), 0);
            assert!(oldest || hold::enter_reading(heap, heap.hold(2), 1));
            hold::admit_others(&heap.slots()[2]);
        });
        let newcomer = spawn(&heap, |heap| visit(heap, 1, 2));
        let recycler = spawn(&heap, recycle);
        anchor.join().unwrap();
        let _ = recycler.join().unwrap();
        SEEN.mark(newcomer.join().unwrap().unwrap_or(2));
    });
    SEEN.assert_all();
}

/// An anchor enters and leaves while an exclusive appender, which has no barrier but its own fences, gives the segment up.
#[test]
fn beside_one_that_enters_and_leaves_meanwhile() {
    static SEEN: Seen<3> = Seen::new(["in the way", "entered, left, overwritten", "too late"]);
    check("beside_one_that_enters_and_leaves_meanwhile", || {
        let heap = two_segments(3, Retention::Gated);
        let anchor = spawn(&heap, |heap| {
            if hold::enter_reading(heap, heap.hold(2), 0) {
                hold::admit_others(&heap.slots()[2]);
                hold::leave(heap.hold(2));
            }
        });
        let newcomer = spawn(&heap, |heap| visit(heap, 1, 2));
        let alone = spawn(&heap, |heap| {
            let given_up = roll::give_up_alone(heap, 2);
            if given_up.is_ok() {
                heap.put(&heap.window(2).arena[..1], 12);
            }
            given_up
        });
        anchor.join().unwrap();
        let (entered, given_up) = (newcomer.join().unwrap() == Some(0), alone.join().unwrap());
        SEEN.mark_if(0, given_up == Err(Kept::BySlot { slot: 1, segment: 0 }));
        SEEN.mark_if(1, entered && given_up.is_ok());
        SEEN.mark_if(2, !entered && given_up.is_ok());
    });
    SEEN.assert_all();
}

/// What the newcomer did under an older hold of its own comes before what is done to that window.
#[test]
fn beside_one_after_an_older_hold() {
    static SEEN: Seen<2> = Seen::new(["in the way", "recycled"]);
    check("beside_one_after_an_older_hold", || {
        let heap = two_segments(3, Retention::Overwrite);
        anchor(&heap, 2, 1);
        assert!(hold::enter_reading(&*heap, heap.hold(1), 0));
        let newcomer = spawn(&heap, |heap| {
            read(heap, 0);
            hold::leave(heap.hold(1));
            assert_eq!(hold::enter_beside(heap.hold(1), &heap.slots()[2]), Some(1));
        });
        let recycler = spawn(&heap, recycle_at_one_look);
        newcomer.join().unwrap();
        SEEN.mark(usize::from(recycler.join().unwrap()));
    });
    SEEN.assert_all();
}

/// By sequence number, while the log goes on.
#[test]
fn a_place_beside_another() {
    static SEEN: Seen<3> = Seen::new(["in the way", "there, left, overwritten", "gone"]);
    check("a_place_beside_another", || {
        let heap = two_segments(3, Retention::Overwrite);
        anchor_behind_head(&heap, 2);
        let appending = spawn(&heap, |heap| append(&mut appender(heap, 0), heap, 12));
        let anchor = spawn(&heap, |heap| hold::advance(heap.hold(2), 1));
        let newcomer = spawn(&heap, |heap| {
            let Ok(mut place) = Cursor::beside(heap, heap.hold(1), 0) else { return false };
            let Step::Record(word) = place.step() else { panic!("nothing at {}", place.seq()) };
            assert_eq!((place.seq(), heap.get(place.window().payload(word).unwrap())), (0, vec![10]));
            place.let_go();
            true
        });
        let appended = appending.join().unwrap();
        anchor.join().unwrap();
        let found = newcomer.join().unwrap();
        SEEN.mark_if(0, appended == Err(Kept::BySlot { slot: 1, segment: 0 }.into()));
        SEEN.mark_if(1, found && appended.is_ok());
        SEEN.mark_if(2, !found && appended.is_ok());
    });
    SEEN.assert_all();
}

/// Both records that the anchor holds are found, while `active` moves on.
#[test]
fn the_next_place_beside_another() {
    static SEEN: Seen<2> = Seen::new(["found", "before the anchor came"]);
    check("the_next_place_beside_another", || {
        let heap = Heap::new(Shape { windows: 3, slots: 3, ..Shape::default() });
        append(&mut appender(&heap, 0), &heap, 10).unwrap();
        let appending = spawn(&heap, |heap| {
            append(&mut appender(heap, 0), heap, 11).unwrap();
            anchor(heap, 2, 0);
            append(&mut appender(heap, 0), heap, 12).unwrap();
        });
        let newcomer = spawn(&heap, |heap| {
            let Ok(place) = Cursor::beside(heap, heap.hold(1), 1) else { return SEEN.mark(1) };
            assert_eq!((place.seq(), place.segment(), heap.hold(1).load(Relaxed)), (1, 1, 2));
            read(heap, 1);
            SEEN.mark(0);
        });
        appending.join().unwrap();
        newcomer.join().unwrap();
    });
    SEEN.assert_all();
}
