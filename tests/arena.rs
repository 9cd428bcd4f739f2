//! The arena: allocations that many processes make and share.

mod common;

use common::{PATIENCE, child, finish, payload, setting};
use shmlog::{Access, Allocation, Arena, ArenaError, AttachError, CreateError, HugePageSize, HugePages, Typed};
use std::collections::BTreeMap;
use std::fs;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::sync::Barrier;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::thread;

#[test]
fn child_entry() {
    common::enter(&[("allocator", allocator)]);
}

#[test]
fn what_is_refused_is_still_there() {
    let arena = Arena::create_memfd("space", 1000).unwrap();
    let capacity = arena.capacity_bytes();
    assert!(capacity >= 1000 && arena.used_bytes() == 0 && arena.left_bytes() == capacity);
    for wanted_bytes in [capacity + 1, capacity * 2, u64::MAX - 7, u64::MAX] {
        let full = ArenaError::Full { wanted_bytes, left_bytes: capacity };
        assert_eq!(arena.allocate(wanted_bytes, 8).unwrap_err(), full);
    }
    let all = arena.allocate(capacity, 8).unwrap();
    assert_eq!((all.offset_bytes, all.len_bytes, arena.left_bytes()), (0, capacity, 0));
    assert_eq!(arena.allocate(1, 8).unwrap_err(), ArenaError::Full { wanted_bytes: 1, left_bytes: 0 });
    assert_eq!(arena.allocate(0, 8).unwrap().len_bytes, 0, "nothing always fits");
}

#[test]
fn allocations_are_aligned_apart_and_zero() {
    let arena = Arena::create_memfd("apart", 1 << 20).unwrap();
    let mut taken = BTreeMap::new();
    for (number, align) in (0..400).zip([1, 2, 8, 64, 256, 4096].into_iter().cycle()) {
        let len = number * 7 % 100;
        let allocation = arena.allocate(len, align).unwrap();
        let mut bytes = vec![7; usize::try_from(len).unwrap()];
        assert_eq!(arena.read(allocation, &mut bytes).unwrap(), bytes.len());
        assert!(bytes.iter().all(|&byte| byte == 0));
        assert!(allocation.offset_bytes.is_multiple_of(align.max(8)));
        let bytes = payload(1, number, bytes.len());
        assert_eq!(arena.write(allocation, 0, &bytes).unwrap(), bytes.len());
        taken.insert(allocation.offset_bytes, (allocation, bytes));
    }
    for (allocation, bytes) in taken.values() {
        let mut read = vec![0; bytes.len()];
        arena.read(*allocation, &mut read).unwrap();
        assert_eq!(&read, bytes, "nobody else wrote there");
    }
    for align_bytes in [0, 3, 8192, u64::MAX] {
        assert_eq!(arena.allocate(8, align_bytes).unwrap_err(), ArenaError::Alignment { align_bytes });
    }
}

#[test]
fn made_up_handles_are_out_of_range() {
    let arena = Arena::create_memfd("range", 1000).unwrap();
    let capacity = arena.capacity_bytes();
    for (offset_bytes, len_bytes) in [
        (capacity, 1),
        (capacity - 8, 9),
        (0, capacity + 1),
        (u64::MAX, 1),
        (u64::MAX - 4095, 8),
        (1, 8),
        (0, u64::MAX),
        (u64::MAX, u64::MAX),
    ] {
        let made_up = Allocation { offset_bytes, len_bytes };
        let expected = ArenaError::OutOfRange { offset_bytes, len_bytes };
        assert_eq!(arena.read(made_up, &mut [0; 64]).unwrap_err(), expected);
        assert_eq!(arena.write(made_up, 0, &[0; 64]).unwrap_err(), expected);
        assert_eq!(arena.atomics(made_up).unwrap_err(), expected);
    }
    assert!(arena.load(Typed::<[u64; 4]>::at(capacity - 24)).is_err());
    assert!(arena.store(Typed::at(3), &1_u64).is_err());
    let allocation = arena.allocate(5, 8).unwrap();
    assert_eq!(arena.write(allocation, 3, b"abcdef").unwrap(), 2, "what does not fit is left out");
    assert_eq!(arena.write(allocation, 5, b"x").unwrap(), 0);
    assert_eq!(arena.write(allocation, usize::MAX, b"x").unwrap(), 0);
    let mut read = [9; 8];
    assert_eq!(arena.read(allocation, &mut read).unwrap(), 5);
    assert_eq!(&read, b"\0\0\0ab\x09\x09\x09");
}

