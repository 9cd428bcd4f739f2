//! Those that write.

use super::disk;
use super::records::Feed;
use super::store::{Settings, Store, Writer};
use crate::case::{Job, Part};
use crate::child::ready;
use crate::clock::{Scale, shared_ns, ticks};
use crate::told::{Told, no_times};
use anyhow::{Result, bail};
use std::os::unix::net::UnixStream;
use std::sync::Barrier;
use std::thread;

/// Records that are appended between two looks at the clock.
const BLOCK: u64 = 64;

/// All writers of this process, together.
///
/// # Errors
/// As the system says.
pub fn write<S: Store>(job: &Job, settings: &Settings, socket: &UnixStream) -> Result<Vec<Told>> {
    let dir = &job.shape.dir;
    let store = S::open(dir, settings)?;
    let (mut hands, mut told) = (Vec::new(), Vec::new());
    for seat in &job.seats {
        let feed = Feed::new(seat.index, job.shape.bytes, job.shape.batch);
        let mut hand = Hand { job, settings, writer: store.writer(seat.index)?, feed };
        told.push(hand.warm_up()?);
        hands.push(hand);
    }
    if settings.is_durable() {
        // What was zeroed ahead is not part of the first commit.
        disk::sync_all(dir)?;
    }
    ready(socket)?;
    let barrier = Barrier::new(hands.len());
    let mut written = thread::scope(|scope| -> Result<Vec<Told>> {
        let mut threads = Vec::new();
        for hand in hands {
            let barrier = &barrier;
            threads.push(scope.spawn(move || {
                barrier.wait();
                hand.write()
            }));
        }
        threads.into_iter().map(|one| one.join().unwrap_or_else(|_| bail!("a thread panicked"))).collect()
    })?;
    if !settings.is_durable() {
        store.sync(dir)?;
        let synced_ns = shared_ns();
        written.iter_mut().for_each(|one| one.synced_ns = synced_ns);
    }
    store.close()?;
    told.extend(written);
    Ok(told)
}

/// One writer and what it writes.
struct Hand<'j, W> {
    job: &'j Job,
    settings: &'j Settings,
    writer: W,
    feed: Feed,
}

impl<W: Writer> Hand<'_, W> {
    /// One unit before the time starts: the first of a new log makes files that the others find.
    fn warm_up(&mut self) -> Result<Told> {
        self.writer.write(&self.feed.batch(self.job.shape.batch), self.settings.is_durable())?;
        Ok(Told { count: self.feed.count(), sum: self.feed.sum, ..Told::new(Part::Fill) })
    }

    /// Writes until the time or the bytes are over.
    fn write(mut self) -> Result<Told> {
        let shape = &self.job.shape;
        let most = (shape.most_bytes / shape.bytes as u64 / shape.senders as u64).max(2);
        let scale = Scale::new(self.job.ps_per_tick);
        let (count, sum) = (self.feed.count(), self.feed.sum);
        let (mut times, mut told) = (no_times(), Told { started_ns: shared_ns(), ..Told::new(Part::Write) });
        let deadline = ticks() + scale.ticks(self.job.seconds);
        while ticks() < deadline && self.feed.count() < most {
            if self.settings.is_durable() {
                let records = self.feed.batch(shape.batch);
                let before = ticks();
                self.writer.write(&records, true)?;
                times.saturating_record(scale.ps(ticks() - before, 1));
            } else {
                for _ in 0..BLOCK {
                    self.writer.write(&[self.feed.one()], false)?;
                }
            }
        }
        told.ended_ns = shared_ns();
        (told.count, told.sum) = (self.feed.count() - count, self.feed.sum.wrapping_sub(sum));
        Ok(told.with_times(&times))
    }
}
