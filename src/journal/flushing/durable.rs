//! Being told when records are durable: by a handle to be waited on, or by a call.

use crate::error::JournalError;
use crate::journal::Inner;
use crate::journal::core::Core;
use crate::journal::reading::reader::SLICE;
use crate::sync::{AtomicBool, Ordering::Relaxed};
use crate::wait;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// What is called when records are durable, or never will be.
pub(crate) type Callback = Box<dyn FnOnce(Result<(), JournalError>) + Send>;

/// Calls that are owed, by the record below which all must be durable.
#[derive(Default)]
pub(crate) struct Callbacks {
    is_any: AtomicBool,
    owed: Mutex<BTreeMap<u64, Vec<Callback>>>,
}

impl fmt::Debug for Callbacks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Callbacks").field("is_any", &self.is_any).finish_non_exhaustive()
    }
}

impl Callbacks {
    /// Owes a call.
    pub(crate) fn add(&self, end: u64, callback: Callback) {
        let mut owed = self.owed.lock().unwrap_or_else(PoisonError::into_inner);
        owed.entry(end).or_default().push(callback);
        self.is_any.store(true, Relaxed);
    }

    /// Whether any call is owed.
    #[inline]
    pub(crate) fn is_any(&self) -> bool {
        self.is_any.load(Relaxed)
    }

    /// Those that are due; all of them, if nothing will be durable any more.
    fn take_due(&self, durable: u64, is_failed: bool) -> Vec<Callback> {
        let mut owed = self.owed.lock().unwrap_or_else(PoisonError::into_inner);
        let later = match durable.checked_add(1) {
            Some(above) if !is_failed => owed.split_off(&above),
            _ => BTreeMap::new(),
        };
        let due = std::mem::replace(&mut *owed, later);
        self.is_any.store(!owed.is_empty(), Relaxed);
        due.into_values().flatten().collect()
    }
}

impl Core {
    /// Makes the calls that are due. Not under any lock.
    pub(crate) fn call_due(&self) {
        if !self.callbacks.is_any() {
            return;
        }
        let durable = self.state.durable();
        for callback in self.callbacks.take_due(durable, false) {
            callback(Ok(()));
        }
        if self.state.is_failed() {
            for callback in self.callbacks.take_due(durable, true) {
                callback(self.check());
            }
        }
    }

    /// Makes the calls that nobody will make any more. The journal is closed.
    pub(crate) fn call_rest(&self) {
        for callback in self.callbacks.take_due(0, true) {
            callback(Err(JournalError::Closed));
        }
    }
}

/// Some records that are to be durable: can be waited for by any thread, and asked. By
/// [`Journal::on_durable`](crate::Journal::on_durable).
#[derive(Clone, Debug)]
pub struct OnDurable {
    inner: Arc<Inner>,
    end: u64,
}

impl OnDurable {
    pub(crate) fn new(inner: &Arc<Inner>, end: u64) -> Self {
        Self { inner: Arc::clone(inner), end }
    }

    /// Whether they are.
    pub fn is_durable(&self) -> bool {
        self.inner.core.state.durable() >= self.end
    }

    /// Waits until they are, without doing anything for it, until `timeout`. Returns whether they are.
    ///
    /// # Errors
    /// [`JournalError::Failed`]: they will not be. [`JournalError::LeftBehind`]: it is open for reading only, and can't see it.
    pub fn wait(&self, timeout: Duration) -> Result<bool, JournalError> {
        self.inner.core.wait_durable(self.end, wait::deadline_in(timeout))
    }
}

impl Core {
    /// Waits until records below `end` are durable, until `deadline`.
    pub(crate) fn wait_durable(&self, end: u64, deadline: Option<Instant>) -> Result<bool, JournalError> {
        let look = || {
            let is_durable = self.state.durable() >= end;
            if is_durable { Some(Ok(())) } else { self.check().err().map(Err) }
        };
        loop {
            // Who only looks on is not told that others begin anew.
            let slice = self.settings.is_read_only.then(|| Instant::now() + SLICE);
            let until = [deadline, slice].into_iter().flatten().min();
            if let Some(found) = self.state.wait(until, look) {
                return found.map(|()| true);
            }
            if self.is_left_behind() {
                return Err(JournalError::LeftBehind);
            }
            if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
                return Ok(false);
            }
        }
    }
}
