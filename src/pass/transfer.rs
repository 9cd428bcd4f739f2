//! `send` and `receive`: one message with all descriptors of a log, and the answer to it.

use crate::error::PassError;
use crate::log::{Access, Log};
use crate::pass::message::{Answer, Offer};
use crate::sys::reopen::reopen;
use crate::sys::socket;
use std::os::fd::{AsFd, OwnedFd};
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
        let mut bytes = [0; size_of::<Offer>()];
        let (len, fds) = receive_within(&socket, &mut bytes, PATIENCE)?;
        let received = Offer::parse(&bytes[..len]).and_then(|(offer, access)| attach(offer, access, fds));
        let answered = socket::send(&socket, Answer::new(Offer::id_of(&bytes), &received).as_bytes(), &[]);
        let log = received?;
        answered.map_err(|error| PassError::os("answering the offer", error))?;
        Ok(log)
    }

    /// Sends the descriptors without waiting for the answer.
    pub(crate) fn offer(&self, socket: impl AsFd, access: Access) -> Result<(), PassError> {
        let mapped = self.mapped();
        let offer = Offer::new(mapped.traits(), access);
        let reopened = |fd, is_writable| {
            reopen(fd, is_writable)
                .map_err(|error| PassError::Attach(crate::AttachError::os("reopening a region", error)))
        };
        let board = mapped.board().ok_or(PassError::ReadOnly)?.file();
        let log = mapped.log().file();
        let sent = match (access, mapped.lock()) {
            (Access::Append, Some(lock)) if mapped.log().is_writable() => {
                socket::send(socket, offer.as_bytes(), &[log, board, lock.as_fd()])
            }
            (Access::Append, _) => return Err(PassError::ReadOnly),
            (Access::Read, _) => socket::send(socket, offer.as_bytes(), &[reopened(log, false)?.as_fd(), board]),
            (Access::Observe, _) => {
                let (log, board) = (reopened(log, false)?, reopened(board, false)?);
                socket::send(socket, offer.as_bytes(), &[log.as_fd(), board.as_fd()])
            }
        };
        sent.map_err(|error| PassError::os("sending the offer", error))
    }

    pub(crate) fn await_answer(&self, socket: impl AsFd, patience: Duration) -> Result<(), PassError> {
        let mut bytes = [0; size_of::<Answer>()];
        let (len, _) = receive_within(&socket, &mut bytes, patience)?;
        Answer::check(&bytes[..len], self.mapped().traits().id.to_le_bytes())
    }
}

fn attach(offer: Offer, access: Access, fds: Vec<OwnedFd>) -> Result<Log, PassError> {
    let wrong = PassError::Foreign { what: "an offer with another number of descriptors" };
    let mut fds = fds.into_iter();
    let (Some(log), Some(board), lock, None) = (fds.next(), fds.next(), fds.next(), fds.next()) else {
        return Err(wrong);
    };
    if lock.is_some() != (access == Access::Append) {
        return Err(wrong);
    }
    let log = Log::attach(log, Some(board), lock, access)?;
    offer.check(log.mapped().traits())?;
    Ok(log)
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
        Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => Err(PassError::Gone),
        Err(error) => Err(PassError::os("receiving from the peer", error)),
    }
}
