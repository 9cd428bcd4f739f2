//! Directories of journals, made once, whose files the fuzzer bends before anybody opens them.

use crate::image::Word;
use crate::mend::mend;
use arbitrary::Arbitrary;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use shmlog::{Flush, FrontHome, Journal, JournalBuilder, Start};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::LazyLock;
use std::time::Duration;
use tempfile::TempDir;

/// Files by their names.
pub type Files = BTreeMap<String, Vec<u8>>;

/// What the journal has been through.
#[derive(Arbitrary, Clone, Copy, Debug)]
pub enum Past {
    /// Closed by its last user.
    Closed,
    /// The power failed, and everything written was kept.
    Failed,
}

/// A change of the directory. Files are counted by their names, and come round.
#[derive(Arbitrary, Clone, Debug)]
pub enum Bend {
    /// A word anywhere.
    Word(u8, u16, Word),
    /// A word of what a file says of itself.
    Header(u8, u8, Word),
    /// The head of a frame: of which one.
    Head(u8, u8, Word),
    /// A word of a frame's payload.
    Payload(u8, u8, u8, Word),
    /// Bytes that are no more there.
    Cut(u8, u16),
    /// Pages that are there as well, of any content.
    Grow(u8, u8, u8),
    /// Zeroes from there on, for so many words.
    Wipe(u8, u16, u16),
    Remove(u8),
    /// The file under another number, too.
    Again(u8, Word),
    /// Two files exchanged.
    Exchange(u8, u8),
}

/// Bytes of a file: the smallest there may be.
const FILE_BYTES: u64 = 64 << 10;

static PASTS: LazyLock<[Files; 2]> = LazyLock::new(|| {
    let some = FILE_BYTES * 64;
    // Numbers in headers may ask for any amount of memory.
    setrlimit(Resource::Fsize, Rlimit { current: Some(some), ..getrlimit(Resource::Fsize) }).expect("less is allowed");
    [Past::Closed, Past::Failed].map(make)
});

/// A journal's settings, small.
pub fn builder(dir: &Path) -> JournalBuilder {
    let front = FrontHome::At(dir.join("fronts"));
    Journal::builder().file_bytes(FILE_BYTES).front_size(2, 64 << 10).front(front).flush(Flush::Never).thread(false)
}

/// A journal with records, batches, deletions, cursors and an index.
fn make(past: Past) -> Files {
    let dir = fresh(&Files::new());
    let at = dir.path().join("journal");
    let journal = builder(dir.path()).flush(Flush::After(Duration::from_millis(1))).thread(true).open(&at);
    let journal = journal.expect("there is room for a journal");
    let mut appender = journal.appender().expect("nobody else appends");
    for number in 0..200_usize {
        appender.append(&vec![b'r'; number * 37 % 900]).expect("room");
        appender.append_parts(&[b"of", &number.to_le_bytes()]).expect("room");
        if number % 50 == 0 {
            journal.delete_durable(&[number as u64, 2 * number as u64]).expect("they are there");
            journal.cursor("one").and_then(|cursor| cursor.advance(number as u64)).expect("it is behind");
        }
    }
    journal.cursor("two").and_then(|cursor| cursor.advance(300)).expect("it is behind");
    journal.sync().expect("a disk");
    // The first file is full; its index is made when there is time.
    while !at.join(format!("{:020}.idx", 0)).exists() {
        std::thread::sleep(Duration::from_millis(1));
    }
    drop(appender);
    match past {
        Past::Closed => journal.close().expect("a disk"),
        Past::Failed => return read(&at),
    }
    read(&at)
}

fn read(dir: &Path) -> Files {
    let entries = std::fs::read_dir(dir).expect("it is there").map(|entry| entry.expect("its names"));
    let files = entries.filter(|entry| entry.path().is_file());
    let named = files.map(|entry| (entry.file_name().into_string().expect("digits"), entry.path()));
    named.map(|(name, path)| (name, std::fs::read(path).expect("it is there"))).collect()
}

/// A directory that has these files in its `journal`.
fn fresh(files: &Files) -> TempDir {
    let dir = tempfile::tempdir().expect("room for files");
    for name in ["fronts", "journal"] {
        std::fs::create_dir(dir.path().join(name)).expect("a fresh directory");
    }
    for (name, bytes) in files {
        std::fs::write(dir.path().join("journal").join(name), bytes).expect("room for files");
    }
    dir
}

