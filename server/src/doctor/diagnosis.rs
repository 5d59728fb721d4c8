//! From what was found to what is missing, as lines for people and fields for programs.

use models::CardStatus;
use serde::Serialize;

use super::machine::{Cards, Machine};
use crate::paint::Paint;
use crate::units::bytes;

/// The first driver that knows CUDA 13.0.
const DRIVER_MIN: u32 = 580;
/// The oldest cards that the kernels are made for: the T4's.
const CAPABILITY_MIN: (u32, u32) = (7, 5);

/// The fields of `--json`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Diagnosis {
    /// `cpu` or `cuda`.
    flavour: &'static str,
    driver_library: Option<String>,
    driver_version: Option<String>,
    cards: Vec<CardLine>,
    missing: Vec<Missing>,
    /// Whether at least one card can be used by this very program.
    pub(super) is_usable: bool,
}

/// One card. What only the driver tells is unknown to a program that cannot ask it.
#[derive(Clone, Debug, PartialEq, Serialize)]
struct CardLine {
    device: Option<String>,
    name: String,
    memory_bytes: Option<u64>,
    free_bytes: Option<u64>,
    compute_capability: Option<String>,
    bandwidth_gb_per_s: Option<f64>,
    is_usable: bool,
}

/// What stands in the way, and how to get it out of the way.
#[derive(Clone, Debug, PartialEq, Serialize)]
struct Missing {
    what: String,
    to_do: String,
}

fn missing(what: impl Into<String>, to_do: &str) -> Missing {
    Missing {
        what: what.into(),
        to_do: to_do.to_owned(),
    }
}

const BUILD: &str = "build the CUDA flavour, `cargo build --release --features cuda`, or get one: server/docs/cuda.md";
const NEWER_CARD: &str = "use a card of compute capability 7.5 or newer (T4, RTX 20, A100, L4, ...), or the processor";

impl Diagnosis {
    pub(super) fn of(machine: Machine) -> Diagnosis {
        let mut lacks = driver_lacks(&machine);
        let (flavour, cards) = match &machine.cards {
            Cards::NotBuilt => {
                lacks.push(missing("CUDA: this program is the CPU flavour", BUILD));
                (
                    "cpu",
                    machine.listed.iter().map(|name| CardLine::listed(name)).collect(),
                )
            }
            Cards::Refused(reason) => {
                if lacks.is_empty() {
                    lacks.push(missing(reason.clone(), "see that `nvidia-smi` works, then ask again"));
                }
                (
                    "cuda",
                    machine
                        .listed
                        .iter()
                        .map(|name| CardLine::listed(name))
                        .collect::<Vec<_>>(),
                )
            }
            Cards::Found(cards) => {
                // Whatever files there are: the driver has answered.
                lacks.clear();
                if cards.is_empty() {
                    let what = "a card: the driver sees none";
                    lacks.push(missing(
                        what,
                        "see that `nvidia-smi -L` lists it and CUDA_VISIBLE_DEVICES does not hide it",
                    ));
                }
                lacks.extend(cards.iter().filter_map(card_lacks));
                ("cuda", cards.iter().map(CardLine::found).collect())
            }
        };
        Diagnosis {
            flavour,
            is_usable: cards.iter().any(|card| card.is_usable),
            driver_library: machine.library.map(|path| path.display().to_string()),
            driver_version: machine.driver,
            cards,
            missing: lacks,
        }
    }

    /// Lines for people.
    pub(super) fn page(&self, paint: Paint) -> String {
        let mut page = String::new();
        let mut line =
            |name: &str, text: &str| page.push_str(&format!("{} {text}\n", paint.dim(&format!("{name:<8}"))));
        line(
            "program",
            match self.flavour {
                "cpu" => "CPU flavour: built without CUDA, it runs models on the processor only",
                _ => "CUDA flavour: kernels for compute capability 7.5 and newer, CUDA 13.0",
            },
        );
        line("driver", &self.driver_words());
        for card in &self.cards {
            line("card", &card.words());
        }
        if self.cards.is_empty() {
            line("card", "none found");
        }
        for lack in &self.missing {
            line("missing", &paint.alarm(&lack.what));
            line("to do", &lack.to_do);
        }
        if self.is_usable {
            let usable = self.cards.iter().filter(|card| card.is_usable);
            let names: Vec<&str> = usable.filter_map(|card| card.device.as_deref()).collect();
            line(
                "use",
                &format!("tandem --model FILE.gguf --devices {}", names.join(",")),
            );
        }
        page
    }

    fn driver_words(&self) -> String {
        match (&self.driver_version, &self.driver_library) {
            (Some(version), Some(library)) => format!("NVIDIA {version}, {library}"),
            (Some(version), None) => format!("NVIDIA {version}, its library libcuda.so.1 not found"),
            (None, Some(library)) => format!("{library}, its version unknown"),
            (None, None) => "not found".to_owned(),
        }
    }
}

/// What is wrong with the driver, as far as files tell.
fn driver_lacks(machine: &Machine) -> Vec<Missing> {
    let major = |version: &String| version.split('.').next()?.parse::<u32>().ok();
    match (&machine.library, machine.driver.as_ref().and_then(major)) {
        (_, Some(found)) if found < DRIVER_MIN => {
            let what = format!("a driver for CUDA 13.0: {found} is older than {DRIVER_MIN}");
            vec![missing(what, "update NVIDIA's driver to 580 or newer")]
        }
        (Some(_), _) => Vec::new(),
        (None, Some(_)) => vec![missing(
            "the driver's library libcuda.so.1, though its kernel module runs",
            "install the driver's libraries of the same version; in a container, start it with `--gpus all`",
        )],
        (None, None) => vec![missing(
            "NVIDIA's driver",
            "install NVIDIA's driver 580 or newer; in a container, install it outside and start with `--gpus all`",
        )],
    }
}

