//! The program's text, most of which a blank runner needs for its start only. Standbys are many and wait for long, so
//! once one waits, its text is resident no longer; what is needed comes back from the page cache, 64 KiB at a time.

use std::io;

/// Lets go of whatever is mapped from files and is as it is there: nothing is lost by it.
#[cfg(target_os = "linux")]
pub fn forget() -> io::Result<()> {
    for range in unchanged(&std::fs::read_to_string("/proc/self/smaps")?) {
        forget_range(range)?;
    }
    Ok(())
}

#[cfg(not(target_os = "linux"))]
pub fn forget() -> io::Result<()> {
    Ok(())
}

#[cfg(target_os = "linux")]
#[allow(unsafe_code)]
fn forget_range(range: std::ops::Range<usize>) -> io::Result<()> {
    let address = std::ptr::without_provenance_mut(range.start);
    // SAFETY: the range is one of a file, cannot be written, and has no page that differs from the file's: the next
    // access finds what is there now.
    match unsafe { libc::madvise(address, range.len(), libc::MADV_DONTNEED) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// The ranges of `smaps` (proc_pid_smaps(5)) that are mapped from files, cannot be written and have no pages of their own.
#[cfg(any(target_os = "linux", test))]
fn unchanged(smaps: &str) -> Vec<std::ops::Range<usize>> {
    let mut found = Vec::new();
    let mut candidate = None;
    for line in smaps.lines() {
        if let Some(range) = header(line) {
            candidate = range;
        } else if let Some(own) = line.strip_prefix("Anonymous:")
            && let Some(range) = candidate.take()
            && own.trim() == "0 kB"
        {
            found.push(range);
        }
    }
    found
}

/// `None` if the line is not a mapping's first; its range if it may be let go of, should it have no pages of its own.
#[cfg(any(target_os = "linux", test))]
fn header(line: &str) -> Option<Option<std::ops::Range<usize>>> {
    let mut fields = line.split_ascii_whitespace();
    let (start, end) = fields.next()?.split_once('-')?;
    let range = usize::from_str_radix(start, 16).ok()?..usize::from_str_radix(end, 16).ok()?;
    let (rights, _offset, _device, inode) = (fields.next()?, fields.next()?, fields.next()?, fields.next()?);
    Some((!rights.contains('w') && inode != "0").then_some(range))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SMAPS: &str = "\
7f1750200000-7f17504cf000 r--p 00000000 fe:00 131 /a file/with-spaces (deleted)
Rss:                 704 kB
Anonymous:             0 kB
VmFlags: rd mr mw me
7f17504cf000-7f1750de6000 r-xp 002cf000 fe:00 131 /usr/bin/cliscale-runner
Anonymous:             0 kB
7f1750de6000-7f1750e39000 r--p 00be6000 fe:00 131 /usr/bin/cliscale-runner
Anonymous:           332 kB
7f1750e39000-7f1750e40000 rw-p 00c39000 fe:00 131 /usr/bin/cliscale-runner
Anonymous:             0 kB
7f1750e40000-7f1750e4c000 r--p 00000000 00:00 0
Anonymous:             0 kB
7f1750fce000-7f1750fd0000 r-xp 00000000 00:00 0 [vdso]
Anonymous:             0 kB
";

    #[test]
    fn only_what_is_as_in_its_file_may_be_let_go_of() {
        assert_eq!(unchanged(SMAPS), [0x7f17_5020_0000..0x7f17_504c_f000, 0x7f17_504c_f000..0x7f17_50de_6000]);
        assert!(unchanged("Anonymous: 0 kB\nnonsense\n").is_empty());
    }
}
