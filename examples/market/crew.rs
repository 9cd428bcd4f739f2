//! The parent's side of the workers: a thread each, which starts the worker, listens to it until its
//! socket ends, and finds out what became of it.
//!
//! A worker says two things, each one line of JSON: where it joined, and its result. The parent says
//! nothing; its end of the socket is at an end when it is gone, or when "watch" has seen it all.

use crate::args::{Args, Role, Waits, name_of};
use crate::desk::Desk;
use crate::gate::{Gate, Keeper, gate};
use crate::progress::{self, Progress};
use anyhow::{Context, Result, anyhow, bail};
use serde_json::Value;
use std::fmt;
use std::io::{BufRead, BufReader, ErrorKind, Lines};
use std::net::Shutdown;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::Duration;

/// How long a worker may take to join.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// What became of a worker.
#[derive(Clone, Debug)]
pub struct Outcome {
    pub role: Role,
    pub pid: Option<u32>,
    /// `{"joined_at_seq", "from_seq"}`, and for the late one `{"snapshot_as_of", "note"}`.
    pub joined: Option<Value>,
    /// See `workers`.
    pub result: Option<Value>,
    pub fate: Fate,
}

/// How it ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fate {
    Done,
    Killed { signal: i32 },
    Failed { why: String },
}

impl fmt::Display for Fate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Done => f.write_str("done"),
            Self::Killed { signal } => write!(f, "killed by signal {signal}"),
            Self::Failed { why } => write!(f, "failed: {why}"),
        }
    }
}

/// The workers at work.
#[derive(Debug)]
pub struct Crew {
    ready: Gate,
    outcomes: Receiver<Outcome>,
}

/// The worker that is yet to start.
#[derive(Debug)]
pub struct Late {
    start: Keeper,
    joined: Gate,
}

impl Late {
    /// Starts it. The gate opens when it has joined, or failed to.
    pub fn start(self) -> Gate {
        drop(self.start);
        self.joined
    }
}

/// What a thread is to do.
#[derive(Debug)]
struct Job {
    role: Role,
    /// When to start the worker.
    before: Option<Gate>,
    /// Let go of when it has joined.
    ready: Keeper,
    /// When to tell it that there is nothing more to see.
    until: Option<Gate>,
    /// Let go of when it has ended.
    ended: Vec<Keeper>,
}

impl Crew {
    /// Starts all but the late one, which starts when `Late` is told to or dropped. The gate opens when
    /// the owner has ended.
    pub fn start(desk: &Arc<Desk>, args: &Args, every: u64, progress: &Progress) -> (Self, Late, Gate) {
        let (sender, outcomes) = mpsc::channel();
        let orders = Orders::of(args, every);
        let hire = |job: Job| {
            let (desk, progress, sender) = (Arc::clone(desk), progress.clone(), sender.clone());
            thread::spawn(move || {
                // Nobody listens any more if the parent failed.
                let _ = sender.send(employ(&desk, orders, job, &progress));
            });
        };
        let (ready, all_ready) = gate();
        let (owner_ended, no_more_prices) = gate();
        let (owner_ended_too, no_more_states) = gate();
        let mut ended = vec![owner_ended, owner_ended_too];
        let job = |role| Job { role, before: None, ready: ready.clone(), until: None, ended: Vec::new() };
        for role in (0..args.workers).map(Role::Book).chain([Role::Tally]) {
            let ended = if role == args.owner() { std::mem::take(&mut ended) } else { Vec::new() };
            hire(Job { ended, ..job(role) });
        }
        hire(Job { until: Some(no_more_prices), ..job(Role::Watch) });
        let (start, started) = gate();
        let (late_joined, joined) = gate();
        hire(Job { before: Some(started), ready: late_joined, ..job(Role::Late) });
        drop(ready);
        (Self { ready: all_ready, outcomes }, Late { start, joined }, no_more_states)
    }

    /// Waits until every worker has joined, or failed to.
    pub fn wait_ready(&self) {
        self.ready.wait();
    }

    /// Waits for all of them, in the order of their roles. Calls `meanwhile` now and then.
    pub fn finish(self, meanwhile: impl Fn()) -> Vec<Outcome> {
        let mut outcomes = Vec::new();
        loop {
            match self.outcomes.recv_timeout(progress::EVERY) {
                Ok(outcome) => outcomes.push(outcome),
                Err(RecvTimeoutError::Timeout) => meanwhile(),
                Err(RecvTimeoutError::Disconnected) => break,
            }
        }
        outcomes.sort_unstable_by_key(|outcome| outcome.role);
        outcomes
    }
}

