//! Mistakes made on purpose: each must be found, or it is said here why it does no harm.
//!
//! A sync that is left out of a record is one that the journal does not call. What a record can't show has a switch,
//! asked by the journal in tests only.

use super::explore::Effort;
use super::recording::{Entry, InodeId, Note};
use super::runs::{TIMELY, crash, is_long, record};
use super::scripts::SCRIPTS;
use super::workload::Session;
use crate::journal::settings::Flush;
use std::cell::Cell;
use std::sync::atomic::Ordering::Relaxed;

/// A mistake that is in the journal's own code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mistake {
    /// All files have the same salt.
    Salt,
    /// Checksums are not looked at.
    Checksum,
    /// Cursors are written as they are, before the records they are at.
    CursorFirst,
    /// Deletion marks say that those before them are durable, which may not be.
    Proof,
    /// Cursors that a dead process wrote are taken for written.
    DeadCursors,
    /// A record is where its index says, whichever it is.
    Index,
    /// What a dead process was about to make durable is not written again.
    DeadSync,
}

thread_local! {
    static MADE: Cell<Option<Mistake>> = const { Cell::new(None) };
}

/// Whether this thread makes a mistake.
pub(crate) fn is_made(mistake: Mistake) -> bool {
    MADE.get() == Some(mistake)
}

const EFFORT: Effort =
    Effort { images: 16, recovery_one_in: 4, resume_one_in: 25, real_one_in: 0, has_leftovers: false, enough: 1 };

/// A recorded workload, where names are known.
struct Scene {
    entries: Vec<Entry>,
}

impl Scene {
    fn name(&self, index: usize, inode: InodeId) -> &str {
        let mut found = "";
        let mut names = std::collections::BTreeMap::new();
        for entry in &self.entries[..index] {
            match entry {
                Entry::Create(name, inode) => drop(names.insert(name.as_str(), *inode)),
                Entry::Rename(from, to) => {
                    let inode = names.remove(from.as_str()).unwrap();
                    names.insert(to, inode);
                }
                Entry::Remove(name) => drop(names.remove(name.as_str())),
                _ => {}
            }
        }
        for (name, at) in names {
            if at == inode {
                found = name;
            }
        }
        found
    }

    fn is_recovery(&self, index: usize) -> bool {
        let notes = self.entries[..index].iter().rev();
        let mut opening = notes.filter_map(|entry| match entry {
            Entry::Note(Note::Opening) => Some(true),
            Entry::Note(Note::Opened) => Some(false),
            _ => None,
        });
        opening.next() == Some(true)
    }

    fn is_told(&self, index: usize) -> bool {
        matches!(self.entries.get(index + 1), Some(Entry::Note(Note::Acked(_) | Note::CursorsAcked)))
    }

    /// Whether it is a sync of a file whose name ends so.
    fn is_sync_of(&self, index: usize, end: &str) -> bool {
        matches!(&self.entries[index], Entry::Sync(inode) if self.name(index, *inode).ends_with(end))
    }

    /// Whether it is a sync of the directory after a file got a name that ends so.
    fn is_naming(&self, index: usize, end: &str) -> bool {
        let before = index.checked_sub(1).map(|before| &self.entries[before]);
        self.entries[index] == Entry::SyncNames
            && matches!(before, Some(Entry::Rename(_, to)) if to.ends_with(end) || to.contains(end))
    }

    fn without(&self, is_omitted: impl Fn(&Self, usize) -> bool) -> Vec<Entry> {
        let kept = (0..self.entries.len()).filter(|&index| !is_omitted(self, index));
        let entries: Vec<_> = kept.map(|index| self.entries[index].clone()).collect();
        assert!(entries.len() < self.entries.len(), "nothing is left out");
        entries
    }
}

fn script(name: &str) -> (Flush, fn(&mut Session)) {
    let (_, flush, steps) = SCRIPTS.into_iter().find(|script| script.0 == name).unwrap();
    (flush, steps)
}

/// How many crash images of a workload break a promise when `change` was made to what it did.
fn violations(name: &str, effort: Effort, change: impl Fn(Scene) -> Vec<Entry>) -> Vec<String> {
    let (flush, steps) = script(name);
    let found = (1..3).find_map(|seed| {
        let entries = change(Scene { entries: record(flush, seed, steps) });
        let tally = crash(name, flush, seed, &entries, effort);
        (!tally.violations.is_empty()).then_some(tally.violations)
    });
    let found = found.unwrap_or_default();
    println!("{name}: {found:?}");
    found
}

fn is_found(name: &str, is_omitted: impl Fn(&Scene, usize) -> bool) -> bool {
    !violations(name, EFFORT, |scene| scene.without(&is_omitted)).is_empty()
}

