//! The pool of huge pages exhausted, at each page that something takes. The pool is the machine's: who makes it larger
//! here puts it back.

use crate::alone::{Traces, alone};
use crate::common::{free_huge_pages, is_root, skip, start, to_parent};
use crate::mounting::{have_own_mounts, run};
use shmlog::{Access, Arena, Backing, CreateError, HugePageSize, HugePages, Log, LogBuilder, Snapshot};
use std::fs::{read_to_string, write};
use std::path::{Path, PathBuf};

const PAGE: u64 = 2 << 20;
const POOL: &str = "/sys/kernel/mm/hugepages/hugepages-2048kB";
const REQUIRE: HugePages = HugePages::Require(HugePageSize::TwoMiB);
const PREFER: HugePages = HugePages::Prefer(HugePageSize::TwoMiB);

#[test]
fn a_pool_that_is_too_small_is_an_error_or_fallen_back_from() {
    if !is_root() {
        return skip("huge pages", "only root can change the pool");
    }
    let _pool = Pool::of(12);
    if free_huge_pages() < 8 {
        return skip("huge pages", "this machine has no memory for eight");
    }
    alone("huge pages");
}

/// The pool with at least so many pages, as long as this lives.
struct Pool(String);

impl Pool {
    fn of(pages: u64) -> Self {
        let at = Path::new(POOL).join("nr_hugepages");
        let before = read_to_string(&at).unwrap();
        if before.trim().parse::<u64>().unwrap() < pages {
            write(&at, pages.to_string()).unwrap();
        }
        Self(before)
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        write(Path::new(POOL).join("nr_hugepages"), self.0.trim()).unwrap();
    }
}

fn reserved() -> u64 {
    read_to_string(Path::new(POOL).join("resv_hugepages")).unwrap().trim().parse().unwrap()
}

/// Takes all pages of the pool but `left`.
fn leave(left: u64) -> Option<Arena> {
    let taken = free_huge_pages() - left;
    // One page less its head.
    (taken > 0).then(|| Arena::create_on("thief", taken * PAGE - 4096, REQUIRE).unwrap())
}

pub fn role() {
    let before = (free_huge_pages(), reserved());
    let two = || Log::builder().windows(2).window_bytes(1 << 20);
    memfds(&two());
    files(&two());
    received(&two());
    assert_eq!((free_huge_pages(), reserved()), before);
}

/// Makes something that takes `pages` with fewer of them, each of which must be an error that says so, then with all.
fn squeeze<T: std::fmt::Debug>(what: &str, pages: u64, dir: Option<&Path>, make: impl Fn() -> Result<T, CreateError>) {
    for left in 0..pages {
        let _thief = leave(left);
        let before = (Traces::of(dir), free_huge_pages(), reserved());
        match make() {
            // Of the files of a name the second one may be what is short of pages, while the first has its own.
            Err(CreateError::NoHugePages { pages_wanted, pages_free, pages_total, pages_needed, .. }) => {
                assert!(dir.is_some() || (pages_wanted, pages_free) == (pages, left), "{what}");
                assert!(pages_free < pages_wanted && pages_needed == pages_total - pages_free + pages_wanted, "{what}");
            }
            other => panic!("{what} with {left} pages: {other:?}"),
        }
        assert_eq!((Traces::of(dir), free_huge_pages(), reserved()), before, "{what} with {left} pages");
    }
    let _thief = leave(pages);
    let made = make().unwrap_or_else(|error| panic!("{what} with {pages} pages: {error}"));
    assert_eq!(free_huge_pages(), 0, "{what}");
    drop(made);
}

fn memfds(two: &LogBuilder) {
    squeeze("a log", 2, None, || two.clone().huge_pages(REQUIRE).create_memfd("log"));
    let state = Snapshot::builder().capacity_bytes(1 << 20).huge_pages(REQUIRE);
    squeeze("a snapshot", 3, None, || state.create_memfd("state"));
    squeeze("an arena", 1, None, || Arena::create_on("arena", 4096, REQUIRE));
    for left in 0..2 {
        let _thief = leave(left);
        let log = two.clone().huge_pages(PREFER).create_memfd("log").unwrap();
        assert_eq!((log.info().backing, free_huge_pages(), reserved()), (Backing::Memfd, left, 0));
        log.appender().unwrap().append(b"x").unwrap();
    }
    let log = two.clone().huge_pages(PREFER).create_memfd("log").unwrap();
    assert_eq!(log.info().backing, Backing::MemfdHuge { page_bytes: PAGE });
}

/// On a hugetlbfs each file takes whole pages: the log two, the board one, and the lock none.
fn files(two: &LogBuilder) {
    let Some((at, _mounted)) = mount_hugetlbfs() else { return };
    let named = at.join("named");
    let make = |log: Log| Log::remove(&named).map(|()| log).unwrap();
    squeeze("a named log", 3, Some(&at), || two.create_at(&named).map(make));
    let state = Snapshot::builder().capacity_bytes(1 << 20);
    let make = |state: Snapshot| Snapshot::remove(&named).map(|()| state).unwrap();
    squeeze("a named snapshot", 4, Some(&at), || state.create_at(&named).map(make));
    let arena = Arena::create_at(&named, 4096).unwrap();
    drop(arena);
    std::fs::remove_file(&named).unwrap();
}

/// Seen by this child alone.
fn mount_hugetlbfs() -> Option<(PathBuf, tempfile::TempDir)> {
    let dir = tempfile::tempdir().unwrap();
    let at = dir.path().to_str().unwrap();
    let is_mounted =
        have_own_mounts("hugetlbfs") && run("mount", &["-t", "hugetlbfs", "-o", "pagesize=2M", "none", at]);
    if !is_mounted {
        return None;
    }
    Some((dir.path().to_owned(), dir))
}

/// A receiver needs none of the pool, as all pages are there: nothing is reserved when it maps them.
fn received(two: &LogBuilder) {
    let log = two.clone().huge_pages(REQUIRE).create_memfd("log").unwrap();
    let _thief = leave(0);
    let (child, socket) = start(crate::common::child("huge pages: receiver"));
    log.send(&socket, Access::Append).unwrap();
    crate::common::succeed(child);
    assert_eq!((log.info().next_seq, free_huge_pages(), reserved()), (1, 0, 0));
}

pub fn receiver() {
    let log = Log::receive(to_parent()).unwrap();
    assert_eq!((log.info().backing, free_huge_pages()), (Backing::MemfdHuge { page_bytes: PAGE }, 0));
    log.appender().unwrap().append(&[1; 500_000]).unwrap();
}
