//! The commit: appenders and a reader in one segment, and the close that ends it.
#![cfg(loom)]

use loom_tests::{Heap, Look, Seen, Shape, append, appender, check, dense, spawn};
use shmlog::model::append::Append;
use shmlog::model::commit::{self, End};
use shmlog::model::cursor::{Cursor, Step};
use shmlog::model::exclusive::Exclusive;
use shmlog::model::layout::entry::Tag;
use shmlog::model::locate;
use shmlog::model::memory::Memory;
use shmlog::model::tip::Blocked;

const ROOMY: Shape = Shape {
    windows: 1,
    entries: 6,
    lines: 2,
    slots: 2,
    retention: shmlog::model::memory::Retention::Keep,
    first: 0,
    refuses: false,
};

/// What a reader that looks `steps` times has read: it starts at the first record.
fn read(heap: &Heap, steps: u64, look: Look) -> Vec<u64> {
    let mut cursor = Cursor::at_oldest(heap, None).unwrap();
    let mut values = Vec::new();
    for _ in 0..steps {
        if let Step::Record(word) = look.at(&mut cursor) {
            values.push(heap.get(cursor.window().payload(word).unwrap())[0]);
            cursor.pass();
        }
    }
    values
}

#[test]
fn every_record_has_one_number() {
    static SEEN: Seen<2> = Seen::new(["the first role's records lie between", "the second role's"]);
    check("every_record_has_one_number", || {
        let heap = Heap::new(ROOMY);
        let roles = [0, 1].map(|slot| {
            spawn(&heap, move |heap| {
                let mut by = appender(heap, slot);
                [1, 2].map(|n| 10 * (slot as u64 + 1) + n).map(|value| (append(&mut by, heap, value).unwrap(), value))
            })
        });
        let [first, second] = roles.map(|role| role.join().unwrap());
        SEEN.mark_if(0, second[0].0 == 0 && second[1].0 == 3);
        SEEN.mark_if(1, first[0].0 == 0 && first[1].0 == 3);
        assert!(first[0].0 < first[1].0 && second[0].0 < second[1].0, "in each role's own order");
        dense(&heap, first.into_iter().chain(second));
    });
    SEEN.assert_all();
}

/// Who finds one word after the other taken gallops to the end.
#[test]
fn who_is_overtaken_finds_the_end() {
    static SEEN: Seen<3> = Seen::new(["overtaken by six records", "by some", "by none"]);
    check("who_is_overtaken_finds_the_end", || {
        let heap = Heap::new(Shape { entries: 9, ..ROOMY });
        let slow = spawn(&heap, |heap| {
            let mut by = appender(heap, 0);
            let attached = by.tip().end();
            (append(&mut by, heap, 9).unwrap(), attached)
        });
        let quick = spawn(&heap, |heap| {
            let mut by = appender(heap, 1);
            [1, 2, 3, 4, 5, 6].map(|value| (append(&mut by, heap, value).unwrap(), value))
        });
        let (slow, attached) = slow.join().unwrap();
        let quick = quick.join().unwrap();
        SEEN.mark_if(0, slow == 6 && attached == End::Open(0));
        SEEN.mark_if(1, (1..6).contains(&slow) && attached == End::Open(0));
        SEEN.mark_if(2, slow == 0);
        dense(&heap, quick.into_iter().chain([(slow, 9)]));
    });
    SEEN.assert_all();
}

#[test]
fn a_record_that_is_seen_is_complete() {
    static SEEN: Seen<4> = Seen::new(["no record seen", "one seen", "both seen", "the second role's first"]);
    for look in Look::ALL {
        check("a_record_that_is_seen_is_complete", move || {
            let heap = Heap::new(ROOMY);
            let roles = [0, 1].map(|slot| {
                spawn(&heap, move |heap| {
                    let value = slot as u64 + 1;
                    (append(&mut appender(heap, slot), heap, value).unwrap(), value)
                })
            });
            let reader = spawn(&heap, move |heap| read(heap, 2, look));
            let appended = roles.map(|role| role.join().unwrap());
            let values = reader.join().unwrap();
            SEEN.mark(values.len());
            SEEN.mark_if(3, values.first() == Some(&2));
            for (value, seq) in values.iter().zip(0..) {
                assert!(appended.contains(&(seq, *value)), "a record is what was appended");
            }
            dense(&heap, appended);
        });
    }
    SEEN.assert_all();
}

