//! What a system is to this tool: ends that send and receive messages, and who makes them.

use crate::case::{Job, Shape, Suite};
use crate::told::Told;
use anyhow::{Result, bail};
use std::os::unix::net::UnixStream;

/// An end that sends. Messages have all `Shape::bytes` bytes, a multiple of 8.
pub trait Tx {
    /// Sends one message, all bytes of which are written to shared memory. `false`: there is no room now.
    ///
    /// # Errors
    /// Whatever else keeps it from being sent.
    fn try_send(&mut self, message: &[u8]) -> Result<bool>;

    /// Sends messages of `bytes` each, which lie one behind the other, as the one unit that the system has for
    /// that; its receiver shows them one by one. `false`: there is no room now, and none was sent.
    ///
    /// # Errors
    /// The system has no such unit; or as [`Tx::try_send`].
    fn try_send_batch(&mut self, messages: &[u8], bytes: usize) -> Result<bool> {
        bail!("no batches ({} bytes of {bytes} each)", messages.len())
    }

    /// Makes visible what was sent, in systems that put that off.
    ///
    /// # Errors
    /// As [`Tx::try_send`].
    fn flush(&mut self) -> Result<()> {
        Ok(())
    }
}

/// An end that receives.
pub trait Rx {
    /// Shows messages that are there now, in order, each once, in place if the system can; returns how many that
    /// were. It need not show all. Never waits.
    ///
    /// # Errors
    /// Messages were lost, or the peer is gone.
    fn poll(&mut self, see: &mut impl FnMut(&[u8])) -> Result<usize>;

    /// Sleeps until there is something to poll, or for a while.
    ///
    /// # Errors
    /// The system can't.
    fn sleep(&mut self) -> Result<()> {
        bail!("it can only be polled")
    }
}

/// Which end of a lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// Sends.
    Tx,
    /// Receives; senders wait for it, so that nothing is lost.
    Rx,
    /// Is attached to receive, but never polls: senders must not wait for it.
    Idle,
}

/// One end of one lane. A lane goes one way, from all its senders to all its receivers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// 0, or, for the way back, 1.
    pub lane: usize,
    /// Sends or receives.
    pub end: End,
    /// Which of the senders, or of the receivers, of the lane it is.
    pub index: usize,
}

/// What the parent keeps while the children of a trial live, e.g. the regions or a driver. Dropped when they
/// are gone.
pub trait Home {
    /// Gives a child what it needs for a place: called once for each of its places, in their order, while the
    /// child calls [`Channel::tx`] or [`Channel::rx`] for them.
    ///
    /// # Errors
    /// The child does not take it.
    fn admit(&self, place: Place, socket: &UnixStream) -> Result<()> {
        let _ = (place, socket);
        Ok(())
    }
}

/// A home where nothing is kept: the ends find each other by names in `Shape::dir`.
pub struct NoHome;
impl Home for NoHome {}

/// A system whose ends live in different processes.
pub trait Channel {
    /// Sends.
    type Tx: Tx;
    /// Receives.
    type Rx: Rx;

    /// In the parent, before the children are started.
    ///
    /// # Errors
    /// It can't be had here; the text becomes the reason in the report.
    fn home(shape: &Shape) -> Result<Box<dyn Home>>;

    /// In a child. May wait until the other ends of the lane are there: all children attach at the same time,
    /// each to its lanes in the order of their numbers.
    ///
    /// # Errors
    /// It can't be had here.
    fn tx(shape: &Shape, place: Place, socket: &UnixStream) -> Result<Self::Tx>;

    /// In a child, as [`Channel::tx`].
    ///
    /// # Errors
    /// It can't be had here.
    fn rx(shape: &Shape, place: Place, socket: &UnixStream) -> Result<Self::Rx>;
}

/// All senders and all receivers of a lane.
pub type Lane<T, R> = (Vec<T>, Vec<R>);

/// A system whose ends are threads of one process.
pub trait Local {
    /// Sends.
    type Tx: Tx + Send;
    /// Receives.
    type Rx: Rx + Send;

    /// One lane with `Shape::senders` and `Shape::receivers` ends.
    ///
    /// # Errors
    /// The system can't do that many, or that size.
    fn lane(shape: &Shape) -> Result<Lane<Self::Tx, Self::Rx>>;
}

/// Where the ends of a system live, or whether it is a limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// In processes.
    Process,
    /// In threads of one process.
    Threads,
    /// In processes, but it is no system: what the hardware or the kernel allows.
    Limit,
}

impl Kind {
    /// As in the reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Process => "process",
            Self::Threads => "threads",
            Self::Limit => "limit",
        }
    }
}

/// Makes the home of a trial.
pub type MakeHome = fn(&Shape) -> Result<Box<dyn Home>>;
/// Plays what a job says in a child, and tells the parent by the socket when it is ready.
pub type Play = fn(&Job, &UnixStream) -> Result<Vec<Told>>;

/// One line of the list of systems.
#[derive(Clone, Copy)]
pub struct System {
    /// As in the reports.
    pub name: &'static str,
    /// Where its ends live.
    pub kind: Kind,
    /// What it takes part in.
    pub suites: &'static [Suite],
    /// How it is run, or why it can't be.
    pub how: Result<(MakeHome, Play), &'static str>,
}
