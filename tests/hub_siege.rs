//! Hubs under clients that mean ill, and without descriptors: honest clients are served, nothing is left behind.

mod common;
mod hub_raw;

use common::{PATIENCE, child, setting, succeed};
use hub_raw::{alone, dial, hear, open_fds, request, say};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use rustix::io::Errno;
use rustix::net::{Shutdown, shutdown};
use shmlog::hub::DropReason;
use shmlog::{Access, Hub, HubClient, HubError, HubEvent, Log, RunningHub, Start};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// Misbehaving clients in all.
const CROWD: usize = 200;
/// Of them in processes of their own, which are killed at any instruction.
const PROCESSES: usize = 40;

fn place() -> (TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("hub");
    (dir, path)
}

fn small() -> Log {
    Log::builder().windows(2).window_bytes(64 << 10).entries(8).create_memfd("siege").unwrap()
}

#[test]
fn child_entry() {
    common::enter(&[("wild", wild), ("poor", poor)]);
}

/// A way to be a bad client, over one connection. It may fail anywhere.
type Way = fn(&Path, &AtomicBool) -> Option<()>;
const WAYS: [(&str, Way); 10] = [
    ("silent", silent),
    ("garbage", garbage),
    ("oversize", oversize),
    ("empty", empty),
    ("sends descriptors", sends_descriptors),
    ("floods, reads nothing", floods),
    ("floods, reads", floods_and_reads),
    ("closes half", closes_half),
    ("asks and goes", asks_and_goes),
    ("goes", goes),
];

fn silent(path: &Path, _: &AtomicBool) -> Option<()> {
    let socket = dial(path).ok()?;
    // Until it is dropped.
    hear(&socket).ok().map(drop)
}

fn garbage(path: &Path, _: &AtomicBool) -> Option<()> {
    let socket = dial(path).ok()?;
    say(&socket, &common::payload(1, 2, 88), &[]).ok()?;
    hear(&socket).ok().map(drop)
}

fn oversize(path: &Path, _: &AtomicBool) -> Option<()> {
    let socket = dial(path).ok()?;
    say(&socket, &vec![b'S'; 100_000], &[]).ok()?;
    hear(&socket).ok().map(drop)
}

fn empty(path: &Path, _: &AtomicBool) -> Option<()> {
    let socket = dial(path).ok()?;
    say(&socket, &[], &[]).ok()?;
    hear(&socket).ok().map(drop)
}

fn sends_descriptors(path: &Path, _: &AtomicBool) -> Option<()> {
    let socket = dial(path).ok()?;
    let null = File::open("/dev/null").unwrap();
    let fds = [null.as_fd(), socket.as_fd(), null.as_fd(), socket.as_fd()];
    // Refused by the kernel, if that is new enough.
    let _ = say(&socket, &request("feed"), &fds);
    let _ = say(&socket, &[1], &fds);
    say(&socket, &request("feed"), &[]).ok()?;
    hear(&socket).ok().map(drop)
}

fn floods(path: &Path, _: &AtomicBool) -> Option<()> {
    let socket = dial(path).ok()?;
    // Until it is dropped.
    while matches!(say(&socket, &request("feed"), &[]), Ok(_) | Err(Errno::AGAIN)) {
        thread::yield_now();
    }
    Some(())
}

fn floods_and_reads(path: &Path, is_over: &AtomicBool) -> Option<()> {
    let socket = dial(path).ok()?;
    for _ in 0..2_000 {
        say(&socket, &request("feed"), &[]).ok()?;
        hear(&socket).ok().filter(|reply| !reply.is_empty() && !is_over.load(Relaxed))?;
    }
    Some(())
}

fn closes_half(path: &Path, _: &AtomicBool) -> Option<()> {
    let socket = dial(path).ok()?;
    shutdown(&socket, Shutdown::Read).ok()?;
    say(&socket, &request("feed"), &[]).ok()?;
    shutdown(&socket, Shutdown::Write).ok()?;
    hear(&socket).ok().map(drop)
}

fn asks_and_goes(path: &Path, _: &AtomicBool) -> Option<()> {
    let socket = dial(path).ok()?;
    say(&socket, &request("feed"), &[]).ok().map(drop)
}

fn goes(path: &Path, _: &AtomicBool) -> Option<()> {
    dial(path).ok().map(drop)
}

/// One of them for ever: its parent kills it.
fn wild() {
    let (path, way): (PathBuf, usize) = (setting("SHMLOG_TEST_HUB"), setting("SHMLOG_TEST_WAY"));
    loop {
        WAYS[way].1(&path, &AtomicBool::new(false));
    }
}

