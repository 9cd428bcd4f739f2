//! Leases of the bump allocator: lease against lease, against opening the next lap.
#![cfg(loom)]

use loom_tests::{Heap, Seen, Shape, check, spawn};
use shmlog::model::bump::{Refused, lease, open, take};
use shmlog::model::memory::Memory;
use shmlog::model::sync::Ordering::Relaxed;

const LIMIT: u32 = 3;

/// Up to two leases of one line.
fn two_leases(heap: &Heap, lap: u64) -> Vec<Result<u32, Refused>> {
    (0..2).map(|_| lease(heap.window(0).bump, lap, 1, 1..=1, LIMIT).map(|lines| lines.start)).collect()
}

#[test]
fn leases_are_disjoint() {
    static SEEN: Seen<2> = Seen::new(["the second lease of the first role is refused", "the second role's"]);
    check("leases_are_disjoint", || {
        let heap = Heap::new(Shape::default());
        let roles = [0, 1].map(|_| spawn(&heap, |heap| two_leases(heap, 1)));
        let leases = roles.map(|role| role.join().unwrap());
        SEEN.mark_if(0, leases[0][1].is_err());
        SEEN.mark_if(1, leases[1][1].is_err());
        let mut lines: Vec<_> = leases.into_iter().flatten().flatten().collect();
        lines.sort_unstable();
        assert_eq!(lines, [0, 1, 2], "every line once, none is lost");
    });
    SEEN.assert_all();
}

#[test]
fn a_lease_belongs_to_its_lap() {
    static SEEN: Seen<3> = Seen::new(["the old lap is over", "one lease of each lap", "the late opener leases first"]);
    check("a_lease_belongs_to_its_lap", || {
        let heap = Heap::new(Shape::default());
        let old = spawn(&heap, |heap| two_leases(heap, 1));
        let openers = [0, 1].map(|_| {
            spawn(&heap, |heap| {
                open(heap.window(0).bump, 2);
                lease(heap.window(0).bump, 2, 1, 1..=1, LIMIT).expect("open").start
            })
        });
        let old = old.join().unwrap();
        let mut new = openers.map(|role| role.join().unwrap());
        SEEN.mark_if(0, old[0] == Err(Refused::OtherLap));
        SEEN.mark_if(1, old[0] == Ok(0) && old[1] == Err(Refused::OtherLap));
        SEEN.mark_if(2, new == [1, 0]);
        new.sort_unstable();
        assert_eq!(new, [0, 1], "opening twice gives nothing out again");
    });
    SEEN.assert_all();
}

#[test]
fn taken_units_are_disjoint() {
    static SEEN: Seen<2> = Seen::new(["the large one fits", "the large one does not"]);
    check("taken_units_are_disjoint", || {
        let heap = Heap::new(Shape::default());
        heap.window(1).bump.store(0, Relaxed);
        let small = spawn(&heap, |heap| take(heap.window(1).bump, 3, 1, 12));
        let large = spawn(&heap, |heap| take(heap.window(1).bump, 9, 4, 12));
        let (small, large) = (small.join().unwrap(), large.join().unwrap());
        SEEN.mark_if(0, large == Ok(0) && small == Ok(9));
        SEEN.mark_if(1, large == Err(9) && small == Ok(0));
        assert!(small.is_ok(), "a refusal consumes nothing");
    });
    SEEN.assert_all();
}
