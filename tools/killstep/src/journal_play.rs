//! What victims do with a journal.

use crate::journal_stage::JournalStage;
use crate::journal_table::{CURSOR, DELETED, PRUNED};
use crate::stage::VICTIM;
use crate::victim::mark;
use anyhow::Result;
use shmlog::Journal;

/// Does something between two marks.
fn between<T>(act: impl FnOnce() -> T) -> T {
    mark();
    let done = act();
    mark();
    done
}

/// Appends durably: to memory, to the file, to the disk.
pub(crate) fn append(stage: &JournalStage<'_>) -> Result<u64> {
    let journal = stage.open()?;
    let mut appender = journal.appender_named(VICTIM)?;
    let bytes = stage.victims();
    Ok(between(|| appender.append_durable(&bytes))?)
}

/// Makes durable what others committed.
pub(crate) fn sync(stage: &JournalStage<'_>) -> Result<u64> {
    let journal = stage.open()?;
    Ok(between(|| journal.sync())?)
}

/// Makes a cursor, sets it, and makes that durable.
pub(crate) fn set_cursor(stage: &JournalStage<'_>) -> Result<u64> {
    let journal = stage.open()?;
    between(|| {
        let cursor = journal.cursor(CURSOR)?;
        cursor.advance(PRUNED)?;
        cursor.sync()?;
        Ok(cursor.get()?)
    })
}

/// Deletes records durably.
pub(crate) fn delete(stage: &JournalStage<'_>) -> Result<u64> {
    let journal = stage.open()?;
    Ok(between(|| journal.delete_durable(&DELETED))?)
}

/// Gives up all files but the last.
pub(crate) fn prune(stage: &JournalStage<'_>) -> Result<u64> {
    let journal = stage.open()?;
    Ok(between(|| journal.prune(PRUNED))?)
}

/// Goes on without what is damaged.
pub(crate) fn repair(stage: &JournalStage<'_>) -> Result<u64> {
    let dir = stage.dir();
    Ok(between(|| Journal::repair(&dir, ""))?.lost.len() as u64)
}

/// Opens it: joins, makes, or recovers it.
pub(crate) fn open(stage: &JournalStage<'_>) -> Result<u64> {
    Ok(between(|| stage.open())?.next_seq())
}

/// Appends, not durably, and closes it.
pub(crate) fn leave(stage: &JournalStage<'_>) -> Result<u64> {
    let journal = stage.open()?;
    let seq = journal.appender_named(VICTIM)?.append(&stage.victims())?;
    between(|| journal.close())?;
    Ok(seq)
}
