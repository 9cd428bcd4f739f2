//! Clients that do other than they should: what the hub does about them, and about other users.

mod common;
mod hub_raw;

use common::{PATIENCE, finish, setting, succeed};
use hub_raw::{REPLY, alone, await_end, dial, hear, hear_all, request, say};
use shmlog::hub::{DropReason, Verdict};
use shmlog::{Access, Hub, HubClient, HubError, HubEvent, Log, RunningHub, Start};
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};
use tempfile::TempDir;

fn place() -> (TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("hub");
    (dir, path)
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
    common::enter(&[("crowd", crowd), ("stranger", stranger)]);
}

#[test]
fn who_does_not_speak_the_protocol_is_dropped_at_once() {
    let _alone = alone();
    let (_dir, path) = place();
    let log = Log::builder().create_memfd("feed").unwrap();
    let mut hub = Hub::builder().log("feed", &log).listen(&path, 0o600).unwrap();
    let with = |at: usize, byte: u8| {
        let mut bytes = request("feed");
        bytes[at] = byte;
        bytes
    };
    let long = [request("feed"), vec![0]].concat();
    let garbage = [
        vec![],
        vec![0],
        vec![0xFF; 88],
        request("feed")[..87].to_vec(),
        long,
        vec![0; 100_000],
        with(0, b'X'),
        with(12, 0),
        with(16, 9),
        with(24, 0),
        with(24, 0xFF),
        with(24, b'\n'),
        with(87, 1),
    ];
    for bytes in garbage {
        let socket = dial(&path).unwrap();
        say(&socket, &bytes, &[]).unwrap();
        assert!(matches!(&step(&mut hub)[..], [HubEvent::Connected { .. }]));
        let events = step(&mut hub);
        let is_garbage = matches!(&events[..], [HubEvent::Dropped { why: DropReason::Garbage { .. }, .. }]);
        assert!(is_garbage, "{} bytes: {events:?}", bytes.len());
        assert!(hear(&socket).is_ok_and(|message| message.is_empty()), "closed without a word");
    }
    // Asks and asks, and reads nothing.
    let socket = dial(&path).unwrap();
    for _ in 0..5 {
        say(&socket, &request("feed"), &[]).unwrap();
    }
    step(&mut hub);
    assert!(matches!(&step(&mut hub)[..], [HubEvent::Granted { .. }]));
    assert!(matches!(&step(&mut hub)[..], [HubEvent::Dropped { why: DropReason::Flooding, .. }]));
    // Asks, and closes its half: it is answered.
    let socket = dial(&path).unwrap();
    say(&socket, &request("feed"), &[]).unwrap();
    rustix::net::shutdown(&socket, rustix::net::Shutdown::Write).unwrap();
    step(&mut hub);
    assert!(matches!(&step(&mut hub)[..], [HubEvent::Granted { .. }]));
    assert!(matches!(&step(&mut hub)[..], [HubEvent::Left { .. }]));
    assert_eq!(hear(&socket).unwrap().len(), REPLY);
    assert_eq!(hub.clients(), 0);
}

#[test]
fn who_is_granted_nothing_for_long_is_dropped() {
    let _alone = alone();
    let (_dir, path) = place();
    let log = Log::builder().create_memfd("feed").unwrap();
    let builder = Hub::builder().log("feed", &log).patience(Duration::from_millis(50));
    let policy = |_: &_, request: &shmlog::hub::Request| match request.name.as_str() {
        "feed" => Verdict::Grant(Access::Read),
        _ => Verdict::Refuse("no".to_owned()),
    };
    let mut hub = builder.policy(policy).listen(&path, 0o600).unwrap();
    let (silent, refused, served) = (dial(&path).unwrap(), dial(&path).unwrap(), dial(&path).unwrap());
    say(&refused, &request("other"), &[]).unwrap();
    say(&served, &request("feed"), &[]).unwrap();
    let mut dropped = 0;
    while dropped < 2 {
        for event in step(&mut hub) {
            assert!(!matches!(event, HubEvent::Left { .. } | HubEvent::Died { .. }));
            dropped += usize::from(matches!(event, HubEvent::Dropped { why: DropReason::Silent, .. }));
        }
    }
    assert_eq!(hub.clients(), 1);
    for socket in [&silent, &refused] {
        await_end(socket);
    }
    let started = Instant::now();
    while started.elapsed() < Duration::from_millis(100) {
        assert!(hub.step(Duration::from_millis(10)).unwrap().is_empty(), "who was served may be silent");
    }
    hear(&served).unwrap();
    say(&served, &request("feed"), &[]).unwrap();
    assert!(matches!(&step(&mut hub)[..], [HubEvent::Granted { .. }]));
}

