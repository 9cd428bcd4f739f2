//! The adversary: a process with writable mappings of all four regions, and descriptors of both lock files.

use crate::common::{setting, to_parent};
use crate::fields::{self, FILES, Field};
use crate::map::{lower_half, map, steal};
use crate::round::{Mode, Round};
use crate::tally::{Dice, Page, own_words};
use nix::fcntl::{FcntlArg, fcntl};
use nix::libc::{self, flock};
use std::collections::VecDeque;
use std::fs::File;
use std::hint::spin_loop;
use std::os::fd::OwnedFd;
use std::os::unix::process::parent_id;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

const PAGE_WORDS: usize = 512;
/// How long it stays with one field.
const STAY: Duration = Duration::from_millis(15);
/// Old pages that it keeps.
const OLD_PAGES: usize = 200;

struct Adversary {
    regions: [&'static [AtomicU64]; 4],
    fields: Vec<Field>,
    /// Where the fields of the log end.
    log_fields: usize,
    dice: Dice,
    /// Whether it takes back what it wrote, most of the time: what is never healed is not attacked for long.
    heals: bool,
    old: Vec<(usize, usize, Vec<u64>)>,
    /// Names of what can be locked, and the locks that it has.
    lockable: Vec<String>,
    locks: VecDeque<OwnedFd>,
    /// Counted for the parent to see.
    attacks: &'static AtomicU64,
}

/// In a child: attacks until it is killed.
pub fn adversary() {
    let parent = parent_id();
    let page: &'static Page = Box::leak(Box::new(Page::receive(to_parent())));
    let round = Round::of(setting("SHMLOG_TEST_SEED"));
    let files = FILES.map(|what| steal(&round.file(what)));
    let mut fields = fields::of_log(&round);
    let log_fields = fields.len();
    fields.extend(fields::of_the_others(&round, setting("SHMLOG_TEST_SLOT_BYTES")));
    let lockable = ["board", "pins", "lock", "writers"].map(|what| round.file(what)).into();
    let mut adversary = Adversary {
        regions: files.each_ref().map(map),
        fields,
        log_fields,
        dice: Dice::new(round.seed ^ 0xAD),
        heals: round.mode != Mode::Ruin,
        old: Vec::new(),
        lockable,
        locks: VecDeque::new(),
        attacks: &own_words(page)[0],
    };
    // So that there is something to attack.
    std::thread::sleep(Duration::from_millis(50));
    // Its parent kills it, or is gone.
    while parent_id() == parent {
        adversary.attack(round.mode);
    }
}

impl Adversary {
    fn attack(&mut self, mode: Mode) {
        match mode {
            Mode::Random => self.random(),
            Mode::Log => (0..self.log_fields).for_each(|field| self.stay_with(field, Self::bend)),
            Mode::Boards => (self.log_fields..self.fields.len()).for_each(|field| self.stay_with(field, Self::bend)),
            Mode::Racing => {
                let field = self.dice.index(self.fields.len());
                self.stay_with(field, Self::race);
            }
            Mode::Replay => self.replay(),
            Mode::Locks => {
                self.lock();
                self.ring();
            }
            Mode::Ruin => {
                let field = self.dice.index(self.fields.len());
                self.bend(field);
                self.race(field);
                self.random();
                self.lock();
                self.replay();
            }
        }
        // Others must come to something between two attacks, or there is nothing to attack.
        let micros = self.dice.roll(2000);
        self.pause(Duration::from_micros(micros));
    }

    /// After each attack, gives way: on a machine with two cores honest processes run meanwhile.
    fn pause(&mut self, duration: Duration) {
        self.attacks.fetch_add(1, Relaxed);
        if self.dice.roll(3) == 0 {
            std::thread::sleep(duration);
        } else {
            (0..self.dice.roll(3000)).for_each(|_| spin_loop());
        }
    }

    fn stay_with(&mut self, field: usize, attack: impl Fn(&mut Self, usize)) {
        let until = Instant::now() + STAY;
        while Instant::now() < until {
            attack(self, field);
            let micros = self.dice.roll(500);
            self.pause(Duration::from_micros(micros));
        }
    }

    fn word_of(&mut self, field: usize) -> &'static AtomicU64 {
        let Field { region, offsets, .. } = &self.fields[field];
        let at = *self.dice.pick(offsets);
        &self.regions[*region][usize::try_from(at).unwrap() / 8]
    }

    /// What could be written in place of `old`: wild, or close to what is right.
    fn value(&mut self, old: u64) -> u64 {
        let bit = self.dice.roll(64);
        match self.dice.roll(14) {
            0 => 0,
            1 => u64::MAX - self.dice.roll(3),
            2 => self.dice.roll(20),
            3 => old ^ 1 << bit,
            4 => old.wrapping_add(1),
            5 => old.wrapping_sub(1),
            6 => old.wrapping_add(1 << 22),
            7 => ((1 << 42) - 1 - self.dice.roll(2)) << 22,
            // A commit word of this lap: another offset, length, or kind.
            8 => old & !0xFF_FFFF | self.dice.roll(1 << 24),
            9 => old & !(0xFF_FFFF << 24) | self.dice.roll(1 << 24) << 24,
            10 => old & !(3 << 48) | self.dice.roll(4) << 48 | self.dice.roll(2) << 24,
            11 => old.wrapping_add(self.dice.roll(9)).wrapping_sub(4),
            12 => old.rotate_left(32),
            _ => self.dice.word(),
        }
    }

