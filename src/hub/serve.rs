//! Requests, decisions, replies.

use crate::error::{AttachError, PassError};
use crate::hub::Hub;
use crate::hub::event::{DropReason, HubEvent};
use crate::hub::peer::{Request, Verdict, lesser};
use crate::hub::wire::{Outcome, PROTOCOL, REQUEST_BYTES, Unreadable, read_request, write_reply};
use crate::log::Access;
use crate::pass::message::Offer;
use crate::sys::packet;
use rustix::event::PollFlags;
use rustix::io::Errno;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Instant;

/// What is done about a request.
enum Decision {
    Give { access: Access, offer: Box<Offer>, fds: Vec<OwnedFd> },
    Deny { outcome: Outcome, reason: String },
}

impl Decision {
    fn refuse(reason: impl Into<String>) -> Self {
        Self::Deny { outcome: Outcome::Refused, reason: reason.into() }
    }
}

impl Hub {
    /// A client's socket is ready: takes at most one message from it.
    pub(super) fn attend(&mut self, id: u64, flags: PollFlags, events: &mut Vec<HubEvent>) {
        let Some(client) = self.clients.connected.get_mut(&id) else { return };
        if flags.intersects(PollFlags::HUP | PollFlags::ERR | PollFlags::NVAL) {
            return self.leave(id, events);
        }
        // One byte more than a request: a longer message shows.
        let mut bytes = [0; REQUEST_BYTES + 1];
        match packet::receive(&client.socket, &mut bytes) {
            Err(Errno::AGAIN) => {}
            Err(_) => self.leave(id, events),
            Ok(0) if flags.contains(PollFlags::RDHUP) => self.leave(id, events),
            Ok(0) => self.dismiss(id, DropReason::Garbage { what: "without a byte" }, events),
            Ok(len) => {
                client.count(Instant::now());
                self.answer(id, &bytes[..len.min(bytes.len())], events);
            }
        }
    }

    fn answer(&mut self, id: u64, bytes: &[u8], events: &mut Vec<HubEvent>) {
        let Some(client) = self.clients.connected.get_mut(&id) else { return };
        if !client.has_read_all() {
            return self.dismiss(id, DropReason::Flooding, events);
        }
        match read_request(bytes) {
            Ok(request) => {
                let decision = self.decide(id, &request);
                self.reply(id, request, decision, events);
                // What was lent for it is there again.
                self.reserve.refill(&self.shelf.bell);
            }
            Err(Unreadable::Garbage(what)) => self.dismiss(id, DropReason::Garbage { what }, events),
            Err(Unreadable::Version(theirs)) => {
                let reply = write_reply(Outcome::Version, Access::Observe, "", None);
                let _ = packet::send(&client.socket, &reply, &[]);
                self.dismiss(id, DropReason::Version { theirs, ours: PROTOCOL }, events);
            }
        }
    }

    fn decide(&mut self, id: u64, request: &Request) -> Decision {
        let Some(client) = self.clients.connected.get(&id) else { return Decision::refuse("") };
        let access = match (self.policy)(&client.peer, request) {
            Verdict::Grant(access) => lesser(access, request.access),
            Verdict::Refuse(reason) => return Decision::refuse(reason),
        };
        let Some(exhibit) = self.shelf.find(&request.name) else {
            return Decision::Deny { outcome: Outcome::Unknown, reason: String::new() };
        };
        if exhibit.kind() != request.kind {
            return Decision::refuse(format!("it is {}, not {}", exhibit.kind(), request.kind));
        }
        if access == Access::Own
            && let Some(owner) = self.clients.other_owner(&request.name, id)
        {
            return Decision::refuse(format!("process {} owns it", owner.pid));
        }
        let packed = match exhibit.pack(access) {
            Err(error) if is_out_of_descriptors(&error) => self.reserve.lend(|| exhibit.pack(access)),
            packed => packed,
        };
        match packed {
            Ok((offer, fds)) => Decision::Give { access, offer: Box::new(offer), fds },
            Err(error @ (PassError::ReadOnly | PassError::Sealed)) => Decision::refuse(error.to_string()),
            Err(error) => Decision::Deny { outcome: Outcome::Unavailable, reason: error.to_string() },
        }
    }

    /// Sends the reply; drops a client that takes none.
    fn reply(&mut self, id: u64, request: Request, decision: Decision, events: &mut Vec<HubEvent>) {
        let Some(client) = self.clients.connected.get_mut(&id) else { return };
        let sent = match &decision {
            Decision::Give { access, offer, fds } => {
                let fds: Vec<_> = fds.iter().map(AsFd::as_fd).collect();
                packet::send(&client.socket, &write_reply(Outcome::Granted, *access, "", Some(offer)), &fds)
            }
            Decision::Deny { outcome, reason } => {
                packet::send(&client.socket, &write_reply(*outcome, Access::Observe, reason, None), &[])
            }
        };
        match (sent, decision) {
            (Ok(()), decision) => self.conclude(id, request, decision, events),
            (Err(Errno::AGAIN), _) => self.dismiss(id, DropReason::Flooding, events),
            (Err(Errno::PIPE | Errno::CONNRESET | Errno::NOTCONN), _) => self.leave(id, events),
            // Of descriptors that were sent and not received yet a user may have as many as a process may open.
            (Err(error), Decision::Give { .. }) => {
                let reason = format!("sending its descriptors: {error}");
                self.reply(id, request, Decision::Deny { outcome: Outcome::Unavailable, reason }, events);
            }
            (Err(error), Decision::Deny { .. }) => {
                self.dismiss(id, DropReason::System { what: format!("replying: {error}") }, events);
            }
        }
    }

    /// The reply is on its way.
    fn conclude(&mut self, id: u64, request: Request, decision: Decision, events: &mut Vec<HubEvent>) {
        let Some(client) = self.clients.connected.get_mut(&id) else { return };
        let (peer, name) = (client.peer.clone(), request.name);
        match decision {
            Decision::Give { access, .. } => {
                client.has_region = true;
                client.deadline = None;
                if access == Access::Own {
                    self.clients.own(&name, id);
                }
                events.push(HubEvent::Granted { peer, name, access });
            }
            Decision::Deny { outcome, reason } => {
                if client.deadline.is_some() {
                    client.deadline = Instant::now().checked_add(self.patience);
                }
                let why = if outcome == Outcome::Unknown { "nothing has this name".to_owned() } else { reason };
                events.push(HubEvent::Refused { peer, name, why });
            }
        }
    }
}

/// Whether it failed because this process, or the system, has no descriptors left.
fn is_out_of_descriptors(error: &PassError) -> bool {
    let (PassError::Os { error, .. } | PassError::Attach(AttachError::Os { error, .. })) = error else {
        return false;
    };
    let codes = [Errno::MFILE, Errno::NFILE].map(|errno| Some(errno.raw_os_error()));
    codes.contains(&error.raw_os_error())
}
