//! Who is connected, who owns what, and whose death is still of interest.

use crate::hub::peer::Peer;
use crate::sys::packet::{end, is_drained};
use crate::sys::poll::readiness;
use crate::sys::process::is_dead;
use rustix::event::PollFlags;
use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

/// Requests that a client may make in a second; then it waits for the next one.
const REQUESTS_PER_WINDOW: u32 = 1000;
const WINDOW: Duration = Duration::from_secs(1);

/// One connection.
#[derive(Debug)]
pub(crate) struct Client {
    pub(crate) peer: Peer,
    pub(crate) socket: OwnedFd,
    pub(crate) pidfd: OwnedFd,
    /// When it is dropped if it has been granted nothing by then. `None`: it may take its time.
    pub(crate) deadline: Option<Instant>,
    /// Whether it was granted anything.
    pub(crate) has_region: bool,
    window_start: Instant,
    requests: u32,
}

impl Client {
    pub(crate) fn new(peer: Peer, socket: OwnedFd, pidfd: OwnedFd, deadline: Option<Instant>) -> Self {
        Self { peer, socket, pidfd, deadline, has_region: false, window_start: Instant::now(), requests: 0 }
    }

    /// Counts a request.
    pub(crate) fn count(&mut self, now: Instant) {
        if now.duration_since(self.window_start) >= WINDOW {
            (self.window_start, self.requests) = (now, 0);
        }
        self.requests += 1;
    }

    /// How long it is not listened to, as it asked too often.
    pub(crate) fn pause(&self, now: Instant) -> Option<Duration> {
        let left = WINDOW.saturating_sub(now.duration_since(self.window_start));
        (self.requests >= REQUESTS_PER_WINDOW && !left.is_zero()).then_some(left)
    }

    /// Whether it has read all replies.
    pub(crate) fn has_read_all(&self) -> bool {
        is_drained(&self.socket)
    }

    /// Whether its process is dead, or its connection at its end.
    fn is_gone(&self) -> bool {
        is_dead(&self.pidfd) || readiness(&self.socket, PollFlags::empty()).contains(PollFlags::HUP)
    }
}

/// A process that closed its connection, and still has what it was granted.
#[derive(Debug)]
pub(crate) struct Departed {
    pub(crate) peer: Peer,
    pub(crate) pidfd: OwnedFd,
}

/// An ended connection with a reply that nobody has read.
///
/// The kernel counts the descriptors in it against the hub's user, until the client reads it or closes its end: as
/// long it takes one of the places, or a client could end one connection after the other, and in the end
/// the hub could send descriptors to nobody.
#[derive(Debug)]
struct Unread {
    uid: u32,
    socket: OwnedFd,
}

/// See the module. Ids are never used again.
#[derive(Debug)]
pub(crate) struct Clients {
    pub(crate) connected: BTreeMap<u64, Client>,
    pub(crate) departed: BTreeMap<u64, Departed>,
    unread: BTreeMap<u64, Unread>,
    owners: BTreeMap<String, u64>,
    next_id: u64,
    capacity: usize,
    own_uid: u32,
}

impl Clients {
    pub(crate) fn new(capacity: usize) -> Self {
        Self {
            connected: BTreeMap::new(),
            departed: BTreeMap::new(),
            unread: BTreeMap::new(),
            owners: BTreeMap::new(),
            next_id: 0,
            capacity,
            own_uid: rustix::process::geteuid().as_raw(),
        }
    }

    /// Whether there is a place for one more of this user: users other than the hub's own and root have at most
    /// half of them each.
    pub(crate) fn has_place_for(&self, uid: u32) -> bool {
        if self.connected.len() + self.unread.len() >= self.capacity {
            return false;
        }
        let share = if uid == self.own_uid || uid == 0 { self.capacity } else { self.capacity.div_ceil(2) };
        let connected = self.connected.values().map(|client| client.peer.uid);
        let uids = connected.chain(self.unread.values().map(|unread| unread.uid));
        uids.filter(|other| *other == uid).count() < share
    }

    pub(crate) fn insert(&mut self, client: Client) {
        self.connected.insert(self.next_id, client);
        self.next_id += 1;
    }

    /// Takes a client out, and from it what it owns.
    pub(crate) fn remove(&mut self, id: u64) -> Option<Client> {
        self.owners.retain(|_, owner| *owner != id);
        self.connected.remove(&id)
    }

    /// Closes the connection of a client that was taken out, and goes on following its process if it has something
    /// and lives.
    pub(crate) fn part(&mut self, id: u64, client: Client, is_alive: bool) {
        // A child that this process is just starting has a copy of the descriptor.
        end(&client.socket);
        if !client.has_region {
            return;
        }
        if !client.has_read_all() {
            self.unread.insert(id, Unread { uid: client.peer.uid, socket: client.socket });
        }
        if is_alive {
            self.follow(id, Departed { peer: client.peer, pidfd: client.pidfd });
        }
    }

    /// One descriptor for each process, of as many processes as there may be clients.
    fn follow(&mut self, id: u64, departed: Departed) {
        let pid = departed.peer.pid;
        // The number 0 stands for many.
        let is_same = |other: &Departed| pid != 0 && other.peer.pid == pid && !is_dead(&other.pidfd);
        self.departed.retain(|_, other| !is_same(other));
        if self.departed.len() >= self.capacity {
            self.forget_one();
        }
        self.departed.insert(id, departed);
    }

    /// Closes connections whose last replies have been read. Returns whether some are left.
    pub(crate) fn close_read(&mut self) -> bool {
        self.unread.retain(|_, unread| !is_drained(&unread.socket));
        !self.unread.is_empty()
    }

    /// Gives up following the process that is followed longest. False: there is none.
    pub(crate) fn forget_one(&mut self) -> bool {
        self.departed.pop_first().is_some()
    }

    /// Who other than `id` owns `name`, and lives.
    pub(crate) fn other_owner(&self, name: &str, id: u64) -> Option<&Peer> {
        let owner = self.owners.get(name).filter(|owner| **owner != id)?;
        self.connected.get(owner).filter(|client| !client.is_gone()).map(|client| &client.peer)
    }

    /// From now on `id` owns `name`.
    pub(crate) fn own(&mut self, name: &str, id: u64) {
        self.owners.insert(name.to_owned(), id);
    }
}
