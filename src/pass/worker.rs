//! Workers that a parent forks and execs: one call on each side.
#![allow(unsafe_code, reason = "pre_exec, and adopting the inherited descriptor")]

use crate::error::PassError;
use crate::log::{Access, Log};
use crate::pass::transfer::{await_answer, send_offer};
use crate::sync::{AtomicU32, Ordering::Relaxed};
use rustix::fs::OFlags;
use rustix::io::{FdFlags, fcntl_setfd};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

/// Names the inherited socket in the worker's environment.
const VARIABLE: &str = "SHMLOG_SOCKET";
/// Names the inherited end of a connection to the parent's hub.
pub(crate) const HUB_VARIABLE: &str = "SHMLOG_HUB";
const VARIABLES: [&str; 2] = [VARIABLE, HUB_VARIABLE];
/// No descriptor to inherit.
const NONE: u32 = u32::MAX;

/// A worker as its parent has it, by [`Log::spawn`].
#[derive(Debug)]
pub struct Worker {
    /// The process.
    pub child: Child,
    /// The socket that the log was sent over. The first thing to come over it is the worker's answer,
    /// so call [`Worker::wait_attached`] before any other use; then more logs can be sent over it, and
    /// anything else. At its end of file the worker is gone.
    pub socket: UnixStream,
    offered: [u8; 16],
    is_attached: OnceLock<()>,
}

impl Worker {
    /// Waits until the worker has attached to the log. Readers it takes come later: to be sure that a
    /// gated one misses nothing, have it say so over [`Worker::socket`] before you append.
    ///
    /// # Errors
    /// [`PassError`]: it refused, died or is silent.
    pub fn wait_attached(&self, timeout: Duration) -> Result<(), PassError> {
        if self.is_attached.get().is_none() {
            await_answer(&self.socket, self.offered, timeout)?;
            let _ = self.is_attached.set(());
        }
        Ok(())
    }
}

impl Log {
    /// Starts a worker and passes it the log; the worker calls [`inherited`].
    ///
    /// The worker is not waited for. If this process dies, the worker keeps the log and sees the
    /// end of its socket.
    ///
    /// ```no_run
    /// use shmlog::{Access, Log};
    /// use std::process::Command;
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let log = Log::builder().create_memfd("feed")?;
    /// let worker = log.spawn(&mut Command::new("./strategy"), Access::Read)?;
    /// worker.wait_attached(std::time::Duration::from_secs(1))?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`PassError`]: the log can't be passed on so, or the program can't be started.
    pub fn spawn(&self, command: &mut Command, access: Access) -> Result<Worker, PassError> {
        let (ours, theirs) = UnixStream::pair().map_err(|error| PassError::os("socketpair", error))?;
        let offer = send_offer(self, &ours, access)?;
        let child = start(command, VARIABLE, &theirs).map_err(|error| PassError::os("starting the worker", error))?;
        Ok(Worker { child, socket: ours, offered: offer.id(), is_attached: OnceLock::new() })
    }
}

/// Starts a child that inherits a socket, and finds its number in the environment variable.
pub(crate) fn start(command: &mut Command, variable: &str, socket: impl AsFd) -> io::Result<Child> {
    let number = socket.as_fd().as_raw_fd();
    let inherited = Arc::new(AtomicU32::new(number.cast_unsigned()));
    // What an earlier start with this command, or the start of this very process, left there names another file.
    for other in VARIABLES.into_iter().filter(|other| *other != variable) {
        command.env_remove(other);
    }
    command.env(variable, number.to_string());
    keep_open(command, Arc::clone(&inherited));
    let child = command.spawn();
    // The command may be used again, when the number may mean another file.
    inherited.store(NONE, Relaxed);
    command.env_remove(variable);
    child
}

/// Lets the child, and no other child of this process, inherit the descriptor.
fn keep_open(command: &mut Command, inherited: Arc<AtomicU32>) {
    let clear = move || match inherited.load(Relaxed) {
        NONE => Ok(()),
        number => {
            // SAFETY: `start` borrows the socket until the child has been made.
            let socket = unsafe { BorrowedFd::borrow_raw(number.cast_signed()) };
            Ok(fcntl_setfd(socket, FdFlags::empty())?)
        }
    };
    // SAFETY: the closure makes one system call, which is async-signal-safe, and allocates nothing.
    unsafe { command.pre_exec(clear) };
}

/// In a worker: the log that [`Log::spawn`] passed to this process, attached, and the socket to the
/// parent. Once per process.
///
/// ```no_run
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let (log, parent) = shmlog::inherited()?;
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// [`PassError::NotInherited`] in any other process; else as [`Log::receive`].
pub fn inherited() -> Result<(Log, UnixStream), PassError> {
    let socket = adopt(VARIABLE)?;
    let socket = UnixStream::from(socket);
    let log = Log::receive(&socket)?;
    Ok((log, socket))
}

/// In a worker: the socket that [`start`] left to it. Once per process.
///
/// # Errors
/// [`PassError::NotInherited`] in any other process.
pub(crate) fn adopt(variable: &'static str) -> Result<OwnedFd, PassError> {
    static ADOPTED: Mutex<Vec<i32>> = Mutex::new(Vec::new());
    let missing = || PassError::NotInherited { variable };
    let number: i32 = std::env::var(variable).ok().and_then(|text| text.parse().ok()).ok_or_else(missing)?;
    let is_socket = std::fs::read_link(format!("/proc/self/fd/{number}"))
        .is_ok_and(|target| target.to_string_lossy().starts_with("socket:"));
    let mut adopted = ADOPTED.lock().unwrap_or_else(PoisonError::into_inner);
    if number <= 2 || !is_socket || !is_inherited(number) || adopted.contains(&number) {
        return Err(missing());
    }
    adopted.push(number);
    // SAFETY: the descriptor is an open socket that the parent left to this process for this call, which
    // happens once for each number.
    let socket = unsafe { OwnedFd::from_raw_fd(number) };
    fcntl_setfd(&socket, FdFlags::CLOEXEC).map_err(|error| PassError::os("close-on-exec", error))?;
    Ok(socket)
}

/// Whether this process was started with the descriptor: what it opened since is close-on-exec.
fn is_inherited(number: i32) -> bool {
    let info = std::fs::read_to_string(format!("/proc/self/fdinfo/{number}")).unwrap_or_default();
    let flags = info.lines().find_map(|line| line.strip_prefix("flags:")).map(str::trim);
    let flags = flags.and_then(|octal| u32::from_str_radix(octal, 8).ok());
    flags.is_some_and(|flags| flags & OFlags::CLOEXEC.bits() == 0)
}
