//! One cache line each way: a word that one process stores and the other one polls.
//!
//! Nothing that goes through memory is faster there and back. It carries one word, whatever the others carry.

use super::map::Map;
use super::{make, path};
use crate::case::Shape;
use crate::source::word_of;
use crate::system::{Channel, Home, Place, Rx, Tx};
use anyhow::Result;
use std::os::unix::net::UnixStream;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::{Acquire, Release};

/// The line.
pub struct Line;

impl Channel for Line {
    type Tx = LineTx;
    type Rx = LineRx;

    fn home(shape: &Shape) -> Result<Box<dyn Home>> {
        make(shape, 4096)
    }

    fn tx(shape: &Shape, place: Place, _: &UnixStream) -> Result<LineTx> {
        Ok(LineTx { word: Map::open(&path(shape, place.lane))?.word(0) })
    }

    fn rx(shape: &Shape, place: Place, _: &UnixStream) -> Result<LineRx> {
        Ok(LineRx { word: Map::open(&path(shape, place.lane))?.word(0), last: 0 })
    }
}

/// Stores.
pub struct LineTx {
    word: &'static AtomicU64,
}

impl Tx for LineTx {
    /// One more than the message's word, as memory begins with zero.
    #[inline]
    fn try_send(&mut self, message: &[u8]) -> Result<bool> {
        self.word.store(word_of(message).wrapping_add(1), Release);
        Ok(true)
    }
}

/// Polls.
pub struct LineRx {
    word: &'static AtomicU64,
    last: u64,
}

impl Rx for LineRx {
    #[inline]
    fn poll(&mut self, see: &mut impl FnMut(&[u8])) -> Result<usize> {
        let word = self.word.load(Acquire);
        if word == self.last {
            return Ok(0);
        }
        self.last = word;
        see(&word.wrapping_sub(1).to_ne_bytes());
        Ok(1)
    }
}
