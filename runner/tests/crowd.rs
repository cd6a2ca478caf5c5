//! Fifty viewers and one that reads nothing: the program does not wait, nobody misses a byte without being told, and the
//! runner's memory stays bounded.

mod rig;

use std::sync::Arc;
use std::time::{Duration, Instant};

use rig::player::Player;
use rig::{Rig, SOON};
use session::frames::{ClientFrame, StartMode, TTY_R1};
use testkit::terminal_client::TerminalClient;
use tokio::sync::watch;
use tokio::task::JoinSet;

const VIEWERS: usize = 50;
/// Enough for a machine that does much else.
const LIMIT: Duration = Duration::from_secs(180);

/// Reasons for memory, in KiB: the program itself with its threads and its code, the ring, the screen with its scrollback
/// and a snapshot of it, and for each viewer a piece of output, its frame and what the socket has not taken yet.
const BASE: u64 = 32 << 10;
const RING: u64 = 4 << 10;
const SCREEN: u64 = 24 << 10;
const PER_VIEWER: u64 = 1 << 10;

/// What a run came to.
#[derive(Debug)]
struct Run {
    /// The program's own time.
    program: Duration,
    all: Duration,
    /// The runner's memory in KiB before the viewers came, and the most that it ever was.
    alone: u64,
    peak: u64,
    /// Of all viewers that read: bytes, bytes that they were told are lost, and snapshots.
    received: u64,
    lost: u64,
    snapshots: usize,
}

/// As fast as the program writes: more than this machine may bring to fifty viewers, so that some are moved on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_a_flood_a_stalled_viewer_holds_up_neither_the_program_nor_fifty_others_and_memory_is_bounded() {
    let output = Arc::new(lines(64 << 20));
    compare(&output, output.len()).await;
}

/// At the viewers' own pace: each of them has every byte, though one reads nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fifty_viewers_that_keep_up_miss_nothing_though_one_is_stalled() {
    let output = Arc::new(lines(24 << 20));
    let [free, stalled] = compare(&output, 1 << 20).await;
    assert_eq!((free.lost, stalled.lost), (0, 0));
}

/// Runs with and without a stalled viewer. `burst`: written at a time, and waited for by everybody who reads.
async fn compare(output: &Arc<Vec<u8>>, burst: usize) -> [Run; 2] {
    let free = run(output, burst, false).await;
    let stalled = run(output, burst, true).await;
    eprintln!(
        "{} MiB to {VIEWERS} viewers, {} KiB at a time\n  alone: {free:?}\n  beside a stalled one: {stalled:?}",
        output.len() >> 20,
        burst >> 10
    );
    let per_viewer = (stalled.peak - stalled.alone) as f64 / 1024.0 / (VIEWERS + 1) as f64;
    eprintln!(
        "  the program took {:.2} times as long, all of it {:.2} times; {:.1} MiB for the session, {per_viewer:.2} MiB for a viewer at most",
        stalled.program.as_secs_f64() / free.program.as_secs_f64(),
        stalled.all.as_secs_f64() / free.all.as_secs_f64(),
        stalled.alone as f64 / 1024.0,
    );
    for run in [&free, &stalled] {
        assert!(run.peak < BASE + RING + SCREEN + (VIEWERS as u64 + 1) * PER_VIEWER, "{run:?}");
    }
    [free, stalled]
}

/// Plain lines, none like another.
fn lines(bytes: usize) -> Vec<u8> {
    let mut rng = fastrand::Rng::with_seed(1);
    let mut lines = Vec::with_capacity(bytes + 200);
    while lines.len() < bytes {
        let length = rng.usize(10..120);
        lines.extend(std::iter::repeat_with(|| rng.u8(b' '..b'~')).take(length));
        lines.extend(b"\r\n");
    }
    lines
}

