//! The limits of a load: a copy of what another core has just written, and the transfer of one line.
#![allow(unsafe_code, reason = "memcpy")]

use super::{Board, Load, Publish, is_one_version};
use crate::case::{Mode, Part, Shape, Suite};
use crate::child::play_process;
use crate::system::{Channel, Home, Kind, NoHome, System};
use crate::systems::raw::line::Line;
use crate::systems::raw::map::Map;
use crate::told::{Told, no_times};
use anyhow::Result;
use std::hint::spin_loop;
use std::os::unix::net::UnixStream;
use std::sync::atomic::Ordering::{Acquire, Release};

/// What the writer has written, and what the reader has seen.
const WRITTEN: usize = 0;
const SEEN: usize = 128;
const VALUES: usize = 4096;
/// As many as in shmlog's slots.
const BUFFERS: usize = 8;

/// A copy of each value when it was just written, the two taking turns. If the value stays, of the same one.
pub struct Memcpy;

fn open(shape: &Shape) -> Result<Map> {
    Map::open(&shape.dir.join("values"))
}

fn buffer(version: u64, bytes: usize) -> usize {
    VALUES + (version as usize % BUFFERS) * bytes
}

impl Board for Memcpy {
    type Writer = TurnWriter;
    type Reader = TurnReader;

    fn home(shape: &Shape) -> Result<Box<dyn Home>> {
        Map::make(&shape.dir.join("values"), VALUES + BUFFERS * shape.bytes)?;
        Ok(Box::new(NoHome))
    }

    fn writer(shape: &Shape, _: &UnixStream) -> Result<TurnWriter> {
        Ok(TurnWriter { map: open(shape)?, version: 0 })
    }

    fn reader(shape: &Shape, _: &UnixStream) -> Result<TurnReader> {
        let stays = shape.mode == Mode::Idle;
        Ok(TurnReader { map: open(shape)?, version: 0, value: vec![0; shape.bytes], stays })
    }
}

/// Writes one ahead of the reader.
pub struct TurnWriter {
    map: Map,
    version: u64,
}

impl Publish for TurnWriter {
    fn publish(&mut self, value: &[u8]) -> Result<bool> {
        if self.map.word(SEEN).load(Acquire) != self.version {
            spin_loop();
            return Ok(false);
        }
        self.version += 1;
        // SAFETY: the reader waits until it is told of this version.
        unsafe { self.map.put(buffer(self.version, value.len()), value) };
        self.map.word(WRITTEN).store(self.version, Release);
        Ok(true)
    }
}

/// Copies.
pub struct TurnReader {
    map: Map,
    version: u64,
    value: Vec<u8>,
    stays: bool,
}

impl Load for TurnReader {
    /// Lets the writer write the next one, and waits for it.
    fn prepare(&mut self) {
        if self.stays && self.version > 0 {
            return;
        }
        self.map.word(SEEN).store(self.version, Release);
        while self.map.word(WRITTEN).load(Acquire) == self.version {
            spin_loop();
        }
        self.version += 1;
    }

    fn load(&mut self) -> Result<bool> {
        let bytes = self.value.len();
        // SAFETY: the writer does not come back to this buffer before this reader lets it.
        self.value.copy_from_slice(unsafe { self.map.show(buffer(self.version, bytes), bytes) });
        Ok(self.version > 0)
    }

    fn is_whole(&self) -> bool {
        is_one_version(&self.value)
    }
}

/// The way of one line from a core to another: half of what there and back takes.
pub fn line_transfer() -> System {
    System {
        name: "line-transfer",
        kind: Kind::Limit,
        suites: &[Suite::Snapshot],
        how: Ok((
            |shape| Line::home(&Shape { lanes: 2, ..shape.clone() }),
            |job, socket| {
                let mut job = job.clone();
                job.shape.bytes = 8;
                for seat in &mut job.seats {
                    seat.part = if seat.part == Part::First { Part::Ping } else { Part::Pong };
                }
                let told = play_process::<Line>(&job, socket)?;
                Ok(told.iter().map(halved).collect())
            },
        )),
    }
}

fn halved(one: &Told) -> Told {
    let mut times = no_times();
    for at in one.times().iter_recorded() {
        times.saturating_record_n(at.value_iterated_to() / 2, at.count_at_value());
    }
    let part = if one.part == Part::Ping { Part::Second } else { Part::First };
    Told { part, ..one.clone() }.with_times(&times)
}
