//! Who takes part, as the board says.

use crate::layout::board::{ANCHOR_ROLE, PARTICIPANT_NAME_BYTES, Slot};
use crate::layout::text::{get_text, text};
use crate::sync::Ordering::Relaxed;
use std::fmt;

/// What a participant does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Role {
    /// Appends among others.
    Appender = 1,
    /// Appends alone.
    ExclusiveAppender = 2,
    /// Reads, and may be lapped.
    Reader = 3,
    /// Reads, and appenders wait for it.
    GatedReader = 4,
    /// Loads snapshots, and looks at them in place.
    SnapshotReader = 5,
    /// Keeps the log from the state on that newcomers are given.
    Anchor = 6,
    /// Nobody: what of a journal's front is not in its files yet.
    Flusher = 7,
}

const _: () = assert!(Role::Anchor as u64 == ANCHOR_ROLE);

impl Role {
    pub(crate) fn from_word(word: u64) -> Option<Self> {
        use Role::{Anchor, Appender, ExclusiveAppender, Flusher, GatedReader, Reader, SnapshotReader};
        [Appender, ExclusiveAppender, Reader, GatedReader, SnapshotReader, Anchor, Flusher]
            .into_iter()
            .find(|&role| role as u64 == word)
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Appender => "appender",
            Self::ExclusiveAppender => "exclusive appender",
            Self::Reader => "reader",
            Self::GatedReader => "gated reader",
            Self::SnapshotReader => "snapshot reader",
            Self::Anchor => "owner of a state",
            Self::Flusher => "the journal's flush",
        })
    }
}

/// Who holds a segment, or pins a buffer. As the board says it: a hostile participant can lie about itself.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Holder {
    /// Index of its slot.
    pub slot: usize,
    /// Its process id in its own pid namespace.
    pub pid: u64,
    /// What it does, if that makes sense.
    pub role: Option<Role>,
    name: [u8; PARTICIPANT_NAME_BYTES],
}

impl Holder {
    /// Its name.
    pub fn name(&self) -> String {
        text(&self.name)
    }

    pub(crate) fn of(slot: &Slot, index: usize) -> Self {
        Self {
            slot: index,
            pid: slot.pid.load(Relaxed),
            role: Role::from_word(slot.role.load(Relaxed)),
            name: get_text(&slot.name),
        }
    }
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.role {
            Some(role) => write!(f, "{role} ")?,
            None => f.write_str("participant ")?,
        }
        match self.name() {
            name if name.is_empty() => write!(f, "without a name (pid {}, slot {})", self.pid, self.slot),
            name => write!(f, "{name:?} (pid {}, slot {})", self.pid, self.slot),
        }
    }
}

impl fmt::Debug for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Holder({self})")
    }
}
