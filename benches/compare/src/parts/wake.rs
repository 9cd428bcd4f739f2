//! A receiver that sleeps, and a sender that sends now and then.

use super::Stage;
use super::stream::received;
use crate::clock::{shared_ns, ticks};
use crate::source::{Check, word_of};
use crate::system::{Rx, Tx};
use crate::told::{Told, no_times};
use anyhow::{Result, ensure};

/// Pause between two messages, in seconds: longer than any receiver spins before it sleeps.
const PAUSE: f64 = 200e-6;

/// Sends its clock in the second word. The pause is spent spinning, so that the sender's core is awake.
pub(super) fn stamp(mut stage: Stage<'_>, mut tx: impl Tx) -> Result<Told> {
    ensure!(stage.job.shape.bytes >= 16, "messages of 16 bytes or more");
    let deadline = stage.deadline();
    let pause = stage.scale.ticks(PAUSE);
    let mut message = vec![0; stage.job.shape.bytes];
    let mut sum = 0_u64;
    loop {
        let until = ticks() + pause;
        while ticks() < until {
            std::hint::spin_loop();
        }
        message.copy_from_slice(stage.source.unit());
        message[8..16].copy_from_slice(&shared_ns().to_ne_bytes());
        while !tx.try_send(&message)? {
            stage.idle.wait();
        }
        tx.flush()?;
        stage.source.pass();
        sum = sum.wrapping_add(crate::source::sum(&message));
        if ticks() >= deadline {
            break;
        }
    }
    stage.end(&mut tx)?;
    let mut told = stage.sent();
    told.sum = sum;
    Ok(told)
}

/// Sleeps, and looks at its clock when it has the message.
pub(super) fn doze(stage: Stage<'_>, mut rx: impl Rx) -> Result<Told> {
    let mut times = no_times();
    let mut check = Check::new(1);
    while check.open > 0 {
        rx.sleep()?;
        let mut see = |message: &[u8]| {
            let count = check.count;
            check.see(message);
            if check.count > count {
                times.saturating_record(shared_ns().saturating_sub(word_of(&message[8..])) * 1000);
            }
        };
        while rx.poll(&mut see)? > 0 {}
    }
    Ok(received(stage.told, &check).with_times(&times))
}
