//! From settings, a model's costs and the devices' facts to what is started: context, caches, placement.

use engine::BLOCK_TOKENS;
use models::{Choice, Costs, DeviceFacts, KvFormat, Load, PlacementError, Speed, Wish};

use super::report;
use crate::config::{Config, ConfigError};
use crate::units;

/// The context where nobody names one and the model allows more.
const CONTEXT_DEFAULT: usize = 8192;

/// What the engines are started with.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Decision {
    /// Most tokens of one conversation.
    pub(crate) context: usize,
    /// Tokens in one engine's KV cache, a multiple of the block.
    pub(crate) kv_tokens: usize,
    /// Which device holds what, and why.
    pub(crate) choice: Choice,
    /// What speeds are estimated for.
    pub(crate) load: Load,
    /// The expected speed, where all devices' speeds are known.
    pub(crate) speed: Option<Speed>,
}

/// Decides, or says which setting cannot hold.
///
/// # Errors
/// A context that the model or the memory cannot hold; a placement that is not possible on these devices.
pub(crate) fn decide(
    config: &Config,
    costs: &Costs,
    devices: &[DeviceFacts],
    host: &DeviceFacts,
) -> Result<Decision, ConfigError> {
    let wish = wish(config, costs)?;
    let choice = models::choose(config.placement, costs, devices, host, &wish);
    let choice = choice.map_err(|error| refuse(error, wish.context_tokens))?;
    let load = report::load(config, wish.context_tokens);
    Ok(Decision {
        context: wish.context_tokens,
        kv_tokens: choice.plan.layout.kv_tokens,
        speed: models::speed(costs, &choice.plan, &load),
        load,
        choice,
    })
}

/// What the settings ask for, for this model.
///
/// # Errors
/// A context that the model cannot hold, or one that the cache asked for cannot.
pub(super) fn wish(config: &Config, costs: &Costs) -> Result<Wish, ConfigError> {
    let context_max = costs.config.context_tokens;
    let mut context = config.context.unwrap_or(CONTEXT_DEFAULT.min(context_max));
    if config.is_context_wish {
        context = context.min(context_max);
    }
    if context > context_max {
        return Err(ConfigError::ContextTooLong {
            context,
            context_max,
            from: config.source("context"),
        });
    }
    match config.kv_tokens {
        Some(asked) if asked.next_multiple_of(BLOCK_TOKENS) < context.next_multiple_of(BLOCK_TOKENS) => {
            Err(ConfigError::KvTooSmall {
                kv_tokens: asked,
                context,
                from: config.source("kv_tokens"),
            })
        }
        kv_tokens => Ok(Wish {
            kv: config.kv,
            context_tokens: context,
            slots: config.slots,
            kv_tokens,
        }),
    }
}

/// This machine's memory can be helped in other ways than a card's.
fn refuse(error: PlacementError, context: usize) -> ConfigError {
    match error {
        PlacementError::Memory { shortage, .. } if shortage.is_machine => ConfigError::NoMemory {
            context,
            engines: shortage.engines,
            needed: units::bytes(shortage.kv_per_engine),
            available: units::bytes(shortage.available()),
        },
        other => ConfigError::Placement(other),
    }
}

/// The other way to store keys and values.
pub(super) fn other(kv: KvFormat) -> KvFormat {
    match kv {
        KvFormat::F16 => KvFormat::Q8_0,
        KvFormat::Q8_0 => KvFormat::F16,
    }
}

#[cfg(test)]
mod tests {
    use models::{DeviceSpec, Placement};

    use super::*;
    use crate::config::Said;

    fn config(flags: &[(&'static str, &str)]) -> Config {
        let flags = flags.iter().map(|(key, text)| (*key, (*text).to_owned())).collect();
        Config::resolve(&Said {
            flags,
            ..Said::default()
        })
        .unwrap()
    }

    /// The embedded model as if it held `context_max` tokens.
    fn costs(context_max: usize) -> Costs {
        let gguf = library::Gguf::from_static(models::tiny::GGUF, "tiny").unwrap();
        let mut costs = Costs::of(&gguf, &models::Config::from_gguf(&gguf).unwrap());
        costs.config.context_tokens = context_max;
        costs
    }

    fn weight_bytes() -> u64 {
        let costs = costs(1);
        costs.step().bytes + costs.embedding_bytes
    }

    /// Bytes of `tokens` in one engine's cache.
    fn kv(tokens: u64) -> u64 {
        tokens * costs(1).config.kv_bytes_per_token(KvFormat::F16)
    }

    /// `available` bytes are left for caches after the weights have their copy and the rest of the machine its half.
    fn check(
        flags: &[(&'static str, &str)],
        context_max: usize,
        available: u64,
        expected: Result<(usize, usize), &str>,
    ) {
        let config = config(flags);
        let free = Some(weight_bytes() + 2 * available);
        let facts: Vec<_> = config
            .devices
            .iter()
            .map(|spec| DeviceFacts::cpu(*spec, free))
            .collect();
        let host = DeviceFacts::cpu(DeviceSpec::CPU, free);
        match (decide(&config, &costs(context_max), &facts, &host), expected) {
            (Ok(found), Ok(expected)) => {
                assert_eq!((found.context, found.kv_tokens), expected);
                assert_eq!(found.choice.plan.layout.placement, Placement::Replicas);
            }
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
        check(&[], 1024, 2 * kv(4096), Ok((1024, 4096)));
        check(&[("devices", "cpu")], 1024, kv(4096), Ok((1024, 4096)));
    }

    #[test]
    fn memory_for_exactly_one_conversation_is_enough_and_one_token_less_is_not() {
        check(&[("devices", "cpu")], 1024, kv(1024), Ok((1024, 1024)));
        check(&[("devices", "cpu")], 1024, kv(1023), Err("lower `context`"));
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
    fn the_placement_asked_for_is_taken() {
        for placement in Placement::ALL {
            let config = config(&[("placement", placement.name())]);
            let facts = [
                DeviceFacts::cpu(DeviceSpec::CPU, None),
                DeviceFacts::cpu(DeviceSpec::CPU, None),
            ];
            let found = decide(&config, &costs(1024), &facts, &facts[0]).unwrap();
            assert_eq!(found.choice.plan.layout.placement, placement);
            assert_eq!(found.choice.reason, "asked for");
        }
    }
}
