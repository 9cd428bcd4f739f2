//! What must be true of whatever a crash has left.

use super::memory_disk::{Image, MemoryDisk};
use super::recording::{Entry, Note, Recorder, RecordingDisk};
use crate::error::JournalError;
use crate::journal::Recovery;
use crate::journal::cursors::CursorTable;
use crate::journal::files::control_file::{read_control, write_control};
use crate::journal::files::firsts;
use crate::journal::files::names::Names;
use crate::journal::format::BLOCK;
use crate::journal::format::control::{Control, Place};
use crate::journal::format::frame::{Found, FrameKind, Mark, decode, frame_bytes};
use crate::journal::format::header::Header;
use crate::journal::opening::look::look;
use crate::journal::opening::recover::recover;
use crate::journal::state::Progress;
use crate::sys::untouched::Untouched;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// A cursor: where it is, from where to where it may be after a crash, and whether it may be missing.
#[derive(Clone, Copy, Debug)]
struct Reach {
    now: Option<u64>,
    low: u64,
    high: u64,
    may_lack: bool,
}

impl Reach {
    fn at(at: u64) -> Self {
        Self { now: Some(at), low: at, high: at, may_lack: false }
    }

    fn set(&mut self, at: u64) {
        // One that was just made begins at the oldest record.
        let from = self.now.map_or(0, |_| self.low);
        *self = Self { now: Some(at), low: from.min(at), high: self.high.max(at), ..*self };
    }
}

/// How far the deletion of a record has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Deletion {
    Tried,
    Done,
    Acked,
}

/// What was appended and what was said of it.
#[derive(Clone, Debug, Default)]
pub(super) struct Truth {
    records: Vec<(Arc<[u8]>, bool)>,
    /// Records below this one are acknowledged.
    pub(super) acked: u64,
    /// Records below this one are given up for good.
    oldest: u64,
    cursors: BTreeMap<String, Reach>,
    deleted: BTreeMap<u64, Deletion>,
    /// The journal is there for good.
    is_opened: bool,
}

impl Truth {
    pub(super) fn apply(&mut self, note: &Note) {
        match note {
            Note::Opening => {}
            Note::Opened => self.is_opened = true,
            Note::Append(bytes, is_batch) => self.records.push((Arc::clone(bytes), *is_batch)),
            Note::Acked(end) => self.acked = *end,
            Note::Kept(kept, more) => {
                self.records.truncate(usize::try_from(kept + more).unwrap());
                self.acked = *kept;
                self.deleted.retain(|seq, _| seq < kept);
            }
            Note::Oldest(oldest) => self.oldest = *oldest,
            Note::Delete(seqs) => {
                for seq in seqs {
                    self.deleted.entry(*seq).or_insert(Deletion::Tried);
                }
            }
            Note::Deleted(seqs) => {
                for seq in seqs {
                    self.deleted.entry(*seq).and_modify(|deletion| *deletion = Deletion::Done.max(*deletion));
                }
            }
            Note::DeletesAcked => {
                let done = self.deleted.values_mut().filter(|deletion| **deletion == Deletion::Done);
                done.for_each(|deletion| *deletion = Deletion::Acked);
            }
            Note::DeletesKept(seqs) => self.deleted = seqs.iter().map(|&seq| (seq, Deletion::Acked)).collect(),
            Note::There(end) => self.records.truncate(usize::try_from(*end).unwrap()),
            Note::Cursor(name, at) => {
                let fresh = Reach { now: None, low: 0, high: 0, may_lack: true };
                self.cursors.entry(name.clone()).or_insert(fresh).set(*at);
            }
            Note::CursorGone(name) => {
                let gone = |reach: &mut Reach| (reach.now, reach.may_lack) = (None, true);
                self.cursors.entry(name.clone()).and_modify(gone);
            }
            Note::CursorsAcked => {
                self.cursors.retain(|_, reach| reach.now.is_some());
                self.cursors.values_mut().for_each(|reach| *reach = Reach::at(reach.now.unwrap_or(0)));
            }
            Note::CursorsKept(cursors) => {
                self.cursors = cursors.iter().map(|(name, at)| (name.clone(), Reach::at(*at))).collect();
            }
        }
    }

    /// Records that are deleted, come what may.
    pub(super) fn deleted_for_good(&self) -> impl Iterator<Item = u64> {
        self.deleted.iter().filter(|&(_, &it)| it == Deletion::Acked).map(|(&seq, _)| seq)
    }

