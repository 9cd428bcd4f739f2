//! What can be done with a region that was attached to, whatever is in it: a little of everything.

use crate::model::check_bounds;
use crate::table::State;
use shmlog::{Appender, Arena, Log, Mode, Reader, Slot, Snapshot, Start, Typed};
use std::time::Duration;

/// Most of a log's calls.
pub fn log(log: &Log) {
    let info = log.info();
    assert!(info.oldest_seq <= info.next_seq || info.head != 0 || info.active != 0 || info.next_seq == 0);
    for start in [Start::Oldest, Start::First, Start::End, Start::At(info.next_seq)] {
        let _ = log.reader(start).map(|mut reader| read(&mut reader));
    }
    let _ = log.reader_builder().gated(true).start(Start::Oldest).map(|mut reader| read(&mut reader));
    let _ = log.appender().map(|mut appender| append(&mut appender));
    let _ = log.exclusive().map(|mut appender| append(&mut appender));
}

fn read(reader: &mut Reader) {
    for _ in 0..4 {
        if let Ok(Some(record)) = reader.try_next() {
            check_bounds(&record);
        }
    }
    let _ = reader.get(reader.position().wrapping_sub(1)).map(|record| record.inspect(check_bounds).is_some());
    let _ = reader.pin();
    let _ = reader.batch().map(|batch| batch.take(20).for_each(|record| check_bounds(&record)));
    let _ = (reader.seek(0), reader.lag());
    reader.unpin();
}

fn append<M: Mode>(appender: &mut Appender<M>) {
    appender.set_stall_wait(Duration::ZERO);
    for number in 0..10 {
        let _ = appender.append(&[7; 500][..number * 40]);
    }
    let _ = appender.append_parts(&[b"a", b"bc"]);
    let _ = appender.reserve(appender.limit_bytes()).map(Slot::commit);
}

/// Most of a snapshot's calls.
pub fn snapshot(snapshot: &Snapshot) {
    let slots = snapshot.len();
    let info = snapshot.info();
    assert!(info.slots.len() <= slots && snapshot.names().count() <= slots);
    assert!(snapshot.find("first").is_none_or(|index| index < slots));
    let mut writer = snapshot.writer();
    if let Ok(writer) = &mut writer {
        writer.set_patience(Duration::ZERO);
        let _ = writer.set_name(slots - 1, "last");
    }
    for index in [0, slots / 2, slots - 1] {
        let Ok(mut reader) = snapshot.reader_of(index) else { continue };
        let _ = reader.load::<[u64; 2]>();
        if let Ok(Some(loaded)) = reader.load_bytes() {
            assert!(loaded.value.len() as u64 <= snapshot.capacity_bytes());
        }
        let _ = reader.load_archive::<State>();
        let _ = reader.stamp();
        let pinned = reader.pin();
        if let Ok(writer) = &mut writer {
            let len = usize::try_from(snapshot.capacity_bytes()).unwrap_or(0).min(100_000);
            let _ = writer.slot(index).and_then(|slot| slot.publish_bytes(&vec![9; len]));
            let _ = writer.slot(index).and_then(|slot| slot.publish_bytes(b"short"));
        }
        if let Ok(Some(pinned)) = pinned {
            assert!(pinned.to_vec().len() as u64 <= snapshot.capacity_bytes());
        }
    }
}

/// Most of an arena's calls.
pub fn arena(arena: &Arena) {
    assert!(arena.used_bytes() <= arena.capacity_bytes());
    let _ = arena.load(Typed::<u64>::at(arena.capacity_bytes().wrapping_sub(8)));
    for (len, align) in [(1, 8), (100, 64), (5000, 4096), (u64::MAX, 8)] {
        let Ok(got) = arena.allocate(len, align) else { continue };
        assert!(got.offset_bytes + got.len_bytes <= arena.capacity_bytes());
        assert_eq!(arena.write(got, 0, b"abc"), Ok(3.min(usize::try_from(len).unwrap_or(3))));
    }
}
