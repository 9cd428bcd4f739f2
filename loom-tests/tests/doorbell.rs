//! No wake-up is lost: who sleeps has been rung for, by every record that it did not see.
#![cfg(loom)]

use loom::sync::Mutex;
use loom_tests::{Heap, Seen, Shape, append, check, check_at, spawn};
use shmlog::model::append::Append;
use shmlog::model::cursor::{Cursor, Step};
use shmlog::model::doorbell::{announce, is_called, ring};
use shmlog::model::exclusive::Exclusive;
use shmlog::model::memory::{Memory, Retention};
use shmlog::model::sync::Ordering::Relaxed;
use std::sync::Arc;

const ROOMY: Shape =
    Shape { windows: 1, entries: 4, lines: 2, slots: 1, retention: Retention::Keep, first: 0, refuses: false };

/// A waiter's last steps before it sleeps: the ticket, if it found nothing.
fn wait(heap: &Heap) -> Option<u32> {
    let mut cursor = Cursor::at_oldest(heap, None).unwrap();
    let ticket = announce(&heap.doorbell);
    heap.heavy_fence().unwrap();
    (cursor.step() == Step::Nothing).then_some(ticket)
}

/// Appends and rings. Returns whether it rang.
fn append_and_ring<'m>(by: &mut impl Append<'m, Heap>, heap: &Heap, value: u64) -> bool {
    append(by, heap, value).unwrap();
    let called = is_called(&heap.doorbell, heap.fencing());
    if called {
        ring(&heap.doorbell, |_| ());
    }
    called
}

#[test]
fn nobody_sleeps_through_a_record() {
    static SEEN: Seen<4> = Seen::new(["slept and was rung for", "saw the record", "both", "came after the appender"]);
    check("nobody_sleeps_through_a_record", || {
        let heap = Heap::new(ROOMY);
        let appender = spawn(&heap, |heap| append_and_ring(&mut Exclusive::attach(heap).unwrap(), heap, 1));
        let waiters = [0, 1].map(|_| spawn(&heap, wait));
        let rang = appender.join().unwrap();
        let tickets = waiters.map(|waiter| waiter.join().unwrap());
        let bell = heap.doorbell.bell.load(Relaxed);
        SEEN.mark_if(0, tickets.iter().all(Option::is_some));
        SEEN.mark_if(1, tickets.iter().all(Option::is_none));
        SEEN.mark_if(2, tickets[0].is_some() && tickets[1].is_none());
        SEEN.mark_if(3, !rang);
        assert!(tickets.iter().flatten().all(|ticket| *ticket != bell), "asleep for ever");
    });
    SEEN.assert_all();
}

/// An answered announcement costs the next appender nothing; an open one is never forgotten.
#[test]
fn an_answer_does_not_hide_an_announcement() {
    static SEEN: Seen<3> = Seen::new(["slept, rung for once", "rung for twice", "answered"]);
    // To announce anew while the first announcement is answered takes three.
    check_at(3, "an_answer_does_not_hide_an_announcement", || {
        let heap = Heap::new(ROOMY);
        let appender = spawn(&heap, |heap| {
            let mut by = Exclusive::attach(heap).unwrap();
            [1, 2].map(|value| append_and_ring(&mut by, heap, value))
        });
        let waiter = spawn(&heap, |heap| {
            let first = wait(heap);
            // Woken, or not asleep at all: it waits for the record after the first.
            let mut cursor = Cursor::at_oldest(heap, None).unwrap();
            let Step::Record(_) = cursor.step() else { return (first, None) };
            cursor.pass();
            let ticket = announce(&heap.doorbell);
            heap.heavy_fence().unwrap();
            (first, (cursor.step() == Step::Nothing).then_some(ticket))
        });
        let rang = appender.join().unwrap();
        let (first, second) = waiter.join().unwrap();
        let bell = heap.doorbell.bell.load(Relaxed);
        SEEN.mark_if(0, first.is_some() && bell == 1);
        SEEN.mark_if(1, rang == [true, true]);
        SEEN.mark_if(2, !is_called(&heap.doorbell, heap.fencing()));
        assert!(first.into_iter().chain(second).all(|ticket| ticket != bell), "asleep for ever");
    });
    SEEN.assert_all();
}

/// The kernel's part: who waits on the futex word.
#[derive(Debug, Default)]
struct Futex {
    is_asleep: bool,
}

/// An appender that dies after it moved the bell and before it woke anybody leaves that to the
/// next one.
#[test]
fn a_dead_ringer_is_made_good() {
    static SEEN: Seen<4> = Seen::new(["woken by the second", "never slept", "the bell had moved", "died"]);
    check("a_dead_ringer_is_made_good", || {
        let heap = Heap::new(ROOMY);
        let futex = Arc::new(Mutex::new(Futex::default()));
        let kernel = futex.clone();
        let appenders = spawn(&heap, move |heap| {
            let mut by = Exclusive::attach(heap).unwrap();
            append(&mut by, heap, 1).unwrap();
            if is_called(&heap.doorbell, heap.fencing()) {
                let death = std::panic::AssertUnwindSafe(|| {
                    ring(&heap.doorbell, |_| std::panic::resume_unwind(Box::new("died")));
                });
                std::panic::catch_unwind(death).unwrap_err();
                SEEN.mark(3);
            }
            let mut by = Exclusive::attach(heap).unwrap();
            append(&mut by, heap, 2).unwrap();
            let called = is_called(&heap.doorbell, heap.fencing());
            if called {
                ring(&heap.doorbell, |_| SEEN.mark_if(0, std::mem::take(&mut kernel.lock().unwrap().is_asleep)));
            }
        });
        let kernel = futex.clone();
        let waiter = spawn(&heap, move |heap| {
            let Some(ticket) = wait(heap) else { return SEEN.mark(1) };
            let mut futex = kernel.lock().unwrap();
            futex.is_asleep = heap.doorbell.bell.load(Relaxed) == ticket;
            SEEN.mark_if(2, !futex.is_asleep);
        });
        appenders.join().unwrap();
        waiter.join().unwrap();
        assert!(!futex.lock().unwrap().is_asleep, "asleep for ever");
    });
    SEEN.assert_all();
}

/// SYNC announce: a ring that answers comes after what its waiter did before announcing, drawing
/// the ticket included. (That the ticket could come from the very ring is load buffering, which
/// loom doesn't explore; a shadow is written in the ticket's place.)
#[test]
fn an_answer_comes_after_the_ticket() {
    static SEEN: Seen<2> = Seen::new(["not called", "answered"]);
    check("an_answer_comes_after_the_ticket", || {
        let heap = Heap::new(ROOMY);
        let waiter = spawn(&heap, |heap| {
            heap.put(&heap.window(0).arena[..1], 7);
            announce(&heap.doorbell);
        });
        let appender = spawn(&heap, |heap| {
            let called = is_called(&heap.doorbell, heap.fencing());
            if called {
                ring(&heap.doorbell, |_| assert_eq!(heap.get(&heap.window(0).arena[..1]), [7]));
            }
            called
        });
        waiter.join().unwrap();
        SEEN.mark(usize::from(appender.join().unwrap()));
    });
    SEEN.assert_all();
}
