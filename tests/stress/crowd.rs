//! The parent's side: the processes of a round, and what is done to them.

use crate::common::{self, PATIENCE, child, eventually, wait_within};
use crate::kernel::pin_to;
use crate::plan::{Cores, Plan};
use crate::tally::{Dice, Page, words_of};
use crate::worker::{DONE, INTERRUPTIONS, THREAD, change_phase};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use shmlog::{Access, Log, Snapshot};
use std::collections::BTreeMap;
use std::fmt::{self, Display, Formatter};
use std::io::Read;
use std::os::unix::net::UnixStream;
use std::process::Child;
use std::sync::atomic::Ordering::{Acquire, Relaxed};
use std::thread;
use std::time::{Duration, Instant};

/// Processes of a round that there are in the end, the dead ones too.
const MOST: usize = 200;

struct Worker {
    role: &'static str,
    number: usize,
    child: Option<Child>,
    socket: UnixStream,
}

impl Worker {
    fn pid(&self) -> Pid {
        Pid::from_raw(self.child.as_ref().expect("not waited for").id().try_into().unwrap())
    }

    fn signal(&self, signal: Signal) {
        // It may just have ended, and not have been waited for.
        let _ = kill(self.pid(), signal);
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// What became of a round.
#[derive(Debug, Default)]
pub struct Outcome {
    pub records: u64,
    pub stops: u64,
    pub kills: u64,
    pub moves: u64,
    /// Signals that came to those who ended by themselves.
    pub interruptions: u64,
    /// Records of killed authors that are there and were never acknowledged.
    pub unacknowledged: u64,
}

impl Outcome {
    /// Counts another round too.
    pub fn add(&mut self, other: &Self) {
        self.records += other.records;
        self.stops += other.stops;
        self.kills += other.kills;
        self.moves += other.moves;
        self.interruptions += other.interruptions;
        self.unacknowledged += other.unacknowledged;
    }
}

impl Display for Outcome {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self { records, stops, kills, unacknowledged, moves, interruptions, .. } = self;
        write!(f, "{records:>8} {stops:>5} {kills:>5} {unacknowledged:>14} {moves:>5} {interruptions:>7}")
    }
}

struct Crowd {
    plan: Plan,
    log: Log,
    snapshot: Snapshot,
    page: Page,
    workers: Vec<Worker>,
    dice: Dice,
    started: usize,
    /// Records acknowledged to each author, and whether it was killed.
    authors: BTreeMap<u64, (u64, bool)>,
    outcome: Outcome,
}

impl Crowd {
    fn start(&mut self, role: &'static str) {
        let number = self.started;
        self.started += 1;
        // One reader and one author.
        let is_first = self.plan.is_realtime && [1, 3].contains(&number);
        let mut command = child(role);
        command.env("SHMLOG_TEST_SEED", self.plan.seed.to_string()).env("SHMLOG_TEST_NUMBER", number.to_string());
        command.env("SHMLOG_TEST_FIRST", is_first.to_string());
        self.page.tell(&mut command);
        let (child, mut socket) = common::start(command);
        self.page.send(&socket);
        let access = if ["author", "publisher"].contains(&role) { Access::Append } else { Access::Read };
        self.log.send(&socket, access).unwrap();
        self.snapshot.send(&socket, access).unwrap();
        if role == "oracle" {
            // Nothing is appended before it holds the first record.
            socket.read_exact(&mut [0]).unwrap();
        }
        let worker = Worker { role, number, child: Some(child), socket };
        match self.plan.cores {
            Cores::One => self.pin(&worker, 0),
            Cores::Two => self.pin(&worker, number % 2),
            Cores::Changing | Cores::Any => {}
        }
        self.workers.push(worker);
    }

    fn pin(&self, worker: &Worker, core: usize) {
        let thread = words_of(&self.page, worker.number)[THREAD].load(Relaxed);
        pin_to(Pid::from_raw(thread.try_into().unwrap()), core);
    }

    /// One thing or another is done to somebody.
    fn trouble(&mut self) {
        let at = self.dice.index(self.workers.len());
        match self.dice.roll(4) {
            0 if self.plan.stops => {
                self.workers[at].signal(Signal::SIGSTOP);
                thread::sleep(Duration::from_micros(self.dice.roll(30_000)));
                self.workers[at].signal(Signal::SIGCONT);
                self.outcome.stops += 1;
            }
            1 if self.plan.kills && self.started < MOST && self.workers[at].role != "oracle" => self.kill(at),
            2 if self.plan.cores == Cores::Changing => {
                self.pin(&self.workers[at], self.dice.clone().index(2));
                self.outcome.moves += 1;
            }
            3 if self.plan.is_alone_at_times && self.dice.roll(4) == 0 => change_phase(&self.page),
            _ => thread::sleep(Duration::from_micros(self.dice.roll(8000))),
        }
    }

