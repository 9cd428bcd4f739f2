//! Snapshot slots in one process: what is published is loaded, and who may publish.

mod common;

use common::{Ground, value};
use shmlog::{Access, AttachError, CreateError, JoinError, LoadError, PublishError, Snapshot, SnapshotBuilder};
use std::time::Duration;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

#[derive(Clone, Copy, Debug, PartialEq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
struct Quote {
    bid: u32,
    bid_shares: u32,
    ask: u32,
    ask_shares: u32,
}

const QUOTE: Quote = Quote { bid: 58_569, bid_shares: 100, ask: 58_570, ask_shares: 200 };

fn quotes() -> SnapshotBuilder {
    Snapshot::builder().values::<Quote>().buffers(2)
}

#[test]
fn before_the_first_publication_there_is_nothing() {
    let snapshot = Snapshot::builder().create_memfd("empty").unwrap();
    let mut reader = snapshot.reader().unwrap();
    let mut bytes = b"as it was".to_vec();
    assert!(reader.load::<u64>().unwrap().is_none());
    assert!(reader.load_newer::<u64>().unwrap().is_none());
    assert!(reader.load_bytes().unwrap().is_none());
    assert!(reader.load_into(&mut bytes).unwrap().is_none());
    assert!(reader.stamp().unwrap().is_none());
    assert!(reader.pin().unwrap().is_none());
    assert_eq!((reader.version(), reader.changed_since(0), bytes.as_slice()), (0, false, &b"as it was"[..]));
    assert!(!reader.wait_newer(0, Duration::ZERO));
    let slot = &snapshot.info().slots[0];
    assert_eq!((slot.version, slot.as_of, slot.len_bytes, slot.has_writer), (0, None, 0, Some(false)));
}

#[test]
fn opening_what_is_not_there_creates_nothing() {
    let dir = tempfile::tempdir().unwrap();
    for access in [Access::Append, Access::Read, Access::Observe] {
        let error = Snapshot::open(dir.path().join("missing"), access).unwrap_err();
        assert!(matches!(error, AttachError::NotFound { .. }), "{error}");
    }
    assert!(Snapshot::remove(dir.path().join("missing")).is_err());
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
}

#[test]
fn what_is_published_is_loaded_on_every_backing() {
    for ground in Ground::all() {
        let Some(snapshot) = ground.create_snapshot(&Snapshot::builder().capacity_bytes(100_000), "values") else {
            continue;
        };
        let (mut writer, mut reader) = (snapshot.writer().unwrap(), snapshot.reader().unwrap());
        for (number, len) in [0, 1, 7, 8, 9, 4096, 99_999, 100_000, 3].into_iter().enumerate() {
            let bytes = value(number as u64, len);
            let version = writer.publish_bytes(&bytes).unwrap();
            let loaded = reader.load_bytes().unwrap().unwrap();
            assert_eq!((loaded.version, loaded.as_of), (version, None));
            assert_eq!(loaded.value, bytes, "{}: {len}", ground.name());
            let pinned = reader.pin().unwrap().unwrap();
            assert_eq!((pinned.to_vec(), pinned.len(), pinned.version()), (bytes, len, version));
        }
        let error = writer.publish_bytes(&value(9, 100_001)).unwrap_err();
        assert!(matches!(error, PublishError::TooLarge { len_bytes: 100_001, limit_bytes: 100_000 }), "{error}");
        assert_eq!(reader.load_bytes().unwrap().unwrap().value, value(8, 3), "the one before stays");
    }
}

#[test]
fn plain_data_goes_in_and_comes_out() {
    let snapshot = quotes().create_memfd("typed").unwrap();
    let (mut writer, mut reader) = (snapshot.writer().unwrap(), snapshot.reader().unwrap());
    let version = writer.publish(&QUOTE).unwrap();
    let loaded = reader.load::<Quote>().unwrap().unwrap();
    assert_eq!((*loaded, loaded.version), (QUOTE, version));
    assert_eq!(reader.pin().unwrap().unwrap().read::<Quote>().unwrap(), QUOTE);
    let wrong = LoadError::WrongLength { found_bytes: 16, wanted_bytes: 8 }.to_string();
    assert_eq!(reader.load::<u64>().unwrap_err().to_string(), wrong);
    assert_eq!(reader.pin().unwrap().unwrap().read::<u64>().unwrap_err().to_string(), wrong);
}