#[test]
fn a_sync_of_records_left_out_is_found() {
    assert!(is_found("singles", |scene, at| scene.is_sync_of(at, ".log") && scene.is_told(at)), "before acknowledging");
    let is_roll = |scene: &Scene, at| scene.is_sync_of(at, ".log") && !scene.is_told(at);
    assert!(is_found("rolls", is_roll), "before the next file");
    assert!(is_found("unsynced", is_roll), "of all files that were written since");
    let is_recovery = |scene: &Scene, at: usize| scene.is_sync_of(at, ".log") && scene.is_recovery(at);
    assert!(is_found("killed", is_recovery), "of what is kept");
}

#[test]
fn a_sync_of_what_is_beside_the_records_left_out_is_found() {
    assert!(is_found("singles", |scene, at| scene.is_sync_of(at, "spare")), "of a header");
    assert!(is_found("singles", |scene, at| scene.is_sync_of(at, "control.draft")), "of a fresh control file");
    assert!(is_found("pruned", |scene, at| scene.is_sync_of(at, "control")), "of the control file");
}

#[test]
fn a_sync_of_the_directory_left_out_is_found() {
    assert!(is_found("singles", |scene, at| scene.is_naming(at, ".log")), "after a file got its name");
    assert!(is_found("singles", |scene, at| scene.is_naming(at, "control")), "after the control file got its name");
    let is_recycling = |scene: &Scene, at: usize| {
        at > 0
            && matches!(&scene.entries[at - 1], Entry::Rename(from, _) if from.ends_with(".log"))
            && scene.is_naming(at, "spare")
    };
    assert!(is_found("pruned", is_recycling), "after a file became a spare");
    let is_removal = |scene: &Scene, at: usize| {
        scene.entries[at] == Entry::SyncNames
            && matches!(&scene.entries[at - 1], Entry::Remove(name) if name.ends_with(".log"))
    };
    assert!(is_found("holed", is_removal), "between two files that go");
}

/// The sync of the spare's zeroes, and that of the directory after it got its name, are there for speed: the header's
/// sync and that after the file's final name are about the same file.
#[test]
fn syncs_of_a_spare_are_not_needed() {
    assert!(!is_found("rolls", |scene, at| scene.is_sync_of(at, "spare.draft")));
    assert!(!is_found("rolls", |scene, at| {
        scene.is_naming(at, "spare")
            && matches!(&scene.entries[at - 1], Entry::Rename(from, _) if from == "spare.draft")
    }));
}

/// The story: a flush that began with a new file synced the old one once more, to which nothing had been written.
#[test]
fn no_file_of_records_is_synced_twice_for_the_same() {
    for name in ["prepared", "retained", "rolls", "pointed"] {
        let (flush, steps) = script(name);
        let scene = Scene { entries: record(flush, 1, steps) };
        let mut clean = std::collections::BTreeSet::new();
        for (at, entry) in scene.entries.iter().enumerate() {
            match entry {
                Entry::Sync(inode) if scene.is_sync_of(at, ".log") && !scene.is_recovery(at) => {
                    assert!(clean.insert(*inode), "{name}, entry {at}");
                }
                Entry::Write(inode, ..) => drop(clean.remove(inode)),
                _ => {}
            }
        }
        assert!(clean.len() > 1, "{name}");
    }
}

#[test]
fn acknowledging_before_the_sync_is_found() {
    let early = |mut scene: Scene| {
        for at in 1..scene.entries.len() {
            let is_ack = matches!(scene.entries[at], Entry::Note(Note::Acked(_)));
            if is_ack && scene.is_sync_of(at - 1, ".log") {
                scene.entries.swap(at - 1, at);
            }
        }
        scene.entries
    };
    assert!(!violations("singles", EFFORT, early).is_empty());
}

#[test]
fn a_control_file_written_in_place_is_found() {
    let in_place = |scene: Scene| {
        let place = |(at, entry): (usize, &Entry)| match entry {
            Entry::Write(inode, 4096, bytes) if scene.name(at, *inode).starts_with("control") => {
                Entry::Write(*inode, 0, bytes.clone())
            }
            entry => entry.clone(),
        };
        scene.entries.iter().enumerate().map(place).collect()
    };
    assert!(!violations("reopened", EFFORT, in_place).is_empty());
}

/// With the switch on, and off again.
pub(super) fn making<T>(mistake: Mistake, run: impl FnOnce() -> T) -> T {
    MADE.set(Some(mistake));
    let done = run();
    MADE.set(None);
    done
}

#[test]
fn the_same_salt_for_all_files_is_found_and_another_one_each_is_enough() {
    let effort = Effort { has_leftovers: true, resume_one_in: 3, ..EFFORT };
    let same = |seed| {
        let entries = record(Flush::Never, seed, alike);
        crash("alike", Flush::Never, seed, &entries, effort).violations
    };
    assert!(making(Mistake::Salt, || (1..9).any(|seed| !same(seed).is_empty())), "records come back that were cut");
    assert_eq!(same(1), Vec::<String>::new());
}

