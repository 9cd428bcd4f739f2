//! A subscriber that comes late, and gets the last sample: its publisher, in a thread of the parent, looks all the time
//! for newcomers, as it is the one to deliver what was before them.

use super::{PATIENCE, Place, Remains, attach, prefix};
use crate::case::{Job, Shape};
use crate::child::ready;
use crate::system::{End, Home, Play};
use crate::systems::attach::{BYTE, arrived};
use anyhow::{Context, Result, anyhow, ensure};
use iceoryx2::port::update_connections::UpdateConnections;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::mpsc::{Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::Instant;

const PLACE: Place = Place { lane: 0, end: End::Rx, index: 0 };

struct Host {
    _remains: Remains,
    is_over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Home for Host {}

impl Drop for Host {
    fn drop(&mut self) {
        self.is_over.store(true, Relaxed);
        // What went wrong was told when it began.
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

/// Starts the publisher.
///
/// # Errors
/// It can't be had here.
pub fn home(shape: &Shape) -> Result<Box<dyn Home>> {
    let remains = Remains { prefix: prefix(shape) };
    let is_over = Arc::new(AtomicBool::new(false));
    let (tell, told) = channel();
    let (shape, over) = (shape.clone(), Arc::clone(&is_over));
    let thread = thread::spawn(move || {
        if let Err(error) = publish(&shape, &over, &tell) {
            // Nobody hears it after the beginning.
            let _ = tell.send(Err(error));
        }
    });
    let host = Host { _remains: remains, is_over, thread: Some(thread) };
    told.recv_timeout(PATIENCE).context("the publisher's thread")??;
    Ok(Box::new(host))
}

fn publish(shape: &Shape, is_over: &AtomicBool, tell: &Sender<Result<()>>) -> Result<()> {
    let (_node, service) = attach(shape, PLACE)?;
    let publisher = service.publisher_builder().initial_max_slice_len(shape.bytes).create();
    let publisher = publisher.map_err(|error| anyhow!("a publisher: {error:?}"))?;
    let sample = publisher.loan_slice_uninit(shape.bytes).map_err(|error| anyhow!("a sample: {error:?}"))?;
    sample.write_from_fn(|_| BYTE).send().map_err(|error| anyhow!("sending: {error:?}"))?;
    tell.send(Ok(()))?;
    while !is_over.load(Relaxed) {
        publisher.update_connections().map_err(|error| anyhow!("connecting: {error:?}"))?;
        thread::yield_now();
    }
    Ok(())
}

/// Subscribes, and waits for the sample.
pub const PLAY: Play = |job: &Job, socket| {
    let (_node, service) = attach(&job.shape, PLACE)?;
    let subscriber = service.subscriber_builder().create().map_err(|error| anyhow!("a subscriber: {error:?}"))?;
    let began = Instant::now();
    let sample = loop {
        if let Some(sample) = subscriber.receive().map_err(|error| anyhow!("receiving: {error:?}"))? {
            break sample;
        }
        ensure!(began.elapsed() < PATIENCE, "no sample came within {PATIENCE:?}");
    };
    let told = arrived(job, sample.payload())?;
    ready(socket)?;
    Ok(told)
};
