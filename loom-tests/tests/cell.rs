//! Loading from a snapshot slot: what is loaded is whole and no older than what was known, and the
//! current version can always be loaded, whatever the writer does and wherever it dies.
#![cfg(loom)]

use loom_tests::{Seen, Snapshot, WRITER, check, check_deaths, load, mortal, publish, publish_many, spawn, write};
use shmlog::model::pins;
use shmlog::model::sync::{AtomicU64, Ordering::Acquire, Ordering::Release};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64 as Count, Ordering::Relaxed};

/// The version published before the roles begin.
const FIRST: u64 = 6;

/// `newer` is no older than `older`, in wrapping order.
fn is_no_older(newer: u64, older: u64) -> bool {
    newer.wrapping_sub(older) < 1 << 63
}

/// Loads twice; neither may be older than what was known before. The versions, if not overtaken.
fn load_twice(slot: &Snapshot, mut known: u64) -> [Option<u64>; 2] {
    [(); 2].map(|()| {
        let loaded = load(slot);
        let newer = loaded.unwrap_or(known);
        assert!(is_no_older(newer, known), "{newer} after {known}");
        known = newer;
        loaded
    })
}

/// Nobody writes any more: the newest version is `newest`, and can be loaded.
fn settled(slot: &Snapshot, newest: u64) {
    assert_eq!(load(slot), Some(newest));
}

fn one_loads(name: &'static str, buffers: u64, current: u64, versions: usize, seen: &'static Seen<4>) {
    check(name, move || {
        let slot = Snapshot::new(buffers, 0, current);
        let writer = spawn(&slot, move |slot| publish_many(slot, versions).expect("nobody pins"));
        let reader = spawn(&slot, move |slot| load_twice(slot, current));
        let newest = writer.join().unwrap();
        let loaded = reader.join().unwrap();
        seen.mark_if(0, loaded == [Some(current); 2]);
        seen.mark_if(1, loaded[1] == Some(newest));
        seen.mark_if(2, loaded[0] == Some(current) && loaded[1] == Some(newest));
        seen.mark_if(3, loaded.contains(&None));
        assert_eq!(newest, current.wrapping_add(versions as u64));
        settled(&slot, newest);
    });
    seen.assert_all();
}

const ONE_LOADS: [&str; 4] = ["old", "new", "old and then new", "overtaken"];

#[test]
fn two_buffers() {
    static SEEN: Seen<4> = Seen::new(ONE_LOADS);
    one_loads("two_buffers", 2, FIRST, 3, &SEEN);
}

#[test]
fn three_buffers() {
    static SEEN: Seen<4> = Seen::new(ONE_LOADS);
    one_loads("three_buffers", 3, FIRST, 3, &SEEN);
}

#[test]
fn two_buffers_when_versions_wrap() {
    static SEEN: Seen<4> = Seen::new(ONE_LOADS);
    one_loads("two_buffers_when_versions_wrap", 2, u64::MAX - 1, 2, &SEEN);
}

#[test]
fn four_buffers_when_versions_wrap() {
    static SEEN: Seen<4> = Seen::new(ONE_LOADS);
    one_loads("four_buffers_when_versions_wrap", 4, u64::MAX - 1, 4, &SEEN);
}

fn two_load(name: &'static str, buffers: u64, versions: usize, seen: &'static Seen<3>) {
    check(name, move || {
        let slot = Snapshot::new(buffers, 0, FIRST);
        let writer = spawn(&slot, move |slot| publish_many(slot, versions).expect("nobody pins"));
        let readers = [(); 2].map(|()| spawn(&slot, load));
        let newest = writer.join().unwrap();
        let loaded = readers.map(|reader| reader.join().unwrap());
        seen.mark_if(0, loaded == [Some(FIRST), Some(newest)]);
        seen.mark_if(1, loaded == [Some(newest); 2]);
        seen.mark_if(2, loaded[0].is_none() != loaded[1].is_none());
        settled(&slot, newest);
    });
    seen.assert_all();
}

const TWO_LOAD: [&str; 3] = ["old and new", "both new", "one overtaken"];

#[test]
fn two_readers_two_buffers() {
    static SEEN: Seen<3> = Seen::new(TWO_LOAD);
    two_load("two_readers_two_buffers", 2, 2, &SEEN);
}

#[test]
fn two_readers_three_buffers() {
    static SEEN: Seen<3> = Seen::new(TWO_LOAD);
    two_load("two_readers_three_buffers", 3, 3, &SEEN);
}

