//! Where the front is does not hang on the name by which the directory was opened.

use shmlog::{FrontHome, Journal, JournalBuilder, Start};
use std::path::Path;

fn builder() -> JournalBuilder {
    Journal::builder().file_bytes(64 << 10).front_size(2, 64 << 10).front(FrontHome::Directory).thread(false)
}

/// Appends by one handle of the journal what another one, which opens it at `again`, must see in memory.
fn check_joined(first: &Journal, again: &Path) {
    let seq = first.appender().unwrap().append(b"in memory only").unwrap();
    let second = builder().open_existing(again).unwrap();
    assert!(second.recovery().is_none(), "it joins, it does not recover");
    let mut reader = second.reader(Start::At(seq)).unwrap();
    assert_eq!(reader.try_next().unwrap().unwrap().bytes(), b"in memory only");
    assert!(second.durable() <= seq);
}

/// The control file has room for 256 bytes of a path. A front in the directory was lost to all that came later if there
/// were more, "it is in another mount namespace", and with it, after a crash, what was not durable.
#[test]
fn a_directory_may_have_a_long_path() {
    let dir = tempfile::tempdir().unwrap();
    let long = dir.path().join("d".repeat(200)).join("e".repeat(200));
    let journal = builder().open(&long).unwrap();
    check_joined(&journal, &long);
}

/// As above for a directory that was opened by a path of one process's own: relative to its working directory, or by a
/// link, or a name that it does not have any more.
#[test]
fn a_directory_may_be_moved() {
    let dir = tempfile::tempdir().unwrap();
    let (old, new) = (dir.path().join("old"), dir.path().join("new"));
    let journal = builder().open(&old).unwrap();
    std::fs::rename(&old, &new).unwrap();
    check_joined(&journal, &new);
}

/// The name of a directory is bytes.
#[test]
fn a_directory_may_have_a_name_that_is_no_text() {
    use std::os::unix::ffi::OsStrExt;
    let dir = tempfile::tempdir().unwrap();
    let odd = dir.path().join(std::ffi::OsStr::from_bytes(b"\xff\xfe"));
    let journal = builder().open(&odd).unwrap();
    check_joined(&journal, &odd);
}
