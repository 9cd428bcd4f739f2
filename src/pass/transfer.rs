//! `send` and `receive`: one message with all descriptors of a log, and the answer to it.

use crate::arena::Arena;
use crate::error::PassError;
use crate::log::{Access, Log, Prefault};
use crate::pass::message::{Answer, Offer};
use crate::pass::passable::{Passable, accept};
use crate::sys::socket;
use std::io::ErrorKind;
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
    /// is a convention only, unless the log is sealed ([`LogBuilder::write_sealed`](crate::LogBuilder::write_sealed)).
    ///
    /// # Errors
    /// [`PassError`]: the peer is gone, silent, of another version, or refused; or this process may not
    /// give what is asked for.
    pub fn send(&self, socket: impl AsFd, access: Access) -> Result<(), PassError> {
        send(self, socket, access)
    }

    /// Receives a log that the other end sends, validates it, attaches and answers. Waits up to 10 s.
    ///
    /// # Errors
    /// [`PassError`]: nothing came, or nothing that this crate can or will use.
    pub fn receive(socket: impl AsFd) -> Result<Self, PassError> {
        receive(socket, Prefault::Yes)
    }

    /// Receives a log as [`Log::receive`] does, with or without making its pages present.
    ///
    /// # Errors
    /// As [`Log::receive`].
    pub fn receive_with(socket: impl AsFd, prefault: Prefault) -> Result<Self, PassError> {
        receive(socket, prefault)
    }
}

impl Arena {
    /// Passes the arena on to the process at the other end of a connected Unix stream socket or
    /// socketpair, and waits up to 10 s until it has attached. With another access than `Append` it
    /// is mapped for reading only there.
    ///
    /// # Errors
    /// As [`Log::send`].
    pub fn send(&self, socket: impl AsFd, access: Access) -> Result<(), PassError> {
        send(self, socket, access)
    }

    /// Receives an arena that the other end sends, validates it, attaches and answers. Waits up to
    /// 10 s.
    ///
    /// # Errors
    /// [`PassError`]: nothing came, or nothing that this crate can or will use.
    pub fn receive(socket: impl AsFd) -> Result<Self, PassError> {
        receive(socket, Prefault::Yes)
    }
}

/// Sends something and waits until the peer has attached.
pub(crate) fn send(what: &impl Passable, socket: impl AsFd, access: Access) -> Result<(), PassError> {
    let offer = send_offer(what, &socket, access)?;
    await_answer(socket, offer.id(), PATIENCE)
}

/// Sends something without waiting for the answer.
pub(crate) fn send_offer(what: &impl Passable, socket: impl AsFd, access: Access) -> Result<Offer, PassError> {
    let offer = what.offer(access);
    let fds = what.pack(access)?;
    let fds: Vec<_> = fds.iter().map(AsFd::as_fd).collect();
    socket::send(socket, offer.as_bytes(), &fds, PATIENCE).map_err(|error| match error.kind() {
        ErrorKind::BrokenPipe | ErrorKind::ConnectionReset => PassError::Gone,
        ErrorKind::WouldBlock => PassError::Timeout { waited_ms: PATIENCE.as_millis() },
        _ => PassError::os("sending the offer", error),
    })?;
    Ok(offer)
}

/// Receives an offer, attaches, and answers.
pub(crate) fn receive<T: Passable>(socket: impl AsFd, prefault: Prefault) -> Result<T, PassError> {
    let mut bytes = [0; size_of::<Offer>()];
    let attached = match receive_within(&socket, &mut bytes, PATIENCE) {
        Ok((len, fds)) => {
            Offer::parse(&bytes[..len], T::KIND).and_then(|(offer, access)| accept(offer, access, fds, prefault))
        }
        // The offer has come, without its descriptors: its sender waits for an answer.
        Err(error) if is_cut_off(&error) => Err(error),
        Err(error) => return Err(error),
    };
    // Who waits for the answer has read all that came before it.
    let answer = Answer::new(Offer::id_of(&bytes), &attached);
    let answered = socket::send(&socket, answer.as_bytes(), &[], Duration::ZERO);
    let attached = attached?;
    match answered {
        // The sender need not wait for an answer, or live: what it gave is here.
        Err(error) if !matches!(error.kind(), ErrorKind::BrokenPipe | ErrorKind::ConnectionReset) => {
            Err(PassError::os("answering the offer", error))
        }
        _ => Ok(attached),
    }
}

/// Whether a message came for whose descriptors there was no room here.
fn is_cut_off(error: &PassError) -> bool {
    matches!(error, PassError::Os { error, .. } if error.kind() == ErrorKind::InvalidData)
}

/// Waits for the answer to an offer of `id`.
pub(crate) fn await_answer(socket: impl AsFd, id: [u8; 16], patience: Duration) -> Result<(), PassError> {
    let mut bytes = [0; size_of::<Answer>()];
    let (len, _) = receive_within(&socket, &mut bytes, patience)?;
    Answer::check(&bytes[..len], id)
}

/// Receives one message, waiting for it at most `patience`.
pub(crate) fn receive_within(
    socket: impl AsFd,
    bytes: &mut [u8],
    patience: Duration,
) -> Result<(usize, Vec<OwnedFd>), PassError> {
    let started = Instant::now();
    loop {
        let left = patience.saturating_sub(started.elapsed());
        let is_readable = socket::is_readable_within(&socket, left);
        if !is_readable.map_err(|error| PassError::os("waiting for the peer", error))? {
            return Err(PassError::Timeout { waited_ms: started.elapsed().as_millis() });
        }
        return match socket::receive(&socket, bytes) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => continue,
            Ok((0, _)) => Err(PassError::Gone),
            Ok(received) => Ok(received),
            Err(error) if error.kind() == ErrorKind::ConnectionReset => Err(PassError::Gone),
            Err(error) => Err(PassError::os("receiving from the peer", error)),
        };
    }
}