#[test]
fn a_second_handle_sees_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("arena");
    let arena = Arena::create_at(&path, 10_000).unwrap();
    let price = arena.allocate_value(&585_690_u64).unwrap();
    let received = {
        let (ours, theirs) = UnixStream::pair().unwrap();
        thread::scope(|scope| {
            let receiver = scope.spawn(|| Arena::receive(theirs).unwrap());
            arena.send(ours, Access::Read).unwrap();
            receiver.join().unwrap()
        })
    };
    let descriptor = Arena::from_fd(arena.as_fd().try_clone_to_owned().unwrap(), true).unwrap();
    for other in [&Arena::open(&path, true).unwrap(), &descriptor, &received] {
        assert_eq!((other.id(), other.capacity_bytes()), (arena.id(), arena.capacity_bytes()));
        assert_eq!((other.used_bytes(), other.left_bytes()), (arena.used_bytes(), arena.left_bytes()));
        assert_eq!(other.load(price).unwrap(), 585_690);
    }
    descriptor.store(price, &7).unwrap();
    assert_eq!(arena.load(price).unwrap(), 7);
    let words = arena.atomics(Allocation { offset_bytes: price.offset_bytes, len_bytes: 8 }).unwrap();
    words[0].fetch_add(1, Relaxed);
    assert_eq!(received.load(price).unwrap(), 8);
    for read_only in [&Arena::open(&path, false).unwrap(), &received] {
        assert_eq!(read_only.load(price).unwrap(), 8);
        assert_eq!(read_only.store(price, &1).unwrap_err(), ArenaError::ReadOnly);
        assert_eq!(read_only.allocate(8, 8).unwrap_err(), ArenaError::ReadOnly);
        assert_eq!(read_only.allocate_value(&1_u64).unwrap_err(), ArenaError::ReadOnly);
        let handle = Allocation { offset_bytes: 0, len_bytes: 8 };
        assert_eq!(read_only.atomics(handle).unwrap_err(), ArenaError::ReadOnly);
        assert_eq!(read_only.write(handle, 0, b"x").unwrap_err(), ArenaError::ReadOnly);
    }
}

/// Allocates until the arena is full, and signs each allocation.
fn allocator() {
    let arena = Arena::open(setting::<String>("SHMLOG_TEST_ARENA"), true).unwrap();
    let author: u64 = setting("SHMLOG_TEST_AUTHOR");
    for number in 0.. {
        match arena.allocate(16 + number % 5 * 8, 8) {
            Ok(allocation) => {
                arena.write(allocation, 0, &author.to_le_bytes()).unwrap();
                arena.write(allocation, 8, &allocation.len_bytes.to_le_bytes()).unwrap();
            }
            Err(ArenaError::Full { .. }) => break,
            Err(error) => panic!("{error}"),
        }
    }
}

#[test]
fn processes_share_the_space_out_without_a_gap_or_an_overlap() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("arena");
    let arena = Arena::create_at(&path, 1 << 20).unwrap();
    let spawn = |author: u64| {
        let mut command = child("allocator");
        command.env("SHMLOG_TEST_ARENA", &path).env("SHMLOG_TEST_AUTHOR", author.to_string()).spawn().unwrap()
    };
    let children: Vec<_> = (1..=3).map(spawn).collect();
    for child in children {
        assert!(finish(child, PATIENCE).success());
    }
    let (mut at, mut counts) = (0, [0; 4]);
    while at + 16 <= arena.used_bytes() {
        let [author, len] = arena.load(Typed::<[u64; 2]>::at(at)).unwrap();
        assert!((1..=3).contains(&author) && (16..=48).contains(&len), "at {at}: {author}, {len}");
        counts[usize::try_from(author).unwrap()] += 1;
        at += len;
    }
    assert_eq!(at, arena.used_bytes());
    assert!(arena.left_bytes() < 48 && counts.iter().sum::<u64>() > 20_000, "{counts:?}");
}

