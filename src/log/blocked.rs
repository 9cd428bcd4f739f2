//! What to do when an append is blocked: clear the dead, wait a moment for an appender that is in
//! the middle of its own append, and say who is in the way.

use crate::core::hold;
use crate::core::locate;
use crate::core::memory::{Memory, Retention};
use crate::core::roll::Kept;
use crate::core::tip::Blocked;
use crate::error::AppendError;
use crate::log::seat;
use crate::mapped::Mapped;
use crate::participant::Holder;
use crate::sync::Ordering::Relaxed;
use std::time::{Duration, Instant};

/// How long an append tries again: for another appender that pinned the oldest segment and was
/// preempted in the middle of its append, or to clear the dead.
const STALL_WAIT: Duration = Duration::from_millis(100);
/// How often an append tries again for a reader that may only be looking whether it came too late.
const READER_TRIES: u32 = 8;
/// How long a verdict «alive» is believed.
const PROBE_EVERY: Duration = Duration::from_millis(1);

/// One appender's memory of who was in the way.
#[derive(Debug)]
pub(crate) struct Patience {
    /// How long to try again at most.
    pub(crate) stall_wait: Duration,
    /// When the holder in the way was last seen alive, and which slot it has.
    probed: Option<(Instant, usize)>,
    /// When the append in hand was first blocked, and how often it was since.
    blocked: Option<(Instant, u32)>,
    /// The slot and hold word of an appender that was waited for in vain: not again.
    stuck: Option<(usize, u64)>,
}

impl Default for Patience {
    fn default() -> Self {
        Self { stall_wait: STALL_WAIT, probed: None, blocked: None, stuck: None }
    }
}

impl Patience {
    /// Begins a new append.
    pub(crate) fn begin(&mut self) {
        self.blocked = None;
    }

    /// `Ok`: try again. `own` is the caller's own slot.
    pub(crate) fn settle(&mut self, mapped: &Mapped, own: usize, blocked: Blocked) -> Result<(), AppendError> {
        match blocked {
            Blocked::Closed => Err(AppendError::Closed),
            Blocked::Corrupt => Err(AppendError::Corrupt),
            Blocked::Exhausted => Err(AppendError::Exhausted),
            Blocked::Kept(Kept::NoBarrier) => Err(AppendError::NoBarrier),
            Blocked::Kept(Kept::ByRetention) => {
                let since = locate::oldest(mapped).map_or(0, |(_, base)| base);
                Err(AppendError::Full { by: None, since })
            }
            Blocked::Kept(Kept::BySlot { slot, segment }) => self.settle_holder(mapped, own, slot, segment),
        }
    }

    fn settle_holder(&mut self, mapped: &Mapped, own: usize, index: usize, segment: u64) -> Result<(), AppendError> {
        let Some(slot) = mapped.slot(index) else { return Err(AppendError::Corrupt) };
        let hold = slot.hold.0.load(Relaxed);
        let full =
            || AppendError::Full { by: Some(Holder::of(slot, index)), since: mapped.base(segment).load(Relaxed) };
        let (since, tries) = self.blocked.map_or_else(|| (Instant::now(), 0), |(since, tries)| (since, tries + 1));
        self.blocked = Some((since, tries));
        // A bound on everything below: a hostile peer may write hold words as fast as they are cleared.
        if tries > 0 && since.elapsed() >= self.stall_wait {
            self.stuck = Some((index, hold));
            return Err(full());
        }
        // Between two attempts this appender holds nothing: somebody else wrote its word.
        if index == own {
            hold::leave(&slot.hold.0);
            return Ok(());
        }
        if self.is_probe_due(index) {
            if seat::bury(mapped, index).unwrap_or(false) {
                return Ok(());
            }
            self.probed = Some((Instant::now(), index));
        }
        let is_waited_for = if mapped.appender_slots().contains(&index) {
            self.stuck != Some((index, hold))
        } else {
            mapped.retention() == Retention::Overwrite && tries < READER_TRIES
        };
        if is_waited_for || hold::blocking(std::slice::from_ref(slot), segment).is_none() {
            std::thread::yield_now();
            return Ok(());
        }
        Err(full())
    }

    fn is_probe_due(&self, index: usize) -> bool {
        self.probed.is_none_or(|(at, slot)| slot != index || at.elapsed() >= PROBE_EVERY)
    }
}
