//! From the start of a process to the first record in its hands.

use super::{NoHome, System};
use crate::case::{Job, Part, Shape, Suite};
use crate::child::ready;
use crate::clock::shared_ns;
use crate::source::sum;
use crate::system::{Home, Kind, MakeHome, Play};
use crate::told::{Told, no_times};
use anyhow::{Context, Result, ensure};
use shmlog::{Access, Hub, HubClient, Log, RunningHub, Start};
use std::fs::{File, OpenOptions};
use std::io::{Read, Write};

/// The name by which the hub gives the log out.
const NAME: &str = "compare";
/// What every byte of the record is.
pub const BYTE: u8 = 7;

/// Who starts.
pub fn systems() -> Vec<System> {
    let system =
        |name, kind, home: MakeHome, play: Play| System { name, kind, suites: &[Suite::Attach], how: Ok((home, play)) };
    vec![
        system("shmlog", Kind::Process, hub, HUB),
        #[cfg(feature = "iceoryx2")]
        system("iceoryx2", Kind::Process, super::iceoryx::attach::home, super::iceoryx::attach::PLAY),
        #[cfg(not(feature = "iceoryx2"))]
        super::missing("iceoryx2", Kind::Process, &[Suite::Attach], "built without `iceoryx2`"),
        system("pipe", Kind::Process, fifo, FIFO),
        system("process", Kind::Limit, |_| Ok(Box::new(NoHome)), NOTHING),
    ]
}

/// A hub in the parent, and a log with one record.
struct Host {
    _hub: RunningHub,
    _log: Log,
}

impl Home for Host {}

fn hub(shape: &Shape) -> Result<Box<dyn Home>> {
    let log = Log::builder().windows(shape.windows).window_bytes(shape.window_bytes).create_memfd(NAME)?;
    log.exclusive()?.append(&vec![BYTE; shape.bytes])?;
    let hub = Hub::builder().log(NAME, &log).listen(shape.dir.join("hub"), 0o600)?.start()?;
    Ok(Box::new(Host { _hub: hub, _log: log }))
}

const HUB: Play = |job, socket| {
    let mut client = HubClient::connect(job.shape.dir.join("hub"))?;
    let log = client.log(NAME, Access::Read)?;
    let mut reader = log.reader(Start::First)?;
    let mut record = vec![0; job.shape.bytes];
    reader.try_next()?.context("a record was there before")?.copy_to(&mut record)?;
    let told = arrived(job, &record)?;
    ready(socket)?;
    Ok(told)
};

/// A pipe by name, with one record in it: each child puts it back.
struct Filled {
    _file: File,
}

impl Home for Filled {}

fn fifo(shape: &Shape) -> Result<Box<dyn Home>> {
    use rustix::fs::{CWD, FileType, Mode, mknodat};
    let path = shape.dir.join("pipe");
    mknodat(CWD, &path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0)?;
    // For both, so that opening it does not wait.
    let mut file = OpenOptions::new().read(true).write(true).open(path)?;
    file.write_all(&vec![BYTE; shape.bytes])?;
    Ok(Box::new(Filled { _file: file }))
}

const FIFO: Play = |job, socket| {
    let mut file = OpenOptions::new().read(true).write(true).open(job.shape.dir.join("pipe"))?;
    let mut record = vec![0; job.shape.bytes];
    file.read_exact(&mut record)?;
    let told = arrived(job, &record)?;
    // For the next one.
    file.write_all(&record)?;
    ready(socket)?;
    Ok(told)
};

/// A process that is there, and has nothing to read.
const NOTHING: Play = |job, socket| {
    let told = arrived(job, &vec![BYTE; job.shape.bytes])?;
    ready(socket)?;
    Ok(told)
};

/// What is told of a record that was just read.
///
/// # Errors
/// It is not the one that was written.
pub fn arrived(job: &Job, record: &[u8]) -> Result<Vec<Told>> {
    let took_ns = shared_ns() - job.started_ns;
    ensure!(sum(record) == sum(&vec![BYTE; job.shape.bytes]), "some bytes are not those that were written");
    let mut times = no_times();
    times.saturating_record(took_ns * 1000);
    Ok(vec![Told { count: 1, ..Told::new(Part::First) }.with_times(&times)])
}
