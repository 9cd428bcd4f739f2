//! What the children of a trial do.

use super::records::{Check, Feed, stamp, stamp_of, sum};
use super::store::{Reader, Settings, Store, Writer};
use super::write;
use crate::case::{Job, Part, Suite};
use crate::child::ready;
use crate::clock::{Scale, shared_ns, ticks};
use crate::told::{Told, no_times};
use anyhow::{Context, Result, bail, ensure};
use std::os::unix::net::UnixStream;

/// Records that are read between two looks at the clock.
const BLOCK: u64 = 64;

/// Plays the part that the job says.
///
/// # Errors
/// As the system says; or something is not as it was written.
pub fn play<S: Store>(job: &Job, socket: &UnixStream) -> Result<Vec<Told>> {
    let settings = Settings::of(&job.shape);
    match (job.seats.first().context("a seat")?.part, job.shape.suite) {
        (Part::Write, _) => write::write::<S>(job, &settings, socket),
        (Part::Fill, _) => fill::<S>(job, &settings, socket),
        (Part::Verify, _) => verify::<S>(job, &settings, socket),
        (Part::Look, Suite::JournalScan) => scan::<S>(job, &settings, socket),
        (Part::Look, Suite::JournalRandom) => random::<S>(job, &settings, socket),
        (Part::Look, Suite::JournalOpen) => open::<S>(job, &settings, socket),
        (part, suite) => bail!("no {part:?} in {}", suite.name()),
    }
}

fn fill<S: Store>(job: &Job, settings: &Settings, socket: &UnixStream) -> Result<Vec<Told>> {
    ready(socket)?;
    let shape = &job.shape;
    let store = S::open(&shape.dir, settings)?;
    let mut feed = Feed::new(0, shape.bytes, S::FILL_UNIT);
    let mut writer = store.writer(0)?;
    while feed.count() < shape.records {
        let count = (shape.records - feed.count()).min(S::FILL_UNIT as u64);
        writer.write(&feed.batch(count as usize), false)?;
    }
    drop(writer);
    store.sync(&shape.dir)?;
    store.close()?;
    Ok(vec![Told { count: feed.count(), sum: feed.sum, ..Told::new(Part::Fill) }])
}

fn verify<S: Store>(job: &Job, settings: &Settings, socket: &UnixStream) -> Result<Vec<Told>> {
    ready(socket)?;
    let store = S::open(&job.shape.dir, settings)?;
    let check = store.reader()?.scan(Check::new(job.shape.senders, job.shape.bytes))?;
    store.close()?;
    Ok(vec![Told { count: check.count, sum: check.sum, wrong: check.wrong, ..Told::new(Part::Verify) }])
}

/// Passes over all records until the time is over.
fn scan<S: Store>(job: &Job, settings: &Settings, socket: &UnixStream) -> Result<Vec<Told>> {
    let shape = &job.shape;
    let store = S::open(&shape.dir, settings)?;
    let mut reader = store.reader()?;
    ready(socket)?;
    let mut told = Told { started_ns: shared_ns(), ..Told::new(Part::Look) };
    let deadline = ticks() + Scale::new(job.ps_per_tick).ticks(job.seconds);
    loop {
        let check = reader.scan(Check::new(1, shape.bytes))?;
        ensure!(check.count == shape.records, "{} of {} records", check.count, shape.records);
        told.wrong += check.wrong;
        told.count += check.count;
        told.sum = check.sum;
        if S::IS_READ_ONCE || ticks() >= deadline {
            break;
        }
    }
    told.ended_ns = shared_ns();
    drop(reader);
    store.close()?;
    Ok(vec![told])
}

/// Gets, each of a number that is drawn from what the one before held, so that no two are under way at once.
fn random<S: Store>(job: &Job, settings: &Settings, socket: &UnixStream) -> Result<Vec<Told>> {
    let shape = &job.shape;
    let store = S::open(&shape.dir, settings)?;
    let mut reader = store.reader()?;
    if !S::IS_READ_ONCE {
        reader.scan(Check::new(1, shape.bytes)).context("reading all of it once")?;
    }
    ready(socket)?;
    let scale = Scale::new(job.ps_per_tick);
    let (mut draw, mut times) = (1_u64, no_times());
    let mut told = Told { started_ns: shared_ns(), ..Told::new(Part::Look) };
    let deadline = ticks() + scale.ticks(job.seconds);
    let mut before = ticks();
    while before < deadline {
        for _ in 0..BLOCK {
            let number = ((u128::from(draw) * u128::from(shape.records)) >> 64) as u64;
            let mut seen = (0, 0);
            reader.get(number, &mut |record| seen = (stamp_of(record), sum(record)))?;
            told.wrong += u64::from(seen.0 != stamp(0, number));
            draw = (draw ^ seen.1).wrapping_mul(0x9E37_79B9_7F4A_7C15).wrapping_add(1);
            draw ^= draw >> 29;
        }
        told.count += BLOCK;
        let now = ticks();
        times.saturating_record_n(scale.ps(now - before, BLOCK), BLOCK);
        before = now;
    }
    told.ended_ns = shared_ns();
    drop(reader);
    store.close()?;
    Ok(vec![told.with_times(&times)])
}

fn open<S: Store>(job: &Job, settings: &Settings, socket: &UnixStream) -> Result<Vec<Told>> {
    ready(socket)?;
    let mut times = no_times();
    let before = ticks();
    let store = S::open(&job.shape.dir, settings)?;
    times.saturating_record(Scale::new(job.ps_per_tick).ps(ticks() - before, 1));
    store.close()?;
    Ok(vec![Told { count: 1, ..Told::new(Part::Look) }.with_times(&times)])
}
