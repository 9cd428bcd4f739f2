//! Random operations through two mappings of one log, against a `Vec<Vec<u8>>`.

#[path = "../common/mod.rs"]
mod common;
mod read;

use common::payload;
use proptest::prelude::*;
use shmlog::{
    Access, AppendError, Appender, CommitError, Exclusive, Fencing, JoinError, Log, Reader, Retention, Shared, Start,
};
use std::os::unix::net::UnixStream;
use std::thread;

#[derive(Clone, Debug)]
enum Op {
    Append(usize, usize),
    Parts(usize, Vec<usize>),
    /// Reserve, write, commit so many of the bytes; none: drop.
    Reserve(usize, usize, Option<usize>),
    /// Reserve, let another appender go on meanwhile, commit.
    ReserveWhile(usize, usize, usize),
    /// Leave the segment by a record that takes all of it.
    Roll(usize),
    AttachAppender(bool),
    DetachAppender(usize),
    AttachReader(bool, Start),
    DetachReader(usize),
    Next(usize, usize),
    Peek(usize),
    Batch(usize),
    Get(usize, u64),
    Seek(usize, u64),
    Pin(usize, bool),
    Close(usize),
}

fn op() -> impl Strategy<Value = Op> {
    let len = prop_oneof![8 => 0..40_usize, 6 => 0..3000_usize, 2 => Just(0), 1 => 60_000..70_000_usize];
    let part = prop_oneof![0..20_usize, Just(0)];
    let start =
        prop_oneof![Just(Start::Oldest), Just(Start::First), Just(Start::End), (0..300_u64).prop_map(Start::At)];
    let who = 0..8_usize;
    prop_oneof![
        40 => (who.clone(), len).prop_map(|(i, len)| Op::Append(i, len)),
        5 => (who.clone(), prop::collection::vec(part, 0..5)).prop_map(|(i, lens)| Op::Parts(i, lens)),
        8 => (who.clone(), 0..600_usize, prop::option::of(0..700_usize)).prop_map(|(i, l, c)| Op::Reserve(i, l, c)),
        4 => (who.clone(), 0..600_usize, 0..9_usize).prop_map(|(i, len, n)| Op::ReserveWhile(i, len, n)),
        2 => who.clone().prop_map(Op::Roll),
        4 => prop::bool::weighted(0.2).prop_map(Op::AttachAppender),
        2 => who.clone().prop_map(Op::DetachAppender),
        3 => (any::<bool>(), start).prop_map(|(gated, start)| Op::AttachReader(gated, start)),
        2 => who.clone().prop_map(Op::DetachReader),
        30 => (who.clone(), 1..30_usize).prop_map(|(j, n)| Op::Next(j, n)),
        5 => who.clone().prop_map(Op::Peek),
        8 => who.clone().prop_map(Op::Batch),
        12 => (who.clone(), 0..320_u64).prop_map(|(j, seq)| Op::Get(j, seq)),
        5 => (who.clone(), 0..320_u64).prop_map(|(j, seq)| Op::Seek(j, seq)),
        3 => (who.clone(), any::<bool>()).prop_map(|(j, on)| Op::Pin(j, on)),
        // Seldom, or little else would be seen.
        1 => (0..64_usize).prop_map(Op::Close),
    ]
}

enum Writer {
    Shared(Appender<Shared>),
    Exclusive(Appender<Exclusive>),
}

macro_rules! either {
    ($writer:expr, $handle:ident => $body:expr) => {
        match $writer {
            Writer::Shared($handle) => $body,
            Writer::Exclusive($handle) => $body,
        }
    };
}

struct Follower {
    reader: Reader,
    at: u64,
    holds: bool,
}

/// The log, its handles, and what it must contain.
struct World {
    logs: [Log; 2],
    retention: Retention,
    oracle: Vec<Vec<u8>>,
    is_closed: bool,
    writers: Vec<Writer>,
    followers: Vec<Follower>,
    turn: usize,
    /// As the log says; only what is written changes them.
    oldest: u64,
    limit: usize,
}

fn pick<T>(among: &mut [T], index: usize) -> Option<&mut T> {
    let len = among.len();
    among.get_mut(index.checked_rem(len)?)
}

