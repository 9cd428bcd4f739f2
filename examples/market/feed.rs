//! The feed: messages in memory, so that publishing measures the log and not a disk.

use crate::generator::Generator;
use crate::itch::frames::{FrameError, FrameFault};
use crate::itch::{Frames, MESSAGE_MAX_BYTES, Message};
use anyhow::{Context, Result};
use std::path::Path;

/// Messages framed as in an ITCH file, and what is known of them before they are published.
#[derive(Debug)]
pub struct Feed {
    bytes: Vec<u8>,
    /// Whole, sound messages before the first fault.
    messages: u64,
    longest_bytes: usize,
    /// One more than the largest stock locate.
    locates: usize,
    fault: Option<FrameError>,
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
        let mut feed = Self { bytes, messages: 0, longest_bytes: 0, locates: 0, fault: None };
        let (mut messages, mut longest_bytes, mut locates) = (0, 0, 0);
        for frame in Frames::new(&feed.bytes) {
            match frame.and_then(|(offset, bytes)| Ok((bytes.len(), decode(offset, bytes)?))) {
                Ok((len_bytes, message)) => {
                    messages += 1;
                    longest_bytes = len_bytes.max(longest_bytes);
                    locates = locates.max(usize::from(message.locate) + 1);
                }
                Err(error) => {
                    feed.fault = Some(error);
                    break;
                }
            }
        }
        (feed.messages, feed.longest_bytes, feed.locates) = (messages, longest_bytes, locates);
        feed
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

    /// What is wrong with the file behind those messages, and where.
    pub const fn fault(&self) -> Option<FrameError> {
        self.fault
    }

    /// The messages before the fault.
    pub fn messages(&self) -> impl Iterator<Item = &[u8]> {
        let sound = usize::try_from(self.messages).expect("they are in memory");
        Frames::new(&self.bytes).take(sound).map_while(Result::ok).map(|(_, message)| message)
    }
}

/// A message whose fields make sense too.
fn decode(offset: usize, bytes: &[u8]) -> Result<Message, FrameError> {
    Message::decode(bytes).map_err(|error| FrameError { offset, fault: FrameFault::Message(error) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sound_feed_is_whole() {
        let feed = Feed::generate(1, 500);
        assert_eq!((feed.len(), feed.fault()), (500, None));
        assert_eq!(feed.messages().count(), 500);
        assert_eq!(feed.messages().map(<[u8]>::len).max(), Some(feed.longest_bytes()));
        assert_eq!(feed.locates(), 9);
        let nothing = Feed::of(Vec::new());
        assert_eq!((nothing.messages().count(), nothing.locates()), (0, 0));
    }

    #[test]
    fn what_is_before_a_cut_stays() {
        let mut bytes = Feed::generate(1, 500).bytes;
        bytes.pop();
        let feed = Feed::of(bytes);
        assert_eq!((feed.len(), feed.messages().count()), (499, 499));
        let fault = feed.fault().unwrap();
        assert_eq!(fault.offset, feed.messages().map(|message| 2 + message.len()).sum::<usize>());
        assert!(matches!(fault.fault, FrameFault::TruncatedBody { .. }), "{fault}");
    }

    /// Frames alone don't show it: the length is right.
    #[test]
    fn a_field_without_meaning_is_a_fault_at_its_message() {
        let mut bytes = Feed::generate(1, 500).bytes;
        let frames: Vec<_> = Frames::new(&bytes).map(Result::unwrap).map(|(at, message)| (at, message[0])).collect();
        let (place, &(offset, _)) = frames.iter().enumerate().filter(|(_, (_, kind))| *kind == b'A').nth(20).unwrap();
        bytes[offset + 2 + 19] = b'?';
        let feed = Feed::of(bytes);
        assert_eq!(feed.len(), place as u64);
        assert_eq!(feed.fault().map(|fault| fault.offset), Some(offset));
    }
}
