//! Files of a journal, or of its front, that are cut, empty, garbage or of another boot: an error that says so, or all
//! that was acknowledged; never a panic, a hang, or records that nobody appended.

use crate::check::Expected;
use crate::common::{is_long, mounted, skip};
use crate::members::{Member, await_progress};
use crate::record::identify;
use crate::tally::{Dice, Page, first_seed, words_of};
use crate::worker::Plan;
use shmlog::{Journal, JournalError, Start};
use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;

/// A journal whose only user was killed, so that its front is there.
struct Left {
    dir: TempDir,
    fronts: TempDir,
    plan: Plan,
    /// With the front, and without.
    expected: [Expected; 2],
}

impl Left {
    fn new(is_front_inside: bool) -> Option<Self> {
        let fronts = mounted("tmpfs").and_then(|place| tempfile::tempdir_in(place).ok())?;
        let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let mut plan = Plan::new(&dir.path().join("journal"), fronts.path());
        if is_front_inside {
            plan.front.clone_from(&plan.dir);
        }
        plan.file_bytes = 64 << 10;
        let page = Page::new(1);
        let mut members = [Member::start(Plan { author: 7, ..plan.clone() }, &page)];
        await_progress(&page, &mut members, 200, "before it is killed");
        members.into_iter().for_each(Member::kill);
        let mut expected = [Expected::default(), Expected::default()];
        for (expected, is_front_lost) in expected.iter_mut().zip([false, true]) {
            expected.take(7, words_of(&page, 0), is_front_lost);
        }
        Some(Self { dir, fronts, plan, expected })
    }

    fn front(&self) -> PathBuf {
        let places = [self.fronts.path(), &self.plan.dir];
        let mut entries = places.iter().flat_map(|place| std::fs::read_dir(place).unwrap());
        entries.find_map(|entry| entry.ok().map(|entry| entry.path()).filter(|path| path.is_dir())).expect("a front")
    }

    /// As it was left.
    fn save(&self) {
        for (place, name) in [(self.plan.dir.as_path(), "saved"), (self.fronts.path(), "saved fronts")] {
            duplicate(place, &self.dir.path().join(name));
        }
    }

    /// Everything as it was left, in the very same files.
    fn restore(&self) {
        for (place, name) in [(self.plan.dir.as_path(), "saved"), (self.fronts.path(), "saved fronts")] {
            let saved = self.dir.path().join(name);
            remove_strangers(place, &saved);
            duplicate(&saved, place);
        }
    }
}

/// Copies what is in a directory over what is in another one, without new inodes for what is there.
fn duplicate(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    assert!(Command::new("cp").arg("-r").arg(from.join(".")).arg(to).status().unwrap().success());
}

fn remove_strangers(place: &Path, saved: &Path) {
    for entry in std::fs::read_dir(place).unwrap().map(|entry| entry.unwrap().path()) {
        let there = saved.join(entry.file_name().unwrap());
        match (entry.is_dir(), there.exists()) {
            (true, true) => remove_strangers(&entry, &there),
            (true, false) => std::fs::remove_dir_all(&entry).unwrap(),
            (false, true) => {}
            (false, false) => std::fs::remove_file(&entry).unwrap(),
        }
    }
}

/// What is done to a file.
fn damage(path: &Path, dice: &mut Dice) -> String {
    let bytes = std::fs::read(path).unwrap();
    let at = dice.index(bytes.len().max(1));
    let (what, damaged) = match dice.roll(7) {
        0 => ("emptied", Vec::new()),
        1 => ("cut", bytes[..at.min(bytes.len())].to_vec()),
        2 => ("zeroed", vec![0; bytes.len()]),
        3 => ("garbage", (0..bytes.len().max(100)).map(|_| dice.word().to_le_bytes()[0]).collect()),
        4 => ("longer", [bytes.as_slice(), &[0xff; 5000]].concat()),
        5 => {
            let mut bytes = bytes;
            let end = (at + 512).min(bytes.len());
            bytes.get_mut(at..end).into_iter().flatten().for_each(|byte| *byte = 0);
            ("a sector zeroed", bytes)
        }
        _ => {
            let mut bytes = bytes;
            // Where most is said.
            let at = if dice.roll(2) == 0 { at % 512 } else { at };
            bytes.get_mut(at..at + 1).into_iter().flatten().for_each(|byte| *byte ^= 1 << dice.roll(8));
            ("a bit flipped", bytes)
        }
    };
    std::fs::write(path, damaged).unwrap();
    format!("{}, {what} ({at})", path.file_name().unwrap().display())
}

/// All that can be read is what was appended, unless its bytes were changed in memory. Returns how much, and the error
/// at the end of it.
fn read(journal: &Journal, is_memory_changed: bool) -> (u64, Option<JournalError>) {
    let mut reader = journal.reader(Start::First).unwrap();
    let mut seq = 0;
    loop {
        match reader.try_next() {
            Ok(Some(record)) => {
                assert_eq!(record.seq(), seq);
                assert!(is_memory_changed || identify(&record) == (7, seq));
                seq += 1;
            }
            Ok(None) => return (seq, None),
            Err(error) => return (seq, Some(error)),
        }
    }
}

