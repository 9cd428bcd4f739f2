//! One message with descriptors over a Unix socket (unix(7), SCM_RIGHTS).

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, recvmsg, sendmsg,
};
use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

/// Most descriptors in one message.
pub(crate) const MAX_FDS: usize = 4;

/// Sends `bytes` and `fds` in one message. Waits for room in the socket, which only the peer can make, for at most
/// `patience`: then `WouldBlock`.
pub(crate) fn send(socket: impl AsFd, bytes: &[u8], fds: &[BorrowedFd<'_>], patience: Duration) -> io::Result<()> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_FDS))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !fds.is_empty() && !control.push(SendAncillaryMessage::ScmRights(fds)) {
        return Err(io::Error::other("too many descriptors for one message"));
    }
    let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
    let started = Instant::now();
    let sent = loop {
        match rustix::io::retry_on_intr(|| sendmsg(&socket, &[IoSlice::new(bytes)], &mut control, flags)) {
            Err(Errno::AGAIN) => {
                let left = patience.saturating_sub(started.elapsed());
                if left.is_zero() || !is_ready_within(&socket, PollFlags::OUT, left)? {
                    return Err(Errno::AGAIN.into());
                }
            }
            sent => break sent?,
        }
    };
    if sent == bytes.len() { Ok(()) } else { Err(io::ErrorKind::WriteZero.into()) }
}

/// Receives one message of at most `bytes.len()` bytes and [`MAX_FDS`] descriptors, close-on-exec.
/// Returns the bytes received; 0 if the peer is gone. `WouldBlock`: nothing has come, or who else has this end took it.
pub(crate) fn receive(socket: impl AsFd, bytes: &mut [u8]) -> io::Result<(usize, Vec<OwnedFd>)> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_FDS))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let flags = RecvFlags::CMSG_CLOEXEC | RecvFlags::DONTWAIT;
    let message = rustix::io::retry_on_intr(|| recvmsg(&socket, &mut [IoSliceMut::new(bytes)], &mut control, flags))?;
    let mut fds = Vec::new();
    for part in control.drain() {
        if let RecvAncillaryMessage::ScmRights(received) = part {
            fds.extend(received);
        }
    }
    if message.flags.contains(ReturnFlags::CTRUNC) {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "descriptors were cut off: too many, or none left here",
        ));
    }
    Ok((message.bytes, fds))
}

/// Waits until there is something to receive, or the peer is gone. False: neither within `patience`.
pub(crate) fn is_readable_within(socket: impl AsFd, patience: Duration) -> io::Result<bool> {
    is_ready_within(socket, PollFlags::IN, patience)
}

fn is_ready_within(socket: impl AsFd, what: PollFlags, patience: Duration) -> io::Result<bool> {
    // `None`: further away than the clock counts.
    let deadline = Instant::now().checked_add(patience);
    loop {
        let left = deadline.map_or(patience, |deadline| deadline.saturating_duration_since(Instant::now()));
        let left =
            Timespec { tv_sec: left.as_secs().try_into().unwrap_or(i64::MAX), tv_nsec: left.subsec_nanos().into() };
        match poll(&mut [PollFd::new(&socket, what)], Some(&left)) {
            Ok(ready) => return Ok(ready > 0),
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}
