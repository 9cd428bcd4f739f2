//! One way, as fast as it goes.

use super::Stage;
use crate::clock::{shared_ns, ticks};
use crate::source::Check;
use crate::system::{Rx, Tx};
use crate::told::Told;
use anyhow::Result;

/// Units between two looks at the clock.
const UNITS_PER_CLOCK: usize = 64;

pub(super) fn send(mut stage: Stage<'_>, mut tx: impl Tx) -> Result<Told> {
    let deadline = stage.deadline();
    while ticks() < deadline {
        for _ in 0..UNITS_PER_CLOCK {
            stage.send(&mut tx)?;
        }
    }
    stage.end(&mut tx)?;
    Ok(stage.sent())
}

pub(super) fn receive(mut stage: Stage<'_>, mut rx: impl Rx) -> Result<Told> {
    let senders = stage.job.shape.senders;
    let mut check = Check::new(senders);
    while check.open > 0 {
        if rx.poll(&mut |message| check.see(message))? == 0 {
            stage.idle.wait();
        } else {
            stage.idle.done();
        }
    }
    Ok(received(stage.told, &check))
}

/// What a receiver tells.
pub(super) fn received(mut told: Told, check: &Check) -> Told {
    told.ended_ns = shared_ns();
    (told.count, told.sum, told.wrong) = (check.count, check.sum, check.wrong);
    told
}
