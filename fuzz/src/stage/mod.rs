//! A log with appenders and readers on it, and what it must hold unless somebody scribbled.

mod readers;
mod writers;

use crate::ground::{Ground, LogShape};
use crate::model::{Len, Rec};
use crate::scribble::Scribble;
use arbitrary::Arbitrary;
use shmlog::{Appender, Exclusive, Reader, Shared};
use std::rc::Rc;

/// One who appends.
enum Writer {
    Shared(Appender<Shared>),
    Alone(Appender<Exclusive>),
}

/// One who reads.
struct Actor {
    reader: Reader,
    holds: bool,
}

/// What is done with a reservation while it is out.
#[derive(Arbitrary, Clone, Copy, Debug)]
pub enum Meanwhile {
    /// The other appender appends so many short records.
    Append(u8),
    Read(u8),
    Scribble(Scribble),
}

/// A sequence number.
#[derive(Arbitrary, Clone, Copy, Debug)]
pub enum Seq {
    /// Counted from the end.
    Back(i8),
    /// Counted from the first record that there was at the beginning.
    From(u8),
    Any(u64),
}

/// Where a reader begins.
#[derive(Arbitrary, Clone, Copy, Debug)]
pub enum From {
    Oldest,
    First,
    End,
    At(Seq),
}

/// See the module.
pub struct Stage {
    pub ground: Rc<Ground>,
    writers: [Option<Writer>; 2],
    readers: [Option<Actor>; 3],
    records: Vec<Rec>,
    is_closed: bool,
    /// Nobody scribbled: the log is what the list is.
    is_clean: bool,
    slots_out: usize,
    salt: u8,
}

impl Stage {
    pub fn new(shape: LogShape) -> Self {
        let ground = Ground::of(shape);
        let records = ground.records.clone();
        let (writers, readers) = ([const { None }; 2], [const { None }; 3]);
        Self { ground, writers, readers, records, is_closed: false, is_clean: true, slots_out: 0, salt: 0 }
    }

    /// The sequence number that comes next.
    fn end(&self) -> u64 {
        self.ground.first + self.records.len() as u64
    }

    fn seq(&self, seq: Seq) -> u64 {
        match seq {
            Seq::Back(back) => self.end().wrapping_add_signed(back.into()),
            Seq::From(from) => self.ground.first.wrapping_add(from.into()),
            Seq::Any(seq) => seq,
        }
    }

    pub fn scribble(&mut self, scribble: &Scribble) {
        self.is_clean &= !scribble.apply(&self.ground);
    }

    /// A record that differs from the one before.
    pub fn rec(&mut self, len: Len, parts: Option<u8>) -> Rec {
        self.salt = self.salt.wrapping_add(1);
        Rec { salt: self.salt, len: len.of(self.limit()), parts }
    }

    fn limit(&self) -> usize {
        self.ground.limit
    }

    fn holds(&self) -> bool {
        self.slots_out > 0 || self.readers.iter().flatten().any(|actor| actor.holds)
    }

    pub fn info(&self) {
        let info = self.ground.log.info();
        if self.is_clean {
            assert_eq!((info.next_seq, info.is_closed), (self.end(), self.is_closed));
            assert!(info.oldest_seq <= info.next_seq);
        }
    }

    /// Everybody reads on to the end; then a new one reads what there is.
    pub fn end_of_play(mut self) {
        self.info();
        for who in 0..3 {
            // One that finds no place yields the processor each time: once is enough.
            for _ in 0..40 {
                self.try_next(who);
                if self.readers[usize::from(who)].is_none() {
                    break;
                }
            }
        }
        self.readers[0] = None;
        self.join(0, false, From::Oldest);
        self.batch(0);
    }
}
