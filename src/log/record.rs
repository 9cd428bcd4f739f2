//! A record as a reader has it: bytes in shared memory, copied out with a check.
#![allow(unsafe_code, reason = "as_slice lends the arena's bytes")]

use crate::core::{copy, locate};
use crate::error::ReadError;
use crate::layout::entry::Kind;
use crate::log::parts;
use crate::mapped::Mapped;
use crate::sync::AtomicU64;
use std::ops::Deref;
use zerocopy::{FromBytes, IntoBytes};

/// What keeps a record's bytes from being recycled while it is looked at.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Guard<'r> {
    pub(crate) mapped: &'r Mapped,
    pub(crate) segment: u64,
    pub(crate) seq: u64,
    /// Nobody recycles the segment while the record lives: a gate, a pin, or a log that keeps all.
    pub(crate) is_held: bool,
}

impl Guard<'_> {
    /// After reading: whether what was read is the record.
    #[inline]
    fn check(&self) -> Result<(), ReadError> {
        let is_retained = self.is_held || locate::is_retained(self.mapped, self.segment);
        // Last: `head` may be gone too.
        if self.mapped.was_lost() {
            return Err(ReadError::MemoryLost);
        }
        if is_retained { Ok(()) } else { Err(given_up(self.mapped, self.seq)) }
    }
}

/// What is said of a record that is not there any more.
#[cold]
pub(crate) fn given_up(mapped: &Mapped, seq: u64) -> ReadError {
    ReadError::GivenUp { seq, oldest: locate::oldest(mapped).map_or(seq, |(_, base)| base) }
}

/// Bytes in the log: a record's, or those of one part of it.
///
/// The safe methods copy the bytes out by atomic words. If the record may be recycled meanwhile (a
/// free reader), they then make sure that it was not, and return [`ReadError::GivenUp`] if it was.
#[derive(Clone, Copy, Debug)]
pub struct View<'r> {
    words: &'r [AtomicU64],
    len_bytes: usize,
    guard: Guard<'r>,
}

impl<'r> View<'r> {
    pub(crate) fn new(words: &'r [AtomicU64], len_bytes: usize, guard: Guard<'r>) -> Self {
        Self { words, len_bytes, guard }
    }

    /// Length in bytes.
    #[inline]
    pub fn len(&self) -> usize {
        self.len_bytes
    }

    /// Whether there are no bytes.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.len_bytes == 0
    }

    /// Copies to the front of `to`, as much as fits; returns how many bytes that were.
    ///
    /// # Errors
    /// [`ReadError::GivenUp`]: recycled meanwhile; what is in `to` is worth nothing.
    #[inline]
    pub fn copy_to(&self, to: &mut [u8]) -> Result<usize, ReadError> {
        let len = self.len_bytes.min(to.len());
        copy::read(self.words, &mut to[..len]);
        self.guard.check()?;
        Ok(len)
    }

    /// Copies to a new vector.
    ///
    /// # Errors
    /// [`ReadError::GivenUp`]: recycled meanwhile.
    pub fn to_vec(&self) -> Result<Vec<u8>, ReadError> {
        let mut bytes = vec![0; self.len_bytes];
        self.copy_to(&mut bytes)?;
        Ok(bytes)
    }

    /// Copies plain data out.
    ///
    /// # Errors
    /// [`ReadError::WrongLength`] unless the length is exactly `T`'s; [`ReadError::GivenUp`]:
    /// recycled meanwhile.
    #[inline]
    pub fn read<T: FromBytes + IntoBytes>(&self) -> Result<T, ReadError> {
        let wanted_bytes = size_of::<T>();
        if self.len_bytes != wanted_bytes {
            return Err(ReadError::WrongLength { found_bytes: self.len_bytes, wanted_bytes });
        }
        let mut value = T::new_zeroed();
        copy::read(self.words, value.as_mut_bytes());
        self.guard.check()?;
        Ok(value)
    }

    /// The words themselves, for in-place mutation that others see. The last one is padded.
    ///
    /// A committed record is everybody's: agree on who writes what. `shmlog` itself never writes
    /// them again before the segment is recycled.
    ///
    /// # Errors
    /// [`ReadError::NotHeld`] unless the record is held (gated or pinned reader, or
    /// `Retention::Keep`); [`ReadError::ReadOnly`] on a read-only mapping.
    pub fn atomics(&self) -> Result<&'r [AtomicU64], ReadError> {
        if !self.guard.is_held {
            return Err(ReadError::NotHeld);
        }
        if !self.guard.mapped.log().is_writable() {
            return Err(ReadError::ReadOnly);
        }
        Ok(self.words)
    }

    /// The bytes in place, without a copy.
    ///
    /// # Errors
    /// [`ReadError::NotHeld`] unless the record is held (gated or pinned reader, or
    /// `Retention::Keep`).
    ///
    /// # Safety
    /// All peers follow the protocol, and none mutates the record in place, while the result lives:
    /// a peer that writes to these bytes meanwhile makes this undefined behaviour.
    pub unsafe fn as_slice(&self) -> Result<&'r [u8], ReadError> {
        if !self.guard.is_held {
            return Err(ReadError::NotHeld);
        }
        // SAFETY: the words are `len_bytes` or more bytes of a mapping that lives for `'r`; nobody
        // recycles them (held) and the caller vouches that nobody writes them.
        Ok(unsafe { std::slice::from_raw_parts(self.words.as_ptr().cast(), self.len_bytes) })
    }
}

/// One record.
#[derive(Clone, Copy, Debug)]
pub struct Record<'r> {
    view: View<'r>,
    kind: Kind,
}

impl<'r> Record<'r> {
    pub(crate) fn new(view: View<'r>, kind: Kind) -> Self {
        Self { view, kind }
    }

    /// Its sequence number.
    #[inline]
    pub fn seq(&self) -> u64 {
        self.view.guard.seq
    }

    /// Whether it was appended as several parts. [`View::len`] then counts their lengths too.
    #[inline]
    pub fn is_batch(&self) -> bool {
        self.kind == Kind::Batch
    }

    /// Its parts: of a batch, those appended; of any other record, the record itself.
    pub fn parts(&self) -> Parts<'r> {
        let view = self.view;
        Parts { rest: view.words, view, state: if self.is_batch() { State::Batch } else { State::Single } }
    }
}

impl<'r> Deref for Record<'r> {
    type Target = View<'r>;

    #[inline]
    fn deref(&self) -> &View<'r> {
        &self.view
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Single,
    Batch,
    Done,
}

/// The parts of a record, by [`Record::parts`].
#[derive(Clone, Debug)]
pub struct Parts<'r> {
    rest: &'r [AtomicU64],
    view: View<'r>,
    state: State,
}

impl<'r> Iterator for Parts<'r> {
    /// An error if the record was recycled under a free reader, or its lengths make no sense.
    type Item = Result<View<'r>, ReadError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.state == State::Single {
            self.state = State::Done;
            return Some(Ok(self.view));
        }
        if self.state == State::Done || self.rest.is_empty() {
            return None;
        }
        let cut = parts::split(self.rest);
        // A length read from a recycled record is nonsense: check before it is used.
        if let Err(error) = self.view.guard.check() {
            self.state = State::Done;
            return Some(Err(error));
        }
        let Some((words, len_bytes, rest)) = cut else {
            self.state = State::Done;
            return Some(Err(ReadError::Corrupt { seq: self.view.guard.seq }));
        };
        self.rest = rest;
        Some(Ok(View { words, len_bytes, ..self.view }))
    }
}
