//! The thread that sees to it that records become durable in time, and that a file is ready when one is needed.

use crate::error::JournalError;
use crate::journal::core::Core;
use crate::journal::flushing::flush::{Flusher, Goal};
use crate::journal::settings::Flush;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, TryRecvError, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How often files are written that nobody wants durable.
const UNHURRIED: Duration = Duration::from_millis(10);

/// The shortest time between two looks of a thread that has nothing to do.
const SHORTEST: Duration = Duration::from_micros(50);
/// Until the next look, where a lot comes in.
const HURRIED: Duration = Duration::from_millis(1);
/// How long what has time may wait, where a lot comes in.
const LEISURE: Duration = Duration::from_millis(100);
/// Bytes of a flush after which the next one begins at once: appenders are busy, and the front is not to fill up.
const BUSY_BYTES: u64 = 256 << 10;

/// See the module. Stopped when dropped.
#[derive(Debug)]
pub(crate) struct Background {
    /// A message wakes it, the end of messages stops it.
    orders: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Background {
    pub(crate) fn start(core: &Arc<Core>) -> Result<Self, JournalError> {
        let (orders, received) = channel();
        let core = Arc::clone(core);
        let thread = std::thread::Builder::new().name("shmlog-journal".to_owned()).spawn(move || run(&core, &received));
        let thread = thread.map_err(|error| JournalError::os("starting", "the journal's thread", error))?;
        Ok(Self { orders: Some(orders), thread: Some(thread) })
    }

    /// It looks around now.
    pub(crate) fn wake(&self) {
        if let Some(orders) = &self.orders {
            // It has ended only if it panicked.
            let _ = orders.send(());
        }
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        self.orders = None;
        // A call may have had the last handle of the journal.
        let is_here = |thread: &JoinHandle<()>| thread.thread().id() == std::thread::current().id();
        if let Some(thread) = self.thread.take().filter(|thread| !is_here(thread)) {
            // It panicked, and said so.
            let _ = thread.join();
        }
    }
}

fn run(core: &Core, orders: &Receiver<()>) {
    // What is there at two looks in a row is old enough to be flushed: what is younger, others may be about to.
    let (every, goal) = match core.settings.flush {
        Flush::After(within) => ((within / 2).max(SHORTEST), Goal::Durable),
        Flush::Never => (UNHURRIED, Goal::Written),
    };
    let (mut pause, mut files, mut old, mut segment) = (every, 0, core.end(), 0);
    let (mut tended, mut prepared) = (Instant::now(), None);
    loop {
        match orders.recv_timeout(pause) {
            Ok(()) | Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
        let before = segment;
        (pause, segment) = (flush(core, goal, old).min(every), core.segment());
        old = core.end();
        prepare(core, &mut prepared);
        core.call_due();
        // A call may have had the last handle: the journal is closed then, and another process's.
        if matches!(orders.try_recv(), Err(TryRecvError::Disconnected)) {
            return;
        }
        let is_busy = segment != before || pause.is_zero();
        if !is_busy || tended.elapsed() >= LEISURE {
            tend(core, &mut files);
            tended = Instant::now();
        }
        if is_busy {
            // A lot comes in: the front is not to fill up before the next look.
            pause = pause.min(HURRIED);
            continue;
        }
        if core.callbacks.is_any() && !pause.is_zero() {
            // Others may be the ones who make it so: their ring is what this thread is to hear.
            let turn = core.state.turn();
            let until = Instant::now() + every;
            // An order is heard too, and its end at the next look.
            let is_told = || core.state.turn() != turn || core.state.is_failed();
            let is_called = || !matches!(orders.try_recv(), Err(TryRecvError::Empty));
            core.state.wait(Some(until), || (is_told() || is_called()).then_some(()));
            core.call_due();
            pause = Duration::ZERO;
        }
    }
}

/// Flushes, if any record below `old` has to be, or the front is filling up, and nobody else is about it. Returns when to
/// look again, at the latest. What fails is said to those who want something of the journal.
fn flush(core: &Core, goal: Goal, old: u64) -> Duration {
    let is_due = match goal {
        Goal::Written => core.state.written() < core.end(),
        Goal::Durable => {
            core.state.durable() < old
                || core.is_filling()
                || core.state.marks() != core.state.marks_durable()
                || core.state.cursors_version() != core.state.cursors_durable()
        }
    };
    if !is_due || core.state.is_failed() {
        return Duration::MAX;
    }
    let mut lead = match core.try_lead() {
        Ok(Some(lead)) => lead,
        // Appenders who find the front full do it themselves, and had better not have to.
        Ok(None) if core.is_filling() => return HURRIED,
        Ok(None) | Err(_) => return Duration::MAX,
    };
    match lead.flush(goal) {
        Ok(bytes) if bytes >= BUSY_BYTES => Duration::ZERO,
        Ok(_) => Duration::MAX,
        Err(error) => {
            tracing::warn!(%error, "flushing a journal");
            Duration::MAX
        }
    }
}

/// Sees to it that a file is ready when one is needed: soon, but not while the file that is written to has room for long.
/// `prepared`: the count of files when there was one.
fn prepare(core: &Core, prepared: &mut Option<u64>) {
    let files = Some(core.state.files());
    if *prepared == files || core.state.progress().written.offset < core.settings.file_bytes / 4 || core.end() == 0 {
        return;
    }
    match core.prepare_ahead() {
        Ok(is_there) => *prepared = files.filter(|_| is_there),
        Err(error) => tracing::warn!(error = %core.located(error), "preparing a file of a journal"),
    }
}

/// What is done when there is time for it. `files` is the count that was seen last.
fn tend(core: &Core, files: &mut u64) {
    let warn = |what: &'static str| move |error: JournalError| tracing::warn!(error = %core.located(error), "{what}");
    if core.settings.retain.age.is_some()
        && let Ok(Some(lead)) = core.try_lead()
    {
        Flusher::retain(core).unwrap_or_else(warn("giving up old files of a journal"));
        drop(lead);
    }
    let now = core.state.files();
    if now != *files {
        // One at a time: meanwhile nothing is flushed.
        match core.index_ahead() {
            Ok(true) => {}
            Ok(false) => *files = now,
            Err(error) => {
                *files = now;
                warn("making an index of a journal's file")(error);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::Journal;

    /// The story: a call dropped the last handle, which closed the journal; the thread that had made the call went on with
    /// its files.
    #[test]
    fn nothing_is_done_after_a_call_that_closed_the_journal() {
        let dir = tempfile::tempdir().unwrap();
        let journal = Journal::builder().file_bytes(64 << 10).thread(false).open(dir.path()).unwrap();
        let mut appender = journal.appender().unwrap();
        for _ in 0..200 {
            appender.append(&[1; 1000]).unwrap();
        }
        let (orders, received) = channel();
        orders.send(()).unwrap();
        journal.when_durable(200, move |_| drop(orders));
        run(journal.core(), &received);
        assert_eq!(journal.durable(), 200);
        let is_index = |name: &String| name.ends_with(".idx");
        assert_eq!(journal.core().disk.names().unwrap().into_iter().filter(is_index).count(), 0);
    }

    /// The story: a thread that waited for others to make something durable did not hear that its journal was closed, for
    /// as long as it was to flush by itself.
    #[test]
    fn the_end_of_orders_is_heard_while_others_are_waited_for() {
        let dir = tempfile::tempdir().unwrap();
        let builder =
            Journal::builder().file_bytes(64 << 10).flush(Flush::After(Duration::from_secs(3600))).thread(false);
        let journal = builder.open(dir.path()).unwrap();
        journal.when_durable(1, |_| {});
        let (orders, received) = channel();
        orders.send(()).unwrap();
        drop(orders);
        let core = Arc::clone(journal.core());
        let (ended, heard) = channel();
        let thread = std::thread::spawn(move || {
            run(&core, &received);
            ended.send(()).unwrap();
        });
        heard.recv_timeout(Duration::from_secs(60)).unwrap();
        thread.join().unwrap();
    }
}