#[test]
fn an_exclusive_record_that_is_seen_is_complete() {
    static SEEN: Seen<3> = Seen::new(["no record seen", "one seen", "both seen"]);
    for look in Look::ALL {
        check("an_exclusive_record_that_is_seen_is_complete", move || {
            let heap = Heap::new(ROOMY);
            let appender = spawn(&heap, |heap| {
                let mut by = Exclusive::attach(heap).unwrap();
                [1, 2].map(|value| (append(&mut by, heap, value).unwrap(), value))
            });
            let reader = spawn(&heap, move |heap| read(heap, 2, look));
            let appended = appender.join().unwrap();
            let values = reader.join().unwrap();
            SEEN.mark(values.len());
            assert_eq!(values, [1, 2][..values.len()]);
            dense(&heap, appended);
        });
    }
    SEEN.assert_all();
}

#[test]
fn a_record_that_is_found_is_complete() {
    static SEEN: Seen<2> = Seen::new(["not there", "there"]);
    check("a_record_that_is_found_is_complete", || {
        let heap = Heap::new(ROOMY);
        let appender = spawn(&heap, |heap| append(&mut Exclusive::attach(heap).unwrap(), heap, 7).unwrap());
        let reader = spawn(&heap, |heap| {
            let word = locate::committed(heap, 0, 0);
            if let Some(word) = word {
                assert_eq!(heap.get(heap.window(0).payload(word).unwrap()), [7]);
            }
            SEEN.mark(usize::from(word.is_some()));
        });
        appender.join().unwrap();
        reader.join().unwrap();
    });
    SEEN.assert_all();
}

/// What lies before the end is complete for who looks at nothing else: so one who finds a close may write into the
/// window that the closer had given up.
#[test]
fn what_comes_before_the_end_is_complete() {
    static SEEN: Seen<2> = Seen::new(["nothing", "a record"]);
    check("what_comes_before_the_end_is_complete", || {
        let heap = Heap::new(ROOMY);
        let appender = spawn(&heap, |heap| append(&mut Exclusive::attach(heap).unwrap(), heap, 7).unwrap());
        let reader = spawn(&heap, |heap| {
            let end = commit::find_end(heap.window(0).index, Tag::of_lap(1), 0);
            if end == End::Open(1) {
                assert_eq!(heap.get(&heap.window(0).arena[..1]), [7]);
            }
            SEEN.mark(usize::from(end == End::Open(1)));
        });
        appender.join().unwrap();
        reader.join().unwrap();
    });
    SEEN.assert_all();
}

/// Who comes to the end by halving reads the records before it, whoever committed them.
#[test]
fn the_end_that_is_found_is_a_prefix() {
    static SEEN: Seen<3> = Seen::new(["an end of 0", "an end of 1", "an end of 2"]);
    check("the_end_that_is_found_is_a_prefix", || {
        let heap = Heap::new(ROOMY);
        let roles = [0, 1].map(|slot| {
            spawn(&heap, move |heap| {
                append(&mut appender(heap, slot), heap, slot as u64).map(|seq| (seq, slot as u64)).unwrap()
            })
        });
        let reader = spawn(&heap, |heap| {
            let end = Cursor::at_end(heap, None).unwrap().seq();
            assert_eq!(read(heap, end, Look::Step).len() as u64, end, "every record before the end is there");
            end
        });
        let appended = roles.map(|role| role.join().unwrap());
        SEEN.mark(reader.join().unwrap());
        dense(&heap, appended);
    });
    SEEN.assert_all();
}

#[test]
fn everybody_agrees_where_a_closed_log_ends() {
    static SEEN: Seen<3> = Seen::new(["closed before the append", "closed after it", "the closers meet"]);
    check("everybody_agrees_where_a_closed_log_ends", || {
        let heap = Heap::new(Shape { slots: 3, lines: 1, ..ROOMY });
        let append = spawn(&heap, |heap| append(&mut appender(heap, 0), heap, 7));
        let closers = [1, 2].map(|slot| spawn(&heap, move |heap| appender(heap, slot).try_close().unwrap()));
        let appended = append.join().unwrap();
        let counts = closers.map(|role| role.join().unwrap());
        SEEN.mark_if(0, appended == Err(Blocked::Closed));
        SEEN.mark_if(1, appended == Ok(0));
        SEEN.mark_if(2, counts[0] == counts[1]);
        let count = u64::from(appended.is_ok());
        assert_eq!(counts, [count; 2]);
        dense(&heap, appended.map(|seq| (seq, 7)));
        assert_eq!(appender(&heap, 0).try_close(), Ok(count));
        assert_eq!(loom_tests::append(&mut appender(&heap, 0), &heap, 8), Err(Blocked::Closed));
    });
    SEEN.assert_all();
}
