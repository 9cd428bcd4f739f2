//! What parents learn of children that may be killed or hang at any moment: words on a page that nobody attacks, and
//! what they count.
#![allow(dead_code, reason = "each test file uses a part of it")]

use crate::common::setting;
use shmlog::{Access, Allocation, Arena};
use std::collections::BTreeMap;
use std::fmt::Debug;
use std::os::fd::AsFd;
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// xorshift64*: a run is its seed.
#[derive(Clone, Debug)]
pub struct Dice(u64);

impl Dice {
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    pub fn word(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    /// A number below `below`.
    pub fn roll(&mut self, below: u64) -> u64 {
        (self.word() >> 11) % below
    }

    pub fn index(&mut self, below: usize) -> usize {
        usize::try_from(self.roll(below as u64)).unwrap()
    }

    pub fn pick<'a, T>(&mut self, among: &'a [T]) -> &'a T {
        &among[self.index(among.len())]
    }
}

/// Words that all processes of a test have.
#[derive(Debug)]
pub struct Page {
    arena: Arena,
    place: Allocation,
}

impl Page {
    /// For so many children.
    pub fn new(children: usize) -> Self {
        let words = (COMMON_WORDS + children * OWN_WORDS) as u64;
        let arena = Arena::create_memfd("page", (words * 8).next_multiple_of(4096)).unwrap();
        let place = arena.allocate(words * 8, 8).unwrap();
        Self { arena, place }
    }

    pub fn words(&self) -> &[AtomicU64] {
        self.arena.atomics(self.place).unwrap()
    }

    /// Tells a child where the words are; they are sent to it once it runs.
    pub fn tell(&self, command: &mut Command) {
        command.env("SHMLOG_TEST_PLACE", self.place.offset_bytes.to_string());
        command.env("SHMLOG_TEST_BYTES", self.place.len_bytes.to_string());
    }

    pub fn send(&self, socket: impl AsFd) {
        self.arena.send(socket, Access::Append).unwrap();
    }

    pub fn receive(socket: impl AsFd) -> Self {
        let arena = Arena::receive(socket).unwrap();
        let place = Allocation { offset_bytes: setting("SHMLOG_TEST_PLACE"), len_bytes: setting("SHMLOG_TEST_BYTES") };
        Self { arena, place }
    }
}

/// How long a test runs: `SHMLOG_SECONDS`, five minutes if the long versions were asked for, else `short`.
pub fn duration(short: Duration) -> Duration {
    let wanted = std::env::var("SHMLOG_SECONDS").ok().and_then(|text| text.parse().ok());
    let default = if crate::common::is_long() { Duration::from_secs(300) } else { short };
    wanted.map_or(default, Duration::from_secs)
}

/// Where a run begins: `SHMLOG_SEED`, else 0.
pub fn first_seed() -> u64 {
    std::env::var("SHMLOG_SEED").ok().and_then(|text| text.parse().ok()).unwrap_or(0)
}

/// What became of the calls of some processes.
#[derive(Debug, Default)]
pub struct Tally {
    pub calls: u64,
    pub fine: u64,
    /// By what was called and what kind of error came of it.
    pub errors: BTreeMap<String, u64>,
    pub longest: Duration,
    pub longest_call: String,
}

impl Tally {
    /// One line each, to be read back by [`Tally::add_line`].
    pub fn lines(&self) -> String {
        let micros = self.longest.as_micros();
        let mut text = format!("calls {} {} {micros} {}\n", self.calls, self.fine, self.longest_call);
        for (kind, count) in &self.errors {
            text += &format!("error {count} {kind}\n");
        }
        text
    }

