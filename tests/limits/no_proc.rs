//! No /proc: second descriptions of a file are opened through it.

use crate::alone::{Traces, alone};
use crate::common::{is_root, skip};
use crate::mounting::{have_own_mounts, mount_tmpfs, run};
use shmlog::{
    Access, Arena, AttachError, Hub, HubClient, HubError, JoinError, LoadError, Log, PassError, Replica, Snapshot,
    Start,
};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

#[test]
fn what_needs_proc_says_so_and_the_rest_works() {
    if !is_root() {
        return skip("no /proc", "only root can hide it");
    }
    alone("no /proc");
}

pub fn role() {
    if !have_own_mounts("no /proc") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let there = Log::builder().windows(2).window_bytes(64 << 10).create_memfd("there").unwrap();
    let mut appender = there.appender().unwrap();
    let before = Traces::of(Some(dir.path()));
    mount_tmpfs(Path::new("/proc"), "size=64k");
    logs(dir.path());
    snapshots(dir.path());
    handing_on(dir.path(), &there);
    // Who came before goes on.
    assert!((0..10_000).all(|_| appender.append(&[0; 100]).is_ok()));
    assert!(run("umount", &["/proc"]));
    assert_eq!(Traces::of(Some(dir.path())), before);
    assert!(there.appender().is_ok() && there.info().participants.len() == 1);
}

fn is_no_proc<T>(joined: Result<T, JoinError>) -> bool {
    matches!(joined, Err(JoinError::Attach(AttachError::NoProc)))
}

/// Making, opening and reading need nothing of it; taking a place on a board does.
fn logs(dir: &Path) {
    let named = dir.join("log");
    let builder = Log::builder().windows(2).window_bytes(64 << 10);
    for log in [builder.create_memfd("log").unwrap(), builder.create_at(&named).unwrap()] {
        assert!(is_no_proc(log.appender()) && is_no_proc(log.exclusive()));
        assert!(is_no_proc(log.reader_builder().gated(true).start(Start::First)));
        let mut reader = log.reader(Start::First).unwrap();
        assert!(reader.try_next().unwrap().is_none() && !reader.wait_next(Duration::from_millis(1)).unwrap());
        assert!(is_no_proc(reader.pin()));
        assert!(log.info().participants.is_empty());
    }
    for access in [Access::Append, Access::Read, Access::Observe] {
        Log::open(&named, access).unwrap();
    }
    Log::remove(&named).unwrap();
    Arena::create_memfd("arena", 4096).unwrap().allocate(8, 8).unwrap();
}

fn snapshots(dir: &Path) {
    let named = dir.join("state");
    for state in [Snapshot::builder().create_memfd("state").unwrap(), Snapshot::builder().create_at(&named).unwrap()] {
        assert!(is_no_proc(state.writer()) && is_no_proc(state.writer_of(0)));
        let mut reader = state.reader().unwrap();
        assert!(reader.load::<u64>().unwrap().is_none());
        assert!(matches!(reader.pin(), Ok(None) | Err(LoadError::NoSeat(_))));
        let log = Log::builder().windows(2).window_bytes(64 << 10).create_memfd("log").unwrap();
        let replica = Replica::new(&log, &state);
        assert!(replica.join().unwrap().state.is_none());
        assert!(replica.own("owner").is_err_and(|error| error.to_string().contains("/proc is not mounted")));
    }
    Snapshot::remove(&named).unwrap();
}

fn handing_on(dir: &Path, log: &Log) {
    let (ours, _theirs) = UnixStream::pair().unwrap();
    let sent = log.send(&ours, Access::Read);
    assert!(matches!(sent, Err(PassError::Attach(AttachError::NoProc))), "{sent:?}");
    let path = dir.join("hub");
    let hub = Hub::builder().log("log", log).listen(&path, 0o600).unwrap().start().unwrap();
    let mut client = HubClient::connect(&path).unwrap();
    let asked = client.log("log", Access::Read);
    assert!(matches!(&asked, Err(HubError::Unavailable { reason }) if reason.contains("/proc")), "{asked:?}");
    hub.stop().unwrap();
}
