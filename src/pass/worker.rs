//! Workers that a parent forks and execs: one call on each side.
#![allow(unsafe_code, reason = "pre_exec, and adopting the inherited descriptor")]

use crate::error::PassError;
use crate::log::{Access, Log};
use rustix::io::{FdFlags, fcntl_setfd};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Names the inherited socket in the worker's environment.
const VARIABLE: &str = "SHMLOG_SOCKET";

/// A worker as its parent has it, by [`Log::spawn`].
#[derive(Debug)]
pub struct Worker {
    /// The process.
    pub child: Child,
    /// The socket that the log was sent over: more logs can be, and anything else. At its end of
    /// file the worker is gone.
    pub socket: UnixStream,
    log: Log,
}

impl Worker {
    /// Waits until the worker has attached to the log.
    ///
    /// # Errors
    /// [`PassError`]: it refused, died or is silent.
    pub fn wait_attached(&self, timeout: Duration) -> Result<(), PassError> {
        self.log.await_answer(&self.socket, timeout)
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
        self.offer(&ours, access)?;
        let inherited = theirs.as_raw_fd();
        command.env(VARIABLE, inherited.to_string());
        // In the child only, so that no other child of this process inherits the socket.
        let keep_open = move || fcntl_setfd(&theirs, FdFlags::empty()).map_err(Into::into);
        // SAFETY: the closure makes one system call, which is async-signal-safe, and allocates
        // nothing.
        unsafe { command.pre_exec(keep_open) };
        let child = command.spawn().map_err(|error| PassError::os("starting the worker", error))?;
        Ok(Worker { child, socket: ours, log: self.clone() })
    }
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
    static TAKEN: AtomicBool = AtomicBool::new(false);
    let missing = || PassError::NotInherited { variable: VARIABLE };
    let number: i32 = std::env::var(VARIABLE).ok().and_then(|text| text.parse().ok()).ok_or_else(missing)?;
    let is_socket = std::fs::read_link(format!("/proc/self/fd/{number}"))
        .is_ok_and(|target| target.to_string_lossy().starts_with("socket:"));
    if number <= 2 || !is_socket || TAKEN.swap(true, Ordering::Relaxed) {
        return Err(missing());
    }
    // SAFETY: the descriptor is an open socket that the parent left to this process for this call,
    // which happens once.
    let socket = unsafe { OwnedFd::from_raw_fd(number) };
    fcntl_setfd(&socket, FdFlags::CLOEXEC).map_err(|error| PassError::os("close-on-exec", error))?;
    let socket = UnixStream::from(socket);
    let log = Log::receive(&socket)?;
    Ok((log, socket))
}
