//! A child that is stepped through a piece of code, instruction by instruction, by ptrace(2).
//!
//! It is forked and not execed: every one has the same addresses and the same heap, so that the instructions of
//! one are those of the next. The process that forks must have one thread only.
#![allow(unsafe_code, reason = "fork, _exit, a breakpoint instruction")]

use crate::memory;
use crate::route::Route;
use anyhow::{Context, Result, bail, ensure};
use nix::errno::Errno;
use nix::libc;
use nix::sys::ptrace::{self, Options};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{ForkResult, Pid, fork};
use std::mem::offset_of;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// The code that a panicking child ends with.
const PANICKED: i32 = 101;
/// `futex`, of the system calls (x86_64).
const SYS_FUTEX: u64 = 202;
/// `fdatasync`.
const SYS_FDATASYNC: u64 = 75;
/// The instruction `syscall`, as the lowest bytes of a word.
const SYSCALL: i64 = 0x050f;
/// In debug register 7: breakpoint 0 is on, for execution.
const BREAKPOINT_0: i64 = 1;

/// Stops the calling child, and lets its tracer go on. The first call begins what is stepped through, the second
/// ends it.
#[inline(never)]
pub fn mark() {
    // SAFETY: raises SIGTRAP, which the tracer takes; registers and memory stay as they are.
    unsafe { std::arch::asm!("int3", options(nomem, nostack, preserves_flags)) }
}

/// A stopped child. Killed when it is dropped.
#[derive(Debug)]
pub struct Victim {
    pid: Pid,
    /// Where it came to stand behind a mark.
    behind_mark: u64,
    is_gone: bool,
}

impl Victim {
    /// Forks a child that does `play`, and waits until it stands behind its first [`mark`].
    ///
    /// # Errors
    /// What the system says; a child that ends without a mark.
    pub fn start(play: impl FnOnce()) -> Result<Self> {
        // SAFETY: the caller has no other threads, so that the child may do what it likes; it ends by `_exit`.
        match unsafe { fork() }.context("fork")? {
            ForkResult::Child => {
                let traced = memory::begin() && ptrace::traceme().is_ok();
                let done = traced && catch_unwind(AssertUnwindSafe(play)).is_ok();
                // SAFETY: ends the process, without what its parent registered for its own end.
                unsafe { libc::_exit(if done { 0 } else { PANICKED }) }
            }
            ForkResult::Parent { child } => {
                let mut victim = Self { pid: child, behind_mark: 0, is_gone: false };
                victim.wait().context("before the operation")?;
                ptrace::setoptions(child, Options::PTRACE_O_EXITKILL)?;
                victim.behind_mark = victim.ip()?;
                Ok(victim)
            }
        }
    }

    /// Its process id.
    pub fn pid(&self) -> Pid {
        self.pid
    }

    /// Where it stands.
    ///
    /// # Errors
    /// What the system says.
    pub fn ip(&self) -> Result<u64> {
        self.register(offset_of!(libc::user, regs.rip))
    }

    /// Whether it stands behind a mark, at the beginning or the end.
    ///
    /// # Errors
    /// What the system says.
    pub fn is_behind_mark(&self) -> Result<bool> {
        Ok(self.ip()? == self.behind_mark)
    }

    /// Whether its next instruction is a `futex`, which may sleep.
    ///
    /// # Errors
    /// What the system says.
    pub fn is_before_futex(&self) -> Result<bool> {
        if self.register(offset_of!(libc::user, regs.rax))? != SYS_FUTEX {
            return Ok(false);
        }
        let text = ptrace::read(self.pid, self.ip()? as ptrace::AddressType)?;
        Ok(text & 0xffff == SYSCALL)
    }

    /// All that its next instruction computes with, but for vectors.
    ///
    /// # Errors
    /// What the system says.
    pub fn registers(&self) -> Result<libc::user_regs_struct> {
        Ok(ptrace::getregs(self.pid)?)
    }

    /// Whether it stands behind a mark, with these registers.
    pub fn is_at_mark(&self, registers: &libc::user_regs_struct) -> bool {
        registers.rip == self.behind_mark
    }

    /// Goes on until it is about to sync a file.
    ///
    /// # Errors
    /// What the system says; a child that ended, or came to a mark, before.
    pub fn resume_to_sync(&mut self) -> Result<()> {
        loop {
            ptrace::syscall(self.pid, None)?;
            self.wait()?;
            if self.register(offset_of!(libc::user, regs.orig_rax))? == SYS_FDATASYNC {
                return Ok(());
            }
            ensure!(!self.is_behind_mark()?, "it syncs nothing");
        }
    }

