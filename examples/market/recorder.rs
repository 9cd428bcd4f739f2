//! The parent's side of the recorder: a thread that starts it, listens to it, starts it again when it was killed, and
//! holds the log for it meanwhile.

use crate::args::{Args, Role};
use crate::crew::{Fate, Orders, PATIENCE, fate, next};
use crate::desk::Desk;
use crate::feed::Feed;
use crate::gate::{Gate, Keeper, gate};
use crate::progress::Progress;
use anyhow::{Context, Result, bail};
use serde_json::Value;
use shmlog::{JoinError, Journal, JournalError, Log, Reader, Retention, Start};
use std::io::{BufRead, BufReader};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use tempfile::TempDir;

/// The name of the reader that holds the log for a recorder that is dead.
const ANCHOR: &str = "journal";
/// How often in a row somebody may kill it before it has made a record durable.
const PATIENT_TIMES: usize = 5;

/// One recorder process, from its start to its end.
#[derive(Clone, Debug)]
pub struct Life {
    /// See `workers::record`.
    pub joined: Option<Value>,
    /// Messages below this one are on disk: it said so.
    pub acknowledged: u64,
    pub result: Option<Value>,
    pub fate: Fate,
}

impl Life {
    /// How much it found in the journal.
    pub fn found(&self) -> Option<u64> {
        self.joined.as_ref()?["from_seq"].as_u64()
    }
}

/// What came of recording.
#[derive(Clone, Debug)]
pub struct Recording {
    pub dir: PathBuf,
    /// One more than it was killed.
    pub lives: Vec<Life>,
    /// Whether record k of the journal is message k of the feed, and there are no others.
    pub is_equal: bool,
}

/// The recorder at work.
#[derive(Debug)]
pub struct Recorder {
    dir: PathBuf,
    ready: Gate,
    thread: JoinHandle<Vec<Life>>,
}

impl Recorder {
    /// Starts it, if it is wanted.
    ///
    /// # Errors
    /// There is a recording already.
    pub fn start(desk: &Arc<Desk>, args: &Args, log: &Log, progress: &Progress) -> Result<Option<Self>> {
        let Some(dir) = args.journal.clone() else { return Ok(None) };
        check_new(&dir)?;
        let memory = if args.lose_memory { Some(make_memory()?) } else { None };
        let mut supervisor = Supervisor {
            desk: Arc::clone(desk),
            orders: Orders::of(args, 0),
            dir: dir.clone(),
            anchor: hold(log).context("holding the log for the recorder")?,
            memory,
            kills: args.kill_recorder_after.clone(),
            progress: progress.clone(),
        };
        let (keeper, ready) = gate();
        let thread = thread::spawn(move || supervisor.run(keeper));
        Ok(Some(Self { dir, ready, thread }))
    }

    /// Waits until it has joined, or failed to.
    pub fn wait_ready(&self) {
        self.ready.wait();
    }

    /// Waits until it has recorded all, and compares that with what was published of the feed.
    pub fn finish(self, feed: &Feed, published: u64) -> Result<Recording> {
        let Ok(lives) = self.thread.join() else { bail!("the recorder's thread panicked") };
        let is_done = lives.last().is_some_and(|life| life.fate == Fate::Done);
        let is_equal = is_done && is_equal(feed, &Feed::recorded(&self.dir)?, published)?;
        Ok(Recording { dir: self.dir, lives, is_equal })
    }
}

fn check_new(dir: &Path) -> Result<()> {
    let found = match Journal::builder().thread(false).open_existing(dir) {
        Ok(journal) => journal.next_seq(),
        Err(JournalError::NotFound { .. }) => 0,
        Err(error) => return Err(error).context("looking for a recording"),
    };
    if found > 0 {
        let dir = dir.display();
        bail!(
            "there is a recording of {found} messages in {dir}: replay it by --replay, or record to another directory"
        );
    }
    Ok(())
}

/// A directory on tmpfs for the journal's front, which can be found to be taken away.
fn make_memory() -> Result<TempDir> {
    tempfile::Builder::new().prefix("market-").tempdir_in("/dev/shm").context("/dev/shm")
}

