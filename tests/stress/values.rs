//! Who publishes the latest value of something, and who loads or pins it. A value's bytes tell its number.

use crate::common::{PATIENCE, number_of, value};
use crate::worker::Worker;
use shmlog::{LoadError, Snapshot, SnapshotReader};
use std::sync::atomic::Ordering::{Acquire, Release};
use std::thread;
use std::time::Duration;

/// Bytes of a value, by its number.
fn len_of(number: u64) -> usize {
    [16, 64, 1000, 16 << 10][usize::try_from(number.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 62).unwrap()]
}

/// Publishes from the number after the last one that there is, until it is over or killed.
pub fn publisher() {
    let worker = Worker::new();
    let mut writer = worker.snapshot.writer_within(PATIENCE).unwrap();
    // The dead one before may not have told of its last one.
    let last = newest(&worker.snapshot);
    worker.told().fetch_max(last, Release);
    for number in last + 1.. {
        if worker.is_over() {
            break;
        }
        let published = writer.first().as_of(number).publish_bytes(&value(number, len_of(number)));
        published.expect("there are as many buffers as are needed");
        worker.told().store(number, Release);
        worker.done().store(number, Release);
        if worker.is_first || number % 64 == 0 {
            thread::sleep(Duration::from_micros(200));
        }
    }
}

fn newest(snapshot: &Snapshot) -> u64 {
    let loaded = snapshot.reader().unwrap().load_bytes().expect("nobody publishes");
    loaded.map_or(0, |loaded| number_of(&loaded.value).expect("torn"))
}

/// What a reader has seen last: version and number.
struct Seen(u64, u64);

impl Seen {
    /// Whole, not older than any before, nor than what was told to be published before it was looked for.
    fn check(&mut self, told: u64, version: u64, as_of: Option<u64>, bytes: &[u8]) {
        let number = number_of(bytes).unwrap_or_else(|| panic!("version {version} is torn"));
        assert_eq!((bytes.len(), as_of), (len_of(number), Some(number)), "length and position of another");
        assert!(number >= told, "{number} though {told} had been published");
        assert!(version >= self.0 && number >= self.1, "back in time");
        assert_eq!(version == self.0, number == self.1, "one version, one value");
        (self.0, self.1) = (version, number);
    }
}

/// Who is stopped, or never runs for long, may be overtaken for as long as a load lasts.
fn is_overtaken(error: &LoadError) -> bool {
    matches!(error, LoadError::Overtaken { .. })
}

/// Looks by `look` until it is over.
fn watch(mut look: impl FnMut(&mut SnapshotReader, u64, &mut Seen) -> Result<(), LoadError>) {
    let worker = Worker::new();
    let (mut reader, mut seen) = (worker.snapshot.reader().unwrap(), Seen(0, 0));
    while !worker.is_over() {
        if worker.done().fetch_add(1, Release).is_multiple_of(64) || worker.is_first {
            reader.wait_unseen(Duration::from_millis(5));
        }
        let told = worker.told().load(Acquire);
        let looked = look(&mut reader, told, &mut seen);
        assert!(looked.as_ref().is_ok() || looked.as_ref().is_err_and(is_overtaken), "{looked:?}");
    }
}

pub fn loader() {
    let mut bytes = Vec::new();
    watch(|reader, told, seen| {
        match reader.load_into(&mut bytes)? {
            Some(stamp) => seen.check(told, stamp.version, stamp.as_of, &bytes),
            None => assert_eq!((told, seen.0), (0, 0), "lost"),
        }
        Ok(())
    });
}

pub fn pinner() {
    watch(|reader, told, seen| {
        let Some(pinned) = reader.pin()? else {
            assert_eq!((told, seen.0), (0, 0), "lost");
            return Ok(());
        };
        let bytes = pinned.to_vec();
        seen.check(told, pinned.version(), pinned.as_of(), &bytes);
        if pinned.version().is_multiple_of(4) {
            thread::yield_now();
        }
        assert!(pinned.to_vec() == bytes, "what is pinned changed");
        Ok(())
    });
}
