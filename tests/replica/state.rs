//! A state whose truth is known, and logs that lead to it.

use crate::common::PATIENCE;
use shmlog::{AppendError, Log, Reader, Retention, Snapshot};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// What a process that has read records 0 to `count - 1` knows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct State {
    pub count: u64,
    pub sum: u64,
    pub hash: u64,
}

impl State {
    pub fn apply(&mut self, value: u64) {
        self.count += 1;
        self.sum = self.sum.wrapping_add(value);
        self.hash = (self.hash ^ value).wrapping_mul(0x0100_0000_01B3);
    }

    /// The truth, computed from nothing but the count: record `n` holds `mixed(n)`.
    pub fn after(count: u64) -> Self {
        let mut state = Self::default();
        (0..count).for_each(|seq| state.apply(mixed(seq)));
        state
    }
}

pub fn mixed(seq: u64) -> u64 {
    (seq + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15)
}

pub fn small(retention: Retention) -> Log {
    Log::builder().windows(3).window_bytes(64 << 10).entries(64).retention(retention).create_memfd("late").unwrap()
}

pub fn slot() -> Snapshot {
    Snapshot::builder().values::<State>().buffers(4).create_memfd("late").unwrap()
}

/// Reads on until `until` records are known.
pub fn follow(reader: &mut Reader, state: &mut State, until: u64) {
    while state.count < until {
        match reader.next_timeout(PATIENCE) {
            Ok(record) => {
                let record = record.expect("it does not hang");
                assert_eq!(record.seq(), state.count);
                match record.read::<u64>() {
                    Ok(value) => state.apply(value),
                    // Only a free reader; what it missed it can't make up for.
                    Err(error) => panic!("{error} at {}", state.count),
                }
            }
            Err(error) => panic!("{error}"),
        }
    }
}

pub fn append(appender: &mut shmlog::Appender, seq: u64) {
    loop {
        match appender.append_value(&mixed(seq)) {
            Ok(found) => return assert_eq!(found, seq),
            Err(AppendError::Full { .. }) => thread::yield_now(),
            Err(error) => panic!("{error}"),
        }
    }
}

/// Ends a thread, also when the test fails.
pub struct Ends<'a>(pub &'a AtomicBool);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.store(true, Relaxed);
    }
}
