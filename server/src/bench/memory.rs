//! What the system says of this process and of the processor. Linux tells both; elsewhere they stay unknown.

/// The most memory that the process has held so far, in bytes.
pub(super) fn peak_bytes() -> Option<u64> {
    peak(&std::fs::read_to_string("/proc/self/status").ok()?)
}

/// The processor's name, as its maker gave it.
pub(super) fn processor() -> Option<String> {
    name(&std::fs::read_to_string("/proc/cpuinfo").ok()?)
}

fn peak(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}

fn name(cpuinfo: &str) -> Option<String> {
    let line = cpuinfo.lines().find_map(|line| line.strip_prefix("model name"))?;
    let name = line.trim_start().strip_prefix(':')?.split_whitespace();
    let name = name.collect::<Vec<_>>().join(" ");
    (!name.is_empty()).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_systems_words_are_read() {
        assert_eq!(peak("VmPeak:\t  9 kB\nVmHWM:\t  176496 kB\n"), Some(176_496 * 1024));
        assert_eq!(peak("VmRSS:\t 1 kB\n"), None);
        assert_eq!(
            name("cpu\t: 0\nmodel name\t: AMD  EPYC 7B13 \n"),
            Some("AMD EPYC 7B13".to_owned())
        );
        assert_eq!(name("model name\t:\n"), None);
        assert_eq!(name(""), None);
    }
}
