//! Crashes while a damaged journal is repaired: what was left of it before is left of it afterwards, however often the
//! repair is interrupted, begun again, or given up by opening the journal instead.

use super::damage::{Damage, damages, worn};
use super::images::{Dice, images};
use super::memory_disk::{Image, MemoryDisk};
use super::model::Model;
use super::oracle::{Truth, deleted, frames, try_recover};
use super::recording::{Entry, Note, Recorder, RecordingDisk};
use super::runs::{TIMELY, is_long};
use super::workload::Session;
use crate::error::JournalError;
use crate::journal::care::repair::{Repaired, repair};
use crate::journal::files::firsts;
use crate::journal::files::names::Names;
use crate::journal::format::BLOCK;
use crate::journal::format::frame::{Found, decode, frame_bytes};
use crate::journal::format::header::Header;
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;

/// What a repair is to keep.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Left {
    records: BTreeSet<u64>,
    deleted: BTreeSet<u64>,
    gone: BTreeSet<u64>,
}

/// A journal that was damaged.
struct Case {
    truth: Truth,
    image: Image,
    left: Left,
    has_control: bool,
    /// Where the records ended is in the control file.
    is_known: bool,
}

impl Case {
    fn new((sound, truth): &(Image, Truth), is_closed: bool, damages: &[Damage]) -> Self {
        let mut image = sound.clone();
        for damage in damages {
            match damage {
                Damage::Byte(name, at) => Arc::make_mut(image.0.get_mut(name).unwrap())[*at] ^= 0x10,
                Damage::Gone(name) => drop(image.0.remove(name)),
                Damage::Control => *image.0.get_mut("control").unwrap() = Arc::new(vec![0; 8192]),
            }
        }
        let has_control = !damages.iter().any(|damage| matches!(damage, Damage::Control));
        let left = left(sound, truth, damages);
        Self { truth: truth.clone(), image, left, has_control, is_known: has_control && is_closed }
    }
}

/// Of each file the records before what is damaged, and those behind the next mark.
fn left(sound: &Image, truth: &Truth, damages: &[Damage]) -> Left {
    let mut left = Left::default();
    let gone = &mut left.gone;
    for (name, content) in sound.0.iter().filter(|(name, _)| name.ends_with(".log")) {
        let is_lost = damages.iter().any(|damage| match damage {
            Damage::Byte(file, at) => file == name && *at < BLOCK,
            Damage::Gone(file) => file == name,
            Damage::Control => false,
        });
        let is_bad = |from: usize, to: usize| {
            let is_in =
                |damage: &Damage| matches!(damage, Damage::Byte(file, at) if file == name && (from..to).contains(at));
            damages.iter().any(is_in)
        };
        let mut is_whole = !is_lost;
        for frame in frames(content) {
            if is_bad(frame.offset, frame.end) {
                is_whole = false;
            } else if frame.proves.is_some() && !is_lost {
                is_whole = true;
            }
            if frame.is_record {
                if is_whole { &mut left.records } else { &mut *gone }.insert(frame.seq);
            }
        }
    }
    left.deleted = truth.deleted_for_good().filter(|seq| !gone.contains(seq)).collect();
    left
}

/// What the files hold: records, which of them are deleted, and which numbers are said to be gone.
fn survey(image: &Image, mut each: impl FnMut(u64, &[u8], bool) -> Result<(), String>) -> Result<Left, String> {
    let names = Names::new("");
    let firsts = firsts(&MemoryDisk::of(image), &names).unwrap();
    let mut left = Left { deleted: deleted(image), ..Left::default() };
    let (mut seq, mut before) = (firsts.first().copied().unwrap_or(0), None);
    for &first in &firsts {
        let content = &image.0[&names.log(first)];
        let header = Header::decode(content).map_err(|unfit| format!("file {first}: {unfit:?}"))?;
        if let Some(before) = before {
            if (before..header.gap_from()).all(|seq| left.deleted.contains(&seq)) {
                seq = header.gap_from();
            }
            if header.previous != before || header.gap_from() != seq {
                return Err(format!("{header:?} follows {before}, which ends with {seq}"));
            }
            left.gone.extend(seq..first);
        }
        (seq, before) = (first, Some(first));
        let mut at = BLOCK;
        while let Found::Frame(kind, payload) = decode(content.get(at..).unwrap_or(&[]), header.frame_salt(), seq) {
            at += frame_bytes(payload.len());
            if kind.is_record() {
                each(seq, payload, kind.is_batch())?;
                left.records.insert(seq);
                seq += 1;
            }
        }
    }
    Ok(left)
}

