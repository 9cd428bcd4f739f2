//! Appending.

use crate::anchor::Anchored;
use crate::core::append::Append;
use crate::core::copy;
use crate::core::tip::Blocked;
use crate::core::{exclusive, shared};
use crate::error::{AppendError, CommitError, JoinError};
use crate::layout::entry::Kind;
use crate::log::Log;
use crate::log::blocked::Patience;
use crate::log::parts;
use crate::log::seat::{Seat, hold_word};
use crate::log::slot::Slot;
use crate::mapped::Mapped;
use crate::participant::Role;
use crate::sync::AtomicU64;
use crate::sys::fault;
use crate::wait::{self, Wait};
use std::sync::Arc;
use std::time::{Duration, Instant};
use zerocopy::{Immutable, IntoBytes};

/// Appends among others: any number, threads and processes. Commits by one compare-exchange.
#[derive(Debug)]
pub struct Shared;

/// Appends alone: refused while others are attached, and the reverse. Commits by one store.
#[derive(Debug)]
pub struct Exclusive;

/// How an [`Appender`] shares the log: [`Shared`] or [`Exclusive`].
pub trait Mode: sealed::Sealed {}
impl Mode for Shared {}
impl Mode for Exclusive {}

pub(crate) mod sealed {
    use super::{Append, AtomicU64, Blocked, Mapped, Role, exclusive, shared};

    pub trait Sealed {
        #[doc(hidden)]
        type Core: Append<'static, Mapped> + Send + std::fmt::Debug;
        #[doc(hidden)]
        const ROLE: Role;
        #[doc(hidden)]
        fn attach(mapped: &'static Mapped, hold: &'static AtomicU64) -> Result<Self::Core, Blocked>;
    }

    impl Sealed for super::Shared {
        type Core = shared::Shared<'static, Mapped>;
        const ROLE: Role = Role::Appender;
        fn attach(mapped: &'static Mapped, hold: &'static AtomicU64) -> Result<Self::Core, Blocked> {
            shared::Shared::attach(mapped, hold)
        }
    }

    impl Sealed for super::Exclusive {
        type Core = exclusive::Exclusive<'static, Mapped>;
        const ROLE: Role = Role::ExclusiveAppender;
        fn attach(mapped: &'static Mapped, _: &'static AtomicU64) -> Result<Self::Core, Blocked> {
            exclusive::Exclusive::attach(mapped)
        }
    }
}

/// A handle that appends. One thread at a time; take another one for another thread.
///
/// A record becomes visible to everybody by one instruction, for good; before it, nothing of the
/// record is. A process killed at any instruction leaves no hole and blocks nobody; what it had
/// leased of the arena, at most 64 KiB, stays unused until the segment is recycled.
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let log = shmlog::Log::builder().create_memfd("feed")?;
/// let mut appender = log.appender()?;
/// let seq = appender.append(b"first")?;
/// assert_eq!(seq, 0);
/// assert_eq!(appender.append_parts(&[b"one", b"commit"])?, 1);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Appender<M: Mode = Shared> {
    core: Anchored<M::Core, Mapped>,
    seat: Seat,
    patience: Patience,
    limit_bytes: usize,
}

impl<M: Mode> Appender<M> {
    pub(crate) fn join(log: &Log, name: &str) -> Result<Self, JoinError> {
        let mapped = log.mapped();
        if !mapped.log().is_writable() {
            return Err(JoinError::ReadOnly);
        }
        mapped.check_whole()?;
        mapped.register()?;
        let seat = Seat::take(mapped, M::ROLE, name)?;
        let core = Anchored::new(Arc::clone(mapped), |mapped| M::attach(mapped, hold_word(mapped, seat.index())));
        let core = core.map_err(|_| mapped.check_whole().map_or_else(JoinError::from, |()| JoinError::Corrupt))?;
        let limit_bytes = mapped.traits().geometry.max_record_bytes();
        Ok(Self { core, seat, patience: Patience::default(), limit_bytes })
    }

    /// Appends one record and returns its sequence number. When it returns, the record is there for
    /// every process.
    ///
    /// Never waits, except when the log has come round to a segment that another live appender pins:
    /// one that was preempted in the middle of its append, or has a [`Slot`] out. It is given 100 ms
    /// ([`Appender::set_stall_wait`]), once.
    ///
    /// # Errors
    /// [`AppendError`]; nothing was appended and nothing consumed.
    #[inline]
    pub fn append(&mut self, bytes: &[u8]) -> Result<u64, AppendError> {
        self.append_with(Kind::Record, bytes.len(), move |words| copy::write(words, bytes))
    }