#[test]
fn who_finds_no_place_is_told() {
    let _alone = alone();
    let (_dir, path) = place();
    let log = Log::builder().create_memfd("feed").unwrap();
    let hub = Hub::builder().log("feed", &log).max_clients(2).listen(&path, 0o600).unwrap().start().unwrap();
    let mut clients: Vec<_> = (0..2).map(|_| HubClient::connect(&path).unwrap()).collect();
    clients.iter_mut().for_each(|client| drop(client.log("feed", Access::Read).unwrap()));
    for _ in 0..10 {
        let mut third = HubClient::connect(&path).unwrap();
        let told = third.log("feed", Access::Read);
        assert!(matches!(told, Err(HubError::Full)), "{told:?}");
    }
    // A worker that the hub starts has a place all the same.
    let mut worker = hub.spawn(Command::new("cat").stdin(Stdio::piped())).unwrap();
    drop(worker.stdin.take());
    succeed(worker);
    clients.pop();
    let started = Instant::now();
    while HubClient::connect(&path).unwrap().log("feed", Access::Read).is_err() {
        assert!(started.elapsed() < PATIENCE);
    }
}

#[test]
fn what_an_owner_left_is_free_in_the_same_round() {
    let _alone = alone();
    let (_dir, path) = place();
    let log = Log::builder().create_memfd("feed").unwrap();
    let mut hub = Hub::builder().log("feed", &log).listen(&path, 0o600).unwrap();
    let mut owning = request("feed");
    owning[16] = 3;
    let (first, second) = (dial(&path).unwrap(), dial(&path).unwrap());
    step(&mut hub);
    say(&second, &owning, &[]).unwrap();
    assert!(matches!(&step(&mut hub)[..], [HubEvent::Granted { access: Access::Own, .. }]));
    say(&first, &owning, &[]).unwrap();
    let words = format!("process {} owns it", std::process::id());
    assert!(matches!(&step(&mut hub)[..], [HubEvent::Refused { why, .. }] if *why == words));
    hear(&first).unwrap();
    say(&first, &owning, &[]).unwrap();
    drop(second);
    // The first one's request is looked at before the second one's end.
    let events = step(&mut hub);
    assert!(matches!(&events[..], [HubEvent::Granted { .. }, HubEvent::Left { .. }]), "{events:?}");
    hear(&first).unwrap();
    let third = dial(&path).unwrap();
    step(&mut hub);
    say(&third, &owning, &[]).unwrap();
    assert!(matches!(&step(&mut hub)[..], [HubEvent::Refused { .. }]), "the end of the second one freed nothing more");
}

