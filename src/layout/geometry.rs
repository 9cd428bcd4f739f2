//! Sizes and places of everything in a log region, checked once and trusted from then on.

use super::control::BASES_OFFSET;
use super::entry;
use super::{LINE_BYTES, LINE_PAIR_BYTES, LINE_WORDS};

/// Smallest window.
pub const MIN_WINDOW_BYTES: u64 = 64 << 10;
/// Largest window.
pub const MAX_WINDOW_BYTES: u64 = 128 << 20;
/// Fewest windows: one to fill and one to read.
pub const MIN_WINDOWS: u64 = 2;
/// Most windows.
pub const MAX_WINDOWS: u64 = 1 << 16;
/// Fewest commit words a segment has.
pub const MIN_ENTRIES: u64 = 8;
/// Most slots of either kind.
pub const MAX_SLOTS: u64 = 4096;
/// Offset of the index in a window, in bytes.
pub const INDEX_OFFSET: usize = LINE_PAIR_BYTES;

/// The shape of a log region.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Geometry {
    /// Bytes of a window, a power of two.
    pub window_bytes: u64,
    /// Number of windows.
    pub windows: u64,
    /// Commit words in a window's index; the last one can only hold a close, so a segment holds at
    /// most `entries - 1` records.
    pub entries: u64,
    /// Bytes of a page of the backing.
    pub page_bytes: u64,
}

/// Why a geometry is refused: the field, the value and what is allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field} is {value}, allowed is {allowed}")]
pub struct BadGeometry {
    /// The field.
    pub field: &'static str,
    /// Its value.
    pub value: u64,
    /// What is allowed, in words.
    pub allowed: &'static str,
}

impl Geometry {
    /// Checks every field; all arithmetic below relies on it.
    ///
    /// # Errors
    /// [`BadGeometry`] names the first field out of range.
    pub fn check(self) -> Result<Self, BadGeometry> {
        let bad = |field, value, allowed| Err(BadGeometry { field, value, allowed });
        let Self { window_bytes, windows, entries, page_bytes } = self;
        if !window_bytes.is_power_of_two() || !(MIN_WINDOW_BYTES..=MAX_WINDOW_BYTES).contains(&window_bytes) {
            return bad("window_bytes", window_bytes, "a power of two from 64 KiB to 128 MiB");
        }
        if !(MIN_WINDOWS..=MAX_WINDOWS).contains(&windows) {
            return bad("windows", windows, "2 to 65,536");
        }
        if entries < MIN_ENTRIES || entries > window_bytes / 16 {
            return bad("entries", entries, "at least 8, and at most half of the window (window_bytes / 16)");
        }
        if !page_bytes.is_power_of_two() || !(4096..=1 << 30).contains(&page_bytes) {
            return bad("page_bytes", page_bytes, "a power of two from 4 KiB to 1 GiB");
        }
        Ok(self)
    }

    /// Where window 0 begins: aligned to the smaller of page and window.
    pub fn first_window(&self) -> u64 {
        (BASES_OFFSET as u64 + 8 * self.windows).next_multiple_of(self.page_bytes.min(self.window_bytes))
    }

    /// Bytes of the whole region: whole pages.
    pub fn region_bytes(&self) -> u64 {
        (self.first_window() + self.windows * self.window_bytes).next_multiple_of(self.page_bytes)
    }

    /// Where the arena begins in a window, in bytes.
    pub fn arena_offset(&self) -> u64 {
        (INDEX_OFFSET as u64 + 8 * self.entries).next_multiple_of(LINE_BYTES as u64)
    }

    /// Bytes of an arena.
    pub fn arena_bytes(&self) -> u64 {
        self.window_bytes - self.arena_offset()
    }

    /// The longest record that fits, in bytes.
    #[allow(clippy::cast_possible_truncation, reason = "an arena is smaller than 128 MiB")]
    pub fn max_record_bytes(&self) -> usize {
        (self.arena_bytes() as usize).min(entry::MAX_LEN_BYTES)
    }

    /// How many lines of the arena an appender leases at a time, at most: 64 KiB, less in small windows so
    /// that several appenders find room.
    #[allow(clippy::cast_possible_truncation, reason = "at most 64 KiB")]
    pub fn lease_lines(&self) -> u32 {
        ((self.arena_bytes() / 16).min(64 << 10) as u32 / LINE_BYTES as u32).max(1)
    }

    /// A geometry for records of about `record_bytes`: as many commit words as records fit.
    pub fn entries_for(window_bytes: u64, record_bytes: u64) -> u64 {
        // What is out of range is refused by `check`.
        let slot = 8 + record_bytes.min(MAX_WINDOW_BYTES).next_multiple_of(8);
        let entries = (window_bytes / slot).next_multiple_of(LINE_WORDS.into());
        entries.min(window_bytes / 16).max(MIN_ENTRIES)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// Whatever passes `check` has an arena, fits its fields and does not overflow.
        #[test]
        fn what_passes_is_consistent(shift in 10u32..40, windows in 0u64..100_000, entries in 0u64..1 << 28, page in 10u32..34) {
            let g = Geometry { window_bytes: 1 << shift, windows, entries, page_bytes: 1 << page };
            if let Ok(g) = g.check() {
                prop_assert!(g.arena_offset() < g.window_bytes);
                prop_assert!(g.arena_bytes() / 8 < 1 << 24);
                prop_assert!(g.arena_bytes() / 64 < 1 << 22);
                prop_assert!(g.arena_offset() % 64 == 0);
                prop_assert!(g.region_bytes() >= g.first_window() + g.windows * g.window_bytes);
                prop_assert!(g.max_record_bytes() as u64 <= g.arena_bytes());
                prop_assert!(g.lease_lines() >= 1);
            }
        }

        #[test]
        fn default_entries_pass(shift in 16u32..28, record in 0u64..1 << 24) {
            let window_bytes = 1 << shift;
            let entries = Geometry::entries_for(window_bytes, record);
            let g = Geometry { window_bytes, windows: 2, entries, page_bytes: 4096 };
            prop_assert!(g.check().is_ok());
        }

        /// The story: a window of less than 128 bytes was a panic, and so was a record of nearly 2^64.
        #[test]
        fn whatever_is_asked_for_has_an_answer(window_bytes in any::<u64>(), shift in 0u32..64, record in any::<u64>()) {
            for (window_bytes, record) in [(window_bytes >> shift, record), (64 << 10, !(record >> shift))] {
                let entries = Geometry::entries_for(window_bytes, record);
                let checked = Geometry { window_bytes, windows: 2, entries, page_bytes: 4096 }.check();
                prop_assert_eq!(checked.is_ok(), window_bytes.is_power_of_two() && (64 << 10..=128 << 20).contains(&window_bytes));
            }
        }
    }
}
