//! Where figures come from: the machine, and the versions of what was measured on it.

use std::process::Command;

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
