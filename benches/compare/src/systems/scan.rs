//! Reading a long log from its beginning, and, as the limit, as many bytes of plain memory.

use super::{NoHome, System};
use crate::case::{Job, Part, Suite};
use crate::child::ready;
use crate::clock::{Scale, shared_ns, ticks};
use crate::source::sum;
use crate::system::Kind;
use crate::told::Told;
use anyhow::{Result, ensure};
use shmlog::{HugePageSize, HugePages, Log, Retention, Start};
use std::os::unix::net::UnixStream;

/// The largest window there is.
const WINDOW_BYTES: u64 = 64 << 20;
/// Words that are added up at once.
const BLOCK_BYTES: usize = 4096;

/// Who scans.
pub fn systems() -> Vec<System> {
    let system =
        |name, kind, play| System { name, kind, suites: &[Suite::Scan], how: Ok((|_| Ok(Box::new(NoHome)), play)) };
    vec![
        system("shmlog", Kind::Process, |job, socket| shmlog(job, socket, HugePages::Off)),
        system("shmlog-huge", Kind::Process, |job, socket| {
            shmlog(job, socket, HugePages::Require(HugePageSize::TwoMiB))
        }),
        system("memory", Kind::Limit, memory),
    ]
}

/// A log that keeps all the records, each of which begins with its number.
///
/// # Errors
/// There is no memory.
pub fn filled(job: &Job, huge: HugePages) -> Result<Log> {
    let (bytes, records) = (job.shape.bytes, job.shape.records);
    // Index, bump word, and what is left over at the end of a window.
    let windows = (records * (bytes as u64 + 8)).div_ceil(WINDOW_BYTES - (1 << 20)) + 2;
    let log = Log::builder()
        .windows(windows)
        .window_bytes(WINDOW_BYTES)
        .record_bytes(bytes as u64)
        .retention(Retention::Keep)
        .huge_pages(huge)
        .create_memfd("compare")?;
    let mut appender = log.exclusive()?;
    let mut record = vec![1; bytes];
    for number in 0..records {
        record[..8].copy_from_slice(&number.to_ne_bytes());
        appender.append(&record)?;
    }
    Ok(log)
}

/// The sum of all words of all records.
fn expected(job: &Job) -> u64 {
    let records = job.shape.records;
    let rest = sum(&vec![1; job.shape.bytes - 8]).wrapping_mul(records);
    (0..records).fold(rest, u64::wrapping_add)
}

fn shmlog(job: &Job, socket: &UnixStream, huge: HugePages) -> Result<Vec<Told>> {
    let log = filled(job, huge)?;
    passes(job, socket, || {
        // A gated reader holds what it reads, and takes the words in place.
        let mut reader = log.reader_builder().gated(true).start(Start::First)?;
        let (mut total, mut count) = (0_u64, 0);
        loop {
            let before = count;
            for record in reader.batch()? {
                total = total.wrapping_add(super::shm::look(record)?);
                count += 1;
            }
            if count == before {
                return Ok((count, total));
            }
        }
    })
}

fn memory(job: &Job, socket: &UnixStream) -> Result<Vec<Told>> {
    let mut bytes = vec![1_u8; job.shape.bytes * usize::try_from(job.shape.records)?];
    for (number, record) in bytes.chunks_exact_mut(job.shape.bytes).enumerate() {
        record[..8].copy_from_slice(&(number as u64).to_ne_bytes());
    }
    passes(job, socket, || {
        let total = std::hint::black_box(&bytes).chunks(BLOCK_BYTES).map(sum).fold(0, u64::wrapping_add);
        Ok((job.shape.records, total))
    })
}

/// Passes over all records until the time is over.
fn passes(job: &Job, socket: &UnixStream, mut pass: impl FnMut() -> Result<(u64, u64)>) -> Result<Vec<Told>> {
    let expected = expected(job);
    ready(socket)?;
    let deadline = ticks() + Scale::new(job.ps_per_tick).ticks(job.seconds);
    let mut told = Told { started_ns: shared_ns(), ..Told::new(Part::First) };
    loop {
        let (count, total) = pass()?;
        ensure!(count == job.shape.records, "{count} of {} records", job.shape.records);
        ensure!(total == expected, "some bytes are not those that were written");
        told.count += count;
        if ticks() >= deadline {
            break;
        }
    }
    told.ended_ns = shared_ns();
    Ok(vec![told])
}
