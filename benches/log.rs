//! The single operations on a log, for regressions: `cargo bench --bench log`. Alone, in one process, in memory that
//! is present: what they cost between processes is what `benches/compare` measures.

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use shmlog::{Appender, Log, LogBuilder, Retention, Start};
use std::hint::black_box;

const SIZES: [usize; 4] = [8, 64, 256, 4096];
const PARTS: usize = 16;
/// Records in the log that is read.
const RECORDS: u64 = 100_000;

/// A log that comes round in 2 MiB: what is written is in the cache.
fn ring() -> LogBuilder {
    Log::builder().windows(2).window_bytes(1 << 20).retention(Retention::Overwrite)
}

fn append(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("append");
    for len in SIZES {
        group.throughput(Throughput::Bytes(len as u64));
        let bytes = vec![7; len];
        let log = ring().create_memfd("append").unwrap();
        let mut shared = log.appender().unwrap();
        group.bench_function(BenchmarkId::new("shared", len), |bencher| {
            bencher.iter(|| shared.append(black_box(&bytes)));
        });
        drop(shared);
        let mut alone = log.exclusive().unwrap();
        group.bench_function(BenchmarkId::new("exclusive", len), |bencher| {
            bencher.iter(|| alone.append(black_box(&bytes)));
        });
        group.bench_function(BenchmarkId::new("reserve and commit", len), |bencher| {
            bencher.iter(|| reserved(&mut alone, black_box(&bytes)));
        });
        group.bench_function(BenchmarkId::new("batch of 16", len), |bencher| {
            let parts = [bytes.as_slice(); PARTS];
            bencher.iter(|| alone.append_parts(black_box(&parts)));
        });
    }
    group.finish();
}

fn reserved<M: shmlog::Mode>(appender: &mut Appender<M>, bytes: &[u8]) -> u64 {
    let mut slot = appender.reserve(bytes.len()).unwrap();
    slot.write(0, bytes);
    slot.commit().unwrap()
}

fn read(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("read");
    let builder = Log::builder().windows(16).window_bytes(1 << 20).record_bytes(64).retention(Retention::Keep);
    let log = builder.create_memfd("read").unwrap();
    let mut appender = log.exclusive().unwrap();
    for number in 0..RECORDS {
        appender.append_value(&[number; 8]).unwrap();
    }
    let mut reader = log.reader(Start::First).unwrap();
    group.bench_function("try_next, 64 B copied", |bencher| {
        bencher.iter(|| {
            if let Some(record) = reader.try_next().unwrap() {
                return record.read::<[u64; 8]>().unwrap()[0];
            }
            reader.seek(0).unwrap();
            0
        });
    });
    let mut reader = log.reader(Start::End).unwrap();
    group.bench_function("try_next, nothing there", |bencher| bencher.iter(|| reader.try_next().unwrap().is_some()));
    let mut seq = 0_u64;
    group.bench_function("get at random, 64 B copied", |bencher| {
        bencher.iter(|| {
            seq = seq.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let record = reader.get((seq >> 33) % RECORDS).unwrap().unwrap();
            record.read::<[u64; 8]>().unwrap()[0]
        });
    });
    group.finish();
}

fn attach(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("attach");
    let log = ring().create_memfd("attach").unwrap();
    group.bench_function("appender, shared", |bencher| bencher.iter(|| log.appender().unwrap()));
    group.bench_function("reader", |bencher| bencher.iter(|| log.reader(Start::End).unwrap()));
    let dir = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
    let path = dir.path().join("log");
    let _made = ring().create_at(&path).unwrap();
    group.bench_function("open a named log of 2 MiB", |bencher| {
        bencher.iter(|| Log::open(&path, shmlog::Access::Append).unwrap());
    });
    group.finish();
}

criterion_group!(log, append, read, attach);
criterion_main!(log);
