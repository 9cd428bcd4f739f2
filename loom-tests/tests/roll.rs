//! From one segment to the next: several roles roll at once, another attaches meanwhile.
#![cfg(loom)]

use loom_tests::{Heap, Seen, Shape, append, appender, check, dense, spawn};
use shmlog::model::append::Append;
use shmlog::model::commit::{self, Attempt, End};
use shmlog::model::cursor::{Cursor, Step};
use shmlog::model::layout::entry::{CLOSE_SEGMENT, Kind, Tag, body};
use shmlog::model::memory::Memory;
use shmlog::model::roll::{self, Kept};
use shmlog::model::sync::Ordering::Relaxed;
use shmlog::model::tip::{Blocked, Tip};

/// Segments of two records.
const TWO: Shape = Shape {
    windows: 2,
    entries: 3,
    lines: 3,
    slots: 2,
    retention: shmlog::model::memory::Retention::Keep,
    first: 0,
    refuses: false,
};

#[test]
fn both_roll_and_go_on_in_the_new_segment() {
    static SEEN: Seen<3> = Seen::new(["the first role's record is last", "the second role's is last", "both moved"]);
    check("both_roll_and_go_on_in_the_new_segment", || {
        let heap = Heap::new(TWO);
        append(&mut appender(&heap, 0), &heap, 1).unwrap();
        let roles = [0, 1].map(|slot| {
            spawn(&heap, move |heap| {
                let (mut by, value) = (appender(heap, slot), slot as u64 + 2);
                let first = append(&mut by, heap, value).unwrap();
                (first, value, by.tip().end())
            })
        });
        let more = spawn(&heap, roll::active);
        let [first, second] = roles.map(|role| role.join().unwrap());
        SEEN.mark_if(0, first.0 == 2);
        SEEN.mark_if(1, second.0 == 2);
        SEEN.mark_if(2, more.join().unwrap() == 1);
        assert_eq!(heap.base(1).load(Relaxed), 2);
        dense(&heap, [(0, 1), (first.0, first.1), (second.0, second.1)]);
    });
    SEEN.assert_all();
}

/// Three records in segments of one; both roles help each other over the same segments.
#[test]
fn both_roll_twice() {
    static SEEN: Seen<3> = Seen::new(["0 then 1", "1 then 0", "somebody is blocked by the other's pin"]);
    check("both_roll_twice", || {
        let heap = Heap::new(Shape { slots: 2, ..Shape::default() });
        append(&mut appender(&heap, 0), &heap, 1).unwrap();
        let roles = [0, 1].map(|slot| {
            spawn(&heap, move |heap| {
                let value = slot as u64 + 2;
                (append(&mut appender(heap, slot), heap, value), value)
            })
        });
        let results = roles.map(|role| role.join().unwrap());
        SEEN.mark_if(0, results[0].0 == Ok(1) && results[1].0 == Ok(2));
        SEEN.mark_if(1, results[0].0 == Ok(2) && results[1].0 == Ok(1));
        for (slot, (result, _)) in results.iter().enumerate() {
            if let Err(Blocked::Kept(Kept::BySlot { slot: by, .. })) = result {
                assert_ne!(*by, slot, "nobody waits for its own pin");
                SEEN.mark(2);
            }
        }
        let appended = results.into_iter().filter_map(|(result, value)| Some((result.ok()?, value)));
        dense(&heap, [(0, 1)].into_iter().chain(appended));
    });
    SEEN.assert_all();
}

/// SYNC active: who attaches in a segment finds its base and its allocator.
#[test]
fn who_attaches_meanwhile_numbers_from_the_right_base() {
    static SEEN: Seen<3> = Seen::new(["attached before the roll", "after it", "in between, and helped"]);
    check("who_attaches_meanwhile_numbers_from_the_right_base", || {
        let heap = Heap::new(TWO);
        for value in 0..2 {
            append(&mut appender(&heap, 0), &heap, value).unwrap();
        }
        let rolling = spawn(&heap, |heap| append(&mut appender(heap, 0), heap, 2).unwrap());
        let late = spawn(&heap, |heap| {
            let active = roll::active(heap);
            let mut by = appender(heap, 1);
            let end = by.tip().end();
            let seq = append(&mut by, heap, 3).unwrap();
            (active, end, seq)
        });
        let rolled = rolling.join().unwrap();
        let (active, end, seq) = late.join().unwrap();
        SEEN.mark_if(0, active == 0 && seq == 2);
        SEEN.mark_if(1, active == 1);
        SEEN.mark_if(2, end == End::Closed(2));
        assert_eq!(heap.control().active.0.load(Relaxed), 1, "no segment was closed before its time");
        dense(&heap, [(0, 0), (1, 1), (rolled, 2), (seq, 3)]);
    });
    SEEN.assert_all();
}

/// A reader follows over the boundary and learns the numbers on the way.
#[test]
fn a_reader_follows() {
    static SEEN: Seen<3> = Seen::new(["nothing", "one record", "both records, in two segments"]);
    check("a_reader_follows", || {
        let heap = Heap::new(Shape { slots: 2, lines: 2, retention: TWO.retention, ..Shape::default() });
        let roles = [0, 1].map(|slot| {
            spawn(&heap, move |heap| {
                let value = slot as u64 + 1;
                (append(&mut appender(heap, slot), heap, value).unwrap(), value)
            })
        });
        let reader = spawn(&heap, |heap| {
            let mut cursor = Cursor::at_oldest(heap, None).unwrap();
            let mut read = Vec::new();
            for _ in 0..3 {
                if let Step::Record(word) = cursor.step() {
                    read.push((cursor.seq(), heap.get(cursor.window().payload(word).unwrap())[0]));
                    cursor.pass();
                }
            }
            read
        });
        let appended = roles.map(|role| role.join().unwrap());
        let read = reader.join().unwrap();
        SEEN.mark(read.len());
        assert!(read.iter().all(|record| appended.contains(record)));
        dense(&heap, appended);
    });
    SEEN.assert_all();
}

