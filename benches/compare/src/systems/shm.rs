//! shmlog's log, with an exclusive or a shared appender, on small or on huge pages.
//!
//! The log is passed on by the socket, as its users do. Appenders copy the message once, into the log; the
//! receiver is gated, so that appenders wait for it, and takes the words in place, as the receivers of the other
//! systems that can do so.
#![allow(unsafe_code, reason = "records are looked at in place")]

use crate::case::{Shape, Suite};
use crate::source::sum;
use crate::system::{Channel, End, Home, Place, Rx, Tx};
use anyhow::{Result, bail};
use shmlog::{
    Access, AppendError, Appender, Exclusive, HugePageSize, HugePages, JoinError, Log, Mode, Reader, Record, Shared,
    Start, Wait,
};
use std::marker::PhantomData;
use std::os::unix::net::UnixStream;
use std::time::Duration;

/// Longest sleep of a receiver before it looks whether it is over.
const SLEEP: Duration = Duration::from_millis(100);

/// The log. `HUGE`: on pages of 2 MiB. `LINGER_US`: for so many microseconds the receiver leaves it alone.
pub struct ShmLog<M, const HUGE: bool, const LINGER_US: u64 = 0>(PhantomData<M>);

/// Takes the appender of a kind.
pub trait Take: Mode + Sized {
    /// From this log.
    ///
    /// # Errors
    /// As the log says.
    fn take(log: &Log) -> Result<Appender<Self>, JoinError>;
}

impl Take for Exclusive {
    fn take(log: &Log) -> Result<Appender<Self>, JoinError> {
        log.exclusive()
    }
}

impl Take for Shared {
    fn take(log: &Log) -> Result<Appender<Self>, JoinError> {
        log.appender()
    }
}

struct Logs(Vec<Log>);

impl Home for Logs {
    fn admit(&self, place: Place, socket: &UnixStream) -> Result<()> {
        let access = if place.end == End::Tx { Access::Append } else { Access::Read };
        Ok(self.0[place.lane].send(socket, access)?)
    }
}

impl<M: Take, const HUGE: bool, const LINGER_US: u64> Channel for ShmLog<M, HUGE, LINGER_US> {
    type Tx = LogTx<M>;
    type Rx = LogRx;

    fn home(shape: &Shape) -> Result<Box<dyn Home>> {
        let huge = if HUGE { HugePages::Require(HugePageSize::TwoMiB) } else { HugePages::Off };
        // Each part of a batch has its length before it.
        let record_bytes = if shape.batch > 1 { shape.batch * (shape.bytes + 8) } else { shape.bytes };
        let log = Log::builder()
            .windows(shape.windows)
            .window_bytes(shape.window_bytes)
            .record_bytes(record_bytes as u64)
            .huge_pages(huge);
        let logs = (0..shape.lanes).map(|lane| log.create_memfd(&format!("compare-{lane}")));
        Ok(Box::new(Logs(logs.collect::<Result<_, _>>()?)))
    }

    fn tx(shape: &Shape, _: Place, socket: &UnixStream) -> Result<LogTx<M>> {
        let appender = M::take(&Log::receive(socket)?)?;
        Ok(LogTx { appender, parts: shape.batch })
    }

    fn rx(shape: &Shape, place: Place, socket: &UnixStream) -> Result<LogRx> {
        let log = Log::receive(socket)?;
        let wait = if shape.sleeps() { Wait::Block } else { Wait::Spin };
        let builder = log.reader_builder().gated(place.end == End::Rx).wait(wait);
        let reader = builder.linger(Duration::from_micros(LINGER_US)).start(Start::Oldest)?;
        Ok(LogRx { reader, is_batched: shape.batch > 1, is_single: shape.suite == Suite::Rtt })
    }
}

/// Appends.
pub struct LogTx<M: Mode> {
    appender: Appender<M>,
    parts: usize,
}

impl<M: Mode> Tx for LogTx<M> {
    #[inline]
    fn try_send(&mut self, message: &[u8]) -> Result<bool> {
        appended(self.appender.append(message))
    }

    /// One record with so many parts: one commit makes all of them visible.
    fn try_send_batch(&mut self, messages: &[u8], bytes: usize) -> Result<bool> {
        const MOST: usize = 256;
        if self.parts > MOST {
            bail!("batches of more than {MOST}");
        }
        let mut parts: [&[u8]; MOST] = [&[]; MOST];
        for (part, message) in parts.iter_mut().zip(messages.chunks_exact(bytes)) {
            *part = message;
        }
        appended(self.appender.append_parts(&parts[..self.parts]))
    }
}

#[inline]
fn appended(done: Result<u64, AppendError>) -> Result<bool> {
    match done {
        Ok(_) => Ok(true),
        Err(AppendError::Full { .. }) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Reads.
pub struct LogRx {
    reader: Reader,
    is_batched: bool,
    /// No more than one record is under way: there is no point in looking for the one after it.
    is_single: bool,
}

impl Rx for LogRx {
    #[inline]
    fn poll(&mut self, see: &mut impl FnMut(&[u8])) -> Result<usize> {
        if self.is_single {
            let Some(record) = self.reader.try_next()? else { return Ok(0) };
            show(record, see)?;
            return Ok(1);
        }
        let mut seen = 0;
        for record in self.reader.batch()? {
            seen += if self.is_batched { show_parts(record, see)? } else { show(record, see)? };
        }
        Ok(seen)
    }

    fn sleep(&mut self) -> Result<()> {
        self.reader.wait_next(SLEEP)?;
        Ok(())
    }
}

#[inline]
fn show(record: Record<'_>, see: &mut impl FnMut(&[u8])) -> Result<usize> {
    // SAFETY: all peers are this very program, which never writes to records that were appended.
    see(unsafe { record.as_slice() }?);
    Ok(1)
}

#[inline]
fn show_parts(record: Record<'_>, see: &mut impl FnMut(&[u8])) -> Result<usize> {
    let mut seen = 0;
    for part in record.parts() {
        // SAFETY: as above.
        see(unsafe { part?.as_slice() }?);
        seen += 1;
    }
    Ok(seen)
}

/// The sum of a record's words, in place.
///
/// # Errors
/// It is not held.
#[inline]
pub fn look(record: Record<'_>) -> Result<u64> {
    let mut total = 0;
    show(record, &mut |bytes| total = sum(bytes))?;
    Ok(total)
}
