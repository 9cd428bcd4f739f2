//! A process that appends to a journal, durably or not, reads, and syncs, in several threads: until it has appended so
//! many, or it is over, or it is killed. It tells what was acknowledged on a page that survives it.

use crate::common::{setting, to_parent};
use crate::record::{identify, record};
use crate::tally::{Dice, Page, is_over, words_of};
use shmlog::{AppendError, Flush, FrontHome, Journal, JournalAppender, JournalBuilder, JournalError, Role, Start};
use std::collections::HashMap;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Child;
use std::sync::Barrier;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// What a worker does.
#[derive(Clone, Debug)]
pub struct Plan {
    pub dir: PathBuf,
    /// Where the front is.
    pub front: PathBuf,
    pub threads: usize,
    /// The author of the first thread.
    pub author: u64,
    /// The first thread's words on the page.
    pub slot: usize,
    /// Appends of each thread, all durable; 0: until it is over, and of all kinds.
    pub count: u64,
    /// Of `Flush::After`; 0 is `Never`.
    pub flush_ms: u64,
    pub has_thread: bool,
    pub file_bytes: u64,
    pub windows: u64,
    pub window_bytes: u64,
    /// The journal may fail: it then ends with [`FAILED`], having said nothing.
    pub may_fail: bool,
}

/// How a worker ends whose journal failed; and how if anything else was wrong.
pub const FAILED: i32 = 4;
const WRONG: i32 = 3;

impl Plan {
    /// With small files and a small front, so that everything happens often.
    pub fn new(dir: &Path, front: &Path) -> Self {
        Self {
            dir: dir.to_owned(),
            front: front.to_owned(),
            threads: 1,
            author: 0,
            slot: 0,
            count: 0,
            flush_ms: 2,
            has_thread: true,
            file_bytes: 128 << 10,
            windows: 2,
            window_bytes: 64 << 10,
            may_fail: false,
        }
    }

    pub fn builder(&self) -> JournalBuilder {
        let flush = if self.flush_ms == 0 { Flush::Never } else { Flush::After(Duration::from_millis(self.flush_ms)) };
        Journal::builder()
            .file_bytes(self.file_bytes)
            .front_size(self.windows, self.window_bytes)
            .front(FrontHome::At(self.front.clone()))
            .thread(self.has_thread)
            .flush(flush)
    }

    /// Starts a worker. It has the page before it opens the journal; when it has, it tells by a byte and waits for one.
    pub fn start(&self, page: &Page) -> (Child, UnixStream) {
        let mut command = crate::common::child("worker");
        page.tell(&mut command);
        let numbers = [
            self.threads as u64,
            self.author,
            self.slot as u64,
            self.count,
            self.flush_ms,
            u64::from(self.has_thread),
            self.file_bytes,
            self.windows,
            self.window_bytes,
            u64::from(self.may_fail),
        ];
        command.env("SHMLOG_TEST_NUMBERS", numbers.map(|number| number.to_string()).join(" "));
        command.env("SHMLOG_TEST_DIR", &self.dir).env("SHMLOG_TEST_FRONT", &self.front);
        let (child, socket) = crate::common::start(command);
        page.send(&socket);
        (child, socket)
    }

    /// Ends the process, past the harness, and whatever the other threads do.
    fn give_up(&self, error: &JournalError) {
        // Or it could not even open a file, of a file system that is shut down.
        let is_failure =
            matches!(error, JournalError::Failed { .. } | JournalError::Os { .. } | JournalError::ReadOnlyMount { .. });
        if self.may_fail && is_failure {
            std::process::exit(FAILED);
        }
        eprintln!("worker {:x}: {error}; {error:?}", self.author);
        std::process::exit(WRONG);
    }

    fn told() -> Self {
        let numbers: String = setting("SHMLOG_TEST_NUMBERS");
        let numbers: Vec<u64> = numbers.split(' ').map(|number| number.parse().unwrap()).collect();
        let index = |at: usize| usize::try_from(numbers[at]).unwrap();
        Self {
            dir: setting("SHMLOG_TEST_DIR"),
            front: setting("SHMLOG_TEST_FRONT"),
            threads: index(0),
            author: numbers[1],
            slot: index(2),
            count: numbers[3],
            flush_ms: numbers[4],
            has_thread: numbers[5] == 1,
            file_bytes: numbers[6],
            windows: numbers[7],
            window_bytes: numbers[8],
            may_fail: numbers[9] == 1,
        }
    }
}

/// What is told of one thread: appends that returned; how many of them are durable for sure; the place of the last one
/// that was appended durably, see [`place`]; rounds.
pub type Words = [AtomicU64];
pub const COMMITTED: usize = 0;
pub const DURABLE: usize = 1;
pub const PLACE: usize = 2;
pub const ROUNDS: usize = 3;

const PLACE_SHIFT: u32 = 24;

/// The sequence number of a record and its number, of one word.
pub fn place(word: u64) -> Option<(u64, u64)> {
    let number = word & ((1 << PLACE_SHIFT) - 1);
    Some((word >> PLACE_SHIFT, number.checked_sub(1)?))
}

