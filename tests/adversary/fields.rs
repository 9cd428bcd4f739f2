//! Where every field of the four regions is that a peer may write to.

use crate::round::{APPENDER_SLOTS, READER_SLOTS, Round, SEATS, SNAPSHOT_SLOTS, Shape, WINDOW_BYTES};

/// The regions, by number.
pub const LOG: usize = 0;
pub const BOARD: usize = 1;
pub const SNAPSHOT: usize = 2;
pub const PINS: usize = 3;
/// What their files are called.
pub const FILES: [&str; 4] = ["log", "board", "snapshot", "pins"];

/// Words of one meaning.
#[derive(Clone, Debug)]
pub struct Field {
    pub name: &'static str,
    pub region: usize,
    /// In bytes.
    pub offsets: Vec<u64>,
}

const FIRST_WINDOW: u64 = 8192;
const FIRST_SLOT: u64 = 8192;
const SLOT_BYTES: u64 = 256;

fn field(region: usize, name: &'static str, offsets: impl IntoIterator<Item = u64>) -> Field {
    Field { name, region, offsets: offsets.into_iter().collect() }
}

fn words(from: u64, count: u64) -> impl Iterator<Item = u64> + Clone {
    (0..count).map(move |at| from + 8 * at)
}

/// The fields of the log's region. The preamble is read by who attaches only.
pub fn of_log(round: &Round) -> Vec<Field> {
    let windows = (0..round.windows).map(|window| FIRST_WINDOW + window * WINDOW_BYTES);
    let index = windows.clone().flat_map(|at| words(at + 128, round.entries));
    let starts = windows.clone().flat_map(|at| words(at + 128, 3));
    let ends = windows.clone().flat_map(|at| words(at + 128 + 8 * (round.entries - 2), 2));
    let arena = windows.clone().flat_map(|at| words(at + (128 + 8 * round.entries).next_multiple_of(64), 64));
    vec![
        field(LOG, "magic, version", words(0, 2)),
        field(LOG, "id", words(16, 2)),
        field(LOG, "sizes", words(32, 4)),
        field(LOG, "retention, fencing", words(64, 2)),
        field(LOG, "page bytes, slots", words(80, 3)),
        field(LOG, "head", [128]),
        field(LOG, "active", [256]),
        field(LOG, "head and active", [128, 256]),
        field(LOG, "name", words(512, 8)),
        field(LOG, "bases", words(4096, round.windows)),
        field(LOG, "bump", windows),
        field(LOG, "index", index),
        field(LOG, "first commit words", starts),
        field(LOG, "last commit words", ends),
        field(LOG, "arena", arena),
    ]
}

fn of_slots(region: usize, first: u64, count: u64) -> Vec<Field> {
    let slots = (0..count).map(move |slot| first + SLOT_BYTES * slot);
    let at = |offset: u64| slots.clone().map(move |slot| slot + offset);
    vec![
        field(region, "hold", at(0)),
        field(region, "role", at(128)),
        field(region, "generation", at(136)),
        field(region, "pid", at(144)),
        field(region, "position", at(152)),
        field(region, "name", slots.clone().flat_map(|slot| words(slot + 160, 4))),
    ]
}

/// The fields of the boards and of the snapshot's region.
pub fn of_the_others(round: &Round, slot_bytes: u64) -> Vec<Field> {
    let mut all = vec![
        field(BOARD, "magic, version", words(0, 2)),
        field(BOARD, "id, slots", words(16, 4)),
        field(BOARD, "calls", [128, 256]),
        field(BOARD, "bell", [136, 264]),
    ];
    all.extend(of_slots(BOARD, 4096, APPENDER_SLOTS + READER_SLOTS));
    let (first, buffers) = match round.shape {
        Shape::Packed => (16, 2),
        Shape::Any => (128, 3),
        Shape::Sparse => (4096, 4),
    };
    let stride = (slot_bytes - first) / buffers;
    let slots = (0..SNAPSHOT_SLOTS).map(move |slot| FIRST_SLOT + slot * slot_bytes);
    let all_buffers = slots.clone().flat_map(move |slot| (0..buffers).map(move |at| slot + first + at * stride));
    all.extend([
        field(SNAPSHOT, "magic, version", words(0, 2)),
        field(SNAPSHOT, "sizes", words(32, 9)),
        field(SNAPSHOT, "slot names", words(4096, 4 * SNAPSHOT_SLOTS)),
        field(SNAPSHOT, "current", slots.clone()),
        field(SNAPSHOT, "next", slots.clone().map(|slot| slot + 8)),
        field(SNAPSHOT, "current and next", slots.flat_map(|slot| words(slot, 2))),
        field(SNAPSHOT, "as_of", all_buffers.clone()),
        field(SNAPSHOT, "len", all_buffers.clone().map(|buffer| buffer + 8)),
        field(SNAPSHOT, "value", all_buffers.map(|buffer| buffer + 16)),
        field(PINS, "header", words(0, 4)),
        field(PINS, "taken", [128]),
        field(PINS, "calls", (0..4).map(|bell| 4096 + 128 * bell)),
        field(PINS, "bell", (0..4).map(|bell| 4104 + 128 * bell)),
    ]);
    all.extend(of_slots(PINS, 4096 + 4 * 128, SEATS));
    all
}
