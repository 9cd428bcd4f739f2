//! What can be passed on: how its descriptors are put together, and what a receiver makes of them.

use crate::arena::Arena;
use crate::create::admit;
use crate::error::{AttachError, PassError};
use crate::log::{Access, Log, Prefault};
use crate::pass::message::{Kind, Offer};
use crate::region::Region;
use crate::sys::inspect::is_read_only;
use crate::sys::reopen::reopen;
use std::io::ErrorKind;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

const WRONG_COUNT: PassError = PassError::Foreign { what: "an offer with another number of descriptors" };

/// Something that consists of a few descriptors, and is attached to by its receiver.
pub(crate) trait Passable: Sized {
    /// What it is.
    const KIND: Kind;

    /// What it is, and with what access it is passed on.
    fn offer(&self, access: Access) -> Offer;

    /// The descriptors that go with `access`.
    ///
    /// # Errors
    /// [`PassError::ReadOnly`], [`PassError::Sealed`]: more than this process may give.
    fn pack(&self, access: Access) -> Result<Vec<OwnedFd>, PassError>;

    /// Attaches to what arrived.
    ///
    /// # Errors
    /// [`PassError`]
    fn unpack(fds: Vec<OwnedFd>, access: Access, prefault: Prefault) -> Result<Self, PassError>;
}

/// Attaches to what arrived and makes sure that it is what was offered.
pub(crate) fn accept<T: Passable>(
    offer: Offer,
    access: Access,
    fds: Vec<OwnedFd>,
    prefault: Prefault,
) -> Result<T, PassError> {
    let received = T::unpack(fds, access, prefault)?;
    offer.check(&received.offer(access))?;
    Ok(received)
}

impl Passable for Log {
    const KIND: Kind = Kind::Log;

    fn offer(&self, access: Access) -> Offer {
        let traits = self.mapped().traits();
        let geometry = traits.geometry;
        let sizes = [geometry.window_bytes, geometry.windows, geometry.entries, geometry.page_bytes];
        Offer::new(Self::KIND, access, traits.id, sizes)
    }

    fn pack(&self, access: Access) -> Result<Vec<OwnedFd>, PassError> {
        let mapped = self.mapped();
        pack_three(mapped.log(), mapped.board(), mapped.lock(), access)
    }

    fn unpack(fds: Vec<OwnedFd>, access: Access, prefault: Prefault) -> Result<Self, PassError> {
        let [log, board, lock] = unpack_three(fds, access)?;
        Ok(Self::attach(log.ok_or(WRONG_COUNT)?, board, lock, access, prefault)?)
    }
}

impl Passable for Arena {
    const KIND: Kind = Kind::Arena;

    fn offer(&self, access: Access) -> Offer {
        Offer::new(Self::KIND, access, self.id(), [self.region().len_bytes(), 0, 0, 0])
    }

    fn pack(&self, access: Access) -> Result<Vec<OwnedFd>, PassError> {
        Ok(vec![descriptor(self.region(), access.is_writing())?])
    }

    fn unpack(fds: Vec<OwnedFd>, access: Access, _: Prefault) -> Result<Self, PassError> {
        let [file, ..] = exactly(fds, 1)?;
        Ok(Self::from_fd(file.ok_or(WRONG_COUNT)?, access.is_writing())?)
    }
}

/// A region, its board and its lock file, as far as `access` needs them: readers get no lock, observers
/// can't write to the board. Other users' processes can reopen board and lock once they were passed to a reader
/// or an appender.
pub(crate) fn pack_three(
    region: &Region,
    board: Option<&Region>,
    lock: Option<&OwnedFd>,
    access: Access,
) -> Result<Vec<OwnedFd>, PassError> {
    let board = board.ok_or(PassError::ReadOnly)?;
    let mut fds = vec![descriptor(region, access.is_writing())?, descriptor(board, access != Access::Observe)?];
    if access != Access::Observe {
        admit(board.file());
    }
    if access.is_writing() {
        let lock = lock.ok_or(PassError::ReadOnly)?.as_fd();
        fds.push(apart(lock, true)?);
        admit(lock);
    }
    Ok(fds)
}

/// The three descriptors that go with `access`, as far as there are any.
pub(crate) fn unpack_three(fds: Vec<OwnedFd>, access: Access) -> Result<[Option<OwnedFd>; 3], PassError> {
    exactly(fds, if access.is_writing() { 3 } else { 2 })
}

/// The descriptors, if there are `count`.
fn exactly(fds: Vec<OwnedFd>, count: usize) -> Result<[Option<OwnedFd>; 3], PassError> {
    if fds.len() != count {
        return Err(WRONG_COUNT);
    }
    let mut fds = fds.into_iter();
    Ok([fds.next(), fds.next(), fds.next()])
}

/// A descriptor of a region, that can be written to or not.
fn descriptor(region: &Region, is_writable: bool) -> Result<OwnedFd, PassError> {
    if is_writable && !region.is_writable() {
        return Err(PassError::ReadOnly);
    }
    if is_writable && region.is_write_sealed() {
        return Err(PassError::Sealed);
    }
    apart(region.file(), is_writable)
}

/// The same file, opened once more: what the receiver locks by it is free when the receiver is dead. By a
/// description that it shared with this process, it could lock others out for as long as this one lives.
fn apart(file: BorrowedFd<'_>, is_writable: bool) -> Result<OwnedFd, PassError> {
    match reopen(file, is_writable) {
        // Another user's, who passed it on to this process; or writable, which no lock needs.
        Err(error) if error.kind() == ErrorKind::PermissionDenied && (is_writable || is_read_only(file)) => {
            file.try_clone_to_owned().map_err(|error| PassError::os("duplicating a descriptor", error))
        }
        reopened => reopened.map_err(|error| PassError::Attach(AttachError::os("reopening a region", error))),
    }
}
