//! mmap-sync: two files, of which the reader maps the newer one and looks at it in place.
//!
//! The value is written as raw bytes, which saves it the serialization; a writer that finds a reader in its way looks
//! again after a microsecond, not, as by default, after a second.
#![allow(unsafe_code, reason = "reading is unsafe there")]

use super::{Board, Load, Publish};
use crate::case::Shape;
use crate::system::{Home, NoHome};
use anyhow::{Result, bail};
use mmap_sync::locks::LockDisabled;
use mmap_sync::synchronizer::{Synchronizer, SynchronizerError};
use std::os::unix::net::UnixStream;
use std::time::Duration;
use wyhash::WyHash;

/// How long a reader may be in the way before it is taken for dead: as its documentation has it.
const GRACE: Duration = Duration::from_secs(1);
/// Between two looks of a writer that a reader is in the way of.
const NAP_NS: u64 = 1000;

type Files = Synchronizer<WyHash, LockDisabled, 1024, NAP_NS>;
type WriteBytes = fn(&mut Files, &[u8]) -> Result<(), SynchronizerError>;
/// The first word, and the sum of all.
type ReadWords = fn(&mut Files) -> Result<(u64, u64), SynchronizerError>;

/// The files.
pub struct MmapSync;

fn open(shape: &Shape) -> Files {
    Files::with_params(shape.dir.join("value").as_os_str())
}

fn calls(bytes: usize) -> Result<(WriteBytes, ReadWords)> {
    macro_rules! by_words {
        ($($words:literal)*) => {
            match bytes / 8 {
                $($words => Ok((write::<$words>, read::<$words>)),)*
                _ => bail!("built for 8 B, 64 B, 256 B, 1 KiB, 4 KiB, 64 KiB and 1 MiB, not for {bytes} bytes"),
            }
        };
    }
    by_words!(1 8 32 128 512 8192 131_072)
}

fn write<const WORDS: usize>(files: &mut Files, value: &[u8]) -> Result<(), SynchronizerError> {
    files.write_raw::<[u64; WORDS]>(value, GRACE).map(|_| ())
}

fn read<const WORDS: usize>(files: &mut Files) -> Result<(u64, u64), SynchronizerError> {
    // SAFETY: what was written there is a row of so many words, any of which is a word; it is let go at once, long
    // before the grace is over. That a writer may change it meanwhile is how mmap-sync is.
    let words = unsafe { files.read::<[u64; WORDS]>(false) }?;
    Ok((words[0], words.iter().fold(0, |sum, &word| sum.wrapping_add(word))))
}

impl Board for MmapSync {
    type Writer = FilesWriter;
    type Reader = FilesReader;

    fn home(_: &Shape) -> Result<Box<dyn Home>> {
        Ok(Box::new(NoHome))
    }

    fn writer(shape: &Shape, _: &UnixStream) -> Result<FilesWriter> {
        Ok(FilesWriter { files: open(shape), write: calls(shape.bytes)?.0 })
    }

    fn reader(shape: &Shape, _: &UnixStream) -> Result<FilesReader> {
        let (_, read) = calls(shape.bytes)?;
        Ok(FilesReader { files: open(shape), read, words: shape.bytes as u64 / 8, found: (0, 0) })
    }
}

/// Writes.
pub struct FilesWriter {
    files: Files,
    write: WriteBytes,
}

impl Publish for FilesWriter {
    fn publish(&mut self, value: &[u8]) -> Result<bool> {
        (self.write)(&mut self.files, value)?;
        Ok(true)
    }
}

/// Adds up.
pub struct FilesReader {
    files: Files,
    read: ReadWords,
    words: u64,
    found: (u64, u64),
}

impl Load for FilesReader {
    #[inline]
    fn load(&mut self) -> Result<bool> {
        self.found = (self.read)(&mut self.files)?;
        Ok(true)
    }

    #[inline]
    fn is_whole(&self) -> bool {
        self.found.1 == self.found.0.wrapping_mul(self.words)
    }
}