/// Who learned of a version some other way finds it, or a newer one.
#[test]
fn as_new_as_what_is_known() {
    static SEEN: Seen<3> = Seen::new(["the known", "a newer one", "overtaken"]);
    check("as_new_as_what_is_known", || {
        let slot = Snapshot::new(2, 0, FIRST);
        let told = Arc::new(AtomicU64::new(FIRST));
        let hears = told.clone();
        let writer = spawn(&slot, move |slot| {
            told.store(publish(slot).expect("nobody pins"), Release);
            publish_many(slot, 2).expect("nobody pins")
        });
        let reader = spawn(&slot, move |slot| {
            let known = hears.load(Acquire);
            let loaded = load(slot);
            assert!(is_no_older(loaded.unwrap_or(known), known));
            SEEN.mark_if(0, known > FIRST && loaded == Some(known));
            SEEN.mark_if(1, known > FIRST && loaded > Some(known));
            SEEN.mark_if(2, known > FIRST && loaded.is_none());
        });
        settled(&slot, writer.join().unwrap());
        reader.join().unwrap();
    });
    SEEN.assert_all();
}

/// A writer begins again and again and never publishes, at last because it dies.
fn unpublished(name: &'static str, buffers: u64) {
    check_deaths(name, move |looks, died| {
        let slot = Snapshot::new(buffers, 0, FIRST);
        let writer = spawn(&slot, move |slot| {
            let survived = mortal(slot, WRITER, looks, |by| {
                for _ in 0..2 {
                    let version = by.look().cell().reserve(by).expect("nobody pins");
                    write(by, version);
                }
            });
            died.fetch_add(u64::from(survived.is_none()), Relaxed);
        });
        let reader = spawn(&slot, load);
        assert_eq!(reader.join().unwrap(), Some(FIRST), "nothing else was published");
        writer.join().unwrap();
        settled(&slot, FIRST);
    });
}

#[test]
fn unpublished_two_buffers() {
    unpublished("unpublished_two_buffers", 2);
}

#[test]
fn unpublished_three_buffers() {
    unpublished("unpublished_three_buffers", 3);
}

/// A writer that publishes up to `count` versions and dies on the way.
fn doomed(slot: &Snapshot, count: usize, looks: u32, died: &Count) {
    let survived = mortal(slot, WRITER, looks, |by| publish_many(by, count).expect("a buffer is free"));
    died.fetch_add(u64::from(survived.is_none()), Relaxed);
}

/// Takes over if the writer is dead.
fn take_over(slot: &Snapshot) -> Option<u64> {
    slot.kernel.is_dead(WRITER).then(|| {
        let before = slot.announced();
        let version = publish(slot).expect("a buffer is free");
        assert!(is_no_older(version, before), "an announcement was taken back");
        version
    })
}

const SUCCEEDED: [&str; 4] = ["old", "the dead one's", "the successor's", "overtaken"];

fn successor(name: &'static str, buffers: u64, count: usize, seen: &'static Seen<4>) {
    check_deaths(name, move |looks, died| {
        let slot = Snapshot::new(buffers, 0, FIRST);
        let writer = spawn(&slot, move |slot| doomed(slot, count, looks, died));
        let successor = spawn(&slot, take_over);
        let reader = spawn(&slot, |slot| load_twice(slot, FIRST));
        writer.join().unwrap();
        let newest = successor.join().unwrap();
        let loaded = reader.join().unwrap()[1];
        seen.mark_if(0, newest.is_some() && loaded == Some(FIRST));
        seen.mark_if(1, newest.is_some() && loaded.is_some_and(|version| FIRST < version) && loaded < newest);
        seen.mark_if(2, newest.is_some() && loaded == newest);
        seen.mark_if(3, newest.is_some() && loaded.is_none());
        settled(&slot, newest.unwrap_or_else(|| slot.cell().version()));
    });
    seen.assert_all();
}

#[test]
fn successor_two_buffers() {
    static SEEN: Seen<4> = Seen::new(SUCCEEDED);
    successor("successor_two_buffers", 2, 2, &SEEN);
}

#[test]
fn successor_three_buffers() {
    static SEEN: Seen<4> = Seen::new(SUCCEEDED);
    successor("successor_three_buffers", 3, 3, &SEEN);
}

/// The dead writer had worked round a pin, which then goes away: its successor must not go back to the
/// buffer it passed over, or a slow reader would take what the dead one wrote for what was there before.
#[test]
fn successor_of_who_worked_round_a_pin() {
    static SEEN: Seen<2> = Seen::new(["loaded", "overtaken"]);
    check_deaths("successor_of_who_worked_round_a_pin", |looks, died| {
        let slot = Snapshot::new(3, 1, FIRST);
        // In the way of the version after the next.
        slot.pinned(0, FIRST + 2);
        let writer = spawn(&slot, move |slot| doomed(slot, 2, looks, died));
        let successor = spawn(&slot, |slot| {
            if slot.kernel.is_dead(WRITER) {
                pins::unpin(slot.pin(0));
            }
            take_over(slot)
        });
        let reader = spawn(&slot, load);
        writer.join().unwrap();
        let newest = successor.join().unwrap();
        let loaded = reader.join().unwrap();
        SEEN.mark_if(0, newest.is_some_and(|version| version == FIRST + 3) && loaded == Some(FIRST));
        SEEN.mark_if(1, newest.is_some_and(|version| version == FIRST + 3) && loaded.is_none());
    });
    SEEN.assert_all();
}
