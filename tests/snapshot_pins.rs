//! Pins: a value that is looked at in place stays as it is, and the writer works round it.
#![allow(unsafe_code, reason = "the bytes are looked at in place")]

mod common;

use common::{number_of, start, succeed, to_parent, value, word};
use shmlog::{Access, Fencing, JoinError, LoadError, PublishError, Snapshot, SnapshotBuilder, SnapshotWriter};
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::process::Child;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

#[test]
fn child_entry() {
    common::enter(&[("pinner", pinner), ("checker", checker)]);
}

fn small(buffers: u64) -> SnapshotBuilder {
    Snapshot::builder().value_bytes(256).buffers(buffers).seats(8)
}

/// Publishes value `number`.
fn publish(writer: &mut SnapshotWriter, number: u64) -> Result<u64, PublishError> {
    writer.publish_bytes(&value(number, 256))
}

/// The number of what is pinned, by every way to look at it.
fn look(pinned: &shmlog::Pinned<'_>) -> u64 {
    let number = number_of(&pinned.to_vec()).expect("torn");
    // SAFETY: the writer is this crate's.
    assert_eq!(number_of(unsafe { pinned.as_slice() }), Some(number));
    assert!(pinned.words().iter().enumerate().all(|(at, word)| word.load(Relaxed) == common::word(number, at)));
    let mut part = [0; 21];
    assert_eq!(pinned.copy_at(13, &mut part), 21);
    assert_eq!(part, value(number, 256)[13..34]);
    assert_eq!(
        (pinned.copy_at(250, &mut part), pinned.copy_at(256, &mut part), pinned.copy_at(999, &mut part)),
        (6, 0, 0)
    );
    assert_eq!(part[..6], value(number, 256)[250..]);
    number
}

#[test]
fn what_is_pinned_stays_while_thousands_are_published() {
    for (buffers, fencing) in [(3, Fencing::Asymmetric), (4, Fencing::Portable), (64, Fencing::Asymmetric)] {
        let snapshot = small(buffers).fencing(fencing).create_memfd("stays").unwrap();
        let (mut writer, mut reader) = (snapshot.writer().unwrap(), snapshot.reader().unwrap());
        writer.set_patience(Duration::ZERO);
        publish(&mut writer, 0).unwrap();
        let pinned = reader.pin().unwrap().unwrap();
        let mut other = snapshot.reader().unwrap();
        for number in 1..5000 {
            publish(&mut writer, number).unwrap();
            assert_eq!(number_of(&other.load_bytes().unwrap().unwrap().value), Some(number), "others see the newest");
            assert_eq!(look(&pinned), 0);
        }
        drop(pinned);
        assert_eq!(look(&reader.pin().unwrap().unwrap()), 4999);
    }
}

#[test]
fn when_all_is_pinned_the_writer_learns_by_whom_and_goes_on_afterwards() {
    for buffers in [2, 3, 8] {
        let snapshot = small(buffers).create_memfd("busy").unwrap();
        let mut writer = snapshot.writer().unwrap();
        writer.set_patience(Duration::ZERO);
        let mut readers: Vec<_> = (1..buffers).map(|_| snapshot.reader().unwrap()).collect();
        let mut pins = Vec::new();
        for (number, reader) in readers.iter_mut().enumerate() {
            publish(&mut writer, number as u64).unwrap();
            reader.set_name(format!("reader {number}"));
            pins.push(reader.pin().unwrap().unwrap());
        }
        // One more fits, in the buffer that nobody pins.
        let last = publish(&mut writer, buffers - 1).unwrap();
        for _ in 0..3 {
            let PublishError::Busy { by } = publish(&mut writer, 99).unwrap_err() else { panic!("busy") };
            assert!(by.name().starts_with("reader ") && by.pid == u64::from(std::process::id()), "{by}");
        }
        assert_eq!(snapshot.reader().unwrap().version(), last, "the one before stays");
        for (number, pin) in pins.iter().enumerate() {
            assert_eq!(look(pin), number as u64);
        }
        drop(pins.swap_remove(0));
        let next = publish(&mut writer, buffers).unwrap();
        assert!(next > last);
        assert_eq!(snapshot.reader().unwrap().load_bytes().unwrap().unwrap().value, value(buffers, 256));
        if buffers > 2 {
            assert!(pins.iter().all(|pin| look(pin) < buffers));
        }
    }
}

