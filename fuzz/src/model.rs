//! What an honest log holds: a list.

use arbitrary::Arbitrary;
use shmlog::{AppendError, Appender, Mode, ReadError, Record, View};
use std::sync::LazyLock;

/// More bytes than the longest record here has.
const MOST: usize = (64 << 10) + 512;

/// A record, by how it was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rec {
    pub salt: u8,
    pub len: usize,
    /// Of a batch, how many parts.
    pub parts: Option<u8>,
}

/// A length, most often a short one.
#[derive(Arbitrary, Clone, Copy, Debug)]
pub enum Len {
    Short(u8),
    Some(u16),
    /// So many bytes less than the most there can be; or more.
    Limit(i8),
}

impl Len {
    pub fn of(self, limit_bytes: usize) -> usize {
        match self {
            Self::Short(len) => len.into(),
            Self::Some(len) => len.into(),
            Self::Limit(less) => limit_bytes.saturating_add_signed(-isize::from(less)),
        }
    }
}

/// Some bytes: which ones says the salt.
pub fn bytes(salt: u8, len: usize) -> &'static [u8] {
    static ALL: LazyLock<Vec<u8>> = LazyLock::new(|| (0..MOST).map(|at| (at * 31 + (at >> 8)) as u8).collect());
    let from = usize::from(salt);
    &ALL[from..from + len.min(MOST - from)]
}

impl Rec {
    pub fn bytes(&self) -> &'static [u8] {
        bytes(self.salt, self.len)
    }

    /// The parts of a batch: each half as long as the one before.
    fn parts(&self, count: u8) -> impl Iterator<Item = &'static [u8]> {
        let (salt, len) = (self.salt, self.len);
        let half = move |number: u8| len.checked_shr(number.into()).unwrap_or(0);
        (0..count).map(move |number| bytes(salt.wrapping_add(number), half(number)))
    }

    pub fn append_to<M: Mode>(&self, appender: &mut Appender<M>) -> Result<u64, AppendError> {
        let Some(count) = self.parts else { return appender.append(self.bytes()) };
        appender.append_parts(&self.parts(count).collect::<Vec<_>>())
    }

    /// That a record read is this one.
    pub fn check(&self, record: &Record<'_>) -> Result<(), ReadError> {
        assert_eq!(record.is_batch(), self.parts.is_some());
        let Some(count) = self.parts else {
            assert!(record.to_vec()? == self.bytes(), "other bytes than were appended");
            return Ok(());
        };
        let mut wanted = self.parts(count);
        for part in record.parts() {
            let wanted = wanted.next().expect("more parts than were appended");
            assert!(part?.to_vec()? == wanted, "other bytes than were appended");
        }
        assert!(wanted.next().is_none(), "fewer parts than were appended");
        Ok(())
    }
}

/// The most bytes a record can have.
const MAX_LEN: usize = (16 << 20) - 2;

/// What holds of any record, whoever wrote to the log.
pub fn check_bounds(record: &Record<'_>) {
    assert!(record.len() <= MAX_LEN);
    check_view(record);
    let mut words = 0;
    for part in record.parts() {
        let Ok(part) = part else { break };
        check_view(&part);
        words += part.len().div_ceil(8);
    }
    assert!(words <= record.len().div_ceil(8), "parts reach beyond their record");
    let _ = record.atomics().map(|words| words.first().map(|word| word.load(std::sync::atomic::Ordering::Relaxed)));
}

fn check_view(view: &View<'_>) {
    if let Ok(bytes) = view.to_vec() {
        assert_eq!(bytes.len(), view.len());
    }
    let mut few = [0; 24];
    if let Ok(len) = view.copy_to(&mut few) {
        assert_eq!(len, view.len().min(24));
    }
    let _ = view.read::<u64>();
}
