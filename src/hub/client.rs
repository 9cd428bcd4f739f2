//! A worker's end: asking a hub for regions.

use crate::arena::Arena;
use crate::error::{HubError, PassError};
use crate::hub::peer::{RegionKind, rank};
use crate::hub::wire::{Outcome, REPLY_BYTES, Reply, read_reply, write_request};
use crate::log::{Access, Log, Prefault};
use crate::pass::message::Offer;
use crate::pass::passable::{Passable, accept};
use crate::pass::worker::{HUB_VARIABLE, adopt};
use crate::snapshot::Snapshot;
use crate::sys::{packet, poll, socket};
use rustix::event::{PollFd, PollFlags};
use rustix::io::Errno;
use std::io::ErrorKind;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

/// How long a hub may take to answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// Between two attempts to connect.
const NAP: Duration = Duration::from_millis(5);

/// A connection to a [`Hub`](crate::Hub).
///
/// What was got over it goes on working when the hub is gone, and when this is dropped. Keep it nevertheless: at
/// its end the hub takes `Access::Own` back.
///
/// ```no_run
/// use shmlog::{Access, HubClient, HubError, Start};
/// use std::time::Duration;
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let mut hub = HubClient::connect_within("/run/market/hub", Duration::from_secs(5))?;
/// match hub.log("feed", Access::Own) {
///     Ok(log) => log.exclusive()?.append(b"mine").map(drop)?,
///     Err(HubError::Refused { reason, .. }) => eprintln!("{reason}"),  // "process 4711 owns it"
///     Err(error) => return Err(error.into()),
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct HubClient {
    /// `None`: what comes next over it is not known any more, or nothing.
    socket: Option<OwnedFd>,
    patience: Duration,
    granted: Option<Access>,
}

impl HubClient {
    /// Connects to the hub that listens at `path`.
    ///
    /// # Errors
    /// [`HubError::NoHub`], [`HubError::Denied`]; [`HubError::Foreign`]: something else listens there;
    /// [`HubError::Os`].
    pub fn connect(path: impl AsRef<Path>) -> Result<Self, HubError> {
        Self::connect_until(path.as_ref(), PATIENCE, false)
    }

    /// Connects to the hub that listens at `path`, or is about to: waits for it at most `patience`. Also the way
    /// back to a hub that is restarted.
    ///
    /// # Errors
    /// As [`HubClient::connect`]; [`HubError::NoHub`] after `patience` only.
    pub fn connect_within(path: impl AsRef<Path>, patience: Duration) -> Result<Self, HubError> {
        Self::connect_until(path.as_ref(), patience, true)
    }

    /// In a worker that [`Hub::spawn`](crate::Hub::spawn) started: the connection it was started with. Once per
    /// process.
    ///
    /// # Errors
    /// [`PassError::NotInherited`] in any other process, as [`HubError::Pass`].
    pub fn inherited() -> Result<Self, HubError> {
        Ok(Self::over(adopt(HUB_VARIABLE)?))
    }

    fn over(socket: OwnedFd) -> Self {
        Self { socket: Some(socket), patience: PATIENCE, granted: None }
    }

    fn connect_until(path: &Path, patience: Duration, may_be_missing: bool) -> Result<Self, HubError> {
        let started = Instant::now();
        loop {
            let (error, is_passing) = match packet::connect_to(path) {
                Ok(socket) => return Ok(Self::over(socket)),
                // Too many wait to be let in.
                Err(Errno::AGAIN) => (HubError::Full, true),
                Err(Errno::NOENT | Errno::CONNREFUSED) => (HubError::NoHub { path: path.to_owned() }, may_be_missing),
                Err(Errno::ACCESS | Errno::PERM) => (HubError::Denied { path: path.to_owned() }, false),
                Err(Errno::PROTOTYPE) => (HubError::Foreign { what: "a socket of another type" }, false),
                Err(error) => (HubError::os("connecting to the hub", error), false),
            };
            if !is_passing || started.elapsed() >= patience {
                return Err(error);
            }
            sleep(NAP.min(patience));
        }
    }

    /// How long the hub may take to answer a request; 10 s without this.
    pub fn set_patience(&mut self, patience: Duration) {
        self.patience = patience;
    }

    /// What the last region that was granted was granted for: the hub may give less than was asked for.
    pub fn granted(&self) -> Option<Access> {
        self.granted
    }

    /// Gets the log of this name and attaches to it. The hub may grant less than `access`; then
    /// [`HubClient::granted`] says what.
    ///
    /// # Errors
    /// [`HubError`]: refused, unknown, or the hub is gone or silent. After a refusal, or for an unknown name, the
    /// connection goes on; after other errors [`HubError::Gone`] says that it does not.
    pub fn log(&mut self, name: &str, access: Access) -> Result<Log, HubError> {
        self.log_with(name, access, Prefault::Yes)
    }

