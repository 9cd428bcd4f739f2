//! One attempt to load: what it may find, and how many there may be.

use crate::error::LoadError;
use crate::snapshot::frame::{Content, Frame};
use crate::snapshot::slots::Slots;
use crate::sync::AtomicU64;
use crate::sys::inspect::allocated_from;
use std::time::{Duration, Instant};

/// Attempts to copy before a load gives up: an honest writer would have to lap every one of them.
const ATTEMPTS: u32 = 10_000;
/// Attempts from which on a load gives up when they take long: copies of a large value.
const FEW_ATTEMPTS: u32 = 8;
const LONG: Duration = Duration::from_secs(1);

/// What an attempt found in the buffer, if that was not overtaken.
pub(super) enum Glance<R> {
    /// Nothing has been published.
    Empty,
    /// The version was overtaken before it was looked at.
    Late,
    /// The position and what was made of the value.
    Value(Option<u64>, R),
    /// A length that does not fit.
    Nonsense,
}

/// The attempts of one load that were overtaken.
#[derive(Debug, Default)]
pub(super) struct Overtaken {
    attempts: u32,
    since: Option<Instant>,
}

impl Overtaken {
    /// An error if there were many, or a few that took long: a hostile writer could go on for ever.
    pub(super) fn count(&mut self) -> Result<(), LoadError> {
        self.attempts += 1;
        let is_long = self.attempts >= FEW_ATTEMPTS && self.since.get_or_insert_with(Instant::now).elapsed() >= LONG;
        if self.attempts < ATTEMPTS && !is_long {
            return Ok(());
        }
        Err(LoadError::Overtaken { attempts: self.attempts })
    }
}

/// Looks at what a buffer holds. `None`: a length that does not fit, or memory that is not there.
#[inline]
pub(super) fn look<'m>(
    slots: &Slots,
    index: usize,
    frame: Frame,
    allocated: Option<&mut Vec<u64>>,
    buffer: u64,
    words: &'m [AtomicU64],
) -> Option<Content<'m>> {
    let Some(allocated) = allocated else { return frame.look(words) };
    let known = usize::try_from(buffer).ok().and_then(|buffer| allocated.get_mut(buffer))?;
    let offset = slots.buffer_offset(index, buffer);
    let find_out =
        |known: u64| known.saturating_add(allocated_from(slots.region().file(), offset + known).unwrap_or(0));
    if *known < frame.meta_bytes() {
        *known = find_out(*known);
    }
    let content = if *known < frame.meta_bytes() { None } else { frame.look(words) }?;
    let needed = frame.meta_bytes() + content.len_bytes;
    if *known < needed {
        *known = find_out(*known);
    }
    (*known >= needed).then_some(content)
}