/// One of them until the siege is over.
fn besiege(path: &Path, way: usize, is_over: &AtomicBool, done: &AtomicU64) {
    while !is_over.load(Relaxed) {
        WAYS[way].1(path, is_over);
        done.fetch_add(1, Relaxed);
    }
}

/// Starts processes and kills them, until the siege is over. Returns how many.
fn raid(path: &Path, is_over: &AtomicBool) -> usize {
    let start = |way: usize| -> Child {
        let mut command = child("wild");
        command.env("SHMLOG_TEST_HUB", path).env("SHMLOG_TEST_WAY", (way % WAYS.len()).to_string());
        command.spawn().unwrap()
    };
    let mut crew: Vec<_> = (0..PROCESSES).map(start).collect();
    let mut killed = 0;
    while !is_over.load(Relaxed) || killed < PROCESSES {
        let mut victim = crew.remove(0);
        victim.kill().unwrap();
        victim.wait().unwrap();
        killed += 1;
        crew.push(start(killed));
    }
    for mut one in crew {
        one.kill().unwrap();
        one.wait().unwrap();
        killed += 1;
    }
    killed
}

/// What an honest client saw.
#[derive(Debug, Default)]
struct Honest {
    asked: usize,
    new: usize,
    /// How often the hub was full for a new one.
    full: usize,
    slowest: Duration,
}

/// Asks again and again over one connection, and now and then over a new one.
fn be_honest(log: &Log, path: &Path) -> Honest {
    let mut client = HubClient::connect_within(path, PATIENCE).unwrap();
    client.set_patience(PATIENCE);
    let mut seen = Honest::default();
    let started = Instant::now();
    while seen.asked < 300 || started.elapsed() < Duration::from_secs(4) {
        let access = [Access::Own, Access::Append, Access::Read, Access::Observe][seen.asked % 4];
        let asking = Instant::now();
        let ours = client.log("feed", access).unwrap_or_else(|error| panic!("request {}: {error}", seen.asked));
        assert_eq!(ours.info().id, log.info().id);
        seen.slowest = seen.slowest.max(asking.elapsed());
        seen.asked += 1;
        if seen.asked % 10 == 0 {
            let mut fresh = HubClient::connect_within(path, PATIENCE).unwrap();
            fresh.set_patience(PATIENCE);
            match fresh.log("feed", Access::Read) {
                Ok(_) => seen.new += 1,
                Err(HubError::Full) => seen.full += 1,
                Err(error) => panic!("a new client: {error}"),
            }
        }
    }
    seen
}

/// What kind of event it is.
fn kind(event: &HubEvent) -> String {
    match event {
        HubEvent::Dropped { why: DropReason::Garbage { .. }, .. } => "dropped: garbage".to_owned(),
        HubEvent::Dropped { why, .. } => format!("dropped: {why:?}").to_lowercase(),
        other => format!("{other:?}").split(' ').next().unwrap_or_default().to_lowercase(),
    }
}

fn count_events(hub: &RunningHub, counts: &mut BTreeMap<String, u64>, is_over: &AtomicBool) {
    let events = hub.events();
    while !is_over.load(Relaxed) {
        while let Some(event) = events.next_timeout(Duration::from_millis(10)) {
            *counts.entry(kind(&event)).or_default() += 1;
        }
    }
}

fn children() -> String {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap();
    tasks.filter_map(|task| std::fs::read_to_string(task.unwrap().path().join("children")).ok()).collect()
}