    /// Whether somebody deleted a record, or tried to.
    pub(super) fn is_deleted(&self, seq: u64) -> bool {
        self.deleted.contains_key(&seq)
    }

    pub(super) fn check(&self, seq: u64, bytes: &[u8], is_batch: bool) -> Result<(), String> {
        match self.records.get(usize::try_from(seq).unwrap()) {
            None => Err(format!("record {seq} was never appended")),
            Some((wanted, batch)) if **wanted == *bytes && *batch == is_batch => Ok(()),
            Some((wanted, _)) => {
                Err(format!("record {seq} has {} bytes, not the {} appended", bytes.len(), wanted.len()))
            }
        }
    }

    /// Of the records from `oldest` to `end` all that were deleted for good are, and none that nobody deleted.
    pub(super) fn check_deleted(&self, found: &BTreeSet<u64>, oldest: u64, end: u64) -> Result<(), String> {
        let is_there = |seq: &u64| (oldest..end).contains(seq);
        let lost =
            self.deleted.iter().find(|&(seq, &it)| it == Deletion::Acked && is_there(seq) && !found.contains(seq));
        if let Some((seq, _)) = lost {
            return Err(format!("record {seq} was deleted for good, and is there"));
        }
        match found.iter().find(|&seq| is_there(seq) && !self.deleted.contains_key(seq)) {
            Some(seq) => Err(format!("record {seq} is not there, though nobody deleted it")),
            None => Ok(()),
        }
    }

    /// No cursor is behind what was acknowledged of it, or ahead of where it was set or of the records.
    fn check_cursors(&self, cursors: &CursorTable, kept: u64) -> Result<(), String> {
        let found: BTreeMap<_, _> = cursors.cursors.iter().map(|(name, at)| (name, *at)).collect();
        for (name, reach) in &self.cursors {
            match found.get(name) {
                None if reach.may_lack => {}
                Some(&at) if (reach.low..=reach.high).contains(&at) && at <= kept => {}
                at => return Err(format!("cursor {name} is at {at:?}; {reach:?}, {kept} records are kept")),
            }
        }
        let is_known = found.keys().all(|&name| self.cursors.contains_key(name));
        if is_known { Ok(()) } else { Err(format!("a cursor was made up: {found:?}")) }
    }
}

/// A journal that was recovered from an image.
pub(super) struct Recovered {
    pub(super) after: Image,
    pub(super) recovery: Recovery,
    pub(super) cursors: CursorTable,
    /// Records that are marked as deleted.
    pub(super) deleted: BTreeSet<u64>,
    /// What recovery did to the disk.
    pub(super) entries: Vec<Entry>,
    place: Place,
    oldest: u64,
}

/// Recovers the journal in an image, as opening does. `None`: there is no journal.
fn recover_image(image: &Image) -> Result<Option<Recovered>, String> {
    try_recover(image).map_err(|error| format!("{error}"))
}

pub(super) fn try_recover(image: &Image) -> Result<Option<Recovered>, JournalError> {
    let (memory, names) = (Arc::new(MemoryDisk::of(image)), Names::new(""));
    let recorder = Recorder::new(image);
    let disk = RecordingDisk { inner: Arc::clone(&memory) as _, recorder: Arc::clone(&recorder) };
    let Some((control, turn)) = read_control(&disk, &names)? else { return Ok(None) };
    let seen = look(&Untouched(memory.clone()), &names, &control);
    let recovered = recover(&disk, &names, &control);
    let is_same = check_seen(&seen, &recovered);
    is_same.map_err(|what| JournalError::os("looking at", "an image", std::io::Error::other(what)))?;
    let (place, recovery, cursors) = recovered?;
    let (generation, durable, oldest) = (control.generation + 1, recovery.kept, control.oldest);
    let control = Control { generation, durable, closed: None, cursors: None, front: None, ..control };
    write_control(&disk, &names, &control, turn + 1)?;
    let (after, entries) = (memory.image(), recorder.entries());
    let deleted = deleted(&after);
    Ok(Some(Recovered { after, recovery, cursors, deleted, entries, place, oldest }))
}

