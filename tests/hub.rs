//! The hub: who gets what, and what becomes of it when somebody dies.

mod common;
mod hub_raw;

use common::{PATIENCE, child, finish, setting, succeed};
use hub_raw::alone;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use shmlog::hub::{Peer, Request, Verdict};
use shmlog::{
    Access, AppendError, Arena, Hub, HubClient, HubError, HubEvent, JoinError, Log, PassError, Role, RunningHub,
    Snapshot, Start,
};
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};
use tempfile::TempDir;

fn small() -> Log {
    Log::builder().windows(2).window_bytes(64 << 10).entries(8).create_memfd("hub").unwrap()
}

/// A directory, and a path for a socket in it.
fn place() -> (TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("hub");
    (dir, path)
}

/// A hub of one log, and a client of it.
fn serve(log: &Log, path: &Path) -> (RunningHub, HubClient) {
    let hub = Hub::builder().log("feed", log).listen(path, 0o600).unwrap().start().unwrap();
    (hub, HubClient::connect(path).unwrap())
}

/// Waits until something is true.
fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let started = Instant::now();
    while !is_so() {
        assert!(started.elapsed() < PATIENCE, "{what}: not in {PATIENCE:?}");
        thread::sleep(Duration::from_millis(1));
    }
}

/// Waits for an event of this kind; others pass.
fn await_event(hub: &RunningHub, what: &str, is_it: impl Fn(&HubEvent) -> bool) -> HubEvent {
    let events = hub.events();
    loop {
        let event = events.next_timeout(PATIENCE).unwrap_or_else(|| panic!("no event {what}"));
        if is_it(&event) {
            return event;
        }
    }
}

#[test]
fn child_entry() {
    common::enter(&[("owner", owner), ("gated", gated), ("inherits", inherits)]);
}

/// This binary again, as a client of the hub at `path`; its output is read.
fn client(role: &str, path: &Path) -> Command {
    let mut command = child(role);
    command.env("SHMLOG_TEST_HUB", path).stdin(Stdio::piped()).stdout(Stdio::piped());
    command
}

/// Waits until a child says that it is ready.
fn await_ready(child: &mut Child) {
    let lines = BufReader::new(child.stdout.as_mut().unwrap()).lines();
    let ready = lines.map(Result::unwrap).any(|line| line.ends_with("ready"));
    assert!(ready, "the child ended before it was ready");
}

/// Says that this child is ready, and waits until its parent is done with it.
fn ready() {
    println!("ready");
    std::io::stdout().flush().unwrap();
    let _ = std::io::stdin().read(&mut [0]);
}

fn shoot(mut child: Child) {
    kill(Pid::from_raw(child.id().try_into().unwrap()), Signal::SIGKILL).unwrap();
    child.wait().unwrap();
}

#[test]
fn every_access_grants_what_it_says() {
    let _alone = alone();
    let (_dir, path) = place();
    let log = small();
    log.appender().unwrap().append(b"one").unwrap();
    let (_hub, mut client) = serve(&log, &path);
    for access in [Access::Own, Access::Append, Access::Read, Access::Observe] {
        let received = client.log("feed", access).unwrap();
        assert_eq!((received.info().id, client.granted()), (log.info().id, Some(access)));
        let mut reader = received.reader(Start::First).unwrap();
        assert_eq!(reader.try_next().unwrap().unwrap().to_vec().unwrap(), b"one");
        if matches!(access, Access::Own | Access::Append) {
            drop(received.appender().unwrap());
        } else {
            assert!(matches!(received.appender(), Err(JoinError::ReadOnly)));
        }
        let gated = received.reader_builder().gated(true).start(Start::End);
        assert_eq!(gated.is_err(), access == Access::Observe);
    }
    assert!(matches!(client.log("fee", Access::Read), Err(HubError::Unknown { name }) if name == "fee"));
    assert!(matches!(client.log("", Access::Read), Err(HubError::BadName { .. })));
    let refused = client.arena("feed", Access::Read).unwrap_err();
    assert_eq!(refused.to_string(), "the hub refuses \"feed\": it is a log, not an arena");
    client.log("feed", Access::Read).expect("errors of this kind leave the connection as it is");
}

