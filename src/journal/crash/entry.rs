//! What a recorder writes down.

use std::sync::Arc;

/// A file, whatever its name.
pub(super) type InodeId = usize;

/// What was done, or is known, at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Entry {
    /// A file was made under a new name.
    Create(String, InodeId),
    Rename(String, String),
    Remove(String),
    /// Which names there are was made durable.
    SyncNames,
    Write(InodeId, u64, Arc<[u8]>),
    Allocate(InodeId, u64),
    Truncate(InodeId, u64),
    /// From there on it reads as zeroes.
    GiveBack(InodeId, u64),
    /// The content was made durable.
    Sync(InodeId),
    /// Making it durable failed, and what was not durable is not written any more: nothing of it is there, or what a
    /// number says that is none.
    Lose(InodeId, u64),
    Note(Note),
}

/// What the workload knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Note {
    /// A journal is about to be opened.
    Opening,
    /// It was opened: it is there for good.
    Opened,
    /// A record is about to be appended.
    Append(Arc<[u8]>, bool),
    /// Records below this one are acknowledged as durable.
    Acked(u64),
    /// It was recovered: all below this one are acknowledged, so many more are there again, the others are gone.
    Kept(u64, u64),
    /// Who appended has died: records below this one are there, the others never were.
    There(u64),
    /// Records below this one are given up.
    Oldest(u64),
    /// These records are about to be deleted.
    Delete(Vec<u64>),
    /// These were.
    Deleted(Vec<u64>),
    /// All that were deleted are so for good.
    DeletesAcked,
    /// It was recovered, and these records are deleted.
    DeletesKept(Vec<u64>),
    /// A cursor is about to be set.
    Cursor(String, u64),
    /// A cursor is about to be removed.
    CursorGone(String),
    /// All cursors are durable.
    CursorsAcked,
    /// It was recovered with these cursors.
    CursorsKept(Vec<(String, u64)>),
}