/// Records of one length, so that old frames fit behind new ones.
fn alike(session: &mut Session) {
    for count in 0..12 {
        session.append(1000);
        if count == 3 {
            session.sync();
            session.kill();
            session.open().unwrap();
        }
    }
    session.sync();
}

#[test]
fn checksums_not_looked_at_are_found() {
    assert!(making(Mistake::Checksum, || !violations("groups", EFFORT, |scene| scene.entries).is_empty()));
}

#[test]
fn deletion_marks_said_to_be_durable_too_early_are_found() {
    assert!(making(Mistake::Proof, || !violations("deleted", EFFORT, |scene| scene.entries).is_empty()));
}

#[test]
fn cursors_before_their_records_are_found() {
    assert!(making(Mistake::CursorFirst, || !violations("pointed", EFFORT, |scene| scene.entries).is_empty()));
}

/// A sync fails once; everything is tried again, also by opening anew.
fn failing(session: &mut Session) {
    session.append(100);
    session.sync();
    session.recorder.fail_sync_in.store(2, Relaxed);
    for len in [300, 5000, 20, 40_000, 40_000, 0] {
        session.append(len);
        session.sync();
    }
    session.close();
    session.recorder.fail_sync_in.store(0, Relaxed);
    session.open().unwrap();
    session.append(77);
    session.sync();
}

fn failures(seed: u64, plant: fn(&mut Session)) -> Vec<String> {
    let entries = record(Flush::Never, seed, |session| {
        plant(session);
        failing(session);
    });
    assert!(entries.iter().any(|entry| matches!(entry, Entry::Lose(..))));
    crash("failing", Flush::Never, seed, &entries, Effort { enough: 5, ..EFFORT }).violations
}

#[test]
fn a_failed_sync_is_final_and_believing_a_second_one_is_found() {
    for seed in 1..=if is_long() { 9 } else { 1 } {
        assert_eq!(failures(seed, |_| {}), Vec::<String>::new());
    }
    assert!(!failures(1, |session| session.recorder.is_retrying.store(true, Relaxed)).is_empty(), "told to be durable");
    for seed in 1..=if is_long() { 40 } else { 1 } {
        let some = |session: &mut Session| session.recorder.loss.store(session.dice.next() | 1, Relaxed);
        assert_eq!(failures(seed, some), Vec::<String>::new());
    }
    let retrying = |session: &mut Session| {
        session.recorder.loss.store(5, Relaxed);
        session.recorder.is_retrying.store(true, Relaxed);
    };
    assert!(!failures(1, retrying).is_empty(), "part of it lost, and told to be durable");
    assert!(
        !failures(1, |session| session.recorder.is_caching.store(true, Relaxed)).is_empty(),
        "kept by the cache only"
    );
}

/// The control file can't be made durable once; giving up records is tried again.
fn unruly(session: &mut Session) {
    for count in 0..16 {
        for _ in 0..8 {
            session.append(4000);
        }
        session.sync();
        session.recorder.fail_control_in.store(u32::from(count % 5 == 3), Relaxed);
        let end = session.journal().next_seq();
        session.prune(end.saturating_sub(9));
        if count % 8 == 7 {
            session.close();
            session.open().unwrap();
        }
    }
}

#[test]
fn a_control_file_that_was_not_written_once_is_no_danger_to_the_other_copy() {
    for seed in 1..=if is_long() { 9 } else { 1 } {
        let entries = record(TIMELY, seed, unruly);
        assert!(entries.iter().any(|entry| matches!(entry, Entry::Lose(..))));
        assert_eq!(crash("unruly", TIMELY, seed, &entries, EFFORT).violations, Vec::<String>::new());
    }
}

/// The directory can't be made durable once, somewhere; then everything is tried again.
#[test]
fn a_directory_that_was_not_written_once_is_no_danger() {
    for at in 1..9 {
        let entries = record(TIMELY, 1, |session| {
            session.recorder.fail_names_in.store(at, Relaxed);
            for _ in 0..12 {
                session.append(20_000);
                session.sync();
                session.prepare_ahead();
                if session.is_failed {
                    session.close();
                    session.open().unwrap();
                }
            }
            assert_eq!(session.recorder.fail_names_in.load(Relaxed), 0);
            assert_eq!(session.journal().durable(), session.journal().next_seq());
        });
        let effort = Effort { images: 4, ..EFFORT };
        assert_eq!(crash("names", TIMELY, at.into(), &entries, effort).violations, Vec::<String>::new());
    }
}
