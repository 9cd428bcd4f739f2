//! What victims do with a log and its state.

use crate::replica_stage::{ReplicaStage, STATE_BYTES};
use crate::slot_stage::{number_of, value};
use crate::stage::VICTIM;
use crate::victim::mark;
use anyhow::{Context, Result, ensure};
use std::hint::black_box;

pub(crate) fn own(stage: &ReplicaStage<'_>) -> Result<u64> {
    mark();
    let owner = stage.replica.own(VICTIM);
    mark();
    Ok(owner?.kept_from())
}

pub(crate) fn publish(stage: &ReplicaStage<'_>) -> Result<u64> {
    let mut owner = stage.replica.own(VICTIM)?;
    let as_of = stage.newest();
    let state = value(as_of, STATE_BYTES);
    mark();
    let version = owner.publish_bytes(as_of, &state);
    mark();
    Ok(version?)
}

pub(crate) fn let_go(stage: &ReplicaStage<'_>) -> Result<u64> {
    let owner = stage.replica.own(VICTIM)?;
    mark();
    drop(black_box(owner));
    mark();
    Ok(0)
}

pub(crate) fn join(stage: &ReplicaStage<'_>) -> Result<u64> {
    let builder = stage.replica.log().reader_builder().name(VICTIM);
    mark();
    let joined = stage.replica.join_with(builder);
    mark();
    let joined = joined?;
    let state = joined.state.context("no state")?;
    ensure!(state.as_of == Some(number_of(&state.value)?), "the position of another state");
    Ok(joined.reader.position())
}
