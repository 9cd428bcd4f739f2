//! All places taken: the error names what there are too few of, one that is free again is enough, and the dead's are.
#![allow(unsafe_code, reason = "raise")]

use crate::common::{PATIENCE, child, eventually, finish, setting, start, to_parent};
use nix::libc::{SIGKILL, raise};
use shmlog::{Access, Hub, HubClient, HubError, JoinError, LoadError, Log, Snapshot, Start};
use std::io::{Read, Write};
use std::path::PathBuf;

/// Of each kind.
const PLACES: usize = 3;

fn three_places() -> (Log, Snapshot) {
    let log = Log::builder().windows(2).window_bytes(64 << 10).slots(PLACES as u64, PLACES as u64);
    let state = Snapshot::builder().slots(PLACES as u64).seats(PLACES as u64).create_memfd("state").unwrap();
    for index in 0..PLACES {
        state.writer_of(index).unwrap().first().publish(&7_u64).unwrap();
    }
    (log.create_memfd("full").unwrap(), state)
}

fn is_full(error: &JoinError) -> bool {
    matches!(error, JoinError::BoardFull { slots: PLACES })
}

#[test]
fn a_full_board_is_named_and_one_that_leaves_is_enough() {
    let (log, state) = three_places();
    let mut appenders: Vec<_> = (0..PLACES).map(|_| eventually(|| log.appender())).collect();
    assert!(is_full(&log.appender().unwrap_err()));
    drop(appenders.pop());
    appenders.push(eventually(|| log.appender()));
    assert!(appenders.iter_mut().all(|appender| appender.append(b"x").is_ok()));

    let gated = || log.reader_builder().gated(true).start(Start::First);
    let mut readers: Vec<_> = (0..PLACES).map(|_| eventually(gated)).collect();
    assert!(is_full(&gated().unwrap_err()));
    // One that needs no place reads without, and takes one when it must hold something.
    let mut free = log.reader(Start::First).unwrap();
    assert!(free.try_next().unwrap().is_some() && matches!(free.pin(), Err(JoinError::NoSeat)));
    drop(readers.pop());
    eventually(|| free.pin());
    assert!(is_full(&gated().unwrap_err()), "it has one now");
    drop(free);
    readers.push(eventually(gated));

    let mut pinning: Vec<_> = (0..PLACES).map(|index| state.reader_of(index).unwrap()).collect();
    let pins: Vec<_> = pinning.iter_mut().map(|reader| eventually_pinned(reader)).collect();
    let mut late = state.reader().unwrap();
    assert!(late.pin().is_err_and(|error| matches!(&error, LoadError::NoSeat(why) if is_full(why))));
    assert_eq!(late.load::<u64>().unwrap().unwrap().value, 7, "copying takes none");
    drop(pins);
    drop(pinning.pop());
    assert_eq!(eventually(|| late.pin().map(|pinned| pinned.unwrap().read::<u64>().unwrap())), 7);
}

fn eventually_pinned(reader: &mut shmlog::SnapshotReader) -> shmlog::Pinned<'_> {
    eventually(|| reader.pin().map(drop));
    reader.pin().unwrap().unwrap()
}

/// Takes all places, and dies when it is told to.
pub fn taker() {
    let mut socket = to_parent();
    let (log, state) = (Log::receive(&socket).unwrap(), Snapshot::receive(&socket).unwrap());
    let appenders: Vec<_> = (0..PLACES).map(|_| log.appender().unwrap()).collect();
    let gated = || log.reader_builder().gated(true).start(Start::First).unwrap();
    let readers: Vec<_> = (0..PLACES).map(|_| gated()).collect();
    let writers: Vec<_> = (0..PLACES).map(|index| state.writer_of(index).unwrap()).collect();
    let mut pinning: Vec<_> = (0..PLACES).map(|index| state.reader_of(index).unwrap()).collect();
    let pins: Vec<_> = pinning.iter_mut().map(|reader| reader.pin().unwrap().unwrap()).collect();
    socket.write_all(b"!").unwrap();
    socket.read_exact(&mut [0]).unwrap();
    die((appenders, readers, writers, pins));
}

/// Nothing is dropped.
fn die<T>(_held: T) {
    // SAFETY: ends the process.
    unsafe { raise(SIGKILL) };
}

#[test]
fn the_places_of_the_dead_are_free() {
    let (log, state) = three_places();
    let (child, mut socket) = start(child("seats: taker"));
    log.send(&socket, Access::Append).unwrap();
    state.send(&socket, Access::Append).unwrap();
    socket.read_exact(&mut [0]).unwrap();
    let gated = || log.reader_builder().gated(true).start(Start::First);
    let mut reader = state.reader().unwrap();
    assert!(is_full(&log.appender().unwrap_err()) && is_full(&gated().unwrap_err()));
    assert!(matches!(state.writer_of(0), Err(JoinError::WriterAttached)));
    assert!(reader.pin().is_err());
    socket.write_all(b"!").unwrap();
    assert!(!finish(child, PATIENCE).success());
    let mut appenders: Vec<_> = (0..PLACES).map(|_| eventually(|| log.appender())).collect();
    assert!(appenders.iter_mut().all(|appender| appender.append(b"x").is_ok()));
    let readers: Vec<_> = (0..PLACES).map(|_| eventually(gated)).collect();
    assert_eq!(readers.len(), PLACES);
    for index in 0..PLACES {
        let mut writer = eventually(|| state.writer_of(index));
        (0..20_u64).for_each(|value| assert!(writer.publish(&value).is_ok(), "the pins are gone"));
    }
    assert_eq!(eventually(|| reader.pin().map(|pinned| pinned.unwrap().read::<u64>().unwrap())), 19);
}

/// A hub with as many clients as it takes says so; when one is gone, or dead, there is a place.
#[test]
fn a_full_hub_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("hub");
    let (log, _) = three_places();
    let hub = Hub::builder().log("log", &log).max_clients(PLACES).listen(&path, 0o600).unwrap().start().unwrap();
    let ask = |client: &mut HubClient| client.log("log", Access::Read).map(drop);
    let mut clients: Vec<_> = (0..PLACES - 1).map(|_| HubClient::connect(&path).unwrap()).collect();
    assert!(clients.iter_mut().all(|client| ask(client).is_ok()));
    let mut command = child("seats: client");
    command.env("HUB", &path);
    let (other, mut socket) = start(command);
    socket.read_exact(&mut [0]).unwrap();
    let refused = HubClient::connect(&path).and_then(|mut client| ask(&mut client));
    assert!(matches!(refused, Err(HubError::Full)), "{refused:?}");
    socket.write_all(b"!").unwrap();
    assert!(!finish(other, PATIENCE).success());
    eventually(|| HubClient::connect(&path).and_then(|mut client| ask(&mut client)));
    drop(clients.pop());
    eventually(|| HubClient::connect(&path).and_then(|mut client| ask(&mut client)));
    hub.stop().unwrap();
}

/// Takes a place at a hub, and dies with it.
pub fn client() {
    let mut client = HubClient::connect(setting::<PathBuf>("HUB")).unwrap();
    client.log("log", Access::Read).unwrap();
    let mut socket = to_parent();
    socket.write_all(b"!").unwrap();
    socket.read_exact(&mut [0]).unwrap();
    die(client);
}
