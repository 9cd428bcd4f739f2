//! What a hub gives out.

use crate::arena::Arena;
use crate::error::PassError;
use crate::hub::peer::RegionKind;
use crate::log::seat::bury_all;
use crate::log::{Access, Log};
use crate::pass::message::Offer;
use crate::pass::passable::Passable;
use crate::snapshot::Snapshot;
use std::os::fd::OwnedFd;
use std::sync::Arc;

/// A region that clients can ask for.
#[derive(Clone, Debug)]
pub(crate) enum Exhibit {
    Log(Log),
    Arena(Arc<Arena>),
    Snapshot(Snapshot),
}

impl Exhibit {
    pub(crate) fn kind(&self) -> RegionKind {
        match self {
            Self::Log(_) => RegionKind::of(Log::KIND),
            Self::Arena(_) => RegionKind::of(Arena::KIND),
            Self::Snapshot(_) => RegionKind::of(Snapshot::KIND),
        }
    }

    /// What it is, and what goes with it.
    ///
    /// # Errors
    /// [`PassError`]: more than this process may give, or no descriptors are left.
    pub(crate) fn pack(&self, access: Access) -> Result<(Offer, Vec<OwnedFd>), PassError> {
        Ok(match self {
            Self::Log(log) => (log.offer(access), log.pack(access)?),
            Self::Arena(arena) => (arena.offer(access), arena.pack(access)?),
            Self::Snapshot(snapshot) => (snapshot.offer(access), snapshot.pack(access)?),
        })
    }

    /// Clears the places on its board whose owners are dead. Returns how many that were.
    pub(crate) fn bury_dead(&self) -> usize {
        match self {
            Self::Log(log) => bury_all(log.mapped()),
            Self::Arena(_) => 0,
            Self::Snapshot(snapshot) => snapshot.bury_dead(),
        }
    }
}
