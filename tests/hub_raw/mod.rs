//! A client of a hub that says whatever it likes, and what else the hub's tests need.
#![allow(dead_code, reason = "each test file uses a part of it")]

use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, SocketAddrUnix, SocketFlags, SocketType, connect, recvmsg, sendmsg, socket_with,
};
use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// One test at a time: what is closed is open still in the children that another test is just starting.
pub fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Bytes of a request and of a reply.
pub const REQUEST: usize = 88;
pub const REPLY: usize = 1024;

/// A request for a log, to read it.
pub fn request(name: &str) -> Vec<u8> {
    let mut bytes = b"SHMHUBRQ".to_vec();
    for word in [1_u32, 1, 1, 0] {
        bytes.extend(word.to_le_bytes());
    }
    bytes.extend(name.as_bytes());
    bytes.resize(REQUEST, 0);
    bytes
}

pub fn seqpacket() -> OwnedFd {
    socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None).unwrap()
}

pub fn dial(path: &Path) -> Result<OwnedFd, Errno> {
    let socket = seqpacket();
    rustix::io::retry_on_intr(|| connect(&socket, &SocketAddrUnix::new(path)?))?;
    Ok(socket)
}

/// Sends without waiting.
pub fn say(socket: &OwnedFd, bytes: &[u8], fds: &[BorrowedFd<'_>]) -> Result<usize, Errno> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(8))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    assert!(fds.is_empty() || control.push(SendAncillaryMessage::ScmRights(fds)));
    let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
    sendmsg(socket, &[IoSlice::new(bytes)], &mut control, flags)
}

/// The next message, and the descriptors in it; waits for it. Empty at the end.
pub fn hear_all(socket: &OwnedFd) -> Result<(Vec<u8>, Vec<OwnedFd>), Errno> {
    let mut bytes = [0; 2 * REPLY];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(8))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let got = rustix::io::retry_on_intr(|| {
        recvmsg(socket.as_fd(), &mut [IoSliceMut::new(&mut bytes)], &mut control, RecvFlags::CMSG_CLOEXEC)
    })?;
    let rights = control.drain().filter_map(|part| match part {
        RecvAncillaryMessage::ScmRights(fds) => Some(fds.collect::<Vec<_>>()),
        _ => None,
    });
    let fds = rights.flatten().collect();
    Ok((bytes[..got.bytes].to_vec(), fds))
}

/// The next message. Empty at the end.
pub fn hear(socket: &OwnedFd) -> Result<Vec<u8>, Errno> {
    hear_all(socket).map(|(bytes, _)| bytes)
}

/// Waits until the other end is closed, whatever comes before.
pub fn await_end(socket: &OwnedFd) {
    while hear(socket).is_ok_and(|message| !message.is_empty()) {}
}

/// How many descriptors this process has open.
pub fn open_fds() -> usize {
    // Less the one that the directory is read by.
    std::fs::read_dir("/proc/self/fd").unwrap().count() - 1
}
