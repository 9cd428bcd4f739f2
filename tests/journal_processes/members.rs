//! Workers as their parent has them.

use crate::common::PATIENCE;
use crate::tally::{Page, words_of};
use crate::worker::{COMMITTED, Plan, ROUNDS};
use std::io::Write;
use std::os::unix::net::UnixStream;
use std::process::Child;
use std::sync::atomic::Ordering::Relaxed;
use std::thread::yield_now;
use std::time::Instant;

/// A worker that lives. Killed when it is dropped.
pub struct Member {
    pub plan: Plan,
    child: Child,
    _socket: UnixStream,
}

impl Member {
    /// One that goes on as soon as it has opened the journal.
    pub fn start(plan: Plan, page: &Page) -> Self {
        let (child, mut socket) = plan.start(page);
        socket.write_all(b"g").unwrap();
        Self { plan, child, _socket: socket }
    }

    /// Waits for it to end, with this code.
    pub fn end(mut self, code: i32) {
        let status = self.child.wait().unwrap();
        assert_eq!(status.code(), Some(code), "worker {:x}", self.plan.author);
    }

    /// Waits for it to close the journal and to end.
    pub fn succeed(self) {
        self.end(0);
    }

    pub fn kill(mut self) {
        self.child.kill().unwrap();
        let status = self.child.wait().unwrap();
        let may_fail = self.plan.may_fail && status.code() == Some(crate::worker::FAILED);
        assert!(may_fail || status.code().is_none_or(|code| code == 0), "a worker failed: {status}");
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        // Also where a test fails, whose directory goes next.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Until each thread has done so many rounds more.
pub fn await_progress(page: &Page, members: &mut [Member], more: u64, when: &str) {
    let started = Instant::now();
    let rounds = |plan: &Plan, thread: usize| words_of(page, plan.slot + thread)[ROUNDS].load(Relaxed);
    let before: Vec<Vec<u64>> = members
        .iter()
        .map(|member| (0..member.plan.threads).map(|thread| rounds(&member.plan, thread)).collect())
        .collect();
    for (member, before) in members.iter_mut().zip(before) {
        for (thread, before) in before.into_iter().enumerate() {
            while rounds(&member.plan, thread) < before + more {
                if let Some(status) = member.child.try_wait().unwrap() {
                    panic!("{when}: a worker ended: {status}");
                }
                assert!(started.elapsed() < PATIENCE, "{when}: worker {:x} hangs", member.plan.author);
                yield_now();
            }
        }
    }
}

/// Passes some time, at random.
pub fn linger(page: &Page, turns: u64) {
    for _ in 0..turns {
        std::hint::black_box(words_of(page, 0)[COMMITTED].load(Relaxed));
        std::hint::spin_loop();
    }
}