pub fn role() {
    let mut parent = to_parent();
    let page = Page::receive(&parent);
    let plan = Plan::told();
    if let Err(error) = work(&plan, &page, &mut parent) {
        plan.give_up(&error);
    }
}

fn work(plan: &Plan, page: &Page, parent: &mut UnixStream) -> Result<(), JournalError> {
    let journal = plan.builder().open(&plan.dir)?;
    // A parent that is gone leaves nothing to be told.
    let mut say = |byte: &[u8]| parent.write_all(byte).is_ok();
    say(b"o");
    let barrier = Barrier::new(plan.threads + 1);
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..plan.threads)
            .map(|thread| {
                let (journal, barrier) = (journal.clone(), &barrier);
                scope.spawn(move || -> Result<(), JournalError> {
                    let mut hand = Hand::new(plan, page, journal, thread)?;
                    barrier.wait();
                    hand.run().inspect_err(|error| plan.give_up(error))
                })
            })
            .collect();
        let mut go = [0];
        let is_on = parent.read(&mut go).is_ok();
        assert!(is_on, "the parent is gone");
        barrier.wait();
        workers.into_iter().try_for_each(|worker| worker.join().expect("a worker's thread"))
    })?;
    parent.write_all(b"d").ok();
    journal.close()
}

/// One thread.
struct Hand<'p> {
    page: &'p Page,
    words: &'p Words,
    dice: Dice,
    journal: Journal,
    appender: JournalAppender,
    author: u64,
    number: u64,
    count: u64,
}

impl<'p> Hand<'p> {
    fn new(plan: &Plan, page: &'p Page, journal: Journal, thread: usize) -> Result<Self, JournalError> {
        let author = plan.author + thread as u64;
        let appender = journal.appender_named(&format!("author {author:x}"))?;
        let words = words_of(page, plan.slot + thread);
        let dice = Dice::new(author);
        Ok(Self { page, words, dice, journal, appender, author, number: 0, count: plan.count })
    }

    fn run(&mut self) -> Result<(), JournalError> {
        if self.count > 0 {
            return (0..self.count).try_for_each(|_| self.append(true));
        }
        while !is_over(self.page) {
            match self.dice.roll(32) {
                0 => self.read()?,
                1 => {
                    self.journal.sync()?;
                    self.words[DURABLE].store(self.number, Relaxed);
                }
                2 => {
                    self.journal.wait_durable(self.journal.next_seq(), Duration::from_millis(1))?;
                }
                3..8 => self.append(true)?,
                _ => self.append(false)?,
            }
            self.words[ROUNDS].fetch_add(1, Relaxed);
        }
        Ok(())
    }

    fn append(&mut self, is_durable: bool) -> Result<(), JournalError> {
        let (bytes, cut) = record(self.author, self.number);
        let is_reserved = cut.is_none() && self.dice.roll(8) == 0;
        let seq = loop {
            let done = match cut {
                Some(cut) => self.appender.append_parts(&[&bytes[..cut], &bytes[cut..]]),
                None if is_reserved => self.reserve(&bytes),
                None => self.appender.append(&bytes),
            };
            match done {
                // One that was preempted in the middle of an append; whoever waits for it says so after a while.
                Err(JournalError::Append(AppendError::Full { by: Some(by), .. }))
                    if by.role == Some(Role::Appender) => {}
                done => break done?,
            }
        };
        self.number += 1;
        self.words[COMMITTED].store(self.number, Relaxed);
        if is_durable {
            self.appender.sync_to(seq + 1)?;
            self.words[PLACE].store(seq << PLACE_SHIFT | self.number, Relaxed);
            self.words[DURABLE].store(self.number, Relaxed);
        }
        Ok(())
    }

    fn reserve(&mut self, bytes: &[u8]) -> Result<u64, JournalError> {
        let mut slot = self.appender.reserve(bytes.len())?;
        slot.write(0, bytes);
        slot.commit()
    }

    /// Some records from somewhere on: whole, and each author's in order.
    fn read(&mut self) -> Result<(), JournalError> {
        let is_durable_only = self.dice.roll(3) == 0;
        let start = match self.dice.roll(4) {
            0 => Start::First,
            1 => Start::Oldest,
            _ => Start::At(self.dice.roll(self.journal.durable() + 1)),
        };
        let mut reader = self.journal.reader_builder().durable_only(is_durable_only).start(start)?;
        let mut next = HashMap::new();
        for expected in (reader.position()..).take(64) {
            let Some(found) = reader.try_next()? else { break };
            assert_eq!(found.seq(), expected, "dense");
            let (author, number) = identify(&found);
            let newest = next.insert(author, number);
            assert!(newest.is_none_or(|before| before + 1 == number), "author {author:x}: {newest:?}, then {number}");
        }
        let seq = self.dice.roll(self.journal.next_seq() + 1);
        if let Some(found) = reader.get(seq)? {
            assert_eq!(found.seq(), seq);
            identify(&found);
        }
        Ok(())
    }
}
