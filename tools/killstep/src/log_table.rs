//! The operations on a log.

use crate::log_play as play;
use crate::log_stage::{Beside, LogOperation, LogStage};
use crate::route::End;
use crate::stage::{Effect, Operation};
use anyhow::Result;
use shmlog::{Fencing, Retention};

/// Records that fill a segment.
const FULL: u64 = 7;
/// Bytes of a lease.
const LEASE: usize = 63 * 64;

/// An append to a segment that has room, in a log of four windows, beside another appender.
const APPEND: LogOperation = LogOperation {
    name: "append, shared",
    windows: 4,
    entries: FULL + 1,
    retention: Retention::Gated,
    fencing: Fencing::Asymmetric,
    beside: Beside::Appender,
    before: 2,
    len: 40,
    first_len: 40,
    meanwhile: 0,
    effect: Effect::Appears,
    is_close: false,
    end: End::Mark,
    every: 1,
    is_half_rolled: false,
    is_unread: false,
    play: play::append_shared,
};

/// An append that closes its segment and opens the next.
const ROLL: LogOperation = LogOperation { name: "append, shared: rolls", before: FULL - 1, ..APPEND };

/// The same, because the arena is used up.
const ARENA: LogOperation = LogOperation {
    name: "append, shared: rolls, arena full",
    windows: 2,
    entries: 64,
    before: 15,
    len: 4000,
    first_len: 4000,
    ..APPEND
};

/// An append that recycles the window of the oldest segment.
const RECYCLE: LogOperation =
    LogOperation { name: "append, shared: recycles (gated)", windows: 2, before: 2 * FULL - 1, ..APPEND };

/// An appender that waits for a gated reader to read on.
const WAIT: LogOperation = LogOperation {
    name: "appender waits for room",
    windows: 2,
    before: 2 * FULL - 1,
    end: End::Futex,
    every: 50_021,
    is_unread: true,
    play: play::append_wait,
    ..APPEND
};

const HALF_ROLLED: LogOperation = LogOperation { before: FULL, is_half_rolled: true, ..APPEND };

const EXCLUSIVE: LogOperation = LogOperation {
    name: "append, exclusive",
    beside: Beside::Nobody { keeps_out: true },
    play: play::append_exclusive,
    ..APPEND
};

const BETWEEN: LogOperation = LogOperation { beside: Beside::Nobody { keeps_out: false }, ..EXCLUSIVE };

/// Something that leaves nothing.
const QUIET: LogOperation = LogOperation { effect: Effect::Nothing, first_len: 0, ..APPEND };

const fn named(name: &'static str, of: LogOperation, play: fn(&LogStage<'_>) -> Result<u64>) -> LogOperation {
    LogOperation { name, play, ..of }
}

/// With a full fence on both sides.
const fn portable(name: &'static str, of: LogOperation) -> LogOperation {
    LogOperation { name, fencing: Fencing::Portable, ..of }
}

const ALL: [LogOperation; 44] = [
    APPEND,
    LogOperation { name: "append, shared: leases", first_len: LEASE, ..APPEND },
    ROLL,
    ARENA,
    RECYCLE,
    portable("append, shared: portable", APPEND),
    portable("append, shared: portable, recycles (gated)", RECYCLE),
    LogOperation { name: "append, shared: recycles (overwrite)", retention: Retention::Overwrite, ..RECYCLE },
    LogOperation { name: "append, shared: follows", meanwhile: FULL, ..APPEND },
    LogOperation {
        name: "append, shared: was lapped",
        windows: 2,
        retention: Retention::Overwrite,
        meanwhile: 4 * FULL,
        ..APPEND
    },
    LogOperation { name: "append, shared: after a death in a roll", first_len: 0, ..HALF_ROLLED },
    LogOperation {
        name: "attach and append, shared: after a death in a roll",
        first_len: 0,
        play: play::attach_append_shared,
        ..HALF_ROLLED
    },
    LogOperation {
        name: "attach and append, exclusive: after a death in a roll",
        first_len: 0,
        beside: Beside::Nobody { keeps_out: false },
        play: play::attach_append_exclusive,
        ..HALF_ROLLED
    },
    WAIT,
    named("batch", APPEND, play::batch),
    named("batch: recycles", RECYCLE, play::batch),
    named("reserve and commit, shared", APPEND, play::reserve_commit_shared),
    named("reserve and commit, shared: rolls", ROLL, play::reserve_commit_shared),
    LogOperation { name: "commit to the next segment", meanwhile: FULL, play: play::commit, ..APPEND },
    LogOperation { name: "reserve and drop", effect: Effect::Nothing, play: play::reserve_drop, ..APPEND },
    LogOperation { name: "reserve and drop: rolls", effect: Effect::Nothing, play: play::reserve_drop, ..ARENA },
    EXCLUSIVE,
    LogOperation { name: "append, exclusive: leases", first_len: LEASE, ..EXCLUSIVE },
    LogOperation { name: "append, exclusive: rolls", before: FULL - 1, ..EXCLUSIVE },
    LogOperation { name: "append, exclusive: recycles", windows: 2, before: 2 * FULL - 1, ..EXCLUSIVE },
    named("reserve and commit, exclusive", EXCLUSIVE, play::reserve_commit_exclusive),
    LogOperation { name: "close, shared", is_close: true, play: play::close_shared, ..APPEND },
    LogOperation { name: "close, exclusive", is_close: true, play: play::close_exclusive, ..BETWEEN },
    named("attach appender, shared", QUIET, play::attach_shared),
    LogOperation {
        name: "attach appender, exclusive",
        effect: Effect::Nothing,
        play: play::attach_exclusive,
        ..BETWEEN
    },
    LogOperation { name: "detach appender, shared", first_len: 40, play: play::detach_shared, ..QUIET },
    LogOperation {
        name: "detach appender, exclusive",
        effect: Effect::Nothing,
        play: play::detach_exclusive,
        ..BETWEEN
    },
    named("hand-over, exclusive to exclusive", BETWEEN, play::hand_over),
    named("hand-over, exclusive to shared", BETWEEN, play::open_up),
    named("attach reader, free", QUIET, play::attach_reader),
    named("attach reader, gated", QUIET, play::attach_gated),
    named("detach reader, free", QUIET, play::detach_reader),
    named("detach reader, gated", QUIET, play::detach_gated),
    named("log reader pins", QUIET, play::pin),
    portable("log reader pins: portable", named("", QUIET, play::pin)),
    named("log reader unpins", QUIET, play::unpin),
    LogOperation { name: "gated reader steps on", before: FULL + 2, play: play::step, ..QUIET },
    LogOperation { name: "gated reader seeks", before: FULL + 2, play: play::seek, ..QUIET },
    LogOperation { name: "gated reader waits", end: End::Futex, every: 499, play: play::wait, ..QUIET },
];

/// All of them.
pub(crate) fn operations() -> Vec<Box<dyn Operation>> {
    ALL.into_iter().map(|operation| Box::new(operation) as Box<dyn Operation>).collect()
}