    /// Kills one, and starts another in its place.
    fn kill(&mut self, at: usize) {
        let mut worker = self.workers.swap_remove(at);
        let mut child = worker.child.take().unwrap();
        self.check_alive(&worker, child.try_wait().unwrap());
        child.kill().unwrap();
        child.wait().unwrap();
        self.outcome.kills += 1;
        self.account(&worker, true);
        self.start(worker.role);
    }

    fn check_alive(&self, worker: &Worker, status: Option<std::process::ExitStatus>) {
        assert!(status.is_none(), "{} {} of {:?}: {status:?}", worker.role, worker.number, self.plan);
    }

    fn account(&mut self, worker: &Worker, is_killed: bool) {
        let words = words_of(&self.page, worker.number);
        let (done, interruptions) = (words[DONE].load(Acquire), words[INTERRUPTIONS].load(Acquire));
        self.outcome.interruptions += interruptions;
        if worker.role == "author" {
            self.authors.insert(worker.number as u64, (done, is_killed));
        }
    }

    fn check_all(&mut self) {
        for at in 0..self.workers.len() {
            let status = self.workers[at].child.as_mut().unwrap().try_wait().unwrap();
            self.check_alive(&self.workers[at], status);
        }
    }

    /// Waits for one that must end well by itself, and returns what it has said.
    fn end(&mut self, mut worker: Worker) -> String {
        let mut text = String::new();
        worker.socket.set_read_timeout(Some(PATIENCE)).unwrap();
        let heard = worker.socket.read_to_string(&mut text);
        let status = wait_within(worker.child.take().unwrap(), PATIENCE);
        let well = heard.is_ok() && status.is_some_and(|status| status.success());
        assert!(well, "{} {} of {:?}: {status:?}, {heard:?}", worker.role, worker.number, self.plan);
        self.account(&worker, false);
        text
    }

    /// What the oracle has read is what was acknowledged, and at most one record more of each that was killed.
    fn compare(&mut self, said: &str) {
        let numbers = |line: &str| -> Vec<u64> { line.split(' ').map(|number| number.parse().unwrap()).collect() };
        let found: BTreeMap<_, _> = said.lines().map(numbers).map(|line| (line[0], line[1])).collect();
        for (author, &(acknowledged, is_killed)) in &self.authors {
            let found = found.get(author).copied().unwrap_or(0);
            let more = found.checked_sub(acknowledged);
            let right = more == Some(0) || (is_killed && more == Some(1));
            assert!(right, "author {author}: {acknowledged} acknowledged, {found} there; {:?}", self.plan);
            self.outcome.unacknowledged += more.unwrap_or(0);
            self.outcome.records += found;
        }
        assert!(found.keys().all(|author| self.authors.contains_key(author)), "nobody's records");
    }
}

/// Plays a round. Panics if anything is lost, torn, or late for ever.
pub fn play(plan: &Plan, length: Duration) -> Outcome {
    let (log, snapshot, page) = (plan.log(), plan.snapshot(), Page::new(MOST));
    let (dice, authors, outcome) = (Dice::new(plan.seed ^ 0xC0), BTreeMap::new(), Outcome::default());
    let mut crowd =
        Crowd { plan: plan.clone(), log, snapshot, page, workers: vec![], dice, started: 0, authors, outcome };
    plan.roles.iter().for_each(|role| crowd.start(role));
    let started = Instant::now();
    while started.elapsed() < length {
        crowd.trouble();
        crowd.check_all();
    }
    crowd.page.words()[0].store(1, Relaxed);
    let workers = std::mem::take(&mut crowd.workers);
    let (oracle, others): (Vec<_>, Vec<_>) = workers.into_iter().partition(|worker| worker.role == "oracle");
    for worker in others {
        crowd.end(worker);
    }
    eventually(|| crowd.log.appender().map_err(|error| error.to_string())?.close().map_err(|error| error.to_string()));
    for oracle in oracle {
        let said = crowd.end(oracle);
        crowd.compare(&said);
    }
    assert_eq!(crowd.outcome.records, crowd.log.info().next_seq, "dense");
    assert!(plan.storm_micros == 0 || crowd.outcome.interruptions > 0, "no signal came");
    let participants = crowd.log.info().participants;
    assert!(participants.iter().all(|one| one.is_alive != Some(true)), "{participants:?}");
    std::mem::take(&mut crowd.outcome)
}
