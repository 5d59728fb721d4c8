//! The figures in one place: what `--json` prints as it is, and what the table and the plot are made of.
//!
//! The fields' names are read by others' programs: they carry their units and do not change. `server/BENCH.md` explains
//! each.

use models::Work;
use models::ceiling::Ceiling;
use serde::Serialize;

use super::SEED;
use super::plan::Plan;
use super::steps::Steps;
use super::turns::Turns;

/// Everything that was found.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Report {
    pub(super) tandem_version: &'static str,
    pub(super) model: Model,
    pub(super) machine: Machine,
    pub(super) seed: u64,
    pub(super) rounds: usize,
    pub(super) load: Load,
    /// `None` where the system tells none.
    pub(super) peak_memory_bytes: Option<u64>,
    pub(super) prefill: Prefill,
    pub(super) decode: Decode,
    pub(super) batches: Vec<Batch>,
    pub(super) first_token: FirstToken,
    pub(super) second_turn: SecondTurn,
}

#[derive(Clone, Debug, Serialize)]
pub(super) struct Model {
    pub(super) name: String,
    pub(super) architecture: &'static str,
    pub(super) quantisation: String,
    pub(super) parameters: u64,
    pub(super) weight_bytes: u64,
    /// Bytes of the matrices that every step reads.
    pub(super) step_bytes: u64,
    /// Multiplications of a token whose successor is wanted.
    pub(super) token_multiply_adds: u64,
}

#[derive(Clone, Debug, Serialize)]
pub(super) struct Machine {
    pub(super) processor: Option<String>,
    pub(super) threads: usize,
    pub(super) int8_instructions: &'static str,
    /// The same for people.
    #[serde(skip)]
    pub(super) instructions_shown: String,
    pub(super) memory_read_gb_per_s: f64,
    pub(super) int8_gop_per_s: f64,
}

#[derive(Clone, Debug, Serialize)]
pub(super) struct Load {
    pub(super) seconds: f64,
    pub(super) seconds_per_gb: f64,
}

#[derive(Clone, Debug, Serialize)]
pub(super) struct Prefill {
    pub(super) tokens: usize,
    pub(super) seconds: f64,
    pub(super) tokens_per_s: f64,
    pub(super) int8_share: f64,
}

#[derive(Clone, Debug, Serialize)]
pub(super) struct Decode {
    pub(super) after_tokens: usize,
    pub(super) tokens: usize,
    pub(super) seconds: f64,
    pub(super) tokens_per_s: f64,
    pub(super) memory_share: f64,
    pub(super) int8_share: f64,
}

#[derive(Clone, Debug, Serialize)]
pub(super) struct Batch {
    pub(super) sequences: usize,
    pub(super) steps: usize,
    pub(super) step_seconds: f64,
    pub(super) tokens_per_s: f64,
    pub(super) memory_share: f64,
    pub(super) int8_share: f64,
    /// What the machine allows: the lower of its two limits.
    pub(super) limit_tokens_per_s: f64,
}

#[derive(Clone, Debug, Serialize)]
pub(super) struct FirstToken {
    pub(super) prompt_tokens: usize,
    pub(super) seconds: f64,
}

#[derive(Clone, Debug, Serialize)]
pub(super) struct SecondTurn {
    pub(super) history_tokens: usize,
    pub(super) prompt_tokens: usize,
    pub(super) cached_tokens: usize,
    pub(super) first_turn_seconds: f64,
    pub(super) seconds: f64,
    pub(super) share_of_first_turn: f64,
}

/// What is known of the model and the machine without measuring.
pub(super) struct Facts {
    pub(super) name: String,
    pub(super) architecture: &'static str,
    pub(super) quantisation: String,
    pub(super) parameters: u64,
    pub(super) weight_bytes: u64,
    pub(super) work: Work,
    pub(super) processor: Option<String>,
}

/// What was measured.
pub(super) struct Measured {
    pub(super) load: Load,
    pub(super) peak_memory_bytes: Option<u64>,
    pub(super) steps: Steps,
    pub(super) turns: Turns,
}

impl Load {
    pub(super) fn new(seconds: f64, bytes: u64) -> Load {
        Load {
            seconds,
            seconds_per_gb: seconds / (bytes as f64 / 1e9),
        }
    }
}

