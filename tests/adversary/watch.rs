//! The parent: starts all processes of a round, watches that each of them gets its calls back, and ends the round.

use crate::common::{self, child, wait_within};
use crate::round::Round;
use crate::tally::{Diary, Page, Tally, words_of};
use shmlog::{Access, Log, Snapshot};
use std::collections::BTreeMap;
use std::fs::read_to_string;
use std::io::Read;
use std::os::unix::net::UnixStream;
use std::process::Child;
use std::sync::atomic::Ordering::Relaxed;
use std::thread;
use std::time::{Duration, Instant};

/// Who does not get a call back for so long hangs.
const HANG: Duration = Duration::from_secs(20);
/// More memory than any of them has a use for.
const MOST_RESIDENT: u64 = 256 << 20;
/// How often the parent looks.
const LOOK: Duration = Duration::from_millis(20);

/// What is known of a kind of process after some rounds.
#[derive(Debug, Default)]
pub struct Account {
    pub tally: Tally,
    pub most_resident: u64,
}

struct Worker {
    role: &'static str,
    number: usize,
    /// Taken when it is waited for.
    child: Option<Child>,
    socket: UnixStream,
    /// Calls returned, and since when it is as many.
    calls: (u64, Instant),
}

impl Drop for Worker {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

impl Worker {
    fn start(role: &'static str, number: usize, round: &Round, log: &Log, snapshot: &Snapshot, page: &Page) -> Self {
        let access = if ["free", "gated", "loader", "pinner"].contains(&role) { Access::Read } else { Access::Append };
        let mut command = child(role);
        command.env("SHMLOG_TEST_SEED", round.seed.to_string()).env("SHMLOG_TEST_NUMBER", number.to_string());
        command.env("SHMLOG_TEST_SLOT_BYTES", snapshot.info().slot_bytes.to_string());
        page.tell(&mut command);
        let (child, socket) = common::start(command);
        page.send(&socket);
        // What the adversary has it takes for itself.
        if role != "adversary" {
            log.send(&socket, access).unwrap();
            snapshot.send(&socket, access).unwrap();
        }
        Self { role, number, child: Some(child), socket, calls: (0, Instant::now()) }
    }

    /// Makes sure that it lives, gets on, and does not grow.
    fn check(&mut self, page: &Page, account: &mut Account) {
        let (role, words) = (self.role, words_of(page, self.number));
        let child = self.child.as_mut().unwrap();
        if let Some(status) = child.try_wait().unwrap() {
            panic!("{role} ended: {status}, in {:?}", Diary::in_hand(words));
        }
        let calls = words[0].load(Relaxed);
        if calls != self.calls.0 {
            self.calls = (calls, Instant::now());
        }
        let resident = resident_bytes(child.id());
        account.most_resident = account.most_resident.max(resident);
        assert!(resident < MOST_RESIDENT, "{role} has {resident} bytes, in {:?}", Diary::in_hand(words));
        let hangs = self.calls.1.elapsed() > HANG;
        assert!(!hangs, "{role} hangs in {:?} after {calls} calls", Diary::in_hand(words));
    }

    /// Waits for its end and adds up what it tells.
    fn end(mut self, page: &Page, account: &mut Account) {
        let in_hand = || Diary::in_hand(words_of(page, self.number));
        self.socket.set_read_timeout(Some(HANG)).unwrap();
        let mut text = String::new();
        if let Err(error) = self.socket.read_to_string(&mut text) {
            panic!("{} hangs in {:?} at the end: {error}", self.role, in_hand());
        }
        let status = wait_within(self.child.take().unwrap(), HANG);
        assert!(status.is_some_and(|status| status.success()), "{} ended: {status:?}, in {:?}", self.role, in_hand());
        text.lines().for_each(|line| account.tally.add_line(line));
    }
}

fn resident_bytes(pid: u32) -> u64 {
    let text = read_to_string(format!("/proc/{pid}/statm")).unwrap_or_default();
    let pages: u64 = text.split(' ').nth(1).and_then(|pages| pages.parse().ok()).unwrap_or(0);
    pages * rustix::param::page_size() as u64
}

/// Plays a round. Panics if an honest process faults, panics, hangs, or grows.
pub fn play(round: &Round, length: Duration, accounts: &mut BTreeMap<&'static str, Account>) {
    let (log, snapshot) = round.make();
    let appenders = if round.is_exclusive { ["exclusive", "exclusive"] } else { ["shared", "shared"] };
    let roles = appenders.into_iter().chain(["free", "gated", "publisher", "loader", "pinner", "attacher"]);
    // The last one, when all others have attached.
    let roles: Vec<_> = roles.chain(["adversary"]).collect();
    let page = Page::new(roles.len());
    let start = |(number, role): (usize, &&'static str)| Worker::start(role, number, round, &log, &snapshot, &page);
    let mut workers: Vec<_> = roles.iter().enumerate().map(start).collect();
    let started = Instant::now();
    while started.elapsed() < length {
        for worker in &mut workers {
            worker.check(&page, accounts.entry(worker.role).or_default());
        }
        thread::sleep(LOOK);
    }
    page.words()[0].store(1, Relaxed);
    // It goes on until all others have let go of what they have.
    let adversary = workers.pop().unwrap();
    for worker in workers {
        let account = accounts.entry(worker.role).or_default();
        worker.end(&page, account);
    }
    accounts.entry("adversary").or_default().tally.calls += words_of(&page, adversary.number)[0].load(Relaxed);
}
