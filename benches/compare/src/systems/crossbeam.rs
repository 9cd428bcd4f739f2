//! crossbeam's `ArrayQueue`: many senders and many receivers, all threads of one process. Messages go in and out by
//! value. It has no batches.

use super::by_size;
use crate::case::Shape;
use crate::child::play_threads;
use crate::system::{Lane, Local, Play, Rx, Tx};
use anyhow::{Context, Result};
use crossbeam_queue::ArrayQueue;
use std::sync::Arc;

/// Messages that are taken in a row.
const MOST: usize = 64;

/// How it is played, whatever the size of the messages.
pub const PLAY: Play = |job, socket| by_size!(job, bytes => play_threads::<Crossbeam<bytes>>(job, socket));

/// The queue.
pub struct Crossbeam<const BYTES: usize>;

/// Either end of it.
pub struct Half<const BYTES: usize>(Arc<ArrayQueue<[u8; BYTES]>>);

impl<const BYTES: usize> Local for Crossbeam<BYTES> {
    type Tx = Half<BYTES>;
    type Rx = Half<BYTES>;

    fn lane(shape: &Shape) -> Result<Lane<Self::Tx, Self::Rx>> {
        let queue = Arc::new(ArrayQueue::new((shape.footprint_bytes() / BYTES).max(2)));
        let ends = |count| (0..count).map(|_| Half(Arc::clone(&queue))).collect();
        Ok((ends(shape.senders), ends(shape.receivers)))
    }
}

impl<const BYTES: usize> Tx for Half<BYTES> {
    #[inline]
    fn try_send(&mut self, message: &[u8]) -> Result<bool> {
        let message = message.first_chunk().context("a message of the right size")?;
        Ok(self.0.push(*message).is_ok())
    }
}

impl<const BYTES: usize> Rx for Half<BYTES> {
    #[inline]
    fn poll(&mut self, see: &mut impl FnMut(&[u8])) -> Result<usize> {
        for seen in 0..MOST {
            let Some(message) = self.0.pop() else { return Ok(seen) };
            see(&message);
        }
        Ok(MOST)
    }
}
