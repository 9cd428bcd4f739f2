//! One round of a hub: wait, then look at the dead, at requests, at who wants in, and at the clock.

use crate::error::HubError;
use crate::hub::Hub;
use crate::hub::clients::Client;
use crate::hub::event::{DropReason, HubEvent};
use crate::sys::poll;
use crate::sys::process::is_dead;
use rustix::event::{PollFd, PollFlags};
use std::time::{Duration, Instant};

/// How long until the hub looks again whether replies were read after the end of their connections: no
/// descriptor becomes ready by that alone.
const LOOK: Duration = Duration::from_secs(1);

/// What a descriptor in the poll set is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Source {
    Bell,
    Listener,
    Socket(u64),
    Process(u64),
    Departed(u64),
}

impl Hub {
    /// Does one round: waits until something happens, at most `timeout`, and does what there is to do, without
    /// ever waiting for a client. Returns what happened.
    ///
    /// ```
    /// use shmlog::hub::HubEvent;
    /// use shmlog::{Hub, HubClient};
    /// use std::time::Duration;
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let dir = tempfile::tempdir()?;
    /// # let path = dir.path().join("hub");
    /// let mut hub = Hub::builder().listen(&path, 0o600)?;
    /// let client = HubClient::connect(&path)?;
    /// let events = hub.step(Duration::from_secs(1))?;
    /// assert!(matches!(&events[..], [HubEvent::Connected { peer }] if peer.pid == std::process::id()));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`HubError::Os`]: the system has no memory left to wait with. It can be called again.
    pub fn step(&mut self, timeout: Duration) -> Result<Vec<HubEvent>, HubError> {
        let mut events = Vec::new();
        self.reserve.refill(&self.shelf.bell);
        self.admit_spawned(&mut events);
        let has_unread = self.clients.close_read();
        let longest = if has_unread { timeout.min(LOOK) } else { timeout };
        let ready = self.wait(if events.is_empty() { longest } else { Duration::ZERO })?;
        // The dead first: what they own is free for who asks in the same round.
        for &(source, _) in &ready {
            match source {
                Source::Process(id) => self.die(id, &mut events),
                Source::Departed(id) => self.die_departed(id, &mut events),
                Source::Bell => self.shelf.bell.hush(),
                Source::Socket(_) | Source::Listener => {}
            }
        }
        for &(source, flags) in &ready {
            if let Source::Socket(id) = source {
                self.attend(id, flags, &mut events);
            }
        }
        if ready.iter().any(|(source, _)| *source == Source::Listener) {
            self.admit_some(&mut events);
        }
        self.drop_the_silent(&mut events);
        if std::mem::take(&mut self.must_bury) {
            self.shelf.bury_dead();
        }
        Ok(events)
    }

    /// Waits until something is ready. Returns what is.
    fn wait(&self, timeout: Duration) -> Result<Vec<(Source, PollFlags)>, HubError> {
        let now = Instant::now();
        let mut sources = vec![Source::Bell];
        let mut fds = vec![PollFd::new(&self.shelf.bell, PollFlags::IN)];
        if let Some(listener) = self.listener.as_ref().filter(|_| self.shut_until.is_none_or(|until| until <= now)) {
            sources.push(Source::Listener);
            fds.push(PollFd::new(listener, PollFlags::IN));
        }
        for (&id, client) in &self.clients.connected {
            // Its end shows all the same.
            let is_heard = client.pause(now).is_none();
            let flags = if is_heard { PollFlags::IN | PollFlags::RDHUP } else { PollFlags::empty() };
            sources.extend([Source::Socket(id), Source::Process(id)]);
            fds.extend([PollFd::new(&client.socket, flags), PollFd::new(&client.pidfd, PollFlags::IN)]);
        }
        for (&id, departed) in &self.clients.departed {
            sources.push(Source::Departed(id));
            fds.push(PollFd::new(&departed.pidfd, PollFlags::IN));
        }
        poll::wait(&mut fds, timeout.min(self.next_alarm(now))).map_err(|error| HubError::os("poll", error))?;
        let flags = fds.iter().map(PollFd::revents);
        Ok(sources.into_iter().zip(flags).filter(|(_, flags)| !flags.is_empty()).collect())
    }

    /// How long until the clock makes something of interest.
    fn next_alarm(&self, now: Instant) -> Duration {
        let deadlines = self.clients.connected.values().filter_map(|client| client.deadline).chain(self.shut_until);
        let pauses = self.clients.connected.values().filter_map(|client| client.pause(now));
        let left = deadlines.map(|deadline| deadline.saturating_duration_since(now)).chain(pauses);
        left.min().unwrap_or(Duration::MAX)
    }

    /// A client's process is dead.
    fn die(&mut self, id: u64, events: &mut Vec<HubEvent>) {
        if let Some(client) = self.clients.remove(id) {
            self.must_bury |= client.has_region;
            events.push(HubEvent::Died { peer: client.peer.clone() });
            self.clients.part(id, client, false);
        }
    }

    fn die_departed(&mut self, id: u64, events: &mut Vec<HubEvent>) {
        if let Some(departed) = self.clients.departed.remove(&id) {
            self.must_bury = true;
            events.push(HubEvent::Died { peer: departed.peer });
        }
    }

    /// A client's connection is at its end.
    pub(super) fn leave(&mut self, id: u64, events: &mut Vec<HubEvent>) {
        if self.clients.connected.get(&id).is_some_and(|client| is_dead(&client.pidfd)) {
            return self.die(id, events);
        }
        if let Some(client) = self.clients.remove(id) {
            events.push(HubEvent::Left { peer: client.peer.clone() });
            self.clients.part(id, client, true);
        }
    }

    /// Closes a client's connection.
    pub(super) fn dismiss(&mut self, id: u64, why: DropReason, events: &mut Vec<HubEvent>) {
        if let Some(client) = self.clients.remove(id) {
            tracing::debug!(peer = %client.peer, %why, "dropped a client");
            events.push(HubEvent::Dropped { peer: client.peer.clone(), why });
            self.clients.part(id, client, true);
        }
    }

    fn drop_the_silent(&mut self, events: &mut Vec<HubEvent>) {
        let now = Instant::now();
        let is_late = |client: &Client| client.deadline.is_some_and(|deadline| deadline <= now);
        let late = self.clients.connected.iter().filter(|(_, client)| is_late(client));
        for id in late.map(|(&id, _)| id).collect::<Vec<_>>() {
            self.dismiss(id, DropReason::Silent, events);
        }
        if self.shut_until.is_some_and(|until| until <= now) {
            self.shut_until = None;
        }
    }
}
