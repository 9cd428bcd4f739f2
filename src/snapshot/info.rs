//! What a snapshot says of itself.

use crate::layout::board::Slot;
use crate::layout::slots::MAX_BUFFERS;
use crate::layout::text::text;
use crate::participant::{Holder, Role};
use crate::snapshot::Snapshot;
use crate::snapshot::slots::Slots;
use crate::sync::Ordering::Relaxed;
use crate::sys::lock;

/// One slot at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SlotInfo {
    /// Its index.
    pub index: usize,
    /// Its name, if it has one.
    pub name: Option<String>,
    /// The newest version; 0 before the first.
    pub version: u64,
    /// The log position that the newest value stands for.
    pub as_of: Option<u64>,
    /// Bytes of the newest value.
    pub len_bytes: u64,
    /// Whether a writer of it lives; `None` if this process can't ask.
    pub has_writer: Option<bool>,
}

/// One reader that pins or has pinned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PinInfo {
    /// Its seat, process id and name, as it says itself.
    pub who: Holder,
    /// Whether the kernel still holds its lock; `None` if this process can't ask.
    pub is_alive: Option<bool>,
    /// The slot it pins a buffer of.
    pub slot: Option<u64>,
}

/// A snapshot's shape and state at one moment, by [`Snapshot::info`](crate::Snapshot::info).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SnapshotInfo {
    /// Its name.
    pub name: String,
    /// Its random identity.
    pub id: u128,
    /// Bytes of the region.
    pub region_bytes: u64,
    /// Bytes of the longest value.
    pub capacity_bytes: u64,
    /// Whether all values have that length.
    pub is_fixed: bool,
    /// Whether memory is taken as it is used.
    pub is_sparse: bool,
    /// Whether only the process that made it can ever write to it.
    pub is_write_sealed: bool,
    /// Buffers of each slot.
    pub buffers: u64,
    /// Bytes of each slot, with all its buffers.
    pub slot_bytes: u64,
    /// Nanoseconds since 1970 at which it was made.
    pub created_unix_ns: u64,
    /// The slots.
    pub slots: Vec<SlotInfo>,
    /// Who has taken a seat to pin from.
    pub readers: Vec<PinInfo>,
}

impl SnapshotInfo {
    pub(crate) fn of(snapshot: &Snapshot) -> Self {
        let mapped = &**snapshot.mapped();
        let traits = mapped.traits();
        let shape = traits.geometry;
        Self {
            name: text(&traits.name),
            id: traits.id,
            region_bytes: mapped.region().len_bytes(),
            capacity_bytes: shape.capacity_bytes,
            is_fixed: shape.is_fixed,
            is_sparse: shape.is_sparse,
            is_write_sealed: mapped.region().is_write_sealed(),
            buffers: shape.buffers,
            slot_bytes: shape.slot_bytes(),
            created_unix_ns: traits.created_unix_ns,
            slots: (0..snapshot.len()).filter_map(|index| slot(snapshot, index)).collect(),
            readers: readers(mapped),
        }
    }
}

fn slot(snapshot: &Snapshot, index: usize) -> Option<SlotInfo> {
    let stamp = snapshot.reader_of(index).ok()?.stamp().ok()?;
    let lock = snapshot.mapped().lock();
    Some(SlotInfo {
        index,
        name: snapshot.name(index),
        version: stamp.map_or(0, |stamp| stamp.version),
        as_of: stamp.and_then(|stamp| stamp.as_of),
        len_bytes: stamp.map_or(0, |stamp| stamp.len_bytes),
        has_writer: lock.and_then(|file| lock::is_locked(file, index as u64).ok()),
    })
}

fn readers(mapped: &Slots) -> Vec<PinInfo> {
    let Some(row) = mapped.row() else { return Vec::new() };
    let describe = |(index, seat): (usize, &Slot)| {
        let who = Holder::of(seat, index);
        who.role.filter(|&role| role == Role::SnapshotReader)?;
        let pinned = seat.hold.0.load(Relaxed);
        let slot = pinned.checked_sub(1).map(|pinned| pinned / MAX_BUFFERS);
        Some(PinInfo { who, is_alive: row.is_alive(index), slot })
    };
    row.slots.iter().enumerate().filter_map(describe).collect()
}
