//! Hostile images: whatever the bytes of log and board say, at the time of attaching or later, safe calls return.
//!
//! A child does the work, so that a fault, a panic or a hang is seen; it notes each case before it tries it. What is
//! read from a damaged log may well be wrong. `SHMLOG_LONG=1` flips every bit and tries many more random images.

mod common;

use common::{PATIENCE, child, is_long, setting, wait_within};
use shmlog::{Access, AppendError, Appender, AttachError, JoinError, Log, Mode, Reader, Retention, Slot, Start, Wait};
use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

const WINDOW: u64 = 64 << 10;

#[test]
fn child_entry() {
    common::enter(&[("batch", batch)]);
}

type Change = fn(&mut Image, &mut Dice);

/// What is done to an image. The order is that of the case numbers.
const KINDS: [(&str, Change); 6] = [
    ("bits of the log", |image, dice| image.log.flip(dice)),
    ("words of the log", |image, dice| image.log.bend(dice)),
    ("words of the board", |image, dice| image.board.bend(dice)),
    ("random pages", |image, dice| image.log.scribble(dice)),
    ("both", |image, dice| {
        image.log.bend(dice);
        image.board.bend(dice);
    }),
    ("a random board", |image, dice| image.board.scribble(dice)),
];

/// xorshift64*, so that a case is its number.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, below: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 11) % below
    }

    fn word(&mut self) -> u64 {
        match self.roll(8) {
            0 => 0,
            1 => u64::MAX - self.roll(3),
            2 => self.roll(20),
            3 => 1 << self.roll(64),
            4 => ((1 << 42) - 1 - self.roll(2)) << 22,
            5 => (1 << 50) + self.roll(1 << 50),
            _ => self.roll(u64::MAX),
        }
    }
}

/// A file's bytes: as they are, and where they matter.
struct Bytes {
    path: PathBuf,
    good: Vec<u8>,
    bad: Vec<u8>,
    /// Offsets of words that mean something.
    words: Vec<usize>,
}

impl Bytes {
    fn of(path: PathBuf, words: Vec<usize>) -> Self {
        let good = fs::read(&path).unwrap();
        Self { path, bad: good.clone(), good, words }
    }

    fn word_at(&mut self, dice: &mut Dice) -> &mut [u8] {
        let at = self.words[usize::try_from(dice.roll(self.words.len() as u64)).unwrap()];
        &mut self.bad[at..at + 8]
    }

    fn flip(&mut self, dice: &mut Dice) {
        for _ in 0..=dice.roll(3) {
            let (bit, word) = (dice.roll(64), self.word_at(dice));
            word[usize::try_from(bit / 8).unwrap()] ^= 1 << (bit % 8);
        }
    }

    fn bend(&mut self, dice: &mut Dice) {
        for _ in 0..=dice.roll(3) {
            let value = dice.word();
            self.word_at(dice).copy_from_slice(&value.to_le_bytes());
        }
    }

    /// Everything but the first words, which would be refused.
    fn scribble(&mut self, dice: &mut Dice) {
        let reach = self.bad.len().min(8192) as u64 - 128;
        let from = 128 + usize::try_from(dice.roll(reach)).unwrap() / 8 * 8;
        for chunk in self.bad[from..].chunks_exact_mut(8).take(2048) {
            chunk.copy_from_slice(&dice.word().to_le_bytes());
        }
    }
}

struct Image {
    log: Bytes,
    board: Bytes,
}

impl Image {
    /// In place, as a peer would: the files stay the same ones.
    fn write(&self) {
        for Bytes { path, bad, .. } in [&self.log, &self.board] {
            File::options().write(true).open(path).unwrap().write_all_at(bad, 0).unwrap();
        }
    }

    fn heal(&self) {
        for Bytes { path, good, .. } in [&self.log, &self.board] {
            File::options().write(true).open(path).unwrap().write_all_at(good, 0).unwrap();
        }
    }

    fn forget(&mut self) {
        self.log.bad.clone_from(&self.log.good);
        self.board.bad.clone_from(&self.board.good);
    }
}

/// A log that has gone round, with some of everything in it. All of its participants are gone.
fn image(dir: &Path) -> Image {
    let path = dir.join("image");
    let builder = Log::builder().windows(2).window_bytes(WINDOW).entries(16).slots(2, 2);
    let log = builder.retention(Retention::Overwrite).create_at(&path).unwrap();
    let mut appender = log.appender().unwrap();
    for number in 0..70 {
        appender.append_parts(&[b"part", &[7; 100][..number]]).unwrap();
        appender.append(&vec![7; number * 9]).unwrap();
    }
    drop(appender);
    let windows = [8192, 8192 + usize::try_from(WINDOW).unwrap()];
    let control = (0..128).chain([128, 256, 4096, 4104]);
    let words = control.chain(windows.into_iter().flat_map(|at| (at..at + 8).chain(at + 128..at + 400)));
    let log = Bytes::of(path.join("log"), words.filter(|at| at % 8 == 0).collect());
    let slots = (0..4).flat_map(|slot| [4096 + 256 * slot, 4096 + 256 * slot + 128]);
    let board = Bytes::of(path.join("board"), [0, 8, 16, 128, 136, 256, 264].into_iter().chain(slots).collect());
    Image { log, board }
}