#[test]
fn arenas_and_snapshots_are_given_out_too() {
    let _alone = alone();
    let (_dir, path) = place();
    let arena = Arc::new(Arena::create_memfd("symbols", 1 << 16).unwrap());
    let name = arena.allocate_value(&7_u64).unwrap();
    let prices = Snapshot::builder().values::<u64>().names(["AAPL"]).create_memfd("prices").unwrap();
    prices.writer().unwrap().slot(0).unwrap().publish(&585_u64).unwrap();
    let hub = Hub::builder().arena("symbols", Arc::clone(&arena)).listen(&path, 0o600).unwrap().start().unwrap();
    let mut client = HubClient::connect(&path).unwrap();
    let ours = client.arena("symbols", Access::Append).unwrap();
    assert_eq!(ours.load(name).unwrap(), 7_u64);
    ours.allocate_value(&8_u64).unwrap();
    let ours = client.arena("symbols", Access::Read).unwrap();
    assert!(ours.allocate_value(&9_u64).is_err(), "read only");

    // Added while it runs, and removed.
    assert!(matches!(client.snapshot("prices", Access::Read), Err(HubError::Unknown { .. })));
    hub.add_snapshot("prices", &prices).unwrap();
    assert!(matches!(hub.add_log("prices", &small()), Err(HubError::NameTaken { .. })));
    assert!(matches!(hub.add_log("a\nb", &small()), Err(HubError::BadName { .. })));
    let ours = client.snapshot("prices", Access::Read).unwrap();
    assert_eq!(*ours.reader_of(0).unwrap().load::<u64>().unwrap().unwrap(), 585);
    assert!(ours.writer().is_err(), "read only");
    let mut again = client.snapshot("prices", Access::Own).unwrap().writer().unwrap();
    again.slot(0).unwrap().publish(&586_u64).unwrap();
    assert_eq!(*ours.reader_of(0).unwrap().load::<u64>().unwrap().unwrap(), 586);
    assert!(hub.remove("prices") && !hub.remove("prices"));
    assert!(matches!(client.snapshot("prices", Access::Read), Err(HubError::Unknown { .. })));
    hub.add_log("prices", &small()).unwrap();
    client.log("prices", Access::Read).unwrap();
    hub.stop().unwrap();
    assert!(matches!(client.log("prices", Access::Read), Err(HubError::Gone)));
}

#[test]
fn what_can_not_be_given_is_refused_in_words() {
    let _alone = alone();
    let (_dir, path) = place();
    let sealed = Log::builder().write_sealed(true).create_memfd("sealed").unwrap();
    let (_hub, mut client) = serve(&sealed, &path);
    let refused = client.log("feed", Access::Append).unwrap_err();
    assert!(matches!(&refused, HubError::Refused { reason, .. } if reason.contains("sealed")), "{refused}");
    client.log("feed", Access::Read).unwrap();
}

#[test]
fn the_policy_decides_in_its_own_words() {
    let _alone = alone();
    let (_dir, path) = place();
    let log = small();
    let policy = |peer: &Peer, request: &Request| match request.name.as_str() {
        "secret" => Verdict::Refuse(format!("not for process {}", peer.pid)),
        "less" => Verdict::Grant(Access::Observe),
        _ => Verdict::Grant(Access::Own),
    };
    let hub = Hub::builder().log("secret", &log).log("less", &log).log("more", &log).policy(policy);
    let hub = hub.listen(&path, 0o600).unwrap().start().unwrap();
    let mut client = HubClient::connect(&path).unwrap();
    let words = format!("not for process {}", std::process::id());
    let refused = client.log("secret", Access::Observe).unwrap_err();
    assert!(matches!(&refused, HubError::Refused { name, reason } if name == "secret" && *reason == words));
    let told = await_event(&hub, "refused", |event| matches!(event, HubEvent::Refused { .. }));
    assert!(matches!(told, HubEvent::Refused { name, why, .. } if name == "secret" && why == words));

    let less = client.log("less", Access::Append).unwrap();
    assert_eq!(client.granted(), Some(Access::Observe));
    assert!(matches!(less.appender(), Err(JoinError::ReadOnly)));
    let more = client.log("more", Access::Read).unwrap();
    assert_eq!(client.granted(), Some(Access::Read), "never more than was asked for");
    assert!(matches!(more.appender(), Err(JoinError::ReadOnly)));
}

