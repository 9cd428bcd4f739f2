//! memcpy by many: a slot is claimed by one fetch-add, filled, and told by a store of its own word.
//!
//! A sender that dies between the two stops everybody for good, which a log must not. Nothing else that many
//! can do at once, in one order, has fewer locked instructions.
#![allow(unsafe_code, reason = "slots are written and read in place")]

use super::map::Map;
use super::{make, path};
use crate::case::Shape;
use crate::system::{Channel, Home, Place, Rx, Tx};
use anyhow::Result;
use std::os::unix::net::UnixStream;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};

const CLAIMED: usize = 0;
const SLOTS: usize = 4096;

/// The claims.
pub struct Claim;

impl Channel for Claim {
    type Tx = ClaimTx;
    type Rx = ClaimRx;

    fn home(shape: &Shape) -> Result<Box<dyn Home>> {
        make(shape, SLOTS + slots(shape) as usize * (8 + shape.bytes))
    }

    fn tx(shape: &Shape, place: Place, _: &UnixStream) -> Result<ClaimTx> {
        let map = Map::open(&path(shape, place.lane))?;
        Ok(ClaimTx { claimed: map.word(CLAIMED), map, slots: slots(shape), bytes: shape.bytes, mine: None })
    }

    fn rx(shape: &Shape, place: Place, _: &UnixStream) -> Result<ClaimRx> {
        Ok(ClaimRx { map: Map::open(&path(shape, place.lane))?, slots: slots(shape), bytes: shape.bytes, seen: 0 })
    }
}

/// A power of two: a slot is found by a mask.
fn slots(shape: &Shape) -> u64 {
    let most = (shape.footprint_bytes() / (8 + shape.bytes)).max(2) as u64;
    1 << most.ilog2()
}

/// Where a message's slot is. Its first word says what is in it: one more than the message's number, or, when that
/// was read, the number of the message that may come next.
#[inline]
fn slot(number: u64, slots: u64, bytes: usize) -> usize {
    SLOTS + (number & (slots - 1)) as usize * (8 + bytes)
}

/// Claims.
pub struct ClaimTx {
    map: Map,
    claimed: &'static AtomicU64,
    slots: u64,
    bytes: usize,
    /// Claimed, but the slot was not free yet.
    mine: Option<u64>,
}

impl Tx for ClaimTx {
    #[inline]
    fn try_send(&mut self, message: &[u8]) -> Result<bool> {
        let number = self.mine.take().unwrap_or_else(|| self.claimed.fetch_add(1, Relaxed));
        let at = slot(number, self.slots, self.bytes);
        let word = self.map.word(at);
        if number >= self.slots && word.load(Acquire) != number {
            self.mine = Some(number);
            return Ok(false);
        }
        // SAFETY: claimed by this sender, free, and not told yet.
        unsafe { self.map.put(at + 8, message) };
        word.store(number + 1, Release);
        Ok(true)
    }
}

/// Takes one slot after the other.
pub struct ClaimRx {
    map: Map,
    slots: u64,
    bytes: usize,
    seen: u64,
}

impl Rx for ClaimRx {
    #[inline]
    fn poll(&mut self, see: &mut impl FnMut(&[u8])) -> Result<usize> {
        let began = self.seen;
        while self.seen - began < self.slots {
            let at = slot(self.seen, self.slots, self.bytes);
            let word = self.map.word(at);
            if word.load(Acquire) != self.seen + 1 {
                break;
            }
            // SAFETY: told, and not free before the word says so.
            see(unsafe { self.map.show(at + 8, self.bytes) });
            word.store(self.seen + self.slots, Release);
            self.seen += 1;
        }
        Ok((self.seen - began) as usize)
    }
}