/// With four buffers and two pins there is always one to write, wherever the pins are.
#[test]
fn pins_come_and_go_while_the_writer_is_busy() {
    let snapshot = small(4).create_memfd("come and go").unwrap();
    let mut writer = snapshot.writer().unwrap();
    writer.set_patience(Duration::ZERO);
    let mut readers: Vec<_> = (0..3).map(|_| snapshot.reader().unwrap()).collect();
    let mut number = 0;
    for round in 0..300_usize {
        let (first, rest) = readers.split_first_mut().unwrap();
        publish(&mut writer, number).unwrap();
        let old = first.pin().unwrap().unwrap();
        for reader in rest {
            publish(&mut writer, number + 1).unwrap();
            let pin = reader.pin().unwrap().unwrap();
            for ahead in 0..round % 5 {
                publish(&mut writer, number + 2 + ahead as u64).unwrap();
            }
            assert_eq!((look(&old), look(&pin)), (number, number + 1));
        }
        number += 7;
    }
}

#[test]
fn patience_is_waited_for_and_a_pin_that_goes_ends_it() {
    let snapshot = small(2).create_memfd("patience").unwrap();
    let (mut writer, mut reader) = (snapshot.writer().unwrap(), snapshot.reader().unwrap());
    publish(&mut writer, 0).unwrap();
    let pinned = reader.pin().unwrap().unwrap();
    publish(&mut writer, 1).unwrap();
    let patience = Duration::from_millis(30);
    writer.set_patience(patience);
    let started = std::time::Instant::now();
    assert!(matches!(publish(&mut writer, 2), Err(PublishError::Busy { .. })));
    assert!(started.elapsed() >= patience);
    writer.set_patience(common::PATIENCE);
    std::thread::scope(|scope| {
        let published = scope.spawn(|| publish(&mut writer, 2));
        assert_eq!(look(&pinned), 0);
        drop(pinned);
        published.join().unwrap().unwrap();
    });
    assert_eq!(look(&reader.pin().unwrap().unwrap()), 2);
}

#[test]
fn a_pin_of_one_slot_is_none_of_another() {
    let snapshot = small(2).slots(3).create_memfd("slots").unwrap();
    let mut writer = snapshot.writer().unwrap();
    writer.set_patience(Duration::ZERO);
    for slot in 0..3 {
        writer.slot(slot).unwrap().publish_bytes(&value(slot as u64, 256)).unwrap();
    }
    let mut reader = snapshot.reader_of(1).unwrap();
    let pinned = reader.pin().unwrap().unwrap();
    for number in 0..100 {
        for slot in [0, 2] {
            writer.slot(slot).unwrap().publish_bytes(&value(number, 256)).unwrap();
        }
    }
    let mut second = || writer.slot(1).unwrap().publish_bytes(&value(9, 256));
    second().unwrap();
    assert!(matches!(second(), Err(PublishError::Busy { .. })));
    assert_eq!((look(&pinned), pinned.index()), (1, 1));
    let readers = snapshot.info().readers;
    assert_eq!(readers.iter().map(|pin| (pin.slot, pin.is_alive)).collect::<Vec<_>>(), [(Some(1), Some(true))]);
}

#[test]
fn seats_run_out_with_a_word_and_come_back() {
    let snapshot = small(4).seats(2).create_memfd("seats").unwrap();
    publish(&mut snapshot.writer().unwrap(), 5).unwrap();
    let (mut first, mut second, mut third) =
        (snapshot.reader().unwrap(), snapshot.reader().unwrap(), snapshot.reader().unwrap());
    for _ in 0..3 {
        assert_eq!(look(&first.pin().unwrap().unwrap()), 5);
        assert_eq!(look(&second.pin().unwrap().unwrap()), 5, "a seat is kept between pins");
        let error = third.pin().unwrap_err();
        assert!(matches!(error, LoadError::NoSeat(JoinError::BoardFull { slots: 2 })), "{error}");
        assert_eq!(number_of(&third.load_bytes().unwrap().unwrap().value), Some(5), "loading needs none");
    }
    drop(first);
    assert_eq!(look(&third.pin().unwrap().unwrap()), 5);
    drop((second, third));
    assert!(snapshot.info().readers.is_empty());
}