/// Opening clears a share of the stale words, in a lap that is a multiple of 1024 the first ones.
/// A role that opens late clears no record of one that went ahead.
#[test]
fn opening_late_clears_no_record() {
    static SEEN: Seen<2> = Seen::new(["the first role's record is first", "the second role's is first"]);
    check("opening_late_clears_no_record", || {
        let heap = Heap::new(Shape { entries: 3, lines: 4, slots: 2, first: 2 * 1022, ..Shape::default() });
        let mut by = appender(&heap, 0);
        for seq in 0..4 {
            append(&mut by, &heap, seq).unwrap();
        }
        let roles = [0, 1].map(|slot| {
            spawn(&heap, move |heap| {
                let value = slot as u64 + 4;
                (append(&mut appender(heap, slot), heap, value).unwrap(), value)
            })
        });
        let appended = roles.map(|role| role.join().unwrap());
        SEEN.mark_if(0, appended[0].0 == 4);
        SEEN.mark_if(1, appended[1].0 == 4);
        dense(&heap, appended.into_iter().chain((0..4).map(|seq| (seq, seq))));
    });
    SEEN.assert_all();
}

/// A log closed while others roll: everybody agrees on the count.
#[test]
fn closing_against_a_roll() {
    static SEEN: Seen<3> = Seen::new(["closed before the roll", "closed after the append", "the closer followed"]);
    check("closing_against_a_roll", || {
        let heap = Heap::new(Shape { slots: 2, retention: TWO.retention, ..Shape::default() });
        append(&mut appender(&heap, 0), &heap, 0).unwrap();
        let appending = spawn(&heap, |heap| append(&mut appender(heap, 0), heap, 1));
        let closing = spawn(&heap, |heap| {
            let mut by = appender(heap, 1);
            let attached = roll::active(heap);
            (by.try_close().unwrap(), attached)
        });
        let appended = appending.join().unwrap();
        let (count, attached) = closing.join().unwrap();
        SEEN.mark_if(0, appended == Err(Blocked::Closed));
        SEEN.mark_if(1, appended == Ok(1));
        SEEN.mark_if(2, attached == 0 && count == 2);
        assert_eq!(count, if appended.is_ok() { 2 } else { 1 });
        dense(&heap, [(0, 0)].into_iter().chain(appended.ok().map(|seq| (seq, 1))));
    });
    SEEN.assert_all();
}

/// Opens one segment after the other and commits one record in each, as far as nobody ends the log.
/// Returns how many records. Only the steps that matter here, to keep the model small.
fn run_ahead(heap: &Heap) -> u64 {
    let tag = Tag::of_lap(1);
    for segment in 1..4 {
        if commit::close(heap.window(segment - 1).index, tag, 1, CLOSE_SEGMENT) != End::Closed(1) {
            return segment - 1;
        }
        roll::open(heap, segment, segment);
        let record = tag.word(body(Kind::Record, 0, 0));
        if commit::attempt(&heap.window(segment).index[0], tag, 0, record) != Attempt::Done {
            return segment - 1;
        }
    }
    3
}

/// Who opens late what others opened long ago doesn't take `active` back: a record that is there would be sought
/// beyond the end.
#[test]
fn active_does_not_go_back() {
    static SEEN: Seen<2> = Seen::new(["not closed yet", "opened"]);
    check("active_does_not_go_back", || {
        let heap = Heap::new(Shape { windows: 5, retention: TWO.retention, ..Shape::default() });
        append(&mut appender(&heap, 0), &heap, 0).unwrap();
        let slow = spawn(&heap, |heap| {
            let is_closed = commit::find_end(heap.window(0).index, Tag::of_lap(1), 0) == End::Closed(1);
            if is_closed {
                roll::open(heap, 1, 1);
            }
            SEEN.mark(usize::from(is_closed));
        });
        let quick = spawn(&heap, run_ahead);
        slow.join().unwrap();
        assert_eq!(quick.join().unwrap(), 3);
        assert_eq!(heap.control().active.0.load(Relaxed), 3);
    });
    SEEN.assert_all();
}

/// Who was left behind jumps to the newest segment and numbers from its base.
#[test]
fn who_was_left_behind_catches_up() {
    static SEEN: Seen<2> = Seen::new(["left behind by three segments", "closed in between"]);
    check("who_was_left_behind_catches_up", || {
        let heap = Heap::new(Shape { windows: 5, retention: TWO.retention, ..Shape::default() });
        append(&mut appender(&heap, 0), &heap, 0).unwrap();
        let slow = spawn(&heap, |heap| {
            let active = roll::active(heap);
            let mut tip = Tip::attach(heap, None).unwrap();
            tip.advance().unwrap();
            tip.catch_up();
            (active, tip.close_log().unwrap())
        });
        let quick = spawn(&heap, run_ahead);
        let (active, count) = slow.join().unwrap();
        let appended = quick.join().unwrap();
        SEEN.mark_if(0, active == 0 && count == 4);
        SEEN.mark_if(1, active == 0 && count == 2);
        assert_eq!(count, 1 + appended);
    });
    SEEN.assert_all();
}
