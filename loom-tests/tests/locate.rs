//! Finding a place while the log rolls and recycles.
#![cfg(loom)]

use loom_tests::{Heap, Seen, Shape, append, appender, check, spawn};
use shmlog::model::commit::{self, End};
use shmlog::model::cursor::{Cursor, NoPlace};
use shmlog::model::exclusive::Exclusive;
use shmlog::model::layout::entry::{CLOSE_SEGMENT, Tag};
use shmlog::model::locate::{self, Found};
use shmlog::model::memory::Memory;
use shmlog::model::roll;
use shmlog::model::tip::Tip;

/// Appends until segment 2 is open: record `seq` lies in segment `seq`.
fn rolling(heap: &Heap) {
    let mut by = appender(heap, 0);
    for value in 10..13 {
        append(&mut by, heap, value).unwrap();
    }
}

/// Segment and base belong together.
#[test]
fn the_oldest_has_its_own_base() {
    static SEEN: Seen<2> = Seen::new(["segment 0", "segment 1"]);
    check("the_oldest_has_its_own_base", || {
        let heap = Heap::new(Shape::default());
        let appender = spawn(&heap, rolling);
        let reader = spawn(&heap, |heap| {
            let (segment, base) = locate::oldest(heap).unwrap();
            assert_eq!(segment, base);
            SEEN.mark(segment);
        });
        appender.join().unwrap();
        reader.join().unwrap();
    });
    SEEN.assert_all();
}

/// A base is that of the segment asked for, even if a helper has written the next one there.
#[test]
fn a_base_that_was_replaced_is_not_believed() {
    static SEEN: Seen<2> = Seen::new(["the base", "given up"]);
    check("a_base_that_was_replaced_is_not_believed", || {
        let heap = Heap::new(Shape::default());
        let mut by = appender(&heap, 0);
        append(&mut by, &heap, 10).unwrap();
        append(&mut by, &heap, 11).unwrap();
        let closer = spawn(&heap, |heap| {
            roll::give_up(heap, 2).unwrap();
            commit::close(heap.window(1).index, Tag::of_lap(1), 1, CLOSE_SEGMENT);
        });
        let helper = spawn(&heap, |heap| {
            let mut tip = Tip::attach(heap, None).unwrap();
            if let End::Closed(_) = tip.end() {
                tip.advance().unwrap();
            }
        });
        let reader = spawn(&heap, |heap| {
            let base = locate::base_of(heap, 0);
            assert!(base.is_none_or(|base| base == 0), "{base:?}");
            SEEN.mark(usize::from(base.is_none()));
        });
        closer.join().unwrap();
        helper.join().unwrap();
        reader.join().unwrap();
    });
    SEEN.assert_all();
}

/// Looks for `seq` while another role appends the records from `seq` 1 on.
fn finding(name: &str, seq: u64, seen: &'static Seen<3>) {
    check(name, move || {
        let heap = Heap::new(Shape::default());
        append(&mut appender(&heap, 0), &heap, 10).unwrap();
        let appender = spawn(&heap, |heap| {
            let mut by = appender(heap, 0);
            for value in 11..13 {
                append(&mut by, heap, value).unwrap();
            }
        });
        let reader = spawn(&heap, move |heap| match locate::find(heap, seq) {
            Found::In { segment, base } => {
                assert_eq!(segment, base);
                assert!(segment <= seq);
                seen.mark(segment);
            }
            Found::Gone => {
                assert_eq!(seq, 0);
                seen.mark(1);
                seen.mark(2);
            }
            Found::Corrupt => panic!("an honest region"),
        });
        appender.join().unwrap();
        reader.join().unwrap();
    });
    seen.assert_all();
}

#[test]
fn a_number_is_found() {
    static SEEN: Seen<3> = Seen::new(["in segment 0", "in segment 1", "in segment 2"]);
    finding("a_number_is_found", 2, &SEEN);
}

