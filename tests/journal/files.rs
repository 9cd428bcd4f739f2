//! Small journals and their files, as tests look at them and damage them.

use shmlog::{Journal, JournalBuilder};
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// Of a journal with small files and a small front.
pub fn small() -> JournalBuilder {
    Journal::builder().file_bytes(64 << 10).front_size(2, 64 << 10)
}

/// The same, without a thread.
pub fn still() -> JournalBuilder {
    small().thread(false)
}

/// Those with this ending, in order.
pub fn of_kind(dir: &Path, kind: &str) -> Vec<PathBuf> {
    let mut files: Vec<_> = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|file| file.extension().is_some_and(|found| found == kind));
    files.sort();
    files
}

/// Those of records.
pub fn logs(dir: &Path) -> Vec<PathBuf> {
    of_kind(dir, "log")
}

/// The first record of a file, by its name.
pub fn first_of(file: &Path) -> u64 {
    file.file_stem().unwrap().to_str().unwrap().parse().unwrap()
}

/// A file's name.
pub fn name(file: &Path) -> String {
    file.file_name().unwrap().to_str().unwrap().to_owned()
}

/// Flips some bits of a byte.
pub fn flip(file: &Path, at: u64) {
    let file = File::options().read(true).write(true).open(file).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).unwrap();
    file.write_all_at(&[byte[0] ^ 16], at).unwrap();
}

/// What a crash leaves now.
pub fn crash(dir: &Path) -> tempfile::TempDir {
    let image = tempfile::tempdir().unwrap();
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        std::fs::copy(&path, image.path().join(path.file_name().unwrap())).unwrap();
    }
    image
}