/// Everything a reader can do, so often that it would go round.
fn read(reader: &mut Reader) {
    reader.set_wait(Wait::Spin);
    for number in 0..40 {
        match reader.try_next() {
            Ok(Some(record)) => {
                let _ = record.to_vec();
                let _ = record.parts().take(100).try_for_each(|part| part.map(|part| drop(part.to_vec())));
                let _ = record.atomics().map(<[_]>::len);
            }
            Ok(None) | Err(_) => {
                let _ = reader.seek(reader.position().wrapping_add(1));
            }
        }
        let _ = reader.get(number * 5).map(|record| record.map(|record| record.to_vec()));
    }
    let _ = reader.get(u64::MAX);
    let _ = reader.batch().map(|batch| batch.take(100).count());
    for seq in [0, 130, u64::MAX] {
        let _ = reader.seek(seq);
        let _ = reader.peek().map(|record| record.map(|record| record.read::<u64>()));
    }
    let _ = (reader.pin(), reader.lag());
    let _ = reader.next_timeout(Duration::ZERO).map(drop);
    reader.unpin();
}

/// Everything an appender can do.
fn append<M: Mode>(appender: &mut Appender<M>) {
    for number in 0..40 {
        let _ = appender.append(&[7; 500][..number * 3]);
        let _ = appender.append_parts(&[b"a", b"b"]);
        let _ = appender.reserve(number).map(Slot::commit);
        let _ = appender.append_wait(b"", Duration::ZERO);
    }
    let _ = appender.append(&vec![7; appender.limit_bytes()]);
}

/// Attaches in every way and tries everything.
fn attach(path: &Path) {
    for access in [Access::Append, Access::Read, Access::Observe] {
        let Ok(log) = Log::open(path, access) else { continue };
        let _ = log.info();
        for start in [Start::Oldest, Start::First, Start::End, Start::At(120)] {
            let _ = log.reader(start).map(|mut reader| read(&mut reader));
        }
        let _ = log.reader_builder().gated(true).start(Start::Oldest).map(|mut reader| read(&mut reader));
        let _ = log.appender().map(|mut appender| append(&mut appender));
        let _ = log.exclusive().map(|mut appender| append(&mut appender));
        let _ = log.appender().map(Appender::close);
        let _ = log.info();
    }
}

/// Is attached already when the bytes change.
fn be_attached(path: &Path, change: impl FnOnce()) {
    let log = Log::open(path, Access::Append).unwrap();
    let mut free = log.reader(Start::Oldest).unwrap();
    let mut last = log.reader(Start::End).unwrap();
    let mut shared = log.appender().unwrap();
    shared.append(b"still good").unwrap();
    change();
    append(&mut shared);
    read(&mut free);
    read(&mut last);
    let _ = log.info();
    drop(shared);
    // The next one only finds out what became of it.
    let _ = log.exclusive().map(|mut appender| append(&mut appender));
}

/// A number of cases, each noted before it is tried.
fn batch() {
    let (first, count, step): (u64, u64, u64) =
        (setting("SHMLOG_TEST_FIRST"), setting("SHMLOG_TEST_CASES"), setting("SHMLOG_TEST_STEP"));
    let note = File::create(setting::<String>("SHMLOG_TEST_NOTE")).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let (mut image, path) = (image(dir.path()), dir.path().join("image"));
    for case in (first..first + count).step_by(usize::try_from(step).unwrap()) {
        note.write_all_at(&case.to_le_bytes(), 0).unwrap();
        if let Some(bit) = case.checked_sub(RANDOM) {
            image.log.bad[usize::try_from(bit / 8).unwrap()] ^= 1 << (bit % 8);
        } else {
            let (_, change) = KINDS[usize::try_from(case).unwrap() % KINDS.len()];
            change(&mut image, &mut Dice(case.wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15)));
        }
        image.write();
        attach(&path);
        image.heal();
        be_attached(&path, || image.write());
        image.heal();
        image.forget();
    }
}

/// Cases from here on flip one bit of the log file each; those before are random.
const RANDOM: u64 = 1 << 40;

fn kind(case: u64) -> &'static str {
    if case < RANDOM { KINDS[usize::try_from(case).unwrap() % KINDS.len()].0 } else { "a bit" }
}

fn try_cases(first: u64, count: u64, step: u64) {
    let note = tempfile::NamedTempFile::new().unwrap();
    let mut command = child("batch");
    command.env("SHMLOG_TEST_FIRST", first.to_string()).env("SHMLOG_TEST_CASES", count.to_string());
    command.env("SHMLOG_TEST_STEP", step.to_string()).env("SHMLOG_TEST_NOTE", note.path());
    let ended = wait_within(command.spawn().unwrap(), if is_long() { 60 * PATIENCE } else { PATIENCE });
    let case = fs::read(note.path()).unwrap().first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes));
    match ended {
        Some(status) => assert!(status.success(), "case {case}, {}: {status}", kind(case)),
        None => panic!("case {case}, {}, hung", kind(case)),
    }
}