#[test]
fn a_number_is_gone() {
    static SEEN: Seen<3> = Seen::new(["in segment 0", "gone", "gone"]);
    finding("a_number_is_gone", 0, &SEEN);
}

/// Who has read a record is never told later that it is still to come. The roll into a lap that
/// is a multiple of 1024 clears the first word of the index, before anything is written there.
#[test]
fn a_record_that_was_there_is_never_ahead() {
    static SEEN: Seen<3> = Seen::new(["still there", "gone by the control page", "gone by its own word"]);
    check("a_record_that_was_there_is_never_ahead", || {
        let first = 2 * 1022;
        let heap = Heap::new(Shape { entries: 3, first, ..Shape::default() });
        let mut by = appender(&heap, 0);
        for value in 10..13 {
            append(&mut by, &heap, value).unwrap();
        }
        let closer = spawn(&heap, move |heap| {
            roll::give_up(heap, first + 2).unwrap();
            commit::close(heap.window(first + 1).index, Tag::of_lap(heap.lap(first)), 1, CLOSE_SEGMENT);
        });
        let helper = spawn(&heap, |heap| {
            let mut tip = Tip::attach(heap, None).unwrap();
            if let End::Closed(_) = tip.end() {
                tip.advance().unwrap();
            }
        });
        let reader = spawn(&heap, move |heap| {
            let found = locate::find(heap, 1);
            match Cursor::at_seq(heap, None, 1) {
                Ok(_) => SEEN.mark(0),
                Err(NoPlace::Gone) if found == Found::Gone => SEEN.mark(1),
                Err(NoPlace::Gone) => SEEN.mark(2),
                Err(other) => panic!("{other:?}, but it was there"),
            }
        });
        closer.join().unwrap();
        helper.join().unwrap();
        reader.join().unwrap();
    });
    SEEN.assert_all();
}

/// A gate on segment 1 keeps nothing of segment 0, which its reader wants to go back to.
#[test]
fn a_record_behind_the_gate_is_never_ahead() {
    static SEEN: Seen<2> = Seen::new(["went back", "gone"]);
    check("a_record_behind_the_gate_is_never_ahead", || {
        let heap = Heap::new(Shape { entries: 3, slots: 2, ..Shape::default() });
        let mut by = appender(&heap, 0);
        for value in 10..14 {
            append(&mut by, &heap, value).unwrap();
        }
        let appending = spawn(&heap, |heap| append(&mut Exclusive::attach(heap).unwrap(), heap, 14).is_ok());
        let reader = spawn(&heap, |heap| {
            let mut cursor = Cursor::at_seq(heap, Some(heap.hold(1)), 3).unwrap();
            match cursor.seek(1) {
                Ok(()) => SEEN.mark(0),
                Err(NoPlace::Gone) => SEEN.mark(1),
                Err(other) => panic!("{other:?}, but it was there"),
            }
        });
        appending.join().unwrap();
        reader.join().unwrap();
    });
    SEEN.assert_all();
}

/// The end that is found lies in the segment that it is numbered from.
#[test]
fn the_end_is_numbered_right() {
    static SEEN: Seen<3> = Seen::new(["1 record", "2 records", "3 records"]);
    check("the_end_is_numbered_right", || {
        let heap = Heap::new(Shape::default());
        append(&mut appender(&heap, 0), &heap, 10).unwrap();
        let appending = spawn(&heap, |heap| {
            let mut by = appender(heap, 0);
            for value in 11..13 {
                append(&mut by, heap, value).unwrap();
            }
        });
        let reader = spawn(&heap, |heap| {
            let (count, closed) = locate::end(heap).unwrap();
            assert!(!closed);
            let cursor = Cursor::at_end(heap, None).unwrap();
            assert!(cursor.seq() >= count, "the end does not go back");
            SEEN.mark(count - 1);
        });
        appending.join().unwrap();
        reader.join().unwrap();
    });
    SEEN.assert_all();
}
