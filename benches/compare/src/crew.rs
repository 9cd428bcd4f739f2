//! The children of one trial: started, let in, started off together, heard, and gone at the end in any case.

use crate::case::{Job, Part, Seat, Suite};
use crate::child::{FLAG, hear};
use crate::clock::shared_ns;
use crate::system::{Home, Kind};
use crate::told::{Told, Word};
use anyhow::{Context, Result, bail, ensure};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::io::Write;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// How long children may take to attach.
const ATTACHING: Duration = Duration::from_secs(30);
/// How long they may take beyond what they were told.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long one that has begun a word may take to end it.
const WORD: Duration = Duration::from_secs(10);

/// One child.
struct Member {
    child: Child,
    socket: UnixStream,
    seats: Vec<Seat>,
    suite: Suite,
}

impl Member {
    fn start(job: &Job) -> Result<Self> {
        let (ours, theirs) = UnixStream::pair()?;
        ours.set_read_timeout(Some(WORD))?;
        ours.set_write_timeout(Some(WORD))?;
        let job_text = serde_json::to_string(&Job { started_ns: shared_ns(), ..job.clone() })?;
        let mut command = Command::new("/proc/self/exe");
        command.args([FLAG, &job_text]).stdin(Stdio::from(OwnedFd::from(theirs))).stdout(Stdio::null());
        let child = command.spawn().context("starting a child")?;
        Ok(Self { child, socket: ours, seats: job.seats.clone(), suite: job.shape.suite })
    }

    fn admit(&self, home: &dyn Home) -> Result<()> {
        for seat in &self.seats {
            for place in seat.part.places(seat.index) {
                home.admit(place, &self.socket)?;
            }
        }
        Ok(())
    }

    /// Whether it goes on until the others are done.
    fn attends(&self) -> bool {
        let is_writer = |seat: &Seat| self.suite == Suite::Snapshot && seat.part == Part::First;
        self.seats.iter().all(|seat| seat.part == Part::Attend || is_writer(seat))
    }

    fn nudge(&self) -> Result<()> {
        (&self.socket).write_all(&[1]).context("a child is gone")
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Plays one trial to its end.
///
/// # Errors
/// A child failed, died, or took too long. None is left behind.
pub fn play(home: &dyn Home, kind: Kind, job: &Job) -> Result<Vec<Told>> {
    let mut members = Vec::new();
    if kind == Kind::Threads {
        members.push(Member::start(job)?);
    } else {
        for seat in &job.seats {
            members.push(Member::start(&Job { seats: vec![seat.clone()], ..job.clone() })?);
        }
        members.iter().try_for_each(|member| member.admit(home))?;
    }
    let all: Vec<_> = members.iter().collect();
    hear_all(&all, ATTACHING, |word| match word {
        Word::Ready => Ok(()),
        Word::Failed(why) => bail!(why),
        Word::Done(_) => bail!("a child was done before it began"),
    })?;
    all.iter().try_for_each(|member| member.nudge())?;
    let mut told = Vec::new();
    let (attending, playing): (Vec<_>, Vec<_>) = all.into_iter().partition(|member| member.attends());
    let patience = PATIENCE + Duration::from_secs_f64(job.seconds);
    told.extend(hear_all(&playing, patience, done)?.into_iter().flatten());
    // One that was done before is gone, but not without a word.
    attending.iter().for_each(|member| drop(member.nudge()));
    told.extend(hear_all(&attending, PATIENCE, done)?.into_iter().flatten());
    drop(members);
    Ok(told)
}

fn done(word: Word) -> Result<Vec<Told>> {
    match word {
        Word::Done(told) => Ok(told),
        Word::Failed(why) => bail!(why),
        Word::Ready => bail!("a child said twice that it was ready"),
    }
}

/// Hears one word from each, as they come: one that failed need not wait for one that hangs.
fn hear_all<T>(members: &[&Member], patience: Duration, mut take: impl FnMut(Word) -> Result<T>) -> Result<Vec<T>> {
    let deadline = Instant::now() + patience;
    let mut silent: Vec<&Member> = members.to_vec();
    let mut heard = Vec::new();
    while !silent.is_empty() {
        let left = deadline.saturating_duration_since(Instant::now());
        ensure!(!left.is_zero(), "{} of {} ends hung for {patience:?}", silent.len(), members.len());
        let mut watched: Vec<_> = silent.iter().map(|member| PollFd::new(&member.socket, PollFlags::IN)).collect();
        let left = Timespec::try_from(left)?;
        match poll(&mut watched, Some(&left)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error).context("waiting for the children"),
        }
        let spoke: Vec<bool> = watched.iter().map(|one| !one.revents().is_empty()).collect();
        drop(watched);
        for (member, _) in silent.iter().zip(&spoke).filter(|(_, spoke)| **spoke) {
            heard.push(take(hear(&member.socket).context("a child died")?)?);
        }
        let mut spoke = spoke.into_iter();
        silent.retain(|_| !spoke.next().unwrap_or(false));
    }
    Ok(heard)
}
