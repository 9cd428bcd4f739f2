//! Pins against publishing: what is pinned stays as it is, and was read before the buffer is written
//! again; the writer works round pins, or learns whose is in the way.
#![cfg(loom)]

use loom_tests::{
    Seen, Snapshot, WRITER, check, check_deaths, load, mortal, pin_and_read, publish, publish_many,
    publish_past_the_dead, read_and_unpin, spawn, write,
};
use shmlog::model::cell::{Attempt, Pinned};
use std::sync::atomic::Ordering::Relaxed;

/// The version published before the roles begin.
const FIRST: u64 = 6;

/// Nobody pins any more: the writer goes on.
fn settled(slot: &Snapshot) {
    let newest = publish(slot).expect("nobody pins");
    assert_eq!(load(slot), Some(newest));
}

#[test]
fn in_the_way_of_two_buffers() {
    static SEEN: Seen<4> = Seen::new(["in the way", "read, then overwritten", "a newer one pinned", "overtaken"]);
    check("in_the_way_of_two_buffers", || {
        let slot = Snapshot::new(2, 2, FIRST);
        slot.open_seat(1);
        let pinner = spawn(&slot, |slot| pin_and_read(slot, 1));
        let writer = spawn(&slot, |slot| publish_many(slot, 2));
        let (pinned, written) = (pinner.join().unwrap(), writer.join().unwrap());
        assert!(matches!(written, Ok(_) | Err(Pinned { seat: 1 })));
        SEEN.mark_if(0, written.is_err() && pinned == Some(FIRST));
        SEEN.mark_if(1, written.is_ok() && pinned == Some(FIRST));
        SEEN.mark_if(2, pinned > Some(FIRST));
        SEEN.mark_if(3, pinned.is_none());
        settled(&slot);
    });
    SEEN.assert_all();
}

#[test]
fn three_buffers_are_enough_for_one_pin() {
    static SEEN: Seen<4> = Seen::new(["worked round", "read, then overwritten", "a newer one pinned", "overtaken"]);
    check("three_buffers_are_enough_for_one_pin", || {
        let slot = Snapshot::new(3, 1, FIRST);
        slot.open_seat(0);
        let pinner = spawn(&slot, |slot| pin_and_read(slot, 0));
        let writer = spawn(&slot, |slot| publish_many(slot, 3).expect("one buffer at least is free"));
        let (pinned, newest) = (pinner.join().unwrap(), writer.join().unwrap());
        SEEN.mark_if(0, newest == FIRST + 4);
        SEEN.mark_if(1, newest == FIRST + 3 && pinned == Some(FIRST));
        SEEN.mark_if(2, pinned > Some(FIRST));
        SEEN.mark_if(3, pinned.is_none());
        settled(&slot);
    });
    SEEN.assert_all();
}

/// A pin on a newer version doesn't hide what its owner did under the one before.
#[test]
fn a_newer_pin_comes_after_the_older_one() {
    static SEEN: Seen<2> = Seen::new(["in the way", "overwritten while the newer is pinned"]);
    check("a_newer_pin_comes_after_the_older_one", || {
        let slot = Snapshot::new(2, 1, FIRST);
        slot.pinned(0, FIRST - 1);
        let pinner = spawn(&slot, |slot| {
            read_and_unpin(slot, 0, FIRST - 1);
            slot.cell().try_pin(slot, slot.pin(0)).is_ok_and(|attempt| matches!(attempt, Attempt::Loaded { .. }))
        });
        let writer = spawn(&slot, |slot| publish(slot));
        let (pinned, written) = (pinner.join().unwrap(), writer.join().unwrap());
        SEEN.mark_if(0, written.is_err());
        SEEN.mark_if(1, written.is_ok() && pinned);
    });
    SEEN.assert_all();
}

/// The same reader pins again and again.
#[test]
fn one_pins_twice() {
    static SEEN: Seen<2> = Seen::new(["in the way", "pinned one after the other"]);
    check("one_pins_twice", || {
        let slot = Snapshot::new(2, 1, FIRST);
        slot.open_seat(0);
        let pinner = spawn(&slot, |slot| [(); 2].map(|()| pin_and_read(slot, 0)));
        let writer = spawn(&slot, |slot| publish_many(slot, 2));
        let (pinned, written) = (pinner.join().unwrap(), writer.join().unwrap());
        assert!(pinned[1].is_none() || pinned[1] >= pinned[0]);
        SEEN.mark_if(0, written.is_err());
        SEEN.mark_if(1, written.is_ok() && pinned == [Some(FIRST), Some(FIRST + 1)]);
        settled(&slot);
    });
    SEEN.assert_all();
}

/// The seat is opened while the writer publishes, which until then looks at no pin.
#[test]
fn the_first_pin_is_seen() {
    static SEEN: Seen<3> = Seen::new(["in the way", "read, then overwritten", "overtaken"]);
    check("the_first_pin_is_seen", || {
        let slot = Snapshot::new(2, 1, FIRST);
        let pinner = spawn(&slot, |slot| {
            slot.open_seat(0);
            pin_and_read(slot, 0)
        });
        let writer = spawn(&slot, |slot| publish_many(slot, 2));
        let (pinned, written) = (pinner.join().unwrap(), writer.join().unwrap());
        SEEN.mark_if(0, written == Err(Pinned { seat: 0 }) && pinned == Some(FIRST));
        SEEN.mark_if(1, written.is_ok() && pinned == Some(FIRST));
        SEEN.mark_if(2, pinned.is_none());
        settled(&slot);
    });
    SEEN.assert_all();
}

