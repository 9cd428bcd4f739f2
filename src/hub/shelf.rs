//! What a hub shares with the handles that work on it while it runs: what it gives out, and who is to come in.

use crate::arena::Arena;
use crate::error::HubError;
use crate::hub::exhibit::Exhibit;
use crate::hub::peer::Peer;
use crate::hub::wire::check_name;
use crate::log::Log;
use crate::pass::worker::{HUB_VARIABLE, start};
use crate::snapshot::Snapshot;
use crate::sync::{AtomicBool, Ordering};
use crate::sys::bell::Bell;
use crate::sys::{packet, process};
use rustix::io::Errno;
use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::process::{Child, Command};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A worker that was started and is not known to the hub's rounds yet.
#[derive(Debug)]
pub(crate) struct Arrival {
    pub(crate) peer: Peer,
    pub(crate) socket: OwnedFd,
    pub(crate) pidfd: OwnedFd,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Shelf {
    pub(crate) bell: Bell,
    pub(crate) is_stopped: AtomicBool,
    exhibits: Mutex<BTreeMap<String, Exhibit>>,
    arrivals: Mutex<Vec<Arrival>>,
}

/// No panic leaves one of the locked things half changed.
pub(crate) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shelf {
    pub(crate) fn new() -> Result<Arc<Self>, HubError> {
        let bell = Bell::new().map_err(|error| HubError::os("eventfd", error))?;
        Ok(Arc::new(Self {
            bell,
            is_stopped: AtomicBool::new(false),
            exhibits: Mutex::default(),
            arrivals: Mutex::default(),
        }))
    }

    /// Adds something.
    pub(crate) fn add(&self, name: &str, exhibit: Exhibit) -> Result<(), HubError> {
        check_name(name)?;
        let mut exhibits = locked(&self.exhibits);
        if exhibits.contains_key(name) {
            return Err(HubError::NameTaken { name: name.to_owned() });
        }
        exhibits.insert(name.to_owned(), exhibit);
        Ok(())
    }

    /// Removes something. Returns whether it was there.
    pub(crate) fn remove(&self, name: &str) -> bool {
        locked(&self.exhibits).remove(name).is_some()
    }

    pub(crate) fn find(&self, name: &str) -> Option<Exhibit> {
        locked(&self.exhibits).get(name).cloned()
    }

    /// Clears what the dead left on all boards.
    pub(crate) fn bury_dead(&self) {
        let exhibits: Vec<_> = locked(&self.exhibits).values().cloned().collect();
        let buried: usize = exhibits.iter().map(Exhibit::bury_dead).sum();
        tracing::debug!(buried, "cleared the places of dead clients");
    }

    /// Starts a worker with a connection to the hub.
    pub(crate) fn spawn(&self, command: &mut Command) -> Result<Child, HubError> {
        let (ours, theirs) = packet::pair().map_err(|error| HubError::os("socketpair", error))?;
        packet::keep_short(&ours).map_err(|error| HubError::os("setting up the socket", error))?;
        let mut child =
            start(command, HUB_VARIABLE, &theirs).map_err(|error| HubError::os("starting the worker", error))?;
        drop(theirs);
        let pid = child.id();
        // Nobody has waited for it, so the number is still its own.
        match process::pidfd_of(pid) {
            Ok(pidfd) => {
                let (uid, gid) = process::ids_of(pid).unwrap_or_else(own_ids);
                let peer = Peer { pid, uid, gid, is_inherited: true };
                let mut arrivals = locked(&self.arrivals);
                // Else the worker sees the end of its connection.
                if !self.is_stopped.load(Ordering::Acquire) {
                    arrivals.push(Arrival { peer, socket: ours, pidfd });
                    self.bell.ring();
                }
                Ok(child)
            }
            // Dead, and this process does not wait for its children (SIGCHLD is ignored).
            Err(Errno::SRCH) => Ok(child),
            Err(error) => {
                let _ = child.kill();
                let _ = child.wait();
                Err(HubError::os("following the worker", error))
            }
        }
    }

    /// The hub has ended: workers that it does not know yet see the end of their connections.
    pub(crate) fn close(&self) {
        self.is_stopped.store(true, Ordering::Release);
        drop(self.take_arrivals());
    }

    pub(crate) fn take_arrivals(&self) -> Vec<Arrival> {
        std::mem::take(&mut *locked(&self.arrivals))
    }
}

fn own_ids() -> (u32, u32) {
    (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw())
}

/// The same calls on [`Hub`](crate::Hub) and [`RunningHub`](crate::RunningHub).
macro_rules! shelf_calls {
    ($on:ty) => {
        impl $on {
            /// Adds a log. Clients can ask for it at once.
            ///
            /// # Errors
            /// [`HubError::BadName`](crate::HubError::BadName), [`HubError::NameTaken`](crate::HubError::NameTaken).
            pub fn add_log(&self, name: &str, log: &$crate::log::Log) -> Result<(), $crate::error::HubError> {
                self.shelf.add_log(name, log)
            }

            /// Adds an arena. Clients can ask for it at once.
            ///
            /// # Errors
            /// As `add_log`.
            pub fn add_arena(
                &self,
                name: &str,
                arena: std::sync::Arc<$crate::arena::Arena>,
            ) -> Result<(), $crate::error::HubError> {
                self.shelf.add_arena(name, arena)
            }

            /// Adds a snapshot. Clients can ask for it at once.
            ///
            /// # Errors
            /// As `add_log`.
            pub fn add_snapshot(
                &self,
                name: &str,
                snapshot: &$crate::snapshot::Snapshot,
            ) -> Result<(), $crate::error::HubError> {
                self.shelf.add_snapshot(name, snapshot)
            }

            /// Removes what has this name, and returns whether there was something. Clients that have it keep
            /// it, and who owns the name goes on owning it.
            pub fn remove(&self, name: &str) -> bool {
                self.shelf.remove(name)
            }

            /// Starts a worker that is connected to the hub from its start, whatever the socket's mode and how
            /// many clients there are; it calls [`HubClient::inherited`](crate::HubClient::inherited). The
            /// caller waits for the child.
            ///
            /// The worker's end of the connection goes to no other child of this process. The default policy
            /// grants the worker what it asks for, and it may take its time to ask.
            ///
            /// # Errors
            /// [`HubError::Os`](crate::HubError::Os): the program can't be started, or no descriptors are left.
            pub fn spawn(
                &self,
                command: &mut std::process::Command,
            ) -> Result<std::process::Child, $crate::error::HubError> {
                self.shelf.spawn(command)
            }
        }
    };
}
pub(crate) use shelf_calls;

impl Shelf {
    pub(crate) fn add_log(&self, name: &str, log: &Log) -> Result<(), HubError> {
        self.add(name, Exhibit::Log(log.clone()))
    }

    pub(crate) fn add_arena(&self, name: &str, arena: Arc<Arena>) -> Result<(), HubError> {
        self.add(name, Exhibit::Arena(arena))
    }

    pub(crate) fn add_snapshot(&self, name: &str, snapshot: &Snapshot) -> Result<(), HubError> {
        self.add(name, Exhibit::Snapshot(snapshot.clone()))
    }
}
