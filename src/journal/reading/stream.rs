//! The frames of one file, in order, read by a window that moves over it.

use crate::journal::format::BLOCK_BYTES;
use crate::journal::format::frame::{self, Found, FrameKind, HEAD_BYTES, MARK_BYTES, Mark, Salt};
use crate::sys::disk::DiskFile;
use std::io;
use std::sync::Arc;

/// Bytes read at a time.
const WINDOW_BYTES: usize = 256 << 10;

/// A frame where the stream stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Frame<'s> {
    pub(crate) kind: FrameKind,
    /// The record, or the one that comes next.
    pub(crate) seq: u64,
    pub(crate) payload: &'s [u8],
}

/// See the module.
#[derive(Debug)]
pub(crate) struct FrameStream {
    file: Arc<dyn DiskFile>,
    salt: Salt,
    /// First record of the file, or of the stream.
    first: u64,
    /// What was read, and how much of it there is.
    window: Vec<u8>,
    filled: usize,
    /// Where in the file the window begins.
    window_offset: u64,
    /// Where in the window the next frame begins.
    at: usize,
    /// The record that comes next.
    seq: u64,
    /// The frame at the place, if it was looked at: its kind and length in bytes.
    ready: Option<(FrameKind, usize)>,
}

impl FrameStream {
    /// The frames of a file from `offset` on, where record `seq` comes next.
    pub(crate) fn new(file: Arc<dyn DiskFile>, salt: Salt, offset: u64, seq: u64) -> Self {
        let window = Vec::new();
        Self { file, salt, first: seq, window, filled: 0, window_offset: offset, at: 0, seq, ready: None }
    }

    /// All frames of a file whose first record is `first`.
    pub(crate) fn of_file(file: Arc<dyn DiskFile>, salt: Salt, first: u64) -> Self {
        Self::new(file, salt, BLOCK_BYTES, first)
    }

    /// The first record of the stream.
    pub(crate) fn first(&self) -> u64 {
        self.first
    }

    /// The record that comes next.
    #[inline]
    pub(crate) fn seq(&self) -> u64 {
        self.seq
    }

    /// Where in the file the next frame begins.
    #[inline]
    pub(crate) fn offset(&self) -> u64 {
        self.window_offset + self.at as u64
    }

    /// Looks at the next frame, and stays before it. `None` where there is none, for now or for good.
    #[inline]
    pub(crate) fn peek(&mut self) -> io::Result<Option<FrameKind>> {
        if let Some((kind, _)) = self.ready {
            return Ok(Some(kind));
        }
        let found = frame::decode(self.window.get(self.at..self.filled).unwrap_or(&[]), self.salt, self.seq);
        self.ready = match found {
            Found::Frame(kind, payload) => Some((kind, payload.len())),
            Found::Longer(wanted) => self.refill(wanted)?,
            Found::Nothing => self.refill(HEAD_BYTES)?,
        };
        Ok(self.ready.map(|(kind, _)| kind))
    }

    /// Goes past the frame that was looked at.
    #[inline]
    pub(crate) fn pass(&mut self) -> Option<Frame<'_>> {
        let (kind, len_bytes) = self.ready.take()?;
        let (at, seq) = (self.at + HEAD_BYTES, self.seq);
        self.at += frame::frame_bytes(len_bytes);
        self.seq += u64::from(kind.is_record());
        Some(Frame { kind, seq, payload: self.window.get(at..at + len_bytes)? })
    }

    /// The next frame; `None` where there is none, for now or for good.
    #[inline]
    pub(crate) fn next(&mut self) -> io::Result<Option<Frame<'_>>> {
        self.peek()?;
        Ok(self.pass())
    }

    /// Goes on until record `seq` is the next frame. False: it is not there, for now or for good.
    #[inline]
    pub(crate) fn find_record(&mut self, seq: u64) -> io::Result<bool> {
        loop {
            match self.peek()? {
                Some(kind) if kind.is_record() && self.seq == seq => return Ok(true),
                Some(_) if self.seq <= seq => self.pass(),
                _ => return Ok(false),
            };
        }
    }

    /// The same for a record that is there, past damage before it: from a mark behind the damage, which says where it stands.
    #[cold]
    pub(crate) fn find_past_damage(&mut self, seq: u64) -> io::Result<bool> {
        while !self.find_record(seq)? {
            let beyond =
                Self::new(Arc::clone(&self.file), self.salt, self.offset() + 8, self.seq).find_marks_beyond()?;
            let is_before = |&(_, mark): &(u64, Mark)| (self.seq..=seq).contains(&mark.seq);
            let Some((offset, mark)) = beyond.into_iter().rfind(is_before) else { return Ok(false) };
            *self = Self { first: self.first, ..Self::new(Arc::clone(&self.file), self.salt, offset, mark.seq) };
        }
        Ok(true)
    }

    /// Reads on, so that the frame at the place is whole; or again, as it may have been written since.
    #[cold]
    fn refill(&mut self, mut wanted: usize) -> io::Result<Option<(FrameKind, usize)>> {
        // Once for the head, once for what the head says.
        for _ in 0..3 {
            self.read(wanted)?;
            match frame::decode(&self.window[..self.filled], self.salt, self.seq) {
                Found::Frame(kind, payload) => return Ok(Some((kind, payload.len()))),
                Found::Longer(bytes) if bytes > wanted => wanted = bytes,
                Found::Longer(_) | Found::Nothing => return Ok(None),
            }
        }
        Ok(None)
    }

    /// Fills the window from the place on, with `wanted` bytes or more if there are as many.
    fn read(&mut self, wanted: usize) -> io::Result<()> {
        let offset = self.offset();
        let bytes = wanted.max(WINDOW_BYTES);
        if self.window.len() < bytes {
            self.window = vec![0; bytes];
        }
        (self.at, self.filled, self.window_offset) = (0, 0, offset);
        self.filled = self.file.read_at(&mut self.window[..bytes], offset)?;
        Ok(())
    }

    /// The newest mark anywhere beyond the place, and where: proof that all before it had been durable. The stream is
    /// worth nothing afterwards.
    pub(crate) fn find_marks_beyond(&mut self) -> io::Result<Vec<(u64, Mark)>> {
        let mut found = Vec::new();
        let mark_bytes = HEAD_BYTES + MARK_BYTES;
        loop {
            self.read(WINDOW_BYTES)?;
            let window = &self.window[..self.filled];
            for at in (0..(window.len() + 1).saturating_sub(mark_bytes)).step_by(8) {
                // The kind of a head is its fourth byte: most words are none.
                if window[at + 3] == FrameKind::Mark as u8
                    && let Some(mark) = Mark::find(&window[at..], self.salt)
                {
                    found.push((self.window_offset + at as u64, mark));
                }
            }
            if self.filled <= mark_bytes {
                return Ok(found);
            }
            // The last ones again, whole.
            self.at = (self.filled - mark_bytes + 8).next_multiple_of(8).min(self.filled);
        }
    }
}