#[test]
fn what_is_no_arena_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("arena");
    assert!(matches!(Arena::open(&path, true), Err(AttachError::NotFound { .. })));
    let good = {
        Arena::create_at(&path, 10_000).unwrap().allocate_value(&7_u64).unwrap();
        fs::read(&path).unwrap()
    };
    assert!(matches!(Arena::create_at(&path, 10_000), Err(CreateError::Exists { .. })));
    let open = |bytes: &[u8]| {
        fs::write(&path, bytes).unwrap();
        Arena::open(&path, true)
    };
    for len in [0, 1, 4095, 4096, 8192, good.len() - 1] {
        assert!(matches!(open(&good[..len]), Err(AttachError::WrongSize { .. })), "{len}");
    }
    for foreign in [vec![0; good.len()], vec![0xA5; good.len()]] {
        assert!(matches!(open(&foreign), Err(AttachError::Foreign { what: "arena" })));
    }
    // Every bit of the control page: refused, or an arena in which nothing lies outside.
    for bit in 0..8 * 256 {
        let mut bent = good.clone();
        bent[bit / 8] ^= 1 << (bit % 8);
        let Ok(arena) = open(&bent) else { continue };
        assert!(arena.used_bytes() <= arena.capacity_bytes());
        while let Ok(allocation) = arena.allocate(1000, 64) {
            arena.write(allocation, 0, &[7; 1000]).unwrap();
        }
    }
    assert!(matches!(Arena::create_at(dir.path().join("large"), u64::MAX), Err(CreateError::NoSpace { .. })));
    assert!(Arena::create_at(dir.path().join("large"), u64::MAX / 2).is_err());
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "nothing is left behind");
}

/// Who lost the race to create an arena removed the winner's, and who opened it early found half of one.
#[test]
fn of_many_creators_one_wins_and_nobody_sees_half_an_arena() {
    let dir = tempfile::tempdir().unwrap();
    for round in 0..40 {
        let path = dir.path().join(round.to_string());
        let (start, left) = (Barrier::new(5), AtomicUsize::new(4));
        let made: Vec<Arena> = thread::scope(|scope| {
            let create = || {
                start.wait();
                let made = Arena::create_at(&path, 1 << 20);
                left.fetch_sub(1, Relaxed);
                match made {
                    Ok(arena) => Some(arena),
                    Err(CreateError::Exists { .. }) => None,
                    Err(error) => panic!("{error}"),
                }
            };
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(create)).collect();
            start.wait();
            while left.load(Relaxed) > 0 {
                match Arena::open(&path, true) {
                    Ok(_) | Err(AttachError::NotFound { .. }) => thread::yield_now(),
                    Err(error) => panic!("{error}"),
                }
            }
            threads.into_iter().filter_map(|thread| thread.join().unwrap()).collect()
        });
        assert_eq!(made.len(), 1);
        assert_eq!(Arena::open(&path, false).unwrap().id(), made[0].id());
    }
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 40, "the losers leave nothing");
}

#[test]
fn an_arena_on_huge_pages_is_an_arena() {
    let pages = HugePages::Prefer(HugePageSize::TwoMiB);
    let arena = Arena::create_on("huge", 1 << 20, pages).unwrap();
    let allocation = arena.allocate(1 << 20, 4096).unwrap();
    assert_eq!(arena.write(allocation, 0, b"huge").unwrap(), 4);
    let none = Arena::create_on("huge", 1 << 50, HugePages::Require(HugePageSize::TwoMiB));
    assert!(matches!(none, Err(CreateError::NoHugePages { .. })), "{none:?}");
}
