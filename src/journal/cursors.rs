//! Named cursors: where they are in shared words, and in the files.
//!
//! Set by anybody, taken to the files by whoever flushes, always behind the records below them: so none is ever ahead of
//! what is there after a crash.

use crate::error::JournalError;
use crate::journal::Inner;
use crate::journal::core::Core;
#[cfg(test)]
use crate::journal::crash::planted::{Mistake, is_made};
use crate::journal::flushing::flush::Goal;
use crate::journal::format::MAX_SEQ;
use crate::journal::state::State;
use crate::layout::journal::{CURSOR_NAME_BYTES, CursorWords, MAX_CURSORS};
use crate::name::{Wanted, get_name, is_name, put_name};
use crate::sync::{
    Ordering::{Acquire, Relaxed, Release},
    fence,
};
use std::sync::Arc;

/// Bytes of a cursor in a frame: its name, its sequence number.
pub(crate) const ENTRY_BYTES: usize = CURSOR_NAME_BYTES + 8;
/// Bits of the record that a cursor is at, in its word. Those above count the cursors that have had the place: a handle of
/// one that was removed does not set the next one.
const SEQ_BITS: u32 = MAX_SEQ.count_ones();

/// All cursors at one moment.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub(crate) struct CursorTable {
    /// By name.
    pub(crate) cursors: Vec<(String, u64)>,
}

impl CursorTable {
    /// The payload of a frame before record `seq`: no cursor is ahead of that.
    pub(crate) fn encode(&self, seq: u64) -> Vec<u8> {
        #[cfg(test)]
        let seq = if is_made(Mistake::CursorFirst) { u64::MAX } else { seq };
        let mut bytes = Vec::with_capacity(self.cursors.len() * ENTRY_BYTES);
        for (name, at) in &self.cursors {
            let mut padded = [0; CURSOR_NAME_BYTES];
            let len = name.len().min(CURSOR_NAME_BYTES);
            padded[..len].copy_from_slice(&name.as_bytes()[..len]);
            bytes.extend(padded);
            bytes.extend(seq.min(*at).to_le_bytes());
        }
        bytes
    }

    /// What `encode` made.
    pub(crate) fn decode(payload: &[u8]) -> Self {
        let entry = |entry: &[u8; ENTRY_BYTES]| {
            let (name, seq) = entry.split_last_chunk::<8>()?;
            let end = name.iter().position(|&byte| byte == 0).unwrap_or(name.len());
            Some((String::from_utf8_lossy(&name[..end]).into_owned(), u64::from_le_bytes(*seq)))
        };
        Self { cursors: payload.as_chunks::<ENTRY_BYTES>().0.iter().filter_map(entry).collect() }
    }

    /// Leaves none of them ahead of record `seq`.
    pub(crate) fn cut(&mut self, seq: u64) {
        self.cursors.iter_mut().for_each(|(_, at)| *at = seq.min(*at));
    }

    /// The record that the cursor which is farthest ahead is at.
    pub(crate) fn farthest(&self) -> u64 {
        self.cursors.iter().map(|&(_, seq)| seq).max().unwrap_or(0)
    }
}

impl State {
    /// All cursors, and the count that says which changes they have in them.
    pub(crate) fn cursor_table(&self) -> (CursorTable, u64) {
        let version = self.cursors_version();
        let entry = |words: &CursorWords| Some((get_name(&words.name)?, words.seq.load(Relaxed) & MAX_SEQ));
        let table = CursorTable { cursors: self.cursor_words().iter().filter_map(entry).collect() };
        // SYNC cursor: pairs with the Release in `JournalCursor::put`.
        fence(Acquire);
        (table, version)
    }

    /// Puts down what was found in the files. Of words that nobody else has yet.
    pub(crate) fn restore_cursors(&self, table: &CursorTable) {
        for (words, (name, seq)) in self.cursor_words().iter().zip(&table.cursors) {
            words.seq.store(MAX_SEQ.min(*seq), Relaxed);
            put_name(&words.name, name);
        }
    }
}

