//! How fast streams are parsed and how long a snapshot takes, at 120x40 with 10,000 lines of scrollback. Bounded to
//! about ten seconds: `cargo bench --profile ci -p screen`.

use std::time::{Duration, Instant};

use screen::{QueryFilter, QueryScanner, Screen};

const COLS: u16 = 120;
const ROWS: u16 = 40;
const SCROLLBACK: usize = 10_000;
const PIECE: usize = 1 << 20;
const EACH: Duration = Duration::from_millis(900);

/// About [`PIECE`] bytes of what `line` makes of a line's number.
fn stream(line: impl Fn(usize) -> String) -> Vec<u8> {
    let mut stream = Vec::with_capacity(PIECE + 256);
    let mut number = 0;
    while stream.len() < PIECE {
        stream.extend_from_slice(line(number).as_bytes());
        number += 1;
    }
    stream
}

fn streams() -> [(&'static str, Vec<u8>); 5] {
    let word = |number: usize| ["cargo", "build", "compiling", "a", "crate", "with", "features"][number % 7];
    [
        (
            "plain",
            stream(|n| {
                format!("{n:08} the quick brown fox jumps over the lazy dog, {} and {}\r\n", word(n), word(n + 3))
            }),
        ),
        (
            "coloured",
            stream(|n| {
                format!(
                    "\x1b[1;32m{:>12}\x1b[0m {} \x1b[38;5;{}mv{n}\x1b[39m (\x1b[4m/tmp/{}\x1b[24m)\r\n",
                    word(n),
                    word(n + 1),
                    n % 256,
                    word(n + 2)
                )
            }),
        ),
        (
            "cursor-heavy",
            stream(|n| {
                format!(
                    "\x1b[{};{}H\x1b[7m{}\x1b[27m\x1b[K\x1b[{}A\x1b[2C*",
                    n % 40 + 1,
                    n * 7 % 120 + 1,
                    word(n),
                    n % 5 + 1
                )
            }),
        ),
        ("unicode", stream(|n| format!("{n} 日本語のテキスト ünïcödé ─│┌ 👩\u{200d}👩\u{200d}👧 {}\r\n", word(n)))),
        ("scrolling", stream(|n| format!("{}\r\n", n % 10))),
    ]
}

/// Time that this process had a processor for, so that a busy machine does not count; where nothing tells, time.
fn spent(begin: Instant) -> Duration {
    let told = std::fs::read_to_string("/proc/self/schedstat").ok();
    let nanoseconds = told.and_then(|told| told.split(' ').next()?.parse().ok());
    nanoseconds.map_or_else(|| begin.elapsed(), Duration::from_nanos)
}

/// Megabytes a second of doing `work` with a piece again and again.
fn rate(piece: &[u8], mut work: impl FnMut(&[u8])) -> f64 {
    let begin = Instant::now();
    let before = spent(begin);
    let mut bytes = 0;
    while begin.elapsed() < EACH {
        work(piece);
        bytes += piece.len();
    }
    bytes as f64 / 1e6 / (spent(begin) - before).as_secs_f64()
}

/// Memory in use, in MiB; Linux only.
fn resident() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or_default();
    line.trim().trim_end_matches(" kB").parse::<f64>().unwrap_or_default() / 1024.0
}

fn main() {
    for (name, piece) in streams() {
        let before = resident();
        let mut screen = Screen::new(COLS, ROWS, SCROLLBACK);
        let fed = rate(&piece, |piece| screen.write(piece));
        let memory = resident() - before;
        let mut best = Duration::MAX;
        let mut size = 0;
        for _ in 0..5 {
            let begin = Instant::now();
            size = std::hint::black_box(screen.snapshot(SCROLLBACK)).bytes.len();
            best = best.min(begin.elapsed());
        }
        let took = best.as_secs_f64() * 1e3;
        println!("{name:>13}: {fed:6.1} MB/s, {memory:4.1} MiB more; snapshot {took:6.2} ms, {:5} KiB", size / 1024);
    }
    for (name, piece) in streams().into_iter().take(3) {
        let mut scanner = QueryScanner::default();
        let scanned = rate(&piece, |piece| scanner.scan(piece, |_, _| {}));
        let mut filter = QueryFilter::default();
        let filtered = rate(&piece, |piece| drop(std::hint::black_box(filter.pass(piece))));
        println!("{name:>13}: queries looked for at {scanned:6.1} MB/s, taken out at {filtered:6.1} MB/s");
    }
}