/// Who opens the journal for reading only sees what recovery then finds.
fn check_seen(
    seen: &Result<(Progress, Recovery, CursorTable), JournalError>,
    recovered: &Result<(Place, Recovery, CursorTable), JournalError>,
) -> Result<(), String> {
    let said = |error: &JournalError| format!("{error}");
    let seen = seen.as_ref().map(|(progress, found, cursors)| (progress.written.seq, found.durable, cursors));
    let recovered = recovered.as_ref().map(|(place, found, cursors)| (place.seq, found.durable, cursors));
    let (seen, recovered) = (seen.map_err(said), recovered.map_err(said));
    if seen == recovered { Ok(()) } else { Err(format!("before recovery {seen:?} is seen, after it {recovered:?}")) }
}

/// The records of an image that are marked as deleted.
pub(super) fn deleted(image: &Image) -> BTreeSet<u64> {
    let names = Names::new("");
    let firsts = firsts(&MemoryDisk::of(image), &names).unwrap();
    let mut deleted = BTreeSet::new();
    for first in firsts {
        let Some(marks) = image.0.get(&names.marks(first)) else { continue };
        let Ok(header) = Header::decode(&image.0[&names.log(first)]) else { continue };
        let mut at = 0;
        while let Found::Frame(kind, payload) = decode(&marks[at..], header.frame_salt(), first) {
            assert_eq!(kind, FrameKind::Deletes);
            at += frame_bytes(payload.len());
            let (proof, indices) = payload.split_first_chunk::<8>().unwrap();
            assert!(u64::from_le_bytes(*proof) <= (at - frame_bytes(payload.len())) as u64);
            deleted
                .extend(indices.as_chunks::<4>().0.iter().map(|index| first + u64::from(u32::from_le_bytes(*index))));
        }
    }
    deleted
}

/// Walks all frames from the file of record `from` on, by a reading of the format that is not the journal's own, and gives
/// each record to `each`. Returns the numbers of the first one and of the one after the last that is as it should be, and
/// what is wrong there.
pub(super) fn walk(
    image: &Image,
    from: u64,
    mut each: impl FnMut(u64, &[u8], bool) -> Result<(), String>,
) -> (u64, u64, Option<String>) {
    let names = Names::new("");
    let firsts = firsts(&MemoryDisk::of(image), &names).unwrap();
    // Files before that were given up, and may be there or not.
    let firsts = &firsts[firsts.iter().rposition(|&first| first <= from).unwrap_or(0)..];
    let oldest = firsts.first().copied().unwrap_or(0);
    let (mut seq, mut previous) = (oldest, None);
    let deleted = deleted(image);
    for (index, &first) in firsts.iter().enumerate() {
        let content = &image.0[&names.log(first)];
        let header = match Header::decode(content) {
            Ok(header) if header.first == seq && first == seq && previous.is_none_or(|it| it == header.previous) => {
                header
            }
            other => return (oldest, seq, Some(format!("file {first} after {previous:?} begins with {other:?}"))),
        };
        previous = Some(first);
        let (mut at, salt) = (BLOCK, header.frame_salt());
        while let Found::Frame(kind, payload) = decode(content.get(at..).unwrap_or(&[]), salt, seq) {
            at += frame_bytes(payload.len());
            let checked = match kind {
                FrameKind::Record | FrameKind::Batch => each(seq, payload, kind.is_batch()),
                FrameKind::Mark => match Mark::decode(payload) {
                    Some(mark) if mark.seq == seq && mark.durable <= seq => Ok(()),
                    mark => Err(format!("{mark:?} before {seq}")),
                },
                FrameKind::Deletes => Err("marks of deletion among records".to_owned()),
                FrameKind::Cursors => match CursorTable::decode(payload).farthest() {
                    at if at <= seq => Ok(()),
                    at => Err(format!("a cursor at {at} before {seq}")),
                },
            };
            if let Err(wrong) = checked {
                return (oldest, seq, Some(wrong));
            }
            seq += u64::from(kind.is_record());
        }
        // A file all of whose records are deleted may be empty, or half so.
        if let Some(&next) = firsts.get(index + 1)
            && (first..next).all(|seq| deleted.contains(&seq))
        {
            seq = next;
        }
        if firsts.get(index + 1).is_some_and(|&next| next != seq) {
            return (oldest, seq, Some(format!("file {first} ends with {seq}")));
        }
    }
    (oldest, seq, None)
}

/// How far the records are on a disk for sure that may hold `least` and more.
pub(super) fn proven(least: &Image) -> u64 {
    let control = read_control(&MemoryDisk::of(least), &Names::new(""));
    let oldest = control.ok().flatten().map_or(0, |(control, _)| control.oldest);
    walk(least, oldest, |_, _, _| Ok(())).1
}

