//! Formatting a region and recognising one: the magic is written last and checked first, every
//! length is checked before arithmetic uses it.

use crate::core::bump;
use crate::core::memory::Retention;
use crate::error::AttachError;
use crate::layout::board::{BOARD_MAGIC, BoardHeader};
use crate::layout::control::{BASES_OFFSET, FORMAT_VERSION, LOG_MAGIC, NAME_BYTES, NAME_OFFSET, Preamble};
use crate::layout::geometry::{BadGeometry, Geometry, MAX_SLOTS};
use crate::layout::text::{get_text, put_text};
use crate::region::Region;
use crate::sync::{AtomicU64, Fencing, Ordering::Acquire, Ordering::Relaxed, Ordering::Release, fence};

/// The lap of segment 0.
const FIRST_LAP: u64 = 1;

/// What a log is, from its control page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Traits {
    pub(crate) id: u128,
    pub(crate) geometry: Geometry,
    pub(crate) retention: Retention,
    pub(crate) fencing: Fencing,
    pub(crate) appender_slots: u64,
    pub(crate) reader_slots: u64,
    pub(crate) created_unix_ns: u64,
    /// Whether the last of the readers' slots is the log's own.
    pub(crate) has_floor: bool,
    pub(crate) name: [u8; NAME_BYTES],
}

#[allow(clippy::cast_possible_truncation, reason = "splits the id in halves")]
pub(crate) fn put_id(words: &[AtomicU64; 2], id: u128) {
    words[0].store(id as u64, Relaxed);
    words[1].store((id >> 64) as u64, Relaxed);
}

pub(crate) fn get_id(words: &[AtomicU64; 2]) -> u128 {
    u128::from(words[0].load(Relaxed)) | u128::from(words[1].load(Relaxed)) << 64
}

fn too_small(region: &Region, what: &'static str) -> AttachError {
    AttachError::WrongSize { what, found_bytes: region.len_bytes(), expected_bytes: 2 * region.len_bytes().max(4096) }
}

/// Checks the first two words of a region.
pub(crate) fn check_magic(
    magic: &AtomicU64,
    version: &AtomicU64,
    expected: u64,
    what: &'static str,
) -> Result<(), AttachError> {
    if magic.load(Relaxed) != expected {
        return Err(AttachError::Foreign { what });
    }
    // SYNC format: Acquire, pairs with the Release of the magic in `put_magic`.
    fence(Acquire);
    match version.load(Relaxed) {
        FORMAT_VERSION => Ok(()),
        found => Err(AttachError::NewerFormat { what, found, known: FORMAT_VERSION }),
    }
}

/// Makes a formatted region known as one. SYNC format: Release.
pub(crate) fn put_magic(magic: &AtomicU64, value: u64) {
    magic.store(value, Release);
}

/// Formats a fresh, zeroed log region, whose first record has the number `first_seq`.
pub(crate) fn format_log(region: &Region, traits: &Traits, first_seq: u64) -> Result<(), AttachError> {
    let preamble = region.view::<Preamble>(0).ok_or_else(|| too_small(region, "log"))?;
    let Traits { geometry, .. } = traits;
    put_id(&preamble.id, traits.id);
    for (word, value) in [
        (&preamble.version, FORMAT_VERSION),
        (&preamble.region_bytes, region.len_bytes()),
        (&preamble.window_bytes, geometry.window_bytes),
        (&preamble.windows, geometry.windows),
        (&preamble.entries, geometry.entries),
        (&preamble.page_bytes, geometry.page_bytes),
        (&preamble.retention, traits.retention as u64),
        (&preamble.fencing, traits.fencing as u64),
        (&preamble.appender_slots, traits.appender_slots),
        (&preamble.reader_slots, traits.reader_slots),
        (&preamble.created_unix_ns, traits.created_unix_ns),
        (&preamble.floor, u64::from(traits.has_floor)),
    ] {
        word.store(value, Relaxed);
    }
    let name = region.words(NAME_OFFSET as u64, NAME_BYTES as u64 / 8).unwrap_or(&[]);
    put_text(name, &traits.name);
    // Segment 0 is open from the start: of the words it needs, only this one is not zero.
    let bump = region.view::<AtomicU64>(geometry.first_window()).ok_or_else(|| too_small(region, "log"))?;
    bump::open(bump, FIRST_LAP);
    let base = region.view::<AtomicU64>(BASES_OFFSET as u64).ok_or_else(|| too_small(region, "log"))?;
    base.store(first_seq, Relaxed);
    put_magic(&preamble.magic, LOG_MAGIC);
    Ok(())
}

