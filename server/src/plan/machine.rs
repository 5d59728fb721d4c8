//! What this machine tells of itself before anything is opened: free memory, and the devices behind the names.

use std::path::Path;

use models::{CardStatus, DeviceFacts, DeviceKind, DeviceSpec, ceiling};

use crate::config::ConfigError;

/// What this machine has, looked at once.
pub(crate) struct Machine {
    /// Bytes of free memory; none where the system does not tell.
    free: Option<u64>,
    /// Its cards, if one was asked for.
    cards: Option<Result<Vec<CardStatus>, String>>,
}

impl Machine {
    /// Looks; at its cards only if `devices` name one, since that takes a moment.
    pub(crate) fn look(devices: &[DeviceSpec]) -> Machine {
        let is_card = |spec: &DeviceSpec| matches!(spec.kind, DeviceKind::Cuda(_));
        let wants_cards = devices.iter().any(is_card);
        Machine {
            free: free_memory(),
            cards: wants_cards.then(|| models::cards().map_err(|error| error.to_string())),
        }
    }

    /// The same with so many bytes less of free memory.
    pub(crate) fn without(self, bytes: u64) -> Machine {
        Machine {
            free: self.free.map(|free| free.saturating_sub(bytes)),
            ..self
        }
    }

    /// This machine's processor and memory.
    pub(crate) fn host(&self) -> DeviceFacts {
        DeviceFacts::cpu(DeviceSpec::CPU, self.free)
    }

    /// What is known of a device without measuring it.
    ///
    /// # Errors
    /// A card that is not there or that this program cannot use.
    pub(crate) fn facts(&self, spec: DeviceSpec) -> Result<DeviceFacts, ConfigError> {
        let index = match spec.kind {
            DeviceKind::Cpu => return Ok(DeviceFacts::cpu(spec, self.free)),
            DeviceKind::Cuda(index) => index,
        };
        let refuse = |reason: String| ConfigError::Card {
            device: spec.to_string(),
            reason,
        };
        let cards = match &self.cards {
            Some(Ok(cards)) => cards,
            Some(Err(reason)) => return Err(refuse(reason.clone())),
            None => return Err(refuse("nobody looked for cards".to_owned())),
        };
        let Some(card) = cards.iter().find(|card| card.index == index) else {
            return Err(refuse(format!(
                "this machine has {} cards, counted from 0",
                cards.len()
            )));
        };
        match &card.refusal {
            Some(reason) => Err(refuse(reason.clone())),
            None => Ok(DeviceFacts::card(card, spec)),
        }
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
fn free_memory() -> Option<u64> {
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

    fn machine(cards: Result<Vec<CardStatus>, String>) -> Machine {
        Machine {
            free: Some(1 << 30),
            cards: Some(cards),
        }
    }

    fn card(index: usize, name: &str) -> CardStatus {
        CardStatus {
            index,
            name: name.to_owned(),
            memory_bytes: 16_000_000_000,
            free_bytes: Some(15_000_000_000),
            compute_capability: (7, 5),
            multiprocessors: 40,
            memory_bytes_per_second: 320_000_000_000,
            refusal: None,
        }
    }

    #[test]
    fn a_card_that_cannot_be_used_is_refused_with_the_reason() {
        let refusal = |machine: Machine| machine.facts("cuda:1".parse().unwrap()).unwrap_err().to_string();
        let lost = CardStatus {
            refusal: Some("the card is lost".to_owned()),
            ..card(1, "Tesla T4")
        };
        for (cards, words) in [
            (Err("built without CUDA".to_owned()), "built without CUDA"),
            (Ok(vec![card(0, "Tesla T4")]), "has 1 cards"),
            (Ok(vec![card(0, "Tesla T4"), lost]), "the card is lost"),
        ] {
            let error = refusal(machine(cards));
            assert!(error.contains("cuda:1") && error.contains(words), "{error}");
        }
    }

    #[test]
    fn a_known_cards_speed_is_that_of_its_name_and_its_memory_what_is_free() {
        let machine = machine(Ok(vec![card(0, "Tesla T4"), card(1, "NVIDIA Something New")]));
        let facts = machine.facts("cuda:0".parse().unwrap()).unwrap();
        assert_eq!(facts.name, "cuda:0");
        assert!(facts.memory.is_some_and(|memory| memory < 15_000_000_000));
        assert!(facts.speeds.is_some());
        let unknown = machine.facts("cuda:1@4G".parse().unwrap()).unwrap();
        assert!(unknown.memory.is_some_and(|memory| memory < 4 << 30));
        assert!(unknown.speeds.is_none(), "nobody knows its arithmetic");
    }
}
