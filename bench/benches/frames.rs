//! The terminal's frames, as the runner makes them and the gateway reads them.

use std::hint::black_box;

use bytes::Bytes;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use session::frames::{ClientFrame, ServerFrame};

/// What a terminal sends at once under load, and what a key's echo is.
const SIZES: [usize; 2] = [4096, 1];

fn measure(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("frames");
    for size in SIZES {
        let output = ServerFrame::Output(Bytes::from(vec![b'y'; size]));
        let message = output.encode();
        group.throughput(Throughput::Bytes(size as u64));
        group.bench_function(format!("output of {size} bytes: encode"), |bencher| bencher.iter(|| output.encode()));
        group.bench_function(format!("output of {size} bytes: decode"), |bencher| {
            bencher.iter(|| ServerFrame::decode(black_box(message.clone())));
        });
    }
    let key = Bytes::from_static(b"I\0\0\0\0\0\0\0\x01x");
    group.throughput(Throughput::Elements(1));
    group.bench_function("a key at its offset: decode", |bencher| {
        bencher.iter(|| ClientFrame::decode(black_box(key.clone())));
    });
    group.finish();
}

criterion_group!(benches, measure);
criterion_main!(benches);
