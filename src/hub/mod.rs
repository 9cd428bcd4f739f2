//! A process that gives out its regions to others: by name, over a Unix socket, to whom a policy allows it.
//!
//! [`Hub`] is the parent's end, [`HubClient`] a worker's. The hub takes part in no append and no load: what a
//! client has got goes on working when the hub is gone, and the client connects again when there is a new one.
//!
//! # What a client can do to a hub
//!
//! Nothing that others notice. The hub reads one request of each client in a round, and never waits for one: who
//! asks again before it has read the last answer is dropped, and so is who sends anything but requests. At most
//! 1000 requests of a client in a second are looked at. Descriptors that clients send are refused by the kernel
//! (since Linux 6.16; before, the kernel closes them, and closing a file of the sender's choice can take its time).
//! A client whose connection has ended and that has not read its last region's reply keeps its place until it does,
//! or closes its end: the kernel counts the descriptors in that reply against the hub's user.
//! When the process runs out of descriptors, those connected are served still, and new ones are told that the
//! hub is full.
//!
//! # Limits
//!
//! - The hub follows the process that connected. If that hands its connection to another process, it is still
//!   its own death that counts. Before Linux 6.5 a process that dies while it connects can be mistaken for one
//!   that gets its number.
//! - `Access::Own` is the hub's word, not the kernel's: who closes its connection keeps its mapping. What the
//!   kernel makes sure of is [`Log::exclusive`](crate::Log::exclusive), and a snapshot's writers. A dying
//!   process's connection ends a moment before its locks do, so that who is granted `Own` next may find them
//!   taken for that moment.
//! - Of descriptors that were sent and not received yet a user without CAP_SYS_RESOURCE may have as many as one
//!   process may open (RLIMIT_NOFILE). A reply has up to three: keep a third of the limit, or less, as
//!   [`HubBuilder::max_clients`].
//! - Among processes of the hub's own user a read-only region is a convention only (see
//!   [`Log::send`](crate::Log::send)).

mod admit;
mod builder;
mod client;
mod clients;
mod event;
mod exhibit;
mod listener;
mod peer;
mod reserve;
mod round;
mod running;
mod serve;
mod shelf;
mod wire;

pub use builder::HubBuilder;
pub use client::HubClient;
pub use event::{DropReason, HubEvent};
pub use peer::{Peer, RegionKind, Request, Verdict};
pub use running::{Events, RunningHub};

use crate::error::HubError;
use clients::Clients;
use listener::Listener;
use peer::Policy;
use reserve::Reserve;
use shelf::{Shelf, shelf_calls};
use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Gives out regions by name, to processes that connect to its socket or that it starts.
///
/// It does what it does in [`Hub::step`], or in a thread of its own after [`Hub::start`]. When a client's process
/// dies, its places on the boards of all logs and snapshots here are cleared at once. When the hub is dropped its
/// socket goes, and clients keep what they have.
///
/// ```
/// use shmlog::{Access, Hub, HubClient, Log, Start};
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let dir = tempfile::tempdir()?;
/// # let path = dir.path().join("hub");
/// let feed = Log::builder().create_memfd("feed")?;
/// let hub = Hub::builder().log("feed", &feed).listen(&path, 0o600)?.start()?;
///
/// // in any process of this user
/// let mut client = HubClient::connect(&path)?;
/// let log = client.log("feed", Access::Read)?;
/// assert_eq!(log.info().id, feed.info().id);
/// let mut reader = log.reader(Start::Oldest)?;
/// # Ok(())
/// # }
/// ```
pub struct Hub {
    listener: Option<Listener>,
    shelf: Arc<Shelf>,
    policy: Policy,
    clients: Clients,
    reserve: Reserve,
    patience: Duration,
    /// Until when nobody is let in, as the system could not accept anybody.
    shut_until: Option<Instant>,
    /// Whether somebody died who may have left something on a board.
    must_bury: bool,
}

impl Hub {
    /// Settings for a new hub.
    pub fn builder() -> HubBuilder {
        HubBuilder::default()
    }

    /// Where it listens, if it does.
    pub fn path(&self) -> Option<&Path> {
        self.listener.as_ref().map(Listener::path)
    }

    /// How many clients are connected.
    pub fn clients(&self) -> usize {
        self.clients.connected.len()
    }

    /// Runs it in a thread of its own, until the result is stopped or dropped.
    ///
    /// # Errors
    /// [`HubError::Os`]: no thread could be started.
    pub fn start(self) -> Result<RunningHub, HubError> {
        RunningHub::start(self)
    }
}

shelf_calls!(Hub);

impl Drop for Hub {
    fn drop(&mut self) {
        self.shelf.close();
    }
}

impl fmt::Debug for Hub {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hub")
            .field("path", &self.path())
            .field("shelf", &self.shelf)
            .field("clients", &self.clients)
            .field("patience", &self.patience)
            .finish_non_exhaustive()
    }
}