/// The whole life of a worker.
fn employ(desk: &Desk, orders: Orders, job: Job, progress: &Progress) -> Outcome {
    let Job { role, before, ready, until, ended } = job;
    if let Some(gate) = before {
        gate.wait();
    }
    let mut outcome =
        Outcome { role, pid: None, joined: None, result: None, fate: Fate::Failed { why: String::new() } };
    outcome.fate = match listen(desk, orders, ready, until, &mut outcome) {
        Ok(status) => fate(status, outcome.result.is_some()),
        Err(error) => Fate::Failed { why: format!("{error:#}") },
    };
    drop(ended);
    if outcome.fate != Fate::Done {
        let pid = outcome.pid.map_or_else(String::new, |pid| format!(" (pid {pid})"));
        progress.say(&format!("market: {role}{pid} {}", outcome.fate));
    }
    outcome
}

/// Starts a worker and listens to it to its end.
fn listen(
    desk: &Desk,
    orders: Orders,
    ready: Keeper,
    until: Option<Gate>,
    outcome: &mut Outcome,
) -> Result<ExitStatus> {
    let (ours, theirs) = UnixStream::pair()?;
    // The command goes at once, and with it this process's copy of the worker's end.
    let mut child = desk.spawn(outcome.role, &mut orders.command(outcome.role, theirs)?)?;
    outcome.pid = Some(child.id());
    ours.set_read_timeout(Some(PATIENCE))?;
    let mut lines = BufReader::new(ours.try_clone()?).lines();
    let joined = next(&mut lines);
    if joined.is_err() {
        child.kill()?;
        child.wait()?;
    }
    outcome.joined = joined?;
    ours.set_read_timeout(None)?;
    drop(ready);
    if let Some(gate) = until {
        gate.wait();
        // Fails if it is gone.
        let _ = ours.shutdown(Shutdown::Write);
    }
    outcome.result = next(&mut lines)?;
    Ok(child.wait()?)
}

/// What every worker is told.
#[derive(Clone, Copy, Debug)]
pub struct Orders {
    workers: u16,
    every: u64,
    wait: Waits,
}

impl Orders {
    pub fn of(args: &Args, every: u64) -> Self {
        Self { workers: args.workers, every, wait: args.wait }
    }

    /// This very program as a worker, with one end of the conversation as its stdin.
    pub fn command(self, role: Role, conversation: UnixStream) -> Result<Command> {
        let Self { workers, every, wait } = self;
        let program = std::env::current_exe().context("finding this program")?;
        let mut command = Command::new(program);
        command.args(["--worker", &role.to_string(), "--wait", &name_of(&wait)]);
        command.args(["--workers", &workers.to_string()]);
        if every > 0 {
            command.args(["--snapshot-every", &every.to_string()]);
        }
        command.stdin(OwnedFd::from(conversation)).stdout(Stdio::null());
        Ok(command)
    }
}

/// What the worker says next; nothing if it is gone, even if it was cut short.
pub fn next(lines: &mut Lines<BufReader<UnixStream>>) -> Result<Option<Value>> {
    let line = match lines.next() {
        Some(Ok(line)) => line,
        Some(Err(error)) if error.kind() == ErrorKind::WouldBlock => {
            bail!("it said nothing for {} s", PATIENCE.as_secs());
        }
        None | Some(Err(_)) => return Ok(None),
    };
    let said = serde_json::from_str(&line);
    said.map(Some).map_err(|_| anyhow!("it said what makes no sense: {line}"))
}

/// What the exit status of a worker says that has told its result, or has not.
pub fn fate(status: ExitStatus, has_result: bool) -> Fate {
    match status.signal() {
        Some(signal) => Fate::Killed { signal },
        None if status.success() && has_result => Fate::Done,
        None if status.success() => Fate::Failed { why: "it ended without a result".to_owned() },
        None => Fate::Failed { why: status.to_string() },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_result_and_a_clean_exit_is_done() {
        let exited = |code: i32| ExitStatus::from_raw(code << 8);
        assert_eq!(fate(exited(0), true), Fate::Done);
        assert_eq!(fate(ExitStatus::from_raw(9), true), Fate::Killed { signal: 9 });
        assert_eq!(fate(exited(0), false).to_string(), "failed: it ended without a result");
        assert_eq!(fate(exited(1), true).to_string(), "failed: exit status: 1");
    }
}