    /// Gets a log as [`HubClient::log`] does, with or without making its pages present.
    ///
    /// # Errors
    /// As [`HubClient::log`].
    pub fn log_with(&mut self, name: &str, access: Access, prefault: Prefault) -> Result<Log, HubError> {
        self.ask(name, access, prefault)
    }

    /// Gets the arena of this name. With less than `Append` it is mapped for reading only.
    ///
    /// # Errors
    /// As [`HubClient::log`].
    pub fn arena(&mut self, name: &str, access: Access) -> Result<Arena, HubError> {
        self.ask(name, access, Prefault::Yes)
    }

    /// Gets the snapshot of this name.
    ///
    /// # Errors
    /// As [`HubClient::log`].
    pub fn snapshot(&mut self, name: &str, access: Access) -> Result<Snapshot, HubError> {
        self.snapshot_with(name, access, Prefault::Yes)
    }

    /// Gets a snapshot, with or without making its pages present.
    ///
    /// # Errors
    /// As [`HubClient::log`].
    pub fn snapshot_with(&mut self, name: &str, access: Access, prefault: Prefault) -> Result<Snapshot, HubError> {
        self.ask(name, access, prefault)
    }

    fn ask<T: Passable>(&mut self, name: &str, access: Access, prefault: Prefault) -> Result<T, HubError> {
        let request = write_request(RegionKind::of(T::KIND), access, name)?;
        // Put back when it is known that what comes next is the next reply.
        let socket = self.socket.take().ok_or(HubError::Gone)?;
        let (reply, fds) = exchange(&socket, &request, self.patience)?;
        let (name, reason) = (name.to_owned(), reply.reason.clone());
        let outcome = match reply.outcome {
            Outcome::Granted => take(&reply, access, fds, prefault),
            Outcome::Refused => Err(HubError::Refused { name, reason }),
            Outcome::Unknown => Err(HubError::Unknown { name }),
            Outcome::Unavailable => Err(HubError::Unavailable { reason }),
            Outcome::Full => return Err(HubError::Full),
            Outcome::Version => return Err(HubError::Foreign { what: "it takes its own version for another" }),
        };
        if !matches!(outcome, Err(HubError::Foreign { .. })) {
            self.socket = Some(socket);
        }
        if outcome.is_ok() {
            self.granted = Some(reply.access);
        }
        outcome
    }
}

impl Drop for HubClient {
    fn drop(&mut self) {
        // Closing does not suffice: a child that this process is just starting has a copy of the descriptor.
        if let Some(socket) = &self.socket {
            packet::end(socket);
        }
    }
}

/// Attaches to what was granted, if it is what was asked for, or less.
fn take<T: Passable>(reply: &Reply, asked: Access, fds: Vec<OwnedFd>, prefault: Prefault) -> Result<T, HubError> {
    let (offer, offered) = Offer::parse(&reply.offer, T::KIND)?;
    if offered != reply.access || rank(offered) > rank(asked) {
        return Err(HubError::Foreign { what: "it grants something other than was asked for" });
    }
    Ok(accept(offer, offered, fds, prefault)?)
}

/// Sends a request and waits for the reply.
fn exchange(socket: &OwnedFd, request: &[u8], patience: Duration) -> Result<(Reply, Vec<OwnedFd>), HubError> {
    match packet::send(socket, request, &[]) {
        // Why it is closed may be there to read.
        Ok(()) | Err(Errno::PIPE | Errno::CONNRESET) => {}
        Err(error) => return Err(HubError::os("asking the hub", error)),
    }
    let started = Instant::now();
    let mut resets = 0;
    // A reply of another version may be longer.
    let mut bytes = [0; REPLY_BYTES + 1];
    loop {
        let left = patience.saturating_sub(started.elapsed());
        let mut watched = [PollFd::new(socket, PollFlags::IN)];
        poll::wait(&mut watched, left).map_err(|error| HubError::os("waiting for the hub", error))?;
        if watched[0].revents().is_empty() {
            return Err(HubError::Timeout { waited_ms: started.elapsed().as_millis() });
        }
        match socket::receive(socket, &mut bytes) {
            Ok((0, _)) => return Err(HubError::Gone),
            Ok((len, fds)) => return read_reply(&bytes[..len]).map(|reply| (reply, fds)),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            // Comes before what the hub said last, if it closed without reading the request.
            Err(error) if error.kind() == ErrorKind::ConnectionReset && resets == 0 => resets = 1,
            Err(error) if error.kind() == ErrorKind::ConnectionReset => return Err(HubError::Gone),
            Err(error) => return Err(PassError::os("receiving from the hub", error).into()),
        }
    }
}