#[test]
fn where_all_values_have_one_length_others_are_refused() {
    let snapshot = quotes().create_memfd("fixed").unwrap();
    let mut writer = snapshot.writer().unwrap();
    writer.publish(&QUOTE).unwrap();
    for len in [0, 15, 17, 100] {
        let error = writer.publish_bytes(&value(1, len)).unwrap_err();
        let PublishError::WrongLength { len_bytes, value_bytes: 16 } = error else { panic!("{len}: {error}") };
        assert_eq!(len_bytes, len as u64);
    }
    assert_eq!(*snapshot.reader().unwrap().load::<Quote>().unwrap().unwrap(), QUOTE);
}

/// 16 bytes, a log position, and the two words of the slot: 2 x 24 + 16.
#[test]
fn a_quote_with_two_buffers_takes_one_line() {
    for (bytes, buffers, slot_bytes) in [(16, 2, 64), (17, 2, 128), (48, 2, 128), (8, 3, 64), (0, 2, 64)] {
        let builder = Snapshot::builder().value_bytes(bytes).buffers(buffers).slots(3);
        let snapshot = builder.create_memfd("packed").unwrap();
        let info = snapshot.info();
        assert_eq!((info.slot_bytes, info.buffers, info.is_fixed, info.is_sparse), (slot_bytes, buffers, true, false));
        let mut writer = snapshot.writer().unwrap();
        let values: Vec<_> = (0..3).map(|slot| value(slot + 1, usize::try_from(bytes).unwrap())).collect();
        for _ in 0..5 {
            for (slot, value) in values.iter().enumerate() {
                writer.slot(slot).unwrap().publish_bytes(value).unwrap();
            }
            for (slot, value) in values.iter().enumerate() {
                assert_eq!(snapshot.reader_of(slot).unwrap().load_bytes().unwrap().unwrap().value, *value);
            }
        }
    }
}

#[test]
fn a_value_can_be_written_in_place() {
    let snapshot = Snapshot::builder().create_memfd("draft").unwrap();
    let (mut writer, mut reader) = (snapshot.writer().unwrap(), snapshot.reader().unwrap());
    let fill = |draft: &mut shmlog::Draft<'_>| {
        assert_eq!((draft.len(), draft.is_empty(), draft.words().len()), (10, false, 2));
        assert_eq!((draft.write(3, b"defg"), draft.write(0, b"abc")), (4, 3));
        assert_eq!((draft.write(7, b"hijklmnop"), draft.write(11, b"x")), (3, 0), "what does not fit is left out");
    };
    writer.first().as_of(7).publish_with(10, fill).unwrap();
    let loaded = reader.load_bytes().unwrap().unwrap();
    assert_eq!((loaded.value.as_slice(), loaded.as_of), (&b"abcdefghij"[..], Some(7)));
}

#[test]
fn a_panic_half_way_publishes_nothing() {
    let snapshot = Snapshot::builder().create_memfd("panic").unwrap();
    let (mut writer, mut reader) = (snapshot.writer().unwrap(), snapshot.reader().unwrap());
    let before = writer.publish_bytes(b"before").unwrap();
    let publish = || {
        writer.first().publish_with(6, |draft| {
            draft.write(0, b"aft");
            panic!("on purpose");
        })
    };
    assert!(std::panic::catch_unwind(std::panic::AssertUnwindSafe(publish)).is_err());
    let loaded = reader.load_bytes().unwrap().unwrap();
    assert_eq!((loaded.value.as_slice(), loaded.version), (&b"before"[..], before));
    assert!(writer.publish_bytes(b"after").unwrap() > before);
    assert_eq!(reader.load_bytes().unwrap().unwrap().value, b"after");
}

