//! Formatting a snapshot region and its board, and recognising them.

use crate::error::AttachError;
use crate::layout::control::{FORMAT_VERSION, NAME_BYTES, NAME_OFFSET};
use crate::layout::slots::{PIN_BOARD_MAGIC, PinBoardHeader, SNAPSHOT_MAGIC, SlotGeometry, SnapshotPreamble};
use crate::layout::text::{get_text, put_text};
use crate::preamble::{check_magic, get_id, pick, put_id, put_magic};
use crate::region::Region;
use crate::sync::{Fencing, Ordering::Relaxed};
use crate::sys::inspect::{page_bytes_at, small_page_bytes};

/// What a snapshot region is, from its first page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SlotTraits {
    pub(crate) id: u128,
    pub(crate) geometry: SlotGeometry,
    pub(crate) fencing: Fencing,
    pub(crate) created_unix_ns: u64,
    pub(crate) name: [u8; NAME_BYTES],
}

fn too_small(region: &Region, what: &'static str) -> AttachError {
    AttachError::WrongSize { what, found_bytes: region.len_bytes(), expected_bytes: 2 * region.len_bytes().max(4096) }
}

/// Formats a fresh, zeroed region: every slot is empty.
pub(crate) fn format_snapshot(region: &Region, traits: &SlotTraits) -> Result<(), AttachError> {
    let preamble = region.view::<SnapshotPreamble>(0).ok_or_else(|| too_small(region, "snapshot"))?;
    let shape = traits.geometry;
    put_id(&preamble.id, traits.id);
    for (word, value) in [
        (&preamble.version, FORMAT_VERSION),
        (&preamble.region_bytes, region.len_bytes()),
        (&preamble.slots, shape.slots),
        (&preamble.buffers, shape.buffers),
        (&preamble.capacity_bytes, shape.capacity_bytes),
        (&preamble.is_fixed, u64::from(shape.is_fixed)),
        (&preamble.is_sparse, u64::from(shape.is_sparse)),
        (&preamble.page_bytes, shape.page_bytes),
        (&preamble.fencing, traits.fencing as u64),
        (&preamble.seats, shape.seats),
        (&preamble.created_unix_ns, traits.created_unix_ns),
    ] {
        word.store(value, Relaxed);
    }
    put_text(region.words(NAME_OFFSET as u64, NAME_BYTES as u64 / 8).unwrap_or(&[]), &traits.name);
    put_magic(&preamble.magic, SNAPSHOT_MAGIC);
    Ok(())
}

/// Recognises a snapshot region. Everything in the result is within its range and fits the region.
pub(crate) fn read_snapshot(region: &Region) -> Result<SlotTraits, AttachError> {
    let preamble = region.view::<SnapshotPreamble>(0).ok_or_else(|| too_small(region, "snapshot"))?;
    check_magic(&preamble.magic, &preamble.version, SNAPSHOT_MAGIC, "snapshot")?;
    let flags = [false, true];
    let geometry = SlotGeometry {
        slots: preamble.slots.load(Relaxed),
        buffers: preamble.buffers.load(Relaxed),
        capacity_bytes: preamble.capacity_bytes.load(Relaxed),
        is_fixed: pick("is_fixed", &preamble.is_fixed, &flags, "0 or 1")?,
        is_sparse: pick("is_sparse", &preamble.is_sparse, &flags, "0 or 1")?,
        page_bytes: preamble.page_bytes.load(Relaxed),
        seats: preamble.seats.load(Relaxed),
    }
    .check()?;
    let expected_bytes = geometry.region_bytes();
    if region.len_bytes() != expected_bytes || preamble.region_bytes.load(Relaxed) != expected_bytes {
        return Err(AttachError::WrongSize { what: "snapshot", found_bytes: region.len_bytes(), expected_bytes });
    }
    // Where holes can't be asked for, there must be none.
    let is_small = page_bytes_at(region.file()).is_ok_and(|bytes| bytes == small_page_bytes());
    if !geometry.is_sparse || !is_small {
        region.check_allocated("snapshot")?;
    }
    Ok(SlotTraits {
        id: get_id(&preamble.id),
        geometry,
        fencing: pick("fencing", &preamble.fencing, &[Fencing::Asymmetric, Fencing::Portable], "0 or 1")?,
        created_unix_ns: preamble.created_unix_ns.load(Relaxed),
        name: get_text(region.words(NAME_OFFSET as u64, NAME_BYTES as u64 / 8).unwrap_or(&[])),
    })
}

/// Formats a fresh, zeroed board.
pub(crate) fn format_board(region: &Region, traits: &SlotTraits) -> Result<(), AttachError> {
    let header = region.view::<PinBoardHeader>(0).ok_or_else(|| too_small(region, "board"))?;
    header.version.store(FORMAT_VERSION, Relaxed);
    put_id(&header.id, traits.id);
    put_magic(&header.magic, PIN_BOARD_MAGIC);
    Ok(())
}

/// Recognises the board of the snapshot with these traits.
pub(crate) fn check_board(region: &Region, traits: &SlotTraits) -> Result<(), AttachError> {
    let header = region.view::<PinBoardHeader>(0).ok_or_else(|| too_small(region, "board"))?;
    check_magic(&header.magic, &header.version, PIN_BOARD_MAGIC, "board")?;
    if get_id(&header.id) != traits.id {
        return Err(AttachError::OtherLog);
    }
    Ok(())
}
