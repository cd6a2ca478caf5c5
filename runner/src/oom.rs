//! Whether the kernel killed something of ours for want of memory: the cgroup's own count, read only when asked.

use std::fs;
use std::path::PathBuf;

/// The number of OOM kills in this process's memory cgroup so far; `None` where nobody counts.
pub fn kills() -> Option<u64> {
    files().into_iter().find_map(|file| count(&fs::read_to_string(file).ok()?))
}

/// Where the count may be: cgroup v2's `memory.events`, v1's `memory.oom_control` (kernel: cgroup-v2.rst,
/// cgroup-v1/memory.rst). Inside a container the path may be that of the host, while the mount shows only our own.
fn files() -> Vec<PathBuf> {
    let mut files = Vec::new();
    let groups = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    for line in groups.lines() {
        let mut parts = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(path)) = (parts.next(), parts.next()) else { continue };
        let path = path.trim_start_matches('/');
        if controllers.is_empty() {
            files.push(PathBuf::from("/sys/fs/cgroup").join(path).join("memory.events"));
            files.push(PathBuf::from("/sys/fs/cgroup/memory.events"));
        } else if controllers.split(',').any(|name| name == "memory") {
            files.push(PathBuf::from("/sys/fs/cgroup/memory").join(path).join("memory.oom_control"));
            files.push(PathBuf::from("/sys/fs/cgroup/memory/memory.oom_control"));
        }
    }
    files
}

fn count(text: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix("oom_kill ")?.trim().parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_generations_of_cgroups_are_understood() {
        assert_eq!(count("low 0\nhigh 0\nmax 3\noom 2\noom_kill 1\noom_group_kill 0\n"), Some(1));
        assert_eq!(count("oom_kill_disable 0\nunder_oom 0\noom_kill 4\n"), Some(4));
        assert_eq!(count("oom_kill_disable 0\nunder_oom 0\n"), None);
    }
}