    /// Has the system call that it is about to make, by [`Victim::resume_to_sync`], fail without being made.
    ///
    /// # Errors
    /// What the system says.
    pub fn refuse(&mut self, error: Errno) -> Result<()> {
        // None has this number.
        self.set_register(offset_of!(libc::user, regs.orig_rax), -1)?;
        ptrace::syscall(self.pid, None)?;
        self.wait()?;
        self.set_register(offset_of!(libc::user, regs.rax), -i64::from(error as i32))
    }

    fn set_register(&self, offset: usize, value: i64) -> Result<()> {
        Ok(ptrace::write_user(self.pid, offset as ptrace::AddressType, value)?)
    }

    fn register(&self, offset: usize) -> Result<u64> {
        Ok(ptrace::read_user(self.pid, offset as ptrace::AddressType)?.cast_unsigned())
    }

    /// Executes one instruction; a system call is one.
    ///
    /// # Errors
    /// What the system says; a child that ended.
    pub fn step(&mut self) -> Result<()> {
        ptrace::step(self.pid, None)?;
        self.wait()
    }

    /// Goes on to the next mark, or to the breakpoint.
    ///
    /// # Errors
    /// What the system says; a child that ended.
    pub fn resume(&mut self) -> Result<()> {
        ptrace::cont(self.pid, None)?;
        self.wait()
    }

    /// Goes on along a route. Returns whether it came to where it should; it may have taken another way.
    ///
    /// # Errors
    /// What the system says; a child that ended.
    pub fn follow(&mut self, route: &Route) -> Result<bool> {
        for breakpoint in [route.anchor, route.breakpoint].into_iter().flatten() {
            self.set_breakpoint(Some(breakpoint.ip))?;
            for _ in 0..breakpoint.hits {
                self.resume()?;
                if self.ip()? != breakpoint.ip {
                    return Ok(false);
                }
            }
            self.set_breakpoint(None)?;
        }
        for _ in 0..route.steps {
            self.step()?;
        }
        Ok(self.ip()? == route.ip)
    }

    fn set_breakpoint(&self, ip: Option<u64>) -> Result<()> {
        let set = |register: usize, value: i64| {
            let offset = offset_of!(libc::user, u_debugreg) + register * size_of::<u64>();
            ptrace::write_user(self.pid, offset as ptrace::AddressType, value)
        };
        set(7, 0)?;
        if let Some(ip) = ip {
            set(0, ip.cast_signed())?;
            set(7, BREAKPOINT_0)?;
        }
        Ok(())
    }

    /// Waits until it stops again.
    fn wait(&mut self) -> Result<()> {
        match waitpid(self.pid, None)? {
            WaitStatus::Stopped(_, Signal::SIGTRAP) => Ok(()),
            WaitStatus::Stopped(_, signal) => bail!("the victim got {signal} at {:#x}", self.ip()?),
            ended => {
                self.is_gone = true;
                bail!("the victim ended: {ended:?}")
            }
        }
    }

    /// Kills it. When this returns, the kernel has reported its death.
    ///
    /// # Errors
    /// What the system says.
    pub fn kill(mut self) -> Result<()> {
        kill(self.pid, Signal::SIGKILL)?;
        self.is_gone = true;
        let ended = waitpid(self.pid, None)?;
        ensure!(matches!(ended, WaitStatus::Signaled(_, Signal::SIGKILL, _)), "killed, but {ended:?}");
        Ok(())
    }

    /// Lets it go on, past its marks, to its end.
    ///
    /// # Errors
    /// A child that does not end well.
    pub fn finish(mut self) -> Result<()> {
        loop {
            ptrace::cont(self.pid, None)?;
            match waitpid(self.pid, None)? {
                WaitStatus::Stopped(_, Signal::SIGTRAP) => {}
                WaitStatus::Stopped(_, signal) => bail!("the victim got {signal} at {:#x}", self.ip()?),
                WaitStatus::Exited(_, 0) => {
                    self.is_gone = true;
                    return Ok(());
                }
                ended => {
                    self.is_gone = true;
                    bail!("the victim ended: {ended:?}")
                }
            }
        }
    }
}

impl Drop for Victim {
    fn drop(&mut self) {
        if !self.is_gone {
            // After an error, on the way out: nothing more can be done about another one.
            let _ = kill(self.pid, Signal::SIGKILL);
            let _ = waitpid(self.pid, None);
        }
    }
}
