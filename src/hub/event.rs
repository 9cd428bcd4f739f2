//! What happens at a hub.

use crate::hub::peer::Peer;
use crate::log::Access;
use std::fmt;

/// Something that happened at a hub.
///
/// A peer's events are in order: it is [`Connected`](Self::Connected), and then at last `Dropped`, `Left` or
/// `Died`. `Died` may come after `Left` too: the kernel closes a dying process's files before it is dead.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum HubEvent {
    /// A client connected, or a worker was started.
    Connected {
        /// Who.
        peer: Peer,
    },
    /// A client got a region.
    Granted {
        /// Who.
        peer: Peer,
        /// The region's name.
        name: String,
        /// For what.
        access: Access,
    },
    /// A client did not get what it asked for, and stays connected.
    Refused {
        /// Who.
        peer: Peer,
        /// What it asked for.
        name: String,
        /// What it was told.
        why: String,
    },
    /// The hub closed a client's connection, or did not let it in. What the client has got it keeps.
    Dropped {
        /// Who.
        peer: Peer,
        /// Why.
        why: DropReason,
    },
    /// A client closed its connection. What it has got it keeps, but for `Access::Own`.
    Left {
        /// Who.
        peer: Peer,
    },
    /// A client's process is dead. Its places on the boards of logs and snapshots are free.
    Died {
        /// Who.
        peer: Peer,
    },
}

impl fmt::Display for HubEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connected { peer } => write!(f, "{peer} connected"),
            Self::Granted { peer, name, access } => write!(f, "{peer} got {name:?} ({access:?})"),
            Self::Refused { peer, name, why } => write!(f, "{peer} did not get {name:?}: {why}"),
            Self::Dropped { peer, why } => write!(f, "{peer} was dropped: {why}"),
            Self::Left { peer } => write!(f, "{peer} left"),
            Self::Died { peer } => write!(f, "{peer} died"),
        }
    }
}

/// Why a hub closed a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DropReason {
    /// It was granted nothing within [`patience`](crate::HubBuilder::patience) after it connected or asked last.
    Silent,
    /// It sent something that is no request.
    Garbage {
        /// What was wrong with it.
        what: &'static str,
    },
    /// It speaks another version of the protocol, and was told so.
    Version {
        /// Its version.
        theirs: u32,
        /// The hub's.
        ours: u32,
    },
    /// It asked on without reading the answers.
    Flooding,
    /// There was no place for it, and it was told so.
    Full,
    /// The system refused what the hub needs for it.
    System {
        /// What was tried, and what the system said.
        what: String,
    },
}

impl fmt::Display for DropReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Silent => f.write_str("it asked for nothing that it may have"),
            Self::Garbage { what } => write!(f, "it sent a message {what}"),
            Self::Version { theirs, ours } => write!(f, "it speaks protocol version {theirs}, not {ours}"),
            Self::Flooding => f.write_str("it asked on without reading the answers"),
            Self::Full => f.write_str("no place was free"),
            Self::System { what } => f.write_str(what),
        }
    }
}
