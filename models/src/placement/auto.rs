//! Which placement to take when nobody says: the one that answers fastest among those that leave room to talk.

use super::Placement;
use super::costs::Costs;
use super::error::PlacementError;
use super::facts::DeviceFacts;
use super::plan::{Plan, Wish, place};
use super::speed::{Load, speed};

/// Tokens of one conversation that a useful cache holds for each slot; longer ones are rare.
const USUAL_TOKENS: usize = 4096;

/// A plan and why it was taken.
#[derive(Debug, Clone, PartialEq)]
pub struct Choice {
    /// What was taken.
    pub plan: Plan,
    /// Why, in a phrase.
    pub reason: String,
}

/// Lays the model on `devices` as `asked`, or in the best placement if nobody asked.
///
/// # Errors
/// The placement asked for is not possible, or none is.
pub fn choose(
    asked: Option<Placement>,
    costs: &Costs,
    devices: &[DeviceFacts],
    host: &DeviceFacts,
    wish: &Wish,
) -> Result<Choice, PlacementError> {
    let at = |placement| place(placement, costs, devices, host, wish);
    if let Some(placement) = asked {
        let reason = "asked for".to_owned();
        return at(placement).map(|plan| Choice { plan, reason });
    }
    let replicas = at(Placement::Replicas);
    let is_all_machine = devices
        .iter()
        .all(|facts| facts.is_cpu() && facts.spec.memory_max.is_none());
    match replicas {
        // Nothing else takes less of a memory that all share, and offload would only repeat the refusal.
        Ok(plan) if is_all_machine => {
            return Ok(Choice {
                reason: whole(&plan),
                plan,
            });
        }
        Err(error) if is_all_machine => return Err(error),
        Ok(plan) if plan.room_tokens >= useful_tokens(wish) => {
            return Ok(Choice {
                reason: whole(&plan),
                plan,
            });
        }
        _ => {}
    }
    let (pipeline, tensor) = (at(Placement::Pipeline), at(Placement::Tensor));
    if devices.len() > 1
        && let Some(choice) = shared(costs, wish, devices, &pipeline, &tensor)
    {
        return Ok(choice);
    }
    if let Ok(plan) = replicas {
        let reason = "every device holds the whole model, though with little room for caches".to_owned();
        return Ok(Choice { plan, reason });
    }
    let offload = at(Placement::Offload);
    let tried = [
        (Placement::Replicas, replicas),
        (Placement::Pipeline, pipeline),
        (Placement::Tensor, tensor),
    ];
    match offload {
        Ok(plan) => {
            let reason = "the devices cannot hold the model, so the processor computes what is left over".to_owned();
            Ok(Choice { plan, reason })
        }
        Err(error) => {
            let tried = tried
                .into_iter()
                .filter(|(placement, _)| devices.len() > 1 || *placement == Placement::Replicas);
            let reasons = tried.filter_map(|(placement, result)| Some((placement, result.err()?)));
            Err(PlacementError::Nothing {
                tried: reasons.chain([(Placement::Offload, error)]).collect(),
            })
        }
    }
}

/// Tokens of cache that make replicas worth having: conversations of the usual length in every slot, and one of the
/// longest.
fn useful_tokens(wish: &Wish) -> usize {
    let usual = wish.slots.saturating_mul(wish.context_tokens.min(USUAL_TOKENS));
    match wish.kv_tokens {
        Some(_) => wish.least_tokens(),
        None => usual.max(wish.least_tokens()),
    }
}

fn whole(plan: &Plan) -> String {
    let is_one_copy = plan.held.iter().all(|held| held.is_machine);
    match plan.layout.engines {
        1 => "the whole model fits the device".to_owned(),
        _ if is_one_copy => "this machine holds the whole model, one copy for all engines".to_owned(),
        _ => "the whole model fits each device, so no engine waits for another".to_owned(),
    }
}

/// The better one of pipeline and tensor, if any is possible.
fn shared(
    costs: &Costs,
    wish: &Wish,
    devices: &[DeviceFacts],
    pipeline: &Result<Plan, PlacementError>,
    tensor: &Result<Plan, PlacementError>,
) -> Option<Choice> {
    let alone = |plan: &Plan| Some(speed(costs, plan, &Load::usual(wish.kv))?.at(1)?.attainable);
    let choice = |plan: &Plan, reason: String| Choice {
        plan: plan.clone(),
        reason,
    };
    let no_device_alone = "no device holds the model with room for caches";
    match (pipeline, tensor) {
        (Ok(pipeline), Ok(tensor)) if are_alike(devices) => {
            let Some((slow, fast)) = alone(pipeline).zip(alone(tensor)) else {
                return Some(choice(pipeline, format!("{no_device_alone}; their speed is unknown")));
            };
            let reason = |a: &str, a_speed: f64, b: &str, b_speed: f64| {
                let places = if b_speed < 100.0 { 1 } else { 0 };
                format!(
                    "{no_device_alone}; one stream gets {a_speed:.places$} tokens/s in {a}, {b_speed:.places$} in {b}"
                )
            };
            Some(match fast > slow {
                true => choice(tensor, reason("tensor", fast, "pipeline", slow)),
                false => choice(pipeline, reason("pipeline", slow, "tensor", fast)),
            })
        }
        (Ok(pipeline), Ok(_)) => Some(choice(
            pipeline,
            format!("{no_device_alone}, and unlike ones would wait for each other in tensor"),
        )),
        (Ok(pipeline), Err(error)) => Some(choice(
            pipeline,
            format!("{no_device_alone}; tensor is not possible: {}", error.in_short()),
        )),
        (Err(error), Ok(tensor)) if are_alike(devices) => Some(choice(
            tensor,
            format!("{no_device_alone}; pipeline is not possible: {}", error.in_short()),
        )),
        _ => None,
    }
}

