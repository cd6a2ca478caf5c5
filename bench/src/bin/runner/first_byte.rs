//! From an assignment to the command's first byte at a viewer: an archive of one file, fetched over loopback.

use std::process::Command;
use std::time::Instant;

use anyhow::{Result, ensure};
use bench::runner::Runner;
use bench::{OURS, Row};
use testkit::archive_server::{ArchiveServer, Reply};

use crate::Bench;

/// Built when it runs, so that no line that shows the command is taken for its output.
const COMMAND: &str = "printf 'no%s' nce";
const OUTPUT: &[u8] = b"nonce";

pub async fn measure(bench: &Bench) -> Result<()> {
    let server = ArchiveServer::start().await;
    let archive = server.serve("/code.tar.gz", Reply::Whole(archive()?));
    let mut row = Row::new("first byte of a command after its assignment (tar.gz over loopback)", OURS, "ms");
    let mut shell = Row::new(row.measure.clone(), "bash -lc alone", "ms");
    for _ in 0..bench.options.size(4 * bench.options.runs(), 1) {
        let runner = Runner::start(&bench.program).await?;
        let began = Instant::now();
        runner.assign(COMMAND, Some(archive.as_str())).await?;
        runner.attach()?.read_until(OUTPUT)?;
        row.samples.push(began.elapsed().as_secs_f64() * 1000.0);
        runner.process.stop()?;
        let began = Instant::now();
        Command::new("bash").args(["-lc", COMMAND]).output()?;
        shell.samples.push(began.elapsed().as_secs_f64() * 1000.0);
    }
    row.print();
    shell.print();
    Ok(())
}

/// One small file.
fn archive() -> Result<Vec<u8>> {
    let folder = tempfile::tempdir()?;
    std::fs::write(folder.path().join("main.sh"), "true\n")?;
    let packed = Command::new("tar").arg("-C").arg(folder.path()).args(["-cz", "main.sh"]).output()?;
    ensure!(packed.status.success(), "tar: {}", String::from_utf8_lossy(&packed.stderr));
    Ok(packed.stdout)
}