/// Recognises a log region. Everything in the result is within its range and fits the region.
pub(crate) fn read_log(region: &Region) -> Result<Traits, AttachError> {
    let preamble = region.view::<Preamble>(0).ok_or_else(|| too_small(region, "log"))?;
    check_magic(&preamble.magic, &preamble.version, LOG_MAGIC, "log")?;
    let geometry = Geometry {
        window_bytes: preamble.window_bytes.load(Relaxed),
        windows: preamble.windows.load(Relaxed),
        entries: preamble.entries.load(Relaxed),
        page_bytes: preamble.page_bytes.load(Relaxed),
    }
    .check()?;
    let expected_bytes = geometry.region_bytes();
    if region.len_bytes() != expected_bytes || preamble.region_bytes.load(Relaxed) != expected_bytes {
        return Err(AttachError::WrongSize { what: "log", found_bytes: region.len_bytes(), expected_bytes });
    }
    let retention = [Retention::Keep, Retention::Gated, Retention::Overwrite];
    let fencing = [Fencing::Asymmetric, Fencing::Portable];
    Ok(Traits {
        id: get_id(&preamble.id),
        geometry,
        retention: pick("retention", &preamble.retention, &retention, "0 to 2")?,
        fencing: pick("fencing", &preamble.fencing, &fencing, "0 or 1")?,
        appender_slots: slots("appender_slots", &preamble.appender_slots)?,
        reader_slots: slots("reader_slots", &preamble.reader_slots)?,
        created_unix_ns: preamble.created_unix_ns.load(Relaxed),
        has_floor: pick("floor", &preamble.floor, &[false, true], "0 or 1")?,
        name: get_text(region.words(NAME_OFFSET as u64, NAME_BYTES as u64 / 8).unwrap_or(&[])),
    })
}

/// One of a few values, by number.
pub(crate) fn pick<T: Copy>(
    field: &'static str,
    word: &AtomicU64,
    among: &[T],
    allowed: &'static str,
) -> Result<T, BadGeometry> {
    let value = word.load(Relaxed);
    let found = usize::try_from(value).ok().and_then(|at| among.get(at));
    found.copied().ok_or(BadGeometry { field, value, allowed })
}

fn slots(field: &'static str, word: &AtomicU64) -> Result<u64, BadGeometry> {
    let value = word.load(Relaxed);
    check_slots(field, value)
}

/// Checks a number of board slots.
pub(crate) fn check_slots(field: &'static str, value: u64) -> Result<u64, BadGeometry> {
    if (1..=MAX_SLOTS).contains(&value) { Ok(value) } else { Err(BadGeometry { field, value, allowed: "1 to 4,096" }) }
}

/// Formats a fresh, zeroed board.
pub(crate) fn format_board(region: &Region, traits: &Traits) -> Result<(), AttachError> {
    let header = region.view::<BoardHeader>(0).ok_or_else(|| too_small(region, "board"))?;
    header.version.store(FORMAT_VERSION, Relaxed);
    put_id(&header.id, traits.id);
    header.appender_slots.store(traits.appender_slots, Relaxed);
    header.reader_slots.store(traits.reader_slots, Relaxed);
    put_magic(&header.magic, BOARD_MAGIC);
    Ok(())
}

/// Recognises the board of the log with these traits.
pub(crate) fn check_board(region: &Region, traits: &Traits) -> Result<(), AttachError> {
    let header = region.view::<BoardHeader>(0).ok_or_else(|| too_small(region, "board"))?;
    check_magic(&header.magic, &header.version, BOARD_MAGIC, "board")?;
    if get_id(&header.id) != traits.id {
        return Err(AttachError::OtherLog);
    }
    Ok(())
}
