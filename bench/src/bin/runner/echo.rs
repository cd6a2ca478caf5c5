//! A key and its echo on an idle terminal, by a program that sends back what it reads.

use std::time::{Duration, Instant};

use anyhow::Result;
use bench::runner::Runner;
use bench::{Goal, OURS, Row, percentile};

use crate::Bench;
use crate::peers::Peers;
use bench::socket::Socket;

const COMMAND: &str = "stty raw -echo; echo ready; exec cat";
const KEYS: usize = 300;
/// Longer than anything is gathered for.
const BETWEEN: Duration = Duration::from_millis(5);

pub async fn measure(bench: &Bench) -> Result<()> {
    let peers = if bench.alone { Peers::none() } else { Peers::find()? };
    let names: Vec<&str> = [OURS].into_iter().chain(peers.names()).collect();
    let rows = |what| names.iter().map(|name| Row::new(what, *name, "ms")).collect::<Vec<_>>();
    let (mut p50, mut p99) = (rows("echo on an idle terminal: p50"), rows("echo on an idle terminal: p99"));
    for _ in 0..bench.options.runs() {
        for (index, name) in names.iter().enumerate() {
            let times = match peers.named(name) {
                None => {
                    let runner = Runner::start(&bench.program).await?;
                    runner.assign(COMMAND, None).await?;
                    let times = echoes(bench, &mut runner.attach()?, |socket| socket.send(b"0~"))?;
                    runner.process.stop()?;
                    times
                }
                Some(peer) => {
                    let running = peer.start(COMMAND)?;
                    echoes(bench, &mut running.attach()?, |socket| peer.type_key(socket))?
                }
            };
            p50[index].samples.push(percentile(&times, 0.5));
            p99[index].samples.push(percentile(&times, 0.99));
        }
    }
    for mut row in p50.into_iter().chain(p99) {
        if row.subject == OURS {
            row = row.goal(Goal::at_most(1.0));
        }
        row.print();
    }
    Ok(())
}

/// Milliseconds from each `~` that is typed to the message that has it.
fn echoes(bench: &Bench, socket: &mut Socket, mut key: impl FnMut(&mut Socket) -> Result<()>) -> Result<Vec<f64>> {
    socket.read_until(b"ready")?;
    let mut times = Vec::new();
    for _ in 0..bench.options.size(KEYS, 3) {
        std::thread::sleep(BETWEEN);
        let began = Instant::now();
        key(socket)?;
        socket.read_until(b"~")?;
        times.push(began.elapsed().as_secs_f64() * 1000.0);
    }
    Ok(times)
}
