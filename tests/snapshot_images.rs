//! Hostile images of a snapshot: whatever the bytes of region and board say, at the time of attaching or later, safe
//! calls return.
//!
//! A child does the work, so that a fault, a panic or a hang is seen; it notes each case before it tries it.
//! `SHMLOG_LONG=1` tries many more.

mod common;

use common::{PATIENCE, child, is_long, setting, value, wait_within};
use shmlog::{
    Access, AttachError, JoinError, LoadError, Snapshot, SnapshotBuilder, SnapshotReader, SnapshotWriter, Wait,
};
use std::fs::{self, File};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Where the slots of the images here begin.
const FIRST: u64 = 8192;
/// The words of a slot.
const CURRENT: u64 = FIRST;
const NEXT: u64 = FIRST + 8;

#[test]
fn child_entry() {
    common::enter(&[("batch", batch)]);
}

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
        match self.roll(7) {
            0 => 0,
            1 => u64::MAX - self.roll(70),
            2 => self.roll(70),
            3 => 1 << self.roll(64),
            4 => 4096 - self.roll(9),
            _ => self.roll(u64::MAX),
        }
    }
}

/// The file of a region or a board, and the offsets of words that mean something.
struct Bytes {
    file: File,
    words: Vec<u64>,
    good: Vec<[u8; 8]>,
}

impl Bytes {
    fn of(path: &Path, words: impl IntoIterator<Item = u64>) -> Self {
        let file = File::options().read(true).write(true).open(path).unwrap();
        let words: Vec<_> = words.into_iter().collect();
        let mut good = vec![[0; 8]; words.len()];
        for (word, &at) in good.iter_mut().zip(&words) {
            file.read_exact_at(word, at).unwrap();
        }
        Self { file, words, good }
    }

    fn bend(&self, dice: &mut Dice) {
        for _ in 0..=dice.roll(3) {
            let at = usize::try_from(dice.roll(self.words.len() as u64)).unwrap();
            let old = u64::from_le_bytes(self.good[at]);
            let new = if dice.roll(3) == 0 { old ^ 1 << dice.roll(64) } else { dice.word() };
            self.file.write_all_at(&new.to_le_bytes(), self.words[at]).unwrap();
        }
    }

    fn heal(&self) {
        for (word, &at) in self.good.iter().zip(&self.words) {
            self.file.write_all_at(word, at).unwrap();
        }
    }
}

struct Image {
    path: PathBuf,
    region: Bytes,
    board: Bytes,
}

/// The shapes there are: variable, fixed and packed, sparse.
fn shape(case: u64) -> SnapshotBuilder {
    let builder = Snapshot::builder().slots(4).seats(2).names(["AAPL"]);
    match case % 3 {
        0 => builder.capacity_bytes(5000).buffers(3),
        1 => builder.value_bytes(16).buffers(2),
        _ => builder.capacity_bytes(1 << 33).buffers(4).sparse(true),
    }
}

fn image(dir: &Path, case: u64) -> Image {
    let path = dir.join(format!("image-{case}"));
    let snapshot = shape(case).create_at(&path).unwrap();
    let mut writer = snapshot.writer().unwrap();
    for number in 0..7 {
        writer.slot(number % 2).unwrap().publish_bytes(&value(number as u64, 16)).unwrap();
    }
    drop(snapshot.reader().unwrap().pin().unwrap());
    let info = snapshot.info();
    let control = (0..104).step_by(8).chain([4096, 4104, 4128]);
    // Of a sparse slot only what is there: the rest would become there by being written to.
    let slot = |slot: u64| (0..info.slot_bytes.min(512)).step_by(8).map(move |at| FIRST + slot * info.slot_bytes + at);
    let buffers = (0..if info.is_sparse { 4 } else { 0 }).map(|buffer| FIRST + 4096 + buffer * ((1 << 33) + 4096) + 8);
    let region = Bytes::of(&path.join("snapshot"), control.chain(slot(0)).chain(slot(1)).chain(slot(2)).chain(buffers));
    let seats = 4096 + 4 * 128;
    let board = [0, 8, 16, 24, 128, 4096, 4104, 4224, seats, seats + 128, seats + 136, seats + 256, seats + 384];
    let board = Bytes::of(&path.join("pins"), board);
    Image { path, region, board }
}

