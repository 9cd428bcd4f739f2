//! `shmlog dump`.

use crate::find;
use crate::print::{Copied, Format};
use anyhow::Result;
use clap::Args;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use serde_json::json;
use shmlog::{JoinError, Log, ReadError, Reader, Start};
use std::io::{self, Write};
use std::path::PathBuf;
use std::str::FromStr;

/// Between two looks at a quiet log that is followed. Onlookers are not woken.
const NAP: Timespec = Timespec { tv_sec: 0, tv_nsec: 5_000_000 };

/// What to dump, and how.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// The directory of a named log, or /proc/PID/fd/N of one that a process has open.
    log: PathBuf,
    /// First record: a sequence number, `oldest` or `end`.
    #[arg(long, value_name = "SEQ|oldest|end", default_value = "oldest")]
    from: Begin,
    /// Stop before this record.
    #[arg(long, value_name = "SEQ")]
    to: Option<u64>,
    /// Stop after so many records.
    #[arg(long, value_name = "N")]
    count: Option<u64>,
    /// Wait for more until the log is closed; else stop where it ended at the start.
    #[arg(long, short)]
    follow: bool,
    /// How to write records.
    #[arg(long, value_enum, default_value_t = Format::Hex)]
    format: Format,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Begin {
    Oldest,
    End,
    Seq(u64),
}

impl FromStr for Begin {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "oldest" => Ok(Self::Oldest),
            "end" => Ok(Self::End),
            seq => seq.parse().map(Self::Seq).map_err(|_| "expected a sequence number, `oldest` or `end`"),
        }
    }
}

/// Prints the records that `options` ask for.
pub(crate) fn run(options: &Options, out: &mut impl Write) -> Result<()> {
    let log = find::log(&options.log)?;
    let (reader, next) = start(&log, options.from)?;
    let end = if options.follow { u64::MAX } else { log.reader(Start::End)?.position() };
    let dump = Dump {
        reader,
        format: options.format,
        is_following: options.follow,
        next,
        to: options.to.unwrap_or(u64::MAX).min(end),
        left: options.count.unwrap_or(u64::MAX),
        out,
    };
    dump.run()
}

/// A reader, and the record that is wanted next; that may have been given up.
fn start(log: &Log, from: Begin) -> Result<(Reader, u64)> {
    let reader = match from {
        Begin::Oldest => log.reader(Start::Oldest)?,
        Begin::End => log.reader(Start::End)?,
        Begin::Seq(seq) => match log.reader(Start::At(seq)) {
            Err(JoinError::Gone { .. }) => return Ok((log.reader(Start::Oldest)?, seq)),
            found => found?,
        },
    };
    let next = reader.position();
    Ok((reader, next))
}

struct Dump<'o, W> {
    reader: Reader,
    format: Format,
    is_following: bool,
    /// The record to print next.
    next: u64,
    to: u64,
    left: u64,
    out: &'o mut W,
}

impl<W: Write> Dump<'_, W> {
    fn run(mut self) -> Result<()> {
        self.report_missed(self.reader.position())?;
        while self.next < self.to && self.left > 0 {
            match self.look() {
                Ok(Some(record)) => self.print(&record)?,
                Ok(None) if !self.is_following => break,
                Ok(None) if self.wait()? => {}
                Ok(None) => break,
                Err(ReadError::Closed) => break,
                Err(ReadError::Lagged { next, .. } | ReadError::GivenUp { oldest: next, .. }) => self.catch_up(next)?,
                Err(error) => {
                    self.out.flush()?;
                    return Err(error.into());
                }
            }
        }
        Ok(self.out.flush()?)
    }

    fn look(&mut self) -> Result<Option<Copied>, ReadError> {
        self.reader.try_next()?.map(|record| Copied::of(&record, self.format)).transpose()
    }

    fn print(&mut self, record: &Copied) -> Result<()> {
        if record.seq >= self.next {
            self.report_missed(record.seq)?;
            record.write(self.format, self.out)?;
            self.next = record.seq.saturating_add(1);
            self.left -= 1;
        }
        Ok(())
    }

    /// Shows what there is and waits a little. False: nobody reads the output any more.
    fn wait(&mut self) -> Result<bool> {
        self.out.flush()?;
        is_read_after(NAP)
    }

    /// Goes on at `next`. A record given up while it was copied leaves the reader behind it.
    fn catch_up(&mut self, next: u64) -> Result<()> {
        if next > self.reader.position() {
            match self.reader.seek(next) {
                // Given up as well: the next look says so.
                Ok(()) | Err(JoinError::Gone { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        self.report_missed(next)
    }

    /// Says that records before `next` are gone.
    fn report_missed(&mut self, next: u64) -> Result<()> {
        let missed = next.saturating_sub(self.next);
        if missed == 0 {
            return Ok(());
        }
        self.next = next;
        if self.format == Format::Json {
            writeln!(self.out, "{}", json!({ "lagged": { "missed": missed, "next": next } }))?;
        }
        // Best effort: there may be no standard error.
        let _ = writeln!(io::stderr(), "shmlog: {}", ReadError::Lagged { missed, next });
        Ok(())
    }
}

/// Sleeps, but not on when the output is a pipe whose other end is closed. Whether it is not.
fn is_read_after(nap: Timespec) -> Result<bool> {
    let stdout = io::stdout();
    let mut fds = [PollFd::new(&stdout, PollFlags::empty())];
    match poll(&mut fds, Some(&nap)) {
        Ok(_) => Ok(!fds[0].revents().contains(PollFlags::ERR)),
        Err(rustix::io::Errno::INTR) => Ok(true),
        Err(error) => Err(io::Error::from(error).into()),
    }
}
