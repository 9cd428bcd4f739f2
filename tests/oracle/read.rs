//! Readers against the oracle.

use super::{Follower, Op, World, pick};
use shmlog::{JoinError, ReadError, Retention, Start};

impl World {
    pub(crate) fn attach_reader(&mut self, gated: bool, start: Start) {
        if self.followers.len() == 6 {
            return;
        }
        let log = self.log();
        let oldest = self.oldest;
        let wanted = match start {
            Start::Oldest => oldest,
            Start::End => self.end(),
            Start::First => 0,
            Start::At(seq) => seq,
        };
        match log.reader_builder().gated(gated).start(start) {
            Ok(reader) => {
                assert_eq!(reader.position(), wanted);
                assert_eq!(reader.lag(), self.end() - wanted);
                self.followers.push(Follower { reader, at: wanted, holds: gated });
            }
            Err(JoinError::Gone { .. }) => assert!(wanted < oldest),
            Err(JoinError::Ahead { seq }) => assert!(seq == wanted && seq > self.end()),
            Err(JoinError::NotGated) => assert!(gated && self.retention == Retention::Overwrite),
            Err(error) => panic!("{error}"),
        }
    }

    pub(crate) fn read(&mut self, op: &Op) {
        let (end, is_closed, oldest) = (self.end(), self.is_closed, self.oldest);
        let (retention, oracle) = (self.retention, &self.oracle);
        let (Op::Next(j, _) | Op::Peek(j) | Op::Batch(j) | Op::Get(j, _) | Op::Seek(j, _) | Op::Pin(j, _)) = *op else {
            unreachable!()
        };
        let Some(Follower { reader, at, holds }) = pick(&mut self.followers, j) else { return };
        let settle = |at: &mut u64, holds: bool, result: ReadError| match result {
            ReadError::Closed => assert!(is_closed && *at == end),
            ReadError::Lagged { missed, next } => {
                assert!(!holds && retention != Retention::Keep);
                assert!(next == *at + missed && next == oldest && missed > 0);
                *at = next;
            }
            error => panic!("{error}"),
        };
        // Whatever is handed out is there: nobody appends meanwhile.
        let same = |bytes: Result<Vec<u8>, ReadError>, seq: u64| {
            assert_eq!(bytes.unwrap(), oracle[usize::try_from(seq).unwrap()]);
        };
        match *op {
            Op::Next(_, n) => {
                for _ in 0..n {
                    match reader.try_next() {
                        Ok(Some(record)) => {
                            assert_eq!(record.seq(), *at);
                            same(record.to_vec(), *at);
                            *at += 1;
                        }
                        Ok(None) => assert!(*at == end && !is_closed),
                        Err(error) => settle(at, *holds, error),
                    }
                }
            }
            Op::Peek(_) => match reader.peek() {
                Ok(Some(record)) => {
                    assert_eq!(record.seq(), *at);
                    same(record.to_vec(), *at);
                }
                Ok(None) => assert!(*at == end && !is_closed),
                Err(error) => settle(at, *holds, error),
            },
            Op::Batch(_) => match reader.batch() {
                Ok(batch) => {
                    let from = *at;
                    for record in batch {
                        assert_eq!(record.seq(), *at);
                        same(record.to_vec(), *at);
                        *at += 1;
                    }
                    assert!(*at > from || *at == end, "there was a record");
                }
                Err(error) => settle(at, *holds, error),
            },
            Op::Get(_, seq) => match reader.get(seq) {
                Ok(Some(record)) => {
                    assert_eq!(record.seq(), seq);
                    assert_eq!(record.to_vec().unwrap(), oracle[usize::try_from(seq).unwrap()]);
                }
                Ok(None) => assert!(seq >= end),
                Err(error) => assert!(seq < oldest && error == ReadError::GivenUp { seq, oldest }),
            },
            Op::Seek(_, seq) => match reader.seek(seq) {
                Ok(()) => {
                    assert!(seq <= end && (seq >= oldest || *holds), "what is held may be older than what is retained");
                    *at = seq;
                }
                Err(JoinError::Gone { .. }) => assert!(seq < oldest),
                Err(JoinError::Ahead { .. }) => assert!(seq > end),
                Err(error) => panic!("{error}"),
            },
            Op::Pin(_, true) => match reader.pin() {
                Ok(()) => *holds = true,
                Err(JoinError::Gone { .. }) => assert!(*at < oldest || retention != Retention::Keep),
                Err(error) => panic!("{error}"),
            },
            _ => {
                reader.unpin();
                *holds = false;
            }
        }
        assert_eq!(reader.position(), *at);
    }
}
