//! The parent's side of the workers: a thread each, which starts the worker, listens to it until its
//! socket ends, and finds out what became of it.
//!
//! A worker says two things, each one line of JSON: where it joined, and its result.

use crate::args::{Args, Role, Waits, name_of};
use crate::progress::{self, Progress};
use anyhow::{Context, Result, anyhow};
use serde_json::Value;
use shmlog::{Access, Log, PassError};
use std::convert::Infallible;
use std::fmt;
use std::io::{BufRead, BufReader, Lines};
use std::os::unix::net::UnixStream;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread;
use std::time::Duration;

/// How long a worker may take to attach.
const PATIENCE: Duration = Duration::from_secs(60);

/// What became of a worker.
#[derive(Debug)]
pub struct Outcome {
    pub role: Role,
    pub pid: Option<u32>,
    /// `{"joined_at_seq", "from_seq"}`.
    pub joined: Option<Value>,
    /// See `workers`.
    pub result: Option<Value>,
    pub fate: Fate,
}

/// How it ended.
#[derive(Debug, PartialEq, Eq)]
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

impl Crew {
    /// Starts all but the late one, which starts when `Late` is told to or dropped.
    pub fn start(log: &Log, args: &Args, progress: &Progress) -> (Self, Late) {
        let (sender, outcomes) = mpsc::channel();
        let (ready_keeper, ready) = gate();
        let (joined_keeper, joined) = gate();
        let (start, started) = gate();
        let employ = |role, before: Option<Gate>, ready| {
            let (log, wait, progress, sender) = (log.clone(), args.wait, progress.clone(), sender.clone());
            thread::spawn(move || {
                if let Some(gate) = before {
                    gate.wait();
                }
                // Nobody listens any more if the parent failed.
                let _ = sender.send(employ(&log, role, wait, ready, &progress));
            });
        };
        for role in (0..args.workers).map(Role::Book).chain([Role::Tally]) {
            employ(role, None, ready_keeper.clone());
        }
        employ(Role::Late, Some(started), joined_keeper);
        (Self { ready, outcomes }, Late { start, joined })
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

/// Opens when all its keepers are gone.
#[derive(Debug)]
pub struct Gate(Receiver<Infallible>);

#[derive(Clone, Debug)]
struct Keeper {
    _open_on_drop: Sender<Infallible>,
}

impl Gate {
    pub fn wait(&self) {
        let Err(mpsc::RecvError) = self.0.recv();
    }
}

fn gate() -> (Keeper, Gate) {
    let (sender, receiver) = mpsc::channel();
    (Keeper { _open_on_drop: sender }, Gate(receiver))
}

/// The whole life of a worker. Lets go of `ready` when it has joined.
fn employ(log: &Log, role: Role, wait: Waits, ready: Keeper, progress: &Progress) -> Outcome {
    let mut outcome =
        Outcome { role, pid: None, joined: None, result: None, fate: Fate::Failed { why: String::new() } };
    outcome.fate = match listen(log, wait, ready, &mut outcome) {
        Ok(status) => fate(status, outcome.result.is_some()),
        Err(error) => Fate::Failed { why: format!("{error:#}") },
    };
    if outcome.fate != Fate::Done {
        let pid = outcome.pid.map_or_else(String::new, |pid| format!(" (pid {pid})"));
        progress.say(&format!("market: {role}{pid} {}", outcome.fate));
    }
    outcome
}

fn listen(log: &Log, wait: Waits, ready: Keeper, outcome: &mut Outcome) -> Result<ExitStatus> {
    let mut worker = log.spawn(&mut command(outcome.role, wait)?, Access::Read)?;
    outcome.pid = Some(worker.child.id());
    match worker.wait_attached(PATIENCE) {
        // It says itself why it ended.
        Ok(()) | Err(PassError::Gone | PassError::Refused { .. }) => {}
        Err(error) => {
            worker.child.kill()?;
            worker.child.wait()?;
            return Err(error.into());
        }
    }
    let mut lines = BufReader::new(worker.socket).lines();
    outcome.joined = next(&mut lines)?;
    drop(ready);
    outcome.result = next(&mut lines)?;
    Ok(worker.child.wait()?)
}

/// This very program as a worker.
fn command(role: Role, wait: Waits) -> Result<Command> {
    let program = std::env::current_exe().context("finding this program")?;
    let mut command = Command::new(program);
    command.args(["--worker", &role.to_string(), "--wait", &name_of(&wait)]);
    command.stdin(Stdio::null()).stdout(Stdio::null());
    Ok(command)
}

/// What the worker says next; nothing if it is gone, even if it was cut short.
fn next(lines: &mut Lines<BufReader<UnixStream>>) -> Result<Option<Value>> {
    let Some(Ok(line)) = lines.next() else { return Ok(None) };
    let said = serde_json::from_str(&line);
    said.map(Some).map_err(|_| anyhow!("it said what makes no sense: {line}"))
}

fn fate(status: ExitStatus, has_result: bool) -> Fate {
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
    fn a_gate_opens_when_all_keepers_are_gone() {
        let (keeper, gate) = gate();
        let other = keeper.clone();
        let waiting = thread::spawn(move || gate.wait());
        drop(keeper);
        assert!(!waiting.is_finished());
        drop(other);
        waiting.join().unwrap();
    }

    #[test]
    fn only_a_result_and_a_clean_exit_is_done() {
        let exited = |code: i32| ExitStatus::from_raw(code << 8);
        assert_eq!(fate(exited(0), true), Fate::Done);
        assert_eq!(fate(ExitStatus::from_raw(9), true), Fate::Killed { signal: 9 });
        assert_eq!(fate(exited(0), false).to_string(), "failed: it ended without a result");
        assert_eq!(fate(exited(1), true).to_string(), "failed: exit status: 1");
    }
}