impl Report {
    /// Sets what was measured beside what the machine allows.
    pub(super) fn new(facts: Facts, plan: &Plan, measured: Measured, ceiling: Ceiling) -> Report {
        let Measured { steps, turns, .. } = measured;
        let limits = Limits {
            work: facts.work,
            ceiling,
        };
        let batches = plan.batches.iter().zip(&steps.batch_step_s);
        Report {
            tandem_version: env!("CARGO_PKG_VERSION"),
            model: Model {
                name: facts.name,
                architecture: facts.architecture,
                quantisation: facts.quantisation,
                parameters: facts.parameters,
                weight_bytes: facts.weight_bytes,
                step_bytes: facts.work.step_bytes(),
                token_multiply_adds: facts.work.multiply_adds(1, 1),
            },
            machine: Machine {
                processor: facts.processor,
                threads: ceiling.threads,
                int8_instructions: ceiling.simd.name(),
                instructions_shown: ceiling.simd.to_string(),
                memory_read_gb_per_s: ceiling.read_bytes_per_second / 1e9,
                int8_gop_per_s: ceiling.int8_operations_per_second / 1e9,
            },
            seed: SEED,
            rounds: plan.rounds,
            load: measured.load,
            peak_memory_bytes: measured.peak_memory_bytes,
            prefill: limits.prefill(plan, steps.prefill_s),
            decode: limits.decode(plan, steps.decode_s),
            batches: batches
                .map(|(sequences, seconds)| limits.batch(plan, *sequences, *seconds))
                .collect(),
            first_token: FirstToken {
                prompt_tokens: plan.short_prompt_tokens,
                seconds: turns.short_s,
            },
            second_turn: SecondTurn {
                history_tokens: plan.history_tokens,
                prompt_tokens: turns.second_prompt_tokens,
                cached_tokens: turns.cached_tokens,
                first_turn_seconds: turns.first_s,
                seconds: turns.second_s,
                share_of_first_turn: turns.second_s / turns.first_s,
            },
        }
    }

    /// One object, for programs.
    pub(super) fn json(&self) -> Result<String, serde_json::Error> {
        serde_json::to_string_pretty(self).map(|text| text + "\n")
    }
}

/// What a model costs on a machine.
struct Limits {
    work: Work,
    ceiling: Ceiling,
}

impl Limits {
    fn prefill(&self, plan: &Plan, seconds: f64) -> Prefill {
        Prefill {
            tokens: plan.prompt_tokens,
            seconds,
            tokens_per_s: plan.prompt_tokens as f64 / seconds,
            int8_share: self.int8_share(plan.prompt_tokens, 1, seconds),
        }
    }

    fn decode(&self, plan: &Plan, seconds: f64) -> Decode {
        let tokens = plan.decode_tokens;
        Decode {
            after_tokens: plan.prompt_tokens,
            tokens,
            seconds,
            tokens_per_s: tokens as f64 / seconds,
            memory_share: self.memory_share(seconds / tokens as f64),
            int8_share: self.int8_share(tokens, tokens, seconds),
        }
    }

    fn batch(&self, plan: &Plan, sequences: usize, step_seconds: f64) -> Batch {
        let (memory_share, int8_share) = (
            self.memory_share(step_seconds),
            self.int8_share(sequences, sequences, step_seconds),
        );
        let tokens_per_s = sequences as f64 / step_seconds;
        Batch {
            sequences,
            steps: plan.batch_steps,
            step_seconds,
            tokens_per_s,
            memory_share,
            int8_share,
            limit_tokens_per_s: tokens_per_s / memory_share.max(int8_share),
        }
    }

    /// Of the time that one step took, the part in which its matrices could have been read.
    fn memory_share(&self, step_seconds: f64) -> f64 {
        self.work.step_bytes() as f64 / self.ceiling.read_bytes_per_second / step_seconds
    }

    /// Of the time that these tokens took, the part in which they could have been multiplied.
    fn int8_share(&self, tokens: usize, wanted: usize, seconds: f64) -> f64 {
        let operations = 2.0 * self.work.multiply_adds(tokens as u64, wanted as u64) as f64;
        operations / self.ceiling.int8_operations_per_second / seconds
    }
}

#[cfg(test)]
pub(super) mod tests {
    use models::Cost;
    use models::Simd;
    use serde_json::{Value, json};

    use super::*;