impl World {
    fn new(windows: u64, entries: u64, retention: Retention, fencing: Fencing) -> Self {
        let builder = Log::builder().windows(windows).window_bytes(64 << 10).entries(entries);
        let one = builder.retention(retention).fencing(fencing).slots(4, 6).create_memfd("oracle").unwrap();
        let (a, b) = UnixStream::pair().unwrap();
        let receiver = thread::spawn(move || Log::receive(b).unwrap());
        one.send(a, Access::Append).unwrap();
        let other = receiver.join().unwrap();
        let (writers, followers, limit) = (Vec::new(), Vec::new(), one.info().max_record_bytes);
        let (logs, oracle) = ([one, other], Vec::new());
        Self { logs, retention, oracle, is_closed: false, writers, followers, turn: 0, oldest: 0, limit }
    }

    fn end(&self) -> u64 {
        self.oracle.len() as u64
    }

    fn bytes(&self, len: usize) -> Vec<u8> {
        payload(7, self.end(), len)
    }

    /// Each operation goes through the other mapping.
    fn log(&mut self) -> Log {
        self.turn += 1;
        self.logs[self.turn % 2].clone()
    }

    /// An append must have done what the oracle does.
    fn appended(&mut self, bytes: Vec<u8>, done: Result<u64, AppendError>) {
        let limit = self.limit;
        match done {
            Ok(seq) => {
                assert!(!self.is_closed && bytes.len() <= limit);
                assert_eq!(seq, self.end());
                self.oracle.push(bytes);
            }
            Err(AppendError::TooLarge { len_bytes, limit_bytes }) => {
                assert!(len_bytes == bytes.len() && limit_bytes == limit && len_bytes > limit);
            }
            Err(AppendError::Closed) => assert!(self.is_closed),
            Err(AppendError::Full { by: None, since }) => assert!(self.retention == Retention::Keep && since == 0),
            Err(AppendError::Full { by: Some(_), since }) => {
                let lowest = self.followers.iter().filter(|f| f.holds).map(|f| f.at).min().expect("somebody holds it");
                // One that has read everything may stand at the end of a segment and not have looked further.
                assert!(since <= lowest && lowest <= self.end(), "{since} {lowest}");
            }
            Err(error) => panic!("{error}"),
        }
    }

    fn committed(&mut self, bytes: Vec<u8>, done: Result<u64, CommitError>) {
        if let Err(error) = &done {
            assert_eq!(error.bytes, bytes, "the bytes come back");
        }
        self.appended(bytes, done.map_err(|error| error.error));
    }

    fn write(&mut self, op: &Op) {
        match *op {
            Op::Append(i, len) => {
                let bytes = self.bytes(len);
                let Some(writer) = pick(&mut self.writers, i) else { return };
                let done = either!(writer, a => a.append(&bytes));
                self.appended(bytes, done);
            }
            Op::Roll(i) => {
                let bytes = self.bytes(self.limit);
                let Some(writer) = pick(&mut self.writers, i) else { return };
                let done = either!(writer, a => a.append(&bytes));
                self.appended(bytes, done);
            }
            Op::Parts(i, ref lens) => {
                let parts: Vec<_> = lens.iter().map(|&len| self.bytes(len)).collect();
                let slices: Vec<_> = parts.iter().map(Vec::as_slice).collect();
                let Some(writer) = pick(&mut self.writers, i) else { return };
                let done = either!(writer, a => a.append_parts(&slices));
                let mut raw = Vec::new();
                for part in parts {
                    raw.extend((part.len() as u64).to_le_bytes());
                    raw.extend(&part);
                    raw.resize(raw.len().next_multiple_of(8), 0);
                }
                self.appended(raw, done);
            }
            Op::Reserve(i, len, keep) => {
                let mut bytes = self.bytes(len);
                let Some(writer) = pick(&mut self.writers, i) else { return };
                let done = either!(writer, a => a.reserve(len).map(|mut slot| {
                    slot.write(0, &bytes);
                    keep.map(|keep| slot.commit_first(keep))
                }));
                match done {
                    Ok(Some(done)) => {
                        bytes.truncate(keep.unwrap_or(0));
                        self.committed(bytes, done);
                    }
                    Ok(None) => {}
                    Err(error) => self.appended(bytes, Err(error)),
                }
            }
            Op::ReserveWhile(i, len, others) => self.reserve_while(i, len, others),
            _ => unreachable!(),
        }
    }

