//! Reading a long log by number, and, as the limit, two loads of memory that depend on each other.
//!
//! Where a record is must be read first, then the record: two lines, the second of which can't be asked for before the
//! first is there. Each number depends on the record before, so that no two records are under way at once.

use super::{NoHome, System, scan};
use crate::case::{Job, Part, Suite};
use crate::child::ready;
use crate::clock::{Scale, shared_ns, ticks};
use crate::source::word_of;
use crate::system::Kind;
use crate::told::{Told, no_times};
use anyhow::{Context, Result, ensure};
use shmlog::{HugePageSize, HugePages, Start};
use std::os::unix::net::UnixStream;

/// Loads that are timed together.
const BLOCK: u64 = 64;

/// Who finds.
pub fn systems() -> Vec<System> {
    let system =
        |name, kind, play| System { name, kind, suites: &[Suite::Random], how: Ok((|_| Ok(Box::new(NoHome)), play)) };
    vec![
        system("shmlog", Kind::Process, |job, socket| shmlog(job, socket, HugePages::Off)),
        system("shmlog-huge", Kind::Process, |job, socket| {
            shmlog(job, socket, HugePages::Require(HugePageSize::TwoMiB))
        }),
        system("line-loads", Kind::Limit, line_loads),
    ]
}

fn shmlog(job: &Job, socket: &UnixStream, huge: HugePages) -> Result<Vec<Told>> {
    let log = scan::filled(job, huge)?;
    let reader = log.reader_builder().gated(true).start(Start::First)?;
    let mut first = [0; 8];
    loads(job, socket, |number| {
        let record = reader.get(number)?.context("a record that was appended")?;
        record.copy_to(&mut first)?;
        Ok(u64::from_ne_bytes(first))
    })
}

/// An index of eight bytes a record, and the records on lines of their own size, in another order.
fn line_loads(job: &Job, socket: &UnixStream) -> Result<Vec<Told>> {
    let (bytes, records) = (job.shape.bytes, job.shape.records);
    let mut memory = vec![1_u8; bytes * usize::try_from(records)?];
    let mut index = vec![0_usize; usize::try_from(records)?];
    for (number, place) in index.iter_mut().enumerate() {
        // In the order in which they were appended, as in a log.
        *place = number * bytes;
        memory[*place..*place + 8].copy_from_slice(&(number as u64).to_ne_bytes());
    }
    loads(job, socket, |number| {
        let place = *index.get(number as usize).context("a place")?;
        Ok(word_of(memory.get(place..).context("a record")?))
    })
}

/// Loads records by number; each number is drawn from what the record before says.
fn loads(job: &Job, socket: &UnixStream, mut load: impl FnMut(u64) -> Result<u64>) -> Result<Vec<Told>> {
    let scale = Scale::new(job.ps_per_tick);
    let records = job.shape.records;
    ready(socket)?;
    let mut told = Told { started_ns: shared_ns(), ..Told::new(Part::First) };
    let mut times = no_times();
    let deadline = ticks() + scale.ticks(job.seconds);
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    let (mut now, mut others) = (0, 0);
    while now < deadline {
        let before = ticks();
        for _ in 0..BLOCK {
            // xorshift.
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            let number = ((u128::from(state) * u128::from(records)) >> 64) as u64;
            // 0 if it is the record that it has to be. Looking at once would let the next load begin before this one
            // has ended.
            let other = load(number)? ^ number;
            state ^= other;
            others |= other;
        }
        now = ticks();
        times.saturating_record(scale.ps(now - before, BLOCK));
        ensure!(others == 0, "a record is not the one that was asked for");
        told.count += BLOCK;
    }
    told.ended_ns = shared_ns();
    Ok(vec![told.with_times(&times)])
}