async fn run(output: &Arc<Vec<u8>>, burst: usize, stall: bool) -> Run {
    let rig = Rig::start().await;
    let mut program = Player::start(&rig, output).await;
    let mut first = viewer(&rig, 0).await;
    first.wait_for("ready\n", SOON).await.unwrap();
    let alone = memory(&rig, "VmRSS");
    let begin = first.offset;
    let (mut viewers, mut seen) = (JoinSet::new(), Vec::new());
    let mut follows = |viewer| {
        let (seeing, at) = watch::channel(begin);
        seen.push(at);
        viewers.spawn(follow(viewer, Arc::clone(output), begin, seeing));
    };
    follows(first);
    for number in 1..VIEWERS {
        let mut viewer = viewer(&rig, number).await;
        viewer.wait_for("ready\n", SOON).await.unwrap();
        follows(viewer);
    }
    let mut stalled = None;
    if stall {
        stalled.insert(viewer(&rig, VIEWERS).await).wait_for("ready\n", SOON).await.unwrap();
    }
    let (at, mut time) = (Instant::now(), Duration::ZERO);
    let played = async {
        let mut written = 0;
        while written < output.len() {
            let next = burst.min(output.len() - written);
            program.play(next).await;
            time += program.played().await;
            written += next;
            for seen in &mut seen {
                seen.wait_for(|at| *at >= begin + written as u64).await.expect("a viewer that found nothing wrong");
            }
        }
    };
    tokio::time::timeout(LIMIT, played).await.expect("everybody saw the end");
    let (all, peak) = (at.elapsed(), memory(&rig, "VmHWM"));
    let mut run = Run { program: time, all, alone, peak, received: 0, lost: 0, snapshots: 0 };
    for (received, lost, snapshots) in viewers.join_all().await {
        run.received += received;
        run.lost += lost;
        run.snapshots += snapshots;
    }
    if let Some(stalled) = stalled {
        // Only now does it read, and it was not forgotten.
        let following = follow(stalled, Arc::clone(output), begin, watch::channel(0).0);
        let (received, lost, snapshots) = tokio::time::timeout(SOON, following).await.unwrap();
        eprintln!("the stalled one was sent {received} bytes and {snapshots} snapshots, {lost} bytes were lost to it");
        assert_eq!(received + lost, output.len() as u64);
    }
    run
}

async fn viewer(rig: &Rig, number: usize) -> TerminalClient {
    rig.attach(&format!("viewer {number}"), "viewer", TTY_R1).await
}

/// Reads to the end of the output as fast as it can; returns the bytes that came, that were lost, and the snapshots.
async fn follow(
    mut client: TerminalClient,
    output: Arc<Vec<u8>>,
    begin: u64,
    seeing: watch::Sender<u64>,
) -> (u64, u64, usize) {
    let end = begin + output.len() as u64;
    let (mut received, mut lost, mut moves, mut snapshots) = (0, 0, 0, 0);
    let mut cursor = client.offset;
    client.starts.clear();
    client.output.clear();
    while cursor < end || snapshots < moves {
        assert!(client.take_one().await.unwrap(), "closed: {:?}", client.closed);
        for start in client.starts.drain(..) {
            assert_eq!((start.mode, start.lost), (StartMode::Snapshot, start.off - cursor));
            lost += start.lost;
            cursor = start.off;
            moves += 1;
        }
        snapshots += client.snapshots.drain(..).count();
        if !client.output.is_empty() {
            let at = (cursor - begin) as usize;
            assert!(output[at..].starts_with(&client.output), "other bytes at offset {cursor}");
            received += client.output.len() as u64;
            cursor += client.output.len() as u64;
            client.output.clear();
            client.send(ClientFrame::Ack(cursor)).await.unwrap();
        }
        seeing.send_replace(cursor);
    }
    assert_eq!(received + lost, output.len() as u64, "each byte came once or was counted");
    (received, lost, snapshots)
}

/// A line of the runner's status, in KiB.
fn memory(rig: &Rig, line: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", rig.pid())).unwrap();
    let value = status.lines().find_map(|text| text.strip_prefix(line)?.strip_prefix(':')).unwrap();
    value.split_whitespace().next().unwrap().parse().unwrap()
}
