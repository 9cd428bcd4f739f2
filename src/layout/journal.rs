//! The words that the processes which have a journal open share, beside its front.
//!
//! ```text
//! 0      JournalPreamble  magic, version, the journal's id, generation, boot; written once, the magic last
//! 128    durable          records below it are durable                          (each alone on a pair of lines)
//! 256    written          records below it are in the files
//! 384    Sleepers         who waits for a flush
//! 512    failure          0, or why nothing is flushed any more
//! 640    files            counts up when files come and go
//! 768    oldest           records below it are given up
//! 896    cursors          counts up when a cursor is set
//! 1024   FlushWords       of whoever holds the flush lock
//! 1280   MarksWords       which deletion marks are not durable yet
//! 4096   CursorWords      256 of 64 bytes, one for each cursor
//! ```

use super::Line;
use crate::sync::{AtomicU32, AtomicU64};

/// First word of a journal's shared words: `SHMJSTAT`.
pub const JOURNAL_MAGIC: u64 = u64::from_le_bytes(*b"SHMJSTAT");
/// Bytes of the region.
pub const JOURNAL_STATE_BYTES: u64 = CURSORS_OFFSET + (MAX_CURSORS * size_of::<CursorWords>()) as u64;
/// Offset of the cursors, in bytes.
pub const CURSORS_OFFSET: u64 = 4096;
/// Most cursors of a journal.
pub const MAX_CURSORS: usize = 256;
/// Bytes of a cursor's name.
pub const CURSOR_NAME_BYTES: usize = 32;

/// What the words belong to. Written once, the magic last.
#[repr(C)]
#[derive(Debug)]
pub struct JournalPreamble {
    /// [`JOURNAL_MAGIC`].
    pub magic: AtomicU64,
    /// `FORMAT_VERSION`.
    pub version: AtomicU64,
    /// The journal's identity.
    pub id: [AtomicU64; 2],
    /// The front's identity.
    pub front: [AtomicU64; 2],
    /// How often the journal was recovered.
    pub generation: AtomicU64,
    /// Which boot of the machine this is of.
    pub boot: [AtomicU64; 2],
    /// Device and inode of the journal's lock file: a copy of a journal has another one.
    pub locks: [AtomicU64; 2],
    /// Zero.
    pub reserved: [AtomicU64; 5],
}

/// A place among the files: the record that comes next, the file, the offset.
#[repr(C)]
#[derive(Debug)]
pub struct PlaceWords {
    /// Sequence number.
    pub seq: AtomicU64,
    /// First sequence number of the file.
    pub file: AtomicU64,
    /// Offset in bytes.
    pub offset: AtomicU64,
}

/// How far flushing has come. One of two, by turns.
#[repr(C, align(64))]
#[derive(Debug)]
pub struct ProgressWords {
    /// Up to where the files are written.
    pub written: PlaceWords,
    /// Up to where they are durable.
    pub durable: PlaceWords,
}

/// A named place in a journal that is kept.
#[repr(C, align(64))]
#[derive(Debug)]
pub struct CursorWords {
    /// Its name, zero padded; the first word is stored last, and is 0 where there is no cursor.
    pub name: [AtomicU64; CURSOR_NAME_BYTES / 8],
    /// The record that comes next; in the highest 8 bits a count of the cursors that have had this place.
    pub seq: AtomicU64,
    /// Zero.
    pub reserved: [AtomicU64; 3],
}

/// Who waits for a flush.
#[repr(C, align(128))]
#[derive(Debug)]
pub struct Sleepers {
    /// How many sleep, or were killed asleep.
    pub count: AtomicU64,
    /// The futex word; every wake adds one.
    pub bell: AtomicU32,
}

/// Written by the holder of the flush lock only; what a dead one left is found by the next.
#[repr(C, align(128))]
#[derive(Debug)]
pub struct FlushWords {
    /// Progress number `turn mod 2` is the valid one.
    pub turn: AtomicU64,
    /// How often the flush lock was let go of: counted up after that, by whoever did.
    pub rounds: AtomicU64,
    /// Records below this one are taken by the flush under way; all, while it takes some.
    pub taken: AtomicU64,
    /// 1 while somebody flushes: found so by the next one, it died.
    pub leading: AtomicU64,
    /// 1 from before a sync until its outcome is known to all.
    pub syncing: AtomicU64,
    /// The time of the last mark, nanoseconds since 1970: no later one says less.
    pub unix_ns: AtomicU64,
    /// What `cursors` was when they were written to the files for the last time,
    pub cursors_written: AtomicU64,
    /// and when those were made durable.
    pub cursors_durable: AtomicU64,
    /// What `marks` was when they were made durable.
    pub marks_durable: AtomicU64,
    /// See [`ProgressWords`].
    pub progress: [ProgressWords; 2],
}

/// Written by the holder of the marks lock.
#[repr(C, align(128))]
#[derive(Debug)]
pub struct MarksWords {
    /// Counts up when records were marked as deleted.
    pub marks: AtomicU64,
    /// 1 + the first record of the file whose marks are being written: found so by the next one, who wrote them died.
    pub marking: AtomicU64,
    /// 1 + the first record of files whose marks may not be durable; 0: none. All others' are.
    pub dirty: [AtomicU64; 14],
}

/// See the module.
#[repr(C)]
#[derive(Debug)]
pub struct JournalState {
    /// See [`JournalPreamble`].
    pub preamble: JournalPreamble,
    /// Records below this sequence number are durable.
    pub durable: Line,
    /// Records below this sequence number are in the files.
    pub written: Line,
    /// See the module.
    pub sleepers: Sleepers,
    /// See the module.
    pub failure: Line,
    /// See the module.
    pub files: Line,
    /// See the module.
    pub oldest: Line,
    /// See the module.
    pub cursors: Line,
    /// See [`FlushWords`].
    pub flush: FlushWords,
    /// See [`MarksWords`].
    pub deleted: MarksWords,
}

#[cfg(not(loom))]
const _: () = {
    assert!(size_of::<JournalPreamble>() == 128);
    assert!(core::mem::offset_of!(JournalState, durable) == 128);
    assert!(core::mem::offset_of!(JournalState, sleepers) == 384);
    assert!(core::mem::offset_of!(JournalState, oldest) == 768);
    assert!(core::mem::offset_of!(JournalState, flush) == 1024);
    assert!(core::mem::offset_of!(JournalState, deleted) == 1280);
    assert!(size_of::<ProgressWords>() == 64);
    assert!(size_of::<CursorWords>() == 64);
    assert!(size_of::<JournalState>() as u64 <= CURSORS_OFFSET);
};
