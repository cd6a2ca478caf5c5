//! Readers that stall while their programs flood: what the proxy holds for them, and that all of it comes in the end.

use std::time::Duration;

use anyhow::{Result, ensure};
use bench::{Goal, OURS};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::Bench;
use crate::wire::Order;

const READERS: usize = 16;
const BYTES: u64 = 16 << 20;
const STALL: Duration = Duration::from_secs(2);

pub async fn measure(bench: &Bench) -> Result<()> {
    let bytes = bench.options.size(BYTES, 1 << 20);
    let mut grown = bench.rows("16 stalled readers of floods: growth", "KiB each");
    bench
        .rounds(bench.options.runs().min(3), READERS, async |index, subject| {
            let mut readers = crate::entering::enter_all(subject, READERS).await?;
            let before = subject.usage()?;
            for reader in &mut readers {
                reader.write_all(&Order::Flood { bytes, frame: 4096, batch: 16 }.encode()).await?;
            }
            tokio::time::sleep(bench.options.settle(STALL)).await;
            let growth = subject.usage()?.since(before).resident_kib;
            grown[index].samples.push(growth.max(0.0) / READERS as f64);
            let mut buffer = vec![0; 256 << 10];
            for reader in &mut readers {
                let mut left = bytes;
                while left > 0 {
                    let count = reader.read(&mut buffer).await?;
                    ensure!(count > 0, "{}: a flood was cut", subject.name);
                    left = left.saturating_sub(count as u64);
                }
            }
            Ok(())
        })
        .await?;
    for row in grown {
        let row = if row.subject == OURS { row.goal(Goal::at_most(48.0)) } else { row };
        row.print();
    }
    Ok(())
}
