//! Those who read.

use crate::ground::SLOTS;
use crate::model::check_bounds;
use crate::stage::{Actor, From, Seq, Stage};
use shmlog::{JoinError, ReadError, Reader, Record, Retention, Start};
use std::time::Duration;

impl Stage {
    /// Takes a reader in place of the one that is there.
    pub fn join(&mut self, who: u8, is_gated: bool, from: From) {
        let start = match from {
            From::Oldest => Start::Oldest,
            From::First => Start::First,
            From::End => Start::End,
            From::At(seq) => Start::At(self.seq(seq)),
        };
        let place = usize::from(who % 3);
        self.readers[place] = None;
        let seats = self.readers.iter().flatten().count() as u64;
        match self.ground.log.reader_builder().gated(is_gated).start(start) {
            Ok(reader) => {
                let holds = is_gated && self.ground.shape.retention() == Retention::Gated;
                self.readers[place] = Some(Actor { reader, holds });
            }
            Err(_) if !self.is_clean => {}
            Err(JoinError::NotGated) => assert_eq!(self.ground.shape.retention(), Retention::Overwrite),
            Err(JoinError::BoardFull { .. }) => assert!(seats >= SLOTS && is_gated),
            Err(JoinError::Gone { seq, oldest }) => assert!(seq < oldest),
            Err(JoinError::Ahead { seq }) => assert!(seq > self.end()),
            Err(error) => panic!("{error}"),
        }
    }

    /// The reader, or a new one.
    fn actor(&mut self, who: u8) -> Option<Actor> {
        let place = usize::from(who % 3);
        if self.readers[place].is_none() {
            self.join(who, false, From::Oldest);
        }
        self.readers[place].take()
    }

    fn put_back(&mut self, who: u8, actor: Actor) {
        self.readers[usize::from(who % 3)] = Some(actor);
    }

    /// That a record is what it must be.
    fn check(&self, record: &Record<'_>, seq: u64) {
        check_bounds(record);
        if self.is_clean {
            assert_eq!(record.seq(), seq);
            let at = usize::try_from(seq - self.ground.first).expect("a few");
            self.records[at].check(record).expect("it was there a moment ago");
        }
    }

    /// That a read that brought nothing had a reason.
    fn check_nothing(&self, nothing: Result<(), ReadError>, holds: bool, before: u64, now: u64) {
        if !self.is_clean {
            return;
        }
        match nothing {
            Ok(()) => assert!(now == self.end() && before == now && !self.is_closed),
            Err(ReadError::Closed) => assert!(self.is_closed && now == self.end()),
            Err(ReadError::Lagged { missed, next }) => assert!(!holds && next == now && before + missed == next),
            Err(error) => panic!("{error}"),
        }
    }

    pub fn try_next(&mut self, who: u8) {
        self.next_by(who, Reader::try_next);
    }

    pub fn peek(&mut self, who: u8) {
        self.next_by(who, Reader::peek);
    }

    pub fn next_timeout(&mut self, who: u8) {
        self.next_by(who, |reader| reader.next_timeout(Duration::ZERO));
    }

    fn next_by(&mut self, who: u8, read: impl for<'r> Fn(&'r mut Reader) -> Result<Option<Record<'r>>, ReadError>) {
        let Some(mut actor) = self.actor(who) else { return };
        let before = actor.reader.position();
        let nothing = match read(&mut actor.reader) {
            Ok(Some(record)) => {
                self.check(&record, before);
                None
            }
            Ok(None) => Some(Ok(())),
            Err(error) => Some(Err(error)),
        };
        if let Some(nothing) = nothing {
            self.check_nothing(nothing, actor.holds, before, actor.reader.position());
        }
        self.put_back(who, actor);
    }

    pub fn batch(&mut self, who: u8) {
        let Some(mut actor) = self.actor(who) else { return };
        let (before, mut count) = (actor.reader.position(), 0);
        match actor.reader.batch() {
            Ok(batch) => {
                for record in batch.take(100) {
                    self.check(&record, before.wrapping_add(count));
                    count += 1;
                }
                assert!(!self.is_clean || actor.reader.position() == before.wrapping_add(count));
            }
            Err(error) => self.check_nothing(Err(error), actor.holds, before, actor.reader.position()),
        }
        self.put_back(who, actor);
    }

    pub fn get(&mut self, who: u8, seq: Seq) {
        let seq = self.seq(seq);
        let Some(actor) = self.actor(who) else { return };
        match actor.reader.get(seq) {
            Ok(Some(record)) => self.check(&record, seq),
            Ok(None) => assert!(!self.is_clean || seq >= self.end()),
            Err(_) if !self.is_clean => {}
            Err(ReadError::GivenUp { oldest, .. }) => {
                assert!(seq < oldest);
                assert!(!actor.holds || seq < actor.reader.position(), "it is held");
            }
            Err(error) => panic!("{error}"),
        }
        self.put_back(who, actor);
    }

    pub fn seek(&mut self, who: u8, seq: Seq) {
        let seq = self.seq(seq);
        let Some(mut actor) = self.actor(who) else { return };
        let before = actor.reader.position();
        match actor.reader.seek(seq) {
            Ok(()) => assert!(!self.is_clean || (seq <= self.end() && actor.reader.position() == seq)),
            Err(_) if !self.is_clean => {}
            Err(JoinError::Gone { oldest, .. }) => {
                assert!(seq < oldest && actor.reader.position() == before);
                assert!(!actor.holds || seq < before, "it is held");
            }
            Err(JoinError::Ahead { .. }) => assert!(seq > self.end() && actor.reader.position() == before),
            Err(error) => panic!("{error}"),
        }
        self.put_back(who, actor);
    }

    pub fn pin(&mut self, who: u8) {
        let Some(mut actor) = self.actor(who) else { return };
        match actor.reader.pin() {
            Ok(()) => actor.holds = true,
            Err(_) if !self.is_clean => {}
            Err(JoinError::NoSeat) => {}
            Err(JoinError::Gone { seq, oldest }) => assert!(!actor.holds && seq < oldest),
            Err(error) => panic!("{error}"),
        }
        self.put_back(who, actor);
    }

    pub fn unpin(&mut self, who: u8) {
        let Some(mut actor) = self.actor(who) else { return };
        actor.reader.unpin();
        actor.holds = false;
        self.put_back(who, actor);
    }

    pub fn lag(&mut self, who: u8) {
        let Some(actor) = self.actor(who) else { return };
        assert!(actor.reader.lag() == self.end().saturating_sub(actor.reader.position()) || !self.is_clean);
        self.put_back(who, actor);
    }
}