#[test]
fn the_log_position_is_the_values_own() {
    for builder in [Snapshot::builder().value_bytes(8), Snapshot::builder().capacity_bytes(8)] {
        let snapshot = builder.create_memfd("as of").unwrap();
        let (mut writer, mut reader) = (snapshot.writer().unwrap(), snapshot.reader().unwrap());
        for (number, seq) in [Some(0), None, Some(17), Some(u64::MAX - 1), None].into_iter().enumerate() {
            let slot = writer.first();
            let slot = if let Some(seq) = seq { slot.as_of(seq) } else { slot };
            let version = slot.publish(&(number as u64)).unwrap();
            let loaded = reader.load::<u64>().unwrap().unwrap();
            assert_eq!((*loaded, loaded.as_of, loaded.version), (number as u64, seq, version));
            let stamp = reader.stamp().unwrap().unwrap();
            assert_eq!((stamp.as_of, stamp.version, stamp.len_bytes), (seq, version, 8));
            assert_eq!(reader.pin().unwrap().unwrap().as_of(), seq);
            assert_eq!(snapshot.info().slots[0].as_of, seq);
        }
    }
}

#[test]
fn versions_grow_and_tell_what_is_new() {
    let snapshot = Snapshot::builder().create_memfd("versions").unwrap();
    let (mut writer, mut reader) = (snapshot.writer().unwrap(), snapshot.reader().unwrap());
    let mut before = 0;
    for number in 0_u64..100 {
        assert!(!reader.changed_since(before));
        let version = writer.publish(&number).unwrap();
        assert!(version > before && reader.version() == version);
        assert!(reader.changed_since(before) && reader.wait_newer(before, Duration::ZERO));
        assert!(reader.stamp().unwrap().is_some(), "which is not loading");
        assert_eq!(*reader.load_newer::<u64>().unwrap().unwrap(), number);
        assert!(reader.load_newer::<u64>().unwrap().is_none(), "told once");
        before = version;
    }
    assert_eq!(reader.retries(), 0, "nobody was in between");
    drop(writer);
    assert!(snapshot.writer().unwrap().publish(&0_u64).unwrap() > before, "the next writer goes on");
}

/// A load that asked for the wrong type had seen the version, and `load_newer` never brought the value.
#[test]
fn a_load_that_failed_has_not_loaded() {
    let snapshot = Snapshot::builder().create_memfd("failed").unwrap();
    let mut reader = snapshot.reader().unwrap();
    snapshot.writer().unwrap().publish(&1_u64).unwrap();
    assert!(reader.load_newer::<u32>().is_err());
    assert_eq!(*reader.load_newer::<u64>().unwrap().expect("still to be loaded"), 1);
}

#[test]
fn slots_are_found_by_names_that_are_given_once() {
    let snapshot = Snapshot::builder().names(["AAPL", "a name of exactly thirty-two byte"]).slots(4);
    assert!(matches!(snapshot.create_memfd("long"), Err(CreateError::Geometry(_))), "33 bytes");
    for names in [[""].as_slice(), &["\0"], &["zero\0inside"], &["A", "B", "A"]] {
        let made = Snapshot::builder().names(names.iter().copied()).create_memfd("bad");
        assert!(matches!(made, Err(CreateError::Geometry(_))));
    }
    let snapshot = Snapshot::builder().names(["AAPL", "name of exactly thirty-two bytes"]).slots(4);
    let snapshot = snapshot.create_memfd("names").unwrap();
    let mut writer = snapshot.writer().unwrap();
    writer.set_name(2, "MSFT").unwrap();
    writer.set_name(2, "MSFT").unwrap();
    let found = ["AAPL", "name of exactly thirty-two bytes", "MSFT", "", "AAP", "AAPLE"];
    assert_eq!(found.map(|name| snapshot.find(name)), [Some(0), Some(1), Some(2), None, None, None]);
    assert_eq!((snapshot.name(3), snapshot.name(2).as_deref(), snapshot.name(4)), (None, Some("MSFT"), None));
    for (slot, name) in
        [(2, "GOOG"), (3, "AAPL"), (0, "AAP"), (3, ""), (3, "a name of exactly thirty-two byte"), (3, "\0")]
    {
        let error = writer.set_name(slot, name).unwrap_err();
        assert!(matches!(&error, PublishError::Name { index, .. } if *index == slot), "{error}");
    }
    assert!(matches!(writer.set_name(4, "x"), Err(PublishError::NoSlot { index: 4, first: 0, last: 3 })));
    assert_eq!(snapshot.info().slots.iter().filter_map(|slot| slot.name.as_deref()).count(), 3);
}

