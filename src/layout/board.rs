//! The board: the small region that every participant may write.
//!
//! ```text
//! 0      BoardHeader  magic, version, the log's id, slot counts
//! 128    records      doorbell of readers that wait for a record
//! 256    room         doorbell of appenders that wait for room
//! 4096   slots        256 bytes each: first the appenders', then the readers'
//! ```

use super::Line;
use crate::sync::{AtomicU32, AtomicU64};

/// First word of a formatted board: `SHMBOARD`.
pub const BOARD_MAGIC: u64 = u64::from_le_bytes(*b"SHMBOARD");
/// Offset of the two doorbells, in bytes.
pub const DOORBELLS_OFFSET: usize = 128;
/// Offset of the first slot, in bytes.
pub const SLOTS_OFFSET: usize = 4096;
/// The role of a participant beside which others may enter what it holds; see `core::hold`.
pub const ANCHOR_ROLE: u64 = 6;
/// Bytes of a participant's name; longer ones are cut.
pub const PARTICIPANT_NAME_BYTES: usize = 32;

/// What the board is. Written once, the magic last.
#[repr(C)]
#[derive(Debug)]
pub struct BoardHeader {
    /// [`BOARD_MAGIC`].
    pub magic: AtomicU64,
    /// `FORMAT_VERSION`.
    pub version: AtomicU64,
    /// The log's identity.
    pub id: [AtomicU64; 2],
    /// Slots for appenders.
    pub appender_slots: AtomicU64,
    /// Slots for readers.
    pub reader_slots: AtomicU64,
}

/// Wakes who sleeps; see `core::doorbell`.
#[repr(C, align(128))]
#[derive(Debug)]
pub struct Doorbell {
    /// Upper half: how often somebody announced that it is about to sleep. Lower half: the
    /// announcement that has been answered. Different halves: somebody may be asleep.
    pub calls: AtomicU64,
    /// The futex word; every ring adds one.
    pub bell: AtomicU32,
}

impl Doorbell {
    /// A doorbell nobody waits at.
    #[cfg(loom)]
    #[allow(clippy::new_without_default, reason = "a plain constructor is what loom's types have")]
    pub fn new() -> Self {
        Self { calls: AtomicU64::new(0), bell: AtomicU32::new(0) }
    }
}

/// Both doorbells.
#[repr(C)]
#[derive(Debug)]
pub struct Doorbells {
    /// Rung after a commit.
    pub records: Doorbell,
    /// Rung when a gate moves on.
    pub room: Doorbell,
}

/// One participant's place. The owner holds the OFD lock on the slot's byte; the rest is for
/// others to see and, except for `hold`, has no influence on the log.
#[repr(C)]
#[derive(Debug)]
pub struct Slot {
    /// 0, or 1 + the oldest segment that the participant holds: an appender's pin while it
    /// appends, a gated reader's gate. Recycling waits for it.
    pub hold: Line,
    /// Role of the participant, or 0 in a free slot.
    pub role: AtomicU64,
    /// How often the slot was taken.
    pub generation: AtomicU64,
    /// Its process id as it sees it.
    pub pid: AtomicU64,
    /// Sequence number it will append or read next; written now and then.
    pub position: AtomicU64,
    /// Its name, zero padded.
    pub name: [AtomicU64; PARTICIPANT_NAME_BYTES / 8],
}

impl Slot {
    /// A free slot.
    #[cfg(loom)]
    #[allow(clippy::new_without_default, reason = "a plain constructor is what loom's types have")]
    pub fn new() -> Self {
        Self {
            hold: Line::new(),
            role: AtomicU64::new(0),
            generation: AtomicU64::new(0),
            pid: AtomicU64::new(0),
            position: AtomicU64::new(0),
            name: [const { () }; PARTICIPANT_NAME_BYTES / 8].map(|()| AtomicU64::new(0)),
        }
    }
}

#[cfg(not(loom))]
const _: () = {
    assert!(size_of::<BoardHeader>() <= DOORBELLS_OFFSET);
    assert!(size_of::<Doorbells>() == 256);
    assert!(core::mem::offset_of!(Doorbell, bell) == 8);
    assert!(size_of::<Slot>() == 256);
    assert!(core::mem::offset_of!(Slot, role) == 128);
    assert!(DOORBELLS_OFFSET + size_of::<Doorbells>() <= SLOTS_OFFSET);
};
