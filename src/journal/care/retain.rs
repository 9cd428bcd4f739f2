//! Giving up old records: when asked to, or when there are more than are to be kept.
//!
//! First the control file says what is given up, durably; then the files go, the oldest first. So whatever is left of
//! them after a crash is known to be garbage. One of them becomes the next spare: its blocks are written already, and
//! the salt of its next header makes its old frames none.

use crate::error::JournalError;
use crate::journal::core::{Core, Lead};
use crate::journal::files;
use crate::journal::files::control_file::{reread_control, write_control};
use crate::journal::flushing::flush::Flusher;
use crate::journal::format::header::NO_FILE;
use crate::sys::disk::Open;
use std::time::Duration;

/// How much of a journal is kept, whole files at a time; everything by default. The file that is written to always is. What
/// no reader and no cursor has come to yet is given up too. One spare file comes on top, and a few KiB beside each file.
///
/// ```
/// use shmlog::{Journal, Retain};
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let dir = tempfile::tempdir()?;
/// let retain = Retain { bytes: Some(10 << 30), ..Retain::default() };
/// let journal = Journal::builder().retain(retain).open(dir.path())?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Retain {
    /// At most so many files.
    pub files: Option<u64>,
    /// At most so many bytes of files.
    pub bytes: Option<u64>,
    /// Files whose newest record is at most so old.
    pub age: Option<Duration>,
}

impl Retain {
    /// Whether everything is kept.
    pub(crate) fn is_all(self) -> bool {
        self == Self::default()
    }

    /// How many files may be kept.
    fn max_files(self, file_bytes: u64) -> usize {
        let of_bytes = self.bytes.map(|bytes| bytes / file_bytes);
        let files = [self.files, of_bytes].into_iter().flatten().min().unwrap_or(u64::MAX);
        usize::try_from(files.max(1)).unwrap_or(usize::MAX)
    }
}

impl Lead<'_> {
    /// Gives up the records below `before`, as far as they are durable. Returns the oldest one that is kept.
    pub(crate) fn prune(&mut self, core: &Core, before: u64) -> Result<u64, JournalError> {
        core.check()?;
        prune(core, before).map_err(|error| core.located(error))
    }
}

impl Flusher {
    /// Gives up what is not to be kept any more.
    pub(crate) fn retain(core: &Core) -> Result<(), JournalError> {
        let retain = core.settings.retain;
        if retain.is_all() {
            return Ok(());
        }
        let firsts = files::firsts(&*core.disk, &core.names).map_err(JournalError::listing)?;
        let too_many = firsts.len().saturating_sub(retain.max_files(core.settings.file_bytes));
        let mut kept = firsts.get(too_many).copied().unwrap_or(0);
        if let Some(age) = retain.age {
            let age_ns = u64::try_from(age.as_nanos()).unwrap_or(u64::MAX);
            let since = core.state.mark_time().saturating_sub(age_ns);
            // The newest record of a file is older than the file that follows it.
            for &first in firsts.iter().skip(too_many + 1) {
                if files::open(&*core.disk, &core.names, core.id, first)?.header.created_unix_ns >= since {
                    break;
                }
                kept = first;
            }
        }
        prune(core, kept).map(drop)
    }
}

/// Under the flush lock.
fn prune(core: &Core, before: u64) -> Result<u64, JournalError> {
    let progress = core.state.progress();
    let oldest = before.min(progress.durable.seq);
    if oldest <= core.state.oldest() {
        return Ok(core.state.oldest());
    }
    let lost = || JournalError::Control { file: core.names.control() };
    let (mut control, turn) = reread_control(&*core.disk, &core.names)?.ok_or_else(lost)?;
    control.oldest = oldest;
    control.durable = control.durable.max(progress.durable.seq);
    write_control(&*core.disk, &core.names, &control, turn + 1)?;
    core.state.set_oldest(oldest);
    let firsts = files::firsts(&*core.disk, &core.names).map_err(JournalError::listing)?;
    let written = progress.written.file;
    for pair in firsts.windows(2) {
        // All records of a file are below the first one of the next, which has the cursors when one of its own is durable.
        if pair[1] <= oldest && pair[1] < progress.durable.seq && pair[0] != written && written != NO_FILE {
            retire(core, pair[0])?;
        }
    }
    core.state.files_changed();
    Ok(oldest)
}

/// Makes a file the next spare, or removes it.
fn retire(core: &Core, first: u64) -> Result<(), JournalError> {
    let (name, spare) = (core.names.log(first), core.names.spare());
    let os = |doing| {
        let name = name.clone();
        move |error| JournalError::os(doing, name, error)
    };
    let is_whole = || {
        let file = core.disk.open(&name, Open::Read)?;
        Ok::<_, std::io::Error>(file.len()? == core.settings.file_bytes)
    };
    if is_whole().map_err(os("looking at"))?
        && let Some(_guard) = core.lock_prepare(false)?
        && core.disk.open(&spare, Open::Read).is_err()
    {
        // What is left of it is never taken for another file's: it says whose it is.
        for beside in [core.names.index(first), core.names.marks(first)] {
            let _ = core.disk.remove(&beside);
        }
        core.disk.rename(&name, &spare).map_err(os("renaming"))?;
        // Before it is written to: under its old name it would be a damaged file.
        return core.disk.sync().map_err(os("syncing the directory of"));
    }
    for beside in [core.names.index(first), core.names.marks(first)] {
        let _ = core.disk.remove(&beside);
    }
    core.disk.remove(&name).map_err(os("removing"))?;
    // One after the other, so that none is ever missing between two that are there.
    core.disk.sync().map_err(os("syncing the directory of"))
}