/// The log keeps what is not durable, whoever dies. One that overwrites keeps it for a recorder that lives, and not for
/// the next one.
fn hold(log: &Log) -> Result<Option<Reader>, JoinError> {
    let is_gated = log.info().retention != Retention::Overwrite;
    let anchor = is_gated.then(|| log.reader_builder().name(ANCHOR).gated(true).start(Start::First));
    anchor.transpose()
}

fn is_equal(feed: &Feed, recorded: &Feed, published: u64) -> Result<bool> {
    if recorded.len() != published || recorded.fault().is_some() {
        return Ok(false);
    }
    let (mut ours, mut theirs) = (feed.play()?, recorded.play()?);
    for _ in 0..published {
        if ours.next()? != theirs.next()? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// What the thread has.
struct Supervisor {
    desk: Arc<Desk>,
    orders: Orders,
    dir: PathBuf,
    /// Stands at the first message that is not durable.
    anchor: Option<Reader>,
    memory: Option<TempDir>,
    /// After how many messages it is to be killed next, and after that.
    kills: Vec<u64>,
    progress: Progress,
}

impl Supervisor {
    fn run(&mut self, ready: Keeper) -> Vec<Life> {
        let (mut lives, mut ready, mut acknowledged, mut fruitless) = (Vec::new(), Some(ready), 0, 0);
        loop {
            let is_asked_for = !self.kills.is_empty();
            let mut life = Life { joined: None, acknowledged, result: None, fate: Fate::Failed { why: String::new() } };
            life.fate =
                self.live(&mut life, &mut ready).unwrap_or_else(|error| Fate::Failed { why: format!("{error:#}") });
            ready = None;
            fruitless = if is_asked_for || life.acknowledged > acknowledged { 0 } else { fruitless + 1 };
            acknowledged = life.acknowledged;
            let was_killed = matches!(life.fate, Fate::Killed { .. });
            if life.fate != Fate::Done {
                self.progress
                    .say(&format!("market: recorder {}; {} messages are durable", life.fate, life.acknowledged));
            }
            lives.push(life);
            if !was_killed || fruitless >= PATIENT_TIMES {
                return lives;
            }
            self.lose_memory();
        }
    }

    /// Starts it and listens to it to its end.
    fn live(&mut self, life: &mut Life, ready: &mut Option<Keeper>) -> Result<Fate> {
        let (ours, theirs) = UnixStream::pair()?;
        let mut command = self.orders.command(Role::Recorder, theirs)?;
        command.arg("--journal").arg(&self.dir);
        if !self.kills.is_empty() {
            command.args(["--kill-recorder-after", &self.kills.remove(0).to_string()]);
        }
        if let Some(memory) = &self.memory {
            command.arg("--front").arg(memory.path());
        }
        let mut child = self.desk.spawn(Role::Recorder, &mut command)?;
        // With it goes this process's copy of the recorder's end.
        drop(command);
        if let Err(error) = self.listen(ours, life, ready) {
            child.kill()?;
            child.wait()?;
            return Err(error);
        }
        Ok(fate(child.wait()?, life.result.is_some()))
    }

    fn listen(&mut self, conversation: UnixStream, life: &mut Life, ready: &mut Option<Keeper>) -> Result<()> {
        conversation.set_read_timeout(Some(PATIENCE))?;
        let mut lines = BufReader::new(conversation.try_clone()?).lines();
        life.joined = next(&mut lines)?;
        ready.take();
        conversation.set_read_timeout(None)?;
        while let Some(said) = next(&mut lines)? {
            if let Some(durable) = said["durable"].as_u64() {
                life.acknowledged = durable;
                self.anchor.as_mut().map_or(Ok(()), |anchor| anchor.seek(durable))?;
            }
            if said.get("records").is_some() {
                life.result = Some(said);
            }
        }
        Ok(())
    }

    /// Takes the journal's front away.
    fn lose_memory(&self) {
        let fronts = self.memory.as_ref().and_then(|memory| memory.path().read_dir().ok());
        for front in fronts.into_iter().flatten().flatten() {
            if let Err(error) = std::fs::remove_dir_all(front.path()) {
                self.progress.say(&format!("market: {}: {error}", front.path().display()));
            }
        }
    }
}