#[test]
fn slots_do_not_touch_each_other() {
    for builder in [quotes(), Snapshot::builder().capacity_bytes(16).buffers(3)] {
        let snapshot = builder.slots(1000).create_memfd("table").unwrap();
        let mut writer = snapshot.writer().unwrap();
        for round in 0..3 {
            for slot in 0..1000 {
                writer.slot(slot).unwrap().publish_bytes(&value(round << 32 | slot as u64, 16)).unwrap();
            }
            for slot in 0..1000 {
                let mut reader = snapshot.reader_of(slot).unwrap();
                assert_eq!(reader.load_bytes().unwrap().unwrap().value, value(round << 32 | slot as u64, 16));
                assert_eq!((reader.index(), reader.version()), (slot, round + 1));
            }
        }
        assert!(matches!(snapshot.reader_of(1000), Err(JoinError::NoSlot { index: 1000, slots: 1000 })));
        assert!(matches!(snapshot.writer_of(1000), Err(JoinError::NoSlot { index: 1000, slots: 1000 })));
    }
}

#[test]
fn a_slot_has_one_writer_at_a_time() {
    let snapshot = quotes().slots(3).create_memfd("writers").unwrap();
    let refused = |taken: Result<_, JoinError>| assert!(matches!(taken, Err(JoinError::WriterAttached)));
    let has_writer = || snapshot.info().slots.iter().map(|slot| slot.has_writer.unwrap()).collect::<Vec<_>>();
    let all = snapshot.writer().unwrap();
    refused(snapshot.writer().map(drop));
    refused(snapshot.clone().writer_of(1).map(drop));
    assert_eq!(has_writer(), [true; 3]);
    drop(all);
    let mut one = snapshot.writer_of(1).unwrap();
    refused(snapshot.writer().map(drop));
    refused(snapshot.writer_of(1).map(drop));
    assert_eq!(has_writer(), [false, true, false]);
    let mut other = snapshot.writer_of(2).unwrap();
    other.publish(&QUOTE).unwrap();
    one.first().as_of(1).publish(&QUOTE).unwrap();
    for slot in [0, 2, 3] {
        let error = one.slot(slot).unwrap_err();
        assert!(matches!(error, PublishError::NoSlot { first: 1, last: 1, .. }), "{error}");
    }
    assert!(matches!(one.set_name(2, "x"), Err(PublishError::NoSlot { .. })));
    assert_eq!(snapshot.info().slots.iter().map(|slot| slot.version).collect::<Vec<_>>(), [0, 1, 1]);
    drop((one, other));
    drop(snapshot.writer().unwrap());
    assert_eq!(has_writer(), [false; 3]);
}

#[test]
fn shapes_that_can_not_be_are_refused() {
    let wrong = [
        Snapshot::builder().buffers(1),
        Snapshot::builder().buffers(65),
        Snapshot::builder().slots(0),
        Snapshot::builder().slots((1 << 20) + 1),
        Snapshot::builder().seats(0),
        Snapshot::builder().seats(4097),
        Snapshot::builder().capacity_bytes((1 << 40) + 1),
        Snapshot::builder().names([""]),
    ];
    let dir = tempfile::tempdir().unwrap();
    for builder in wrong {
        assert!(matches!(builder.create_memfd("wrong"), Err(CreateError::Geometry(_))), "{builder:?}");
        assert!(matches!(builder.create_at(dir.path().join("x")), Err(CreateError::Geometry(_))), "{builder:?}");
    }
    // More than there is memory for.
    let large = Snapshot::builder().capacity_bytes(1 << 40).create_memfd("large");
    assert!(matches!(large, Err(CreateError::NoSpace { .. })), "{large:?}");
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0, "nothing is left behind");
    let path = dir.path().join("taken");
    let _first = quotes().create_at(&path).unwrap();
    assert!(matches!(quotes().create_at(&path), Err(CreateError::Exists { .. })));
    Snapshot::remove(&path).unwrap();
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
}
