//! Values of any type that rkyv can archive.
#![cfg(feature = "rkyv")]
#![allow(unsafe_code, reason = "archives are looked at in place")]

use rkyv::{Archive, Deserialize, Serialize};
use shmlog::{LoadError, PublishError, Snapshot, SnapshotBuilder};
use std::collections::BTreeMap;
use std::time::Duration;

#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq)]
struct Book {
    symbol: String,
    levels: Vec<Level>,
    notes: BTreeMap<String, Vec<u32>>,
    parent: Option<Box<Level>>,
}

#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq)]
struct Level {
    price: i64,
    orders: Vec<u64>,
    total: u128,
}

fn level(number: u64) -> Level {
    let orders = (0..number % 7).map(|order| number * 100 + order).collect();
    Level { price: -number.cast_signed(), orders, total: u128::from(number) << 70 }
}

fn book(number: u64) -> Book {
    let notes = (0..number % 5).map(|note| (format!("note {note}"), vec![7; usize::try_from(note).unwrap()])).collect();
    let parent = number.is_multiple_of(2).then(|| Box::new(level(number)));
    Book { symbol: format!("SYMBOL{number}"), levels: (0..number % 20).map(level).collect(), notes, parent }
}

fn shapes() -> [SnapshotBuilder; 2] {
    [Snapshot::builder().capacity_bytes(8192), Snapshot::builder().capacity_bytes(1 << 30).sparse(true)]
}

#[test]
fn nested_values_go_in_and_come_out() {
    for builder in shapes() {
        let snapshot = builder.create_memfd("books").unwrap();
        let (mut writer, mut reader) = (snapshot.writer().unwrap(), snapshot.reader().unwrap());
        assert!(reader.load_archive::<Book>().unwrap().is_none());
        for number in 0..50 {
            let version = writer.first().as_of(number).publish_archive(&book(number)).unwrap();
            let loaded = reader.load_archive::<Book>().unwrap().unwrap();
            assert_eq!((loaded.version, loaded.as_of), (version, Some(number)));
            assert_eq!(loaded.value, book(number));
            assert!(reader.load_newer::<u8>().unwrap().is_none(), "seen");
        }
    }
}

#[test]
fn an_archive_can_be_looked_at_in_place() {
    for builder in shapes() {
        let snapshot = builder.create_memfd("in place").unwrap();
        let (mut writer, mut reader) = (snapshot.writer().unwrap(), snapshot.reader().unwrap());
        writer.set_patience(Duration::ZERO);
        writer.first().publish_archive(&book(18)).unwrap();
        let pinned = reader.pin().unwrap().unwrap();
        // SAFETY: the writer is this crate's.
        let archived = unsafe { pinned.archive::<Book>() }.unwrap();
        for number in 0..100 {
            writer.first().publish_archive(&book(number)).unwrap();
            assert_eq!((archived.symbol.as_str(), archived.levels.len()), ("SYMBOL18", 18));
        }
        let level = archived.parent.as_ref().unwrap();
        assert_eq!((level.price.to_native(), level.total.to_native()), (-18, 18 << 70));
        assert_eq!(archived.levels[13].orders.len(), 6);
        // SAFETY: as above.
        let bytes = unsafe { pinned.as_slice() };
        let place = std::ptr::from_ref(archived).cast::<u8>();
        assert!(bytes.as_ptr_range().contains(&place), "no copy");
        assert!(place.cast::<ArchivedBook>().is_aligned());
        assert_eq!(rkyv::deserialize::<Book, rkyv::rancor::Error>(archived).unwrap(), book(18));
    }
}

#[test]
fn what_is_no_archive_is_invalid() {
    let snapshot = Snapshot::builder().create_memfd("invalid").unwrap();
    let (mut writer, mut reader) = (snapshot.writer().unwrap(), snapshot.reader().unwrap());
    let good = rkyv::to_bytes::<rkyv::rancor::Error>(&book(18)).unwrap();
    let bent = |at: usize, bits: u8| {
        let mut bytes = good.to_vec();
        bytes[at] ^= bits;
        bytes
    };
    // Too short; pointers that lead out of it; the end, where the root is, cut off.
    let surely = [vec![], vec![7; 3], vec![0xFF; good.len()], good[..good.len() - 9].to_vec()];
    for bytes in &surely {
        writer.publish_bytes(bytes).unwrap();
        assert!(matches!(reader.load_archive::<Book>(), Err(LoadError::Invalid { .. })), "{} bytes", bytes.len());
        let pinned = reader.pin().unwrap().unwrap();
        // SAFETY: the writer is this crate's.
        assert!(matches!(unsafe { pinned.archive::<Book>() }, Err(LoadError::Invalid { .. })));
    }
    // Any bit: another value or an error, nothing else.
    let mut refused = 0;
    for at in 0..good.len() {
        writer.publish_bytes(&bent(at, 1 << (at % 8))).unwrap();
        match reader.load_archive::<Book>() {
            Ok(loaded) => assert!(loaded.is_some()),
            Err(LoadError::Invalid { .. }) => refused += 1,
            Err(error) => panic!("{at}: {error}"),
        }
    }
    assert!(refused > 0);
    // It has not been loaded, so it is still new.
    writer.publish_bytes(&surely[0]).unwrap();
    assert!(reader.load_archive::<Book>().is_err());
    assert!(reader.load_newer::<()>().unwrap().is_some());
}

#[test]
fn an_archive_that_does_not_fit_is_too_large() {
    let snapshot = Snapshot::builder().capacity_bytes(64).create_memfd("large").unwrap();
    let mut writer = snapshot.writer().unwrap();
    writer.first().publish_archive(&1_u64).unwrap();
    let error = writer.first().publish_archive(&book(18)).unwrap_err();
    assert!(matches!(error, PublishError::TooLarge { limit_bytes: 64, .. }), "{error}");
    assert_eq!(*snapshot.reader().unwrap().load_archive::<u64>().unwrap().unwrap(), 1);
}

/// A list as deep as it is long.
#[derive(Archive, Serialize, Deserialize)]
#[rkyv(serialize_bounds(__S: rkyv::ser::Writer + rkyv::ser::Allocator, __S::Error: rkyv::rancor::Source))]
#[rkyv(deserialize_bounds(__D::Error: rkyv::rancor::Source))]
#[rkyv(bytecheck(bounds(__C: rkyv::validation::ArchiveContext, __C::Error: rkyv::rancor::Source)))]
struct Link {
    #[rkyv(omit_bounds)]
    next: Option<Box<Link>>,
}

/// An archive that was nested deeply enough exhausted the stack of whoever loaded it: an abort, by safe calls.
#[test]
fn an_archive_that_is_nested_too_deeply_is_invalid() {
    let snapshot = Snapshot::builder().capacity_bytes(16 << 20).create_memfd("deep").unwrap();
    let (mut writer, mut reader) = (snapshot.writer().unwrap(), snapshot.reader().unwrap());
    let list = |len: u32| (0..len).fold(Link { next: None }, |next, _| Link { next: Some(Box::new(next)) });
    writer.publish_archive(&list(200)).unwrap();
    assert!(reader.load_archive::<Link>().unwrap().is_some());
    writer.publish_archive(&list(2000)).unwrap();
    assert!(matches!(reader.load_archive::<Link>(), Err(LoadError::Invalid { .. })));
    let pinned = reader.pin().unwrap().unwrap();
    // SAFETY: the writer of this test leaves a pinned buffer alone.
    let archived = unsafe { pinned.archive::<Link>() };
    assert!(matches!(archived, Err(LoadError::Invalid { .. })));
}
