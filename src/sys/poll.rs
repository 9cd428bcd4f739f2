//! Waiting for many descriptors at once: poll(2).

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use std::io;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

/// Waits until one of them is ready, for at most `patience`; interrupted by a signal it goes on waiting.
pub(crate) fn wait(fds: &mut [PollFd<'_>], patience: Duration) -> io::Result<()> {
    // `None`: further away than the clock counts.
    let deadline = Instant::now().checked_add(patience);
    loop {
        let left = deadline.map_or(patience, |deadline| deadline.saturating_duration_since(Instant::now()));
        let left =
            Timespec { tv_sec: left.as_secs().try_into().unwrap_or(i64::MAX), tv_nsec: left.subsec_nanos().into() };
        match poll(fds, Some(&left)) {
            Ok(_) => return Ok(()),
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// What is true of one descriptor now, of what was asked for and of error and end, which always are. Nothing,
/// if the kernel does not say.
pub(crate) fn readiness(fd: impl AsFd, of: PollFlags) -> PollFlags {
    let mut one = [PollFd::new(&fd, of)];
    match wait(&mut one, Duration::ZERO) {
        Ok(()) => one[0].revents(),
        Err(_) => PollFlags::empty(),
    }
}