    /// Writes nonsense to some words of a field, and takes it back after a moment.
    fn bend(&mut self, field: usize) {
        let count = 1 + self.dice.roll(4);
        let bent: Vec<_> = (0..count).map(|_| self.word_of(field)).map(|word| (word, word.load(Relaxed))).collect();
        for (word, old) in &bent {
            let value = self.value(*old);
            word.store(value, Relaxed);
        }
        let micros = self.dice.roll(300);
        self.pause(Duration::from_micros(micros));
        self.heal(&bent);
    }

    fn heal(&mut self, bent: &[(&AtomicU64, u64)]) {
        if self.heals && self.dice.roll(64) != 0 {
            bent.iter().rev().for_each(|(word, old)| word.store(*old, Relaxed));
        }
    }

    /// Toggles a word between what it is and something else.
    fn race(&mut self, field: usize) {
        let word = self.word_of(field);
        let old = word.load(Relaxed);
        let other = self.value(old);
        let how = self.dice.roll(3);
        for round in 0..self.dice.roll(20_000) {
            match how {
                0 => word.store(if round % 2 == 0 { other } else { old }, Relaxed),
                1 => drop(word.fetch_add(1, Relaxed)),
                // From whatever others made of it.
                _ => drop(word.swap(other.wrapping_add(round % 3), Relaxed)),
            }
        }
        self.heal(&[(word, old)]);
    }

    fn random(&mut self) {
        let region = self.regions[self.dice.index(4)];
        let words: Vec<_> = (0..1 + self.dice.roll(64)).map(|_| &region[self.dice.index(region.len())]).collect();
        let bent: Vec<_> = words.into_iter().map(|word| (word, word.load(Relaxed))).collect();
        for (word, old) in &bent {
            let value = self.value(*old);
            word.store(value, Relaxed);
        }
        self.heal(&bent);
    }

    /// Keeps a copy of a page, or puts an old one back.
    fn replay(&mut self) {
        if self.old.len() == OLD_PAGES || (!self.old.is_empty() && self.dice.roll(2) == 0) {
            let (region, from, words) = self.old.swap_remove(self.dice.index(self.old.len()));
            let part = if self.dice.roll(2) == 0 { words.len() } else { self.dice.index(words.len()) };
            self.regions[region][from..].iter().zip(&words[..part]).for_each(|(to, word)| to.store(*word, Relaxed));
            return;
        }
        let region = self.dice.index(4);
        // Control words and first pages more often than others.
        let pages = self.regions[region].len() / PAGE_WORDS;
        let among = if self.dice.roll(2) == 0 { pages.min(4) } else { pages };
        let from = self.dice.index(among) * PAGE_WORDS;
        let words = self.regions[region][from..from + PAGE_WORDS].iter().map(|word| word.load(Relaxed)).collect();
        self.old.push((region, from, words));
    }

    /// Takes a lock on some bytes by a description of its own, or lets one go.
    fn lock(&mut self) {
        if self.locks.len() > 3 || self.dice.roll(3) == 0 {
            self.locks.pop_front();
            return;
        }
        let name = self.lockable[self.dice.index(self.lockable.len())].clone();
        let file: File = steal(&name);
        let kind = if self.dice.roll(2) == 0 { libc::F_RDLCK } else { libc::F_WRLCK };
        let from = i64::try_from(self.dice.roll(16)).unwrap();
        let whole = self.dice.roll(4) == 0;
        let lock = flock {
            l_type: kind.try_into().unwrap(),
            l_whence: 0,
            l_start: if whole { 0 } else { from },
            l_len: if whole { 0 } else { i64::try_from(1 + self.dice.roll(4)).unwrap() },
            l_pid: 0,
        };
        // Refused where somebody honest has one of them.
        if fcntl(&file, FcntlArg::F_OFD_SETLK(&lock)).is_ok() {
            self.locks.push_back(file.into());
        }
    }

    /// Rings doorbells in vain, or makes them silent.
    fn ring(&mut self) {
        let bells: Vec<_> =
            (0..self.fields.len()).filter(|&at| ["calls", "bell"].contains(&self.fields[at].name)).collect();
        for _ in 0..20 {
            let field = bells[self.dice.index(bells.len())];
            self.race(field);
            let [board, pins] = [fields::BOARD, fields::PINS].map(|region| self.regions[region]);
            for at in [136, 264].map(|at| &board[at / 8]).into_iter().chain([&pins[4104 / 8]]) {
                wake(at);
            }
        }
    }
}

/// Wakes who sleeps on the lower half of a word.
fn wake(word: &'static AtomicU64) {
    let half = lower_half(word);
    let _ = rustix::thread::futex::wake(half, rustix::thread::futex::Flags::empty(), i32::MAX.unsigned_abs());
}
