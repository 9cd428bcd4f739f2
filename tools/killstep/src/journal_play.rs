//! What victims do with a journal.

use crate::journal_stage::JournalStage;
use crate::stage::VICTIM;
use crate::victim::mark;
use anyhow::Result;

/// Appends durably: to memory, to the file, to the disk.
pub(crate) fn append(stage: &JournalStage<'_>) -> Result<u64> {
    let journal = stage.open()?;
    let mut appender = journal.appender_named(VICTIM)?;
    let bytes = stage.victims();
    mark();
    let seq = appender.append_durable(&bytes);
    mark();
    Ok(seq?)
}

/// Opens it: joins, makes, or recovers it.
pub(crate) fn open(stage: &JournalStage<'_>) -> Result<u64> {
    mark();
    let journal = stage.open();
    mark();
    Ok(journal?.next_seq())
}

/// Appends, not durably, and closes it.
pub(crate) fn leave(stage: &JournalStage<'_>) -> Result<u64> {
    let journal = stage.open()?;
    let seq = journal.appender_named(VICTIM)?.append(&stage.victims())?;
    mark();
    let closed = journal.close();
    mark();
    closed?;
    Ok(seq)
}
