//! The paths whose instructions are counted: one function each, which `tools/paths.sh` finds by its name. It measures
//! no time.

use shmlog::{
    AppendError, Appender, Exclusive, Log, Reader, Retention, Shared, Snapshot, SnapshotReader, SnapshotWriter, Start,
};
use std::hint::black_box;

/// Calls of each path.
const CALLS: u64 = 20_000;

type Words = [u64; 8];

#[inline(never)]
fn path_append_exclusive(appender: &mut Appender<Exclusive>, bytes: &[u8]) -> Result<u64, AppendError> {
    appender.append(bytes)
}

#[inline(never)]
fn path_append_exclusive_value(appender: &mut Appender<Exclusive>, words: &Words) -> Result<u64, AppendError> {
    appender.append_value(words)
}

#[inline(never)]
fn path_append_shared_value(appender: &mut Appender<Shared>, words: &Words) -> Result<u64, AppendError> {
    appender.append_value(words)
}

#[inline(never)]
fn path_append_shared(appender: &mut Appender<Shared>, bytes: &[u8]) -> Result<u64, AppendError> {
    appender.append(bytes)
}

#[inline(never)]
fn path_try_next(reader: &mut Reader, to: &mut Words) -> bool {
    let Ok(Some(record)) = reader.try_next() else { return false };
    record.read::<Words>().map(|words| *to = words).is_ok()
}

#[inline(never)]
fn path_nothing(reader: &mut Reader) -> bool {
    matches!(reader.try_next(), Ok(None))
}

/// Of all records that are there: what each costs is a share of it.
#[inline(never)]
fn path_batch(reader: &mut Reader, lens: &mut u64) -> u64 {
    reader.batch().map_or(0, |batch| batch.map(|record| *lens += record.len() as u64).count() as u64)
}

#[inline(never)]
fn path_get(reader: &Reader, seq: u64, to: &mut Words) -> bool {
    let Ok(Some(record)) = reader.get(seq) else { return false };
    record.read::<Words>().map(|words| *to = words).is_ok()
}

#[inline(never)]
fn path_publish(writer: &mut SnapshotWriter, words: &Words) -> bool {
    writer.publish(words).is_ok()
}

#[inline(never)]
fn path_load(reader: &mut SnapshotReader, to: &mut Words) -> bool {
    let Ok(Some(loaded)) = reader.load::<Words>() else { return false };
    *to = loaded.value;
    true
}

fn main() {
    let bytes = [7_u8; 64];
    let log = Log::builder().windows(4).window_bytes(4 << 20).retention(Retention::Overwrite);
    let (alone, among) = (log.create_memfd("alone").unwrap(), log.create_memfd("among").unwrap());
    let (mut exclusive, mut shared) = (alone.exclusive().unwrap(), among.appender().unwrap());
    for _ in 0..CALLS {
        path_append_exclusive(&mut exclusive, black_box(&bytes[..])).unwrap();
        path_append_shared(&mut shared, black_box(&bytes[..])).unwrap();
        path_append_exclusive_value(&mut exclusive, black_box(&[7; 8])).unwrap();
        path_append_shared_value(&mut shared, black_box(&[7; 8])).unwrap();
    }
    read(&alone);
    let state = Snapshot::builder().values::<Words>().create_memfd("state").unwrap();
    let (mut writer, mut reader, mut words) = (state.writer().unwrap(), state.reader().unwrap(), [7; 8]);
    for _ in 0..CALLS {
        assert!(path_publish(&mut writer, black_box(&words)) && path_load(&mut reader, &mut words));
    }
}

fn read(log: &Log) {
    let (mut free, mut words, mut lens) = (log.reader(Start::Oldest).unwrap(), [0; 8], 0);
    for seq in 0..CALLS {
        assert!(path_try_next(&mut free, &mut words) && path_get(&free, seq, &mut words));
    }
    let mut behind = log.reader(Start::End).unwrap();
    for _ in 0..CALLS {
        assert!(path_nothing(&mut behind));
    }
    let mut again = log.reader(Start::First).unwrap();
    assert_eq!(path_batch(&mut again, &mut lens), 2 * CALLS);
}