/// A named place in a journal that is kept: which record a consumer wants next.
///
/// It is shared: all handles of this name, in all processes, see and set the same place. Setting costs a store or two;
/// it becomes durable with the records, by the same flushes, and never before those below it. It survives every process:
/// one that is killed between consuming a record and [`JournalCursor::advance`] gets that record again when it comes back,
/// and no other.
///
/// It keeps nothing: [`Journal::prune`](crate::Journal::prune) and [`Retain`](crate::Retain) also give up records that it has not
/// come to. To start wherever it is:
///
/// ```
/// use shmlog::{Journal, JournalError, Start};
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let dir = tempfile::tempdir()?;
/// let journal = Journal::open(dir.path())?;
/// journal.appender()?.append(b"an order")?;
/// let cursor = journal.cursor("billing")?;
/// let mut reader = match journal.reader(Start::At(cursor.get()?)) {
///     Err(JournalError::Lagged { missed, next }) => {
///         eprintln!("{missed} records were given up before they were billed");
///         journal.reader(Start::At(next))?
///     }
///     reader => reader?,
/// };
/// while let Some(record) = reader.try_next()? {
///     cursor.advance(record.seq() + 1)?;
/// }
/// cursor.sync()?;
/// assert_eq!(journal.cursors(), [("billing".to_owned(), 1)]);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct JournalCursor {
    inner: Arc<Inner>,
    name: String,
    wanted: Wanted,
    index: usize,
}

impl JournalCursor {
    /// The cursor of this name, made at the oldest record if there is none.
    pub(crate) fn open(inner: &Arc<Inner>, name: &str) -> Result<Self, JournalError> {
        let bad = || JournalError::Setting {
            key: "cursor",
            value: format!("{name:?}"),
            allowed: "1 to 32 bytes of text without zero bytes",
        };
        let wanted = Wanted::new(name).filter(|_| is_name(name)).ok_or_else(bad)?;
        let state = &inner.core.state;
        let found = |state: &State| state.cursor_words().iter().position(|words| wanted.is_in(&words.name));
        let this = |index| Self { inner: Arc::clone(inner), name: name.to_owned(), wanted, index };
        if let Some(index) = found(state) {
            return Ok(this(index));
        }
        // Whoever may flush may make and remove cursors, one at a time.
        inner.core.leading(|| {
            if let Some(index) = found(state) {
                return Ok(this(index));
            }
            let free = state.cursor_words().iter().position(|words| get_name(&words.name).is_none());
            let index = free.ok_or(JournalError::TooManyCursors { limit: MAX_CURSORS })?;
            let words = &state.cursor_words()[index];
            let count = words.seq.load(Relaxed) >> SEQ_BITS;
            // SYNC cursor: Release, pairs with `JournalCursor::word`: who finds this word finds that the name before is gone.
            words.seq.store((count + 1) << SEQ_BITS | MAX_SEQ.min(state.oldest()), Release);
            put_name(&words.name, name);
            state.cursors_changed();
            Ok(this(index))
        })?
    }

    fn words(&self) -> &CursorWords {
        &self.inner.core.state.cursor_words()[self.index]
    }

    /// Its word, as long as it is there.
    fn word(&self) -> Result<u64, JournalError> {
        // Before the name: as long as the word stays, so does whose it is. SYNC cursor: Acquire, pairs with the Release of who
        // makes a cursor.
        let word = self.words().seq.load(Acquire);
        if self.wanted.is_in(&self.words().name) {
            return Ok(word);
        }
        Err(JournalError::NoCursor { name: self.name.clone() })
    }

