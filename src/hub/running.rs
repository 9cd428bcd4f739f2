//! A hub in a thread of its own.

use crate::error::HubError;
use crate::hub::Hub;
use crate::hub::event::HubEvent;
use crate::hub::shelf::{Shelf, locked, shelf_calls};
use crate::sync::Ordering;
use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// Longest round: nothing waits for its end, as the bell ends it.
const ROUND: Duration = Duration::from_secs(60);
/// How long the thread waits before the next round when the system refused one.
const PAUSE: Duration = Duration::from_millis(100);
/// Events kept for who listens; then the oldest go.
const EVENTS: usize = 4096;

/// A hub that runs in a thread of its own, by [`Hub::start`]. Dropped, it stops and waits for the thread, which
/// waits for a policy that is just being asked.
#[derive(Debug)]
#[must_use = "a hub that is dropped stops"]
pub struct RunningHub {
    shelf: Arc<Shelf>,
    path: Option<PathBuf>,
    queue: Arc<Queue>,
    thread: Option<JoinHandle<()>>,
}

impl RunningHub {
    pub(super) fn start(hub: Hub) -> Result<Self, HubError> {
        let (shelf, path) = (Arc::clone(&hub.shelf), hub.path().map(Path::to_owned));
        let queue = Arc::new(Queue::default());
        let feeding = Arc::clone(&queue);
        let thread = thread::Builder::new().name("shmlog-hub".to_owned()).spawn(move || run(hub, &feeding));
        let thread = thread.map_err(|error| HubError::os("starting the hub's thread", error))?;
        Ok(Self { shelf, path, queue, thread: Some(thread) })
    }

    /// Where it listens, if it does.
    pub fn path(&self) -> Option<&Path> {
        self.path.as_deref()
    }

    /// What happens at the hub. Nobody has to listen: of what nobody takes the newest 4096 are kept. Of several
    /// listeners one gets each event.
    pub fn events(&self) -> Events {
        Events { queue: Arc::clone(&self.queue) }
    }

    /// Whether it runs: only a policy that panics ends it early.
    pub fn is_running(&self) -> bool {
        !self.shelf.is_stopped.load(Ordering::Acquire)
    }

    /// Stops it and waits for the thread.
    ///
    /// # Errors
    /// [`HubError::Stopped`]: it had stopped before, as its policy panicked.
    pub fn stop(mut self) -> Result<(), HubError> {
        self.halt()
    }

    fn halt(&mut self) -> Result<(), HubError> {
        let Some(thread) = self.thread.take() else { return Ok(()) };
        self.shelf.is_stopped.store(true, Ordering::Release);
        self.shelf.bell.ring();
        thread.join().map_err(|_| HubError::Stopped)
    }
}

shelf_calls!(RunningHub);

impl Drop for RunningHub {
    fn drop(&mut self) {
        // A panic of the policy has been reported by the panic hook.
        let _ = self.halt();
    }
}

fn run(mut hub: Hub, queue: &Arc<Queue>) {
    // Ends the queue when the hub has ended, by a panic too.
    let _end = Ending(Arc::clone(queue));
    let shelf = Arc::clone(&hub.shelf);
    while !shelf.is_stopped.load(Ordering::Acquire) {
        match hub.step(ROUND) {
            Ok(events) => queue.push(events),
            Err(error) => {
                tracing::error!(%error, "a round of the hub failed; the next one follows");
                thread::sleep(PAUSE);
            }
        }
    }
}

/// What happens at a running hub, by [`RunningHub::events`].
#[derive(Clone, Debug)]
pub struct Events {
    queue: Arc<Queue>,
}

impl Events {
    /// The next event, if there is one.
    pub fn try_next(&self) -> Option<HubEvent> {
        locked(&self.queue.state).events.pop_front()
    }

    /// The next event. `None`: none came within `timeout`, or the hub has stopped.
    pub fn next_timeout(&self, timeout: Duration) -> Option<HubEvent> {
        let started = Instant::now();
        let mut state = locked(&self.queue.state);
        loop {
            if let Some(event) = state.events.pop_front() {
                return Some(event);
            }
            let left = timeout.saturating_sub(started.elapsed());
            if left.is_zero() || state.is_ended {
                return None;
            }
            (state, _) = self.queue.news.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// How many events went because nobody took them.
    pub fn missed(&self) -> u64 {
        locked(&self.queue.state).missed
    }
}

#[derive(Debug, Default)]
struct Queue {
    state: Mutex<State>,
    news: Condvar,
}

#[derive(Debug, Default)]
struct State {
    events: VecDeque<HubEvent>,
    missed: u64,
    is_ended: bool,
}

impl Queue {
    fn push(&self, events: Vec<HubEvent>) {
        if events.is_empty() {
            return;
        }
        let mut state = locked(&self.state);
        state.events.extend(events);
        let excess = state.events.len().saturating_sub(EVENTS);
        state.events.drain(..excess);
        state.missed += excess as u64;
        self.news.notify_all();
    }
}

struct Ending(Arc<Queue>);

impl Drop for Ending {
    fn drop(&mut self) {
        locked(&self.0.state).is_ended = true;
        self.0.news.notify_all();
    }
}
