//! File systems that are shut down without their logs being written, as if the power had failed: what was acknowledged
//! as durable is there when they are mounted again.
//!
//! Unlike after a power failure, processes go on. What they are told then is not true of a file whose blocks had not been
//! written before, as those that `Flush::Never` prepares: seen with ext4 of Linux 6.18, which writes the blocks, can't
//! note any more that they are written, and lets fdatasync return 0. So where there may be such files, what was
//! acknowledged before the failure counts; else, all that ever was.
#![allow(unsafe_code, reason = "an ioctl")]

use crate::alone::alone;
use crate::check::Expected;
use crate::common::{is_long, is_root, mounted, skip};
use crate::members::{Member, await_progress, linger};
use crate::mounting::{have_own_mounts, run};
use crate::tally::{Dice, Page, first_seed, words_of};
use crate::worker::{DURABLE, PLACE, Plan};
use rustix::ioctl::{Setter, ioctl, opcode};
use std::fs::File;
use std::path::Path;
use std::sync::atomic::Ordering::Relaxed;

#[test]
fn what_was_durable_survives_a_power_failure() {
    if !is_root() {
        return skip("power failures", "only root can mount file systems");
    }
    alone("file systems");
}

/// As few as xfs takes.
const IMAGE_BYTES: u64 = 320 << 20;
/// After so many failures another journal is taken.
const FAILURES_OF_ONE: u64 = 5;
const PROCESSES: usize = 3;
const THREADS: usize = 3;

pub fn role() {
    if !have_own_mounts("power failures") {
        return;
    }
    let Some(fronts) = mounted("tmpfs") else { return skip("power failures", "no tmpfs is mounted for fronts") };
    let fronts = tempfile::tempdir_in(fronts).unwrap();
    let failures = if is_long() { 200 } else { 10 };
    for (kind, make) in [("ext4", ["mkfs.ext4", "-q"]), ("xfs", ["mkfs.xfs", "-q"])] {
        let scratch = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let (image, at) = (scratch.path().join("image"), scratch.path().join("mounted"));
        File::create_new(&image).unwrap().set_len(IMAGE_BYTES).unwrap();
        std::fs::create_dir(&at).unwrap();
        let image = image.to_str().unwrap();
        if !run(make[0], &[make[1], image]) || !mount(kind, image, &at) {
            skip("power failures", kind);
            continue;
        }
        let mut expected = Expected::default();
        for failure in 0..failures {
            if failure % FAILURES_OF_ONE == 0 {
                expected = Expected::default();
            }
            // Whatever the front is on, a journal is not to depend on it.
            let mut plan = Plan::new(&at.join((failure / FAILURES_OF_ONE).to_string()), fronts.path());
            if failure / FAILURES_OF_ONE % 2 == 1 {
                plan.front.clone_from(&plan.dir);
            }
            let is_mixed = failure / FAILURES_OF_ONE % 4 < 2;
            fail_once(&plan, &at, first_seed() + failure, is_mixed, &mut expected);
            assert!(run("umount", &[at.to_str().unwrap()]) && mount(kind, image, &at), "{kind}");
            lose_fronts(fronts.path());
            expected.check(&plan);
        }
        assert!(run("umount", &[at.to_str().unwrap()]));
    }
}

fn mount(kind: &str, image: &str, at: &Path) -> bool {
    run("mount", &["-t", kind, "-o", "loop", image, at.to_str().unwrap()])
}

/// Removes what the power failure would have.
fn lose_fronts(fronts: &Path) {
    for front in std::fs::read_dir(fronts).unwrap() {
        std::fs::remove_dir_all(front.unwrap().path()).unwrap();
    }
}

/// `is_mixed`: processes have it open that never sync by themselves, too.
fn fail_once(plan: &Plan, at: &Path, seed: u64, is_mixed: bool, expected: &mut Expected) {
    let mut dice = Dice::new(seed);
    let page = Page::new(PROCESSES * THREADS);
    let start = |process: usize, dice: &mut Dice| {
        let slot = process * THREADS;
        let flush_ms = if is_mixed { dice.roll(4) } else { 1 + dice.roll(3) };
        let (author, has_thread) = (seed << 16 | slot as u64, dice.roll(3) > 0);
        let plan = Plan { threads: 1 + dice.index(THREADS), slot, author, flush_ms, has_thread, ..plan.clone() };
        Member::start(Plan { may_fail: true, ..plan }, &page)
    };
    let mut members: Vec<_> = (0..1 + dice.index(PROCESSES)).map(|process| start(process, &mut dice)).collect();
    await_progress(&page, &mut members, 1 + dice.roll(20), "before the failure");
    linger(&page, dice.roll(20_000));
    let acknowledged =
        || (0..PROCESSES * THREADS).flat_map(|slot| [DURABLE, PLACE].map(|at| &words_of(&page, slot)[at]));
    let before: Vec<_> = acknowledged().map(|word| word.load(Relaxed)).collect();
    shut_down(at);
    let plans: Vec<_> = members.iter().map(|member| member.plan.clone()).collect();
    members.into_iter().for_each(Member::kill);
    if is_mixed {
        acknowledged().zip(before).for_each(|(word, before)| word.store(before, Relaxed));
    }
    for plan in plans {
        for thread in 0..plan.threads {
            expected.take(plan.author + thread as u64, words_of(&page, plan.slot + thread), true);
        }
    }
}

/// Nothing reaches the device any more, not even what the file system's log has of it.
fn shut_down(at: &Path) {
    /// FS_IOC_SHUTDOWN, formerly XFS_IOC_GOINGDOWN.
    const SHUTDOWN: rustix::ioctl::Opcode = opcode::read::<u32>(b'X', 125);
    const NO_LOG_FLUSH: u32 = 2;
    let root = File::open(at).unwrap();
    // SAFETY: the kernel reads one u32 by this call.
    let call = unsafe { Setter::<SHUTDOWN, u32>::new(NO_LOG_FLUSH) };
    // SAFETY: as above.
    unsafe { ioctl(&root, call) }.expect("shutting the file system down");
}