    /// Adds what a line of another one says.
    pub fn add_line(&mut self, line: &str) {
        let fields: Vec<_> = line.split(' ').collect();
        let number = |at: usize| fields.get(at).and_then(|field| field.parse::<u64>().ok()).unwrap_or(0);
        match fields.as_slice() {
            ["calls", _, _, _, call] => {
                self.calls += number(1);
                self.fine += number(2);
                let longest = Duration::from_micros(number(3));
                if longest > self.longest {
                    (self.longest, self.longest_call) = (longest, (*call).to_owned());
                }
            }
            ["error", _, kind] => *self.errors.entry((*kind).to_owned()).or_default() += number(1),
            _ => panic!("a tally's line: {line:?}"),
        }
    }
}

/// Who notes every call of a process, so that its parent sees that calls return.
#[derive(Debug)]
pub struct Diary<'p> {
    pub tally: Tally,
    /// Calls returned, and the name of the one in hand.
    page: &'p [AtomicU64],
    /// Errors since the last call that went well.
    pub in_vain: u32,
}

/// Words at the start of the page: the first says that it is over, the others mean what the test likes.
pub const COMMON_WORDS: usize = 8;
/// Words of the page that belong to each child.
const OWN_WORDS: usize = 4;

/// The words of the page that belong to child `number`.
pub fn words_of(page: &Page, number: usize) -> &[AtomicU64] {
    let first = COMMON_WORDS + number * OWN_WORDS;
    &page.words()[first..first + OWN_WORDS]
}

/// In a child: the words that belong to it.
pub fn own_words(page: &Page) -> &[AtomicU64] {
    words_of(page, setting("SHMLOG_TEST_NUMBER"))
}

/// Whether the parent has ended it.
pub fn is_over(page: &Page) -> bool {
    page.words()[0].load(Relaxed) != 0
}

impl<'p> Diary<'p> {
    pub fn new(page: &'p [AtomicU64]) -> Self {
        Self { tally: Tally::default(), page, in_vain: 0 }
    }

    /// Makes a call.
    pub fn call<T, E: Debug>(&mut self, what: &'static str, call: impl FnOnce() -> Result<T, E>) -> Option<T> {
        let mut name = [0; 16];
        name[..what.len().min(16)].copy_from_slice(&what.as_bytes()[..what.len().min(16)]);
        for (word, bytes) in self.page[1..].iter().zip(name.as_chunks::<8>().0) {
            word.store(u64::from_le_bytes(*bytes), Relaxed);
        }
        let started = Instant::now();
        let done = call();
        let took = started.elapsed();
        self.page[0].fetch_add(1, Relaxed);
        self.tally.calls += 1;
        if took > self.tally.longest {
            (self.tally.longest, self.tally.longest_call) = (took, what.to_owned());
        }
        match done {
            Ok(done) => {
                self.tally.fine += 1;
                self.in_vain = 0;
                Some(done)
            }
            Err(error) => {
                *self.tally.errors.entry(format!("{what}:{}", kind(&error))).or_default() += 1;
                self.in_vain += 1;
                None
            }
        }
    }

    /// Makes a call that nothing is expected of.
    pub fn attempt<T, E: Debug>(&mut self, what: &'static str, call: impl FnOnce() -> Result<T, E>) {
        self.call(what, call);
    }

    /// The call in hand, as the parent sees it.
    pub fn in_hand(page: &[AtomicU64]) -> String {
        let bytes: Vec<_> = page[1..3].iter().flat_map(|word| word.load(Relaxed).to_le_bytes()).collect();
        String::from_utf8_lossy(&bytes).trim_end_matches('\0').to_owned()
    }
}

/// The kind of an error: the name of its variant, and of the one inside, if it wraps another.
pub fn kind(error: &impl Debug) -> String {
    let text = format!("{error:?}");
    let name = |text: &str| text.chars().take_while(char::is_ascii_alphanumeric).collect::<String>();
    let outer = name(&text);
    let inner = text[outer.len()..].strip_prefix('(').map(name).filter(|inner| !inner.is_empty());
    inner.map_or(outer.clone(), |inner| format!("{outer}/{inner}"))
}