#[test]
fn a_policy_that_panics_ends_the_hub_and_clients_learn_of_it() {
    let _alone = alone();
    let (_dir, path) = place();
    let hub = Hub::builder().policy(|_, _| panic!("as the test wants it")).listen(&path, 0o600).unwrap();
    let hub = hub.start().unwrap();
    let mut client = HubClient::connect(&path).unwrap();
    assert!(matches!(client.log("feed", Access::Read), Err(HubError::Gone)));
    until("it has stopped", || !hub.is_running());
    assert!(hub.events().next_timeout(PATIENCE).is_some() && hub.events().next_timeout(PATIENCE).is_none());
    succeed(hub.spawn(&mut Command::new("true")).unwrap());
    assert!(matches!(hub.stop(), Err(HubError::Stopped)));
    assert!(matches!(HubClient::connect(&path), Err(HubError::NoHub { .. })));
}

/// Owns the log, until it is killed.
fn owner() {
    let mut client = HubClient::connect(setting::<PathBuf>("SHMLOG_TEST_HUB")).unwrap();
    let log = client.log("feed", Access::Own).unwrap();
    let mut appender = log.exclusive().unwrap();
    appender.append(b"mine").unwrap();
    ready();
}

#[test]
fn one_owns_until_it_dies_or_leaves() {
    let _alone = alone();
    let (_dir, path) = place();
    let log = small();
    let (hub, mut second) = serve(&log, &path);
    let mut child = client("owner", &path).spawn().unwrap();
    await_ready(&mut child);
    let refused = second.log("feed", Access::Own).unwrap_err();
    let expected = format!("process {} owns it", child.id());
    assert!(matches!(&refused, HubError::Refused { reason, .. } if *reason == expected), "{refused}");
    second.log("feed", Access::Append).expect("who asks for less may");

    let pid = child.id();
    shoot(child);
    // It is dead for sure, and nobody has to try twice.
    let ours = second.log("feed", Access::Own).unwrap();
    drop(ours.exclusive().unwrap());
    await_event(&hub, "died", |event| matches!(event, HubEvent::Died { peer } if peer.pid == pid));

    let mut third = HubClient::connect(&path).unwrap();
    assert!(matches!(third.log("feed", Access::Own), Err(HubError::Refused { .. })));
    second.log("feed", Access::Own).expect("its own");
    drop(second);
    third.log("feed", Access::Own).expect("free when the connection ends, also for the same process");
}

/// Holds the log's oldest segment.
fn gated() {
    let mut client = HubClient::connect(setting::<PathBuf>("SHMLOG_TEST_HUB")).unwrap();
    let log = client.log("feed", Access::Read).unwrap();
    let _reader = log.reader_builder().gated(true).start(Start::Oldest).unwrap();
    if setting::<bool>("SHMLOG_TEST_KEEP") {
        ready();
    } else {
        drop(client);
        ready();
    }
}

#[test]
fn a_dead_reader_is_cleared_away_before_anybody_finds_it_in_the_way() {
    let _alone = alone();
    let (_dir, path) = place();
    let log = small();
    let (hub, _client) = serve(&log, &path);
    let mut appender = log.appender().unwrap();
    for keeps_its_connection in [true, false] {
        let mut command = client("gated", &path);
        let mut child = command.env("SHMLOG_TEST_KEEP", keeps_its_connection.to_string()).spawn().unwrap();
        await_ready(&mut child);
        while appender.append(b"x").is_ok() {}
        assert!(matches!(appender.append(b"x"), Err(AppendError::Full { .. })));
        let pid = child.id();
        let is_gated = || log.info().participants.iter().any(|one| one.who.role == Some(Role::GatedReader));
        assert!(is_gated());
        shoot(child);
        // Nobody appends meanwhile.
        until("its slot is cleared", || !is_gated());
        await_event(&hub, "died", |event| matches!(event, HubEvent::Died { peer } if peer.pid == pid));
        appender.append(b"x").unwrap();
    }
}

