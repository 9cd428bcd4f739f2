//! Reading.

use crate::anchor::Anchored;
use crate::core::cursor::{Cursor, NoPlace, Step};
use crate::core::locate::{self, Found};
use crate::core::memory::{Memory, Retention};
use crate::error::{AttachError, JoinError, ReadError};
use crate::layout::entry;
use crate::log::batch::Batch;
use crate::log::linger::Linger;
use crate::log::record::{Guard, Record, View, given_up};
use crate::log::seat::{Seat, hold_word};
use crate::log::start::{ReaderBuilder, Start};
use crate::mapped::Mapped;
use crate::participant::Role;
use crate::sync::AtomicU64;
use crate::wait::{self, Wait};
use std::sync::Arc;
use std::time::Duration;

pub(crate) type Place = Cursor<'static, Mapped>;

/// A handle that reads, at a position of its own.
///
/// *Free* readers cost the appenders nothing; if one is slower than the log is long, it learns what
/// it missed ([`ReadError::Lagged`]) and goes on at the oldest record. *Gated* readers are waited
/// for. Neither writes to the log: they work on read-only mappings.
///
/// ```
/// use shmlog::{Log, Start};
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let log = Log::builder().create_memfd("feed")?;
/// log.appender()?.append(b"hello")?;
/// let mut reader = log.reader(Start::Oldest)?;
/// while let Some(record) = reader.try_next()? {
///     assert_eq!(record.to_vec()?, b"hello");
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Reader {
    pub(super) place: Anchored<Place, Mapped>,
    pub(super) seat: Option<Seat>,
    /// For a slot that is taken later.
    pub(super) name: String,
    wait: Wait,
    linger: Linger,
    /// Position last told to the board.
    told: u64,
    /// The log keeps everything: every record is held.
    pub(super) is_kept: bool,
    /// A free reader that holds what the log has given up, until it has caught up.
    pub(super) is_guest: bool,
}

impl Reader {
    pub(crate) fn join(builder: &ReaderBuilder<'_>, start: Start) -> Result<Self, JoinError> {
        let mapped = builder.log.mapped();
        mapped.check_whole()?;
        let is_kept = mapped.retention() == Retention::Keep;
        if builder.is_gated && mapped.retention() == Retention::Overwrite {
            return Err(JoinError::NotGated);
        }
        let role = if builder.is_gated { Role::GatedReader } else { Role::Reader };
        let seat = match Seat::take(mapped, role, &builder.name) {
            Ok(seat) => Some(seat),
            Err(_) if !builder.is_gated || is_kept => None,
            Err(error) => return Err(error),
        };
        let gate = seat.as_ref().filter(|_| builder.is_gated).map(Seat::index);
        let place = Anchored::new(Arc::clone(mapped), |mapped| {
            place(mapped, gate.map(|index| hold_word(mapped, index)), start)
        });
        let place = place.map_err(|none| no_place(mapped, start, none))?;
        let (name, wait, linger) = (builder.name.clone(), builder.wait, Linger::new(builder.linger));
        let mut reader = Self { place, seat, name, wait, linger, told: u64::MAX, is_kept, is_guest: false };
        reader.tell();
        Ok(reader)
    }

    /// Takes a reader at `seq`, which the owner of a state holds though the log may have given it up
    /// otherwise. It holds what it reads, as a pinned one does; a free one until it has caught up with the log.
    pub(crate) fn join_beside(builder: &ReaderBuilder<'_>, seq: u64) -> Result<Self, JoinError> {
        let mapped = builder.log.mapped();
        mapped.check_whole()?;
        let role = if builder.is_gated { Role::GatedReader } else { Role::Reader };
        let seat = Seat::take(mapped, role, &builder.name)?;
        let place =
            Anchored::new(Arc::clone(mapped), |mapped| Cursor::beside(mapped, hold_word(mapped, seat.index()), seq));
        let place = place.map_err(|none| no_place(mapped, Start::At(seq), none))?;
        let is_kept = mapped.retention() == Retention::Keep;
        let is_guest = !builder.is_gated;
        let (name, wait, linger) = (builder.name.clone(), builder.wait, Linger::new(builder.linger));
        let mut reader = Self { place, seat: Some(seat), name, wait, linger, told: u64::MAX, is_kept, is_guest };
        reader.tell();
        Ok(reader)
    }

