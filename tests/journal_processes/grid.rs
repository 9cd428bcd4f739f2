//! LogDB's stress grid: processes times threads, each of which appends durably; every number must be there, once.

use crate::check::Expected;
use crate::common::{PATIENCE, is_long, mounted, skip, succeed};
use crate::tally::{Page, words_of};
use crate::worker::Plan;
use std::io::{Read, Write};
use std::path::Path;
use std::time::Instant;

const GRID: [(usize, usize); 4] = [(1, 1), (1, 5), (5, 1), (5, 5)];

#[test]
fn every_number_is_there_on_a_disk() {
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    grid("disk", dir.path(), 1000);
}

#[test]
fn every_number_is_there_on_tmpfs() {
    let Some(place) = mounted("tmpfs") else { return skip("the grid on tmpfs", "none is mounted") };
    let dir = tempfile::tempdir_in(place).unwrap();
    // So many that making the first file does not count.
    grid("tmpfs", dir.path(), 20_000);
}

/// `many`: appends of each thread, in the long version.
fn grid(what: &str, dir: &Path, many: u64) {
    let count = if is_long() { many } else { 40 };
    let fronts = tempfile::tempdir_in(mounted("tmpfs").as_deref().unwrap_or(dir)).unwrap();
    for (processes, threads) in GRID {
        let mut plan = Plan::new(&dir.join(format!("{processes}x{threads}")), fronts.path());
        (plan.threads, plan.count) = (threads, count);
        (plan.file_bytes, plan.windows, plan.window_bytes) = (4 << 20, 4, 1 << 20);
        let rate = run(&plan, processes);
        println!("{what} {processes}x{threads}: {count} each, {rate:.0} durable appends/s");
    }
    assert_eq!(std::fs::read_dir(fronts.path()).unwrap().count(), 0, "closed journals have no fronts");
}

/// Returns durable appends a second, from the first to the last.
fn run(plan: &Plan, processes: usize) -> f64 {
    let page = Page::new(processes * plan.threads);
    let plans: Vec<_> = (0..processes)
        .map(|process| Plan { author: (process as u64 + 1) << 8, slot: process * plan.threads, ..plan.clone() })
        .collect();
    let mut workers: Vec<_> = plans.iter().map(|plan| plan.start(&page)).collect();
    let mut byte = [0];
    for (_, socket) in &mut workers {
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        socket.read_exact(&mut byte).expect("it has the journal open");
    }
    let started = Instant::now();
    workers.iter_mut().for_each(|(_, socket)| socket.write_all(b"g").unwrap());
    for (_, socket) in &mut workers {
        socket.read_exact(&mut byte).expect("it has appended all");
    }
    let took = started.elapsed();
    workers.into_iter().for_each(|(child, _)| succeed(child));
    let mut expected = Expected::default();
    for plan in &plans {
        for thread in 0..plan.threads {
            expected.take(plan.author + thread as u64, words_of(&page, plan.slot + thread), true);
        }
    }
    let all = (processes * plan.threads) as u64 * plan.count;
    assert_eq!(expected.least(), all);
    expected.check(plan);
    all as f64 / took.as_secs_f64()
}