/// Repairs a journal as it is done when it is asked for: after an attempt to open it.
fn mend(image: &Image) -> Result<(Repaired, Vec<Entry>, Image), String> {
    let image = match try_recover(image) {
        Ok(Some(recovered)) => recovered.after,
        Ok(None) => return Err("the journal is gone".to_owned()),
        Err(JournalError::Damaged { .. } | JournalError::FileLost { .. } | JournalError::Control { .. }) => {
            image.clone()
        }
        Err(error) => return Err(format!("opening it said {error}")),
    };
    let (memory, recorder) = (Arc::new(MemoryDisk::of(&image)), Recorder::new(&image));
    let disk = RecordingDisk { inner: Arc::clone(&memory) as _, recorder: Arc::clone(&recorder) };
    let repaired = repair(&disk, &Names::new("")).map_err(|error| format!("repairing: {error}"))?;
    Ok((repaired, recorder.entries(), memory.image()))
}

/// Repairs and recovers, and says what is there.
fn salvage(image: &Image, each: impl FnMut(u64, &[u8], bool) -> Result<(), String>) -> Result<Left, String> {
    let (_, _, image) = mend(image)?;
    let recovered = try_recover(&image).map_err(|error| format!("opening it after a repair: {error}"))?;
    survey(&recovered.ok_or("the journal is gone after a repair")?.after, each)
}

impl Case {
    fn check(&self, image: &Image) -> Result<(), String> {
        let left = salvage(image, |seq, bytes, is_batch| self.truth.check(seq, bytes, is_batch))?;
        self.compare(&left, &self.left.records)
    }

    fn compare(&self, left: &Left, records: &BTreeSet<u64>) -> Result<(), String> {
        // Deleted records may be in the files, or not.
        let is_kept = |seq: &&u64| !self.truth.is_deleted(**seq);
        let missing: Vec<_> = records.difference(&left.records).filter(is_kept).collect();
        let more: Vec<_> = left.records.difference(records).filter(is_kept).collect();
        if !missing.is_empty() || !more.is_empty() {
            return Err(format!("missing: {missing:?}, more than were left: {more:?}"));
        }
        let lost: Vec<_> = left.gone.difference(&self.left.gone).filter(is_kept).collect();
        if !lost.is_empty() {
            return Err(format!("said to be gone, and not so: {lost:?}"));
        }
        let back: Vec<_> = self.left.deleted.difference(&left.deleted).filter(|seq| records.contains(seq)).collect();
        let more: Vec<_> = left.deleted.iter().filter(|&seq| !self.truth.is_deleted(*seq)).collect();
        if !back.is_empty() || !more.is_empty() {
            return Err(format!("not deleted any more: {back:?}; deleted by nobody: {more:?}"));
        }
        Ok(())
    }

    /// Opens the journal without repairing it, if that can be done, goes on, and repairs it only then.
    fn check_used(&self, image: &Image, seed: u64) -> Result<(), String> {
        let mut session = Session::after(image, TIMELY, seed);
        session.is_damaged = true;
        if session.open().is_err() {
            return Ok(());
        }
        let end = session.journal().next_seq();
        session.append(4000);
        session.append(20);
        session.delete(&[end], true);
        session.sync();
        let mut model = Model::of(image);
        let mut added = BTreeMap::new();
        for entry in session.end() {
            model.apply(&entry);
            if let Entry::Note(Note::Append(bytes, _)) = entry {
                added.insert(end + added.len() as u64, bytes);
            }
        }
        let mut found = salvage(&model.newest(), |seq, bytes, is_batch| match added.get(&seq) {
            Some(wanted) if **wanted == *bytes => Ok(()),
            Some(_) => Err(format!("record {seq} is not the one that was added")),
            None => self.truth.check(seq, bytes, is_batch),
        })?;
        if !found.deleted.remove(&end) {
            return Err(format!("record {end} was deleted after a repair that did not end, and is there"));
        }
        let records: BTreeSet<_> = self.left.records.iter().copied().chain(added.into_keys()).collect();
        self.compare(&found, &records).map_err(|wrong| format!("used before it was repaired again: {wrong}"))
    }

