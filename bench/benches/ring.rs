//! The runner's ring: what is pushed at one end, and read at the other by somebody who keeps up.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use runner::history::{History, Piece, Spill};
use session::frames::Size;

/// What the terminal is read by.
const PIECE: usize = 4096;
const RING: usize = 1 << 20;
const SPILL: u64 = 16 << 20;

fn measure(criterion: &mut Criterion) {
    let folder = tempfile::tempdir().expect("a folder");
    let mut group = criterion.benchmark_group("ring");
    group.throughput(Throughput::Bytes(PIECE as u64));
    let plain = [b'y'; PIECE];
    let mut coloured = b"\x1b[32mcompiling\x1b[0m a crate\r\n".repeat(PIECE / 27);
    coloured.resize(PIECE, b'.');
    for (name, piece) in [("plain", plain.as_slice()), ("coloured", &coloured)] {
        let size = Size { columns: 80, rows: 24 };
        let mut history = History::new(size, RING, Spill::new(folder.path().to_owned(), SPILL));
        let mut serial = history.serial_at(0);
        group.bench_function(format!("4 KiB of {name} text: push, read and follow"), |bencher| {
            bencher.iter(|| {
                let mut at = history.end();
                assert!(history.push(black_box(piece)), "the screen has followed");
                loop {
                    match history.next(at, serial, PIECE, false) {
                        Piece::Bytes(bytes) => at += black_box(bytes).len() as u64,
                        Piece::Size(mark) => serial = mark.serial,
                        Piece::Nothing => break,
                    }
                }
                history.followed(at);
            });
        });
    }
    group.finish();
}

criterion_group!(benches, measure);
criterion_main!(benches);
