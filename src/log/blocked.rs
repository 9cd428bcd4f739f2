//! What to do when an append is blocked: clear the dead, wait a moment for an appender that is in
//! the middle of its own append, and say who is in the way.

use crate::core::hold;
use crate::core::locate;
use crate::core::memory::Memory;
use crate::core::roll::Kept;
use crate::core::tip::Blocked;
use crate::error::AppendError;
use crate::log::seat::{self, Holder};
use crate::mapped::Mapped;
use crate::sync::Ordering::Relaxed;
use std::time::{Duration, Instant};

/// How long an append waits for another appender that pinned the oldest segment and was preempted
/// in the middle of its append.
pub(crate) const STALL_WAIT: Duration = Duration::from_millis(100);
/// How long a verdict «alive» is believed.
const PROBE_EVERY: Duration = Duration::from_millis(1);

/// One appender's memory of who was in the way.
#[derive(Debug, Default)]
pub(crate) struct Patience {
    /// When the holder in the way was last seen alive, and which slot it has.
    probed: Option<(Instant, usize)>,
    /// When the append in hand first met a pinned appender.
    stalled: Option<Instant>,
    /// The slot and hold word of an appender that was waited for in vain: not again.
    stuck: Option<(usize, u64)>,
}

impl Patience {
    /// Begins a new append.
    pub(crate) fn begin(&mut self) {
        self.stalled = None;
    }

    /// `Ok`: try again. `own` is the caller's own slot.
    pub(crate) fn settle(&mut self, mapped: &Mapped, own: usize, blocked: Blocked) -> Result<(), AppendError> {
        match blocked {
            Blocked::Closed => Err(AppendError::Closed),
            Blocked::Corrupt => Err(AppendError::Corrupt),
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
        if index != own && self.is_probe_due(index) {
            if seat::bury(mapped, index).unwrap_or(false) {
                return Ok(());
            }
            self.probed = Some((Instant::now(), index));
        }
        let hold = (index, slot.hold.0.load(Relaxed));
        if mapped.appender_slots().contains(&index) && index != own && self.wait_a_moment(hold) {
            return Ok(());
        }
        if hold::blocking(std::slice::from_ref(slot), segment).is_none() {
            return Ok(());
        }
        let since = mapped.base(segment).load(Relaxed);
        Err(AppendError::Full { by: Some(Holder::of(slot, index)), since })
    }

    fn is_probe_due(&self, index: usize) -> bool {
        self.probed.is_none_or(|(at, slot)| slot != index || at.elapsed() >= PROBE_EVERY)
    }

    /// Lets a preempted appender run. False: it has had its time.
    fn wait_a_moment(&mut self, hold: (usize, u64)) -> bool {
        if self.stuck == Some(hold) {
            return false;
        }
        let since = *self.stalled.get_or_insert_with(Instant::now);
        std::thread::yield_now();
        let is_in_time = since.elapsed() < STALL_WAIT;
        if !is_in_time {
            self.stuck = Some(hold);
        }
        is_in_time
    }
}
