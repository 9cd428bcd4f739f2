//! The hub's socket and what is said over it: modes, dead hubs, other versions, peers that speak otherwise.

mod common;
mod hub_raw;

use common::{PATIENCE, child, setting, succeed};
use hub_raw::{REPLY, alone, await_end, dial, hear, request, say, seqpacket};
use nix::sys::stat::{Mode, umask};
use rustix::net::{SocketAddrUnix, accept, bind, listen};
use shmlog::hub::DropReason;
use shmlog::{Access, Hub, HubClient, HubError, HubEvent};
use std::io::Read;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileTypeExt, PermissionsExt, symlink};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::thread;
use std::time::{Duration, Instant};
use tempfile::TempDir;

fn place() -> (TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("hub");
    (dir, path)
}

fn names_in(dir: &TempDir) -> Vec<String> {
    let entries = std::fs::read_dir(dir.path()).unwrap();
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

/// Steps until something happens.
fn step(hub: &mut Hub) -> Vec<HubEvent> {
    let started = Instant::now();
    loop {
        let events = hub.step(PATIENCE).unwrap();
        if !events.is_empty() {
            return events;
        }
        assert!(started.elapsed() < PATIENCE, "nothing happened");
    }
}

#[test]
fn child_entry() {
    common::enter(&[("masked", masked), ("hub", dead_hub)]);
}

/// The umask is the whole process's.
fn masked() {
    let (dir, path) = place();
    for mask in [0o000, 0o022, 0o077, 0o777] {
        for mode in [0o600, 0o660, 0o666, 0o777] {
            umask(Mode::from_bits_truncate(mask));
            let hub = Hub::builder().listen(&path, mode).unwrap();
            umask(Mode::from_bits_truncate(0o022));
            let found = path.symlink_metadata().unwrap();
            assert!(found.file_type().is_socket());
            assert_eq!(found.permissions().mode() & 0o7777, mode, "under {mask:o}");
            drop(hub);
            assert!(names_in(&dir).is_empty());
        }
    }
}

#[test]
fn the_mode_is_exact() {
    let _alone = alone();
    succeed(child("masked").spawn().unwrap());
}

/// A hub that is killed.
fn dead_hub() {
    let _hub = Hub::builder().listen(setting::<PathBuf>("SHMLOG_TEST_HUB"), 0o600).unwrap();
    let _ = std::io::stdin().read(&mut [0]);
}

fn leave_a_dead_hub(path: &Path) {
    let mut hub = child("hub").env("SHMLOG_TEST_HUB", path).stdin(Stdio::piped()).spawn().unwrap();
    let client = HubClient::connect_within(path, PATIENCE).unwrap();
    hub.kill().unwrap();
    hub.wait().unwrap();
    drop(client);
    assert!(matches!(HubClient::connect(path), Err(HubError::NoHub { .. })));
    assert!(path.exists());
}

#[test]
fn dead_hubs_are_replaced_and_nothing_else() {
    let _alone = alone();
    let (dir, path) = place();
    leave_a_dead_hub(&path);
    let hub = Hub::builder().listen(&path, 0o600).unwrap();
    HubClient::connect(&path).unwrap();
    let second = Hub::builder().listen(&path, 0o600);
    assert!(matches!(second, Err(HubError::InUse { .. })), "{second:?}");
    HubClient::connect(&path).unwrap();
    assert_eq!(names_in(&dir), ["hub"]);

    // Somebody else's socket stays when the first hub goes.
    std::fs::remove_file(&path).unwrap();
    let other = Hub::builder().listen(&path, 0o600).unwrap();
    drop(hub);
    HubClient::connect(&path).unwrap();
    drop(other);
    assert!(!path.exists());

    let in_use = |what: &str| {
        let refused = Hub::builder().listen(&path, 0o600);
        assert!(matches!(refused, Err(HubError::InUse { .. })), "{what}: {refused:?}");
        assert!(path.symlink_metadata().is_ok(), "{what} is still there");
    };
    std::fs::write(&path, "data").unwrap();
    in_use("a file");
    assert!(matches!(HubClient::connect(&path), Err(HubError::NoHub { .. })));
    std::fs::remove_file(&path).unwrap();
    let elsewhere = dir.path().join("elsewhere");
    leave_a_dead_hub(&elsewhere);
    symlink(&elsewhere, &path).unwrap();
    in_use("a symbolic link");
    std::fs::remove_file(&path).unwrap();
    let _stream = UnixListener::bind(&path).unwrap();
    in_use("a stream socket");
    assert!(matches!(HubClient::connect(&path), Err(HubError::Foreign { .. })));

    let missing = Hub::builder().listen(dir.path().join("no/such"), 0o600);
    assert!(matches!(missing, Err(HubError::NoDirectory { .. })), "{missing:?}");
    let long = Hub::builder().listen(dir.path().join("x".repeat(200)), 0o600);
    assert!(matches!(long, Err(HubError::Os { .. })), "{long:?}");
}

#[test]
fn of_many_that_find_a_dead_hub_one_takes_its_place() {
    let _alone = alone();
    let (dir, path) = place();
    for round in 0..20 {
        leave_a_dead_hub(&path);
        let hubs: Vec<_> = thread::scope(|scope| {
            let start = || scope.spawn(|| Hub::builder().listen(&path, 0o600));
            let threads: Vec<_> = (0..8).map(|_| start()).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        let (live, refused): (Vec<_>, Vec<_>) = hubs.into_iter().partition(Result::is_ok);
        assert_eq!(live.len(), 1, "round {round}");
        assert!(refused.iter().all(|refused| matches!(refused, Err(HubError::InUse { .. }))), "{refused:?}");
        HubClient::connect(&path).unwrap();
        assert_eq!(names_in(&dir), ["hub"], "no drafts are left");
    }
}

#[test]
fn an_old_client_and_a_new_one_are_told_the_version() {
    let _alone = alone();
    let (_dir, path) = place();
    let mut hub = Hub::builder().listen(&path, 0o600).unwrap();
    for (theirs, len) in [(0_u8, 12), (2, 88), (9, 500)] {
        let socket = dial(&path).unwrap();
        let mut other = request("feed");
        other[8] = theirs;
        other.resize(len, 0);
        say(&socket, &other, &[]).unwrap();
        step(&mut hub);
        let events = step(&mut hub);
        let why = DropReason::Version { theirs: theirs.into(), ours: 1 };
        assert!(matches!(&events[..], [HubEvent::Dropped { why: found, .. }] if *found == why), "{events:?}");
        let reply = hear(&socket).unwrap();
        assert_eq!((&reply[..8], &reply[8..16]), (&b"SHMHUBRE"[..], &[1, 0, 0, 0, 4, 0, 0, 0][..]));
        await_end(&socket);
    }
}

/// Answers the first request over each connection with these bytes, and ends.
fn fake_hub(path: &Path, replies: Vec<Vec<u8>>) -> thread::JoinHandle<Vec<OwnedFd>> {
    let socket = seqpacket();
    bind(&socket, &SocketAddrUnix::new(path).unwrap()).unwrap();
    listen(&socket, 8).unwrap();
    thread::spawn(move || {
        let answer = |reply: Vec<u8>| {
            let client = accept(&socket).unwrap();
            hear(&client).unwrap();
            say(&client, &reply, &[]).unwrap();
            client
        };
        replies.into_iter().map(answer).collect()
    })
}

#[test]
fn a_client_makes_sense_of_other_hubs() {
    let _alone = alone();
    let (_dir, path) = place();
    let reply = |outcome: u8, access: u8| {
        let mut reply = b"SHMHUBRE\x01\0\0\0".to_vec();
        reply.extend([outcome, 0, 0, 0, access, 0, 0, 0]);
        reply.resize(REPLY, 0);
        reply
    };
    let mut newer = reply(0, 1);
    newer[8] = 7;
    newer.resize(2000, 0);
    let long = [reply(1, 1), vec![0]].concat();
    let replies = [newer, long, reply(9, 1), reply(1, 77), reply(0, 1), reply(3, 1), b"HTTP/1.1".to_vec()];
    let fake = fake_hub(&path, replies.to_vec());
    let ask = || {
        let mut client = HubClient::connect(&path).unwrap();
        let answer = client.log("feed", Access::Read).unwrap_err();
        (answer, client)
    };
    assert!(matches!(ask().0, HubError::Version { theirs: 7, ours: 1 }));
    for _ in 0..3 {
        let (error, mut client) = ask();
        assert!(matches!(error, HubError::Foreign { .. }), "{error}");
        assert!(matches!(client.log("feed", Access::Read), Err(HubError::Gone)), "it is not tried again");
    }
    assert!(matches!(ask().0, HubError::Pass(_)), "granted, and no offer");
    assert!(matches!(ask().0, HubError::Full));
    assert!(matches!(ask().0, HubError::Foreign { .. }));
    fake.join().unwrap();
}

#[test]
fn a_silent_hub_is_given_up() {
    let _alone = alone();
    let (_dir, path) = place();
    let socket = seqpacket();
    bind(&socket, &SocketAddrUnix::new(&path).unwrap()).unwrap();
    listen(&socket, 8).unwrap();
    let mut client = HubClient::connect(&path).unwrap();
    client.set_patience(Duration::from_millis(10));
    let silent = client.log("feed", Access::Read);
    assert!(matches!(silent, Err(HubError::Timeout { waited_ms: 10.. })), "{silent:?}");
    assert!(matches!(client.log("feed", Access::Read), Err(HubError::Gone)), "its answer may come yet");
}