/// Whether all are of one kind and none shares what it has with another.
fn are_alike(devices: &[DeviceFacts]) -> bool {
    let differs = devices.windows(2).any(|pair| match pair {
        [a, b] => (a.memory, a.speeds, a.is_cpu()) != (b.memory, b.speeds, b.is_cpu()),
        _ => false,
    });
    !differs
}

#[cfg(test)]
mod tests {
    use kernels::KvFormat;

    use super::super::Card;
    use super::super::reference::{cards, costs, wish};
    use super::super::tests::{GIB, cpus, tiny_costs, with_memory};
    use super::*;

    fn unlike() -> Vec<DeviceFacts> {
        let cards = ["t4", "a10"].map(|name| Card::named(name).unwrap());
        (0..).zip(cards).map(|(index, card)| card.facts(index, None)).collect()
    }

    fn chosen(costs: &Costs, devices: &[DeviceFacts], wish: &Wish) -> Choice {
        choose(None, costs, devices, &DeviceFacts::some_host(), wish).unwrap()
    }

    #[test]
    fn auto_takes_replicas_where_the_model_and_useful_caches_fit_and_the_faster_one_else() {
        let usual = Wish {
            slots: 8,
            context_tokens: 8192,
            ..wish(KvFormat::F16)
        };
        let (small, large) = (tiny_costs(), costs());
        for (costs, devices, expected, reason) in [
            (&small, cards("t4", 2), Placement::Replicas, "each device"),
            (&small, cpus("cpu,cpu", GIB), Placement::Replicas, "one copy"),
            (&small, cpus("cpu", GIB), Placement::Replicas, "the device"),
            (
                &large,
                cards("t4", 2),
                Placement::Tensor,
                "21.3 tokens/s in tensor, 12.0 in pipeline",
            ),
            (&large, unlike(), Placement::Pipeline, "unlike"),
            (&large, cards("t4", 1), Placement::Offload, "left over"),
            (&large, cards("h100", 1), Placement::Replicas, "the device"),
            (
                &large,
                cards("t4", 9),
                Placement::Pipeline,
                "only 8 key and value heads",
            ),
        ] {
            let choice = chosen(costs, &devices, &usual);
            assert_eq!(choice.plan.layout.placement, expected, "{}", choice.reason);
            assert!(choice.reason.contains(reason), "{}", choice.reason);
        }
    }

    #[test]
    fn auto_weighs_the_room_for_conversations_to_the_token() {
        let (costs, usual) = (costs(), wish(KvFormat::F16));
        let usual = Wish {
            slots: 2,
            context_tokens: 4096,
            ..usual
        };
        let needed = costs.step().bytes + 2 * 4096 * costs.config.kv_bytes_per_token(KvFormat::F16);
        for (memory, expected) in [(needed, Placement::Replicas), (needed - 1, Placement::Tensor)] {
            let choice = chosen(&costs, &with_memory(&cards("a10", 2), memory), &usual);
            assert_eq!(choice.plan.layout.placement, expected);
        }
        // Alone a card has no better choice than a small cache.
        let choice = chosen(&costs, &with_memory(&cards("a10", 1), needed - 1), &usual);
        assert_eq!(choice.plan.layout.placement, Placement::Replicas);
        assert!(choice.reason.contains("little room"), "{}", choice.reason);
    }

    #[test]
    fn where_nothing_fits_every_placement_tells_its_numbers() {
        let (costs, wish) = (costs(), wish(KvFormat::F16));
        let host = cpus("cpu", 4 * GIB).remove(0);
        let error = choose(None, &costs, &cards("t4", 1), &host, &wish)
            .unwrap_err()
            .to_string();
        for part in [
            "replicas needs 19.9",
            "14.74 GB there",
            "offload needs",
            "4.29 GB there",
            "quantisation",
            "--kv q8_0",
        ] {
            assert!(error.contains(part), "{part} is not in: {error}");
        }
        assert!(!error.contains("pipeline"), "{error}");
        let small = with_memory(&cards("t4", 2), GIB);
        let error = choose(None, &costs, &small, &host, &wish).unwrap_err().to_string();
        assert!(
            error.contains("pipeline needs") && error.contains("tensor needs"),
            "{error}"
        );
    }
}
