//! What sending costs the sender.

use super::Stage;
use crate::clock::ticks;
use crate::system::Tx;
use crate::told::{Told, no_times};
use anyhow::Result;

/// Messages that are timed together: the clock costs as much as one of them.
const BLOCK: u64 = 64;
/// Pause of a paced sender after each block, as a multiple of what it took, so that a receiver keeps up.
const PAUSE: u64 = 4;
/// Longest pause, in seconds.
const LONGEST_PAUSE: f64 = 0.001;

/// Sends a block, pauses, and so on, with receivers attached. The pause is not counted.
pub(super) fn pace(mut stage: Stage<'_>, mut tx: impl Tx) -> Result<Told> {
    let mut times = no_times();
    let deadline = stage.deadline();
    let longest = stage.scale.ticks(LONGEST_PAUSE);
    loop {
        let took = block(&mut stage, &mut tx, &mut times)?;
        tx.flush()?;
        let now = ticks();
        if now >= deadline {
            break;
        }
        let until = now + (took * PAUSE).min(longest);
        while ticks() < until {
            std::hint::spin_loop();
        }
    }
    stage.end(&mut tx)?;
    Ok(stage.sent().with_times(&times))
}

/// Sends without a pause. Nobody receives.
pub(super) fn append(mut stage: Stage<'_>, mut tx: impl Tx) -> Result<Told> {
    let mut times = no_times();
    let deadline = stage.deadline();
    while ticks() < deadline {
        block(&mut stage, &mut tx, &mut times)?;
    }
    Ok(stage.sent().with_times(&times))
}

fn block(stage: &mut Stage<'_>, tx: &mut impl Tx, times: &mut crate::told::Times) -> Result<u64> {
    let before = ticks();
    for _ in 0..BLOCK {
        stage.send(tx)?;
    }
    let took = ticks() - before;
    times.saturating_record(stage.scale.ps(took, BLOCK));
    Ok(took)
}
