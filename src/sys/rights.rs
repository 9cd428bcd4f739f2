//! Sockets that nobody can send descriptors to (SO_PASSRIGHTS, since Linux 6.16).
#![allow(unsafe_code, reason = "a socket option that no crate has yet")]

use nix::libc::{SOL_SOCKET, c_int, setsockopt, socklen_t};
use std::os::fd::{AsFd, AsRawFd};

/// From asm-generic/socket.h; the same on every architecture with 64 bits and little end first.
const SO_PASSRIGHTS: c_int = 83;

/// Has the kernel refuse descriptors that are sent to this socket, and to connections accepted from it. Returns
/// whether it does.
///
/// A descriptor that arrives is closed by its receiver, if nobody else has it: closing some waits for something,
/// such as a TCP socket with SO_LINGER or a file on a network.
pub(crate) fn refuse_descriptors(socket: impl AsFd) -> bool {
    let off: c_int = 0;
    let value = (&raw const off).cast();
    let len = socklen_t::try_from(size_of::<c_int>()).unwrap_or(0);
    // SAFETY: `value` is valid for `len` bytes, which the kernel copies during the call.
    unsafe { setsockopt(socket.as_fd().as_raw_fd(), SOL_SOCKET, SO_PASSRIGHTS, value, len) == 0 }
}
