//! A child: this program again, with a job as its argument and a socket as its standard input.

use crate::case::{Job, Seat, Shape};
use crate::parts::{self, Ends};
use crate::pin::pin;
use crate::system::{Channel, End, Local};
use crate::systems;
use crate::told::{Told, Word};
use anyhow::{Context, Result, bail};
use rustix::process::{Signal, set_parent_process_death_signal};
use std::io::{Read, Write, stdin};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::sync::mpsc::channel;
use std::sync::{Arc, Barrier};
use std::thread;

/// The argument before the job.
pub const FLAG: &str = "--child";

/// Plays the part that the job says, and tells the parent about it.
///
/// # Errors
/// The parent is gone, or has told nonsense.
pub fn main(job: &str) -> Result<()> {
    set_parent_process_death_signal(Some(Signal::KILL))?;
    let socket = UnixStream::from(stdin().as_fd().try_clone_to_owned()?);
    let job: Job = serde_json::from_str(job).context("a job")?;
    let word = match play(&job, &socket) {
        Ok(told) => Word::Done(told),
        Err(error) => Word::Failed(format!("{error:#}")),
    };
    say(&socket, &word)
}

fn play(job: &Job, socket: &UnixStream) -> Result<Vec<Told>> {
    let system = systems::find(job.shape.suite, &job.shape.system).context("there is no such system")?;
    let (_, play) = system.how.map_err(anyhow::Error::msg)?;
    if let [seat] = &job.seats[..] {
        seat.core.map_or(Ok(()), pin)?;
    }
    play(job, socket)
}

/// Says a word to the other side.
///
/// # Errors
/// It is gone.
pub fn say(mut socket: &UnixStream, word: &Word) -> Result<()> {
    let text = serde_json::to_vec(word)?;
    socket.write_all(&(text.len() as u64).to_le_bytes())?;
    Ok(socket.write_all(&text)?)
}

/// Hears what the other side says, which may take as long as the socket allows.
///
/// # Errors
/// It is gone, or silent.
pub fn hear(mut socket: &UnixStream) -> Result<Word> {
    let mut len = [0; 8];
    socket.read_exact(&mut len)?;
    let mut text = vec![0; usize::try_from(u64::from_le_bytes(len))?.min(64 << 20)];
    socket.read_exact(&mut text)?;
    Ok(serde_json::from_slice(&text)?)
}

/// Says that all is attached, and waits until the others are.
///
/// # Errors
/// The parent is gone.
pub fn ready(socket: &UnixStream) -> Result<()> {
    say(socket, &Word::Ready)?;
    wait(socket)
}

/// Waits until the parent says that it goes on.
///
/// # Errors
/// The parent is gone.
pub fn wait(mut socket: &UnixStream) -> Result<()> {
    socket.read_exact(&mut [0]).context("waiting for the others")
}

/// Plays a part of a system whose ends are processes.
///
/// # Errors
/// As the system says.
pub fn play_process<C: Channel>(job: &Job, socket: &UnixStream) -> Result<Vec<Told>> {
    let [seat] = &job.seats[..] else { bail!("one seat for each process") };
    let mut ends = Ends::<C::Tx, C::Rx> { tx: None, rx: None };
    for place in seat.part.places(seat.index) {
        match place.end {
            End::Tx => ends.tx = Some(C::tx(&job.shape, place, socket)?),
            End::Rx | End::Idle => ends.rx = Some(C::rx(&job.shape, place, socket)?),
        }
    }
    ready(socket)?;
    Ok(vec![parts::play(ends, seat, job, socket)?])
}

/// Plays all parts of a system whose ends are threads. If one fails, this returns at once, and the others end with
/// the process.
///
/// # Errors
/// As the system says.
pub fn play_threads<L: Local>(job: &Job, socket: &UnixStream) -> Result<Vec<Told>>
where
    L::Tx: 'static,
    L::Rx: 'static,
{
    let ends = deal::<L>(&job.shape, &job.seats)?;
    ready(socket)?;
    let barrier = Arc::new(Barrier::new(job.seats.len()));
    let (tell, told) = channel();
    for (seat, ends) in job.seats.iter().cloned().zip(ends) {
        let (job, barrier, tell) = (job.clone(), Arc::clone(&barrier), tell.clone());
        thread::spawn(move || {
            let pinned = seat.core.map_or(Ok(()), pin);
            barrier.wait();
            // Nobody hears it if another one has failed.
            let _ = tell.send(pinned.and_then(|()| parts::play_to_and_fro(ends, &seat, &job)));
        });
    }
    drop(tell);
    job.seats.iter().map(|_| told.recv().unwrap_or_else(|_| bail!("a thread panicked"))).collect()
}

fn deal<L: Local>(shape: &Shape, seats: &[Seat]) -> Result<Vec<Ends<L::Tx, L::Rx>>> {
    let mut lanes = Vec::new();
    for _ in 0..shape.lanes {
        let (txs, rxs) = L::lane(shape)?;
        lanes.push((txs.into_iter(), rxs.into_iter()));
    }
    let mut dealt = Vec::new();
    for seat in seats {
        let mut ends = Ends { tx: None, rx: None };
        for place in seat.part.places(seat.index) {
            let (txs, rxs) = lanes.get_mut(place.lane).context("a lane")?;
            match place.end {
                End::Tx => ends.tx = Some(txs.next().context("no more senders")?),
                End::Rx | End::Idle => ends.rx = Some(rxs.next().context("no more receivers")?),
            }
        }
        dealt.push(ends);
    }
    Ok(dealt)
}