/// Descriptors in a reply that nobody reads count against the hub's user, whatever became of the connection. A
/// client that asked twice and read nothing was dropped, and its place was free for the next such client.
#[test]
fn who_does_not_read_keeps_its_place_and_gets_no_other() {
    let _alone = alone();
    let (_dir, path) = place();
    let log = Log::builder().create_memfd("feed").unwrap();
    let mut hub = Hub::builder().log("feed", &log).max_clients(4).listen(&path, 0o600).unwrap();
    let hoarders: Vec<_> = (0..4).map(|_| dial(&path).unwrap()).collect();
    step(&mut hub);
    for (number, hoarder) in hoarders.iter().enumerate() {
        say(hoarder, &request("feed"), &[]).unwrap();
        assert!(matches!(&step(&mut hub)[..], [HubEvent::Granted { .. }]));
        if number % 2 == 0 {
            say(hoarder, &request("feed"), &[]).unwrap();
            assert!(matches!(&step(&mut hub)[..], [HubEvent::Dropped { why: DropReason::Flooding, .. }]));
        } else {
            rustix::net::shutdown(hoarder, rustix::net::Shutdown::Write).unwrap();
            assert!(matches!(&step(&mut hub)[..], [HubEvent::Left { .. }]));
        }
    }
    assert_eq!(hub.clients(), 0);
    let late = dial(&path).unwrap();
    assert!(matches!(&step(&mut hub)[..], [HubEvent::Dropped { why: DropReason::Full, .. }]));
    // One reads, and one closes: two places are free.
    assert_eq!(hear(&hoarders[0]).unwrap().len(), REPLY);
    await_end(&hoarders[0]);
    drop((late, hoarders.into_iter().skip(1).step_by(2).next()));
    let _two = [dial(&path).unwrap(), dial(&path).unwrap()];
    assert!(matches!(&step(&mut hub)[..], [HubEvent::Connected { .. }, HubEvent::Connected { .. }]));
}

/// The hub shared its open file descriptions with its clients: a lock that one took on them outlived it.
#[test]
fn what_a_client_locked_is_free_when_it_is_gone() {
    let _alone = alone();
    use nix::fcntl::{FcntlArg, fcntl};
    let (_dir, path) = place();
    let log = Log::builder().create_memfd("feed").unwrap();
    let _hub = Hub::builder().log("feed", &log).listen(&path, 0o600).unwrap().start().unwrap();
    let hostile = dial(&path).unwrap();
    let mut appending = request("feed");
    appending[16] = 0;
    say(&hostile, &appending, &[]).unwrap();
    let (_, fds) = hear_all(&hostile).unwrap();
    assert_eq!(fds.len(), 3);
    let whole = nix::libc::flock {
        l_type: nix::libc::F_WRLCK.try_into().unwrap(),
        l_whence: 0,
        l_start: 0,
        l_len: 0,
        l_pid: 0,
    };
    for fd in &fds[1..] {
        fcntl(fd, FcntlArg::F_OFD_SETLK(&whole)).unwrap();
    }
    assert!(log.exclusive().is_err() && log.reader_builder().gated(true).start(Start::First).is_err());
    drop(fds);
    drop(common::eventually(|| log.reader_builder().gated(true).start(Start::First)));
    drop(common::eventually(|| log.exclusive()));
}

/// As another user: takes the places it can have.
fn crowd() {
    let path: PathBuf = setting("SHMLOG_TEST_HUB");
    let mut clients: Vec<_> = (0..6).map(|_| HubClient::connect(&path).unwrap()).collect();
    let answers: Vec<_> = clients.iter_mut().map(|client| client.log("feed", Access::Read).unwrap_err()).collect();
    assert!(answers[..2].iter().all(|error| matches!(error, HubError::Refused { .. })), "{answers:?}");
    assert!(answers[2..].iter().all(|error| matches!(error, HubError::Full)), "{answers:?}");
    let mut ours = HubClient::connect(&path).unwrap();
    let told = ours.log("feed", Access::Read);
    assert!(matches!(told, Err(HubError::Full)), "{told:?}");
    println!("ready");
    let _ = std::io::stdin().read(&mut [0]);
}

