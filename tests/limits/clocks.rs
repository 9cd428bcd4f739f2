//! Clocks: what waits goes by the monotonic one and differences on it, so that neither its origin nor a wall clock that
//! is set matters; and whatever time-out there is, adding it to a clock is no panic.

use crate::common::{child, is_root, skip, succeed};
use shmlog::{Access, AppendError, Hub, HubClient, JoinError, Log, PublishError, Retention, Snapshot, Start, Wait};
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

/// A child whose machine seems to have started long ago, or just now.
fn play_at(offset_seconds: &str) {
    let role = child("clocks");
    let mut command = Command::new("unshare");
    command.args(["--time", "--monotonic", offset_seconds, "--fork"]).arg(role.get_program()).args(role.get_args());
    for (name, value) in role.get_envs() {
        command.env(name, value.unwrap());
    }
    succeed(command.stdout(Stdio::null()).spawn().unwrap());
}

#[test]
fn time_outs_of_any_length_at_any_time() {
    succeed(child("clocks").spawn().unwrap());
    let has_name_space = Command::new("unshare").args(["--time", "--monotonic", "1", "true"]).status();
    if !is_root() || !has_name_space.is_ok_and(|status| status.success()) {
        return skip("other clocks", "there are no time name spaces here, or no unshare(1) that knows them");
    }
    // Nearly 146 years, as far as the kernel goes.
    play_at("4600000000");
    play_at(&format!("-{}", uptime_seconds()));
}

/// Whole seconds, less one.
fn uptime_seconds() -> u64 {
    let uptime = std::fs::read_to_string("/proc/uptime").unwrap();
    uptime.split('.').next().unwrap().parse::<u64>().unwrap().saturating_sub(1)
}

/// None, the shortest, a short one, and those that no clock can count.
fn short_ones() -> [Duration; 3] {
    [Duration::ZERO, Duration::from_nanos(1), Duration::from_millis(2)]
}

fn endless_ones() -> [Duration; 3] {
    [Duration::MAX, Duration::from_secs(u64::MAX / 2), Duration::from_secs(i64::MAX as u64)]
}

pub fn role() {
    readers_and_appenders();
    snapshots();
    peers();
}

fn readers_and_appenders() {
    let log = Log::builder().windows(2).window_bytes(64 << 10).retention(Retention::Gated).create_memfd("log").unwrap();
    let mut appender = log.appender().unwrap();
    for wait in [Wait::Spin, Wait::SpinThenYield, Wait::Block] {
        let mut reader = log.reader_builder().gated(true).wait(wait).start(Start::End).unwrap();
        for timeout in short_ones() {
            assert!(!reader.wait_next(timeout).unwrap() && reader.next_timeout(timeout).unwrap().is_none());
        }
        for timeout in endless_ones() {
            thread::scope(|scope| {
                let waiting = scope.spawn(|| reader.next_timeout(timeout).unwrap().is_some());
                appender.append(&[0; 100]).unwrap();
                assert!(waiting.join().unwrap(), "{wait:?} {timeout:?}");
            });
        }
        for timeout in short_ones().into_iter().chain(endless_ones()) {
            appender.set_stall_wait(timeout);
            while appender.append(&[0; 100]).is_ok() {}
            for timeout in short_ones() {
                assert!(matches!(appender.append_wait(&[0; 100], timeout), Err(AppendError::Full { .. })));
            }
            while reader.try_next().unwrap().is_some() {}
            appender.append_wait(&[0; 100], timeout).unwrap();
        }
    }
    assert!(log.info().created_unix_ns > 0);
}

fn snapshots() {
    let state = Snapshot::builder().buffers(2).create_memfd("state").unwrap();
    let mut writer = state.writer().unwrap();
    for timeout in short_ones() {
        assert!(matches!(state.writer_within(timeout), Err(JoinError::WriterAttached)));
        assert!(!state.reader().unwrap().wait_newer(0, timeout));
    }
    writer.publish(&1_u64).unwrap();
    let (mut first, mut second) = (state.reader().unwrap(), state.reader().unwrap());
    for timeout in endless_ones() {
        assert!(first.wait_newer(0, timeout) && first.wait_unseen(timeout));
    }
    let _old = first.pin().unwrap().unwrap();
    writer.publish(&2_u64).unwrap();
    let _new = second.pin().unwrap().unwrap();
    for patience in short_ones() {
        writer.set_patience(patience);
        assert!(matches!(writer.publish(&3_u64), Err(PublishError::Busy { .. })));
    }
    drop(_old);
    writer.set_patience(Duration::MAX);
    writer.publish(&3_u64).unwrap();
    drop(writer);
    for timeout in endless_ones() {
        state.writer_within(timeout).unwrap();
    }
}

fn peers() {
    let log = Log::builder().windows(2).window_bytes(64 << 10).create_memfd("log").unwrap();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("hub");
    assert!(HubClient::connect_within(&path, Duration::from_millis(2)).is_err());
    for timeout in endless_ones() {
        let hub = Hub::builder().log("log", &log).patience(timeout).listen(&path, 0o600).unwrap().start().unwrap();
        let mut client = HubClient::connect_within(&path, timeout).unwrap();
        client.set_patience(timeout);
        client.log("log", Access::Read).unwrap();
        assert!(hub.events().next_timeout(timeout).is_some());
        drop(client);
        hub.stop().unwrap();
        let worker = log.spawn(&mut Command::new("true"), Access::Read).unwrap();
        worker.wait_attached(timeout).expect_err("`true` does not attach, and is gone");
    }
    let mut hub = Hub::builder().listen(&path, 0o600).unwrap();
    for timeout in short_ones() {
        assert!(hub.step(timeout).unwrap().is_empty());
    }
    let (ours, theirs) = UnixStream::pair().unwrap();
    thread::scope(|scope| {
        let receiving = scope.spawn(|| Log::receive(theirs).unwrap().info().id);
        log.send(&ours, Access::Read).unwrap();
        assert_eq!(receiving.join().unwrap(), log.info().id);
    });
}
