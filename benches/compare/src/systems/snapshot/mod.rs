//! The latest value of something: one writer, one reader, who loads it again and again.
//!
//! A value is a row of equal words, its version: a torn one shows. Time is taken until the value was read once,
//! whole: by copying it, or, where the system shows it in place, by adding it up there.

mod limits;
#[cfg(feature = "mmap-sync")]
mod mmap_sync;
mod shm;

use crate::case::{Job, Mode, Part, Shape, Suite};
use crate::child::{ready, wait};
use crate::clock::{Scale, shared_ns, ticks};
use crate::source::{sum, word_of};
use crate::system::{End, Home, Kind, System};
use crate::told::{Told, no_times};
use anyhow::Result;
use std::io::{ErrorKind, Read};
use std::os::unix::net::UnixStream;

/// Loads between two looks at the clock while they are counted.
const LOADS: u64 = 64;
/// Publications between two looks whether it is over.
const TRIES: u64 = 4096;

/// A system that keeps a value.
trait Board {
    /// Publishes.
    type Writer: Publish;
    /// Loads.
    type Reader: Load;

    /// In the parent.
    fn home(shape: &Shape) -> Result<Box<dyn Home>>;
    /// In the writer's process.
    fn writer(shape: &Shape, socket: &UnixStream) -> Result<Self::Writer>;
    /// In the reader's process.
    fn reader(shape: &Shape, socket: &UnixStream) -> Result<Self::Reader>;
}

trait Publish {
    /// Publishes a value. `false`: it could not yet.
    fn publish(&mut self, value: &[u8]) -> Result<bool>;
}

trait Load {
    /// What has to be done before a load, in no time that counts.
    fn prepare(&mut self) {}
    /// Takes the newest value, whole. `false`: there is none yet.
    fn load(&mut self) -> Result<bool>;
    /// Whether the value that was taken is one that was published.
    fn is_whole(&self) -> bool;
}

/// Who keeps values.
pub fn systems() -> Vec<System> {
    vec![
        system::<shm::Slots>("shmlog", Kind::Process),
        #[cfg(feature = "mmap-sync")]
        system::<mmap_sync::MmapSync>("mmap-sync", Kind::Process),
        #[cfg(not(feature = "mmap-sync"))]
        super::missing("mmap-sync", Kind::Process, &[Suite::Snapshot], "built without `mmap-sync`"),
        system::<limits::Memcpy>("memcpy", Kind::Limit),
        limits::line_transfer(),
    ]
}

fn system<B: Board>(name: &'static str, kind: Kind) -> System {
    System { name, kind, suites: &[Suite::Snapshot], how: Ok((B::home, play::<B>)) }
}

/// Whether all words are the same.
fn is_one_version(value: &[u8]) -> bool {
    sum(value) == word_of(value).wrapping_mul((value.len() / 8) as u64)
}

fn play<B: Board>(job: &Job, socket: &UnixStream) -> Result<Vec<Told>> {
    let is_writer = job.seats[0].part.places(0)[0].end == End::Tx;
    let told = if is_writer {
        write(job, B::writer(&job.shape, socket)?, socket)?
    } else {
        read(job, B::reader(&job.shape, socket)?, socket)?
    };
    Ok(vec![told])
}

/// Goes on until the reader is done, which the parent says.
fn write(job: &Job, mut writer: impl Publish, socket: &UnixStream) -> Result<Told> {
    let mut value = vec![0; job.shape.bytes];
    let mut publish = |version: u64| {
        value.chunks_exact_mut(8).for_each(|word| word.copy_from_slice(&version.to_ne_bytes()));
        writer.publish(&value)
    };
    publish(1)?;
    ready(socket)?;
    let mut told = Told { started_ns: shared_ns(), ..Told::new(Part::First) };
    if job.shape.mode == Mode::Idle {
        wait(socket)?;
    } else {
        socket.set_nonblocking(true)?;
        let mut tries = 0_u64;
        while !tries.is_multiple_of(TRIES) || !is_over(socket)? {
            told.count += u64::from(publish(2 + told.count)?);
            tries += 1;
        }
        socket.set_nonblocking(false)?;
    }
    told.ended_ns = shared_ns();
    Ok(told)
}

fn is_over(mut socket: &UnixStream) -> Result<bool> {
    match socket.read(&mut [0]) {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Half of the time for the latencies, half of it, without a clock, for the rate.
fn read(job: &Job, mut reader: impl Load, socket: &UnixStream) -> Result<Told> {
    let scale = Scale::new(job.ps_per_tick);
    ready(socket)?;
    let mut told = Told::new(Part::Second);
    let mut times = no_times();
    reader.prepare();
    while !reader.load()? {}
    let half = scale.ticks(job.seconds / 2.0);
    let deadline = ticks() + half;
    let mut now = 0;
    while now < deadline {
        reader.prepare();
        let before = ticks();
        reader.load()?;
        now = ticks();
        times.saturating_record(scale.ps(now - before, 1));
        told.wrong += u64::from(!reader.is_whole());
    }
    let deadline = ticks() + half;
    told.started_ns = shared_ns();
    while ticks() < deadline {
        for _ in 0..LOADS {
            reader.prepare();
            reader.load()?;
            told.wrong += u64::from(!reader.is_whole());
        }
        told.count += LOADS;
    }
    told.ended_ns = shared_ns();
    Ok(told.with_times(&times))
}
