//! Waiting: spin, spin then yield, or sleep on a doorbell.

use crate::core::doorbell::announce;
use crate::layout::board::Doorbell;
use crate::sys::futex;
use std::hint::spin_loop;
use std::time::{Duration, Instant};

/// Looks before a yield or a sleep; some microseconds.
const SPINS: u32 = 200;
/// Looks between two looks at the clock while spinning.
const SPINS_PER_CLOCK: u32 = 64;
/// Longest sleep between two looks: what a wake-up lost with a killed appender can cost.
const SLICE: Duration = Duration::from_millis(50);
/// Sleep between two looks where there is no doorbell to sleep on.
const NAP: Duration = Duration::from_micros(200);

/// Sleep between two tries to take the place of another process, which the kernel frees when that dies.
const STAND_BY: Duration = Duration::from_millis(1);

/// How a handle waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum Wait {
    /// Looks all the time: the lowest latency, a core for each waiter.
    Spin,
    /// Looks for some microseconds, then lets others run between looks.
    SpinThenYield,
    /// Looks for some microseconds, then sleeps until woken (futex(2)): some microseconds to wake, and
    /// the appender pays for the wake. Each sleep, of 50 ms at most, costs one
    /// `membarrier`. If the appender that should wake it is killed between commit and wake, it wakes by
    /// itself within those 50 ms.
    #[default]
    Block,
}

/// Looks until there is something, or until `deadline`. `heavy_fence` is the one of the memory that the
/// doorbell belongs to.
pub(crate) fn until<T>(
    heavy_fence: impl Fn(),
    doorbell: Option<&Doorbell>,
    wait: Wait,
    deadline: Option<Instant>,
    mut look: impl FnMut() -> Option<T>,
) -> Option<T> {
    let mut looks = 0_u32;
    loop {
        if let Some(found) = look() {
            return Some(found);
        }
        looks = looks.wrapping_add(1);
        if looks < SPINS || wait == Wait::Spin {
            spin_loop();
            if !looks.is_multiple_of(SPINS_PER_CLOCK) {
                continue;
            }
        }
        if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
            return None;
        }
        if looks < SPINS {
            continue;
        }
        match wait {
            Wait::Spin => {}
            Wait::SpinThenYield => std::thread::yield_now(),
            Wait::Block => {
                if let Some(found) = sleep(&heavy_fence, doorbell, deadline, &mut look) {
                    return Some(found);
                }
            }
        }
    }
}

/// Announces, looks once more, sleeps one slice.
fn sleep<T>(
    heavy_fence: &impl Fn(),
    doorbell: Option<&Doorbell>,
    deadline: Option<Instant>,
    look: &mut impl FnMut() -> Option<T>,
) -> Option<T> {
    let left = deadline.map_or(SLICE, |deadline| deadline.saturating_duration_since(Instant::now()).min(SLICE));
    let Some(doorbell) = doorbell else {
        std::thread::sleep(left.min(NAP));
        return None;
    };
    let ticket = announce(doorbell);
    // Pairs with `light_fence` in `doorbell::is_called`. Refused: a wake-up may be lost, and the
    // slice is the bound.
    heavy_fence();
    let found = look();
    if found.is_none() {
        futex::sleep(&doorbell.bell, ticket, left);
    }
    found
}

/// The moment `timeout` from now; `None` if that is never.
pub(crate) fn deadline_in(timeout: Duration) -> Option<Instant> {
    Instant::now().checked_add(timeout)
}

/// Tries again, every millisecond, what fails because another process has the place, until `timeout`.
pub(crate) fn standing_by<T, E>(
    timeout: Duration,
    mut attempt: impl FnMut() -> Result<T, E>,
    is_taken: impl Fn(&E) -> bool,
) -> Result<T, E> {
    let started = Instant::now();
    loop {
        match attempt() {
            Err(error) if is_taken(&error) && started.elapsed() < timeout => std::thread::sleep(STAND_BY),
            done => return done,
        }
    }
}