/// Everything a reader can do.
fn read(reader: &mut SnapshotReader) {
    reader.set_wait(Wait::Spin);
    let mut bytes = Vec::new();
    let _ = (reader.load::<[u8; 16]>(), reader.load_newer::<u64>(), reader.stamp());
    let _ = reader.load_into(&mut bytes);
    assert!(bytes.capacity() <= 1 << 20, "{} bytes for a value that nobody wrote", bytes.capacity());
    let version = reader.version();
    let _ = (reader.changed_since(version), reader.wait_newer(version, Duration::ZERO));
    if let Ok(Some(pinned)) = reader.pin() {
        let _ = (pinned.to_vec(), pinned.as_of(), pinned.read::<u64>(), pinned.words().len());
        let _ = pinned.copy_at(13, &mut bytes);
    }
}

/// Everything a writer can do.
fn write(writer: &mut SnapshotWriter) {
    writer.set_patience(Duration::ZERO);
    for number in 0..6 {
        for slot in 0..3 {
            let Ok(target) = writer.slot(slot) else { continue };
            let _ = target.as_of(number).publish_bytes(&value(number, 16));
        }
        let _ = writer.first().publish_with(16, |draft| assert_eq!(draft.write(0, &[7; 16]), 16));
    }
    let _ = (writer.set_name(0, "AAPL"), writer.set_name(2, "MSFT"));
}

/// Attaches in every way and tries everything.
fn attach(path: &Path) {
    for access in [Access::Read, Access::Observe, Access::Append] {
        let Ok(snapshot) = Snapshot::open(path, access) else { continue };
        let _ = (snapshot.info(), snapshot.find("MSFT"), snapshot.name(2));
        for slot in 0..4 {
            let _ = snapshot.reader_of(slot).map(|mut reader| read(&mut reader));
        }
        let _ = snapshot.writer().map(|mut writer| write(&mut writer));
        let _ = snapshot.reader().map(|mut reader| read(&mut reader));
    }
}

/// Is attached already when the bytes change.
fn be_attached(path: &Path, change: impl FnOnce()) {
    let snapshot = Snapshot::open(path, Access::Append).unwrap();
    let (mut writer, mut reader) = (snapshot.writer().unwrap(), snapshot.reader().unwrap());
    let mut pinning = snapshot.reader().unwrap();
    read(&mut reader);
    let pinned = pinning.pin().unwrap().unwrap();
    change();
    let _ = pinned.to_vec();
    read(&mut reader);
    write(&mut writer);
    read(&mut reader);
    drop(pinned);
    read(&mut pinning);
    let _ = snapshot.info();
}

/// A number of cases, each noted before it is tried.
fn batch() {
    let count: u64 = setting("SHMLOG_TEST_CASES");
    let note = File::create(setting::<String>("SHMLOG_TEST_NOTE")).unwrap();
    let dir = tempfile::tempdir_in(common::mounted("tmpfs").unwrap_or_else(std::env::temp_dir)).unwrap();
    let images = [0, 1, 2].map(|case| image(dir.path(), case));
    for case in 0..count {
        note.write_all_at(&case.to_le_bytes(), 0).unwrap();
        let image = &images[usize::try_from(case).unwrap() % images.len()];
        let bend = || {
            let mut dice = Dice(case.wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15));
            let what = dice.roll(4);
            if what != 3 {
                image.region.bend(&mut dice);
            }
            if what >= 2 {
                image.board.bend(&mut dice);
            }
        };
        let heal = || {
            image.region.heal();
            image.board.heal();
        };
        bend();
        attach(&image.path);
        heal();
        be_attached(&image.path, bend);
        heal();
    }
}

#[test]
fn random_images_are_survived() {
    let note = tempfile::NamedTempFile::new().unwrap();
    let mut command = child("batch");
    let cases: u64 = if is_long() { 300_000 } else { 900 };
    command.env("SHMLOG_TEST_CASES", cases.to_string()).env("SHMLOG_TEST_NOTE", note.path());
    let ended = wait_within(command.spawn().unwrap(), if is_long() { 60 * PATIENCE } else { PATIENCE });
    let case = fs::read(note.path()).unwrap().first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes));
    match ended {
        Some(status) => assert!(status.success(), "case {case}: {status}"),
        None => panic!("case {case} hung"),
    }
}

fn put(path: &Path, at: u64, word: u64) {
    let file = File::options().write(true).open(path.join("snapshot")).unwrap();
    file.write_all_at(&word.to_le_bytes(), at).unwrap();
}

