//! What a record of the log is: eight bytes of clock, then one exchange message as on the wire.
//!
//! ```text
//! 0                                  8                           8 + length
//! | published at, ns, little endian  | ITCH message, big endian  |
//! ```
//!
//! The clock is `CLOCK_MONOTONIC`, which all processes of a machine share: what a reader's clock says
//! less the stamp is the latency one way.

use crate::itch::MESSAGE_MAX_BYTES;
use nix::time::{ClockId, clock_gettime};
use shmlog::{ReadError, Record};

const STAMP_BYTES: usize = 8;

/// The longest record.
pub const RECORD_MAX_BYTES: usize = STAMP_BYTES + MESSAGE_MAX_BYTES;

/// Bytes of a record of a message of this length.
pub const fn record_bytes(message_bytes: usize) -> usize {
    STAMP_BYTES + message_bytes
}

/// The clock. 0 if the system has none, which it does.
#[inline]
pub fn now_ns() -> u64 {
    let Ok(now) = clock_gettime(ClockId::CLOCK_MONOTONIC) else { return 0 };
    now.tv_sec().cast_unsigned() * 1_000_000_000 + now.tv_nsec().cast_unsigned()
}

/// The message of a record; nothing if that has none.
#[inline]
pub fn message_of(record: &[u8]) -> &[u8] {
    record.get(STAMP_BYTES..).unwrap_or_default()
}

/// One record, to be filled again and again.
#[derive(Debug)]
pub struct Stamped {
    bytes: [u8; RECORD_MAX_BYTES],
    len_bytes: usize,
}

impl Stamped {
    pub const fn new() -> Self {
        Self { bytes: [0; RECORD_MAX_BYTES], len_bytes: STAMP_BYTES }
    }

    /// Becomes the record of `message`, published at `now_ns`. A message longer than any of the
    /// protocol is cut.
    #[inline]
    pub fn set(&mut self, now_ns: u64, message: &[u8]) -> &[u8] {
        let len = message.len().min(MESSAGE_MAX_BYTES);
        self.bytes[..STAMP_BYTES].copy_from_slice(&now_ns.to_le_bytes());
        self.bytes[STAMP_BYTES..STAMP_BYTES + len].copy_from_slice(&message[..len]);
        &self.bytes[..STAMP_BYTES + len]
    }

    /// Becomes a copy of a record in the log.
    #[inline]
    pub fn copy(&mut self, record: &Record<'_>) -> Result<(), ReadError> {
        self.len_bytes = record.copy_to(&mut self.bytes)?.max(STAMP_BYTES);
        Ok(())
    }

    /// When the record was published.
    #[inline]
    pub fn published_ns(&self) -> u64 {
        let (stamp, _) = self.bytes.split_first_chunk().expect("it is longer than that");
        u64::from_le_bytes(*stamp)
    }

    #[inline]
    pub fn message(&self) -> &[u8] {
        message_of(self.record())
    }

    /// All of it.
    #[inline]
    pub fn record(&self) -> &[u8] {
        &self.bytes[..self.len_bytes]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use shmlog::{Log, Start};

    #[test]
    fn a_record_carries_stamp_and_message() {
        let log = Log::builder().create_memfd("stamp").unwrap();
        let mut appender = log.appender().unwrap();
        let mut reader = log.reader(Start::First).unwrap();
        let (mut sent, mut got) = (Stamped::new(), Stamped::new());
        for message in [&b"A message"[..], b"", &[7; MESSAGE_MAX_BYTES]] {
            let now = now_ns();
            appender.append(sent.set(now, message)).unwrap();
            got.copy(&reader.try_next().unwrap().unwrap()).unwrap();
            assert_eq!((got.published_ns(), got.message()), (now, message));
            assert!(now > 0 && now <= now_ns());
        }
        appender.append(b"odd").unwrap();
        got.copy(&reader.try_next().unwrap().unwrap()).unwrap();
        assert_eq!(got.message(), b"");
    }
}
