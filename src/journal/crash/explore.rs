//! From crash point to crash point: images, recovery, crashes during recovery, and going on from there.

use super::images::{Dice, images};
use super::memory_disk::Image;
use super::model::Model;
use super::oracle::{Recovered, Truth, check, proven};
use super::recording::{Entry, Note};
use super::workload::Session;
use crate::error::JournalError;
use crate::journal::Journal;
use crate::journal::settings::Flush;
use crate::log::Start;
use std::collections::{BTreeSet, HashSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

/// What entries come to: what may be on the disk, and what must hold.
pub(super) fn come_to(entries: &[Entry]) -> (Model, Truth) {
    let (mut model, mut truth) = (Model::of(&Image::default()), Truth::default());
    for entry in entries {
        model.apply(entry);
        if let Entry::Note(note) = entry {
            truth.apply(note);
        }
    }
    (model, truth)
}

/// How much is tried.
#[derive(Clone, Copy, Debug)]
pub(super) struct Effort {
    /// Images of each crash point.
    pub(super) images: usize,
    /// One in so many images is crashed while it is recovered; 0: none.
    pub(super) recovery_one_in: usize,
    /// One in so many is gone on from, and crashed again.
    pub(super) resume_one_in: usize,
    /// One in so many becomes a real directory that is opened and read.
    pub(super) real_one_in: usize,
    /// Whether, where one is gone on from, a file with frames of old is used as if it were fresh.
    pub(super) has_leftovers: bool,
    /// Stop when so many violations were found.
    pub(super) enough: usize,
}

impl Effort {
    /// A few seconds for some dozen short workloads.
    pub(super) const SMALL: Self =
        Self { images: 5, recovery_one_in: 12, resume_one_in: 60, real_one_in: 300, has_leftovers: false, enough: 20 };

    fn nested(self) -> Self {
        Self { images: 6, recovery_one_in: 0, resume_one_in: 0, real_one_in: 0, ..self }
    }
}

/// What was tried and found.
#[derive(Debug, Default)]
pub(super) struct Tally {
    /// Fingerprints of all images.
    pub(super) distinct: HashSet<u128>,
    /// Those that were checked, with what was acknowledged.
    seen: HashSet<(u128, u64, u64)>,
    pub(super) points: usize,
    pub(super) recoveries: usize,
    pub(super) resumed: usize,
    pub(super) real: usize,
    pub(super) violations: Vec<String>,
}

impl Tally {
    pub(super) fn say(&self, what: &str) {
        println!(
            "{what}: {} distinct images of {} crash points, {} checks, {} crashed while recovered, {} gone on from, \
             {} opened as directories, {} violations",
            self.distinct.len(),
            self.points,
            self.seen.len(),
            self.recoveries,
            self.resumed,
            self.real,
            self.violations.len()
        );
    }

    pub(super) fn add(&mut self, other: Self) {
        self.distinct.extend(other.distinct);
        self.seen.extend(other.seen);
        self.points += other.points;
        self.recoveries += other.recoveries;
        self.resumed += other.resumed;
        self.real += other.real;
        self.violations.extend(other.violations);
    }
}

/// A way through all crash points of what was recorded.
pub(super) struct Explorer<'t> {
    pub(super) effort: Effort,
    pub(super) dice: Dice,
    pub(super) flush: Flush,
    pub(super) tally: &'t mut Tally,
    /// What violations are said to be of.
    pub(super) name: String,
}

