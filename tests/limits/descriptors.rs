//! RLIMIT_NOFILE, at every descriptor that something takes.

use crate::alone::{Traces, alone, errno_of, with_limit};
use crate::common::{self, PATIENCE, mounted, setting, start, succeed, to_parent};
use nix::libc::EMFILE;
use nix::sys::resource::Resource;
use shmlog::{
    Access, AppendError, Arena, CreateError, Hub, HubClient, HubError, HugePageSize, HugePages, Log, PassError,
    Replica, Retention, Snapshot, Start,
};
use std::error::Error;
use std::fs::File;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::PathBuf;
use std::process::Command;
use tempfile::TempDir;

#[test]
fn whatever_is_opened_says_that_descriptors_are_short() {
    alone("descriptors");
}

/// Who had no descriptors for what was sent did not answer, and its sender waited for ten seconds.
#[test]
fn a_receiver_without_descriptors_answers() {
    let (sender, socket) = start(common::child("descriptors: sender"));
    let mut receiver = common::child("descriptors: receiver");
    let receiver = receiver.stdin(OwnedFd::from(socket)).spawn().unwrap();
    succeed(receiver);
    succeed(sender);
}

#[test]
fn a_hubs_client_without_descriptors_connects_again() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("hub");
    let mut command = common::child("descriptors: hub");
    command.env("HUB", &path);
    let (hub, socket) = start(command);
    succeed(common::child("descriptors: client").env("HUB", &path).spawn().unwrap());
    drop(socket);
    succeed(hub);
}

/// Leaves no gap among the descriptors, so that a limit counts exactly.
fn fill_gaps() -> Vec<File> {
    let highest = std::fs::read_dir("/proc/self/fd").unwrap();
    let highest = highest.map(|entry| entry.unwrap().file_name().to_str().unwrap().parse::<i32>().unwrap()).max();
    let mut fillers: Vec<_> = (0..1000).map(|_| File::open("/dev/null").unwrap()).collect();
    fillers.retain(|filler| Some(filler.as_raw_fd()) <= highest);
    fillers
}

fn is_short(error: &(dyn Error + 'static)) -> bool {
    errno_of(error) == Some(EMFILE) || error.to_string().contains("descriptors were cut off")
}

/// Attempts something with no descriptor to be had, with one, two, and so on until it succeeds, which takes `needed`.
fn starve<T, E: Error + 'static>(
    what: &str,
    needed: u64,
    dir: &TempDir,
    mut attempt: impl FnMut() -> Result<T, E>,
) -> T {
    let _fillers = fill_gaps();
    let before = Traces::of(Some(dir.path()));
    for spare in 0..needed {
        let Err(error) = with_spare(spare, &mut attempt) else { panic!("{what}: {spare} descriptors suffice") };
        assert!(is_short(&error), "{what} with {spare} descriptors: {error:?}");
        assert_eq!(Traces::of(Some(dir.path())), before, "{what} with {spare} descriptors");
    }
    with_spare(needed, attempt).unwrap_or_else(|error| panic!("{what} with {needed} descriptors: {error:?}"))
}

/// Does something while this process, which has no gap among its descriptors, can open `spare` more.
fn with_spare<T>(spare: u64, attempt: impl FnOnce() -> T) -> T {
    // One is the listing's own.
    let open = std::fs::read_dir("/proc/self/fd").unwrap().count() as u64 - 1;
    with_limit(Resource::RLIMIT_NOFILE, open + spare, attempt)
}

pub fn role() {
    let dir = tempfile::tempdir().unwrap();
    let before = Traces::of(Some(dir.path()));
    makers(&dir);
    let log = Log::builder().windows(2).window_bytes(64 << 10).create_at(dir.path().join("log")).unwrap();
    let snapshot = Snapshot::builder().create_at(dir.path().join("state")).unwrap();
    openers(&dir);
    takers(&dir, &log, &snapshot);
    states(&dir, &log, &snapshot);
    starting(&dir, &log);
    drop((log, snapshot));
    Log::remove(dir.path().join("log")).unwrap();
    Snapshot::remove(dir.path().join("state")).unwrap();
    assert_eq!(Traces::of(Some(dir.path())), before);
    burying();
}