    /// Appends several parts as one record: one commit makes all of them visible, in order. Each
    /// costs eight bytes more than its length.
    ///
    /// # Errors
    /// [`AppendError`]; nothing was appended and nothing consumed.
    pub fn append_parts(&mut self, parts: &[&[u8]]) -> Result<u64, AppendError> {
        let len_bytes = parts::len_bytes(parts);
        self.append_with(Kind::Batch, len_bytes, move |words| parts::write(words, parts))
    }

    /// Appends plain data.
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// #[derive(zerocopy::IntoBytes, zerocopy::FromBytes, zerocopy::Immutable, PartialEq, Debug)]
    /// #[repr(C)]
    /// struct Quote { price: u64, shares: u64 }
    ///
    /// let log = shmlog::Log::builder().create_memfd("quotes")?;
    /// let seq = log.appender()?.append_value(&Quote { price: 585_690, shares: 10 })?;
    /// let reader = log.reader(shmlog::Start::Oldest)?;
    /// let record = reader.get(seq)?.expect("it was just committed");
    /// assert_eq!(record.read::<Quote>()?, Quote { price: 585_690, shares: 10 });
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`AppendError`]; nothing was appended and nothing consumed.
    #[inline]
    pub fn append_value<T: IntoBytes + Immutable + ?Sized>(&mut self, value: &T) -> Result<u64, AppendError> {
        self.append(value.as_bytes())
    }

    /// Like [`Appender::append`], but while the log is full waits for room, until `timeout`. In vain if
    /// it is this thread that must make the room: a gated reader or a [`Slot`] of its own.
    ///
    /// # Errors
    /// [`AppendError::Full`] at the deadline, the others at once.
    pub fn append_wait(&mut self, bytes: &[u8], timeout: Duration) -> Result<u64, AppendError> {
        let deadline = wait::deadline_in(timeout);
        let mapped = Arc::clone(self.core.mapped());
        let stall_wait = self.patience.stall_wait;
        // Each look is an append, which may stall, and most looks come without one at the clock.
        self.patience.stall_wait = stall_wait.min(timeout);
        let mut last = None;
        let done = wait::until(
            mapped.waiter_fence(),
            mapped.doorbells().map(|both| &both.room),
            Wait::Block,
            deadline,
            || match self.append(bytes) {
                Err(full @ AppendError::Full { by: Some(_), .. }) => {
                    last = Some(full);
                    let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
                    self.patience.stall_wait = left.map_or(stall_wait, |left| left.min(stall_wait));
                    None
                }
                done => Some(done),
            },
        );
        // Who was waited for less long than usual is waited for again.
        self.patience = Patience::default();
        self.patience.stall_wait = stall_wait;
        done.unwrap_or_else(|| last.map_or(Err(AppendError::Corrupt), Err))
    }

    /// Reserves `len_bytes` to be written in place, then committed or dropped. A drop costs nothing
    /// but the bytes.
    ///
    /// While the [`Slot`] of a shared appender lives, its segment is pinned: appends by anybody
    /// return `Full` naming this participant once the log has come round to it.
    ///
    /// # Errors
    /// [`AppendError`]; nothing was consumed.
    pub fn reserve(&mut self, len_bytes: usize) -> Result<Slot<'_, M>, AppendError> {
        let at = self.reserve_at(len_bytes)?;
        Ok(Slot::new(self, at, len_bytes))
    }

    /// The place of a reservation, which the caller makes a [`Slot`] of.
    pub(crate) fn reserve_at(&mut self, len_bytes: usize) -> Result<usize, AppendError> {
        self.check_len(len_bytes)?;
        let at = self.run(|core| core.try_reserve(len_bytes))?;
        self.check_whole().inspect_err(|_| self.core.state_mut().release())?;
        Ok(at)
    }

    /// Closes the log for everybody: readers read what is there and then learn it; appends return
    /// `Closed`. Returns how many records the log ever held.
    ///
    /// # Errors
    /// [`AppendError`]; the log stays open.
    pub fn close(mut self) -> Result<u64, AppendError> {
        let count = self.run(Append::try_close)?;
        self.ring();
        self.check_whole()?;
        Ok(count)
    }

    /// How long an append that meets another appender's pin, or has to clear the dead, tries before it
    /// returns `Full`; 100 ms by default. Zero: one attempt.
    pub fn set_stall_wait(&mut self, stall_wait: Duration) {
        self.patience.stall_wait = stall_wait;
    }

    /// The longest record, in bytes.
    pub fn limit_bytes(&self) -> usize {
        self.limit_bytes
    }

    /// Appends what `write` puts into the words.
    ///
    /// What is captured goes to the functions that are seldom called by value: a reference would keep it, and
    /// whatever it was made of, in memory all the way.
    #[inline(always)]
    fn append_with(
        &mut self,
        kind: Kind,
        len_bytes: usize,
        write: impl Fn(&[AtomicU64]) + Copy,
    ) -> Result<u64, AppendError> {
        self.check_len(len_bytes)?;
        match self.core.state_mut().append_quickly(kind, len_bytes, write) {
            Ok(seq) if self.core.mapped().is_awaited() || fault::is_any_lost() => self.finish(seq),
            Ok(seq) => Ok(seq),
            Err(stopped) => self.append_slowly(stopped, kind, len_bytes, write),
        }
    }

    #[cold]
    #[inline(never)]
    fn append_slowly(
        &mut self,
        stopped: <M::Core as Append<'static, Mapped>>::Stopped,
        kind: Kind,
        len_bytes: usize,
        write: impl Fn(&[AtomicU64]) + Copy,
    ) -> Result<u64, AppendError> {
        let seq = match self.core.state_mut().append_slowly(stopped, kind, len_bytes, write) {
            Ok(seq) => seq,
            Err(blocked) => self.settle(blocked, |core| core.try_append(kind, len_bytes, write))?,
        };
        self.finish(seq)
    }

    /// Wakes who waits for the record just appended.
    #[cold]
    #[inline(never)]
    fn finish(&self, seq: u64) -> Result<u64, AppendError> {
        self.ring();
        self.check_whole()?;
        Ok(seq)
    }

    /// Whether what was done was done to memory that is there.
    #[inline]
    fn check_whole(&self) -> Result<(), AppendError> {
        if self.core.mapped().was_lost() { Err(AppendError::MemoryLost) } else { Ok(()) }
    }

    #[inline]
    fn check_len(&self, len_bytes: usize) -> Result<(), AppendError> {
        if len_bytes <= self.limit_bytes {
            return Ok(());
        }
        Err(self.too_large(len_bytes))
    }

    #[cold]
    fn too_large(&self, len_bytes: usize) -> AppendError {
        AppendError::TooLarge { len_bytes, limit_bytes: self.limit_bytes }
    }

    #[inline]
    fn ring(&self) {
        self.core.mapped().ring_records();
    }

    /// Tries, and where blocked settles what can be settled.
    #[inline]
    fn run<T>(&mut self, mut attempt: impl FnMut(&mut M::Core) -> Result<T, Blocked>) -> Result<T, AppendError> {
        match attempt(self.core.state_mut()) {
            Ok(done) => Ok(done),
            Err(blocked) => self.settle(blocked, attempt),
        }
    }

    #[cold]
    fn settle<T>(
        &mut self,
        mut blocked: Blocked,
        mut attempt: impl FnMut(&mut M::Core) -> Result<T, Blocked>,
    ) -> Result<T, AppendError> {
        self.patience.begin();
        loop {
            // Zeroes where there is no memory can look like anything.
            if self.core.mapped().is_lost() {
                return Err(AppendError::MemoryLost);
            }
            self.patience.settle(self.core.mapped(), self.seat.index(), blocked)?;
            match attempt(self.core.state_mut()) {
                Ok(done) => return Ok(done),
                Err(again) => blocked = again,
            }
        }
    }

    /// A pin is gone that another appender may be waiting for.
    #[inline]
    pub(crate) fn ring_room(&self) {
        if M::ROLE == Role::Appender {
            self.core.mapped().ring_room_lightly();
        }
    }

    pub(crate) fn core(&self) -> &M::Core {
        self.core.state()
    }

    pub(crate) fn core_mut(&mut self) -> &mut M::Core {
        self.core.state_mut()
    }

    /// Commits a reservation.
    #[inline]
    pub(crate) fn commit(&mut self, kind: Kind, at: usize, len_bytes: usize) -> Result<u64, CommitError> {
        let seq = match self.core_mut().try_commit(kind, len_bytes, at) {
            Ok(seq) => {
                self.core_mut().release();
                seq
            }
            Err(_) => self.commit_elsewhere(kind, at, len_bytes)?,
        };
        self.ring();
        self.check_whole().map_err(|error| CommitError { error, bytes: Vec::new() })?;
        Ok(seq)
    }

    /// The segment was closed while the reservation was out: copies it to the next one. The bytes
    /// take a way through the heap, so that the pin on the old segment can go first.
    #[cold]
    fn commit_elsewhere(&mut self, kind: Kind, at: usize, len_bytes: usize) -> Result<u64, CommitError> {
        let mut bytes = vec![0; len_bytes];
        copy::read(self.core().tip().payload(at, len_bytes.div_ceil(8)), &mut bytes);
        self.core_mut().release();
        let again = self.run(|core| core.try_append(kind, bytes.len(), |words| copy::write(words, &bytes)));
        again.map_err(|error| CommitError { error, bytes })
    }
}