#[test]
fn any_flipped_bit_of_the_control_page_is_survived() {
    // Preamble and control words; the name and what is unused change little.
    try_cases(RANDOM, 8 * 1024, if is_long() { 1 } else { 11 });
    try_cases(RANDOM + 8 * 1024, 8 * 3072, if is_long() { 1 } else { 1009 });
}

#[test]
fn any_flipped_bit_of_bases_and_indices_is_survived() {
    for at in [4096, 8192, 8192 + WINDOW] {
        try_cases(RANDOM + 8 * at, 8 * 512, if is_long() { 1 } else { 31 });
    }
}

#[test]
fn random_images_are_survived() {
    try_cases(0, if is_long() { 200_000 } else { 600 }, 1);
}

/// An appender goes to the segment that `active` names once it is two ahead. From the last that there can be it went
/// on to the next: a panic where overflow is checked for.
#[test]
fn an_active_segment_beyond_all_laps_is_not_believed() {
    const ACTIVE: u64 = 256;
    let dir = tempfile::tempdir().unwrap();
    for active in [u64::MAX, u64::MAX - 1, 1 << 63, (1 << 43) - 1, (1 << 43) - 2] {
        let path = dir.path().join(active.to_string());
        let log = Log::builder().windows(2).window_bytes(WINDOW).entries(8).create_at(&path).unwrap();
        let mut appender = log.appender().unwrap();
        let file = File::options().write(true).open(path.join("log")).unwrap();
        file.write_all_at(&active.to_le_bytes(), ACTIVE).unwrap();
        for _ in 0..30 {
            let appended = appender.append(b"x");
            assert!(matches!(appended, Ok(_) | Err(AppendError::Corrupt)), "{active}: {appended:?}");
        }
        // Nonsense, but an end.
        let _ = appender.close();
        assert!(matches!(log.appender(), Err(JoinError::Corrupt)), "{active}");
        assert!(matches!(log.exclusive(), Err(JoinError::Corrupt)), "{active}");
    }
}

#[test]
fn truncated_zeroed_and_foreign_files_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let Image { log, board } = image(dir.path());
    let path = dir.path().join("image");
    let refused = |bytes: &[u8]| -> Vec<AttachError> {
        fs::write(&log.path, bytes).unwrap();
        [Access::Append, Access::Read, Access::Observe].map(|access| Log::open(&path, access).unwrap_err()).into()
    };
    let len = log.good.len();
    let edges = [0, 1, 8, 64, 127, 128, 384, 4095, 4096, 4097, 8191, 8192, 8193, 8320, 65_536, len - 4096, len - 1];
    for len in edges {
        for error in refused(&log.good[..len]) {
            assert!(matches!(error, AttachError::WrongSize { what: "log", .. }), "{len}: {error}");
        }
    }
    let longer: Vec<_> = log.good.iter().copied().chain([0; 4096]).collect();
    assert!(matches!(refused(&longer)[0], AttachError::WrongSize { what: "log", .. }));
    for foreign in [vec![0; len], vec![0xFF; len], b"#!/bin/sh\n".repeat(4096), board.good.clone()] {
        for error in refused(&foreign) {
            assert!(matches!(error, AttachError::Foreign { what: "log" }), "{error}");
        }
    }
    // Nothing of the preamble after the version is believed unless it fits the file.
    for at in (32..104).step_by(8) {
        for value in [0_u64, 1, 1 << 31, 1 << 63, u64::MAX] {
            let mut bent = log.good.clone();
            bent[at..at + 8].copy_from_slice(&value.to_le_bytes());
            fs::write(&log.path, &bent).unwrap();
            match Log::open(&path, Access::Append) {
                Err(AttachError::Damaged(_) | AttachError::WrongSize { .. }) => {}
                Err(error) => panic!("{at}: {value}: {error}"),
                Ok(_) => assert!((64..80).contains(&at) || value == 1, "{at}: {value}: retention or fencing at most"),
            }
        }
    }
    fs::write(&log.path, &log.good).unwrap();
    for len in [0, 1, 4095, 4096, 8191] {
        fs::write(&board.path, &board.good[..len]).unwrap();
        let error = Log::open(&path, Access::Read).unwrap_err();
        assert!(matches!(error, AttachError::WrongSize { what: "board", .. }), "{len}: {error}");
    }
    fs::write(&board.path, vec![0; board.good.len()]).unwrap();
    assert!(matches!(Log::open(&path, Access::Read), Err(AttachError::Foreign { what: "board" })));
    fs::remove_file(&board.path).unwrap();
    assert!(matches!(Log::open(&path, Access::Read), Err(AttachError::NotFound { .. })));
    fs::create_dir(&board.path).unwrap();
    assert!(Log::open(&path, Access::Read).is_err());
}