/// Pins slot 0 and stays.
fn pinner() {
    let mut parent = to_parent();
    let snapshot = Snapshot::receive(&parent).unwrap();
    let mut reader = snapshot.reader().unwrap();
    reader.set_name("victim");
    let pinned = reader.pin().unwrap().unwrap();
    parent.write_all(&look(&pinned).to_le_bytes()).unwrap();
    let _ = parent.read(&mut [0]);
    panic!("it should have been killed");
}

/// With the socket that it listens at: it ends with its parent, should this test fail.
fn victim(snapshot: &Snapshot) -> (Child, UnixStream) {
    let (child, mut socket) = start(common::child("pinner"));
    snapshot.send(&socket, Access::Read).unwrap();
    socket.read_exact(&mut [0; 8]).unwrap();
    (child, socket)
}

#[test]
fn the_dead_pin_nothing_and_their_seats_are_free() {
    let snapshot = small(2).seats(1).create_memfd("dead").unwrap();
    let mut writer = snapshot.writer().unwrap();
    writer.set_patience(Duration::ZERO);
    for number in 1..20 {
        publish(&mut writer, number).unwrap();
        let (mut child, _socket) = victim(&snapshot);
        publish(&mut writer, number).unwrap();
        let PublishError::Busy { by } = publish(&mut writer, 0).unwrap_err() else { panic!("busy") };
        assert_eq!((by.name().as_str(), by.pid), ("victim", u64::from(child.id())));
        assert!(matches!(snapshot.reader().unwrap().pin(), Err(LoadError::NoSeat(_))), "taken");
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(snapshot.info().readers[0].is_alive, Some(false), "seen at once");
        if number % 2 == 0 {
            let mut next = snapshot.reader().unwrap();
            assert_eq!(look(&next.pin().unwrap().unwrap()), number, "the seat goes to the next, without its pin");
        }
        publish(&mut writer, number).unwrap();
        assert!(snapshot.info().readers.is_empty(), "cleared");
    }
}

/// Pins, checks and lets go again and again.
fn checker() {
    let parent = to_parent();
    let snapshot = Snapshot::receive(&parent).unwrap();
    let mut reader = snapshot.reader().unwrap();
    let mut newest = 0;
    for _ in 0..if common::is_long() { 1_000_000 } else { 20_000 } {
        let pinned = loop {
            match reader.pin() {
                // The writer makes no pause: each attempt may have to give up.
                Err(LoadError::Overtaken { .. }) => {}
                pinned => break pinned.unwrap().unwrap(),
            }
        };
        let number = number_of(&pinned.to_vec()).expect("torn while pinned");
        assert!(number >= newest, "{number} after {newest}");
        newest = number;
        for _ in 0..20 {
            std::hint::spin_loop();
            assert_eq!(number_of(&pinned.to_vec()), Some(number), "changed while pinned");
        }
    }
}

/// A pin and an announcement cross: one side must see the other, in whatever process it runs.
#[test]
fn pins_hold_while_another_process_publishes() {
    // Two buffers of two words: the shorter a publication, the likelier that they cross.
    for (buffers, fencing) in [(2, Fencing::Asymmetric), (2, Fencing::Portable), (3, Fencing::Asymmetric)] {
        let builder = Snapshot::builder().value_bytes(16).buffers(buffers).fencing(fencing);
        let snapshot = builder.create_memfd("crossing").unwrap();
        let mut writer = snapshot.writer().unwrap();
        writer.set_patience(common::PATIENCE);
        writer.publish_bytes(&value(1, 16)).unwrap();
        let (checker, socket) = start(common::child("checker"));
        snapshot.send(&socket, Access::Read).unwrap();
        socket.set_nonblocking(true).unwrap();
        let mut number = 1;
        while !matches!((&socket).read(&mut [0]), Ok(0)) {
            for _ in 0..100 {
                number += 1;
                writer.publish(&[word(number, 0), word(number, 1)]).unwrap();
            }
        }
        succeed(checker);
    }
}