    /// The next record, if there is one. Never waits.
    ///
    /// # Errors
    /// [`ReadError::Lagged`]: call again, it goes on at the oldest record;
    /// [`ReadError::Closed`]: there will be none; [`ReadError::Corrupt`]: a peer broke the rules,
    /// and the position stays.
    #[inline(always)]
    pub fn try_next(&mut self) -> Result<Option<Record<'_>>, ReadError> {
        let Some(word) = self.look()? else { return Ok(None) };
        let (mapped, place) = self.place.both_mut();
        let Some(record) = record(mapped, place, word, self.is_kept) else { return Err(corrupt(place)) };
        place.pass();
        Ok(Some(record))
    }

    /// The next record without going on to the one after it.
    ///
    /// # Errors
    /// As [`Reader::try_next`].
    pub fn peek(&mut self) -> Result<Option<Record<'_>>, ReadError> {
        let Some(word) = self.look()? else { return Ok(None) };
        let place = self.place.state();
        record(self.place.mapped(), place, word, self.is_kept).map_or_else(|| Err(corrupt(place)), |it| Ok(Some(it)))
    }

    /// The next record; waits for it as the reader was told to, until `timeout`.
    ///
    /// # Errors
    /// As [`Reader::try_next`].
    pub fn next_timeout(&mut self, timeout: Duration) -> Result<Option<Record<'_>>, ReadError> {
        self.wait_next(timeout)?;
        self.try_next()
    }

    /// Waits until there is a record, until `timeout`. Returns whether there is one.
    ///
    /// # Errors
    /// As [`Reader::try_next`].
    pub fn wait_next(&mut self, timeout: Duration) -> Result<bool, ReadError> {
        let mapped = Arc::clone(self.place.mapped());
        let doorbell = mapped.doorbells().map(|both| &both.records);
        let wait = self.wait;
        let found =
            wait::until(mapped.waiter_fence(), doorbell, wait, wait::deadline_in(timeout), || self.look().transpose());
        Ok(found.transpose()?.is_some())
    }

    /// The records that are there now, up to the end of the current segment; more by calling again. See also
    /// [`ReaderBuilder::linger`].
    ///
    /// # Errors
    /// As [`Reader::try_next`].
    #[inline(always)]
    pub fn batch(&mut self) -> Result<Batch<'_>, ReadError> {
        if self.linger.is_set() {
            let place = self.place.state();
            self.linger.pause(place.seq(), || !place.is_far_behind());
        }
        self.look()?;
        let (mapped, place) = self.place.both_mut();
        Ok(Batch::new(mapped, place, self.is_kept))
    }

    /// Record `seq`, wherever the reader stands. `None`: it does not exist yet.
    ///
    /// # Errors
    /// [`ReadError::GivenUp`]
    pub fn get(&self, seq: u64) -> Result<Option<Record<'_>>, ReadError> {
        let mapped = &**self.place.mapped();
        let (segment, base) = match self.place.state().find(seq) {
            Found::In { segment, base } => (segment, base),
            Found::Gone => return mapped.sound(()).and(Err(given_up(mapped, seq))),
            Found::Corrupt => return mapped.sound(()).and(Err(ReadError::Corrupt { seq })),
        };
        let is_held = self.is_held(segment);
        let Some(word) = locate::committed(mapped, segment, seq.wrapping_sub(base)) else {
            let is_there = is_held || locate::is_retained(mapped, segment);
            mapped.sound(())?;
            return if is_there { Ok(None) } else { Err(given_up(mapped, seq)) };
        };
        let payload = mapped.window(segment).payload(word).ok_or(ReadError::Corrupt { seq })?;
        let view = View::new(payload, entry::len_bytes(word), Guard { mapped, segment, seq, is_held });
        Ok(Some(Record::new(view, entry::kind(word))))
    }

    /// Goes to record `seq`, which exists or is the next one. A gate follows.
    ///
    /// # Errors
    /// [`JoinError::Gone`], [`JoinError::Ahead`]; the reader stays where it is. [`JoinError::Attach`]: memory behind
    /// the log is gone.
    pub fn seek(&mut self, seq: u64) -> Result<(), JoinError> {
        let sought = self.place_mut().seek(seq);
        sought.map_err(|none| no_place(self.place.mapped(), Start::At(seq), none))?;
        self.tell();
        self.place.mapped().ring_room();
        if self.place.mapped().was_lost() {
            return Err(AttachError::MemoryLost { what: "log" }.into());
        }
        Ok(())
    }

    /// Sequence number of the record that comes next.
    pub fn position(&self) -> u64 {
        self.place.state().seq()
    }

    /// How many records there are from the position on.
    pub fn lag(&self) -> u64 {
        let end = locate::end(&**self.place.mapped()).map_or(0, |(end, _)| end);
        end.saturating_sub(self.position())
    }

    /// How it waits.
    pub fn set_wait(&mut self, wait: Wait) {
        self.wait = wait;
    }

    /// The word at the place, passing over the ends of segments.
    #[inline(always)]
    pub(crate) fn look(&mut self) -> Result<Option<u64>, ReadError> {
        match self.place.state().record_here() {
            Some(word) => Ok(Some(word)),
            None => self.look_further(),
        }
    }

    #[inline(never)]
    fn look_further(&mut self) -> Result<Option<u64>, ReadError> {
        let mut step = self.place_mut().step();
        // The usual end of a look, worth no more words than the loads that it takes.
        if step == Step::Nothing && self.position() == self.told && self.place.mapped().seems_whole() {
            return Ok(None);
        }
        // An honest log has no more segments than windows; a hostile one must not keep us.
        for _ in 0..=self.place.mapped().windows() {
            if !matches!(step, Step::Record(_) | Step::Nothing) && self.place.mapped().is_lost() {
                return Err(ReadError::MemoryLost);
            }
            match step {
                Step::Record(word) => return Ok(Some(word)),
                Step::Nothing => {
                    self.tell();
                    return self.place.mapped().sound(None);
                }
                Step::Moved => self.moved(),
                Step::Passed => self.lag_behind()?,
                Step::Closed => {
                    self.tell();
                    return Err(ReadError::Closed);
                }
                Step::Corrupt => return Err(ReadError::Corrupt { seq: self.position() }),
            }
            step = self.place_mut().step();
        }
        Ok(None)
    }

    #[cold]
    fn moved(&mut self) {
        self.tell();
        if self.is_guest {
            self.unpin_if_retained();
        }
        if self.place.state().is_gated() {
            self.place.mapped().ring_room();
        }
    }

    /// Goes to the oldest record. An error if that means that some were missed.
    #[cold]
    fn lag_behind(&mut self) -> Result<(), ReadError> {
        let seq = self.position();
        let oldest = self.place.with(|mapped, place| {
            if !place.is_gated() {
                *place = Cursor::at_oldest(mapped, None)?;
                return Ok(());
            }
            Err(NoPlace::Corrupt)
        });
        oldest.map_err(|_| ReadError::Corrupt { seq })?;
        let next = self.position();
        self.tell();
        match next.saturating_sub(seq) {
            0 => Ok(()),
            missed => Err(ReadError::Lagged { missed, next }),
        }
    }

    pub(super) fn place_mut(&mut self) -> &mut Place {
        self.place.state_mut()
    }

    /// Tells the board where it is, if that changed.
    fn tell(&mut self) {
        let position = self.position();
        if position != self.told {
            self.told = position;
            if let Some(seat) = &self.seat {
                seat.tell(position);
            }
        }
    }
}

