//! Where figures come from: the machine, and the versions of what was measured on it.

use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::Result;
use procfs::{CurrentSI, KernelStats};

/// How the processors have spent their time since the machine came up, in ticks.
#[derive(Debug, Clone, Copy)]
pub struct Processors {
    idle: f64,
    stolen: f64,
    all: f64,
}

impl Processors {
    pub fn now() -> Result<Self> {
        let of = KernelStats::current()?.total;
        let idle = of.idle + of.iowait.unwrap_or(0);
        let stolen = of.steal.unwrap_or(0);
        let busy = of.user + of.nice + of.system + of.irq.unwrap_or(0) + of.softirq.unwrap_or(0);
        Ok(Self { idle: idle as f64, stolen: stolen as f64, all: (idle + stolen + busy) as f64 })
    }

    /// The share of the time since `earlier` in which the machine's host gave them to others.
    pub fn stolen_since(self, earlier: Self) -> f64 {
        (self.stolen - earlier.stolen) / (self.all - earlier.all).max(1.0)
    }

    fn idle_since(self, earlier: Self) -> f64 {
        (self.idle - earlier.idle) / (self.all - earlier.all).max(1.0)
    }
}

/// A machine on which a cluster waits for work is idle for more than this share of its time.
const QUIET: f64 = 0.8;

/// Waits until what was done before is over, also by others: until the machine has been quiet for a second. Where it never
/// is, for half a minute.
pub async fn come_to_rest() -> Result<()> {
    let until = Instant::now() + Duration::from_secs(30);
    let mut before = Processors::now()?;
    while Instant::now() < until {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let now = Processors::now()?;
        if now.idle_since(before) > QUIET {
            return Ok(());
        }
        before = now;
    }
    Ok(())
}

/// Kernel, processor and cores, as one line each.
pub fn describe() -> Vec<(&'static str, String)> {
    let cpu = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpu.lines().find_map(|line| line.strip_prefix("model name")?.split_once(':'));
    let memory = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let memory =
        memory.lines().find_map(|line| line.strip_prefix("MemTotal:")?.trim().strip_suffix(" kB")?.parse().ok());
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    vec![
        ("kernel", line_of(Command::new("uname").arg("-sr"))),
        ("processor", model.map_or("unknown".to_owned(), |(_, name)| name.trim().to_owned())),
        ("cores", cores.to_string()),
        ("memory", memory.map_or("unknown".to_owned(), |kib: f64| format!("{:.0} GiB", kib / 1048576.0))),
        ("compiler", line_of(Command::new("rustc").arg("--version"))),
    ]
}

/// The first line that a command says, on either stream; empty when it cannot be run.
pub fn line_of(command: &mut Command) -> String {
    let Ok(output) = command.output() else { return String::new() };
    let said = if output.stdout.is_empty() { output.stderr } else { output.stdout };
    String::from_utf8_lossy(&said).lines().next().unwrap_or_default().trim().to_owned()
}

/// The first number with a dot in it in what a command says of itself: its version; `None` when it is not there.
pub fn version_of(command: &mut Command) -> Option<String> {
    let line = line_of(command);
    line.split(|c: char| !(c.is_ascii_digit() || c == '.'))
        .find(|word| word.contains('.') && word.starts_with(|c: char| c.is_ascii_digit()))
        .map(|word| word.trim_matches('.').to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_found_in_what_a_program_says() {
        let says = |text| version_of(Command::new("echo").arg(text));
        assert_eq!(says("nginx version: nginx/1.22.1").as_deref(), Some("1.22.1"));
        assert_eq!(says("HAProxy version 2.6.12-1+deb12u1 2024").as_deref(), Some("2.6.12"));
        assert_eq!(version_of(&mut Command::new("no such program")), None);
    }
}
