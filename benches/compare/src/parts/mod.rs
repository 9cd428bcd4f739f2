//! The parts that ends play, for any system: only the calls of `Tx` and `Rx` differ.

mod pace;
mod pingpong;
mod stream;
mod wake;

use crate::case::{Job, Part, Seat};
use crate::child::wait;
use crate::clock::{Scale, shared_ns, ticks};
use crate::pin::Idle;
use crate::source::Source;
use crate::system::{Rx, Tx};
use crate::told::Told;
use anyhow::{Context, Result, bail};
use std::os::unix::net::UnixStream;

/// What a part has in its hands.
pub struct Ends<T, R> {
    /// Sends.
    pub tx: Option<T>,
    /// Receives.
    pub rx: Option<R>,
}

/// What all parts need.
struct Stage<'j> {
    job: &'j Job,
    scale: Scale,
    idle: Idle,
    source: Source,
    told: Told,
}

impl<'j> Stage<'j> {
    fn new(seat: &Seat, job: &'j Job) -> Self {
        let mut told = Told::new(seat.part);
        told.started_ns = shared_ns();
        let source = Source::new(seat.index, job.shape.bytes, job.shape.batch);
        Self { job, scale: Scale::new(job.ps_per_tick), idle: Idle::new(job.shape.yields), source, told }
    }

    /// When it is over.
    fn deadline(&self) -> u64 {
        ticks() + self.scale.ticks(self.job.seconds)
    }

    /// Sends the unit that is next; waits for room.
    #[inline]
    fn send(&mut self, tx: &mut impl Tx) -> Result<()> {
        let bytes = self.job.shape.bytes;
        loop {
            let unit = self.source.unit();
            let is_sent = if unit.len() == bytes { tx.try_send(unit)? } else { tx.try_send_batch(unit, bytes)? };
            if is_sent {
                break;
            }
            self.idle.wait();
        }
        self.idle.done();
        self.source.pass();
        Ok(())
    }

    /// Says that there are no more messages.
    fn end(&mut self, tx: &mut impl Tx) -> Result<()> {
        let end = self.source.end();
        while !tx.try_send(&end)? {
            self.idle.wait();
        }
        tx.flush()
    }

    fn sent(mut self) -> Told {
        self.told.ended_ns = shared_ns();
        (self.told.count, self.told.sum) = (self.source.count(), self.source.sum);
        self.told
    }
}

const NO_TX: &str = "it needs an end that sends";
const NO_RX: &str = "it needs an end that receives";

/// Plays a part in a process of its own. `socket` is the parent's.
///
/// # Errors
/// As the ends say.
pub fn play<T: Tx, R: Rx>(ends: Ends<T, R>, seat: &Seat, job: &Job, socket: &UnixStream) -> Result<Told> {
    let stage = Stage::new(seat, job);
    match seat.part {
        Part::Pace => pace::pace(stage, ends.tx.context(NO_TX)?),
        Part::Append => pace::append(stage, ends.tx.context(NO_TX)?),
        Part::Stamp => wake::stamp(stage, ends.tx.context(NO_TX)?),
        Part::Doze => wake::doze(stage, ends.rx.context(NO_RX)?),
        Part::Attend => {
            let told = stage.sent();
            wait(socket)?;
            drop(ends);
            Ok(told)
        }
        _ => play_to_and_fro(ends, seat, job),
    }
}

/// Plays one of the parts that threads play too.
///
/// # Errors
/// As the ends say.
pub fn play_to_and_fro<T: Tx, R: Rx>(ends: Ends<T, R>, seat: &Seat, job: &Job) -> Result<Told> {
    let stage = Stage::new(seat, job);
    match seat.part {
        Part::Ping => pingpong::ping(stage, ends.tx.context(NO_TX)?, ends.rx.context(NO_RX)?),
        Part::Pong => pingpong::pong(stage, ends.tx.context(NO_TX)?, ends.rx.context(NO_RX)?),
        Part::Send => stream::send(stage, ends.tx.context(NO_TX)?),
        Part::Receive => stream::receive(stage, ends.rx.context(NO_RX)?),
        _ => bail!("a part of another play"),
    }
}
