//! A process beside the victim, which nobody steps.
#![allow(unsafe_code, reason = "fork, _exit")]

use anyhow::{Context, Result, ensure};
use nix::libc;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{ForkResult, Pid, fork};
use std::panic::{AssertUnwindSafe, catch_unwind};

/// See the module. Killed when it is dropped.
#[derive(Debug)]
pub(crate) struct Companion {
    pid: Pid,
    is_gone: bool,
}

impl Companion {
    /// Forks a child that does `act`.
    pub(crate) fn start(act: impl FnOnce() -> Result<()>) -> Result<Self> {
        // SAFETY: the caller has no other threads, so that the child may do what it likes; it ends by `_exit`.
        match unsafe { fork() }.context("fork")? {
            ForkResult::Child => {
                let done = catch_unwind(AssertUnwindSafe(act));
                let is_right = match &done {
                    Ok(Ok(())) => true,
                    Ok(Err(error)) => {
                        eprintln!("beside the victim: {error:#}");
                        false
                    }
                    Err(_) => false,
                };
                // SAFETY: ends the process, without what its parent registered for its own end.
                unsafe { libc::_exit(i32::from(!is_right)) }
            }
            ForkResult::Parent { child } => Ok(Self { pid: child, is_gone: false }),
        }
    }

    /// Returns when it waits for something, or has ended.
    pub(crate) fn wait_until_still(&self) -> Result<()> {
        loop {
            let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.pid)).context("its state")?;
            let state = stat.rsplit_once(") ").and_then(|(_, rest)| rest.chars().next());
            if matches!(state, Some('S' | 'Z')) {
                return Ok(());
            }
            std::thread::yield_now();
        }
    }

    /// Waits for its end, which must be a good one.
    pub(crate) fn finish(mut self) -> Result<()> {
        let ended = waitpid(self.pid, None)?;
        self.is_gone = true;
        ensure!(matches!(ended, WaitStatus::Exited(_, 0)), "the one beside the victim: {ended:?}");
        Ok(())
    }
}

impl Drop for Companion {
    fn drop(&mut self) {
        if !self.is_gone {
            // After an error, on the way out.
            let _ = kill(self.pid, Signal::SIGKILL);
            let _ = waitpid(self.pid, None);
        }
    }
}
