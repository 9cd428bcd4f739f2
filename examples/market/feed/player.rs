//! The messages of a feed, one after the other.

use crate::itch::Frames;
use crate::stamp::message_of;
use anyhow::{Context, Result};
use shmlog::JournalReader;

/// See the module.
#[derive(Debug)]
pub struct Player<'f> {
    from: From<'f>,
    left: u64,
}

#[derive(Debug)]
enum From<'f> {
    Frames(Frames<'f>),
    Journal(Box<JournalReader>),
}

impl<'f> Player<'f> {
    /// The first so many, which are sound.
    pub(super) fn of_frames(frames: Frames<'f>, left: u64) -> Self {
        Self { from: From::Frames(frames), left }
    }

    pub(super) fn of_journal(reader: JournalReader, left: u64) -> Self {
        Self { from: From::Journal(Box::new(reader)), left }
    }

    /// How many are yet to come.
    pub const fn left(&self) -> u64 {
        self.left
    }

    /// The next one; `None` after the last.
    ///
    /// # Errors
    /// The journal can't be read.
    #[inline]
    pub fn next(&mut self) -> Result<Option<&[u8]>> {
        if self.left == 0 {
            return Ok(None);
        }
        self.left -= 1;
        let message = match &mut self.from {
            From::Frames(frames) => frames.next().transpose()?.map(|(_, message)| message),
            From::Journal(reader) => reader.try_next()?.map(|record| message_of(record.bytes())),
        };
        message.context("it was longer before").map(Some)
    }
}

/// All of them at once.
#[cfg(test)]
impl Player<'_> {
    pub fn collect(mut self) -> Vec<Vec<u8>> {
        let mut all = Vec::new();
        while let Some(message) = self.next().unwrap() {
            all.push(message.to_vec());
        }
        all
    }
}