    /// Sets it, if its word still is `word`.
    fn put(&self, word: u64, seq: u64) -> bool {
        let to = word & !MAX_SEQ | seq;
        // SYNC cursor: Release, pairs with `State::cursor_table`: who finds it there also finds the records below it.
        self.words().seq.compare_exchange(word, to, Release, Relaxed).is_ok()
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The record that it is at: the next one to be consumed. Others may set it at any time. It may be behind the oldest
    /// record: a reader that starts there learns so.
    ///
    /// # Errors
    /// [`JournalError::NoCursor`]: it was removed.
    pub fn get(&self) -> Result<u64, JournalError> {
        Ok(self.word()? & MAX_SEQ)
    }

    /// Sets it to `seq` unless it is farther already. Durable with the next flush, or by [`JournalCursor::sync`].
    ///
    /// # Errors
    /// [`JournalError::Join`]: there is no such record yet. [`JournalError::NoCursor`]
    pub fn advance(&self, seq: u64) -> Result<(), JournalError> {
        self.change(seq, |at| seq.max(at))
    }

    /// Sets it to `seq`, back or forth.
    ///
    /// # Errors
    /// As [`JournalCursor::advance`].
    pub fn set(&self, seq: u64) -> Result<(), JournalError> {
        self.change(seq, |_| seq)
    }

    fn change(&self, seq: u64, change: impl Fn(u64) -> u64) -> Result<(), JournalError> {
        let core = &self.inner.core;
        core.check_writable()?;
        // What is durable exists, and is looked up faster than the end.
        if seq > MAX_SEQ || (seq > core.state.written() && seq > core.end()) {
            return Err(crate::error::JoinError::Ahead { seq }.into());
        }
        loop {
            let word = self.word()?;
            if self.put(word, change(word & MAX_SEQ)) {
                break;
            }
        }
        core.state.cursors_changed();
        Ok(())
    }

    /// Makes it durable as it is, together with all records below it.
    ///
    /// # Errors
    /// As [`Journal::sync`](crate::Journal::sync).
    pub fn sync(&self) -> Result<(), JournalError> {
        self.inner.core.sync_cursors()
    }

    /// Removes it, for everybody; durable when this returns.
    ///
    /// # Errors
    /// [`JournalError::NoCursor`]: it was removed already. As [`Journal::sync`](crate::Journal::sync).
    pub fn remove(self) -> Result<(), JournalError> {
        let core = &self.inner.core;
        core.leading(|| {
            self.word()?;
            self.words().name[0].store(0, Release);
            core.state.cursors_changed();
            Ok::<_, JournalError>(())
        })??;
        core.sync_cursors()
    }
}

impl Core {
    /// Makes all cursors durable as they are.
    pub(crate) fn sync_cursors(&self) -> Result<(), JournalError> {
        let version = self.state.cursors_version();
        // SYNC durable: what was set before is in the count.
        fence(Acquire);
        self.flush_until(Goal::Durable, None, |state| state.cursors_durable() >= version)
    }
}

#[cfg(test)]
mod tests {
    use crate::error::JournalError;
    use crate::journal::Journal;
    use crate::journal::flushing::flush::Goal;
    use crate::sync::Ordering::Relaxed;

    /// The story: a process was stopped between looking whether the cursor is there and setting it. Meanwhile others removed
    /// it and made another one, which got its place and was set by who went on: records were never seen by its consumer.
    #[test]
    fn who_sets_a_cursor_that_was_removed_meanwhile_sets_no_other() {
        let dir = tempfile::tempdir().unwrap();
        let journal = Journal::builder().file_bytes(64 << 10).thread(false).open(dir.path()).unwrap();
        let mut appender = journal.appender().unwrap();
        (0..9).for_each(|_| assert!(appender.append(b"one").is_ok()));
        let stopped = journal.cursor("a").unwrap();
        let seen = stopped.word().unwrap();
        stopped.clone().remove().unwrap();
        let other = journal.cursor("b").unwrap();
        assert_eq!((other.index, other.get().unwrap()), (stopped.index, 0));
        assert!(!stopped.put(seen, 9));
        assert!(matches!(stopped.advance(9), Err(JournalError::NoCursor { .. })));
        assert_eq!(other.get().unwrap(), 0);
        // As often as one likes.
        for number in 0..300 {
            other.advance(number % 9).unwrap();
            let word = journal.cursor("b").unwrap().word().unwrap();
            journal.cursor("b").unwrap().remove().unwrap();
            assert_ne!(journal.cursor("b").unwrap().word().unwrap(), word);
            assert_eq!(journal.cursors(), [("b".to_owned(), 0)]);
        }
        other.set(7).unwrap();
        journal.close().unwrap();
        drop((appender, stopped, other));
        let journal = Journal::open(dir.path()).unwrap();
        assert_eq!(journal.cursors(), [("b".to_owned(), 7)]);
    }

