//! What a process and its descendants have used, as the kernel accounts for it.

use std::time::Duration;

use anyhow::{Context, Result};
use nix::time::{clock_getcpuclockid, clock_gettime};
use nix::unistd::Pid;
use procfs::process::{Process, all_processes};

/// Resident memory in KiB, and processor time in seconds, user and system.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Usage {
    pub resident_kib: f64,
    pub cpu_secs: f64,
}

impl Usage {
    /// Of this process alone.
    pub fn of(pid: i32) -> Result<Self> {
        let process = Process::new(pid).with_context(|| format!("no process {pid}"))?;
        // The statistics lag behind by a batch per thread; the status file does not.
        let resident_kib = process.status()?.vmrss.unwrap_or(0) as f64;
        // To the nanosecond; the statistics have it in ticks of 10 ms.
        let cpu = Duration::from(clock_gettime(clock_getcpuclockid(Pid::from_raw(pid))?)?);
        Ok(Self { resident_kib, cpu_secs: cpu.as_secs_f64() })
    }

    /// Of this process and everything that it started and that is still there.
    pub fn of_tree(pid: i32) -> Result<Self> {
        let mut sum = Self::of(pid)?;
        for descendant in tree(pid)?.into_iter().skip(1).filter_map(|pid| Self::of(pid).ok()) {
            sum.resident_kib += descendant.resident_kib;
            sum.cpu_secs += descendant.cpu_secs;
        }
        Ok(sum)
    }

    /// What was used since `earlier`.
    pub fn since(self, earlier: Self) -> Self {
        Self { resident_kib: self.resident_kib - earlier.resident_kib, cpu_secs: self.cpu_secs - earlier.cpu_secs }
    }
}

/// The processor time in seconds of every process of this name that this one has started, with their own ended children.
pub fn secs_of_children(name: &str) -> Result<f64> {
    let mut ticks = 0;
    for pid in tree(i32::try_from(std::process::id())?)? {
        let Ok(stat) = Process::new(pid).and_then(|process| process.stat()) else { continue };
        if stat.comm == name {
            ticks += stat.utime + stat.stime + u64::try_from(stat.cutime + stat.cstime).unwrap_or(0);
        }
    }
    Ok(ticks as f64 / procfs::ticks_per_second() as f64)
}

/// This process, and below it everything that it started and that is still there.
pub fn tree(pid: i32) -> Result<Vec<i32>> {
    let parents: Vec<(i32, i32)> =
        all_processes()?.flatten().filter_map(|process| process.stat().ok()).map(|s| (s.pid, s.ppid)).collect();
    let mut tree = vec![pid];
    let mut at = 0;
    while at < tree.len() {
        let parent = tree[at];
        tree.extend(parents.iter().filter(|(_, of)| *of == parent).map(|(child, _)| child));
        at += 1;
    }
    Ok(tree)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_uses_memory_and_its_time_only_grows() {
        let pid = i32::try_from(std::process::id()).unwrap();
        let before = Usage::of_tree(pid).unwrap();
        assert!(before.resident_kib > 100.0);
        assert!(Usage::of_tree(pid).unwrap().since(before).cpu_secs >= 0.0);
    }
}
