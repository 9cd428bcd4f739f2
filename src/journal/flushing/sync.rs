//! Making durable what was written: the files, the marks beside them, and what is known of it.

use crate::error::JournalError;
use crate::journal::core::Core;
use crate::journal::files;
use crate::journal::files::control_file::{reread_control, write_control};
use crate::journal::flushing::flush::{Flusher, fail};
use crate::journal::format::control::Control;
use crate::journal::format::header::NO_FILE;
use crate::journal::state::{Act, Progress};
use crate::sys::disk::Open;
use std::io;

impl Flusher {
    /// Makes durable what is written: in the file that is written to, and in those before it that were not synced.
    pub(crate) fn sync(&mut self, core: &Core, progress: &mut Progress) -> Result<(), JournalError> {
        let is_across = progress.durable.file != progress.written.file;
        let (cursors, marks) = (core.state.cursors_written(), core.state.marks());
        core.state.set_syncing(true);
        if let Err(error) = self.sync_files(core, progress).and_then(|()| sync_marks(core)) {
            self.place = None;
            return Err(fail(core, Act::Sync, error));
        }
        progress.durable = progress.written;
        // Before the sync counts as told.
        core.state.set_cursors_durable(cursors);
        core.state.set_marks_durable(marks);
        core.state.publish(*progress);
        core.state.set_syncing(false);
        if is_across && let Err(error) = checkpoint(core, progress.durable.seq) {
            // What is durable is; after a crash more is read to find out.
            tracing::warn!(%error, "putting down what of a journal is durable");
        }
        Ok(())
    }

    fn sync_files(&self, core: &Core, progress: &Progress) -> io::Result<()> {
        if progress.durable.file != progress.written.file {
            let from = if progress.durable.file == NO_FILE { 0 } else { progress.durable.file };
            let between = from..progress.written.file;
            for first in files::firsts(&*core.disk, &core.names)?.into_iter().filter(|first| between.contains(first)) {
                core.disk.open(&core.names.log(first), Open::Write)?.sync()?;
            }
        }
        self.sink.as_ref().map_or(Ok(()), |sink| sink.file.sync())
    }
}

/// Puts down that the records below `durable` are, where no header says so: recovery then begins to read there.
fn checkpoint(core: &Core, durable: u64) -> Result<(), JournalError> {
    if let Some((control, turn)) = reread_control(&*core.disk, &core.names)? {
        write_control(
            &*core.disk,
            &core.names,
            &Control { durable: control.durable.max(durable), ..control },
            turn + 1,
        )?;
    }
    Ok(())
}

/// Makes durable which records are deleted.
fn sync_marks(core: &Core) -> io::Result<()> {
    let version = core.state.marks();
    if version == core.state.marks_durable() {
        return Ok(());
    }
    for first in core.state.dirty_marks() {
        match core.disk.open(&core.names.marks(first), Open::Write) {
            Ok(file) => file.sync()?,
            // Given up with its records.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    // Unless somebody goes on marking, or died over it: then they are synced once more.
    let _ = core.try_marks(|| {
        if core.state.marks() == version && core.state.marking().is_none() {
            core.state.clean_marks();
        }
    });
    Ok(())
}