    /// A reservation is outstanding while another appender fills segments; it comes last.
    fn reserve_while(&mut self, i: usize, len: usize, others: usize) {
        if self.writers.len() < 2 {
            return;
        }
        let mut writer = self.writers.remove(i % self.writers.len());
        either!(&mut writer, a => {
            match a.reserve(len) {
                Ok(mut slot) => {
                    let mut ahead = 0;
                    while ahead < others {
                        let bytes = self.bytes(100);
                        let done = either!(&mut self.writers[0], b => b.append(&bytes));
                        // The reservation itself may be what holds the log up.
                        if matches!(&done, Err(AppendError::Full { by: Some(_), .. })) {
                            break;
                        }
                        self.appended(bytes, done);
                        ahead += 1;
                    }
                    let bytes = self.bytes(len);
                    slot.write(0, &bytes);
                    let done = slot.commit();
                    self.committed(bytes, done);
                }
                Err(error) => self.appended(self.bytes(len), Err(error)),
            }
        });
        self.writers.push(writer);
    }

    fn attach_appender(&mut self, is_exclusive: bool) {
        let log = self.log();
        let exclusive = self.writers.iter().filter(|w| matches!(w, Writer::Exclusive(_))).count();
        let taken =
            if is_exclusive { log.exclusive().map(Writer::Exclusive) } else { log.appender().map(Writer::Shared) };
        match taken {
            Ok(writer) => {
                assert!(exclusive == 0 && (!is_exclusive || self.writers.is_empty()));
                self.writers.push(writer);
            }
            Err(JoinError::ExclusiveAttached) => assert!(exclusive == 1),
            Err(JoinError::OthersAttached) => assert!(!self.writers.is_empty() && exclusive == 0 && is_exclusive),
            Err(JoinError::BoardFull { slots }) => assert!(slots == 4 && self.writers.len() == 4),
            Err(error) => panic!("{error}"),
        }
    }

    fn close(&mut self, i: usize) {
        // Most of the time there is more to be seen in an open log.
        if self.writers.is_empty() || !i.is_multiple_of(8) {
            return;
        }
        let writer = self.writers.remove(i % self.writers.len());
        match either!(writer, a => a.close()) {
            Ok(count) => {
                assert_eq!(count, self.end());
                self.is_closed = true;
            }
            // A segment that ended elsewhere has no room for the end of the log.
            Err(error) => self.appended(Vec::new(), Err(error)),
        }
    }

    fn apply(&mut self, op: &Op) {
        match *op {
            Op::AttachAppender(is_exclusive) => self.attach_appender(is_exclusive),
            Op::DetachAppender(i) if !self.writers.is_empty() => drop(self.writers.remove(i % self.writers.len())),
            Op::AttachReader(gated, start) => self.attach_reader(gated, start),
            Op::DetachReader(j) if !self.followers.is_empty() => drop(self.followers.remove(j % self.followers.len())),
            Op::DetachAppender(_) | Op::DetachReader(_) => {}
            Op::Close(i) => self.close(i),
            Op::Next(..) | Op::Peek(_) | Op::Batch(_) | Op::Get(..) | Op::Seek(..) | Op::Pin(..) => {
                return self.read(op);
            }
            _ => self.write(op),
        }
        let info = self.log().info();
        self.oldest = info.oldest_seq;
        assert_eq!((info.next_seq, info.is_closed), (self.end(), self.is_closed));
        assert!(self.retention != Retention::Keep || info.oldest_seq == 0);
        assert!(info.active - info.head < info.windows);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: if common::is_long() { 5000 } else { 300 }, ..ProptestConfig::default() })]
    #[test]
    fn any_operations_do_what_a_vector_does(
        windows in 2..5_u64,
        entries in 8..40_u64,
        retention in prop::sample::select(&[Retention::Keep, Retention::Gated, Retention::Overwrite]),
        fencing in prop::sample::select(&[Fencing::Asymmetric, Fencing::Portable]),
        ops in prop::collection::vec(op(), 1..400),
    ) {
        let mut world = World::new(windows, entries, retention, fencing);
        world.attach_appender(false);
        world.attach_reader(retention == Retention::Gated, Start::First);
        for op in &ops {
            world.apply(op);
        }
        // Whatever happened: what is retained can be read from the start by a newcomer.
        let mut reader = world.logs[0].reader(Start::Oldest).unwrap();
        let mut at = reader.position();
        while let Ok(Some(record)) = reader.try_next() {
            prop_assert_eq!(&record.to_vec().unwrap(), &world.oracle[usize::try_from(at).unwrap()]);
            at += 1;
        }
        prop_assert_eq!(at, world.end());
    }
}
