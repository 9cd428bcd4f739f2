//! memcpy through a ring: one sender, one receiver, slots of one size, nothing else.
//!
//! As a tuned ring does it: each side keeps what it last saw of the other's position; the sender tells its own
//! only once for some bytes, unless it is flushed, the receiver once for what it took; and the sender asks for
//! the lines that it will write before it gets there. Nobody can die, nobody can join, nothing can be found by
//! number.
#![allow(unsafe_code, reason = "slots are written and read in place")]

use super::map::Map;
use super::{make, path};
use crate::case::Shape;
use crate::system::{Channel, Home, Place, Rx, Tx};
use anyhow::Result;
use std::os::unix::net::UnixStream;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::{Acquire, Release};

const TAIL: usize = 0;
const HEAD: usize = 128;
const SLOTS: usize = 4096;
/// Bytes after which the sender tells where it is.
const TELL_BYTES: usize = 1024;
/// How far ahead lines are asked for.
const AHEAD_BYTES: usize = 1024;
const LINE_BYTES: usize = 64;

/// The ring.
pub struct Ring;

impl Channel for Ring {
    type Tx = RingTx;
    type Rx = RingRx;

    fn home(shape: &Shape) -> Result<Box<dyn Home>> {
        make(shape, SLOTS + slots(shape) as usize * shape.bytes)
    }

    fn tx(shape: &Shape, place: Place, _: &UnixStream) -> Result<RingTx> {
        let map = Map::open(&path(shape, place.lane))?;
        let (tail, head) = (map.word(TAIL), map.word(HEAD));
        let slots = slots(shape);
        Ok(RingTx { map, bytes: shape.bytes, slots, tail, head, sent: 0, at: SLOTS, told: 0, freed: 0 })
    }

    fn rx(shape: &Shape, place: Place, _: &UnixStream) -> Result<RingRx> {
        let map = Map::open(&path(shape, place.lane))?;
        let (tail, head) = (map.word(TAIL), map.word(HEAD));
        Ok(RingRx { map, bytes: shape.bytes, most: (slots(shape) / 8).max(1), tail, head, seen: 0, at: SLOTS })
    }
}

fn slots(shape: &Shape) -> u64 {
    (shape.footprint_bytes() / shape.bytes).max(2 * shape.batch) as u64
}

/// Writes.
pub struct RingTx {
    map: Map,
    bytes: usize,
    slots: u64,
    tail: &'static AtomicU64,
    head: &'static AtomicU64,
    sent: u64,
    /// Where the next message goes.
    at: usize,
    told: u64,
    /// What the receiver had freed when it was looked at.
    freed: u64,
}

impl RingTx {
    #[inline]
    fn has_room(&mut self, messages: u64) -> bool {
        if self.sent + messages - self.freed <= self.slots {
            return true;
        }
        self.tell();
        self.freed = self.head.load(Acquire);
        self.sent + messages - self.freed <= self.slots
    }

    #[inline]
    fn put(&mut self, message: &[u8]) {
        // SAFETY: the receiver has freed the slot, and does not look at it before it is told.
        unsafe { self.map.put(self.at, message) };
        self.sent += 1;
        self.at += self.bytes;
        if self.at == self.map.len() {
            self.at = SLOTS;
        }
        let ahead = self.at + AHEAD_BYTES;
        if self.bytes >= LINE_BYTES || ahead % LINE_BYTES < self.bytes {
            for line in (ahead..(ahead + self.bytes).min(self.map.len())).step_by(LINE_BYTES) {
                self.map.prefetch_write(line);
            }
        }
    }

    #[inline]
    fn tell(&mut self) {
        self.told = self.sent;
        self.tail.store(self.sent, Release);
    }
}

impl Tx for RingTx {
    #[inline]
    fn try_send(&mut self, message: &[u8]) -> Result<bool> {
        if !self.has_room(1) {
            return Ok(false);
        }
        self.put(message);
        if (self.sent - self.told) as usize * self.bytes >= TELL_BYTES {
            self.tell();
        }
        Ok(true)
    }

    #[inline]
    fn try_send_batch(&mut self, messages: &[u8], bytes: usize) -> Result<bool> {
        if !self.has_room((messages.len() / bytes) as u64) {
            return Ok(false);
        }
        messages.chunks_exact(bytes).for_each(|message| self.put(message));
        self.tell();
        Ok(true)
    }

    #[inline]
    fn flush(&mut self) -> Result<()> {
        self.tell();
        Ok(())
    }
}

/// Reads.
pub struct RingRx {
    map: Map,
    bytes: usize,
    most: u64,
    tail: &'static AtomicU64,
    head: &'static AtomicU64,
    seen: u64,
    at: usize,
}

impl Rx for RingRx {
    #[inline]
    fn poll(&mut self, see: &mut impl FnMut(&[u8])) -> Result<usize> {
        let there = (self.tail.load(Acquire) - self.seen).min(self.most);
        for _ in 0..there {
            // SAFETY: the sender has told that it is written, and waits until it is freed.
            see(unsafe { self.map.show(self.at, self.bytes) });
            self.at += self.bytes;
            if self.at == self.map.len() {
                self.at = SLOTS;
            }
        }
        if there > 0 {
            self.seen += there;
            self.head.store(self.seen, Release);
        }
        Ok(there as usize)
    }
}
