//! Fronts of journals whose processes were killed, and of journals that are gone.

mod common;

use common::good;
use serde_json::Value;
use shmlog::{FrontHome, Journal};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// Where this test plays the process that has the journal open.
const DIR: &str = "FRONTS_TEST_DIR";

/// No test by itself: holds a journal open, until it is killed.
#[test]
fn holder() {
    let Some(dir) = std::env::var_os(DIR).map(PathBuf::from) else { return };
    let home = dir.join("fronts");
    // Without a thread, which would make files while they are removed.
    let builder = Journal::builder().front(FrontHome::At(home)).front_size(2, 64 << 10).thread(false);
    let journal = builder.open(dir.join("journal")).unwrap();
    journal.appender().unwrap().append(b"one").unwrap();
    println!("\nopen");
    std::thread::park();
}

struct Holder(Child);

impl Holder {
    fn start(dir: &Path) -> Self {
        let mut command = Command::new(std::env::current_exe().unwrap());
        let command = command.args(["--exact", "holder", "--nocapture"]).env(DIR, dir).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        assert!(lines.map_while(Result::ok).any(|line| line == "open"));
        Self(child)
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

/// A directory on tmpfs with one for fronts.
fn root() -> tempfile::TempDir {
    let root = tempfile::tempdir_in("/dev/shm").unwrap();
    std::fs::create_dir(root.path().join("fronts")).unwrap();
    root
}

/// What the tool says of the only front.
fn fate(args: &[&str], root: &Path) -> (String, String) {
    let args = [&["journal", "fronts", "--json"], args].concat();
    let found: Vec<Value> = serde_json::from_str(&good(&args, &root.join("fronts"))).unwrap();
    let [front] = &found[..] else { panic!("{found:?}") };
    assert!(front["bytes"].as_u64().unwrap() >= 128 << 10, "{front}");
    let text = |key: &str| front[key].as_str().unwrap().to_owned();
    (text("fate"), text("why"))
}

fn count(root: &Path) -> usize {
    std::fs::read_dir(root.join("fronts")).unwrap().count()
}

/// Whether a file can be looked for by its handle here: by root, on a kernel that has numbers for mounts.
fn can_find_out(root: &Path) -> bool {
    let (fate, why) = fate(&[], root);
    let is_unknown = fate == "unknown";
    assert!(!is_unknown || why.contains("only root of") || why.contains("does not say where"), "{why}");
    !is_unknown
}

#[test]
fn what_nobody_can_use_any_more_is_removed_and_nothing_else() {
    let root = root();
    let root = root.path();
    let (journal, moved) = (root.join("journal"), root.join("moved"));
    let holder = Holder::start(root);
    assert_eq!(fate(&["--remove"], root).0, "used");
    drop(holder);
    if !can_find_out(root) {
        std::fs::remove_dir_all(&journal).unwrap();
        assert!(fate(&["--remove"], root).0 == "unknown" && count(root) == 1);
        return;
    }
    let kept = fate(&["--remove"], root);
    assert_eq!(kept, ("kept".to_owned(), format!("who opens {} next goes on with it", journal.display())));
    // It is not its path that tells.
    std::fs::rename(&journal, &moved).unwrap();
    let kept = fate(&["--remove"], root);
    assert_eq!(kept, ("kept".to_owned(), format!("who opens {} next goes on with it", moved.display())));
    std::fs::rename(&moved, &journal).unwrap();

    // One that has it open goes on, though the directory is gone.
    let holder = Holder::start(root);
    std::fs::remove_dir_all(&journal).unwrap();
    assert_eq!(fate(&["--remove"], root).0, "used");
    drop(holder);
    let orphan = ("orphan".to_owned(), format!("its journal was removed, from {}", journal.display()));
    assert_eq!(fate(&[], root), orphan);
    assert_eq!(count(root), 1, "only when it is told to");
    let table = good(&["journal", "fronts"], &root.join("fronts"));
    assert!(table.contains(" orphan ") && table.contains(&orphan.1), "{table}");

    // What says whose it is can't be read: in doubt, it stays.
    let front = std::fs::read_dir(root.join("fronts")).unwrap().next().unwrap().unwrap().path();
    let origin = std::fs::read(front.join("origin")).unwrap();
    std::fs::write(front.join("origin"), &origin[..origin.len() - 1]).unwrap();
    assert_eq!(fate(&["--remove"], root).0, "unknown");
    let elsewhere = [b"mount 1\n", &origin[origin.iter().position(|&byte| byte == b'\n').unwrap() + 1..]].concat();
    std::fs::write(front.join("origin"), elsewhere).unwrap();
    let unknown = fate(&["--remove"], root);
    assert_eq!(unknown, ("unknown".to_owned(), "the file system of its journal is not mounted here".to_owned()));
    std::fs::write(front.join("origin"), &origin).unwrap();

    // Another file is in the place of the lock file.
    std::fs::create_dir(&journal).unwrap();
    std::fs::write(journal.join("lock"), "").unwrap();
    assert_eq!((fate(&["--remove"], root).0, count(root)), ("removed".to_owned(), 0));
    assert_eq!(good(&["journal", "fronts", "--remove"], &root.join("fronts")), "there are no fronts of journals\n");
    assert!(journal.join("lock").exists());
}

/// On a disk the new journal's lock file has, as often as not, the number of the one before.
#[test]
fn a_journal_made_anew_in_the_same_place_is_another() {
    let (root, disk) = (root(), tempfile::tempdir().unwrap());
    let (root, journal) = (root.path(), disk.path().join("journal"));
    std::fs::create_dir(&journal).unwrap();
    std::os::unix::fs::symlink(&journal, root.join("journal")).unwrap();
    drop(Holder::start(root));
    let is_known = can_find_out(root);
    let before = std::fs::read_dir(root.join("fronts")).unwrap().next().unwrap().unwrap().path();
    std::fs::remove_dir_all(&journal).unwrap();
    std::fs::create_dir(&journal).unwrap();
    let _holder = Holder::start(root);
    let said = good(&["journal", "fronts", "--remove", "--json"], &root.join("fronts"));
    let found: Vec<Value> = serde_json::from_str(&said).unwrap();
    assert_eq!(found.len(), 2, "{said}");
    for front in found {
        let is_before = front["path"] == before.to_str().unwrap();
        assert!(front["fate"] == if is_before { "removed" } else { "used" } || is_before && !is_known, "{said}");
    }
    assert_eq!((before.exists(), count(root)), (!is_known, 2 - usize::from(is_known)));
}
