//! A futex: one message at a time, and a system call for each side.
#![allow(unsafe_code, reason = "the message is written and read in place")]

use super::map::Map;
use super::{make, path};
use crate::case::Shape;
use crate::system::{Channel, Home, Place, Rx, Tx};
use anyhow::Result;
use rustix::io::Errno;
use rustix::thread::futex::{Flags, Timespec, wait, wake};
use std::os::unix::net::UnixStream;
use std::sync::atomic::Ordering::{Acquire, Release};

const SENT: usize = 0;
const SEEN: usize = 128;
const MESSAGE: usize = 4096;
/// Longest sleep.
const SLEEP: Timespec = Timespec { tv_sec: 0, tv_nsec: 100_000_000 };

/// The mailbox.
pub struct Mailbox;

impl Channel for Mailbox {
    type Tx = MailboxTx;
    type Rx = MailboxRx;

    fn home(shape: &Shape) -> Result<Box<dyn Home>> {
        make(shape, MESSAGE + shape.bytes)
    }

    fn tx(shape: &Shape, place: Place, _: &UnixStream) -> Result<MailboxTx> {
        Ok(MailboxTx { map: Map::open(&path(shape, place.lane))?, sent: 0 })
    }

    fn rx(shape: &Shape, place: Place, _: &UnixStream) -> Result<MailboxRx> {
        Ok(MailboxRx { map: Map::open(&path(shape, place.lane))?, bytes: shape.bytes, seen: 0 })
    }
}

/// Writes and wakes.
pub struct MailboxTx {
    map: Map,
    sent: u32,
}

impl Tx for MailboxTx {
    fn try_send(&mut self, message: &[u8]) -> Result<bool> {
        if self.map.half(SEEN).load(Acquire) != self.sent {
            return Ok(false);
        }
        // SAFETY: what was there before was seen, and this is not told yet.
        unsafe { self.map.put(MESSAGE, message) };
        self.sent = self.sent.wrapping_add(1);
        self.map.half(SENT).store(self.sent, Release);
        wake(self.map.half(SENT), Flags::empty(), 1)?;
        Ok(true)
    }
}

/// Sleeps and reads.
pub struct MailboxRx {
    map: Map,
    bytes: usize,
    seen: u32,
}

impl Rx for MailboxRx {
    fn poll(&mut self, see: &mut impl FnMut(&[u8])) -> Result<usize> {
        if self.map.half(SENT).load(Acquire) == self.seen {
            return Ok(0);
        }
        // SAFETY: it was told, and the sender waits until it was seen.
        see(unsafe { self.map.show(MESSAGE, self.bytes) });
        self.seen = self.seen.wrapping_add(1);
        self.map.half(SEEN).store(self.seen, Release);
        Ok(1)
    }

    fn sleep(&mut self) -> Result<()> {
        match wait(self.map.half(SENT), Flags::empty(), self.seen, Some(&SLEEP)) {
            Ok(()) | Err(Errno::AGAIN | Errno::INTR | Errno::TIMEDOUT) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}
