//! Opening what a path names, and saying what it is if it is the other thing.

use anyhow::{Result, bail};
use shmlog::{AttachError, Log, Snapshot};
use std::path::Path;

/// The log at `path`, to look on.
pub(crate) fn log(path: &Path) -> Result<Log> {
    match Log::observe(path) {
        Ok(log) => Ok(log),
        Err(_) if Snapshot::observe(path).is_ok() => {
            bail!("{0} is a snapshot, not a log: look at it with `shmlog slots {0}`", path.display())
        }
        Err(error) => not_of_a_journal(path, error),
    }
}

/// The snapshot at `path`, to look on.
pub(crate) fn snapshot(path: &Path) -> Result<Snapshot> {
    match Snapshot::observe(path) {
        Ok(snapshot) => Ok(snapshot),
        Err(_) if Log::observe(path).is_ok() => {
            bail!(
                "{0} is a log, not a snapshot: look at it with `shmlog info {0}`, or `dump` for its records",
                path.display()
            )
        }
        Err(error) => not_of_a_journal(path, error),
    }
}

/// The error, unless what is there is a journal.
fn not_of_a_journal<T>(path: &Path, error: AttachError) -> Result<T> {
    if path.join("control").is_file() && path.join("lock").is_file() {
        bail!("{0} is a journal: look at it with `shmlog journal info {0}`, or `journal dump`", path.display());
    }
    Err(error.into())
}