impl Explorer<'_> {
    /// Tries all crash points after `from` entries on a disk that held `base`.
    pub(super) fn explore(&mut self, base: &Image, truth: &Truth, entries: &[Entry], from: usize) {
        let (mut model, mut truth) = (Model::of(base), truth.clone());
        let mut is_new = true;
        for (index, entry) in entries.iter().enumerate() {
            model.apply(entry);
            if let Entry::Note(note) = entry {
                truth.apply(note);
            }
            is_new |= !matches!(entry, Entry::Note(Note::Append(..)));
            // What is noted next is known then.
            let is_point = is_new && index >= from && !matches!(entries.get(index + 1), Some(Entry::Note(_)));
            if is_point {
                is_new = false;
                self.crash(&model, &truth, index + 1);
            }
            if self.tally.violations.len() >= self.effort.enough {
                return;
            }
        }
    }

    fn crash(&mut self, model: &Model, truth: &Truth, point: usize) {
        self.tally.points += 1;
        let proven = proven(&model.least());
        for image in images(model, &mut self.dice, self.effort.images) {
            let print = image.fingerprint();
            self.tally.distinct.insert(print);
            if self.tally.seen.insert((print, truth.acked, proven)) {
                let checked = catch_unwind(AssertUnwindSafe(|| check(&image, truth, proven)));
                let done = match checked {
                    Ok(Ok(Some(recovered))) => self.go_deeper(&image, truth, &recovered),
                    Ok(Ok(None)) => Ok(()),
                    Ok(Err(wrong)) => Err(wrong),
                    Err(_) => Err("panicked".to_owned()),
                };
                if let Err(wrong) = done {
                    let sizes: Vec<_> = image.0.iter().map(|(name, content)| (name, content.len())).collect();
                    self.tally.violations.push(format!("{}, after {point} entries: {wrong}; {sizes:?}", self.name));
                }
            }
        }
    }

    fn go_deeper(&mut self, image: &Image, truth: &Truth, recovered: &Recovered) -> Result<(), String> {
        let mut is_turn = |one_in: usize| one_in > 0 && self.dice.one_in(one_in);
        let Effort { recovery_one_in, resume_one_in, real_one_in, .. } = self.effort;
        let turns = [recovery_one_in, resume_one_in, real_one_in].map(&mut is_turn);
        if turns[0] {
            self.tally.recoveries += 1;
            let told = [
                Note::Kept(recovered.recovery.kept, 0),
                Note::CursorsKept(recovered.cursors.cursors.clone()),
                Note::DeletesKept(recovered.deleted.iter().copied().collect()),
            ];
            let entries = [&recovered.entries[..], &told.map(Entry::Note)].concat();
            self.nested("while recovered", |nested| nested.explore(image, truth, &entries, 0));
        }
        if turns[1] {
            self.resume(image, truth)?;
        }
        if turns[2] {
            self.tally.real += 1;
            check_real(image, truth)?;
        }
        Ok(())
    }

    fn nested(&mut self, what: &str, run: impl FnOnce(&mut Explorer<'_>)) {
        let mut nested = Explorer {
            effort: self.effort.nested(),
            dice: Dice::new(self.dice.next()),
            flush: self.flush,
            name: format!("{} ({what})", self.name),
            tally: self.tally,
        };
        run(&mut nested);
    }

    /// Opens the journal in the image, appends by the real flush, and crashes again.
    fn resume(&mut self, image: &Image, truth: &Truth) -> Result<(), String> {
        self.tally.resumed += 1;
        let mut image = image.clone();
        if self.effort.has_leftovers {
            let logs: Vec<_> =
                image.0.iter().filter(|(name, _)| name.ends_with(".log")).map(|(_, log)| log.clone()).collect();
            if !logs.is_empty() {
                image.0.insert("spare".to_owned(), logs[self.dice.below(logs.len())].clone());
            }
        }
        let mut session = Session::after(&image, self.flush, self.dice.next());
        session.open().map_err(|error| format!("opening: {error}"))?;
        session.check_reader(truth)?;
        let from = session.recorder.len();
        for _ in 0..1 + self.dice.below(4) {
            for _ in 0..1 + self.dice.below(4) {
                session.append(if self.effort.has_leftovers { 1000 } else { self.dice.below(3000) });
            }
            session.sync();
        }
        let entries = session.end();
        self.nested("gone on", |nested| nested.explore(&image, truth, &entries, from));
        Ok(())
    }
}

/// Opens the image as a journal of the file system and reads it in all ways.
pub(super) fn check_real(image: &Image, truth: &Truth) -> Result<(), String> {
    let dir = tempfile::tempdir_in("/dev/shm").unwrap();
    for (name, content) in &image.0 {
        std::fs::write(dir.path().join(name), &**content).unwrap();
    }
    let builder = Journal::builder().front_size(2, 64 << 10).flush(Flush::After(Duration::from_secs(3600)));
    let said = |error| format!("as a directory: {error}");
    let journal = builder.thread(false).open(dir.path()).map_err(said)?;
    let mut reader = journal.reader(Start::Oldest).map_err(said)?;
    if journal.next_seq() < truth.acked {
        return Err("acknowledged records are not in the directory".to_owned());
    }
    let all = journal.oldest()..journal.next_seq();
    let mut missing: BTreeSet<_> = all.clone().collect();
    while let Some(record) = reader.try_next().map_err(said)? {
        truth.check(record.seq(), record.bytes(), record.is_batch())?;
        missing.remove(&record.seq());
    }
    truth.check_deleted(&missing, all.start, all.end)?;
    for seq in all.rev() {
        match reader.get(seq) {
            Ok(Some(record)) if !missing.contains(&seq) => truth.check(seq, record.bytes(), record.is_batch())?,
            Err(JournalError::Deleted { .. }) if missing.contains(&seq) => {}
            other => return Err(format!("record {seq} is found as {other:?}")),
        }
    }
    Ok(())
}