/// A length is believed only as far as memory was given to it: else a reader would fault, or take it all.
#[test]
fn hostile_lengths_are_corrupt_and_cost_nothing() {
    let dir = tempfile::tempdir_in(common::mounted("tmpfs").unwrap_or_else(std::env::temp_dir)).unwrap();
    for (name, capacity, is_sparse) in [("plain", 5000, false), ("sparse", 300 << 30, true)] {
        let path = dir.path().join(name);
        let builder = Snapshot::builder().capacity_bytes(capacity).sparse(is_sparse).buffers(2);
        let snapshot = builder.create_at(&path).unwrap();
        assert_eq!(snapshot.writer().unwrap().publish_bytes(&value(1, 4000)).unwrap(), 1);
        let mut old = snapshot.reader().unwrap();
        assert_eq!(old.load_bytes().unwrap().unwrap().value, value(1, 4000));
        let blocks = fs::metadata(path.join("snapshot")).unwrap().blocks();
        let buffers = if is_sparse { [FIRST + 4096, (300 << 30) + FIRST + 8192] } else { [FIRST + 128, FIRST + 5248] };
        let lengths = [capacity + 1, capacity + 8, 1 << 41, 1 << 63, u64::MAX - 7, u64::MAX];
        let lengths =
            lengths.into_iter().chain([4096 - 16 + 1, 8192, 1 << 30, 300 << 30].into_iter().filter(|_| is_sparse));
        for len in lengths {
            put(&path, buffers[1] + 8, len);
            put(&path, buffers[1], u64::MAX);
            let attached = Snapshot::open(&path, Access::Read).unwrap();
            for reader in [&mut old, &mut attached.reader().unwrap()] {
                let mut bytes = Vec::new();
                let corrupt =
                    |what: Option<LoadError>| assert!(matches!(what, Some(LoadError::Corrupt { index: 0 })), "{len}");
                corrupt(reader.load_into(&mut bytes).err());
                corrupt(reader.load::<u64>().err());
                corrupt(reader.stamp().err());
                corrupt(reader.pin().err());
                assert!(bytes.capacity() <= 8192, "{name}: {len}");
            }
        }
        // A version whose buffer was never written to.
        put(&path, CURRENT, 2);
        put(&path, NEXT, 2);
        let loaded = old.load_bytes();
        assert_eq!(matches!(loaded, Err(LoadError::Corrupt { .. })), is_sparse, "{loaded:?}");
        // An announcement without end.
        put(&path, NEXT, 99);
        assert!(matches!(old.load_bytes(), Err(LoadError::Corrupt { .. })), "nobody honest is that far ahead");
        // It tried 10,000 times, each of them a barrier on all processors.
        let retries = old.retries();
        assert!(matches!(old.pin(), Err(LoadError::Corrupt { .. })));
        assert_eq!(old.retries(), retries + 1);
        assert_eq!(snapshot.info().slots.len(), 0, "what can't be read is not told");
        // A new writer makes it good again.
        snapshot.writer().unwrap().publish_bytes(&value(5, 64)).unwrap();
        assert_eq!(old.load_bytes().unwrap().unwrap().value, value(5, 64));
        let more = fs::metadata(path.join("snapshot")).unwrap().blocks() - blocks;
        assert!(more <= 32, "{more} blocks more");
    }
}

