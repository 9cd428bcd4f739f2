//! What victims do with a log.

use crate::log_stage::LogStage;
use crate::record::{Author, PART_BYTES, bytes};
use crate::stage::VICTIM;
use crate::victim::mark;
use anyhow::Result;
use shmlog::{Appender, Exclusive, JoinError, Mode, Reader, Shared, Start};
use std::hint::black_box;
use std::time::Duration;

/// Longer than any sweep.
const FOREVER: Duration = Duration::from_secs(3600);

type Made<M> = Result<(Appender<M>, Vec<u8>)>;

/// An appender that has appended its first record, if it has one, and its next record.
fn begun<M: Mode>(stage: &LogStage<'_>, mut appender: Appender<M>) -> Made<M> {
    let first_len = stage.operation.first_len;
    if first_len == 0 {
        return Ok((appender, bytes(Author::Victim, 0, stage.operation.len)));
    }
    appender.append(&bytes(Author::Victim, 0, first_len))?;
    Ok((appender, bytes(Author::Victim, 1, stage.operation.len)))
}

fn shared(stage: &LogStage<'_>) -> Made<Shared> {
    begun(stage, stage.log.appender_named(VICTIM)?)
}

fn exclusive(stage: &LogStage<'_>) -> Made<Exclusive> {
    begun(stage, stage.log.exclusive_named(VICTIM)?)
}

fn append<M: Mode>((mut appender, record): (Appender<M>, Vec<u8>)) -> Result<u64> {
    mark();
    let seq = appender.append(&record);
    mark();
    Ok(seq?)
}

pub(crate) fn append_shared(stage: &LogStage<'_>) -> Result<u64> {
    append(shared(stage)?)
}

pub(crate) fn append_exclusive(stage: &LogStage<'_>) -> Result<u64> {
    append(exclusive(stage)?)
}

pub(crate) fn append_wait(stage: &LogStage<'_>) -> Result<u64> {
    let (mut appender, record) = shared(stage)?;
    mark();
    let seq = appender.append_wait(&record, FOREVER);
    mark();
    Ok(seq?)
}

pub(crate) fn batch(stage: &LogStage<'_>) -> Result<u64> {
    let (mut appender, _) = shared(stage)?;
    let number = u64::from(stage.operation.first_len > 0);
    let parts = PART_BYTES.map(|len| bytes(Author::Victim, number, len));
    let parts: Vec<_> = parts.iter().map(Vec::as_slice).collect();
    mark();
    let seq = appender.append_parts(&parts);
    mark();
    Ok(seq?)
}

fn reserve_and_commit<M: Mode>((mut appender, record): (Appender<M>, Vec<u8>)) -> Result<u64> {
    mark();
    let seq = appender.reserve(record.len()).map(|mut slot| {
        slot.write(0, &record);
        slot.commit()
    });
    mark();
    Ok(seq??)
}

pub(crate) fn reserve_commit_shared(stage: &LogStage<'_>) -> Result<u64> {
    reserve_and_commit(shared(stage)?)
}

pub(crate) fn reserve_commit_exclusive(stage: &LogStage<'_>) -> Result<u64> {
    reserve_and_commit(exclusive(stage)?)
}

pub(crate) fn reserve_drop(stage: &LogStage<'_>) -> Result<u64> {
    let (mut appender, record) = shared(stage)?;
    mark();
    let written = appender.reserve(record.len()).map(|mut slot| slot.write(0, &record));
    mark();
    Ok(written? as u64)
}

/// The reservation was made before the segment was closed by others.
pub(crate) fn commit(stage: &LogStage<'_>) -> Result<u64> {
    let (mut appender, record) = shared(stage)?;
    let mut slot = appender.reserve(record.len())?;
    slot.write(0, &record);
    mark();
    let seq = slot.commit();
    mark();
    Ok(seq?)
}

fn close<M: Mode>((appender, _): (Appender<M>, Vec<u8>)) -> Result<u64> {
    mark();
    let count = appender.close();
    mark();
    Ok(count?)
}

pub(crate) fn close_shared(stage: &LogStage<'_>) -> Result<u64> {
    close(shared(stage)?)
}

pub(crate) fn close_exclusive(stage: &LogStage<'_>) -> Result<u64> {
    close(exclusive(stage)?)
}

pub(crate) fn attach_shared(stage: &LogStage<'_>) -> Result<u64> {
    mark();
    let appender = stage.log.appender_named(VICTIM);
    mark();
    Ok(appender?.limit_bytes() as u64)
}