#[test]
fn clients_come_back_to_a_hub_that_is_restarted() {
    let _alone = alone();
    let (dir, path) = place();
    let at = dir.path().join("log");
    let log = Log::builder().create_at(&at).unwrap();
    let (hub, mut client) = serve(&log, &path);
    let ours = client.log("feed", Access::Read).unwrap();
    let mut reader = ours.reader(Start::First).unwrap();
    let mut appender = log.appender().unwrap();
    appender.append(b"before").unwrap();
    hub.stop().unwrap();
    assert!(!path.exists(), "the socket goes with the hub");
    assert!(matches!(HubClient::connect(&path), Err(HubError::NoHub { .. })));
    assert!(matches!(client.log("feed", Access::Read), Err(HubError::Gone)));
    assert!(matches!(client.log("feed", Access::Read), Err(HubError::Gone)), "for good");
    appender.append(b"between").unwrap();
    for expected in [&b"before"[..], b"between"] {
        assert_eq!(reader.try_next().unwrap().unwrap().to_vec().unwrap(), expected);
    }
    drop((appender, log));

    let waiting = {
        let path = path.clone();
        thread::spawn(move || HubClient::connect_within(path, PATIENCE).unwrap().log("feed", Access::Read).unwrap())
    };
    let log = Log::open(&at, Access::Append).unwrap();
    let (_hub, _) = serve(&log, &path);
    let again = waiting.join().unwrap();
    assert_eq!(again.info().id, ours.info().id);
    log.appender().unwrap().append(b"after").unwrap();
    assert_eq!(reader.try_next().unwrap().unwrap().to_vec().unwrap(), b"after", "the mapping of old, too");
}

/// Gets the log over the inherited connection.
fn inherits() {
    let mut client = HubClient::inherited().unwrap();
    let twice = HubClient::inherited();
    assert!(matches!(twice, Err(HubError::Pass(PassError::NotInherited { .. }))), "once per process: {twice:?}");
    assert!(matches!(shmlog::inherited(), Err(PassError::NotInherited { .. })), "and it is no log's");
    let log = client.log("feed", Access::Own).unwrap();
    log.appender().unwrap().append(b"from a worker").unwrap();
    assert!(matches!(client.log("nothing", Access::Read), Err(HubError::Unknown { .. })));
    ready();
}

#[test]
fn workers_inherit_their_connection() {
    let _alone = alone();
    let log = small();
    let hub = Hub::builder().log("feed", &log).log("own", &log).build().unwrap().start().unwrap();
    assert!(matches!(HubClient::inherited(), Err(HubError::Pass(PassError::NotInherited { .. }))));
    let mut command = child("inherits");
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut first = hub.spawn(&mut command).unwrap();
    await_ready(&mut first);
    let pid = first.id();
    let connected = await_event(&hub, "connected", |event| matches!(event, HubEvent::Connected { .. }));
    let uid = nix::unistd::geteuid().as_raw();
    assert!(
        matches!(connected, HubEvent::Connected { peer } if peer.is_inherited && (peer.pid, peer.uid) == (pid, uid))
    );

    // The second one, by the same command, is up and holds nothing of the first when that ends in good order.
    let refused = hub.spawn(&mut command).unwrap();
    await_event(&hub, "refused", |event| matches!(event, HubEvent::Refused { peer, .. } if peer.pid == refused.id()));
    drop(first.stdin.take());
    succeed(first);
    await_event(
        &hub,
        "left",
        |event| matches!(event, HubEvent::Left { peer } | HubEvent::Died { peer } if peer.pid == pid),
    );
    assert!(!finish(refused, PATIENCE).success(), "it was refused what the first one owned");
    let mut third = hub.spawn(&mut command).unwrap();
    await_ready(&mut third);
    // A log's spawn with the same command passes a log and no hub.
    let worker = log.spawn(&mut command, Access::Read).unwrap();
    assert!(!finish(worker.child, PATIENCE).success());
    drop(third.stdin.take());
    succeed(third);
    assert!(matches!(hub.spawn(&mut Command::new("/nonexistent/program")), Err(HubError::Os { .. })));
    assert_eq!(log.info().next_seq, 2);
}

#[test]
fn a_second_worker_does_not_hold_the_first_ones_connection() {
    let _alone = alone();
    let mut hub = Hub::builder().build().unwrap();
    let mut command = Command::new("cat");
    command.stdin(Stdio::piped()).stdout(Stdio::null());
    let children: Vec<_> = (0..2).map(|_| hub.spawn(&mut command).unwrap()).collect();
    assert_eq!(hub.step(PATIENCE).unwrap().len(), 2);
    for child in &children {
        let fds = std::fs::read_dir(format!("/proc/{}/fd", child.id())).unwrap();
        let names = fds.filter_map(|fd| std::fs::read_link(fd.unwrap().path()).ok());
        let sockets = names.filter(|name| name.to_string_lossy().starts_with("socket:")).count();
        assert_eq!(sockets, 1, "its own connection and no other's");
    }
    for mut child in children {
        drop(child.stdin.take());
        succeed(child);
    }
    until("both are gone", || {
        hub.step(PATIENCE).unwrap();
        hub.clients() == 0
    });
}