    /// The story: a peer wrote to the words of a cursor, which was then ahead of all records. Whoever made one durable, as
    /// closing does, flushed for ever.
    #[test]
    fn a_cursor_ahead_of_all_records_keeps_nobody_from_closing() {
        let dir = tempfile::tempdir().unwrap();
        let journal = Journal::builder().file_bytes(64 << 10).thread(false).open(dir.path()).unwrap();
        journal.appender().unwrap().append(b"one").unwrap();
        let [cursor, other] = ["a", "b"].map(|name| journal.cursor(name).unwrap());
        cursor.words().seq.store(u64::MAX, Relaxed);
        other.advance(1).unwrap();
        other.sync().unwrap();
        drop((cursor, other));
        journal.close().unwrap();
        let found = Journal::verify(dir.path(), "", |_| {}).unwrap();
        assert_eq!((found.cursors, found.problems), (["a", "b"].map(|name| (name.to_owned(), 1)).to_vec(), vec![]));
    }

    /// The story: more came in than one flush takes, all the time, and a cursor went along. At each flush it was ahead of
    /// what that took, and was not written: who wanted it durable waited for as long as that went on.
    #[test]
    fn a_cursor_becomes_durable_though_more_comes_in_than_a_flush_takes() {
        let dir = tempfile::tempdir().unwrap();
        let builder = Journal::builder().file_bytes(1 << 20).front_size(8, 1 << 20).thread(false);
        let journal = builder.open(dir.path()).unwrap();
        let (mut appender, cursor) = (journal.appender().unwrap(), journal.cursor("a").unwrap());
        journal.sync().unwrap();
        let state = &journal.core().state;
        let (first, mut flushes) = (state.cursors_version() + 1, 0);
        while state.cursors_written() < first {
            // A backlog of more than three times what is taken without a sync, one eighth of the front.
            while state.written() + 500 > journal.next_seq() {
                cursor.advance(appender.append(&[1; 10_000]).unwrap() + 1).unwrap();
            }
            journal.core().with_lead(|lead| lead.flush(Goal::Written)).unwrap().unwrap();
            flushes += 1;
            assert!(flushes < 10);
        }
        assert!(flushes > 2 && state.written() < journal.next_seq());
        drop(appender);
        cursor.sync().unwrap();
        assert_eq!(Journal::verify(dir.path(), "", |_| {}).unwrap().cursors, journal.cursors());
    }

    /// The story: who flushed was killed between writing the cursors and publishing how far it came. The next flush wrote
    /// over them, took them for written, and acknowledged them.
    #[test]
    fn cursors_of_a_flush_that_died_are_written_again() {
        let dir = tempfile::tempdir().unwrap();
        let journal = Journal::builder().file_bytes(64 << 10).thread(false).open(dir.path()).unwrap();
        journal.appender().unwrap().append_durable(b"one").unwrap();
        let cursor = journal.cursor("a").unwrap();
        cursor.advance(1).unwrap();
        let core = journal.core();
        core.leading(|| {
            core.state.begin_flush();
            core.state.set_cursors_written(core.state.cursors_version());
        })
        .unwrap();
        // Something to be synced for.
        journal.appender().unwrap().append(b"two").unwrap();
        cursor.sync().unwrap();
        let found = Journal::verify(dir.path(), "", |_| {}).unwrap();
        assert_eq!(found.cursors, [("a".to_owned(), 1)]);
    }
}