#[test]
fn two_hundred_bad_clients_do_not_keep_one_from_being_served() {
    let _alone = alone();
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    setrlimit(Resource::RLIMIT_NOFILE, most.min(8192), most).unwrap();
    let (_dir, path) = place();
    let log = small();
    let builder = Hub::builder().log("feed", &log).patience(Duration::from_millis(300));
    let hub = builder.listen(&path, 0o600).unwrap().start().unwrap();
    drop(HubClient::connect(&path).unwrap().log("feed", Access::Read).unwrap());
    let events = hub.events();
    while !matches!(events.next_timeout(PATIENCE).expect("the client has left"), HubEvent::Left { .. }) {}
    let before = open_fds();

    let (is_over, is_counted) = (AtomicBool::new(false), AtomicBool::new(false));
    let done: Vec<_> = WAYS.iter().map(|_| AtomicU64::new(0)).collect();
    let mut counts = BTreeMap::new();
    let (honest, killed) = thread::scope(|scope| {
        let counting = scope.spawn(|| count_events(&hub, &mut counts, &is_counted));
        let raiding = scope.spawn(|| raid(&path, &is_over));
        let crowd: Vec<_> = (0..CROWD - PROCESSES)
            .map(|number| {
                let (path, is_over, done) = (&path, &is_over, &done);
                let way = number % WAYS.len();
                scope.spawn(move || besiege(path, way, is_over, &done[way]))
            })
            .collect();
        let honest = be_honest(&log, &path);
        is_over.store(true, Relaxed);
        crowd.into_iter().for_each(|one| one.join().unwrap());
        let killed = raiding.join().unwrap();
        is_counted.store(true, Relaxed);
        counting.join().unwrap();
        (honest, killed)
    });

    let done: Vec<_> = WAYS.iter().zip(&done).map(|((name, _), done)| format!("{name}: {done:?}")).collect();
    println!("{honest:?}");
    println!("connections by threads: {}", done.join(", "));
    println!("processes killed: {killed}; events: {counts:?}, missed {}", hub.events().missed());
    let started = Instant::now();
    while open_fds() != before && started.elapsed() < PATIENCE {
        thread::sleep(Duration::from_millis(10));
    }
    println!("descriptors before and after: {before}, {}", open_fds());
    assert_eq!(open_fds(), before);
    assert_eq!(children().trim(), "", "no child is left, dead or alive");
    let mut client = HubClient::connect(&path).unwrap();
    let ours = client.log("feed", Access::Own).unwrap();
    ours.exclusive().unwrap().append(b"still here").unwrap();
    assert!(ours.reader(Start::First).unwrap().try_next().unwrap().is_some());
    hub.stop().unwrap();
}

/// A hub that has no descriptors left when its parent says so.
fn poor() {
    setrlimit(Resource::RLIMIT_NOFILE, 64, 64).unwrap();
    let path: PathBuf = setting("SHMLOG_TEST_HUB");
    let log = small();
    let arena = std::sync::Arc::new(shmlog::Arena::create_memfd("symbols", 1 << 16).unwrap());
    let builder = Hub::builder().log("feed", &log).arena("symbols", arena);
    let hub = builder.listen(&path, 0o600).unwrap().start().unwrap();
    let mut hoard = Vec::new();
    for line in std::io::stdin().lines() {
        match line.unwrap().as_str() {
            "hoard" => hoard.extend(std::iter::from_fn(|| File::open("/dev/null").ok())),
            "spend" => hoard.clear(),
            other => panic!("{other}"),
        }
        println!("done");
        std::io::stdout().flush().unwrap();
    }
    assert!(hub.is_running());
    let starved = hub.spawn(&mut Command::new("true"));
    assert!(hoard.is_empty() && starved.is_ok());
    succeed(starved.unwrap());
    hub.stop().unwrap();
}

#[test]
fn a_hub_without_descriptors_serves_those_it_has() {
    let _alone = alone();
    let (_dir, path) = place();
    let mut command = child("poor");
    let mut hub = command.env("SHMLOG_TEST_HUB", &path).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(hub.stdout.take().unwrap()).lines();
    let mut stdin = hub.stdin.take().unwrap();
    let mut tell = |what: &str| {
        writeln!(stdin, "{what}").unwrap();
        assert!(lines.by_ref().any(|line| line.unwrap().ends_with("done")));
    };
    let mut honest = HubClient::connect_within(&path, PATIENCE).unwrap();
    let ask = |honest: &mut HubClient| {
        for access in [Access::Own, Access::Append, Access::Read, Access::Observe] {
            honest.log("feed", access).unwrap();
            honest.arena("symbols", access).unwrap();
        }
    };
    ask(&mut honest);

    // More clients than it has descriptors for.
    let mut crowd: Vec<_> = (0..100).map(|_| HubClient::connect_within(&path, PATIENCE).unwrap()).collect();
    let (mut served, mut full) = (0, 0);
    for client in &mut crowd {
        match client.log("feed", Access::Observe) {
            Ok(_) => served += 1,
            Err(HubError::Full) => full += 1,
            Err(error) => panic!("{error}"),
        }
        ask(&mut honest);
    }
    println!("64 descriptors, 100 clients: {served} served, {full} told that it is full");
    assert!(served >= 10 && full >= 10);
    drop(crowd);
    // Served in a round that has seen them go.
    ask(&mut honest);

    // None at all, but for its reserve.
    tell("hoard");
    for _ in 0..20 {
        ask(&mut honest);
        let mut late = HubClient::connect(&path).unwrap();
        assert!(matches!(late.log("feed", Access::Read), Err(HubError::Full)));
    }
    tell("spend");
    HubClient::connect(&path).unwrap().log("feed", Access::Append).unwrap();
    drop(stdin);
    // Its output is read to the end.
    lines.for_each(drop);
    succeed(hub);
}