/// A journal's directory with these changes; with checksums that hold, if `is_mended`.
pub fn bent(past: Past, bends: &[Bend], is_mended: bool) -> TempDir {
    let mut files = PASTS[past as usize].clone();
    bends.iter().for_each(|bend| bend.apply(&mut files));
    if is_mended {
        mend(&mut files);
    }
    fresh(&files)
}

impl Bend {
    fn apply(&self, files: &mut Files) {
        let names: Vec<_> = files.keys().cloned().collect();
        let pick = |at: u8| names.get(usize::from(at) % names.len().max(1)).cloned().unwrap_or_default();
        let (Self::Word(file, ..)
        | Self::Header(file, ..)
        | Self::Head(file, ..)
        | Self::Payload(file, ..)
        | Self::Cut(file, _)
        | Self::Grow(file, ..)
        | Self::Wipe(file, ..)
        | Self::Remove(file)
        | Self::Again(file, _)
        | Self::Exchange(file, _)) = self;
        let name = pick(*file);
        match self {
            Self::Remove(_) => drop(files.remove(&name)),
            Self::Again(_, word) => {
                let (number, ending) = name.split_once('.').unwrap_or((&name, "log"));
                let number = word.of(number.parse().unwrap_or(0));
                let bytes = files.get(&name).cloned().unwrap_or_default();
                files.insert(format!("{number:020}.{ending}"), bytes);
            }
            Self::Exchange(_, other) => {
                let other = pick(*other);
                if let (Some(one), Some(another)) = (files.remove(&name), files.remove(&other)) {
                    files.extend([(name, another), (other, one)]);
                }
            }
            _ => {
                if let Some(bytes) = files.get_mut(&name) {
                    self.apply_to(bytes, if name.ends_with(".log") { 4096 } else { 0 });
                }
            }
        }
    }

    /// `frames`: where the first frame is.
    fn apply_to(&self, bytes: &mut Vec<u8>, frames: usize) {
        match *self {
            Self::Word(_, at, word) => set(bytes, 8 * usize::from(at), word),
            Self::Header(_, at, word) => set(bytes, 8 * usize::from(at % 64), word),
            Self::Head(_, number, word) => {
                if let Some(at) = frame(bytes, frames, number) {
                    set(bytes, at, word);
                }
            }
            Self::Payload(_, number, at, word) => {
                if let Some(frame) = frame(bytes, frames, number) {
                    set(bytes, frame + 8 + 8 * usize::from(at), word);
                }
            }
            Self::Cut(_, count) => bytes.truncate(bytes.len().saturating_sub(count.into())),
            Self::Grow(_, pages, byte) => bytes.resize(bytes.len() + 4096 * usize::from(pages % 8), byte),
            Self::Wipe(_, at, count) => {
                let (from, to) = (8 * usize::from(at), 8 * (usize::from(at) + usize::from(count)));
                let to = to.min(bytes.len());
                bytes.get_mut(from..to).into_iter().for_each(|bytes| bytes.fill(0));
            }
            Self::Remove(_) | Self::Again(..) | Self::Exchange(..) => {}
        }
    }
}

fn set(bytes: &mut [u8], at: usize, word: Word) {
    if let Some(bytes) = bytes.get_mut(at..).and_then(|bytes| bytes.first_chunk_mut::<8>()) {
        *bytes = word.of(u64::from_le_bytes(*bytes)).to_le_bytes();
    }
}

/// Where frame `number` is, if there are so many.
fn frame(bytes: &[u8], first: usize, number: u8) -> Option<usize> {
    crate::mend::frames(bytes, first).nth(number.into())
}

/// Uses a journal in all ways there are, whatever they come to. What it acknowledges while it is open, it has.
pub fn exercise(journal: &Journal) {
    let mut reader = match journal.reader(Start::Oldest) {
        Ok(reader) => reader,
        Err(_) => return,
    };
    let mut errors = 0;
    for _ in 0..3000 {
        match reader.try_next() {
            Ok(Some(record)) if record.is_batch() => drop(record.parts().take(100).count()),
            Ok(Some(_)) => {}
            Ok(None) => break,
            // It may go on behind what is lost.
            Err(_) if errors < 8 => errors += 1,
            Err(_) => break,
        }
    }
    for seq in [0, 1, 7, 150, 399, 400, journal.oldest(), journal.next_seq(), u64::MAX] {
        let _ = reader.get(seq);
        let _ = reader.seek(seq);
        let _ = reader.try_next().is_ok();
    }
    for (name, _) in journal.cursors() {
        let _ = journal.cursor(&name).and_then(|cursor| cursor.get());
    }
    let _ = (journal.set_aside(), journal.recovery(), journal.durable());
}