/// Two seats are opened while the writer publishes: the count covers them both, whoever comes last.
#[test]
fn two_open_their_seats() {
    static SEEN: Seen<3> = Seen::new(["in the way", "read, then overwritten", "overtaken"]);
    check("two_open_their_seats", || {
        let slot = Snapshot::new(2, 2, FIRST);
        let other = spawn(&slot, |slot| slot.open_seat(0));
        let pinner = spawn(&slot, |slot| {
            slot.open_seat(1);
            pin_and_read(slot, 1)
        });
        let writer = spawn(&slot, |slot| publish_many(slot, 2));
        other.join().unwrap();
        let (pinned, written) = (pinner.join().unwrap(), writer.join().unwrap());
        SEEN.mark_if(0, written == Err(Pinned { seat: 1 }) && pinned == Some(FIRST));
        SEEN.mark_if(1, written.is_ok() && pinned == Some(FIRST));
        SEEN.mark_if(2, pinned.is_none());
        settled(&slot);
    });
    SEEN.assert_all();
}

#[test]
fn two_pin() {
    static SEEN: Seen<3> = Seen::new(["the first in the way", "the second", "both overwritten"]);
    check("two_pin", || {
        let slot = Snapshot::new(2, 2, FIRST);
        slot.open_seat(1);
        let pinners = [0, 1].map(|seat| spawn(&slot, move |slot| pin_and_read(slot, seat)));
        let writer = spawn(&slot, |slot| publish_many(slot, 2));
        let pinned = pinners.map(|pinner| pinner.join().unwrap());
        let written = writer.join().unwrap();
        SEEN.mark_if(0, written == Err(Pinned { seat: 0 }));
        SEEN.mark_if(1, written == Err(Pinned { seat: 1 }));
        SEEN.mark_if(2, written.is_ok() && pinned == [Some(FIRST); 2]);
        settled(&slot);
    });
    SEEN.assert_all();
}

fn pinner_dies(name: &'static str, buffers: u64, seen: &'static Seen<3>) {
    check_deaths(name, move |looks, died| {
        let slot = Snapshot::new(buffers, 1, FIRST);
        slot.open_seat(0);
        let pinner = spawn(&slot, move |slot| {
            let survived = mortal(slot, 0, looks, |by| pin_and_read(by, 0));
            died.fetch_add(u64::from(survived.is_none()), Relaxed);
            survived.is_none()
        });
        let writer = spawn(&slot, |slot| [(); 2].map(|()| publish_past_the_dead(slot)));
        let (died, written) = (pinner.join().unwrap(), writer.join().unwrap());
        let is_pinned = slot.pin(0).load(Relaxed) != 0;
        seen.mark_if(0, died && written[1].is_err());
        seen.mark_if(1, died && written[1].is_ok() && !is_pinned);
        seen.mark_if(2, died && written[1].is_ok() && is_pinned);
        let newest = publish_past_the_dead(&slot).expect("nobody alive pins");
        assert_eq!(load(&slot), Some(newest));
    });
    seen.assert_all();
}

#[test]
fn pinner_dies_two_buffers() {
    static SEEN: Seen<3> = Seen::new(["in the way before it died", "cleared", "not in the way"]);
    pinner_dies("pinner_dies_two_buffers", 2, &SEEN);
}

#[test]
fn pinner_dies_three_buffers() {
    static SEEN: Seen<2> = Seen::new(["never seen", "worked round"]);
    check_deaths("pinner_dies_three_buffers", |looks, died| {
        let slot = Snapshot::new(3, 1, FIRST);
        slot.open_seat(0);
        let pinner = spawn(&slot, move |slot| {
            let survived = mortal(slot, 0, looks, |by| pin_and_read(by, 0));
            died.fetch_add(u64::from(survived.is_none()), Relaxed);
        });
        let writer = spawn(&slot, |slot| publish_many(slot, 4).expect("one buffer at least is free"));
        pinner.join().unwrap();
        SEEN.mark_if(usize::from(writer.join().unwrap() > FIRST + 4), slot.kernel.is_dead(0));
    });
    SEEN.assert_all();
}

/// While nothing is published, the current version can be pinned.
#[test]
fn the_current_version_can_be_pinned() {
    check_deaths("the_current_version_can_be_pinned", |looks, died| {
        let slot = Snapshot::new(2, 1, FIRST);
        slot.open_seat(0);
        let writer = spawn(&slot, move |slot| {
            let survived = mortal(slot, WRITER, looks, |by| {
                let version = by.look().cell().reserve(by).expect("the other buffer is free");
                write(by, version);
            });
            died.fetch_add(u64::from(survived.is_none()), Relaxed);
        });
        let pinner = spawn(&slot, |slot| pin_and_read(slot, 0));
        assert_eq!(pinner.join().unwrap(), Some(FIRST), "nothing else was published");
        writer.join().unwrap();
        settled(&slot);
    });
}
