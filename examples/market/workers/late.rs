//! The worker that joins late: it restores the owner's books, and reads on from there.

use super::books_json;
use super::parent::Parent;
use super::source::{Source, builder, join_at_start};
use crate::args::Waits;
use crate::book::Books;
use anyhow::Result;
use serde_json::json;
use shmlog::{Joined, LoadError, Loaded, Reader, ReaderBuilder, Replica, SnapshotReader};

pub fn run(replica: &Replica, wait: Waits, parent: Parent) -> Result<()> {
    let Restored { mut books, as_of, note, reader } = join(replica, builder(replica.log(), parent.role, wait))?;
    let mut source = Source::new(reader, parent, json!({ "snapshot_as_of": as_of, "note": note }))?;
    source.each(|arrival| {
        books.apply(arrival.message);
        Ok(())
    })?;
    source.finish(books_json(&books));
    Ok(())
}

/// What it begins with.
#[derive(Debug)]
pub struct Restored {
    pub books: Books,
    /// The last record that is in the books.
    pub as_of: Option<u64>,
    /// Why none is.
    pub note: Option<String>,
    pub reader: Reader,
}

/// Restores the books, or begins with none at record 0, or at the oldest one if that is gone.
pub fn join(replica: &Replica, builder: ReaderBuilder<'_>) -> Result<Restored> {
    let why = match replica.join_by(builder.clone(), load) {
        Ok(Joined { state: Some(Loaded { value: Ok(books), as_of, .. }), reader }) => {
            return Ok(Restored { books, as_of, note: None, reader });
        }
        Ok(Joined { state: Some(Loaded { value: Err(error), .. }), .. }) => error.to_string(),
        Ok(Joined { state: None, .. }) => "no books have been published yet".to_owned(),
        Err(error) => error.to_string(),
    };
    Ok(Restored { books: Books::default(), as_of: None, note: Some(why), reader: join_at_start(builder)? })
}

/// The books, read in place while the owner goes on.
fn load(slot: &mut SnapshotReader) -> Result<Option<Loaded<Result<Books>>>, LoadError> {
    let Some(state) = slot.pin()? else { return Ok(None) };
    Ok(Some(Loaded { version: state.version(), as_of: state.as_of(), value: Books::read(&state) }))
}
