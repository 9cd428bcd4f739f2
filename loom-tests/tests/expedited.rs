//! The light fence, which is none, against membarrier(2): hold against recycling, record against sleeping,
//! announced version against pin.
#![cfg(loom)]

use loom_tests::{
    Expedited, Heap, Light, Seen, Shape, Snapshot, append, check, pin_and_read, publish_many, two_segments,
};
use shmlog::model::cell::Pinned;
use shmlog::model::cursor::{Cursor, Step};
use shmlog::model::doorbell::{announce, is_called, ring};
use shmlog::model::exclusive::Exclusive;
use shmlog::model::hold;
use shmlog::model::memory::{Memory, Retention};
use shmlog::model::roll;
use shmlog::model::sync::Ordering::Relaxed;

/// Gives segment 0 up, and if that succeeds writes to its window.
fn recycle(by: &Light<Heap>) -> bool {
    let given_up = roll::give_up(by, 2).is_ok();
    if given_up {
        by.look().put(&by.window(2).arena[..1], 12);
    }
    given_up
}

/// Uses segment 0 under a pin.
fn enter_and_leave(by: &Light<Heap>) -> bool {
    let (heap, hold) = (by.look(), by.look().hold(1));
    let entered = hold::enter(by, hold, 0);
    if entered {
        heap.get(&by.window(0).arena[..1]);
        hold::leave(hold);
    }
    entered
}

#[test]
fn one_of_the_two_sees_the_other() {
    static SEEN: Seen<4> = Seen::new(["only entered", "only given up", "entered, left, given up", "both withdrew"]);
    check("one_of_the_two_sees_the_other", || {
        let shared = Expedited::new(two_segments(2, Retention::Overwrite), 2);
        let holder = shared.spawn(0, enter_and_leave);
        let recycler = shared.spawn(1, recycle);
        let (entered, given_up) = (holder.join().unwrap(), recycler.join().unwrap());
        SEEN.mark(match (entered, given_up) {
            (true, false) => 0,
            (false, true) => 1,
            (true, true) => 2,
            (false, false) => 3,
        });
    });
    SEEN.assert_all();
}

/// A pin on a newer segment doesn't hide what its owner did under the one before.
#[test]
fn a_newer_pin_comes_after_the_older_one() {
    static SEEN: Seen<2> = Seen::new(["in the way", "given up while the newer is held"]);
    check("a_newer_pin_comes_after_the_older_one", || {
        let shared = Expedited::new(two_segments(2, Retention::Overwrite), 2);
        let holder = shared.spawn(0, |by| {
            let entered = enter_and_leave(by);
            assert!(hold::enter(by, by.look().hold(1), 1));
            entered
        });
        let recycler = shared.spawn(1, recycle);
        let (entered, given_up) = (holder.join().unwrap(), recycler.join().unwrap());
        SEEN.mark_if(0, entered && !given_up);
        SEEN.mark_if(1, entered && given_up);
    });
    SEEN.assert_all();
}

#[test]
fn nobody_sleeps_through_a_record() {
    static SEEN: Seen<3> =
        Seen::new(["slept and was rung for", "saw the record, rung for", "saw the record, not rung for"]);
    check("nobody_sleeps_through_a_record", || {
        let shape =
            Shape { windows: 1, entries: 4, lines: 2, slots: 1, retention: Retention::Keep, first: 0, refuses: false };
        let shared = Expedited::new(Heap::new(shape), 2);
        let appender = shared.spawn(0, |by| {
            let doorbell = &by.look().doorbell;
            append(&mut Exclusive::attach(by).unwrap(), by.look(), 1).unwrap();
            let called = is_called(doorbell, by.fencing());
            if called {
                ring(doorbell, |_| ());
            }
            called
        });
        let waiter = shared.spawn(1, |by| {
            let mut cursor = Cursor::at_oldest(by, None).unwrap();
            let ticket = announce(&by.look().doorbell);
            by.heavy_fence().unwrap();
            (cursor.step() == Step::Nothing).then_some(ticket)
        });
        let (rang, ticket) = (appender.join().unwrap(), waiter.join().unwrap());
        SEEN.mark(match (ticket, rang) {
            (Some(_), _) => 0,
            (None, true) => 1,
            (None, false) => 2,
        });
        assert_ne!(ticket, Some(shared.memory.doorbell.bell.load(Relaxed)), "asleep for ever");
    });
    SEEN.assert_all();
}

/// The version published before the roles begin.
const FIRST: u64 = 6;

fn pinned_while_published(name: &str, opened_before: bool) {
    let names = ["in the way", "read, then overwritten", "a newer one pinned", "overtaken"];
    let seen: &Seen<4> = Box::leak(Box::new(Seen::new(names)));
    check(name, move || {
        let shared = Expedited::new(Snapshot::new(2, 1, FIRST), 2);
        if opened_before {
            shared.memory.open_seat(0);
        }
        let writer = shared.spawn(0, |by| publish_many(by, 2));
        let pinner = shared.spawn(1, |by| {
            by.look().open_seat(0);
            pin_and_read(by, 0)
        });
        let (written, pinned) = (writer.join().unwrap(), pinner.join().unwrap());
        assert!(matches!(written, Ok(_) | Err(Pinned { seat: 0 })));
        seen.mark_if(0, written.is_err() && pinned == Some(FIRST));
        seen.mark_if(1, written.is_ok() && pinned == Some(FIRST));
        seen.mark_if(2, pinned > Some(FIRST));
        seen.mark_if(3, pinned.is_none());
    });
    seen.assert_all();
}

#[test]
fn a_pin_is_seen() {
    pinned_while_published("a_pin_is_seen", true);
}

/// The seat is opened while the writer publishes, which until then looks at no pin.
#[test]
fn the_first_pin_is_seen() {
    pinned_while_published("the_first_pin_is_seen", false);
}