pub(crate) fn attach_exclusive(stage: &LogStage<'_>) -> Result<u64> {
    mark();
    let appender = stage.log.exclusive_named(VICTIM);
    mark();
    Ok(appender?.limit_bytes() as u64)
}

pub(crate) fn attach_append_shared(stage: &LogStage<'_>) -> Result<u64> {
    let record = bytes(Author::Victim, 0, stage.operation.len);
    mark();
    let seq = stage.log.appender_named(VICTIM).map(|mut appender| appender.append(&record));
    mark();
    Ok(seq??)
}

pub(crate) fn attach_append_exclusive(stage: &LogStage<'_>) -> Result<u64> {
    let record = bytes(Author::Victim, 0, stage.operation.len);
    mark();
    let seq = stage.log.exclusive_named(VICTIM).map(|mut appender| appender.append(&record));
    mark();
    Ok(seq??)
}

fn detach<T>(handle: T) -> Result<u64> {
    mark();
    drop(black_box(handle));
    mark();
    Ok(0)
}

pub(crate) fn detach_shared(stage: &LogStage<'_>) -> Result<u64> {
    detach(shared(stage)?.0)
}

pub(crate) fn detach_exclusive(stage: &LogStage<'_>) -> Result<u64> {
    detach(exclusive(stage)?.0)
}

/// One exclusive appender goes, another one comes and appends.
pub(crate) fn hand_over(stage: &LogStage<'_>) -> Result<u64> {
    let (appender, record) = exclusive(stage)?;
    mark();
    drop(black_box(appender));
    let seq = stage.log.exclusive_named(VICTIM).map(|mut next| next.append(&record));
    mark();
    Ok(seq??)
}

/// An exclusive appender goes, a shared one comes and appends.
pub(crate) fn open_up(stage: &LogStage<'_>) -> Result<u64> {
    let (appender, record) = exclusive(stage)?;
    mark();
    drop(black_box(appender));
    let seq = stage.log.appender_named(VICTIM).map(|mut next| next.append(&record));
    mark();
    Ok(seq??)
}

fn reader(stage: &LogStage<'_>, is_gated: bool) -> Result<Reader> {
    Ok(stage.log.reader_builder().name(VICTIM).gated(is_gated).start(Start::Oldest)?)
}

pub(crate) fn attach_reader(stage: &LogStage<'_>) -> Result<u64> {
    mark();
    let reader = reader(stage, false);
    mark();
    Ok(reader?.position())
}

pub(crate) fn attach_gated(stage: &LogStage<'_>) -> Result<u64> {
    mark();
    let reader = reader(stage, true);
    mark();
    Ok(reader?.position())
}

pub(crate) fn detach_reader(stage: &LogStage<'_>) -> Result<u64> {
    detach(reader(stage, false)?)
}

pub(crate) fn detach_gated(stage: &LogStage<'_>) -> Result<u64> {
    detach(reader(stage, true)?)
}

pub(crate) fn pin(stage: &LogStage<'_>) -> Result<u64> {
    let mut reader = reader(stage, false)?;
    mark();
    let pinned = reader.pin();
    mark();
    match pinned {
        // While it was stopped.
        Ok(()) | Err(JoinError::Gone { .. }) => Ok(reader.position()),
        Err(error) => Err(error.into()),
    }
}

pub(crate) fn unpin(stage: &LogStage<'_>) -> Result<u64> {
    let mut reader = reader(stage, false)?;
    reader.pin()?;
    mark();
    reader.unpin();
    mark();
    Ok(reader.position())
}

/// A gated reader goes on to the next segment.
pub(crate) fn step(stage: &LogStage<'_>) -> Result<u64> {
    let mut reader = reader(stage, true)?;
    while reader.position() < stage.operation.entries - 1 {
        reader.try_next()?;
    }
    mark();
    let seq = reader.try_next().map(|record| record.map(|record| record.seq()));
    mark();
    seq?.ok_or_else(|| anyhow::anyhow!("no record in the next segment"))
}

pub(crate) fn seek(stage: &LogStage<'_>) -> Result<u64> {
    let mut reader = reader(stage, true)?;
    mark();
    let sought = reader.seek(stage.operation.entries);
    mark();
    sought?;
    Ok(reader.position())
}

/// A gated reader waits for a record.
pub(crate) fn wait(stage: &LogStage<'_>) -> Result<u64> {
    let mut reader = reader(stage, true)?;
    while reader.try_next()?.is_some() {}
    mark();
    let is_there = reader.wait_next(FOREVER);
    mark();
    Ok(is_there?.into())
}
