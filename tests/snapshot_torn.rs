//! The hunt for torn reads: a writer process that never rests, reader processes on read-only mappings that are
//! interrupted in the middle of loads, by signals, for as long as several publications take.
//!
//! `SHMLOG_LONG=1`: 10^8 loads of 64 bytes and 10^6 of 64 KiB and of 1 MiB.
#![allow(unsafe_code, reason = "a signal handler is installed")]

mod common;

use common::{PATIENCE, finish, is_long, number_of, setting, start, to_parent, word};
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, kill, sigaction};
use nix::unistd::Pid;
use shmlog::{Access, LoadError, Snapshot};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::process::Child;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

const READERS: u64 = 2;
/// What a reader tells: whole loads, retries, loads that were given up, signals.
const COUNTS: usize = 4;

#[test]
fn child_entry() {
    common::enter(&[("writer", writer), ("reader", reader)]);
}

/// Never rests until its parent closes the socket. Two numbers tell nothing of each other: no mixture looks whole.
fn writer() {
    let parent = to_parent();
    let snapshot = Snapshot::receive(&parent).unwrap();
    let len: usize = setting("SHMLOG_TEST_LEN");
    let mut writer = snapshot.writer().unwrap();
    parent.set_nonblocking(true).unwrap();
    let mut is_told = false;
    for number in 1.. {
        let publish = |draft: &mut shmlog::Draft<'_>| {
            for (at, to) in draft.words().iter().enumerate() {
                to.store(word(number, at), Relaxed);
            }
        };
        writer.first().publish_with(len, publish).unwrap();
        if !is_told {
            (&parent).write_all(b"!").unwrap();
            is_told = true;
        }
        if number % 64 == 0 && matches!((&parent).read(&mut [0]), Ok(0)) {
            break;
        }
    }
}

/// Interruptions, and for how many rounds each of them keeps the reader.
static SIGNALS: AtomicU64 = AtomicU64::new(0);
static ROUNDS: AtomicU64 = AtomicU64::new(0);

extern "C" fn interrupt(_: nix::libc::c_int) {
    SIGNALS.fetch_add(1, Relaxed);
    for _ in 0..ROUNDS.load(Relaxed) {
        std::hint::spin_loop();
    }
}

/// Loads so many times, checks each, and tells the parent how it went.
fn reader() {
    let mut parent = to_parent();
    let snapshot = Snapshot::receive(&parent).unwrap();
    let (len, loads): (u64, u64) = (setting("SHMLOG_TEST_LEN"), setting("SHMLOG_TEST_LOADS"));
    ROUNDS.store(500 + len / 128, Relaxed);
    let action = SigAction::new(SigHandler::Handler(interrupt), SaFlags::SA_RESTART, SigSet::empty());
    // SAFETY: the handler only touches atomics.
    unsafe { sigaction(Signal::SIGUSR1, &action) }.unwrap();
    assert!(snapshot.writer().is_err(), "read-only");
    let mut reader = snapshot.reader().unwrap();
    parent.write_all(b"!").unwrap();
    let (mut bytes, mut newest, mut whole, mut overtaken) = (Vec::new(), (0, 0), 0_u64, 0_u64);
    for _ in 0..loads {
        let stamp = match reader.load_into(&mut bytes) {
            Ok(stamp) => stamp.expect("published before"),
            Err(LoadError::Overtaken { .. }) => {
                overtaken += 1;
                continue;
            }
            Err(error) => panic!("{error}"),
        };
        let number = number_of(&bytes).unwrap_or_else(|| panic!("version {} is torn", stamp.version));
        assert_eq!((stamp.version, stamp.len_bytes), (number, len), "the value of another version");
        assert!((stamp.version, number) >= newest, "{number} after {newest:?}");
        newest = (stamp.version, number);
        whole += 1;
    }
    for count in [whole, reader.retries(), overtaken, SIGNALS.load(Relaxed)] {
        parent.write_all(&count.to_le_bytes()).unwrap();
    }
}

fn child(role: &str, snapshot: &Snapshot, access: Access, len: usize, loads: u64) -> (Child, UnixStream) {
    let mut command = common::child(role);
    command.env("SHMLOG_TEST_LEN", len.to_string()).env("SHMLOG_TEST_LOADS", loads.to_string());
    let (child, mut socket) = start(command);
    snapshot.send(&socket, access).unwrap();
    socket.read_exact(&mut [0]).expect("it begins");
    (child, socket)
}

/// Interrupts the readers, now one, now the other, until they have told their counts.
fn harass(readers: &[(Child, UnixStream)], pace: Duration) -> [u64; COUNTS] {
    let mut counts = [0; COUNTS];
    for (_, socket) in readers {
        socket.set_nonblocking(true).unwrap();
    }
    let mut left: Vec<_> = readers.iter().map(|reader| (reader, Vec::new())).collect();
    while !left.is_empty() {
        // How often they are interrupted, and nothing else, depends on it.
        std::thread::sleep(pace);
        left.retain_mut(|((child, socket), told)| {
            // Nobody has waited for it, so the id is still its own.
            kill(Pid::from_raw(child.id().try_into().unwrap()), Signal::SIGUSR1).unwrap();
            let mut bytes = [0; 8 * COUNTS];
            match (&mut &*socket).read(&mut bytes) {
                Ok(0) => panic!("a reader died"),
                Ok(len) => told.extend_from_slice(&bytes[..len]),
                Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
            }
            if told.len() < 8 * COUNTS {
                return true;
            }
            for (count, word) in counts.iter_mut().zip(told.as_chunks::<8>().0) {
                *count += u64::from_le_bytes(*word);
            }
            false
        });
    }
    counts
}

/// `loads` loads of values of `len` bytes, by all readers together, none of them torn.
fn hunt(len: usize, buffers: u64, loads: u64) {
    let snapshot = Snapshot::builder().capacity_bytes(len as u64).buffers(buffers).create_memfd("hunt").unwrap();
    let writer = child("writer", &snapshot, Access::Append, len, 0);
    let accesses = [Access::Read, Access::Observe].into_iter().cycle().take(usize::try_from(READERS).unwrap());
    let started = Instant::now();
    let readers: Vec<_> =
        accesses.map(|access| child("reader", &snapshot, access, len, loads.div_ceil(READERS))).collect();
    let [whole, retries, overtaken, signals] = harass(&readers, Duration::from_micros(200 + len as u64 / 512));
    let took = started.elapsed();
    let published = snapshot.reader().unwrap().version();
    for (reader, _) in readers {
        assert!(finish(reader, PATIENCE).success());
    }
    let (writer, socket) = writer;
    drop(socket);
    assert!(finish(writer, PATIENCE).success());
    eprintln!(
        "{len:>8} B, K = {buffers}: {whole:>9} loads, 0 torn, {retries} retries, {overtaken} overtaken, \
         {published} published, {signals} signals, {took:.1?}"
    );
    assert_eq!((whole, overtaken), (loads.next_multiple_of(READERS), 0), "all, none of them after 10,000 attempts");
}

#[test]
fn nothing_is_torn() {
    let sizes =
        [(64, 100_000, 50_000_000), (1 << 10, 20_000, 5_000_000), (64 << 10, 300, 500_000), (1 << 20, 20, 500_000)];
    for (len, few, many) in sizes {
        for buffers in [4, 8] {
            hunt(len, buffers, if is_long() { many } else { few });
        }
    }
}
