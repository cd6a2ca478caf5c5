//! The bounds of one fetch. Production uses the defaults; tests use small ones.

use std::time::Duration;

const MIB: u64 = 1024 * 1024;

/// What a fetch may cost before it is given up.
#[derive(Debug, Clone)]
pub struct FetchLimits {
    /// Bytes of an archive as sent, or of a repository's objects as stored.
    pub download_bytes: u64,
    /// Bytes of all files together, once extracted, checked out or copied.
    pub extracted_bytes: u64,
    /// Files, folders and links together.
    pub entries: u64,
    /// Extracted bytes per downloaded byte, once [`Self::ratio_from`] is passed.
    pub ratio: u64,
    /// Extracted bytes below which the ratio is not looked at: small files compress extremely well.
    pub ratio_from: u64,
    /// Until a connection stands, name resolution included (each on its own).
    pub connect: Duration,
    /// Without a single byte from the server. Whole seconds count for git (`http.lowSpeedTime`), at least one.
    pub stall: Duration,
    /// For all of the fetch.
    pub total: Duration,
    /// Redirects in a row.
    pub redirects: u32,
    /// Bytes of one entry's path.
    pub path_bytes: usize,
    /// Components of one entry's path.
    pub path_depth: usize,
}

impl Default for FetchLimits {
    fn default() -> Self {
        Self {
            download_bytes: 512 * MIB,
            extracted_bytes: 2048 * MIB,
            entries: 100_000,
            ratio: 200,
            ratio_from: 10 * MIB,
            connect: Duration::from_secs(10),
            stall: Duration::from_secs(20),
            total: Duration::from_secs(600),
            redirects: 5,
            path_bytes: 1024,
            path_depth: 64,
        }
    }
}

/// A number of bytes as people read it.
pub(super) fn bytes(count: u64) -> String {
    const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
    if count < 1024 {
        return format!("{count} bytes");
    }
    let mut value = count as f64 / 1024.0;
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    let text = format!("{value:.1}");
    format!("{} {}", text.strip_suffix(".0").unwrap_or(&text), UNITS[unit])
}

/// A duration as people read it.
pub(super) fn seconds(duration: Duration) -> String {
    format!("{} s", (duration.as_secs_f64() * 10.0).round() / 10.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_read_well() {
        for (count, text) in [(0, "0 bytes"), (1023, "1023 bytes"), (1536, "1.5 KiB"), (512 * MIB, "512 MiB")] {
            assert_eq!(bytes(count), text);
        }
        assert_eq!(bytes(2048 * MIB), "2 GiB");
        assert_eq!(seconds(Duration::from_millis(1240)), "1.2 s");
    }
}
