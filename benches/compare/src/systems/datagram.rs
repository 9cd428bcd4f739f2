//! Unix datagrams: a system call for each message at both ends. Like a pipe, polled without sleeping.

use crate::case::Shape;
use crate::system::{Channel, Home, NoHome, Place, Rx, Tx};
use anyhow::{Context, Result};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use std::io::{Error, ErrorKind};
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

/// Messages that are received in a row.
const MOST: usize = 64;
/// Longest sleep.
const SLEEP: Timespec = Timespec { tv_sec: 0, tv_nsec: 100_000_000 };
/// How long a sender waits for the receiver's socket.
const PATIENCE: Duration = Duration::from_secs(10);

/// The sockets, by name.
pub struct Datagram;

fn path(shape: &Shape, lane: usize) -> PathBuf {
    shape.dir.join(format!("socket-{lane}"))
}

impl Channel for Datagram {
    type Tx = DatagramTx;
    type Rx = DatagramRx;

    fn home(_: &Shape) -> Result<Box<dyn Home>> {
        Ok(Box::new(NoHome))
    }

    fn tx(shape: &Shape, place: Place, _: &UnixStream) -> Result<DatagramTx> {
        let socket = UnixDatagram::unbound()?;
        socket.set_nonblocking(true)?;
        let began = Instant::now();
        while let Err(error) = socket.connect(path(shape, place.lane)) {
            if began.elapsed() > PATIENCE {
                return Err(error).context("the receiver's socket");
            }
            thread::sleep(Duration::from_millis(1));
        }
        Ok(DatagramTx { socket })
    }

    fn rx(shape: &Shape, place: Place, _: &UnixStream) -> Result<DatagramRx> {
        let socket = UnixDatagram::bind(path(shape, place.lane))?;
        socket.set_nonblocking(true)?;
        Ok(DatagramRx { socket, buffer: vec![0; shape.bytes] })
    }
}

/// Sends.
pub struct DatagramTx {
    socket: UnixDatagram,
}

impl Tx for DatagramTx {
    fn try_send(&mut self, message: &[u8]) -> Result<bool> {
        match self.socket.send(message) {
            Ok(_) => Ok(true),
            Err(error) if is_passing(&error) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }
}

/// Receives.
pub struct DatagramRx {
    socket: UnixDatagram,
    buffer: Vec<u8>,
}

impl Rx for DatagramRx {
    fn poll(&mut self, see: &mut impl FnMut(&[u8])) -> Result<usize> {
        for seen in 0..MOST {
            match self.socket.recv(&mut self.buffer) {
                Ok(len) => see(&self.buffer[..len]),
                Err(error) if is_passing(&error) => return Ok(seen),
                Err(error) => return Err(error.into()),
            }
        }
        Ok(MOST)
    }

    fn sleep(&mut self) -> Result<()> {
        match poll(&mut [PollFd::new(&self.socket, PollFlags::IN)], Some(&SLEEP)) {
            Ok(_) | Err(Errno::INTR) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

fn is_passing(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted)
        || error.raw_os_error() == Some(Errno::NOBUFS.raw_os_error())
}
