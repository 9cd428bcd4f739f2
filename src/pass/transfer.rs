//! `send` and `receive`: one message with all descriptors of a log, and the answer to it.

use crate::arena::Arena;
use crate::error::{AttachError, PassError};
use crate::log::{Access, Log, Prefault};
use crate::pass::message::{Answer, Kind, Offer};
use crate::sys::reopen::reopen;
use crate::sys::socket;
use std::io::ErrorKind;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};
use zerocopy::IntoBytes;

/// How long `send` and `receive` wait for the other side.
const PATIENCE: Duration = Duration::from_secs(10);

impl Log {
    /// Passes the log on to the process at the other end of a connected Unix stream socket or
    /// socketpair, and waits up to 10 s until it has attached.
    ///
    /// `Access::Read` sends a read-only descriptor of the log. Among processes of the same user that
    /// is a convention only: it can be reopened for writing through /proc (see the README).
    ///
    /// # Errors
    /// [`PassError`]: the peer is gone, silent, of another version, or refused.
    pub fn send(&self, socket: impl AsFd, access: Access) -> Result<(), PassError> {
        self.offer(&socket, access)?;
        self.await_answer(socket, PATIENCE)
    }

    /// Receives a log that the other end sends, validates it, attaches and answers. Waits up to 10 s.
    ///
    /// # Errors
    /// [`PassError`]: nothing came, or nothing that this crate can or will use.
    pub fn receive(socket: impl AsFd) -> Result<Self, PassError> {
        Self::receive_with(socket, Prefault::Yes)
    }

    /// Receives a log as [`Log::receive`] does, with or without making its pages present.
    ///
    /// # Errors
    /// As [`Log::receive`].
    pub fn receive_with(socket: impl AsFd, prefault: Prefault) -> Result<Self, PassError> {
        receive(socket, Kind::Log, |offer, access, fds| {
            let [log, board, lock] = exactly(fds, if access == Access::Append { 3 } else { 2 })?;
            let log = Self::attach(log.ok_or(WRONG_COUNT)?, board, lock, access, prefault)?;
            offer.check(&Offer::log(log.mapped().traits(), access))?;
            Ok(log)
        })
    }

    /// Sends the descriptors without waiting for the answer.
    pub(crate) fn offer(&self, socket: impl AsFd, access: Access) -> Result<(), PassError> {
        let mapped = self.mapped();
        let offer = Offer::log(mapped.traits(), access);
        let board = mapped.board().ok_or(PassError::ReadOnly)?.file();
        let log = mapped.log().file();
        match (access, mapped.lock()) {
            (Access::Append, Some(lock)) if mapped.log().is_writable() => {
                send(socket, &offer, &[log, board, lock.as_fd()])
            }
            (Access::Append, _) => Err(PassError::ReadOnly),
            (Access::Read, _) => send(socket, &offer, &[read_only(log)?.as_fd(), board]),
            (Access::Observe, _) => send(socket, &offer, &[read_only(log)?.as_fd(), read_only(board)?.as_fd()]),
        }
    }

    pub(crate) fn await_answer(&self, socket: impl AsFd, patience: Duration) -> Result<(), PassError> {
        await_answer(socket, self.mapped().traits().id, patience)
    }
}

impl Arena {
    /// Passes the arena on to the process at the other end of a connected Unix stream socket or
    /// socketpair, and waits up to 10 s until it has attached. With another access than `Append` it
    /// is mapped for reading only there.
    ///
    /// # Errors
    /// [`PassError`]: the peer is gone, silent, of another version, or refused.
    pub fn send(&self, socket: impl AsFd, access: Access) -> Result<(), PassError> {
        let offer = Offer::arena(self.id(), self.region().len_bytes(), access);
        match access {
            Access::Append if self.region().is_writable() => send(&socket, &offer, &[self.as_fd()])?,
            Access::Append => return Err(PassError::ReadOnly),
            Access::Read | Access::Observe => send(&socket, &offer, &[read_only(self.as_fd())?.as_fd()])?,
        }
        await_answer(socket, self.id(), PATIENCE)
    }

    /// Receives an arena that the other end sends, validates it, attaches and answers. Waits up to
    /// 10 s.
    ///
    /// # Errors
    /// [`PassError`]: nothing came, or nothing that this crate can or will use.
    pub fn receive(socket: impl AsFd) -> Result<Self, PassError> {
        receive(socket, Kind::Arena, |offer, access, fds| {
            let [file, ..] = exactly(fds, 1)?;
            let arena = Self::from_fd(file.ok_or(WRONG_COUNT)?, access == Access::Append)?;
            offer.check(&Offer::arena(arena.id(), arena.region().len_bytes(), access))?;
            Ok(arena)
        })
    }
}

const WRONG_COUNT: PassError = PassError::Foreign { what: "an offer with another number of descriptors" };

/// The descriptors, if there are `count`.
fn exactly(fds: Vec<OwnedFd>, count: usize) -> Result<[Option<OwnedFd>; 3], PassError> {
    if fds.len() != count {
        return Err(WRONG_COUNT);
    }
    let mut fds = fds.into_iter();
    Ok([fds.next(), fds.next(), fds.next()])
}

fn read_only(file: BorrowedFd<'_>) -> Result<OwnedFd, PassError> {
    reopen(file, false).map_err(|error| PassError::Attach(AttachError::os("reopening a region", error)))
}

fn send(socket: impl AsFd, offer: &Offer, fds: &[BorrowedFd<'_>]) -> Result<(), PassError> {
    socket::send(socket, offer.as_bytes(), fds).map_err(|error| match error.kind() {
        ErrorKind::BrokenPipe | ErrorKind::ConnectionReset => PassError::Gone,
        _ => PassError::os("sending the offer", error),
    })
}

/// Receives an offer, lets `attach` make something of it, and answers.
fn receive<T>(
    socket: impl AsFd,
    kind: Kind,
    attach: impl FnOnce(Offer, Access, Vec<OwnedFd>) -> Result<T, PassError>,
) -> Result<T, PassError> {
    let mut bytes = [0; size_of::<Offer>()];
    let (len, fds) = receive_within(&socket, &mut bytes, PATIENCE)?;
    let attached = Offer::parse(&bytes[..len], kind).and_then(|(offer, access)| attach(offer, access, fds));
    let answered = socket::send(&socket, Answer::new(Offer::id_of(&bytes), &attached).as_bytes(), &[]);
    let attached = attached?;
    answered.map_err(|error| PassError::os("answering the offer", error))?;
    Ok(attached)
}

/// Waits for the answer to an offer of `id`.
fn await_answer(socket: impl AsFd, id: u128, patience: Duration) -> Result<(), PassError> {
    let mut bytes = [0; size_of::<Answer>()];
    let (len, _) = receive_within(&socket, &mut bytes, patience)?;
    Answer::check(&bytes[..len], id.to_le_bytes())
}

/// Receives one message, waiting for it at most `patience`.
fn receive_within(socket: impl AsFd, bytes: &mut [u8], patience: Duration) -> Result<(usize, Vec<OwnedFd>), PassError> {
    let started = Instant::now();
    if !socket::is_readable_within(&socket, patience).map_err(|error| PassError::os("waiting for the peer", error))? {
        return Err(PassError::Timeout { waited_ms: started.elapsed().as_millis() });
    }
    match socket::receive(socket, bytes) {
        Ok((0, _)) => Err(PassError::Gone),
        Ok(received) => Ok(received),
        Err(error) if error.kind() == ErrorKind::ConnectionReset => Err(PassError::Gone),
        Err(error) => Err(PassError::os("receiving from the peer", error)),
    }
}
