//! Letting clients in, and turning them away.

use crate::hub::Hub;
use crate::hub::clients::Client;
use crate::hub::event::{DropReason, HubEvent};
use crate::hub::peer::Peer;
use crate::hub::wire::{Outcome, write_reply};
use crate::log::Access;
use crate::sys::{packet, process};
use rustix::io::Errno;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

/// Connections accepted in a round; others come in the next.
const PER_ROUND: usize = 32;
/// How long nobody is let in after the system refused to accept.
const SHUT: Duration = Duration::from_millis(100);

impl Hub {
    /// Lets in the workers that were started.
    pub(super) fn admit_spawned(&mut self, events: &mut Vec<HubEvent>) {
        for arrival in self.shelf.take_arrivals() {
            events.push(HubEvent::Connected { peer: arrival.peer.clone() });
            self.clients.insert(Client::new(arrival.peer, arrival.socket, arrival.pidfd, None));
        }
    }

    /// Lets in some of those who wait, or turns them away.
    pub(super) fn admit_some(&mut self, events: &mut Vec<HubEvent>) {
        for _ in 0..PER_ROUND {
            let Some(listener) = &self.listener else { return };
            let mut accepted = packet::accept(listener);
            let is_short = matches!(accepted, Err(Errno::MFILE | Errno::NFILE));
            if is_short {
                if self.clients.forget_one() {
                    continue;
                }
                accepted = self.reserve.lend(|| packet::accept(listener));
            }
            match accepted {
                Ok(socket) if is_short => turn_away(&socket, events),
                Ok(socket) => self.admit(socket, events),
                Err(Errno::AGAIN) => return,
                Err(Errno::INTR | Errno::CONNABORTED) => {}
                Err(error) => {
                    tracing::warn!(%error, "the hub can't accept clients at the moment");
                    self.shut_until = Some(Instant::now() + SHUT);
                    return;
                }
            }
            self.reserve.refill(&self.shelf.bell);
        }
    }

    fn admit(&mut self, socket: OwnedFd, events: &mut Vec<HubEvent>) {
        let Some(peer) = peer_of(&socket) else { return };
        self.clients.close_read();
        if !self.clients.has_place_for(peer.uid) {
            return turn_away(&socket, events);
        }
        let set_up = packet::keep_short(&socket).and_then(|()| process::pidfd_of_peer(&socket, peer.pid));
        match set_up {
            Ok(pidfd) => {
                events.push(HubEvent::Connected { peer: peer.clone() });
                let deadline = Instant::now().checked_add(self.patience);
                self.clients.insert(Client::new(peer, socket, pidfd, deadline));
            }
            Err(Errno::MFILE | Errno::NFILE) => turn_away(&socket, events),
            Err(Errno::SRCH) => {
                events.push(HubEvent::Connected { peer: peer.clone() });
                events.push(HubEvent::Died { peer });
            }
            Err(error) => {
                let why = DropReason::System { what: format!("following it: {error}") };
                events.push(HubEvent::Dropped { peer, why });
            }
        }
    }
}

/// Says that there is no place.
fn turn_away(socket: &OwnedFd, events: &mut Vec<HubEvent>) {
    let Some(peer) = peer_of(socket) else { return };
    let _ = packet::send(socket, &write_reply(Outcome::Full, Access::Observe, "", None), &[]);
    events.push(HubEvent::Dropped { peer, why: DropReason::Full });
}

fn peer_of(socket: &OwnedFd) -> Option<Peer> {
    let found = process::credentials_of_peer(socket).ok()?;
    Some(Peer { pid: found.pid, uid: found.uid, gid: found.gid, is_inherited: false })
}