    /// A model of round figures on a machine of round figures: 1 GB and 1.5 billion multiplications for a step, 25 GB/s,
    /// 400 GOP/s.
    pub(in super::super) fn example() -> Report {
        let plan = Plan {
            prompt_tokens: 512,
            decode_tokens: 64,
            short_prompt_tokens: 64,
            batches: vec![1, 4, 16],
            batch_steps: 16,
            history_tokens: 2000,
            rounds: 3,
            threads: 2,
            kv: models::KvFormat::F16,
        };
        let work = Work {
            layers: Cost {
                bytes: 750_000_000,
                elements: 1_250_000_000,
            },
            output: Cost {
                bytes: 250_000_000,
                elements: 250_000_000,
            },
        };
        let facts = Facts {
            name: "deepseek-r1-distill-qwen-1.5b".to_owned(),
            architecture: "qwen2",
            quantisation: "Q4_K_M".to_owned(),
            parameters: 1_777_000_000,
            weight_bytes: 1_110_000_000,
            work,
            processor: Some("Abacus 9000".to_owned()),
        };
        let measured = Measured {
            load: Load::new(0.555, 1_110_000_000),
            peak_memory_bytes: Some(1_387_500_000),
            steps: Steps {
                prefill_s: 12.8,
                decode_s: 3.2,
                batch_step_s: vec![0.05, 0.08, 0.25],
            },
            turns: Turns {
                short_s: 1.6,
                first_s: 50.0,
                second_s: 0.75,
                second_prompt_tokens: 2032,
                cached_tokens: 2000,
            },
        };
        let ceiling = Ceiling {
            threads: 2,
            read_bytes_per_second: 25e9,
            int8_operations_per_second: 400e9,
            simd: Simd::Avx2,
        };
        Report::new(facts, &plan, measured, ceiling)
    }

    #[test]
    fn the_json_has_these_fields_and_figures() {
        let found: Value = serde_json::from_str(&example().json().unwrap()).unwrap();
        let expected = json!({
            "tandem_version": env!("CARGO_PKG_VERSION"),
            "model": {
                "name": "deepseek-r1-distill-qwen-1.5b", "architecture": "qwen2", "quantisation": "Q4_K_M",
                "parameters": 1_777_000_000_u64, "weight_bytes": 1_110_000_000, "step_bytes": 1_000_000_000,
                "token_multiply_adds": 1_500_000_000
            },
            "machine": {
                "processor": "Abacus 9000", "threads": 2, "int8_instructions": "avx2",
                "memory_read_gb_per_s": 25.0, "int8_gop_per_s": 400.0
            },
            "seed": SEED, "rounds": 3,
            "load": {"seconds": 0.555, "seconds_per_gb": 0.5},
            "peak_memory_bytes": 1_387_500_000,
            "prefill": {"tokens": 512, "seconds": 12.8, "tokens_per_s": 40.0, "int8_share": 0.2501},
            "decode": {
                "after_tokens": 512, "tokens": 64, "seconds": 3.2, "tokens_per_s": 20.0, "memory_share": 0.8,
                "int8_share": 0.15
            },
            "batches": [
                {"sequences": 1, "steps": 16, "step_seconds": 0.05, "tokens_per_s": 20.0, "memory_share": 0.8,
                 "int8_share": 0.15, "limit_tokens_per_s": 25.0},
                {"sequences": 4, "steps": 16, "step_seconds": 0.08, "tokens_per_s": 50.0, "memory_share": 0.5,
                 "int8_share": 0.375, "limit_tokens_per_s": 100.0},
                {"sequences": 16, "steps": 16, "step_seconds": 0.25, "tokens_per_s": 64.0, "memory_share": 0.16,
                 "int8_share": 0.48, "limit_tokens_per_s": 133.3333}
            ],
            "first_token": {"prompt_tokens": 64, "seconds": 1.6},
            "second_turn": {
                "history_tokens": 2000, "prompt_tokens": 2032, "cached_tokens": 2000, "first_turn_seconds": 50.0,
                "seconds": 0.75, "share_of_first_turn": 0.015
            }
        });
        check_same("report", &found, &expected);
    }

    /// The same fields; numbers to four digits.
    fn check_same(place: &str, found: &Value, expected: &Value) {
        match (found, expected) {
            (Value::Object(found), Value::Object(expected)) => {
                let keys = |object: &serde_json::Map<String, Value>| object.keys().cloned().collect::<Vec<_>>();
                assert_eq!(keys(found), keys(expected), "{place}");
                for (key, value) in found {
                    check_same(&format!("{place}.{key}"), value, &expected[key]);
                }
            }
            (Value::Array(found), Value::Array(expected)) => {
                assert_eq!(found.len(), expected.len(), "{place}");
                for (found, expected) in found.iter().zip(expected) {
                    check_same(place, found, expected);
                }
            }
            (Value::Number(found), Value::Number(expected)) => {
                let (found, expected) = (found.as_f64().unwrap(), expected.as_f64().unwrap());
                assert!(
                    (found - expected).abs() <= 1e-4 * expected.abs(),
                    "{place}: {found} is not {expected}"
                );
            }
            _ => assert_eq!(found, expected, "{place}"),
        }
    }
}