/// All need one more for a moment, to ask how much memory there is.
fn makers(dir: &TempDir) {
    let small = || Log::builder().windows(2).window_bytes(64 << 10);
    starve("a log", 3, dir, || small().create_memfd("log"));
    starve("a snapshot", 3, dir, || Snapshot::builder().create_memfd("snapshot"));
    starve("a sparse snapshot", 3, dir, || Snapshot::builder().sparse(true).create_memfd("snapshot"));
    starve("an arena", 2, dir, || Arena::create_memfd("arena", 4096));
    // The pool was blamed.
    let require = HugePages::Require(HugePageSize::TwoMiB);
    // Without a pool it does not come as far.
    let needed = if common::free_huge_pages() > 0 { 3 } else { 1 };
    starve("a log on huge pages", needed, dir, || match small().huge_pages(require).create_memfd("log") {
        Err(CreateError::NoHugePages { .. }) => Ok(()),
        made => made.map(drop),
    });
    let shm = tempfile::tempdir_in(mounted("tmpfs").unwrap_or_else(std::env::temp_dir)).unwrap();
    for dir in [dir, &shm] {
        let path = dir.path().join("named");
        drop(starve("a named log", 3, dir, || small().create_at(&path)));
        Log::remove(&path).unwrap();
        drop(starve("a log that may be there", 3, dir, || small().open_or_create_at(&path)));
        drop(starve("a log that is there", 3, dir, || small().open_or_create_at(&path)));
        Log::remove(&path).unwrap();
        drop(starve("a named snapshot", 3, dir, || Snapshot::builder().create_at(&path)));
        Snapshot::remove(&path).unwrap();
    }
    drop(starve("a named arena", 1, dir, || Arena::create_at(dir.path().join("arena"), 4096)));
    starve("opening an arena", 1, dir, || Arena::open(dir.path().join("arena"), true));
    std::fs::remove_file(dir.path().join("arena")).unwrap();
}

fn openers(dir: &TempDir) {
    for (access, needed) in [(Access::Append, 3), (Access::Read, 2), (Access::Observe, 2)] {
        starve("opening a log", needed, dir, || Log::open(dir.path().join("log"), access));
        starve("opening a snapshot", needed, dir, || Snapshot::open(dir.path().join("state"), access));
    }
}

fn takers(dir: &TempDir, log: &Log, snapshot: &Snapshot) {
    starve("an appender", 1, dir, || log.appender()).append(b"x").unwrap();
    starve("an exclusive appender", 1, dir, || log.exclusive()).append(b"x").unwrap();
    starve("a gated reader", 1, dir, || log.reader_builder().gated(true).start(Start::First));
    // It reads without a place, and takes one when it has to hold something.
    let _fillers = fill_gaps();
    let mut reader = with_spare(0, || log.reader(Start::First)).unwrap();
    assert_eq!(reader.try_next().unwrap().unwrap().to_vec().unwrap(), b"x");
    starve("a pin on a log", 1, dir, || reader.pin());
    starve("a writer", 1, dir, || snapshot.writer()).publish(&7_u64).unwrap();
    starve("a slot's writer", 1, dir, || snapshot.writer_of(0)).publish(&7_u64).unwrap();
    let mut reader = with_spare(0, || snapshot.reader()).unwrap();
    starve("a pin", 1, dir, || reader.pin().map(|pinned| pinned.unwrap().read::<u64>().unwrap()));
    assert_eq!(with_spare(0, || reader.load::<u64>()).unwrap().unwrap().value, 7);
}

fn states(dir: &TempDir, log: &Log, snapshot: &Snapshot) {
    let replica = Replica::new(log, snapshot);
    snapshot.writer().unwrap().first().as_of(0).publish(&1_u64).unwrap();
    let mut owner = starve("owning a state", 2, dir, || replica.own("owner"));
    owner.publish(1, &2_u64).unwrap();
    // Without a place it reads on unheld, as nothing is given up here.
    let _fillers = fill_gaps();
    assert_eq!(with_spare(0, || replica.join()).unwrap().state.unwrap().as_of, Some(1));
    let gated = || replica.join_with(log.reader_builder().gated(true));
    assert_eq!(starve("joining, gated", 1, dir, gated).state.unwrap().as_of, Some(1));
}

