//! What was found by looking for what hostile peers can do.

use crate::common::PATIENCE;
use shmlog::{Access, AppendError, Log, PassError};
use std::io::Write;
use std::os::unix::net::UnixStream;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

/// `append_wait` looked at the clock once in 64 appends, and each of those waited for another appender's pin as long as
/// it is told to: with a peer that changed its hold word all the time, six seconds instead of one millisecond.
#[test]
fn a_stalled_append_ends_with_the_time_that_was_given() {
    let log = Log::builder().windows(2).window_bytes(64 << 10).entries(8).create_memfd("stalled").unwrap();
    let mut other = log.appender().unwrap();
    let _pin = other.reserve(8).unwrap();
    let (done, ended) = mpsc::channel();
    thread::spawn(move || {
        let mut appender = log.appender().unwrap();
        appender.set_stall_wait(10 * PATIENCE);
        let error = (0..).find_map(|_| appender.append_wait(b"x", Duration::from_millis(1)).err());
        done.send(error)
    });
    let error = ended.recv_timeout(PATIENCE).expect("it waited for longer than it was told to");
    assert!(matches!(error, Some(AppendError::Full { by: Some(_), .. })), "{error:?}");
}

/// `receive` and `send` waited for room in the socket for as long as the peer did not read, not for ten seconds at most:
/// who made the socket can fill it, and have a worker that it offers a log to hang.
#[test]
fn an_answer_that_nobody_reads_is_given_up() {
    let log = Log::builder().create_memfd("unread").unwrap();
    let (ours, theirs) = UnixStream::pair().unwrap();
    theirs.set_nonblocking(true).unwrap();
    while (&theirs).write(&[7; 100]).is_ok() {}
    theirs.set_nonblocking(false).unwrap();
    // The offer goes out; what it takes for the answer is not one.
    assert!(matches!(log.send(&ours, Access::Read), Err(PassError::Foreign { .. })));
    let (done, ended) = mpsc::channel();
    thread::spawn(move || done.send(Log::receive(theirs).map(drop)));
    let received = ended.recv_timeout(PATIENCE / 8).expect("it hangs");
    assert!(matches!(received, Err(PassError::Os { .. })), "{received:?}");
}
