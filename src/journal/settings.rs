//! How a journal is opened.

use crate::error::JournalError;
use crate::journal::care::retain::Retain;
use crate::journal::format::BLOCK_BYTES;
use crate::layout::geometry::{MAX_WINDOW_BYTES, MIN_WINDOW_BYTES, MIN_WINDOWS};
use std::path::PathBuf;
use std::time::Duration;

/// When records become durable that nobody asks to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flush {
    /// At most so long after they were appended, as long as a process lives that has the journal open.
    After(Duration),
    /// Never by itself: they are written to the files, where they survive all processes but not a power failure.
    Never,
}

/// Where a journal's front is: the log in memory that the processes append to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FrontHome {
    /// In `/dev/shm`, or in the journal's directory where that is missing or too small.
    Auto,
    /// In the journal's directory: for processes that share nothing else, such as containers with mounts of their own.
    Directory,
    /// In this directory, which should be on tmpfs.
    At(PathBuf),
}

/// See the module. Filled in by the builder.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) prefix: String,
    pub(crate) file_bytes: u64,
    pub(crate) flush: Flush,
    pub(crate) front: FrontHome,
    pub(crate) front_windows: u64,
    pub(crate) front_window_bytes: u64,
    pub(crate) record_bytes: u64,
    pub(crate) mode: u32,
    pub(crate) retain: Retain,
    pub(crate) open_wait: Duration,
    /// Whether a thread of this process flushes and prepares files.
    pub(crate) has_thread: bool,
    /// Whether this process changes nothing.
    pub(crate) is_read_only: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            prefix: String::new(),
            file_bytes: 64 << 20,
            flush: Flush::After(Duration::from_millis(10)),
            front: FrontHome::Auto,
            front_windows: 8,
            front_window_bytes: 2 << 20,
            record_bytes: 48,
            mode: 0o600,
            retain: Retain::default(),
            open_wait: Duration::from_secs(30),
            has_thread: true,
            is_read_only: false,
        }
    }
}

/// Smallest file of records.
pub(crate) const MIN_FILE_BYTES: u64 = 64 << 10;
/// Largest file of records.
pub(crate) const MAX_FILE_BYTES: u64 = 16 << 30;
/// Longest prefix.
const MAX_PREFIX_BYTES: usize = 64;

impl Settings {
    /// Whether files are written with zeroes ahead of need: what never waits for the disk need not be spared its work.
    pub(crate) fn is_zeroed_ahead(&self) -> bool {
        self.flush != Flush::Never
    }

    pub(crate) fn check(&self) -> Result<(), JournalError> {
        let bad = |key, value: String, allowed| Err(JournalError::Setting { key, value, allowed });
        let file = self.file_bytes;
        if !(MIN_FILE_BYTES..=MAX_FILE_BYTES).contains(&file) || !file.is_multiple_of(BLOCK_BYTES) {
            return bad("file_bytes", file.to_string(), "64 KiB to 16 GiB, whole blocks of 4 KiB");
        }
        let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        let prefix = &self.prefix;
        if prefix.len() > MAX_PREFIX_BYTES || prefix.starts_with('.') || !prefix.bytes().all(is_name) {
            return bad(
                "prefix",
                format!("{prefix:?}"),
                "at most 64 letters, digits and - _ . and none of these first: .",
            );
        }
        let window = self.front_window_bytes;
        if !window.is_power_of_two() || !(MIN_WINDOW_BYTES..=MAX_WINDOW_BYTES).contains(&window) {
            return bad("front_window_bytes", window.to_string(), "a power of two from 64 KiB to 128 MiB");
        }
        if !(1..=window).contains(&self.record_bytes) {
            return bad("record_bytes", self.record_bytes.to_string(), "1 to front_window_bytes");
        }
        if !(MIN_WINDOWS..=4096).contains(&self.front_windows) {
            return bad("front_windows", self.front_windows.to_string(), "2 to 4,096");
        }
        if self.retain.files == Some(0) {
            return bad("retain_files", "0".to_owned(), "1 or more");
        }
        if self.retain.bytes.is_some_and(|bytes| bytes < file) {
            let value = self.retain.bytes.unwrap_or(0).to_string();
            return bad("retain_bytes", value, "at least file_bytes");
        }
        if self.flush == Flush::After(Duration::ZERO) {
            return bad("flush_after", "0".to_owned(), "more than 0, or \"never\"");
        }
        Ok(())
    }
}
