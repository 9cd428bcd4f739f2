//! The files of a name, written to past the library.

use shmlog::{Access, Log, Retention};
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use tempfile::TempDir;

pub const WINDOWS: u64 = 2;
const WINDOW_BYTES: u64 = 64 << 10;
/// Of a log of two windows: the control page, then the first window.
const FIRST_WINDOW: u64 = 8192;
/// Records of a full segment.
pub const RECORDS: u64 = 7;

/// The files of a name.
pub struct Files(TempDir);

impl Files {
    pub fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub fn path(&self) -> PathBuf {
        self.0.path().join("named")
    }

    fn file(&self, name: &str) -> File {
        File::options().read(true).write(true).open(self.path().join(name)).unwrap()
    }

    pub fn put(&self, name: &str, offset: u64, words: &[u64]) {
        let bytes: Vec<_> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        self.file(name).write_all_at(&bytes, offset).unwrap();
    }

    pub fn get(&self, name: &str, offset: u64) -> u64 {
        let mut bytes = [0; 8];
        self.file(name).read_exact_at(&mut bytes, offset).unwrap();
        u64::from_le_bytes(bytes)
    }

    /// A log that stands at the start of `segment`, whose first record has the number `base`.
    pub fn log_at(&self, segment: u64, base: u64, retention: Retention) -> Log {
        let builder = Log::builder().windows(WINDOWS).window_bytes(WINDOW_BYTES).entries(RECORDS + 1);
        drop(builder.retention(retention).create_at(self.path()).unwrap());
        for segment in [segment.saturating_sub(1), segment] {
            let (window, lap) = (segment % WINDOWS, segment / WINDOWS + 1);
            self.put("log", 4096 + 8 * window, &[base]);
            self.put("log", FIRST_WINDOW + window * WINDOW_BYTES, &[lap << 22]);
        }
        self.put("log", 128, &[segment]);
        self.put("log", 256, &[segment]);
        Log::open(self.path(), Access::Append).unwrap()
    }

    /// Makes the words of all records of a segment look committed.
    pub fn commit_all(&self, segment: u64) {
        let tag = (1 + (segment / WINDOWS + 1) % 16_383) << 50;
        for record in 0..RECORDS {
            self.put("log", FIRST_WINDOW + segment % WINDOWS * WINDOW_BYTES + 128 + 8 * record, &[tag]);
        }
    }
}
