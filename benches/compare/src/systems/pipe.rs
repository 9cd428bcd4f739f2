//! A pipe: a system call for each message, and one for as many as there are at the other end.
//!
//! Both sides poll without sleeping, which is the fastest way there and back; only in `wake` the receiver sleeps.

use crate::case::Shape;
use crate::source::word_of;
use crate::system::{Channel, Home, NoHome, Place, Rx, Tx};
use anyhow::{Result, bail};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{CWD, FileType, Mode, OFlags, fcntl_setfl, mknodat, open};
use rustix::io::{Errno, read, write};
use rustix::pipe::{PIPE_BUF, fcntl_setpipe_size};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;

/// What the kernel keeps for a pipe: as much as it allows everybody.
const PIPE_BYTES: usize = 1 << 20;
/// What is read at once.
const READ_BYTES: usize = 64 << 10;
/// Longest sleep.
const SLEEP: Timespec = Timespec { tv_sec: 0, tv_nsec: 100_000_000 };

/// The pipe, by name.
pub struct Pipe;

fn path(shape: &Shape, lane: usize) -> PathBuf {
    shape.dir.join(format!("pipe-{lane}"))
}

impl Channel for Pipe {
    type Tx = PipeTx;
    type Rx = PipeRx;

    fn home(shape: &Shape) -> Result<Box<dyn Home>> {
        for lane in 0..shape.lanes {
            mknodat(CWD, path(shape, lane), FileType::Fifo, Mode::RUSR | Mode::WUSR, 0)?;
        }
        Ok(Box::new(NoHome))
    }

    fn tx(shape: &Shape, place: Place, _: &UnixStream) -> Result<PipeTx> {
        if shape.senders > 1 && shape.bytes * shape.batch > PIPE_BUF {
            bail!("what several write is whole only up to {PIPE_BUF} bytes");
        }
        // Waits for the other end.
        let fd = open(path(shape, place.lane), OFlags::WRONLY, Mode::empty())?;
        fcntl_setpipe_size(&fd, PIPE_BYTES)?;
        fcntl_setfl(&fd, OFlags::NONBLOCK)?;
        Ok(PipeTx { fd })
    }

    fn rx(shape: &Shape, place: Place, _: &UnixStream) -> Result<PipeRx> {
        let fd = open(path(shape, place.lane), OFlags::RDONLY, Mode::empty())?;
        fcntl_setfl(&fd, OFlags::NONBLOCK)?;
        Ok(PipeRx { fd, buffer: vec![0; READ_BYTES.max(shape.bytes)], bytes: shape.bytes, kept: 0 })
    }
}

/// Writes.
pub struct PipeTx {
    fd: OwnedFd,
}

impl PipeTx {
    fn try_write(&mut self, bytes: &[u8]) -> Result<usize> {
        match write(&self.fd, bytes) {
            Ok(written) => Ok(written),
            Err(Errno::AGAIN | Errno::INTR) => Ok(0),
            Err(error) => Err(error.into()),
        }
    }
}

impl Tx for PipeTx {
    fn try_send(&mut self, message: &[u8]) -> Result<bool> {
        let mut written = self.try_write(message)?;
        if written == 0 {
            return Ok(false);
        }
        // A long one may be written in parts.
        while written < message.len() {
            written += self.try_write(&message[written..])?;
        }
        Ok(true)
    }

    fn try_send_batch(&mut self, messages: &[u8], _: usize) -> Result<bool> {
        self.try_send(messages)
    }
}

/// Reads.
pub struct PipeRx {
    fd: OwnedFd,
    buffer: Vec<u8>,
    bytes: usize,
    /// Bytes of a message that has come in part.
    kept: usize,
}

impl Rx for PipeRx {
    fn poll(&mut self, see: &mut impl FnMut(&[u8])) -> Result<usize> {
        let read = match read(&self.fd, &mut self.buffer[self.kept..]) {
            Ok(0) if self.kept > 0 => bail!("it ends within a message, {:#x}", word_of(&self.buffer)),
            Ok(read) => read,
            Err(Errno::AGAIN | Errno::INTR) => 0,
            Err(error) => return Err(error.into()),
        };
        let there = self.kept + read;
        let whole = there / self.bytes;
        self.buffer[..whole * self.bytes].chunks_exact(self.bytes).for_each(see);
        self.buffer.copy_within(whole * self.bytes..there, 0);
        self.kept = there - whole * self.bytes;
        Ok(whole)
    }

    fn sleep(&mut self) -> Result<()> {
        match poll(&mut [PollFd::new(&self.fd, PollFlags::IN)], Some(&SLEEP)) {
            Ok(_) | Err(Errno::INTR) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}
