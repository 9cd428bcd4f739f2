//! The feed: messages in memory, so that publishing measures the log and not a disk; or in a journal, from which they
//! are replayed.

mod player;

pub use self::player::Player;

use crate::generator::Generator;
use crate::itch::decode::DecodeError;
use crate::itch::frames::{FrameError, FrameFault};
use crate::itch::{Frames, MESSAGE_MAX_BYTES, Message};
use crate::stamp::message_of;
use anyhow::{Context, Result};
use shmlog::{Journal, Start};
use std::path::Path;

/// Messages, and what is known of them before they are published.
#[derive(Debug)]
pub struct Feed {
    source: Source,
    /// Whole, sound messages before the first fault.
    messages: u64,
    longest_bytes: usize,
    /// One more than the largest stock locate.
    locates: usize,
    fault: Option<FeedFault>,
}

/// Where they are.
#[derive(Debug)]
enum Source {
    /// Framed as in an ITCH file.
    Memory(Vec<u8>),
    /// One a record, stamped.
    Journal(Journal),
}

/// What is wrong behind the sound messages, and where.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FeedFault {
    #[error(transparent)]
    Frame(#[from] FrameError),
    #[error("record {seq} of the journal: {error}")]
    Record { seq: u64, error: DecodeError },
}

impl Feed {
    /// Reads a file.
    ///
    /// # Errors
    /// It can't be read. A damaged one can: see [`Feed::fault`].
    pub fn load(path: &Path) -> Result<Self> {
        let bytes = std::fs::read(path).with_context(|| path.display().to_string())?;
        Ok(Self::of(bytes))
    }

    /// Looks through a journal. What is recorded there later is not part of it.
    ///
    /// # Errors
    /// There is none, or it can't be read.
    pub fn recorded(dir: &Path) -> Result<Self> {
        let read = || {
            let journal = Journal::builder().open_existing(dir)?;
            let (mut reader, end) = (journal.reader(Start::First)?, journal.next_seq());
            let mut feed = Self::new(Source::Journal(journal));
            while reader.position() < end
                && feed.fault.is_none()
                && let Some(record) = reader.try_next()?
            {
                let message = message_of(record.bytes());
                match Message::decode(message) {
                    Ok(decoded) => feed.add(message, &decoded),
                    Err(error) => feed.fault = Some(FeedFault::Record { seq: record.seq(), error }),
                }
            }
            anyhow::Ok(feed)
        };
        read().context("reading the recording")
    }

    /// Makes a feed up.
    pub fn generate(seed: u64, messages: u64) -> Self {
        let mut generator = Generator::new(seed, messages);
        let mut buffer = [0; MESSAGE_MAX_BYTES];
        let mut bytes = Vec::new();
        while let Some(message) = generator.next_into(&mut buffer) {
            let length = u16::try_from(message.len()).expect("at most MESSAGE_MAX_BYTES");
            bytes.extend_from_slice(&length.to_be_bytes());
            bytes.extend_from_slice(message);
        }
        Self::of(bytes)
    }

    fn of(bytes: Vec<u8>) -> Self {
        let mut feed = Self::new(Source::Memory(Vec::new()));
        for frame in Frames::new(&bytes) {
            match frame.and_then(|(offset, bytes)| Ok((bytes, decode(offset, bytes)?))) {
                Ok((message, decoded)) => feed.add(message, &decoded),
                Err(error) => {
                    feed.fault = Some(error.into());
                    break;
                }
            }
        }
        Self { source: Source::Memory(bytes), ..feed }
    }

    const fn new(source: Source) -> Self {
        Self { source, messages: 0, longest_bytes: 0, locates: 0, fault: None }
    }

    fn add(&mut self, message: &[u8], decoded: &Message) {
        self.messages += 1;
        self.longest_bytes = message.len().max(self.longest_bytes);
        self.locates = self.locates.max(usize::from(decoded.locate) + 1);
    }

    /// How many messages can be published.
    pub const fn len(&self) -> u64 {
        self.messages
    }

    /// Length of the longest of them.
    pub const fn longest_bytes(&self) -> usize {
        self.longest_bytes
    }

    /// How many stock locates there are, from 0 to the largest.
    pub const fn locates(&self) -> usize {
        self.locates
    }

    /// What is wrong behind those messages, and where.
    pub const fn fault(&self) -> Option<FeedFault> {
        self.fault
    }

    /// The messages before the fault, from the first on.
    ///
    /// # Errors
    /// The journal can't be read.
    pub fn play(&self) -> Result<Player<'_>> {
        match &self.source {
            Source::Memory(bytes) => Ok(Player::of_frames(Frames::new(bytes), self.messages)),
            Source::Journal(journal) => Ok(Player::of_journal(journal.reader(Start::First)?, self.messages)),
        }
    }
}

/// A message whose fields make sense too.
fn decode(offset: usize, bytes: &[u8]) -> Result<Message, FrameError> {
    Message::decode(bytes).map_err(|error| FrameError { offset, fault: FrameFault::Message(error) })
}

#[cfg(test)]
mod tests;