#[test]
fn other_users_take_half_of_the_places_at_most() {
    let _alone = alone();
    use std::io::{BufRead, BufReader};
    if !common::is_root() {
        return common::skip("other users", "only root can start processes of others");
    }
    let (dir, path) = place();
    std::fs::set_permissions(dir.path(), PermissionsExt::from_mode(0o755)).unwrap();
    let program = dir.path().join("crowd");
    std::fs::copy(std::env::current_exe().unwrap(), &program).unwrap();
    let log = Log::builder().create_memfd("feed").unwrap();
    let _hub = Hub::builder().log("feed", &log).max_clients(4).listen(&path, 0o666).unwrap().start().unwrap();
    let mut command = Command::new(&program);
    command.args(["child_entry", "--exact", "--nocapture"]).uid(65534).gid(65534).current_dir("/");
    command.env("SHMLOG_TEST_ROLE", "crowd").env("SHMLOG_TEST_HUB", &path);
    let mut crowd = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(crowd.stdout.take().unwrap()).lines();
    assert!(lines.by_ref().any(|line| line.unwrap().ends_with("ready")));
    let reading = thread::spawn(move || lines.for_each(drop));
    let mut clients: Vec<_> = (0..2).map(|_| HubClient::connect(&path).unwrap()).collect();
    clients.iter_mut().for_each(|client| drop(client.log("feed", Access::Read).unwrap()));
    drop(crowd.stdin.take());
    assert!(finish(crowd, PATIENCE).success());
    reading.join().unwrap();
}

#[test]
fn nobody_has_to_listen_to_events() {
    let _alone = alone();
    let (_dir, path) = place();
    let hub = Hub::builder().listen(&path, 0o600).unwrap().start().unwrap();
    for _ in 0..3000 {
        drop(dial(&path).unwrap());
    }
    let events = hub.events();
    let started = Instant::now();
    while events.missed() == 0 {
        assert!(started.elapsed() < PATIENCE);
        thread::yield_now();
    }
    hub.stop().unwrap();
    assert_eq!(std::iter::from_fn(|| events.try_next()).count(), 4096);
    assert!(events.next_timeout(PATIENCE).is_none(), "at once: it has stopped");
}

/// As another user: what it is told.
fn stranger() {
    let path: PathBuf = setting("SHMLOG_TEST_HUB");
    let Ok(mut client) = HubClient::connect(&path).inspect_err(|error| {
        assert!(matches!(error, HubError::Denied { .. }), "{error}");
    }) else {
        std::process::exit(13);
    };
    let refused = client.log("feed", Access::Observe).unwrap_err();
    assert!(matches!(&refused, HubError::Refused { reason, .. } if reason.contains("HubBuilder::policy")), "{refused}");
    std::process::exit(14);
}

#[test]
fn other_users_are_kept_out_by_the_mode_and_by_the_policy() {
    let _alone = alone();
    if !common::is_root() {
        return common::skip("other users", "only root can start processes of others");
    }
    let (dir, path) = place();
    std::fs::set_permissions(dir.path(), PermissionsExt::from_mode(0o755)).unwrap();
    // Where this binary is that user may not be able to look.
    let program = dir.path().join("stranger");
    std::fs::copy(std::env::current_exe().unwrap(), &program).unwrap();
    std::fs::set_permissions(&program, PermissionsExt::from_mode(0o755)).unwrap();
    let log = Log::builder().create_memfd("feed").unwrap();
    for (mode, expected) in [(0o600, 13), (0o660, 13), (0o666, 14)] {
        let hub = Hub::builder().log("feed", &log).listen(&path, mode).unwrap().start().unwrap();
        let mut command = Command::new(&program);
        command.args(["child_entry", "--exact", "--nocapture"]).uid(65534).gid(65534).current_dir("/");
        command.env("SHMLOG_TEST_ROLE", "stranger").env("SHMLOG_TEST_HUB", &path).stdout(Stdio::null());
        let status = finish(command.spawn().unwrap(), PATIENCE);
        assert_eq!(status.code(), Some(expected), "mode {mode:o}");
        if expected == 14 {
            let event = await_event(&hub, "refused", |event| matches!(event, HubEvent::Refused { .. }));
            assert!(matches!(event, HubEvent::Refused { peer, .. } if (peer.uid, peer.gid) == (65534, 65534)));
        }
    }
}
