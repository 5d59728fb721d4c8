//! Damage at random: whatever happens to a file, the reader answers without a panic, and what it accepts fits the file
//! by arithmetic that shares nothing with the reader's own ([`check_promises`]).

use proptest::prelude::*;

use super::small;
use crate::gguf::TensorType;
use crate::testing::{GgufFile, check_promises};

#[derive(Clone, Debug)]
enum Damage {
    Byte { at: prop::sample::Index, to: u8 },
    Number { at: prop::sample::Index, to: u64 },
    Cut { at: prop::sample::Index },
    Repeat { at: prop::sample::Index, bytes: usize },
}

impl Damage {
    fn apply(&self, file: &mut Vec<u8>) {
        if file.is_empty() {
            return;
        }
        match self {
            Damage::Byte { at, to } => {
                let at = at.index(file.len());
                file[at] = *to;
            }
            Damage::Number { at, to } => {
                let at = at.index(file.len());
                file.iter_mut()
                    .skip(at)
                    .zip(to.to_le_bytes())
                    .for_each(|(byte, new)| *byte = new);
            }
            Damage::Cut { at } => file.truncate(at.index(file.len())),
            Damage::Repeat { at, bytes } => {
                let at = at.index(file.len());
                let part = file[at..file.len().min(at + bytes)].to_vec();
                file.splice(at..at, part);
            }
        }
    }
}

/// Numbers at which arithmetic breaks: near zero, powers of two and the top.
fn awkward() -> impl Strategy<Value = u64> {
    prop_oneof![
        0..40_u64,
        (0..64_u32, -2..=2_i64).prop_map(|(bit, by)| (1_u64 << bit).wrapping_add_signed(by)),
        any::<u64>()
    ]
}

fn damage() -> impl Strategy<Value = Damage> {
    prop_oneof![
        4 => (any::<prop::sample::Index>(), any::<u8>()).prop_map(|(at, to)| Damage::Byte { at, to }),
        4 => (any::<prop::sample::Index>(), awkward()).prop_map(|(at, to)| Damage::Number { at, to }),
        1 => any::<prop::sample::Index>().prop_map(|at| Damage::Cut { at }),
        1 => (any::<prop::sample::Index>(), 1..64_usize).prop_map(|(at, bytes)| Damage::Repeat { at, bytes }),
    ]
}

fn shape() -> impl Strategy<Value = (Vec<u64>, usize, u64)> {
    let dim = prop_oneof![4 => prop::sample::select(vec![1, 2, 32, 256, 512]), 1 => awkward()];
    (
        prop::collection::vec(dim, 1..5),
        0..TensorType::ALL.len(),
        prop_oneof![(0..32_u64).prop_map(|at| at * 32), awkward()],
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn damaged_files_never_break_the_reader(damages in prop::collection::vec(damage(), 1..6)) {
        let mut file = small().bytes();
        damages.iter().for_each(|damage| damage.apply(&mut file));
        check_promises(file);
    }

    #[test]
    fn accepted_shapes_and_places_always_fit_the_file(tensors in prop::collection::vec(shape(), 1..5)) {
        let start = GgufFile::new();
        let file = tensors.iter().enumerate().fold(start, |file, (index, (dims, kind, offset))| {
            let name = format!("t{index}");
            file.tensor(&name, dims, TensorType::ALL[*kind], vec![0; 4096]).at_offset(*offset)
        });
        check_promises(file.bytes());
    }

    #[test]
    fn any_bytes_after_the_fixed_header_are_answered(
        entries in 0..9_u64,
        tensors in 0..9_u64,
        rest in prop::collection::vec(any::<u8>(), 0..600),
    ) {
        let mut file = GgufFile::new().announced_entries(entries).announced_tensors(tensors).bytes();
        file.extend(rest);
        check_promises(file);
    }
}

#[test]
fn every_single_damaged_byte_is_answered() {
    let whole = small().bytes();
    let accepted = (0..whole.len())
        .flat_map(|at| [0, 1, 0x7f, 0x80, 0xff].map(|to| (at, to)))
        .filter(|(at, to)| {
            let mut file = whole.clone();
            file[*at] = *to;
            check_promises(file)
        });
    // Damage to weights and to most of a text cannot be seen; damage to counts, lengths and places must be.
    let accepted = accepted.count();
    assert!(
        0 < accepted && accepted < whole.len() * 5,
        "{accepted} of {} damaged files accepted",
        whole.len() * 5
    );
}
