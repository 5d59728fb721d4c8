//! What this machine tells of itself before anything is opened: free memory, and the devices behind the names.

use std::path::Path;

use models::{DeviceFacts, DeviceKind, DeviceSpec, ceiling};

use crate::config::ConfigError;

/// What is known of a device of this machine without measuring it.
///
/// # Errors
/// A device that this build cannot use.
pub(crate) fn facts(spec: DeviceSpec, free: Option<u64>) -> Result<DeviceFacts, ConfigError> {
    match spec.kind {
        DeviceKind::Cpu => Ok(DeviceFacts::cpu(spec, free)),
        // A build with CUDA fills in the card's memory and speed here.
        DeviceKind::Cuda(_) => Err(ConfigError::NoCuda {
            device: spec.to_string(),
        }),
    }
}

/// The same with the processors' limits measured, which takes about half a second.
pub(super) fn measured(devices: Vec<DeviceFacts>) -> Vec<DeviceFacts> {
    let is_unknown = |facts: &DeviceFacts| facts.spec.kind == DeviceKind::Cpu && facts.speeds.is_none();
    if !devices.iter().any(is_unknown) {
        return devices;
    }
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    // Without memory to measure with, the speed stays unknown and the rest of the plan stands.
    let Ok(limits) = ceiling::glance(threads) else {
        return devices;
    };
    let fill = |facts: DeviceFacts| match is_unknown(&facts) {
        true => facts.with_ceiling(limits.read_bytes_per_second, limits.int8_operations_per_second),
        false => facts,
    };
    devices.into_iter().map(fill).collect()
}

/// The least of what the machine and the control group have left; `None` where the system does not tell.
pub(crate) fn free_memory() -> Option<u64> {
    let machine = read(Path::new("/proc/meminfo")).and_then(|text| meminfo_available(&text))?;
    let group = Path::new("/sys/fs/cgroup");
    let number = |name: &str| read(&group.join(name))?.trim().parse::<u64>().ok();
    match (number("memory.max"), number("memory.current")) {
        (Some(most), Some(used)) => Some(machine.min(most.saturating_sub(used))),
        _ => Some(machine),
    }
}

fn read(path: &Path) -> Option<String> {
    std::fs::read_to_string(path).ok()
}

fn meminfo_available(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_word_on_free_memory_is_read() {
        let text = "MemTotal:       24684096 kB\nMemFree:        22500640 kB\nMemAvailable:   24074740 kB\n";
        assert_eq!(meminfo_available(text), Some(24_074_740 * 1024));
        assert_eq!(meminfo_available("MemTotal: 1 kB\n"), None);
    }

    #[test]
    fn a_card_is_refused_by_a_build_without_cuda_with_what_to_do() {
        let error = facts("cuda:1".parse().unwrap(), Some(1)).unwrap_err().to_string();
        for part in ["cuda:1", "without CUDA", "`cpu`", "tandem plan", "t4"] {
            assert!(error.contains(part), "{part} is not in: {error}");
        }
    }
}
