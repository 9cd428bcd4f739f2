//! Settings for a hub.

use crate::arena::Arena;
use crate::error::HubError;
use crate::hub::Hub;
use crate::hub::clients::Clients;
use crate::hub::exhibit::Exhibit;
use crate::hub::listener::Listener;
use crate::hub::peer::{Peer, Policy, Request, Verdict, own_user_only};
use crate::hub::reserve::Reserve;
use crate::hub::shelf::Shelf;
use crate::log::Log;
use crate::snapshot::Snapshot;
use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// Settings for a hub, by [`Hub::builder`].
pub struct HubBuilder {
    exhibits: Vec<(String, Exhibit)>,
    policy: Option<Policy>,
    max_clients: usize,
    patience: Duration,
}

impl Default for HubBuilder {
    fn default() -> Self {
        Self { exhibits: Vec::new(), policy: None, max_clients: 256, patience: Duration::from_secs(10) }
    }
}

impl fmt::Debug for HubBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HubBuilder")
            .field("exhibits", &self.exhibits)
            .field("has_policy", &self.policy.is_some())
            .field("max_clients", &self.max_clients)
            .field("patience", &self.patience)
            .finish()
    }
}

impl HubBuilder {
    /// Gives out a log by this name: 1 to 64 bytes, without control characters, and no other region's.
    #[must_use]
    pub fn log(mut self, name: impl Into<String>, log: &Log) -> Self {
        self.exhibits.push((name.into(), Exhibit::Log(log.clone())));
        self
    }

    /// Gives out an arena by this name.
    #[must_use]
    pub fn arena(mut self, name: impl Into<String>, arena: Arc<Arena>) -> Self {
        self.exhibits.push((name.into(), Exhibit::Arena(arena)));
        self
    }

    /// Gives out a snapshot by this name.
    #[must_use]
    pub fn snapshot(mut self, name: impl Into<String>, snapshot: &Snapshot) -> Self {
        self.exhibits.push((name.into(), Exhibit::Snapshot(snapshot.clone())));
        self
    }

    /// Who may do what. Without a policy the hub's own user, root and workers that the hub started get what
    /// they ask for, and others a reason.
    ///
    /// It is asked about every request, also for names that there are not, so that who is refused can't find
    /// out names. It runs in the hub's rounds: the hub waits for it, and ends when it panics.
    ///
    /// ```
    /// use shmlog::hub::Verdict;
    /// use shmlog::{Access, Hub};
    /// # fn main() -> Result<(), shmlog::HubError> {
    /// // Whoever the socket's mode lets in may read; the hub's user may do anything.
    /// let hub = Hub::builder().policy(|peer, request| {
    ///     Verdict::Grant(if peer.is_same_user() { request.access } else { Access::Read })
    /// });
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn policy(mut self, policy: impl FnMut(&Peer, &Request) -> Verdict + Send + 'static) -> Self {
        self.policy = Some(Box::new(policy));
        self
    }

    /// How many clients there may be at once; 256 without this. Each takes two descriptors, and one more while
    /// it lives on without its connection. A user other than the hub's and root gets half of the places at most.
    /// Workers that the hub starts always have one.
    #[must_use]
    pub fn max_clients(mut self, max_clients: usize) -> Self {
        self.max_clients = max_clients;
        self
    }

    /// How long a client may stay connected without being granted anything, since it connected or asked last;
    /// 10 s without this. One that has got a region may be silent for ever, and so may workers that the hub
    /// starts.
    #[must_use]
    pub fn patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// Makes a hub that listens at `path`, which has at most 107 bytes, and its directory 93. A dead hub's socket
    /// there is replaced.
    ///
    /// `mode` says who may connect, whatever the umask: 0o600 the same user (and root), 0o660 the group too,
    /// 0o666 everybody who may enter the directory. What they get is up to the [policy](Self::policy). Sockets in
    /// the abstract name space are not supported: they have no mode.
    ///
    /// # Errors
    /// [`HubError::InUse`]: a hub lives there, or it is something else. [`HubError::BadName`],
    /// [`HubError::NameTaken`]: of what it is to give out. [`HubError::Os`].
    pub fn listen(self, path: impl AsRef<Path>, mode: u32) -> Result<Hub, HubError> {
        // Names are checked before anybody can connect.
        let mut hub = self.build()?;
        // Which needs some itself.
        hub.listener = Some(hub.reserve.lend(|| Listener::open(path.as_ref(), mode & 0o777))?);
        hub.reserve.refill(&hub.shelf.bell);
        Ok(hub)
    }

    /// Makes a hub for workers that it starts ([`Hub::spawn`]) and nobody else.
    ///
    /// # Errors
    /// [`HubError::BadName`], [`HubError::NameTaken`]: of what it is to give out. [`HubError::Os`].
    pub fn build(self) -> Result<Hub, HubError> {
        let shelf = Shelf::new()?;
        for (name, exhibit) in self.exhibits {
            shelf.add(&name, exhibit)?;
        }
        let mut reserve = Reserve::default();
        reserve.refill(&shelf.bell);
        Ok(Hub {
            listener: None,
            shelf,
            policy: self.policy.unwrap_or_else(own_user_only),
            clients: Clients::new(self.max_clients),
            reserve,
            patience: self.patience,
            shut_until: None,
            must_bury: false,
        })
    }
}
