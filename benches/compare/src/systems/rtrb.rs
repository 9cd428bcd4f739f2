//! rtrb: a ring of one sender and one receiver, both threads of one process.
//!
//! A message is pushed by value; the receiver takes all that are there as slices, in place. A batch is one chunk.

use super::by_size;
use crate::case::Shape;
use crate::child::play_threads;
use crate::system::{Lane, Local, Play, Rx, Tx};
use anyhow::{Context, Result, ensure};
use rtrb::{Consumer, Producer, RingBuffer};

/// How it is played, whatever the size of the messages.
pub const PLAY: Play = |job, socket| by_size!(job, bytes => play_threads::<Rtrb<bytes>>(job, socket));

/// The ring.
pub struct Rtrb<const BYTES: usize>;

impl<const BYTES: usize> Local for Rtrb<BYTES> {
    type Tx = Producer<[u8; BYTES]>;
    type Rx = Consumer<[u8; BYTES]>;

    fn lane(shape: &Shape) -> Result<Lane<Self::Tx, Self::Rx>> {
        ensure!(shape.senders == 1 && shape.receivers == 1, "one sender and one receiver");
        let (tx, rx) = RingBuffer::new((shape.footprint_bytes() / BYTES).max(2 * shape.batch));
        Ok((vec![tx], vec![rx]))
    }
}

impl<const BYTES: usize> Tx for Producer<[u8; BYTES]> {
    #[inline]
    fn try_send(&mut self, message: &[u8]) -> Result<bool> {
        let message = message.first_chunk().context("a message of the right size")?;
        Ok(self.push(*message).is_ok())
    }

    #[inline]
    fn try_send_batch(&mut self, messages: &[u8], _: usize) -> Result<bool> {
        let (messages, _) = messages.as_chunks();
        Ok(self.push_entire_slice(messages).is_ok())
    }
}

impl<const BYTES: usize> Rx for Consumer<[u8; BYTES]> {
    #[inline]
    fn poll(&mut self, see: &mut impl FnMut(&[u8])) -> Result<usize> {
        let there = self.slots();
        if there == 0 {
            return Ok(0);
        }
        let Ok(chunk) = self.read_chunk(there) else { return Ok(0) };
        let (first, second) = chunk.as_slices();
        first.iter().chain(second).for_each(|message| see(message));
        chunk.commit_all();
        Ok(there)
    }
}