    /// Repairs, and holds what is said against what is so. Returns what was done to the disk.
    fn repair(&self) -> Result<Vec<Entry>, String> {
        let (repaired, entries, image) = mend(&self.image)?;
        let said: BTreeSet<_> = repaired.lost.iter().flat_map(|&(from, to)| from..to).collect();
        let is_kept = |seq: &&u64| !self.truth.is_deleted(**seq);
        let is_true = !said.difference(&self.left.gone).any(|seq| is_kept(&seq));
        // That there were more records at the ends is said by the control file only, and, after a crash, by nothing.
        let last = self.left.records.last().copied().unwrap_or(0);
        let first = self.left.records.first().copied().unwrap_or(0);
        let is_known = |seq: &u64| self.is_known || (first..last).contains(seq);
        let unsaid: Vec<_> = self.left.gone.difference(&said).filter(is_kept).filter(|seq| is_known(seq)).collect();
        if !is_true || !unsaid.is_empty() || repaired.made_control == self.has_control {
            return Err(format!("gone: {:?}, said: {repaired:?}", self.left.gone));
        }
        let (again, _, _) = mend(&image)?;
        if again != Repaired::default() {
            return Err(format!("once is not enough: {again:?}"));
        }
        self.check(&self.image)?;
        Ok(entries)
    }

    /// Crashes everywhere in what a repair did.
    fn crash(&self, entries: &[Entry], budget: usize, seen: &mut HashSet<u128>) -> Result<(), String> {
        let start = match try_recover(&self.image) {
            Ok(Some(recovered)) => recovered.after,
            _ => self.image.clone(),
        };
        let (mut model, mut dice) = (Model::of(&start), Dice::new(5));
        for (at, entry) in entries.iter().enumerate() {
            model.apply(entry);
            for image in images(&model, &mut dice, budget) {
                if !seen.insert(image.fingerprint()) {
                    continue;
                }
                let seed = dice.next();
                let mut used = || if dice.one_in(6) { self.check_used(&image, seed) } else { Ok(()) };
                let checked = self.check(&image).and_then(|()| used());
                checked.map_err(|wrong| format!("after {} entries of {}: {wrong}", at + 1, entries.len()))?;
            }
        }
        Ok(())
    }
}

#[test]
fn no_crash_of_a_repair_costs_more_than_the_damage() {
    let (budget, one_in) = if is_long() { (24, 1) } else { (2, 7) };
    let (mut seen, mut wrong, mut count, mut dice) = (HashSet::new(), Vec::new(), 0, Dice::new(1));
    for is_closed in [false, true] {
        let sound = worn(is_closed);
        for damages in damages(&sound.0) {
            if !dice.one_in(one_in) {
                continue;
            }
            let case = Case::new(&sound, is_closed, &damages);
            count += 1;
            let checked = case.repair().and_then(|entries| case.crash(&entries, budget, &mut seen));
            wrong.extend(checked.err().map(|wrong| format!("closed: {is_closed}, {damages:?}: {wrong}")));
        }
    }
    println!("repairs: {} distinct images of {count} damaged journals, {} violations", seen.len(), wrong.len());
    assert!(wrong.is_empty(), "{} violations: {wrong:#?}", wrong.len());
}

/// What comes of a repair that does less than it should.
fn without(damages: impl Fn(&[String]) -> Vec<Damage>, is_omitted: impl Fn(&[Entry], usize) -> bool) -> bool {
    let sound = worn(true);
    let logs: Vec<_> = sound.0.0.keys().filter(|name| name.ends_with(".log")).cloned().collect();
    let case = Case::new(&sound, true, &damages(&logs));
    let entries = case.repair().unwrap();
    let kept: Vec<_> =
        (0..entries.len()).filter(|&at| !is_omitted(&entries, at)).map(|at| entries[at].clone()).collect();
    assert!(kept.len() < entries.len(), "nothing is left out");
    let crashed = case.crash(&kept, 32, &mut HashSet::new());
    println!("{crashed:?}");
    crashed.is_err()
}

/// Whether it is a sync of a file that was made under a name.
fn is_sync_of(entries: &[Entry], at: usize, name: &str) -> bool {
    let is_made = |inode| entries[..at].contains(&Entry::Create(name.to_owned(), inode));
    matches!(entries[at], Entry::Sync(inode) if is_made(inode))
}

#[test]
fn what_a_repair_leaves_out_is_found() {
    let split = |logs: &[String]| vec![Damage::Byte(logs[2].clone(), 4096 + 200)];
    assert!(without(split, |entries, at| is_sync_of(entries, at, "spare.draft")), "the file behind the damage");
    assert!(without(split, |entries, at| is_sync_of(entries, at, "del.draft")), "its deletion marks");
    let is_naming = |entries: &[Entry], at: usize| {
        entries[at] == Entry::SyncNames && matches!(&entries[at - 1], Entry::Rename(from, _) if from == "spare.draft")
    };
    assert!(without(split, is_naming), "its name");
    let lost = |logs: &[String]| vec![Damage::Gone(logs[2].clone())];
    let is_copy = |entries: &[Entry], at: usize| matches!(entries[at], Entry::Write(_, 2048, _));
    assert!(without(lost, is_copy), "the second copy of a header");
}
