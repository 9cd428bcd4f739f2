//! A journal: a victim that appends durably, goes on to another file, opens or closes it; beside one who has it open, or
//! where another one died before.
//!
//! The C library fills a lot of memory by one instruction that repeats itself, which takes a step for each time. Without
//! it: `GLIBC_TUNABLES=glibc.cpu.x86_rep_stosb_threshold=1000000000:glibc.cpu.x86_rep_movsb_threshold=1000000000`.

use crate::journal_play as play;
use crate::record::{Author, bytes};
use crate::route::End;
use crate::stage::{Aftermath, Effect, Operation, Stage};
use crate::victim::{Victim, mark};
use anyhow::{Context, Result, ensure};
use shmlog::{FrontHome, Journal, JournalAppender, JournalBuilder, Start};
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::Instant;
use tempfile::TempDir;

const FILE_BYTES: u64 = 64 << 10;
/// A typical record.
const LEN: usize = 40;
/// Two of these leave less room in a file than a [`LARGE`] one takes.
const HALVES: [usize; 2] = [30_000, 25_000];
pub(crate) const LARGE: usize = 7000;
/// Records that are durable, and that are not, before one dies.
const DURABLE: u64 = 6;
const COMMITTED: u64 = 9;

/// Who else is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Others {
    /// One who has it open, and survives; the file has room.
    Survivor,
    /// The same, and the file has none.
    SurvivorFull,
    /// One who was killed. The front is there.
    Dead,
    /// One who was killed; the front is gone, as after a reboot, and something torn stands behind the records.
    DeadAndTorn,
    /// Nobody, ever.
    Nobody,
}

/// An operation on a journal.
struct JournalOperation {
    name: &'static str,
    others: Others,
    effect: Effect,
    /// Bytes of the record that the victim appends in it, or before it if it brings nothing; 0: none.
    appends: usize,
    /// Every how many instructions: most of what takes many is making a log, which has a stage of its own.
    every: usize,
    play: fn(&JournalStage<'_>) -> Result<u64>,
}

impl Operation for JournalOperation {
    fn name(&self) -> &'static str {
        self.name
    }

    fn end(&self) -> End {
        End::Mark
    }

    fn effect(&self) -> Effect {
        self.effect
    }

    fn every(&self) -> usize {
        self.every
    }

    fn is_every_visible(&self) -> bool {
        true
    }

    fn long(&self) -> std::time::Duration {
        // Who finds that a flush is under way looks after 5 ms whether its process died.
        std::time::Duration::from_millis(50)
    }

    fn stage(&self) -> Result<Box<dyn Stage + '_>> {
        Ok(Box::new(JournalStage::set(self)?))
    }
}

/// See the module.
pub(crate) struct JournalStage<'o> {
    operation: &'o JournalOperation,
    survivor: Option<(JournalAppender, Journal)>,
    /// Records of those who survive, and of the one who died before: lengths, by number.
    lens: Vec<usize>,
    /// So many of them must be there.
    least: usize,
    place: TempDir,
}

impl<'o> JournalStage<'o> {
    fn set(operation: &'o JournalOperation) -> Result<Self> {
        // In memory, where files cost little; what is on a disk is the business of the crash images.
        let place = tempfile::tempdir_in("/dev/shm")?;
        std::fs::create_dir(place.path().join("fronts"))?;
        let mut stage = Self { operation, survivor: None, lens: Vec::new(), least: 0, place };
        match operation.others {
            Others::Survivor | Others::SurvivorFull => {
                let journal = stage.open()?;
                stage.survivor = Some((journal.appender_named("survivor")?, journal));
                stage.append(LEN)?;
                if operation.others == Others::SurvivorFull {
                    HALVES.into_iter().try_for_each(|len| stage.append(len))?;
                }
            }
            Others::Dead | Others::DeadAndTorn => stage.leave_dead()?,
            Others::Nobody => {}
        }
        Ok(stage)
    }

    fn dir(&self) -> PathBuf {
        self.place.path().join("journal")
    }

    pub(crate) fn builder(&self) -> JournalBuilder {
        let fronts = FrontHome::At(self.place.path().join("fronts"));
        Journal::builder().file_bytes(FILE_BYTES).front_size(2, 64 << 10).front(fronts).thread(false)
    }

    pub(crate) fn open(&self) -> Result<Journal> {
        self.builder().open(self.dir()).context("opening the journal")
    }

    /// Appends the next record of the survivor, durably.
    fn append(&mut self, len: usize) -> Result<()> {
        let (appender, _) = self.survivor.as_mut().context("nobody survives")?;
        appender.append_durable(&bytes(Author::Survivor, self.lens.len() as u64, len))?;
        self.lens.push(len);
        self.least = self.lens.len();
        Ok(())
    }

    /// One who appended, and was killed before it could close the journal.
    fn leave_dead(&mut self) -> Result<()> {
        let dead = Victim::start(|| {
            // What it could not do is found missing.
            let _ = self.live_and_stop();
            mark();
        })?;
        dead.kill()?;
        let is_torn = self.operation.others == Others::DeadAndTorn;
        self.lens = vec![LEN; usize::try_from(COMMITTED)?];
        self.least = usize::try_from(if is_torn { DURABLE } else { COMMITTED })?;
        if is_torn {
            std::fs::remove_dir_all(self.place.path().join("fronts"))?;
            std::fs::create_dir(self.place.path().join("fronts"))?;
            let file = File::options().write(true).open(self.dir().join(format!("{:020}.log", 0)))?;
            file.write_all_at(&[7; 100], FILE_BYTES / 2)?;
        }
        Ok(())
    }

