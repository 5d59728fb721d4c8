//! What is run, and how large: the real check, or the quick one that a processor emulating a card ends in seconds.

use std::path::PathBuf;

use models::{CardStatus, DeviceKind, DeviceSpec};

use crate::run::{Outcome, STEP_ROWS_MAX, Talk};
use crate::shape::{SHAPES, Shape, TINY};

/// The parts of the check, in their order.
pub const SECTIONS: [&str; 5] = ["kernels", "logits", "placements", "soak", "speed"];

const USAGE: &str = "usage: gpu_check [--quick] [--device cuda:0] [--dir FOLDER] [--only SECTION,SECTION]
                 [--kernel-tests PROGRAM]

Sections: kernels, logits, placements, soak, speed. FOLDER is for the models that are made and deleted again, 20 GB at
most at a time; without it, the system's folder for temporary files. PROGRAM is the kernels' test program; without it
that section is left out.";

/// The check as asked for.
pub struct Plan {
    pub is_quick: bool,
    pub device: String,
    pub folder: PathBuf,
    sections: Vec<String>,
    pub kernel_tests: Option<PathBuf>,
    /// The model whose answers are compared.
    pub model: Shape,
    /// Lengths of the prompts, and the tokens after each.
    prompts: &'static [usize],
    tokens: usize,
    /// The longest prompt of the soak.
    pub soak_tokens: usize,
    /// Of the card's free memory, what other programs may have taken meanwhile.
    pub slack_bytes: u64,
    /// The models whose speed is measured.
    pub shapes: &'static [Shape],
    pub speed: Speed,
}

/// How speed is measured.
#[derive(Clone, Copy)]
pub struct Speed {
    /// Streams decoded together.
    pub streams: &'static [usize],
    /// Tokens of a prompt, read in one step.
    pub prompt_tokens: usize,
    /// Tokens that every stream has before it.
    pub history_tokens: usize,
    /// Steps of a round.
    pub steps: usize,
    /// The median of so many rounds counts.
    pub rounds: usize,
}

impl Plan {
    /// Understands the command line.
    pub fn of(arguments: impl Iterator<Item = String>) -> Outcome<Plan> {
        let words: Vec<String> = arguments.collect();
        let mut plan = match words.iter().any(|word| word == "--quick") {
            true => Plan::quick(),
            false => Plan::full(),
        };
        let mut arguments = words.into_iter();
        while let Some(word) = arguments.next() {
            let mut value = || arguments.next().ok_or_else(|| format!("{word} wants a value\n{USAGE}"));
            match word.as_str() {
                "--quick" => (),
                "--device" => plan.device = value()?,
                "--dir" => plan.folder = PathBuf::from(value()?),
                "--kernel-tests" => plan.kernel_tests = Some(PathBuf::from(value()?)),
                "--only" => plan.sections = value()?.split(',').map(str::to_owned).collect(),
                "--help" => return Err(USAGE.into()),
                _ => return Err(format!("{word} is not known\n{USAGE}").into()),
            }
        }
        if let Some(other) = plan.sections.iter().find(|name| !SECTIONS.contains(&name.as_str())) {
            return Err(format!("there is no section {other}\n{USAGE}").into());
        }
        Ok(plan)
    }

    fn full() -> Plan {
        Plan {
            is_quick: false,
            device: "cuda:0".to_owned(),
            folder: std::env::temp_dir(),
            sections: SECTIONS.map(str::to_owned).to_vec(),
            kernel_tests: None,
            model: SHAPES[0],
            prompts: &[17, 96, 250, 600],
            tokens: 64,
            soak_tokens: 4096,
            slack_bytes: 2 << 20,
            shapes: &SHAPES[1..],
            speed: Speed {
                streams: &[1, 2, 4, 8, 16],
                prompt_tokens: STEP_ROWS_MAX,
                history_tokens: 512,
                steps: 32,
                rounds: 3,
            },
        }
    }

    fn quick() -> Plan {
        Plan {
            is_quick: true,
            model: TINY,
            prompts: &[3, 16, 37],
            tokens: 6,
            soak_tokens: 18,
            shapes: &[TINY],
            speed: Speed {
                streams: &[1, 2, 4],
                prompt_tokens: 32,
                history_tokens: 32,
                steps: 2,
                rounds: 1,
            },
            ..Plan::full()
        }
    }

    pub fn has(&self, section: &str) -> bool {
        self.sections.iter().any(|name| name == section)
    }

    /// What is said to the models that are compared.
    pub fn talk(&self) -> Talk {
        Talk::new(self.prompts, self.tokens, self.model.vocabulary)
    }

    /// The card that is checked, and those beside it.
    pub fn cards(&self) -> Outcome<(CardStatus, Vec<CardStatus>)> {
        let spec: DeviceSpec = self.device.parse()?;
        let DeviceKind::Cuda(wanted) = spec.kind else {
            return Err(format!("{} is no card: --device takes cuda:0, cuda:1 and so on", self.device).into());
        };
        let (mut checked, others): (Vec<_>, Vec<_>) =
            models::cards()?.into_iter().partition(|card| card.index == wanted);
        let count = checked.len() + others.len();
        let card = checked
            .pop()
            .ok_or_else(|| format!("there is no {}: the driver sees {count} cards", self.device))?;
        match card.refusal {
            Some(refusal) => Err(refusal.into()),
            None => Ok((card, others)),
        }
    }
}
