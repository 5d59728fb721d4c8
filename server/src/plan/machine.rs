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

    /// The same as if so many bytes more were free on this kind of device.
    pub(crate) fn with(mut self, kind: DeviceKind, bytes: u64) -> Machine {
        match (kind, &mut self.cards) {
            (DeviceKind::Cpu, _) => self.free = self.free.map(|free| free.saturating_add(bytes)),
            (DeviceKind::Cuda(index), Some(Ok(cards))) => {
                if let Some(card) = cards.iter_mut().find(|card| card.index == index) {
                    card.free_bytes = card
                        .free_bytes
                        .map(|free| free.saturating_add(bytes).min(card.memory_bytes));
                }
            }
            (DeviceKind::Cuda(_), _) => {}
        }
        self
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
        (Some(most), Some(used)) => {
            let cache = read(&group.join("memory.stat")).map_or(0, |text| page_cache(&text));
            Some(machine.min(most.saturating_sub(used.saturating_sub(cache))))
        }
        _ => Some(machine),
    }
}

/// Bytes of files that a control group's processes have read: they are counted as used, and make way when memory is
/// needed. Source: the kernel's `cgroup-v2.rst`, `memory.stat`.
fn page_cache(memory_stat: &str) -> u64 {
    let bytes = |name: &str| {
        let lines = memory_stat.lines().filter_map(|line| line.split_once(' '));
        let mut values = lines.filter(|(key, _)| *key == name).map(|(_, value)| value.trim());
        values.next().and_then(|value| value.parse::<u64>().ok()).unwrap_or(0)
    };
    bytes("inactive_file").saturating_add(bytes("active_file"))
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
    fn files_that_were_read_are_no_used_memory_of_a_control_group() {
        let text = "anon 4096\nfile 300\ninactive_anon 7\ninactive_file 100\nactive_file 200\nworkingset 1\n";
        assert_eq!(page_cache(text), 300);
        assert_eq!(
            page_cache("inactive_file 18446744073709551615\nactive_file 1\n"),
            u64::MAX
        );
        assert_eq!(page_cache("active_file none\n"), 0);
        assert_eq!(page_cache(""), 0);
    }

    #[test]
    fn what_a_model_would_give_back_counts_as_free_up_to_what_a_card_has() {
        let machine = machine(Ok(vec![card(0, "Tesla T4")]));
        let machine = machine.with(DeviceKind::Cpu, 1 << 30);
        let machine = machine.with(DeviceKind::Cuda(0), 1 << 60).with(DeviceKind::Cuda(7), 1);
        assert_eq!(machine.host().memory, Some(2 << 30));
        let free = machine.cards.unwrap().unwrap().first().unwrap().free_bytes;
        assert_eq!(free, Some(16_000_000_000));
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
