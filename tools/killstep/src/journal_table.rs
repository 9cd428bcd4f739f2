//! What victims do with a journal, and what is there before.

use crate::journal_play as play;
use crate::journal_stage::JournalStage;
use crate::route::End;
use crate::stage::{Effect, Operation, Stage};
use anyhow::Result;
use std::time::Duration;

/// A typical record.
pub(crate) const LEN: usize = 40;
/// More than there is room for in a full file.
const LARGE: usize = 7000;
/// Records that the victim deletes, all in the first file.
pub(crate) const DELETED: [u64; 2] = [0, 2];
/// The record that it prunes to, the first one of the last file, or sets a cursor to.
pub(crate) const PRUNED: u64 = 5;
/// The name of the cursor that the victim makes.
pub(crate) const CURSOR: &str = "victim's";

/// Who else is there, and what of the journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Others {
    /// One who has it open, and survives; the file has room.
    Survivor,
    /// The same, with records that nobody made durable.
    SurvivorBehind,
    /// The same, beside one who was killed when it was about to sync.
    SurvivorOfFlush,
    /// One who has it open; the file is full.
    SurvivorFull,
    /// The same, and there are three full files.
    SurvivorFiles,
    /// The same, where two are kept: the one that was given up is the next one's room.
    SurvivorRecycling,
    /// One who was killed. The front is there.
    Dead,
    /// One who was killed; the front is gone, as after a reboot, and something torn stands behind the records.
    DeadAndTorn,
    /// The same; and when the victim stands where it dies, another one opens the journal.
    DeadAndRaced,
    /// One whose sync failed, which lost what it had written, and who was killed then. The front is there.
    Failed,
    /// The same, and the front is in the journal's directory.
    FailedInside,
    /// Nobody has it open. Of three files the second is damaged.
    Damaged,
    /// Nobody, ever.
    Nobody,
}

/// What is to be there behind the operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Brings {
    /// Nothing.
    Nothing,
    /// The victim's record, of so many bytes.
    Record(usize),
    /// That was appended before.
    RecordBefore(usize),
    /// Fewer records: from [`PRUNED`] on.
    Pruned,
    /// All but [`DELETED`].
    Deleted,
    /// [`CURSOR`], at [`PRUNED`].
    Cursor,
}

/// An operation on a journal.
pub(crate) struct JournalOperation {
    name: &'static str,
    pub(crate) others: Others,
    pub(crate) brings: Brings,
    /// Every how many of the instructions that nobody can see.
    every: usize,
    pub(crate) play: fn(&JournalStage<'_>) -> Result<u64>,
}

impl Operation for JournalOperation {
    fn name(&self) -> &'static str {
        self.name
    }

    fn end(&self) -> End {
        End::Mark
    }

    fn effect(&self) -> Effect {
        match self.brings {
            Brings::Nothing | Brings::RecordBefore(_) => Effect::Nothing,
            _ => Effect::Appears,
        }
    }

    fn every(&self) -> usize {
        self.every
    }

    fn is_every_visible(&self) -> bool {
        true
    }

    fn long(&self) -> Duration {
        // Who finds that a flush is under way looks after 5 ms whether its process died.
        Duration::from_millis(50)
    }

    fn stage(&self) -> Result<Box<dyn Stage + '_>> {
        Ok(Box::new(JournalStage::set(self)?))
    }
}

/// All of them.
pub(crate) fn operations() -> Vec<Box<dyn Operation>> {
    use Brings::{Cursor, Deleted, Nothing, Pruned, Record, RecordBefore};
    use Others::{Damaged, Dead, DeadAndRaced, DeadAndTorn, Failed, FailedInside, Nobody, Survivor, SurvivorBehind};
    use Others::{SurvivorFiles, SurvivorFull, SurvivorOfFlush, SurvivorRecycling};
    let new = |name, others, brings, every, play| JournalOperation { name, others, brings, every, play };
    let all = [
        new("journal: append durably", Survivor, Record(LEN), 101, play::append),
        new("journal: append durably, after a death in a flush", SurvivorOfFlush, Record(LEN), 101, play::append),
        new("journal: append to a new file", SurvivorFull, Record(LARGE), 211, play::append),
        new("journal: append to a recycled file", SurvivorRecycling, Record(LARGE), 211, play::append),
        new("journal: sync what others committed", SurvivorBehind, Nothing, 101, play::sync),
        new("journal: set a cursor durably", Survivor, Cursor, 101, play::set_cursor),
        new("journal: delete durably", SurvivorFiles, Deleted, 101, play::delete),
        new("journal: prune", SurvivorFiles, Pruned, 101, play::prune),
        new("journal: join", Survivor, Nothing, 101, play::open),
        new("journal: leave", Survivor, RecordBefore(LEN), 211, play::leave),
        new("journal: make", Nobody, Nothing, 4001, play::open),
        new("journal: take up the front", Dead, Nothing, 101, play::open),
        new("journal: go on after a failed sync", Failed, Nothing, 4001, play::open),
        new("journal: go on after a failed sync, the front inside", FailedInside, Nothing, 8009, play::open),
        new("journal: recover", DeadAndTorn, Nothing, 4001, play::open),
        new("journal: recover while another opens it", DeadAndRaced, Nothing, 8009, play::open),
        new("journal: repair", Damaged, Nothing, 8009, play::repair),
        new("journal: close", Nobody, RecordBefore(LEN), 401, play::leave),
    ];
    all.into_iter().map(|operation| Box::new(operation) as Box<dyn Operation>).collect()
}
