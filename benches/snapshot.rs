//! The single operations on a snapshot slot, for regressions: `cargo bench --bench snapshot`. Alone, in one process.

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use shmlog::Snapshot;
use std::hint::black_box;

const SIZES: [u64; 4] = [64, 1 << 10, 64 << 10, 1 << 20];

fn values(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("values");
    let state = Snapshot::builder().values::<[u64; 2]>().buffers(2).create_memfd("packed").unwrap();
    let (mut writer, mut reader) = (state.writer().unwrap(), state.reader().unwrap());
    group.bench_function("publish 16 B, packed", |bencher| bencher.iter(|| writer.publish(black_box(&[7_u64; 2]))));
    group.bench_function("load 16 B, packed", |bencher| {
        bencher.iter(|| reader.load::<[u64; 2]>().unwrap().unwrap().value);
    });
    let state = Snapshot::builder().values::<[u64; 8]>().create_memfd("line").unwrap();
    let (mut writer, mut reader) = (state.writer().unwrap(), state.reader().unwrap());
    group.bench_function("publish 64 B", |bencher| bencher.iter(|| writer.publish(black_box(&[7_u64; 8]))));
    group.bench_function("load 64 B", |bencher| bencher.iter(|| reader.load::<[u64; 8]>().unwrap().unwrap().value));
    group.bench_function("pin 64 B", |bencher| bencher.iter(|| reader.pin().unwrap().is_some()));
    group.finish();
}

fn bytes(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("bytes");
    for len in SIZES {
        group.throughput(Throughput::Bytes(len));
        let state = Snapshot::builder().capacity_bytes(len).create_memfd("bytes").unwrap();
        let (mut writer, mut reader) = (state.writer().unwrap(), state.reader().unwrap());
        let value = vec![7; usize::try_from(len).unwrap()];
        group.bench_function(BenchmarkId::new("publish", len), |bencher| bencher.iter(|| writer.publish_bytes(&value)));
        let mut to = Vec::new();
        group.bench_function(BenchmarkId::new("load", len), |bencher| {
            bencher.iter(|| reader.load_into(&mut to).unwrap());
        });
        group.bench_function(BenchmarkId::new("memcpy", len), |bencher| {
            bencher.iter(|| to.copy_from_slice(black_box(&value)));
        });
    }
    group.finish();
}

criterion_group!(snapshot, values, bytes);
criterion_main!(snapshot);
