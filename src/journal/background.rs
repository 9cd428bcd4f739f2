//! The thread that sees to it that records become durable in time, and that a file is ready when one is needed.

use crate::error::JournalError;
use crate::journal::core::Core;
use crate::journal::flush::{Flusher, Goal};
use crate::journal::format::header::NO_FILE;
use crate::journal::settings::Flush;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Weak};
use std::thread::JoinHandle;
use std::time::Duration;

/// How often files are written that nobody wants durable.
const UNHURRIED: Duration = Duration::from_millis(10);

/// See the module. Stopped when dropped.
#[derive(Debug)]
pub(crate) struct Background {
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Background {
    pub(crate) fn start(core: &Arc<Core>) -> Result<Self, JournalError> {
        let (stop, stopped) = channel();
        let weak = Arc::downgrade(core);
        let (every, goal) = match core.settings.flush {
            Flush::After(within) => (within, Goal::Durable),
            Flush::Never => (UNHURRIED, Goal::Written),
        };
        let mut seen = 0;
        let run = move || loop {
            match stopped.recv_timeout(every) {
                Err(RecvTimeoutError::Timeout) => {}
                _ => return,
            }
            let Some(core) = Weak::upgrade(&weak) else { return };
            tend(&core, goal);
            index(&core, &mut seen);
        };
        let thread = std::thread::Builder::new().name("shmlog-journal".to_owned()).spawn(run);
        let thread = thread.map_err(|error| JournalError::os("starting", "the journal's thread", error))?;
        Ok(Self { stop: Some(stop), thread: Some(thread) })
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        self.stop = None;
        if let Some(thread) = self.thread.take() {
            // It panicked, and said so.
            let _ = thread.join();
        }
    }
}

/// Makes the indexes that full files lack, if files came or went since `seen`.
fn index(core: &Core, seen: &mut u64) {
    let files = core.state.files();
    if files == *seen {
        return;
    }
    *seen = files;
    if let Err(error) = core.index_ahead() {
        tracing::warn!(%error, "making an index of a journal's file");
    }
}

/// One round. What fails is said to those who want something of the journal.
fn tend(core: &Core, goal: Goal) {
    let end = core.end();
    let is_due = |end| match goal {
        Goal::Written => core.state.written() < end,
        Goal::Durable => {
            core.state.durable() < end
                || core.state.marks() != core.state.marks_durable()
                || core.state.cursors_version() != core.state.cursors_durable()
        }
    };
    if is_due(end)
        && !core.state.is_failed()
        && let Ok(Some(mut lead)) = core.try_lead()
    {
        let flushed = lead.flush(goal);
        drop(lead);
        core.state.ring();
        if let Err(error) = flushed {
            tracing::warn!(%error, "flushing a journal");
        }
    }
    if core.settings.retain.age.is_some()
        && let Ok(Some(lead)) = core.try_lead()
    {
        if let Err(error) = Flusher::retain(core) {
            tracing::warn!(%error, "giving up old files of a journal");
        }
        drop(lead);
    }
    let written = core.state.progress().written;
    // Soon, but not while the file that is written to has room for long.
    let is_wanted = end > 0 && (written.file == NO_FILE || written.offset >= core.settings.file_bytes / 4);
    if is_wanted && let Err(error) = core.prepare_ahead() {
        tracing::warn!(%error, "preparing a journal's file");
    }
}