/// Recovers an image and checks all that was promised. `None`: there is no journal yet, which is fine.
pub(super) fn check(image: &Image, truth: &Truth, proven: u64) -> Result<Option<Recovered>, String> {
    let Some(recovered) = recover_image(image)? else {
        return if truth.is_opened { Err("the journal is gone".to_owned()) } else { Ok(None) };
    };
    let Recovery { durable, kept, .. } = recovered.recovery;
    let oldest = recovered.oldest;
    let (first, end, wrong) = walk(&recovered.after, oldest, |seq, bytes, is_batch| truth.check(seq, bytes, is_batch));
    if let Some(wrong) = wrong {
        return Err(wrong);
    }
    let is_empty = first == end;
    if recovered.place.seq != kept || !(end == kept || is_empty && oldest == kept) || first > oldest {
        return Err(format!("{first} to {end} are there, {kept} were kept; the next is {}", recovered.place.seq));
    }
    if kept < truth.acked {
        return Err(format!("{} records were acknowledged, {kept} are kept", truth.acked));
    }
    if durable > kept || durable > proven.max(oldest) {
        return Err(format!("said to be durable: {durable}; kept: {kept}, on the disk for sure: {proven}"));
    }
    if oldest < truth.oldest || oldest > proven.max(truth.oldest) {
        return Err(format!("the oldest is {oldest}; {} was said, {proven} are on the disk for sure", truth.oldest));
    }
    truth.check_deleted(&recovered.deleted, oldest, u64::MAX)?;
    truth.check_cursors(&recovered.cursors, kept)?;
    check_again(&recovered, truth)?;
    Ok(Some(recovered))
}

/// Recovering once more finds the same.
fn check_again(recovered: &Recovered, truth: &Truth) -> Result<(), String> {
    let again = recover_image(&recovered.after)?.ok_or("the journal is gone")?;
    let (before, after) = (&recovered.recovery, &again.recovery);
    if (after.kept, after.durable) != (before.kept, before.kept) {
        return Err(format!("recovered again: {after:?} after {before:?}"));
    }
    if again.deleted != recovered.deleted {
        return Err(format!("deleted after a second recovery: {:?} after {:?}", again.deleted, recovered.deleted));
    }
    if again.cursors != recovered.cursors {
        return Err(format!("cursors of a second recovery: {:?} after {:?}", again.cursors, recovered.cursors));
    }
    let walked =
        |image: &Image| walk(image, recovered.oldest, |seq, bytes, is_batch| truth.check(seq, bytes, is_batch));
    if walked(&again.after) != walked(&recovered.after) {
        return Err("recovering again changed the records".to_owned());
    }
    Ok(())
}

/// A frame of a file: where it stands, the record in it or the next one, and how far it proves that records are durable.
pub(super) struct Standing {
    pub(super) offset: usize,
    pub(super) end: usize,
    pub(super) seq: u64,
    pub(super) is_record: bool,
    pub(super) proves: Option<u64>,
}

/// All frames of a file of records.
pub(super) fn frames(content: &[u8]) -> Vec<Standing> {
    let header = Header::decode(content).unwrap();
    let (mut offset, mut seq, mut frames) = (BLOCK, header.first, Vec::new());
    while let Found::Frame(kind, payload) = decode(content.get(offset..).unwrap_or(&[]), header.frame_salt(), seq) {
        let end = offset + frame_bytes(payload.len());
        let proves = (kind == FrameKind::Mark).then(|| Mark::decode(payload).unwrap().durable);
        frames.push(Standing { offset, end, seq, is_record: kind.is_record(), proves });
        offset = end;
        seq += u64::from(kind.is_record());
    }
    frames
}

/// The frames of a file of deletion marks: where they begin and end. And so many bytes had been durable, as they say.
pub(super) fn mark_frames(image: &Image, name: &str) -> (Vec<(usize, usize)>, u64) {
    let (names, content) = (Names::new(""), &image.0[name]);
    let first = names.marks_of(name).unwrap();
    let header = Header::decode(&image.0[&names.log(first)]).unwrap();
    let (mut at, mut frames, mut durable) = (0, Vec::new(), 0);
    while let Found::Frame(FrameKind::Deletes, payload) = decode(&content[at..], header.frame_salt(), first) {
        let end = at + frame_bytes(payload.len());
        durable = durable.max(u64::from_le_bytes(*payload.first_chunk().unwrap()));
        frames.push((at, end));
        at = end;
    }
    assert_eq!(at, content.len());
    (frames, durable)
}
