//! Unix sockets that keep messages apart (unix(7), SOCK_SEQPACKET). None of them ever blocks.

use crate::sys::poll::readiness;
use crate::sys::rights::refuse_descriptors;
use rustix::event::PollFlags;
use rustix::fs::{AtFlags, CWD, Mode, chmodat, fchmod, statat};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, Shutdown, SocketAddrUnix,
    SocketFlags, SocketType, accept_with, bind, connect, listen, recv, sendmsg, shutdown, socket_with, socketpair,
    sockopt,
};
use std::io::IoSlice;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

type Result<T> = rustix::io::Result<T>;

/// Most descriptors in one message.
const MAX_FDS: usize = 4;
/// Connections that wait to be accepted; the system may allow fewer.
const BACKLOG: i32 = 1024;

fn flags() -> SocketFlags {
    SocketFlags::CLOEXEC | SocketFlags::NONBLOCK
}

fn socket() -> Result<OwnedFd> {
    socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, flags(), None)
}

/// Which file is at a path: its device and its inode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FileId(u64, u64);

/// Which file is at `path`. A symbolic link counts as itself.
pub(crate) fn file_id(path: &Path) -> Result<FileId> {
    let stat = statat(CWD, path, AtFlags::SYMLINK_NOFOLLOW)?;
    Ok(FileId(stat.st_dev, stat.st_ino))
}

/// Whether `path` is short enough for a socket's.
pub(crate) fn check_path(path: &Path) -> Result<()> {
    SocketAddrUnix::new(path).map(drop)
}

/// A listening socket at `path`, which must be free. At no moment it admits more than `mode` says.
///
/// Connections inherit that no descriptors can be sent over them, where the kernel knows that.
pub(crate) fn listen_at(path: &Path, mode: u32) -> Result<OwnedFd> {
    let address = SocketAddrUnix::new(path)?;
    let socket = socket()?;
    refuse_descriptors(&socket);
    let mode = Mode::from_raw_mode(mode);
    // Before it has a name; the umask takes from it when it gets one, and is undone then.
    fchmod(&socket, mode)?;
    bind(&socket, &address)?;
    let opened = chmodat(CWD, path, mode, AtFlags::empty()).and_then(|()| listen(&socket, BACKLOG));
    if opened.is_err() {
        let _ = rustix::fs::unlink(path);
    }
    opened.map(|()| socket)
}

/// A connection to who listens at `path`. `AGAIN`: too many wait there already.
pub(crate) fn connect_to(path: &Path) -> Result<OwnedFd> {
    let address = SocketAddrUnix::new(path)?;
    let socket = socket()?;
    rustix::io::retry_on_intr(|| connect(&socket, &address))?;
    Ok(socket)
}

/// The next connection. `AGAIN`: none waits.
pub(crate) fn accept(listener: impl AsFd) -> Result<OwnedFd> {
    accept_with(listener, flags())
}

/// Two ends of a connection.
pub(crate) fn pair() -> Result<(OwnedFd, OwnedFd)> {
    socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags(), None)
}

/// Makes a connection's buffer for sending as small as the kernel allows: `is_drained` is false then as long as
/// the peer has not received a message of a kilobyte, and after a few of them `send` says `AGAIN`.
///
/// The kernel counts a message with more than its bytes, calls a socket writable while at most a quarter of the
/// buffer is taken, and makes none larger than 4.5 KiB for the wish for none.
pub(crate) fn keep_short(connection: impl AsFd) -> Result<()> {
    sockopt::set_socket_send_buffer_size(&connection, 0)?;
    refuse_descriptors(connection);
    Ok(())
}

/// Whether the peer has received all messages of a kilobyte or more, or let go of them.
pub(crate) fn is_drained(connection: impl AsFd) -> bool {
    readiness(connection, PollFlags::OUT).contains(PollFlags::OUT)
}

/// Ends a connection for both sides; what was sent before can still be received.
pub(crate) fn end(connection: impl AsFd) {
    // Refused only if it has ended.
    let _ = shutdown(connection, Shutdown::Both);
}

/// Sends `bytes` and `fds` in one message, or nothing. `AGAIN`: there is no room.
pub(crate) fn send(socket: impl AsFd, bytes: &[u8], fds: &[BorrowedFd<'_>]) -> Result<()> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_FDS))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !fds.is_empty() && !control.push(SendAncillaryMessage::ScmRights(fds)) {
        return Err(Errno::INVAL);
    }
    let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
    rustix::io::retry_on_intr(|| sendmsg(&socket, &[IoSlice::new(bytes)], &mut control, flags)).map(drop)
}

/// Receives one message and returns its length, which may exceed that of `bytes`. Descriptors in it are closed
/// by the kernel. 0: an empty message, or the end. `AGAIN`: none has come.
pub(crate) fn receive(socket: impl AsFd, bytes: &mut [u8]) -> Result<usize> {
    let flags = RecvFlags::DONTWAIT | RecvFlags::TRUNC;
    rustix::io::retry_on_intr(|| recv(&socket, &mut *bytes, flags)).map(|(_, len)| len)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;

    #[test]
    fn an_unread_kilobyte_shows() {
        let (ours, theirs) = pair().unwrap();
        keep_short(&ours).unwrap();
        let mut buffer = [0; 2000];
        for _ in 0..10 {
            assert!(is_drained(&ours));
            send(&ours, &[1; 1024], &[]).unwrap();
            assert!(!is_drained(&ours));
            assert_eq!(receive(&theirs, &mut buffer), Ok(1024));
        }
        send(&ours, &[1; 1024], &[]).unwrap();
        end(&ours);
        assert!(!is_drained(&ours), "also when it has ended");
        assert_eq!(receive(&theirs, &mut buffer), Ok(1024));
        assert!(is_drained(&ours));
        let (ours, theirs) = pair().unwrap();
        keep_short(&ours).unwrap();
        let sent = (0..100).take_while(|_| send(&ours, &[1; 1024], &[]).is_ok()).count();
        assert!((1..=8).contains(&sent), "{sent} fitted");
        drop(theirs);
        assert!(is_drained(&ours), "nobody can receive them any more");
    }

    #[test]
    fn lengths_are_real_and_descriptors_are_dropped() {
        let (ours, theirs) = pair().unwrap();
        let (reader, writer) = std::io::pipe().unwrap();
        send(&ours, &[7; 300], &[writer.as_fd(), File::open("/dev/null").unwrap().as_fd()]).unwrap();
        drop(writer);
        assert!(readiness(&reader, PollFlags::IN).is_empty());
        assert_eq!(receive(&theirs, &mut [0; 100]), Ok(300));
        // A child that another test is just starting has a copy of the pipe's other end until it execs.
        let started = std::time::Instant::now();
        while !readiness(&reader, PollFlags::IN).contains(PollFlags::HUP) {
            assert!(started.elapsed().as_secs() < 60, "the kernel keeps the pipe's other end open");
            std::thread::yield_now();
        }
        assert_eq!(receive(&theirs, &mut [0; 100]), Err(Errno::AGAIN));
        end(&ours);
        assert_eq!(receive(&theirs, &mut [0; 100]), Ok(0));
    }

    /// From Linux 6.16 on, or nothing is to be seen here.
    #[test]
    fn descriptors_are_refused() {
        let (ours, theirs) = pair().unwrap();
        if refuse_descriptors(&ours) {
            let null = File::open("/dev/null").unwrap();
            assert_eq!(send(&theirs, b"x", &[null.as_fd()]), Err(Errno::PERM));
            send(&ours, b"x", &[null.as_fd()]).unwrap();
        }
        send(&theirs, b"x", &[]).unwrap();
    }
}
