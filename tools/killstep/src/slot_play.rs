//! What victims do with a snapshot.

use crate::slot_stage::{SLOT_NAME, SlotStage, number_of, value};
use crate::stage::VICTIM;
use crate::victim::mark;
use anyhow::{Context, Result, ensure};
use shmlog::{SnapshotReader, SnapshotWriter};
use std::hint::black_box;
use std::time::Duration;

/// Longer than any sweep.
const FOREVER: Duration = Duration::from_secs(3600);

/// The writer, and the next value.
fn writer(stage: &SlotStage<'_>) -> Result<(SnapshotWriter, Vec<u8>)> {
    let newest = stage.snapshot.reader()?.load_bytes()?.context("nothing published")?;
    let next = value(number_of(&newest.value)? + 1, stage.operation.len);
    Ok((stage.snapshot.writer()?, next))
}

fn reader(stage: &SlotStage<'_>) -> Result<SnapshotReader> {
    let mut reader = stage.snapshot.reader()?;
    reader.set_name(VICTIM);
    Ok(reader)
}

pub(crate) fn publish(stage: &SlotStage<'_>) -> Result<u64> {
    let (mut writer, next) = writer(stage)?;
    mark();
    let version = writer.publish_bytes(&next);
    mark();
    Ok(version?)
}

/// In place, with a position.
pub(crate) fn publish_with(stage: &SlotStage<'_>) -> Result<u64> {
    let (mut writer, next) = writer(stage)?;
    mark();
    let version = writer.first().as_of(17).publish_with(next.len(), |draft| {
        draft.write(0, &next);
    });
    mark();
    Ok(version?)
}

pub(crate) fn name(stage: &SlotStage<'_>) -> Result<u64> {
    let (mut writer, _) = writer(stage)?;
    mark();
    let named = writer.set_name(0, SLOT_NAME);
    mark();
    named?;
    Ok(0)
}

pub(crate) fn attach_writer(stage: &SlotStage<'_>) -> Result<u64> {
    mark();
    let writer = stage.snapshot.writer();
    mark();
    writer?;
    Ok(0)
}

pub(crate) fn detach_writer(stage: &SlotStage<'_>) -> Result<u64> {
    let (writer, _) = writer(stage)?;
    mark();
    drop(black_box(writer));
    mark();
    Ok(0)
}

pub(crate) fn load(stage: &SlotStage<'_>) -> Result<u64> {
    let mut reader = reader(stage)?;
    let mut bytes = vec![0; stage.operation.len];
    mark();
    let stamp = reader.load_into(&mut bytes);
    mark();
    let stamp = stamp?.context("nothing published")?;
    ensure!(stamp.len_bytes == bytes.len() as u64, "the length of another");
    number_of(&bytes)
}

/// The first pin of a reader, which takes a seat.
pub(crate) fn first_pin(stage: &SlotStage<'_>) -> Result<u64> {
    let mut reader = reader(stage)?;
    mark();
    let pinned = reader.pin();
    mark();
    number_of(&pinned?.context("nothing published")?.to_vec())
}

pub(crate) fn pin(stage: &SlotStage<'_>) -> Result<u64> {
    let mut reader = reader(stage)?;
    reader.pin()?;
    mark();
    let pinned = reader.pin();
    mark();
    number_of(&pinned?.context("nothing published")?.to_vec())
}

pub(crate) fn unpin(stage: &SlotStage<'_>) -> Result<u64> {
    let mut reader = reader(stage)?;
    let pinned = reader.pin()?.context("nothing published")?;
    let number = number_of(&pinned.to_vec());
    mark();
    drop(black_box(pinned));
    mark();
    number
}

pub(crate) fn detach_reader(stage: &SlotStage<'_>) -> Result<u64> {
    let mut reader = reader(stage)?;
    reader.pin()?;
    mark();
    drop(black_box(reader));
    mark();
    Ok(0)
}

pub(crate) fn wait(stage: &SlotStage<'_>) -> Result<u64> {
    let mut reader = reader(stage)?;
    reader.load_bytes()?;
    mark();
    let is_there = reader.wait_unseen(FOREVER);
    mark();
    Ok(is_there.into())
}