    fn live_and_stop(&self) -> Result<()> {
        let journal = self.open()?;
        let mut appender = journal.appender()?;
        for number in 0..COMMITTED {
            let bytes = bytes(Author::Survivor, number, LEN);
            if number < DURABLE {
                appender.append_durable(&bytes)?
            } else {
                appender.append(&bytes)?
            };
        }
        // Nothing is dropped: that would close it.
        std::mem::forget((journal, appender));
        Ok(())
    }

    /// What the victim appends.
    pub(crate) fn victims(&self) -> Vec<u8> {
        bytes(Author::Victim, 0, self.operation.appends)
    }

    /// Reads everything, from the front and from the files. Returns how many of the survivors' there are, and whether the
    /// victim's is.
    fn read(&self, journal: &Journal) -> Result<(usize, bool)> {
        let mut reader = journal.reader(Start::First)?;
        let (mut count, mut is_there) = (0, false);
        let victims = self.victims();
        while let Some(record) = reader.try_next()? {
            let len = self.lens.get(count).copied().unwrap_or(0);
            if record.bytes() == bytes(Author::Survivor, count as u64, len) {
                count += 1;
            } else {
                ensure!(record.bytes() == victims && !is_there, "record {}: nobody's, or again", record.seq());
                is_there = true;
            }
        }
        ensure!(count >= self.least, "{count} of {} records are there", self.least);
        Ok((count, is_there))
    }

    /// Those who are left go on, durably; everything is there; and after all have closed it, too. Returns whether the
    /// victim's record is there.
    fn go_on(&mut self) -> Result<(bool, std::time::Duration)> {
        let started = Instant::now();
        if self.survivor.is_none() {
            let journal = self.open()?;
            // What was not durable may be lost.
            self.lens.truncate(self.read(&journal)?.0);
            self.survivor = Some((journal.appender_named("newcomer")?, journal));
        }
        self.append(LEN)?;
        let recovery = started.elapsed();
        for len in HALVES {
            self.append(len)?;
        }
        let (_, journal) = self.survivor.as_ref().context("nobody survives")?;
        let (_, is_there) = self.read(journal)?;
        ensure!(journal.durable() == journal.next_seq(), "all of it is durable");
        self.survivor = None;
        let left = std::fs::read_dir(self.place.path().join("fronts"))?.count();
        ensure!(left == 0, "{left} fronts are left");
        let journal = self.builder().open_existing(self.dir())?;
        ensure!(journal.recovery().is_some_and(|found| found.was_closed), "it was closed");
        ensure!(self.read(&journal)? == (self.lens.len(), is_there), "not the same after reopening");
        check_names(&self.dir())?;
        Ok((is_there, recovery))
    }
}

/// Nothing lies about but what belongs to a journal.
fn check_names(dir: &Path) -> Result<()> {
    for entry in std::fs::read_dir(dir)? {
        let name = entry?.file_name();
        let name = name.to_str().context("a name")?;
        let is_known = ["control", "lock", "spare"].iter().any(|known| name.starts_with(known))
            || [".log", ".idx"].iter().any(|ending| name.ends_with(ending))
            || name.contains(".torn-");
        ensure!(is_known, "{name} lies about");
    }
    Ok(())
}

impl Stage for JournalStage<'_> {
    fn play(&self) -> Result<u64> {
        (self.operation.play)(self)
    }

    fn files(&self) -> Option<&Path> {
        Some(self.place.path())
    }

    fn meanwhile(&mut self) -> Result<()> {
        Ok(())
    }

    fn after_death(&mut self) -> Result<Aftermath> {
        let (is_there, recovery) = self.go_on()?;
        let is_new = self.operation.effect == Effect::Appears;
        ensure!(is_new || is_there == (self.operation.appends > 0), "a record from before is there: {is_there}");
        let is_there = is_new.then_some(is_there);
        Ok(Aftermath { is_there, recovery })
    }

    fn while_stopped(&mut self, _is_patient: bool) -> Result<()> {
        // Who flushes is waited for; appends are not, as long as there is room in memory.
        let Some((appender, journal)) = &mut self.survivor else { return Ok(()) };
        appender.append(&bytes(Author::Survivor, self.lens.len() as u64, LEN))?;
        self.lens.push(LEN);
        self.least = self.lens.len();
        let journal = journal.clone();
        self.read(&journal).map(drop)
    }

    fn after_end(&mut self, _result: u64) -> Result<()> {
        let (is_there, _) = self.go_on()?;
        ensure!(is_there == (self.operation.appends > 0), "the victim's record is there: {is_there}");
        Ok(())
    }
}

/// All of them.
pub(crate) fn operations() -> Vec<Box<dyn Operation>> {
    use Others::{Dead, DeadAndTorn, Nobody, Survivor, SurvivorFull};
    let (appears, nothing) = (Effect::Appears, Effect::Nothing);
    let new =
        |name, others, appends, effect, every, play| JournalOperation { name, others, effect, appends, every, play };
    let all = [
        new("journal: append durably", Survivor, LEN, appears, 3, play::append),
        new("journal: append to a new file", SurvivorFull, LARGE, appears, 7, play::append),
        new("journal: join", Survivor, 0, nothing, 3, play::open),
        new("journal: leave", Survivor, LEN, nothing, 7, play::leave),
        new("journal: make", Nobody, 0, nothing, 997, play::open),
        new("journal: take up the front", Dead, 0, nothing, 7, play::open),
        new("journal: recover", DeadAndTorn, 0, nothing, 997, play::open),
        new("journal: close", Nobody, LEN, nothing, 31, play::leave),
    ];
    all.into_iter().map(|operation| Box::new(operation) as Box<dyn Operation>).collect()
}
