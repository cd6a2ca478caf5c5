//! What a terminal costs on which nothing happens, and what is given back when it closes.

use std::time::Duration;

use anyhow::Result;
use bench::{Goal, OURS};
use tokio::net::TcpStream;

use crate::Bench;
use crate::subject::Subject;

/// The limit on descriptors is 20,000, and each takes two of a proxy.
const OPEN: usize = 9_900;
/// How many come at the same time.
const AT_ONCE: usize = 64;
const SETTLE: Duration = Duration::from_secs(2);
/// Of these, ours must be at half: KiB.
const WANTED: f64 = 2.3;

pub async fn measure(bench: &Bench) -> Result<()> {
    let (open, first) = (bench.options.size(OPEN, 10), bench.options.size(50, 2));
    let settle = bench.options.settle(SETTLE);
    let mut each = bench.rows(&format!("an idle terminal, {open} open: resident"), "KiB");
    let mut kept = bench.rows(&format!("of {open} that have closed, still resident"), "KiB each");
    // Memory does not scatter as times do, and a second round would find the first one's.
    bench
        .rounds(1, open + first, async |index, subject| {
            // What the first connections cost is not theirs alone.
            drop(open_terminals(subject, first).await?);
            tokio::time::sleep(settle).await;
            let before = subject.usage()?;
            let terminals = open_terminals(subject, open).await?;
            tokio::time::sleep(settle).await;
            let full = subject.usage()?.since(before);
            drop(terminals);
            tokio::time::sleep(settle * 2).await;
            let after = subject.usage()?.since(before);
            each[index].samples.push(full.resident_kib / open as f64);
            kept[index].samples.push(after.resident_kib / open as f64);
            Ok(())
        })
        .await?;
    for (mut each, mut kept) in each.into_iter().zip(kept) {
        if each.subject == OURS {
            let a_tenth = each.median() / 10.0;
            each = each.goal(Goal::at_most(WANTED));
            kept = kept.goal(Goal { text: "a tenth of the above".to_owned(), ..Goal::at_most(a_tenth) });
        }
        each.print();
        kept.print();
    }
    Ok(())
}

async fn open_terminals(subject: &Subject, count: usize) -> Result<Vec<TcpStream>> {
    let mut open = Vec::with_capacity(count);
    while open.len() < count {
        let some = AT_ONCE.min(count - open.len());
        open.extend(crate::entering::enter_all(subject, some).await?);
    }
    Ok(open)
}
