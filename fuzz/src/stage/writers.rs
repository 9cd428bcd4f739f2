//! Those who append.

use crate::model::{Len, Rec};
use crate::stage::{Meanwhile, Stage, Writer};
use shmlog::{AppendError, Appender, JoinError, Mode, Retention};
use std::time::Duration;

impl Stage {
    fn writer(&mut self, who: u8) -> Option<Writer> {
        let place = &mut self.writers[usize::from(who % 2)];
        if place.is_none() {
            match self.ground.log.appender() {
                Ok(mut appender) => {
                    appender.set_stall_wait(Duration::ZERO);
                    *place = Some(Writer::Shared(appender));
                }
                Err(_) if !self.is_clean => {}
                Err(JoinError::ExclusiveAttached) => {}
                Err(error) => panic!("{error}"),
            }
        }
        place.take()
    }

    /// Makes the first writer an exclusive one, and sends the other away; or the reverse.
    pub fn swap(&mut self) {
        let was_alone = self.writers.iter().flatten().any(|writer| matches!(writer, Writer::Alone(_)));
        self.writers = [const { None }; 2];
        if was_alone {
            return;
        }
        match self.ground.log.exclusive() {
            Ok(mut appender) => {
                appender.set_stall_wait(Duration::ZERO);
                self.writers[0] = Some(Writer::Alone(appender));
            }
            Err(_) if !self.is_clean => {}
            // A reservation is out.
            Err(JoinError::OthersAttached | JoinError::ExclusiveAttached) => assert!(self.slots_out > 0),
            Err(error) => panic!("{error}"),
        }
    }

    /// Lets a writer go.
    pub fn leave(&mut self, who: u8) {
        self.writers[usize::from(who % 2)] = None;
    }

    /// Appends. Returns whether that was possible.
    pub fn append(&mut self, who: u8, rec: Rec) -> bool {
        let Some(mut writer) = self.writer(who) else { return false };
        let appended = match &mut writer {
            Writer::Shared(appender) => rec.append_to(appender),
            Writer::Alone(appender) => rec.append_to(appender),
        };
        self.writers[usize::from(who % 2)] = Some(writer);
        self.appended(&appended, rec);
        appended.is_ok()
    }

    /// Appends so many short records, or as many as is possible.
    pub fn fill(&mut self, who: u8, count: u8) {
        for _ in 0..count {
            let rec = self.rec(Len::Short(3), None);
            if !self.append(who, rec) {
                return;
            }
        }
    }

    /// Appends, and would wait for room, for no time.
    pub fn append_wait(&mut self, who: u8, len: Len) {
        let rec = self.rec(len, None);
        let Some(mut writer) = self.writer(who) else { return };
        let appended = match &mut writer {
            Writer::Shared(appender) => appender.append_wait(rec.bytes(), Duration::ZERO),
            Writer::Alone(appender) => appender.append_wait(rec.bytes(), Duration::ZERO),
        };
        self.writers[usize::from(who % 2)] = Some(writer);
        self.appended(&appended, rec);
    }

    fn appended(&mut self, appended: &Result<u64, AppendError>, rec: Rec) {
        if !self.is_clean {
            return;
        }
        match appended {
            Ok(seq) => {
                assert_eq!(*seq, self.end());
                assert!(!self.is_closed);
                self.records.push(rec);
            }
            Err(AppendError::Full { by: None, .. }) => assert_eq!(self.ground.shape.retention(), Retention::Keep),
            Err(AppendError::Full { by: Some(_), .. }) => assert!(self.holds()),
            Err(AppendError::TooLarge { .. }) => assert!(rec.parts.is_some() || rec.len > self.limit()),
            Err(AppendError::Closed) => assert!(self.is_closed),
            Err(error) => panic!("{error}"),
        }
    }

    /// Reserves, does other things, and commits the first `first` bytes, or nothing.
    pub fn reserve(&mut self, who: u8, len: Len, meanwhile: &[Meanwhile], first: Option<u16>) {
        let rec = self.rec(len, None);
        let Some(writer) = self.writer(who) else { return };
        let writer = match writer {
            Writer::Shared(mut appender) => {
                self.reserve_by(&mut appender, who, rec, meanwhile, first);
                Writer::Shared(appender)
            }
            Writer::Alone(mut appender) => {
                self.reserve_by(&mut appender, who, rec, meanwhile, first);
                Writer::Alone(appender)
            }
        };
        self.writers[usize::from(who % 2)] = Some(writer);
    }

    fn reserve_by<M: Mode>(
        &mut self,
        appender: &mut Appender<M>,
        who: u8,
        rec: Rec,
        meanwhile: &[Meanwhile],
        first: Option<u16>,
    ) {
        let mut slot = match appender.reserve(rec.len) {
            Ok(slot) => slot,
            Err(error) => return self.appended(&Err(error), rec),
        };
        assert_eq!(slot.len(), rec.len);
        let bytes = rec.bytes();
        let half = bytes.len() / 2;
        assert_eq!(slot.write(half, &bytes[half..]), bytes.len() - half);
        assert_eq!(slot.write(0, &bytes[..half]), half);
        assert!(slot.words().len() * 8 >= rec.len || !self.is_clean);
        self.slots_out += 1;
        for other in meanwhile.iter().take(4) {
            match other {
                Meanwhile::Append(count) => self.fill(who.wrapping_add(1), count % 32),
                Meanwhile::Read(who) => self.try_next(*who),
                Meanwhile::Scribble(scribble) => self.scribble(scribble),
            }
        }
        if let Some(first) = first {
            let len = usize::from(first).min(rec.len);
            let committed = slot.commit_first(len).map_err(|error| {
                assert_eq!(error.bytes.len(), len);
                error.error
            });
            self.appended(&committed, Rec { len, ..rec });
        } else {
            drop(slot);
        }
        self.slots_out -= 1;
    }

    /// Ends the log.
    pub fn close(&mut self, who: u8) {
        let Some(writer) = self.writer(who) else { return };
        let closed = match writer {
            Writer::Shared(appender) => appender.close(),
            Writer::Alone(appender) => appender.close(),
        };
        if self.is_clean {
            assert_eq!(closed, Ok(self.end()), "a log can always be closed");
            self.is_closed = true;
        }
    }
}
