//! disruptor: a ring of events, all ends threads of one process; with one producer, or with many.
//!
//! An event is filled in place; the receiver polls and looks at all that are there, in place. A batch is published
//! at once.

use super::by_size;
use crate::case::Shape;
use crate::child::play_threads;
use crate::system::{Lane, Local, Play, Rx, Tx};
use anyhow::{Result, bail, ensure};
use disruptor::{
    BusySpin, EventPoller, MultiProducer, MultiProducerBarrier, Polling, Producer, SingleConsumerBarrier,
    SingleProducer, SingleProducerBarrier, build_multi_producer, build_single_producer,
};

/// How it is played with one producer.
pub const PLAY_SINGLE: Play = |job, socket| by_size!(job, bytes => play_threads::<Single<bytes>>(job, socket));
/// How it is played with many.
pub const PLAY_MULTI: Play = |job, socket| by_size!(job, bytes => play_threads::<Multi<bytes>>(job, socket));

/// One producer.
pub struct Single<const BYTES: usize>;
/// Many producers.
pub struct Multi<const BYTES: usize>;

/// What is in the ring.
pub struct Event<const BYTES: usize>([u8; BYTES]);

/// A power of two.
fn slots(shape: &Shape) -> usize {
    1 << (shape.footprint_bytes() / shape.bytes).max(2 * shape.batch).ilog2()
}

impl<const BYTES: usize> Local for Single<BYTES> {
    type Tx = Sending<SingleProducer<Event<BYTES>, SingleConsumerBarrier>, BYTES>;
    type Rx = EventPoller<Event<BYTES>, SingleProducerBarrier>;

    fn lane(shape: &Shape) -> Result<Lane<Self::Tx, Self::Rx>> {
        ensure!(shape.senders == 1 && shape.receivers == 1, "one sender and one receiver");
        let (rx, builder) = build_single_producer(slots(shape), || Event([0; BYTES]), BusySpin).new_event_poller();
        Ok((vec![Sending(builder.build())], vec![rx]))
    }
}

impl<const BYTES: usize> Local for Multi<BYTES> {
    type Tx = Sending<MultiProducer<Event<BYTES>, SingleConsumerBarrier>, BYTES>;
    type Rx = EventPoller<Event<BYTES>, MultiProducerBarrier>;

    fn lane(shape: &Shape) -> Result<Lane<Self::Tx, Self::Rx>> {
        ensure!(shape.receivers == 1, "one receiver");
        let (rx, builder) = build_multi_producer(slots(shape), || Event([0; BYTES]), BusySpin).new_event_poller();
        let first = builder.build();
        let txs = (0..shape.senders).map(|_| Sending(first.clone())).collect();
        Ok((txs, vec![rx]))
    }
}

/// Publishes.
pub struct Sending<P, const BYTES: usize>(P);

impl<const BYTES: usize, P: Producer<Event<BYTES>>> Tx for Sending<P, BYTES> {
    #[inline]
    fn try_send(&mut self, message: &[u8]) -> Result<bool> {
        Ok(self.0.try_publish(|event| event.0.copy_from_slice(message)).is_ok())
    }

    #[inline]
    fn try_send_batch(&mut self, messages: &[u8], bytes: usize) -> Result<bool> {
        let published = self.0.try_batch_publish(messages.len() / bytes, |events| {
            for (event, message) in events.zip(messages.chunks_exact(bytes)) {
                event.0.copy_from_slice(message);
            }
        });
        Ok(published.is_ok())
    }
}

/// Its barriers have no trait that could be named here.
macro_rules! receives {
    ($($barrier:ty)*) => {$(
        impl<const BYTES: usize> Rx for EventPoller<Event<BYTES>, $barrier> {
            #[inline]
            fn poll(&mut self, see: &mut impl FnMut(&[u8])) -> Result<usize> {
                match EventPoller::poll(self) {
                    Ok(mut events) => {
                        let there = (&mut events).len();
                        (&mut events).for_each(|event| see(&event.0));
                        Ok(there)
                    }
                    Err(Polling::NoEvents) => Ok(0),
                    Err(Polling::Shutdown) => bail!("the producer is gone"),
                }
            }
        }
    )*};
}
receives!(SingleProducerBarrier MultiProducerBarrier);
