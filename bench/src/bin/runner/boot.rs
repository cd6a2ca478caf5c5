//! From exec to the call home.

use anyhow::Result;
use bench::runner::Runner;
use bench::{Goal, OURS, Row};

use crate::Bench;

pub async fn measure(bench: &Bench) -> Result<()> {
    let mut row = Row::new("boot: from exec to the call home", OURS, "ms").goal(Goal::at_most(5.0));
    for _ in 0..bench.options.size(4 * bench.options.runs(), 1) {
        let runner = Runner::start(&bench.program).await?;
        row.samples.push(runner.boot.as_secs_f64() * 1000.0);
        runner.process.stop()?;
    }
    row.print();
    Ok(())
}