/// What stands in the way of one card.
fn card_lacks(card: &CardStatus) -> Option<Missing> {
    let reason = card.refusal.as_ref()?;
    let to_do = if card.compute_capability < CAPABILITY_MIN {
        NEWER_CARD
    } else {
        "end what else uses the card, see that `nvidia-smi` works, then ask again"
    };
    Some(missing(reason.clone(), to_do))
}

impl CardLine {
    /// A card of which the kernel module tells the name.
    fn listed(name: &str) -> CardLine {
        CardLine {
            device: None,
            name: name.to_owned(),
            memory_bytes: None,
            free_bytes: None,
            compute_capability: None,
            bandwidth_gb_per_s: None,
            is_usable: false,
        }
    }

    fn found(card: &CardStatus) -> CardLine {
        let ((major, minor), rate) = (card.compute_capability, card.memory_bytes_per_second);
        CardLine {
            device: Some(format!("cuda:{}", card.index)),
            name: card.name.clone(),
            memory_bytes: Some(card.memory_bytes),
            free_bytes: card.free_bytes,
            compute_capability: Some(format!("{major}.{minor}")),
            bandwidth_gb_per_s: (rate > 0).then(|| rate as f64 / 1e9),
            is_usable: card.refusal.is_none(),
        }
    }

    fn words(&self) -> String {
        let Some(device) = &self.device else {
            return format!("{}, listed by the driver's kernel module", self.name);
        };
        let mut words = vec![format!("{device} {}", self.name)];
        words.extend(self.memory_bytes.map(|memory| match self.free_bytes {
            Some(free) => format!("{}, {} free", bytes(memory), bytes(free)),
            None => bytes(memory),
        }));
        words.extend(
            self.compute_capability
                .as_ref()
                .map(|found| format!("compute capability {found}")),
        );
        words.extend(self.bandwidth_gb_per_s.map(|rate| format!("{rate:.0} GB/s")));
        words.push(
            if self.is_usable {
                "can be used"
            } else {
                "cannot be used"
            }
            .to_owned(),
        );
        words.join(", ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn card(index: usize, compute_capability: (u32, u32), free: Result<u64, &str>) -> CardStatus {
        CardStatus {
            index,
            name: "Tesla T4".to_owned(),
            memory_bytes: 15_600_000_000,
            free_bytes: free.ok(),
            compute_capability,
            multiprocessors: 40,
            memory_bytes_per_second: 320_000_000_000,
            refusal: free.err().map(str::to_owned),
        }
    }

    /// What is said about a machine with or without library and kernel module.
    fn check(library: bool, driver: Option<&str>, cards: Cards, is_usable: bool, words: &[&str]) {
        let diagnosis = Diagnosis::of(Machine {
            library: library.then(|| "/usr/lib64/libcuda.so.1".into()),
            driver: driver.map(str::to_owned),
            listed: vec!["Tesla T4".to_owned()],
            cards,
        });
        let page = diagnosis.page(Paint { is_coloured: false });
        assert_eq!(diagnosis.is_usable, is_usable, "{page}");
        assert_eq!(page.contains("missing"), page.contains("to do"), "{page}");
        for word in words {
            assert!(page.contains(word), "{word:?} is not in\n{page}");
        }
        let fields = serde_json::to_value(&diagnosis).unwrap();
        assert_eq!(fields["is_usable"], is_usable);
    }

    #[test]
    fn the_cpu_flavour_says_what_to_install_and_build() {
        let no = Cards::NotBuilt;
        check(
            false,
            None,
            no.clone(),
            false,
            &["CPU flavour", "not found", "580 or newer", "--features cuda"],
        );
        check(
            true,
            Some("580.95.05"),
            no.clone(),
            false,
            &["NVIDIA 580.95.05", "Tesla T4", "--features cuda"],
        );
        check(
            true,
            Some("535.183.01"),
            no.clone(),
            false,
            &["535 is older than 580", "--features cuda"],
        );
        check(false, Some("580.1"), no, false, &["libcuda.so.1", "--gpus all"]);
    }

    #[test]
    fn the_cuda_flavour_names_what_the_driver_lacks_once() {
        let refused = Cards::Refused("the CUDA driver does not start: unknown error".to_owned());
        check(
            true,
            Some("590.1"),
            refused.clone(),
            false,
            &["does not start", "nvidia-smi"],
        );
        check(false, None, refused, false, &["install NVIDIA's driver"]);
        check(
            true,
            None,
            Cards::Found(Vec::new()),
            false,
            &["sees none", "CUDA_VISIBLE_DEVICES"],
        );
    }

    #[test]
    fn one_card_that_can_be_used_is_enough() {
        let t4 = card(1, (7, 5), Ok(15_000_000_000));
        let old = card(0, (6, 1), Err("cuda:0 has compute capability 6.1"));
        let lines = ["15.6 GB, 15.0 GB free", "320 GB/s", "can be used", "--devices cuda:1"];
        check(false, None, Cards::Found(vec![t4.clone()]), true, &lines);
        check(
            true,
            None,
            Cards::Found(vec![old.clone(), t4]),
            true,
            &["6.1", "RTX 20", "--devices cuda:1"],
        );
        check(true, None, Cards::Found(vec![old]), false, &["cannot be used"]);
        let busy = card(0, (8, 0), Err("no memory"));
        check(
            true,
            None,
            Cards::Found(vec![busy]),
            false,
            &["no memory", "end what else uses the card"],
        );
    }
}
