//! Writers and pinning readers that are killed at random moments: what readers see stays whole and never goes back, the
//! next writer takes over at once, and a dead reader holds nobody up. `SHMLOG_LONG=1`: 1,000 and 200 kills.

mod common;

use common::{PATIENCE, is_long, number_of, setting, start, succeed, to_parent, word};
use shmlog::{Access, Allocation, Arena, Draft, LoadError, Snapshot, SnapshotReader};
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::process::Child;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Bytes of a value, by its number.
const SIZES: [usize; 3] = [64, 1 << 10, 64 << 10];

#[test]
fn child_entry() {
    common::enter(&[("writer", writer), ("reader", reader), ("pinner", pinner)]);
}

fn size_of(number: u64) -> usize {
    SIZES[usize::try_from(number.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 40).unwrap() % SIZES.len()]
}

/// A word that all processes have: the number whose publication has returned last.
struct Told {
    arena: Arena,
    place: Allocation,
}

impl Told {
    fn new() -> Self {
        let arena = Arena::create_memfd("told", 4096).unwrap();
        let place = arena.allocate(8, 8).unwrap();
        Self { arena, place }
    }

    fn word(&self) -> &AtomicU64 {
        &self.arena.atomics(self.place).unwrap()[0]
    }
}

/// A child in this role that was sent both.
fn child(role: &str, snapshot: &Snapshot, told: &Told, access: Access) -> (Child, UnixStream) {
    let mut command = common::child(role);
    command.env("SHMLOG_TEST_PLACE", told.place.offset_bytes.to_string());
    let (child, socket) = start(command);
    snapshot.send(&socket, access).unwrap();
    told.arena.send(&socket, Access::Append).unwrap();
    (child, socket)
}

fn receive() -> (UnixStream, Snapshot, Told) {
    let parent = to_parent();
    let snapshot = Snapshot::receive(&parent).unwrap();
    let arena = Arena::receive(&parent).unwrap();
    let place = Allocation { offset_bytes: setting("SHMLOG_TEST_PLACE"), len_bytes: 8 };
    (parent, snapshot, Told { arena, place })
}

fn write(number: u64, draft: &Draft<'_>) {
    for (at, to) in draft.words().iter().enumerate() {
        to.store(word(number, at), Ordering::Relaxed);
    }
}

/// Publishes as fast as it can, from the number after the last one that there is, until it is killed.
fn writer() {
    let (mut parent, snapshot, told) = receive();
    // The one before was waited for; whatever it was doing, its place is free and its slot can be written.
    let mut writer = snapshot.writer().expect("the dead writer's place");
    writer.set_patience(Duration::ZERO);
    let first = snapshot.reader().unwrap().load_bytes().unwrap().map_or(1, |l| number_of(&l.value).expect("torn") + 1);
    for number in first.. {
        let slot = writer.first().as_of(number);
        let published = slot.publish_with(size_of(number), |draft| write(number, draft));
        published.expect("accepted at once");
        told.word().store(number, Ordering::Release);
        if number == first {
            parent.write_all(b"!").unwrap();
        }
    }
}

/// One load: whole, not older than any before, nor than what its author was told is published.
fn check(reader: &mut SnapshotReader, told: &Told, bytes: &mut Vec<u8>, newest: &mut (u64, u64)) {
    let least = told.word().load(Ordering::Acquire);
    let stamp = match reader.load_into(bytes) {
        Ok(Some(stamp)) => stamp,
        Ok(None) => return assert_eq!((least, *newest), (0, (0, 0)), "lost"),
        Err(error @ LoadError::Overtaken { .. }) => panic!("held up: {error}"),
        Err(error) => panic!("{error}"),
    };
    let number = number_of(bytes).unwrap_or_else(|| panic!("version {} is torn", stamp.version));
    assert_eq!(bytes.len(), size_of(number), "the length of another");
    assert_eq!(stamp.as_of, Some(number), "the position of another");
    assert!(number >= least, "{number} was loaded after {least} had been published");
    let (version, before) = *newest;
    assert!(
        stamp.version >= version && number >= before,
        "{number} after {before}, version {} after {version}",
        stamp.version
    );
    assert_eq!(stamp.version == version, number == before, "one version, one value");
    *newest = (stamp.version, number);
}

/// Loads and checks until the parent has closed the socket.
fn reader() {
    let (parent, snapshot, told) = receive();
    assert!(snapshot.writer().is_err(), "read-only");
    let mut reader = snapshot.reader().unwrap();
    let is_over = AtomicBool::new(false);
    let (mut bytes, mut newest, mut loads) = (Vec::new(), (0, 0), 0_u64);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let _ = (&parent).read(&mut [0]);
            is_over.store(true, Ordering::Relaxed);
        });
        while !is_over.load(Ordering::Relaxed) {
            check(&mut reader, &told, &mut bytes, &mut newest);
            loads += 1;
        }
    });
    eprintln!("a reader made {loads} loads, {} retries, up to number {}", reader.retries(), newest.1);
}

/// xorshift64*: when to kill.
fn roll(state: &mut u64, below: u64) -> u64 {
    *state ^= *state >> 12;
    *state ^= *state << 25;
    *state ^= *state >> 27;
    (state.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 11) % below
}

