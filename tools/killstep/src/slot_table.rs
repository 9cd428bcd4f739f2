//! The operations on a snapshot.

use crate::route::End;
use crate::slot_play as play;
use crate::slot_stage::{Holds, Plays, SlotOperation, SlotStage};
use crate::stage::{Effect, Operation};
use anyhow::Result;
use shmlog::Fencing;

/// Publishing 64 bytes.
const PUBLISH: SlotOperation = SlotOperation {
    name: "publish 64 B",
    holds: Holds::Fixed,
    fencing: Fencing::Asymmetric,
    buffers: 2,
    len: 64,
    plays: Plays::Writer { keeps_out: true },
    effect: Effect::Appears,
    is_name: false,
    end: End::Mark,
    every: 1,
    play: play::publish,
};

const PACKED: SlotOperation = SlotOperation { name: "publish 16 B, packed", len: 16, ..PUBLISH };

/// What a reader does, of a slot with so few buffers that its pin is in the way.
const READ: SlotOperation = SlotOperation { plays: Plays::Reader, effect: Effect::Nothing, ..PUBLISH };

/// The same, where the writer can go round it.
const READ_4: SlotOperation = SlotOperation { buffers: 4, holds: Holds::UpTo, ..READ };

const fn named(name: &'static str, of: SlotOperation, play: fn(&SlotStage<'_>) -> Result<u64>) -> SlotOperation {
    SlotOperation { name, play, ..of }
}

const BETWEEN: SlotOperation =
    SlotOperation { plays: Plays::Writer { keeps_out: false }, effect: Effect::Nothing, ..PUBLISH };

const ALL: [SlotOperation; 19] = [
    PACKED,
    PUBLISH,
    SlotOperation { name: "publish 64 B: portable", fencing: Fencing::Portable, ..PUBLISH },
    named("publish 64 B in place", PUBLISH, play::publish_with),
    SlotOperation { name: "publish 64 KiB", holds: Holds::UpTo, buffers: 4, len: 64 << 10, every: 97, ..PUBLISH },
    SlotOperation { name: "publish, sparse slot grows", holds: Holds::Sparse, len: 9000, every: 2003, ..PUBLISH },
    SlotOperation { name: "name a slot", is_name: true, play: play::name, ..PUBLISH },
    named("attach snapshot writer", BETWEEN, play::attach_writer),
    named("detach snapshot writer", BETWEEN, play::detach_writer),
    named("load 16 B, packed", SlotOperation { len: 16, ..READ }, play::load),
    named("load 64 B", READ, play::load),
    SlotOperation { name: "load 64 KiB", len: 64 << 10, every: 97, play: play::load, ..READ_4 },
    named("pin, the first", READ, play::first_pin),
    named("pin", READ, play::pin),
    SlotOperation { name: "pin: portable", fencing: Fencing::Portable, play: play::pin, ..READ },
    named("pin, 4 buffers", READ_4, play::pin),
    named("unpin", READ, play::unpin),
    named("detach snapshot reader", READ, play::detach_reader),
    SlotOperation { name: "wait for a value", end: End::Futex, every: 29, play: play::wait, ..READ },
];

/// All of them.
pub(crate) fn operations() -> Vec<Box<dyn Operation>> {
    ALL.into_iter().map(|operation| Box::new(operation) as Box<dyn Operation>).collect()
}