fn place(mapped: &'static Mapped, gate: Option<&'static AtomicU64>, start: Start) -> Result<Place, NoPlace> {
    match start {
        Start::Oldest => Cursor::at_oldest(mapped, gate),
        Start::End => Cursor::at_end(mapped, gate),
        Start::First => Cursor::at_seq(mapped, gate, 0),
        Start::At(seq) => Cursor::at_seq(mapped, gate, seq),
    }
}

fn no_place(mapped: &Mapped, start: Start, none: NoPlace) -> JoinError {
    let seq = if let Start::At(seq) = start { seq } else { 0 };
    match none {
        _ if mapped.is_lost() => AttachError::MemoryLost { what: "log" }.into(),
        NoPlace::Gone => JoinError::Gone { seq, oldest: locate::oldest(mapped).map_or(seq, |(_, base)| base) },
        NoPlace::Ahead => JoinError::Ahead { seq },
        NoPlace::Corrupt => JoinError::Corrupt,
    }
}

/// The record that `word`, found at `place`, announces.
///
/// `None`: it announces what does not lie in the arena.
#[inline(always)]
pub(crate) fn record<'r>(mapped: &'r Mapped, place: &Place, word: u64, is_kept: bool) -> Option<Record<'r>> {
    let payload = place.window().payload(word)?;
    let guard = Guard { mapped, segment: place.segment(), seq: place.seq(), is_held: is_kept || place.is_gated() };
    Some(Record::new(View::new(payload, entry::len_bytes(word), guard), entry::kind(word)))
}

#[cold]
fn corrupt(place: &Place) -> ReadError {
    ReadError::Corrupt { seq: place.seq() }
}
