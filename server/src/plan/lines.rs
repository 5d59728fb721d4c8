//! What the start-up lines say of a placement: why it was taken, what lies where, what speed to expect.

use models::{Bytes, Held, KvFormat, Plan};

use super::Decision;
use crate::units::{digits, grouped};

/// Memories that are told one by one; the rest is counted.
const MEMORIES_TOLD: usize = 4;

/// Names and texts of the lines, in order.
pub(crate) fn placement_lines(decision: &Decision, kv: KvFormat) -> Vec<(&'static str, String)> {
    let (plan, reason) = (&decision.choice.plan, &decision.choice.reason);
    let layout = &plan.layout;
    let mut lines = vec![("placement", format!("{}: {reason}", layout.placement))];
    for held in plan.held.iter().take(MEMORIES_TOLD) {
        lines.push(("memory", memory(plan, held)));
    }
    if plan.held.len() > MEMORIES_TOLD {
        let more = plan.held.len() - MEMORIES_TOLD;
        lines.push(("memory", format!("and {more} more devices")));
    }
    lines.push(("cache", cache(layout.kv_tokens, layout.engines, kv)));
    if let Some(speed) = &decision.speed {
        let rates = speed.tokens_per_s.iter().map(|(_, rate)| digits(rate.attainable));
        let streams = speed.tokens_per_s.iter().map(|(streams, _)| streams.to_string());
        lines.push((
            "expected",
            format!(
                "{} tokens/s at {} streams",
                rates.collect::<Vec<_>>().join(", "),
                streams.collect::<Vec<_>>().join(", ")
            ),
        ));
    }
    lines
}

/// `t4: 9.71 GB of weights, 4.90 GB of KV cache, 0.13 GB free`.
fn memory(plan: &Plan, held: &Held) -> String {
    let copy = if held.is_machine && held.shares.len() > 1 {
        " in one copy"
    } else {
        ""
    };
    let free = held
        .free()
        .map_or_else(String::new, |free| format!(", {} free", Bytes(free)));
    format!(
        "{}: {} of weights{copy}, {} of KV cache{free}",
        plan.names(held),
        Bytes(held.weights),
        Bytes(held.kv)
    )
}

fn cache(kv_tokens: usize, engines: usize, kv: KvFormat) -> String {
    let each = if engines == 1 { "" } else { " in each engine" };
    format!("{} tokens{each}, stored as {}", grouped(kv_tokens), kv.name())
}

#[cfg(test)]
mod tests {
    use super::super::report::tests::{decision, example};
    use super::*;

    #[test]
    fn the_lines_tell_why_where_and_how_fast() {
        let (config, costs, devices, host) = example("t4,t4", &[]);
        let found = placement_lines(&decision(&config, &costs, &devices, &host), KvFormat::F16);
        let text: Vec<String> = found.iter().map(|(name, text)| format!("{name} {text}")).collect();
        let text = text.join("\n");
        for part in [
            "placement replicas: the whole model fits each device",
            "memory t4: 1.6 MB of weights",
            "cache 32 768 tokens in each engine, stored as f16",
            "tokens/s at 1, 2, 4, 8, 16 streams",
        ] {
            assert!(text.contains(part), "{part} is not in\n{text}");
        }
    }

    #[test]
    fn many_devices_take_few_lines() {
        let (config, costs, devices, host) = example(&["t4"; 9].join(","), &[]);
        let found = placement_lines(&decision(&config, &costs, &devices, &host), KvFormat::F16);
        assert!(found.len() <= 9, "{found:?}");
        assert!(
            found.contains(&("memory", "and 5 more devices".to_owned())),
            "{found:?}"
        );
    }
}
