//! There and back.

use super::Stage;
use super::stream::received;
use crate::clock::ticks;
use crate::source::Check;
use crate::system::{Rx, Tx};
use crate::told::{Told, no_times};
use anyhow::{Result, ensure};

/// Part of the time that does not count.
const WARM_UP: f64 = 0.1;
/// Round trips between two looks at whether it is over.
const TRIPS: usize = 16;

/// Sends and waits for the answer. All words of the answer are read within the time.
pub(super) fn ping(mut stage: Stage<'_>, mut tx: impl Tx, mut rx: impl Rx) -> Result<Told> {
    let mut times = no_times();
    let mut check = Check::new(1);
    let (began, deadline) = (ticks(), stage.deadline());
    let counts_from = began + ((deadline - began) as f64 * WARM_UP) as u64;
    loop {
        let mut now = 0;
        for _ in 0..TRIPS {
            let before = ticks();
            stage.send(&mut tx)?;
            tx.flush()?;
            receive_one(&mut stage, &mut rx, &mut check)?;
            now = ticks();
            if before >= counts_from {
                times.saturating_record(stage.scale.ps(now - before, 1));
            }
        }
        if now >= deadline {
            break;
        }
    }
    stage.end(&mut tx)?;
    // What came back must be what the other side says that it sent; what went there likewise.
    let mut told = stage.sent().with_times(&times);
    ensure!(check.count == told.count, "{} sent, {} came back", told.count, check.count);
    told.wrong += check.wrong;
    told.sum = told.sum.wrapping_sub(check.sum);
    Ok(told)
}

/// Answers each message with one of its own.
pub(super) fn pong(mut stage: Stage<'_>, mut tx: impl Tx, mut rx: impl Rx) -> Result<Told> {
    let mut check = Check::new(1);
    while check.open > 0 {
        receive_one(&mut stage, &mut rx, &mut check)?;
        if check.open > 0 {
            stage.send(&mut tx)?;
            tx.flush()?;
        }
    }
    let sent = stage.source.sum;
    let mut told = received(stage.told, &check);
    told.sum = told.sum.wrapping_sub(sent);
    Ok(told)
}

#[inline]
fn receive_one(stage: &mut Stage<'_>, rx: &mut impl Rx, check: &mut Check) -> Result<()> {
    loop {
        let seen = rx.poll(&mut |message| check.see(message))?;
        if seen == 1 {
            stage.idle.done();
            return Ok(());
        }
        ensure!(seen == 0, "{seen} messages where one was under way");
        stage.idle.wait();
    }
}
