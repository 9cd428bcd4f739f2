//! Passing a snapshot on.

use crate::error::PassError;
use crate::log::{Access, Prefault};
use crate::pass::message::{Kind, Offer};
use crate::pass::passable::{Passable, pack_three, unpack_three};
use crate::pass::transfer;
use crate::snapshot::Snapshot;
use std::os::fd::{AsFd, OwnedFd};

impl Snapshot {
    /// Passes the snapshot on to the process at the other end of a connected Unix stream socket or
    /// socketpair, and waits up to 10 s until it has attached. `Access::Append` lets it publish, `Read`
    /// load and pin, `Observe` only load.
    ///
    /// # Errors
    /// [`PassError`]: the peer is gone, silent, of another version, or refused; or this process may not
    /// give what is asked for.
    pub fn send(&self, socket: impl AsFd, access: Access) -> Result<(), PassError> {
        transfer::send(self, socket, access)
    }

    /// Receives a snapshot that the other end sends, validates it, attaches and answers. Waits up to 10 s.
    ///
    /// # Errors
    /// [`PassError`]: nothing came, or nothing that this crate can or will use.
    pub fn receive(socket: impl AsFd) -> Result<Self, PassError> {
        transfer::receive(socket, Prefault::Yes)
    }
}

impl Passable for Snapshot {
    const KIND: Kind = Kind::Snapshot;

    fn offer(&self, access: Access) -> Offer {
        let traits = self.mapped().traits();
        let shape = traits.geometry;
        let flags = u64::from(shape.is_fixed) | u64::from(shape.is_sparse) << 1;
        Offer::new(Self::KIND, access, traits.id, [shape.slots, shape.buffers, shape.capacity_bytes, flags])
    }

    fn pack(&self, access: Access) -> Result<Vec<OwnedFd>, PassError> {
        let slots = self.mapped();
        pack_three(slots.region(), slots.board(), slots.lock_file(), access)
    }

    fn unpack(fds: Vec<OwnedFd>, access: Access, prefault: Prefault) -> Result<Self, PassError> {
        let [region, board, lock] = unpack_three(fds, access)?;
        let region = region.ok_or(PassError::Foreign { what: "an offer without descriptors" })?;
        Ok(Self::attach(region, board, lock, access, prefault)?)
    }
}