/// Files of the front: what the journal's own files have must be there, or the error says that a front is damaged.
#[test]
fn damaged_fronts_lose_nothing_that_was_durable() {
    for is_inside in [false, true] {
        let Some(left) = Left::new(is_inside) else { return skip("damaged fronts", "no tmpfs") };
        left.save();
        let least = left.expected[1].least();
        for seed in 0..if is_long() { 3000 } else { 60 } {
            let mut dice = Dice::new(first_seed() + seed);
            let front = left.front();
            let name = *dice.pick(&["log", "board", "lock", "state"]);
            let what = damage(&front.join(name), &mut dice);
            let said = format!("seed {seed}, front inside: {is_inside}, {what}");
            if let Ok(journal) = left.plan.builder().thread(false).open(&left.plan.dir) {
                let (count, error) = read(&journal, name == "log");
                assert!(error.is_some() || count >= least, "{said}: {count} of {least}");
            }
            left.restore();
        }
    }
}

/// Any part of what says where the records of the front are, zeroed: before the journal is opened, and while it is. The end
/// came at the first record missing in memory once, though it was in the files.
#[test]
fn a_front_that_lacks_a_sector_ends_no_earlier() {
    const SECTOR: usize = 512;
    let Some(left) = Left::new(false) else { return skip("fronts that lack sectors", "no tmpfs") };
    left.save();
    let least = left.expected[1].least();
    let wipe = |sector: u64| {
        let log = std::fs::File::options().write(true).open(left.front().join("log")).unwrap();
        std::os::unix::fs::FileExt::write_all_at(&log, &[0; SECTOR], sector * SECTOR as u64).unwrap();
    };
    let check = |journal: &Journal, said: &str| {
        let (count, error) = read(journal, true);
        assert!(error.is_some() || count >= least, "{said}: {count} of {least}");
    };
    for sector in 0..48 {
        if let Ok(journal) = left.plan.builder().thread(false).open(&left.plan.dir) {
            wipe(sector);
            check(&journal, &format!("sector {sector}, open"));
        }
        left.restore();
        wipe(sector);
        if let Ok(journal) = left.plan.builder().thread(false).open(&left.plan.dir) {
            check(&journal, &format!("sector {sector}, opened"));
        }
        left.restore();
    }
}

/// Files of the journal.
#[test]
fn damaged_files_are_found_out() {
    let Some(left) = Left::new(false) else { return skip("damaged files", "no tmpfs") };
    left.save();
    let least = left.expected[1].least();
    for seed in 0..if is_long() { 3000 } else { 60 } {
        let mut dice = Dice::new(first_seed() + seed);
        let is_rebooted = dice.roll(2) == 0;
        if is_rebooted {
            std::fs::remove_dir_all(left.front()).unwrap();
        }
        let names = std::fs::read_dir(&left.plan.dir).unwrap().map(|entry| entry.unwrap().path());
        let mut names: Vec<_> = names.filter(|path| path.is_file()).collect();
        names.sort_unstable();
        let path = &names[dice.index(names.len())];
        // What no later flush tells of is lost with the proof that it had been there.
        let last = names.iter().rfind(|name| name.extension().is_some_and(|ending| ending == "log"));
        let is_proven = !is_rebooted || Some(path) != last;
        let what = damage(path, &mut dice);
        let said = format!("seed {seed}, rebooted: {is_rebooted}, {what}");
        if let Ok(journal) = left.plan.builder().thread(false).open(&left.plan.dir) {
            let (count, error) = read(&journal, false);
            assert!(error.is_some() || count >= least || !is_proven, "{said}: {count} of {least}");
            drop(journal);
        }
        left.restore();
    }
}

/// The machine was started anew, but the front is there: on a disk, or kept by a container.
#[test]
fn a_front_of_another_boot_is_none() {
    /// Where the boot's identity is in the words beside the front.
    const BOOT: u64 = 56;
    for is_inside in [false, true] {
        let Some(mut left) = Left::new(is_inside) else { return skip("other boots", "no tmpfs") };
        let front = left.front();
        let state = std::fs::File::options().write(true).open(front.join("state")).unwrap();
        std::os::unix::fs::FileExt::write_all_at(&state, &[7; 16], BOOT).unwrap();
        let journal = left.plan.builder().open(&left.plan.dir).unwrap();
        let recovery = journal.recovery().expect("the files are read").clone();
        assert!(!recovery.was_closed && recovery.kept >= left.expected[1].least(), "{recovery:?}");
        drop(journal);
        left.expected[1].check(&left.plan);
        assert!(is_inside || !front.exists(), "it is removed");
    }
}