fn kill(mut child: Child) {
    child.kill().unwrap();
    child.wait().unwrap();
}

fn kill_writers(buffers: u64, kills: u64) {
    let builder = Snapshot::builder().capacity_bytes(64 << 10).buffers(buffers);
    let snapshot = builder.create_memfd("killed").unwrap();
    let told = Told::new();
    let readers = [Access::Read, Access::Observe].map(|access| child("reader", &snapshot, &told, access));
    let mut own = snapshot.reader().unwrap();
    let (mut bytes, mut newest) = (Vec::new(), (0, 0));
    let mut dice = 0x5EED + buffers;
    let started = Instant::now();
    // Killed between publishing and telling.
    let mut untold = 0;
    for kill_number in 0..kills {
        let (writer, mut socket) = child("writer", &snapshot, &told, Access::Append);
        socket.read_exact(&mut [0]).expect("the next writer takes over");
        // Not synchronisation: any moment will do.
        let moment = Instant::now() + Duration::from_micros(roll(&mut dice, 3000));
        while Instant::now() < moment {
            check(&mut own, &told, &mut bytes, &mut newest);
        }
        kill(writer);
        let last_told = told.word().load(Ordering::Acquire);
        check(&mut own, &told, &mut bytes, &mut newest);
        let (version, number) = newest;
        assert!(number <= last_told + 1, "{number} though the last one told was {last_told}");
        untold += u64::from(number > last_told);
        // Every other time this process takes over, and the next child from it.
        if kill_number % 2 == 0 {
            let mut writer = snapshot.writer().expect("at once");
            let slot = writer.first().as_of(number + 1);
            let next = slot.publish_with(size_of(number + 1), |draft| write(number + 1, draft)).expect("at once");
            assert!(next > version);
        }
    }
    let number = newest.1;
    for (reader, socket) in readers {
        drop(socket);
        succeed(reader);
    }
    let took = started.elapsed();
    eprintln!("{kills} writers killed, K = {buffers}: {number} values, {untold} of the last ones untold, {took:.1?}");
}

#[test]
fn killed_writers_lose_and_tear_nothing() {
    let kills = if is_long() { 1000 } else { 50 };
    kill_writers(4, kills / 2);
    kill_writers(2, kills / 2);
}

/// Pins and stays.
fn pinner() {
    let mut parent = to_parent();
    let snapshot = Snapshot::receive(&parent).unwrap();
    let mut reader = snapshot.reader().unwrap();
    let _pinned = reader.pin().unwrap().unwrap();
    parent.write_all(b"!").unwrap();
    let _ = parent.read(&mut [0]);
    panic!("it should have been killed");
}

/// Kills one reader that pins; returns how long the writer took to go on.
type KillOne = fn(&Snapshot) -> Duration;

/// A child that pins the newest of two buffers.
fn pinning(snapshot: &Snapshot) -> (Child, UnixStream) {
    let (pinner, mut socket) = start(common::child("pinner"));
    snapshot.send(&socket, Access::Read).unwrap();
    socket.read_exact(&mut [0]).unwrap();
    (pinner, socket)
}

/// Kills; returns how long after the end of the dead one was known its pin was no more in the way. The writer comes
/// upon it afterwards.
fn come_upon(snapshot: &Snapshot) -> Duration {
    let mut writer = snapshot.writer().unwrap();
    writer.set_patience(PATIENCE);
    writer.publish(&1_u64).unwrap();
    let (pinner, _socket) = pinning(snapshot);
    writer.publish(&2_u64).unwrap();
    kill(pinner);
    let dead = Instant::now();
    writer.publish(&3_u64).expect("patient");
    dead.elapsed()
}

/// The same for a writer that waits for it already.
fn wait_for_it(snapshot: &Snapshot) -> Duration {
    let mut writer = snapshot.writer().unwrap();
    writer.set_patience(PATIENCE);
    writer.publish(&1_u64).unwrap();
    let (pinner, _socket) = pinning(snapshot);
    writer.publish(&2_u64).unwrap();
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| {
            writer.publish(&3_u64).expect("patient");
            Instant::now()
        });
        // Not synchronisation: most of the time it waits by then, and nothing depends on it.
        std::thread::sleep(Duration::from_millis(2));
        kill(pinner);
        let dead = Instant::now();
        waiting.join().unwrap().saturating_duration_since(dead)
    })
}

#[test]
fn a_dead_readers_pin_is_soon_no_more_in_the_way() {
    let kills = if is_long() { 200 } else { 20 };
    let cases: [(&str, KillOne); 2] = [("comes upon it", come_upon), ("waits for it", wait_for_it)];
    for (what, kill_one) in cases {
        let snapshot = Snapshot::builder().value_bytes(8).buffers(2).create_memfd("pinned").unwrap();
        let mut waits: Vec<_> = (0..kills).map(|_| kill_one(&snapshot)).collect();
        waits.sort_unstable();
        let [median, late, longest] = [50, 99, 100].map(|percent| waits[(waits.len() - 1) * percent / 100]);
        eprintln!(
            "{kills} pinning readers killed, the writer {what}: on it goes after p50 {median:.1?}, p99 {late:.1?}, \
             max {longest:.1?}"
        );
    }
}