#[test]
fn truncated_zeroed_and_foreign_files_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = image(dir.path(), 0).path;
    let (region, board) = (path.join("snapshot"), path.join("pins"));
    let (good, pins) = (fs::read(&region).unwrap(), fs::read(&board).unwrap());
    let refused = |file: &Path, bytes: &[u8]| -> [AttachError; 3] {
        fs::write(file, bytes).unwrap();
        [Access::Append, Access::Read, Access::Observe].map(|access| Snapshot::open(&path, access).unwrap_err())
    };
    for len in [0, 1, 127, 128, 4095, 4096, 8191, 8192, good.len() - 4096, good.len() - 1] {
        for error in refused(&region, &good[..len]) {
            assert!(matches!(error, AttachError::WrongSize { what: "snapshot", .. }), "{len}: {error}");
        }
    }
    let longer: Vec<_> = good.iter().copied().chain([0; 4096]).collect();
    assert!(matches!(refused(&region, &longer)[0], AttachError::WrongSize { what: "snapshot", .. }));
    for foreign in [vec![0; good.len()], vec![0xFF; good.len()], b"#!/bin/sh\n".repeat(4096), pins.clone()] {
        for error in refused(&region, &foreign) {
            assert!(matches!(error, AttachError::Foreign { what: "snapshot" }), "{error}");
        }
    }
    // A copy without its holes filled: not what a snapshot of this shape is.
    fs::remove_file(&region).unwrap();
    let copy = File::create(&region).unwrap();
    copy.set_len(good.len() as u64).unwrap();
    copy.write_all_at(&good[..4096], 0).unwrap();
    assert!(matches!(Snapshot::open(&path, Access::Read), Err(AttachError::NotAllocated { what: "snapshot", .. })));
    fs::write(&region, &good).unwrap();
    for len in [0, 1, 4095, 4096, pins.len() - 1] {
        for error in refused(&board, &pins[..len]) {
            assert!(matches!(error, AttachError::WrongSize { .. }), "{len}: {error}");
        }
    }
    assert!(matches!(refused(&board, &vec![0; pins.len()])[0], AttachError::Foreign { what: "board" }));
    fs::remove_file(&board).unwrap();
    assert!(matches!(Snapshot::open(&path, Access::Read), Err(AttachError::NotFound { .. })));
    // A log's directory is none of a snapshot.
    drop(shmlog::Log::builder().windows(2).window_bytes(64 << 10).create_at(dir.path().join("log")).unwrap());
    assert!(matches!(Snapshot::open(dir.path().join("log"), Access::Read), Err(AttachError::NotFound { .. })));
}

/// Nothing of the first page is believed unless it fits the file.
#[test]
fn every_field_of_the_preamble_is_checked() {
    let dir = tempfile::tempdir().unwrap();
    for case in 0..3 {
        let Image { path, region, board } = image(dir.path(), case);
        for at in (0..104).step_by(8) {
            for word in [0, 1, 3, 1 << 31, 1 << 63, u64::MAX] {
                put(&path, at, word);
                match (at, Snapshot::open(&path, Access::Append)) {
                    (0, Err(AttachError::Foreign { what: "snapshot" }))
                    | (8, Err(AttachError::NewerFormat { what: "snapshot", .. }) | Ok(_))
                    | (16 | 24, Err(AttachError::OtherLog))
                    | (32..104, Err(AttachError::Damaged(_) | AttachError::WrongSize { .. })) => {}
                    (_, Err(error)) => panic!("{case}: {at}: {word}: {error}"),
                    // Flags, and seats, of which there may be fewer; a number of buffers that is the true one.
                    (_, Ok(_)) => assert!(matches!((at, word), (40..104, 0 | 1 | 3)), "{case}: {at}: {word}"),
                }
                region.heal();
            }
        }
        let pins = board.file;
        for (at, is_it) in [
            (0, (|error| matches!(error, AttachError::Foreign { what: "board" })) as fn(&AttachError) -> bool),
            (8, |error| matches!(error, AttachError::NewerFormat { what: "board", .. })),
            (16, |error| matches!(error, AttachError::OtherLog)),
        ] {
            let mut good = [0; 8];
            pins.read_exact_at(&mut good, at).unwrap();
            pins.write_all_at(&u64::MAX.to_le_bytes(), at).unwrap();
            let error = Snapshot::open(&path, Access::Observe).unwrap_err();
            assert!(is_it(&error), "{at}: {error}");
            pins.write_all_at(&good, at).unwrap();
        }
        drop(Snapshot::open(&path, Access::Append).unwrap().writer().unwrap());
    }
}

/// A sparse copy may lack the words of a slot: reading them would be a fault where there is no memory.
#[test]
fn a_slot_that_is_a_hole_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = image(dir.path(), 2).path;
    let region = path.join("snapshot");
    let good = File::open(&region).unwrap();
    let mut start = vec![0; usize::try_from(FIRST).unwrap()];
    good.read_exact_at(&mut start, 0).unwrap();
    let len = good.metadata().unwrap().len();
    fs::remove_file(&region).unwrap();
    let copy = File::create(&region).unwrap();
    copy.set_len(len).unwrap();
    copy.write_all_at(&start, 0).unwrap();
    for access in [Access::Read, Access::Append] {
        let snapshot = Snapshot::open(&path, access).unwrap();
        assert!(matches!(snapshot.reader(), Err(JoinError::Corrupt)));
        assert_eq!(snapshot.info().slots.len(), 0);
    }
}
