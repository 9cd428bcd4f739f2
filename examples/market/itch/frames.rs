//! The framing of ITCH files: each message stands behind its length, two bytes big endian.

use super::decode::{self, DecodeError};
use std::error::Error;
use std::fmt;

/// The messages of a file, in order, each with the offset of its frame.
///
/// Yields the first fault as an error and ends there: without a trustworthy length nobody knows
/// where the next frame begins.
#[derive(Clone, Debug)]
pub struct Frames<'a> {
    offset: usize,
    rest: &'a [u8],
}

/// What is wrong with a file, and where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameError {
    /// The offset of the first byte of the frame, that is of its length.
    pub offset: usize,
    pub fault: FrameFault,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FrameFault {
    /// The file ends within the length.
    TruncatedLength,
    ZeroLength,
    /// The file ends within the message.
    TruncatedBody {
        length_bytes: usize,
        available_bytes: usize,
    },
    /// The type letter is unknown, or the frame's length is not that of the type.
    Message(DecodeError),
}

impl<'a> Frames<'a> {
    #[must_use]
    pub const fn new(file: &'a [u8]) -> Self {
        Self { offset: 0, rest: file }
    }

    /// Splits the first frame off. The type is checked before the end of the file: a damaged
    /// length is then reported as such, not as a file that ends too early.
    fn split_first(&self) -> Result<(&'a [u8], &'a [u8]), FrameFault> {
        let (length, rest) = self.rest.split_first_chunk().ok_or(FrameFault::TruncatedLength)?;
        let length_bytes = usize::from(u16::from_be_bytes(*length));
        if length_bytes == 0 {
            return Err(FrameFault::ZeroLength);
        }
        if let Some(&kind) = rest.first() {
            decode::check(kind, length_bytes).map_err(FrameFault::Message)?;
        }
        rest.split_at_checked(length_bytes)
            .ok_or(FrameFault::TruncatedBody { length_bytes, available_bytes: rest.len() })
    }
}

impl<'a> Iterator for Frames<'a> {
    type Item = Result<(usize, &'a [u8]), FrameError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let offset = self.offset;
        match self.split_first() {
            Ok((message, rest)) => {
                self.offset += self.rest.len() - rest.len();
                self.rest = rest;
                Some(Ok((offset, message)))
            }
            Err(fault) => {
                self.rest = &[];
                Some(Err(FrameError { offset, fault }))
            }
        }
    }
}

impl fmt::Display for FrameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "at byte {}: ", self.offset)?;
        match self.fault {
            FrameFault::TruncatedLength => write!(f, "the file ends within a message length"),
            FrameFault::ZeroLength => write!(f, "a message length is zero"),
            FrameFault::TruncatedBody { length_bytes, available_bytes } => {
                write!(f, "the file ends after {available_bytes} of the message's {length_bytes} bytes")
            }
            FrameFault::Message(error) => error.fmt(f),
        }
    }
}

/// What the text says is no source of it as well.
impl Error for FrameError {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::generator::Generator;
    use crate::itch::{MESSAGE_MAX_BYTES, length_of};

    /// A small file, and where each of its frames starts.
    fn file() -> (Vec<u8>, Vec<usize>) {
        let mut generator = Generator::new(3, 60);
        let mut buffer = [0; MESSAGE_MAX_BYTES];
        let (mut file, mut starts) = (Vec::new(), Vec::new());
        while let Some(message) = generator.next_into(&mut buffer) {
            starts.push(file.len());
            file.extend(u16::try_from(message.len()).unwrap().to_be_bytes());
            file.extend(message);
        }
        (file, starts)
    }

    /// Reads up to the end or the first error; the frames before it must be where they are.
    fn read(file: &[u8], starts: &[usize]) -> Result<usize, FrameError> {
        let mut count = 0;
        for frame in Frames::new(file) {
            let (offset, message) = frame?;
            assert_eq!(offset, starts[count]);
            assert_eq!(length_of(message[0]), Some(message.len()));
            count += 1;
        }
        Ok(count)
    }

    #[test]
    fn a_sound_file_is_read_to_its_end() {
        let (file, starts) = file();
        assert_eq!(read(&file, &starts), Ok(60));
        assert_eq!(read(&[], &[]), Ok(0));
    }

    #[test]
    fn a_cut_at_any_offset_is_found_in_the_frame_it_cuts() {
        let (file, starts) = file();
        for end in 0..file.len() {
            let whole = starts.partition_point(|&start| start < end);
            let result = read(&file[..end], &starts);
            if starts.contains(&end) {
                assert_eq!(result, Ok(whole));
                continue;
            }
            let FrameError { offset, fault } = result.unwrap_err();
            assert_eq!(offset, starts[whole - 1]);
            let expected = match end - offset {
                1 => FrameFault::TruncatedLength,
                available => FrameFault::TruncatedBody {
                    length_bytes: usize::from(file[offset + 1]),
                    available_bytes: available - 2,
                },
            };
            assert_eq!(fault, expected);
        }
    }

    /// Every other value of every byte. Lengths are always caught in their own frame; letters
    /// unless the new one names a type of the same length; the fields are not framing's concern.
    #[test]
    fn damage_at_any_offset_is_found_in_the_frame_it_hits() {
        let (mut file, starts) = file();
        for offset in 0..file.len() {
            let start = starts[starts.partition_point(|&start| start <= offset) - 1];
            let sound = file[offset];
            for flip in 1..=u8::MAX {
                file[offset] = sound ^ flip;
                let hidden = match offset - start {
                    0 | 1 => false,
                    2 => length_of(file[offset]) == length_of(sound),
                    _ => true,
                };
                match read(&file, &starts) {
                    Ok(count) => assert!(hidden && count == 60),
                    Err(error) => assert!(!hidden && error.offset == start, "{error}"),
                }
            }
            file[offset] = sound;
        }
    }

    #[test]
    fn faults_are_told_with_their_offset() {
        let told = |bytes: &[u8]| Frames::new(bytes).last().unwrap().unwrap_err().to_string();
        let frame = b"\0\x0cS\0\0\0\0\0\0\0\0\0\0O";
        let after = |bytes: &[u8]| told(&[frame, bytes].concat());
        assert_eq!(after(b"\0"), "at byte 14: the file ends within a message length");
        assert_eq!(after(b"\0\0A"), "at byte 14: a message length is zero");
        assert_eq!(after(b"\0\x24A\0\0"), "at byte 14: the file ends after 3 of the message's 36 bytes");
        assert_eq!(after(b"\0\x01\x07"), "at byte 14: unknown message type '\\x07'");
        assert_eq!(after(b"\0\x25A"), "at byte 14: a message of type 'A' has 36 bytes, not 37");
    }

    #[test]
    fn nothing_follows_an_error() {
        let mut frames = Frames::new(b"\0\0\0\x0cS");
        assert!(matches!(frames.next(), Some(Err(_))));
        assert_eq!(frames.next(), None);
    }
}
