//! Workers that a parent forks and execs: one call on each side.
#![allow(unsafe_code, reason = "pre_exec, and adopting the inherited descriptor")]

use crate::error::PassError;
use crate::log::{Access, Log};
use crate::pass::transfer::{await_answer, send_offer};
use crate::sync::{AtomicU32, Ordering::Relaxed};
use rustix::fs::OFlags;
use rustix::io::{FdFlags, fcntl_setfd};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

/// Names the inherited socket in the worker's environment.
const VARIABLE: &str = "SHMLOG_SOCKET";
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
        command.env(VARIABLE, theirs.as_raw_fd().to_string());
        let inherited = Arc::new(AtomicU32::new(theirs.as_raw_fd().cast_unsigned()));
        keep_open(command, Arc::clone(&inherited));
        let child = command.spawn().map_err(|error| PassError::os("starting the worker", error));
        // The command may be used again, when the number may mean another file.
        inherited.store(NONE, Relaxed);
        let child = child?;
        Ok(Worker { child, socket: ours, offered: offer.id(), is_attached: OnceLock::new() })
    }
}

/// Lets the child, and no other child of this process, inherit the descriptor.
fn keep_open(command: &mut Command, inherited: Arc<AtomicU32>) {
    let clear = move || match inherited.load(Relaxed) {
        NONE => Ok(()),
        number => {
            // SAFETY: `spawn` holds the socket open until the child has been made.
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
    static TAKEN: AtomicU32 = AtomicU32::new(0);
    let missing = || PassError::NotInherited { variable: VARIABLE };
    let number: i32 = std::env::var(VARIABLE).ok().and_then(|text| text.parse().ok()).ok_or_else(missing)?;
    let is_socket = std::fs::read_link(format!("/proc/self/fd/{number}"))
        .is_ok_and(|target| target.to_string_lossy().starts_with("socket:"));
    if number <= 2 || !is_socket || !is_inherited(number) || TAKEN.swap(1, Relaxed) == 1 {
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

/// Whether this process was started with the descriptor: what it opened since is close-on-exec.
fn is_inherited(number: i32) -> bool {
    let info = std::fs::read_to_string(format!("/proc/self/fdinfo/{number}")).unwrap_or_default();
    let flags = info.lines().find_map(|line| line.strip_prefix("flags:")).map(str::trim);
    let flags = flags.and_then(|octal| u32::from_str_radix(octal, 8).ok());
    flags.is_some_and(|flags| flags & OFlags::CLOEXEC.bits() == 0)
}
