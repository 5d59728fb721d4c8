//! How much memory the KV caches get: what was asked for, else what the settings need and the machine has.

use std::path::Path;

use engine::BLOCK_TOKENS;

use super::model::Opened;
use crate::config::{Config, ConfigError};
use crate::units;

/// The context where nobody names one and the model allows more.
const CONTEXT_DEFAULT: usize = 8192;

/// The sizes the engines are started with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Plan {
    /// Most tokens of one conversation.
    pub(super) context: usize,
    /// Tokens in one engine's KV cache, a multiple of the block.
    pub(super) kv_tokens: usize,
}

/// What the plan is made from, besides the settings.
#[derive(Clone, Copy, Debug)]
struct Needs {
    context_max: usize,
    kv_bytes_per_token: u64,
    /// Memory free for the caches of all engines together; `None` where the system does not tell.
    available: Option<u64>,
}

/// Decides on context and KV cache for `opened` on this machine.
///
/// # Errors
/// A context that the model or the memory cannot hold.
pub(super) fn plan(config: &Config, opened: &Opened) -> Result<Plan, ConfigError> {
    let needs = Needs {
        context_max: opened.card.context_tokens,
        kv_bytes_per_token: opened.config.kv_bytes_per_token(config.kv),
        // The weights are not loaded yet; half of what they leave is for the caches, the rest for everything else.
        available: free_memory().map(|free| free.saturating_sub(opened.facts.file_bytes) / 2),
    };
    size(config, needs)
}

fn size(config: &Config, needs: Needs) -> Result<Plan, ConfigError> {
    let context_max = needs.context_max;
    let context = config.context.unwrap_or(CONTEXT_DEFAULT.min(context_max));
    if context > context_max {
        return Err(ConfigError::ContextTooLong {
            context,
            context_max,
            from: config.source("context"),
        });
    }
    let least = context.next_multiple_of(BLOCK_TOKENS);
    if let Some(asked) = config.kv_tokens {
        let kv_tokens = asked.next_multiple_of(BLOCK_TOKENS);
        if kv_tokens < least {
            return Err(ConfigError::KvTooSmall {
                kv_tokens: asked,
                context,
                from: config.source("kv_tokens"),
            });
        }
        return Ok(Plan { context, kv_tokens });
    }
    let wanted = least.saturating_mul(config.slots);
    let engines = config.devices.len();
    let Some(available) = needs.available else {
        return Ok(Plan {
            context,
            kv_tokens: wanted,
        });
    };
    let per_token = needs.kv_bytes_per_token.max(1).saturating_mul(engines as u64);
    let affordable = usize::try_from(available / per_token).unwrap_or(usize::MAX);
    let kv_tokens = wanted.min(affordable) / BLOCK_TOKENS * BLOCK_TOKENS;
    if kv_tokens < least {
        return Err(ConfigError::NoMemory {
            context,
            engines,
            needed: units::bytes(needs.kv_bytes_per_token.saturating_mul(context as u64)),
            available: units::bytes(available),
        });
    }
    Ok(Plan { context, kv_tokens })
}

/// The least of what the machine and the control group have left.
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
    use crate::config::Said;

    fn check(
        flags: &[(&'static str, &str)],
        context_max: usize,
        available: u64,
        expected: Result<(usize, usize), &str>,
    ) {
        let flags = flags.iter().map(|(key, text)| (*key, (*text).to_owned())).collect();
        let config = Config::resolve(&Said {
            flags,
            ..Said::default()
        })
        .unwrap();
        let needs = Needs {
            context_max,
            kv_bytes_per_token: 1000,
            available: Some(available),
        };
        match (size(&config, needs), expected) {
            (Ok(found), Ok((context, kv_tokens))) => assert_eq!(found, Plan { context, kv_tokens }),
            (Err(error), Err(part)) => assert!(error.to_string().contains(part), "{error}"),
            (found, expected) => panic!("{found:?} is not {expected:?}"),
        }
    }

    const PLENTY: u64 = 1 << 40;

    #[test]
    fn the_cache_holds_a_full_context_for_each_slot_when_there_is_memory() {
        check(&[], 1024, PLENTY, Ok((1024, 8 * 1024)));
        check(&[], 131_072, PLENTY, Ok((8192, 8 * 8192)));
        check(
            &[("context", "1000"), ("slots", "2")],
            131_072,
            PLENTY,
            Ok((1000, 2 * 1008)),
        );
    }

    #[test]
    fn the_cache_of_all_engines_stays_within_the_memory() {
        check(&[], 1024, 1000 * 2 * 4096, Ok((1024, 4096)));
        check(&[("devices", "cpu")], 1024, 1000 * 4096, Ok((1024, 4096)));
    }

    #[test]
    fn memory_for_exactly_one_conversation_is_enough_and_one_token_less_is_not() {
        check(&[("devices", "cpu")], 1024, 1000 * 1024, Ok((1024, 1024)));
        check(&[("devices", "cpu")], 1024, 1000 * 1023, Err("lower `context`"));
    }

    #[test]
    fn what_was_asked_for_is_taken_or_refused_never_changed() {
        check(&[("kv_tokens", "1024"), ("context", "1024")], 1024, 0, Ok((1024, 1024)));
        check(
            &[("kv_tokens", "1000"), ("context", "1024")],
            1024,
            PLENTY,
            Err("--kv-tokens"),
        );
        check(
            &[("context", "1025")],
            1024,
            PLENTY,
            Err("the model holds at most 1024"),
        );
    }

    #[test]
    fn the_kernels_word_on_free_memory_is_read() {
        let text = "MemTotal:       24684096 kB\nMemFree:        22500640 kB\nMemAvailable:   24074740 kB\n";
        assert_eq!(meminfo_available(text), Some(24_074_740 * 1024));
        assert_eq!(meminfo_available("MemTotal: 1 kB\n"), None);
    }
}