/// A worker, and a hub.
fn starting(dir: &TempDir, log: &Log) {
    let _fillers = fill_gaps();
    let before = Traces::of(Some(dir.path()));
    let mut spare = 0;
    loop {
        match with_spare(spare, || log.spawn(&mut Command::new("true"), Access::Read)) {
            Ok(worker) => break drop(worker),
            Err(error) => assert!(is_short(&error), "{error:?}"),
        }
        assert_eq!(Traces::of(Some(dir.path())), before, "a worker with {spare} descriptors");
        spare += 1;
    }
    assert!(spare >= 3, "{spare}");
    let hub = starve("a hub", 2, dir, || Hub::builder().log("log", log).listen(dir.path().join("hub"), 0o600));
    drop(hub);
}

/// An appender that has to clear the dead needs one for a moment. Without it, it says who is in the way.
fn burying() {
    let log = Log::builder().windows(2).window_bytes(64 << 10).retention(Retention::Gated);
    let log = log.create_memfd("buried").unwrap();
    let mut appender = log.appender().unwrap();
    appender.append(b"x").unwrap();
    let (child, socket) = start(common::child("descriptors: dying reader"));
    log.send(&socket, Access::Read).unwrap();
    assert_eq!(common::finish(child, PATIENCE).code(), Some(DIED));
    let _fillers = fill_gaps();
    let full = with_spare(0, || (0..1_000_000).find_map(|_| appender.append(&[0; 100]).err()));
    assert!(matches!(full, Some(AppendError::Full { by: Some(_), .. })), "{full:?}");
    // What it found out is believed for a millisecond.
    common::eventually(|| appender.append(&[0; 100]));
    assert!((0..10_000).all(|_| appender.append(&[0; 100]).is_ok()));
}

/// What a child ends with that does not clean up.
const DIED: i32 = 7;

/// Takes a gated reader and dies with it.
pub fn dying_reader() {
    let log = Log::receive(to_parent()).unwrap();
    let _reader = log.reader_builder().gated(true).start(Start::First).unwrap();
    std::process::exit(DIED);
}

/// Sends a log until it is accepted.
pub fn sender() {
    let log = Log::builder().windows(2).window_bytes(64 << 10).create_memfd("sent").unwrap();
    let socket = to_parent();
    let mut refused = 0;
    while let Err(error) = log.send(&socket, Access::Append) {
        assert!(matches!(error, PassError::Refused { .. }), "{error:?}");
        refused += 1;
    }
    // None, one and two.
    assert_eq!(refused, 3);
}

pub fn receiver() {
    let dir = tempfile::tempdir().unwrap();
    let socket = to_parent();
    let log = starve("receiving a log", 3, &dir, || Log::receive(&socket));
    log.appender().unwrap().append(b"x").unwrap();
}

/// A hub that lives until its parent lets it go.
pub fn hub() {
    let log = Log::builder().create_memfd("given").unwrap();
    let hub = Hub::builder().log("given", &log).listen(setting::<PathBuf>("HUB"), 0o600).unwrap();
    let hub = hub.start().unwrap();
    let end = std::io::Read::read(&mut to_parent(), &mut [0]).unwrap();
    assert_eq!(end, 0);
    hub.stop().unwrap();
}

pub fn client() {
    let (dir, path) = (tempfile::tempdir().unwrap(), setting::<PathBuf>("HUB"));
    let connect = || HubClient::connect_within(&path, PATIENCE);
    drop(connect().unwrap());
    let mut client = starve("connecting to a hub", 1, &dir, connect);
    let _fillers = fill_gaps();
    let error = with_spare(0, || client.log("given", Access::Append)).unwrap_err();
    assert!(is_short(&error), "{error:?}");
    // What comes next over it is not known any more.
    assert!(matches!(client.log("given", Access::Append), Err(HubError::Gone)));
    drop(client);
    let log = starve("getting a log", 4, &dir, || connect().and_then(|mut hub| hub.log("given", Access::Append)));
    log.appender().unwrap().append(b"x").unwrap();
}
