//! What a victim tells of the result of its operation, in memory that it shares with its parent.

use anyhow::{Context, Result, bail};
use shmlog::{Allocation, Arena};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

const NOTHING: u64 = 0;
const DONE: u64 = 1;
const FAILED: u64 = 2;
/// Bytes of the text of an error.
const TEXT_BYTES: u64 = 1024;

/// See the module. One for all victims, one after the other.
#[derive(Debug)]
pub struct Told {
    arena: Arena,
    /// What became of it, and the number that it returned, or how long the text is.
    words: Allocation,
    text: Allocation,
}

impl Told {
    /// Where nothing has been told yet.
    ///
    /// # Errors
    /// What the system says.
    pub fn new() -> Result<Self> {
        let arena = Arena::create_memfd("told", 4096)?;
        let words = arena.allocate(16, 8)?;
        let text = arena.allocate(TEXT_BYTES, 8)?;
        Ok(Self { arena, words, text })
    }

    fn words(&self) -> Result<&[AtomicU64]> {
        Ok(self.arena.atomics(self.words)?)
    }

    /// Forgets what was told.
    ///
    /// # Errors
    /// None in practice.
    pub fn forget(&self) -> Result<()> {
        self.words()?[0].store(NOTHING, Relaxed);
        Ok(())
    }

    /// In the victim: tells.
    ///
    /// # Errors
    /// None in practice.
    pub fn tell(&self, result: &Result<u64>) -> Result<()> {
        let (how, number) = match result {
            Ok(number) => (DONE, *number),
            Err(error) => (FAILED, self.arena.write(self.text, 0, format!("{error:#}").as_bytes())? as u64),
        };
        self.words()?[1].store(number, Relaxed);
        self.words()?[0].store(how, Relaxed);
        Ok(())
    }

    /// What the victim, which has ended, told.
    ///
    /// # Errors
    /// What it failed with; that it told nothing.
    pub fn take(&self) -> Result<u64> {
        let number = self.words()?[1].load(Relaxed);
        match self.words()?[0].load(Relaxed) {
            DONE => Ok(number),
            FAILED => {
                let mut text = vec![0; usize::try_from(number.min(TEXT_BYTES))?];
                self.arena.read(self.text, &mut text)?;
                bail!("the victim's operation failed: {}", String::from_utf8_lossy(&text))
            }
            _ => None.context("the victim told nothing"),
        }
    }
}
