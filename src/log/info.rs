//! What a log says of itself.

use crate::core::memory::{Memory, Retention};
use crate::core::{locate, roll};
use crate::layout::text::text;
use crate::log::seat::is_alive;
use crate::mapped::Mapped;
use crate::participant::{Holder, Role};
use crate::sync::{Fencing, Ordering::Relaxed};
use crate::sys::inspect::{Footing, page_bytes_at, small_page_bytes};
use rustix::fs::{SealFlags, fcntl_get_seals};
use std::fmt;

/// Where a log's bytes are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Backing {
    /// A memfd on small pages.
    Memfd,
    /// A memfd on huge pages of this many bytes.
    MemfdHuge {
        /// Bytes of a page.
        page_bytes: u64,
    },
    /// A file on a mounted hugetlbfs.
    HugetlbfsFile {
        /// Bytes of a page.
        page_bytes: u64,
    },
    /// A file on tmpfs or a disk.
    File,
}

impl fmt::Display for Backing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Memfd => f.write_str("memfd"),
            Self::MemfdHuge { page_bytes } => write!(f, "memfd on {} MiB pages", page_bytes >> 20),
            Self::HugetlbfsFile { page_bytes } => write!(f, "hugetlbfs file on {} MiB pages", page_bytes >> 20),
            Self::File => f.write_str("file"),
        }
    }
}

/// One participant, as the board and the kernel say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ParticipantInfo {
    /// Its slot, process id, role and name, as it says itself.
    pub who: Holder,
    /// Whether the kernel still holds its lock; `None` if this process can't ask.
    pub is_alive: Option<bool>,
    /// A reader's position as it told it last: at the end of a segment, and when it found nothing.
    pub position: Option<u64>,
    /// How many records there are from that position on.
    pub lag: Option<u64>,
    /// Oldest segment it keeps from being recycled.
    pub holds_segment: Option<u64>,
}

/// A log's shape and state at one moment, by [`Log::info`](crate::Log::info).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogInfo {
    /// Its name.
    pub name: String,
    /// Its random identity.
    pub id: u128,
    /// Where its bytes are.
    pub backing: Backing,
    /// Bytes of the log region.
    pub region_bytes: u64,
    /// Number of windows.
    pub windows: u64,
    /// Bytes of a window.
    pub window_bytes: u64,
    /// Commit words of a segment.
    pub entries: u64,
    /// The longest record, in bytes.
    pub max_record_bytes: usize,
    /// What happens to the oldest segment.
    pub retention: Retention,
    /// Which side pays for the fence.
    pub fencing: Fencing,
    /// Nanoseconds since 1970 at which it was made.
    pub created_unix_ns: u64,
    /// The seals on it, by name.
    pub seals: Vec<&'static str>,
    /// Lowest segment retained.
    pub head: u64,
    /// Newest open segment.
    pub active: u64,
    /// Sequence number of the oldest record retained.
    pub oldest_seq: u64,
    /// Sequence number of the next record.
    pub next_seq: u64,
    /// Whether it was closed.
    pub is_closed: bool,
    /// Who is attached.
    pub participants: Vec<ParticipantInfo>,
}

impl LogInfo {
    pub(crate) fn of(mapped: &Mapped) -> Self {
        let traits = mapped.traits();
        let geometry = traits.geometry;
        let (next_seq, is_closed) = locate::end(mapped).unwrap_or((0, false));
        Self {
            name: text(&traits.name),
            id: traits.id,
            backing: backing(mapped),
            region_bytes: mapped.log().len_bytes(),
            windows: geometry.windows,
            window_bytes: geometry.window_bytes,
            entries: geometry.entries,
            max_record_bytes: geometry.max_record_bytes(),
            retention: traits.retention,
            fencing: traits.fencing,
            created_unix_ns: traits.created_unix_ns,
            seals: seals(mapped),
            head: mapped.control().head.0.load(Relaxed),
            active: roll::active(mapped),
            oldest_seq: locate::oldest(mapped).map_or(0, |(_, base)| base),
            next_seq,
            is_closed,
            participants: participants(mapped, next_seq),
        }
    }
}

fn backing(mapped: &Mapped) -> Backing {
    let huge = page_bytes_at(mapped.log().file()).ok().filter(|&bytes| bytes != small_page_bytes());
    match (mapped.log().footing(), huge) {
        (Footing::Named, Some(page_bytes)) => Backing::HugetlbfsFile { page_bytes },
        (Footing::Named, None) => Backing::File,
        (_, Some(page_bytes)) => Backing::MemfdHuge { page_bytes },
        (_, None) => Backing::Memfd,
    }
}

fn seals(mapped: &Mapped) -> Vec<&'static str> {
    if mapped.log().footing() != Footing::Sealed {
        return Vec::new();
    }
    let seals = fcntl_get_seals(mapped.log().file()).unwrap_or(SealFlags::empty());
    let names = [
        (SealFlags::SHRINK, "shrink"),
        (SealFlags::GROW, "grow"),
        (SealFlags::WRITE, "write"),
        (SealFlags::FUTURE_WRITE, "future-write"),
        (SealFlags::SEAL, "seal"),
    ];
    names.into_iter().filter(|(seal, _)| seals.contains(*seal)).map(|(_, name)| name).collect()
}

fn participants(mapped: &Mapped, next_seq: u64) -> Vec<ParticipantInfo> {
    let describe = |index: usize| {
        let slot = mapped.slot(index)?;
        let who = Holder::of(slot, index);
        let is_reader = matches!(who.role?, Role::Reader | Role::GatedReader | Role::Anchor);
        let position = is_reader.then(|| slot.position.load(Relaxed));
        Some(ParticipantInfo {
            who,
            is_alive: is_alive(mapped, index),
            position,
            lag: position.map(|position| next_seq.saturating_sub(position)),
            holds_segment: slot.hold.0.load(Relaxed).checked_sub(1),
        })
    };
    mapped.appender_slots().chain(mapped.reader_slots()).filter_map(describe).collect()
}
