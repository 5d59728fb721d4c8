//! The sampler against a naive one that sorts everything, and against rows that no model should give.

use proptest::prelude::*;

use super::kept::{collect, cut, likelier, share_of};
use super::weight::{LEAST, exp, part_of_one};
use super::*;

/// What [`Sampler::sample`] must choose, written the slow and obvious way.
fn reference(logits: &[f32], sampling: &Sampling, prompt: &[u32], output: &[u32], index: u64) -> u32 {
    let mut bent = logits.to_vec();
    for (token, bias) in &sampling.logit_bias {
        bent[*token as usize] += bias;
    }
    for (id, logit) in (0_u32..).zip(&mut bent) {
        let count = output.iter().filter(|token| **token == id).count();
        if count > 0 || prompt.contains(&id) {
            *logit = if *logit > 0.0 {
                *logit / sampling.repetition_penalty
            } else {
                *logit * sampling.repetition_penalty
            };
        }
        if count > 0 {
            *logit = *logit - sampling.frequency_penalty * count as f32 - sampling.presence_penalty;
        }
    }
    let largest = bent.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    if sampling.temperature == 0.0 {
        return u32::try_from(bent.iter().position(|logit| *logit == largest).unwrap()).unwrap();
    }
    let mut all: Vec<Candidate> = (0_u32..)
        .zip(&bent)
        .map(|(id, logit)| {
            let scaled = (logit - largest) / sampling.temperature;
            Candidate {
                id,
                scaled,
                weight: if scaled > LEAST { part_of_one(exp(scaled)) } else { 0 },
            }
        })
        .collect();
    all.sort_by(likelier);
    all.retain(|candidate| candidate.weight > 0);
    all.retain(|candidate| candidate.weight >= part_of_one(sampling.min_p));
    if sampling.top_k > 0 {
        all.truncate(sampling.top_k);
    }
    if sampling.top_p < 1.0 {
        let total: u64 = all.iter().map(|candidate| candidate.weight).sum();
        let wanted = share_of(total, sampling.top_p);
        let mut sum = 0;
        let last = all.iter().position(|candidate| {
            sum += candidate.weight;
            sum >= wanted
        });
        all.truncate(last.unwrap() + 1);
    }
    all.sort_by_key(|candidate| candidate.id);
    pick(&all, sampling.seed, index).unwrap()
}

/// Logits of many shapes: peaked, flat, with ties, with tokens that cannot be.
fn rows() -> impl Strategy<Value = Vec<f32>> {
    (1_usize..700, 0_u32..5, any::<u64>()).prop_map(|(vocabulary, shape, seed)| {
        let mut row: Vec<f32> = (0..vocabulary as u64)
            .map(|id| {
                let unit = random::draw_below(seed, id, 1 << 20) as f32 / (1 << 20) as f32;
                match shape {
                    0 => unit * 0.01,
                    1 => unit * 30.0 - 15.0,
                    2 => (unit * 4.0).floor(),
                    3 if unit < 0.5 => f32::NEG_INFINITY,
                    3 => unit * 8.0,
                    _ => -1.0 / (unit + 1e-6),
                }
            })
            .collect();
        row[0] = row[0].max(-20.0);
        row
    })
}

fn samplings() -> impl Strategy<Value = Sampling> {
    let temperature = prop_oneof![Just(0.0_f32), Just(1.0), Just(1e-30), 0.01_f32..4.0];
    let top_p = prop_oneof![Just(0.0_f32), Just(1.0), 0.0_f32..1.0];
    let top_k = prop_oneof![Just(0_usize), Just(1), 1_usize..500];
    let min_p = prop_oneof![Just(0.0_f32), Just(1.0), 0.0_f32..0.5];
    let penalties = prop_oneof![
        Just((1.0_f32, 0.0_f32, 0.0_f32)),
        (0.5_f32..2.0, -2.0_f32..2.0, -2.0_f32..2.0)
    ];
    let bias = prop_oneof![Just(0.0_f32), -10.0_f32..10.0];
    (temperature, top_p, top_k, min_p, penalties, bias, any::<u64>()).prop_map(
        |(temperature, top_p, top_k, min_p, penalties, bias, seed)| Sampling {
            temperature,
            top_p,
            top_k,
            min_p,
            repetition_penalty: penalties.0,
            presence_penalty: penalties.1,
            frequency_penalty: penalties.2,
            seed,
            logit_bias: if bias == 0.0 { Vec::new() } else { vec![(0, bias)] },
            logprobs: None,
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(2000) })]

    #[test]
    fn every_token_is_the_one_a_full_sort_finds(
        row in rows(),
        sampling in samplings(),
        prompt in prop::collection::vec(0_u32..700, 0..8),
    ) {
        let vocabulary = u32::try_from(row.len()).unwrap();
        let prompt: Vec<u32> = prompt.into_iter().map(|token| token % vocabulary).collect();
        let mut sampler = Sampler::new(sampling.clone(), &prompt);
        let mut scratch = Scratch::default();
        let mut output = Vec::new();
        for index in 0..4 {
            let expected = reference(&row, &sampling, &prompt, &output, index);
            let token = sampler.sample(&row, &Choice::Free, &mut scratch).unwrap();
            prop_assert_eq!(token.id, expected, "token {} of {:?}", index, sampling);
            output.push(token.id);
        }
    }

    #[test]
    fn any_row_and_any_values_give_a_token_or_an_error(
        row in prop::collection::vec(
            prop_oneof![
                any::<f32>(), Just(f32::NAN), Just(f32::INFINITY), Just(f32::NEG_INFINITY),
                Just(f32::MAX), Just(f32::MIN), Just(0.0_f32), Just(-0.0_f32),
            ],
            0..40,
        ),
        values in prop::array::uniform6(any::<f32>()),
        top_k in any::<usize>(),
        seed in any::<u64>(),
        bias in any::<(u32, f32)>(),
    ) {
        let sampling = Sampling {
            temperature: values[0],
            top_p: values[1],
            min_p: values[2],
            repetition_penalty: values[3],
            presence_penalty: values[4],
            frequency_penalty: values[5],
            top_k,
            seed,
            logit_bias: vec![bias],
            logprobs: Some(5),
        };
        let mut sampler = Sampler::new(sampling, &[0, 1, 2]);
        let mut scratch = Scratch::default();
        for _ in 0..3 {
            if let Ok(token) = sampler.sample(&row, &Choice::Free, &mut scratch) {
                prop_assert!((token.id as usize) < row.len());
            }
        }
    }
}

fn choose(row: &[f32], sampling: Sampling) -> Result<u32, SampleError> {
    let token = Sampler::new(sampling, &[]).sample(row, &Choice::Free, &mut Scratch::default())?;
    Ok(token.id)
}

fn greedy() -> Sampling {
    Sampling {
        temperature: 0.0,
        ..Sampling::default()
    }
}

#[test]
fn rows_that_are_not_numbers_are_errors() {
    let (nan, inf) = (f32::NAN, f32::INFINITY);
    for sampling in [greedy(), Sampling::default()] {
        let check = |row: &[f32], expected| assert_eq!(choose(row, sampling.clone()), expected);
        check(&[nan; 4], Err(SampleError::NotFinite(0)));
        check(&[0.0, 1.0, nan], Err(SampleError::NotFinite(2)));
        check(&[0.0, inf], Err(SampleError::NotFinite(1)));
        check(&[-inf; 4], Err(SampleError::NoChance));
        check(&[], Err(SampleError::NoChance));
        check(&[-inf, -3.0, -inf], Ok(1));
    }
}

#[test]
fn ties_go_to_the_lowest_id() {
    assert_eq!(choose(&[0.0, 2.0, 2.0, 1.0], greedy()), Ok(1));
    let first_of_equals = Sampling {
        top_k: 1,
        ..Sampling::default()
    };
    assert_eq!(choose(&[0.0, 2.0, 2.0, 1.0], first_of_equals), Ok(1));
}

#[test]
fn extreme_values_narrow_to_the_likeliest_token() {
    let row = [0.0, 0.5, 3.0, 2.9];
    let check = |sampling| assert_eq!(choose(&row, sampling), Ok(2));
    check(Sampling {
        temperature: 1e-30,
        ..Sampling::default()
    });
    check(Sampling {
        temperature: f32::from_bits(1),
        ..Sampling::default()
    });
    check(Sampling {
        top_p: 0.0,
        ..Sampling::default()
    });
    check(Sampling {
        min_p: 1.0,
        ..Sampling::default()
    });
    let hot = Sampling {
        temperature: f32::MAX,
        ..Sampling::default()
    };
    assert!(choose(&row, hot).is_ok());
}

#[test]
fn a_nucleus_of_nearly_the_whole_vocabulary_is_exact() {
    // Flat: 95 % of 10,000 equal tokens is 9,500, of equals the lowest ids.
    let row = vec![1.0; 10_000];
    let (mut kept, mut sorting) = (Vec::new(), Vec::new());
    collect(&row, 1.0, 0.6, &mut kept);
    let sampling = Sampling {
        top_p: 0.95,
        ..Sampling::default()
    };
    cut(&mut kept, &mut sorting, &sampling);
    assert_eq!(kept.len(), 9_500);
    assert_eq!(kept.last().map(|candidate| candidate.id), Some(9_499));
}

#[test]
fn drawn_tokens_follow_their_chances() {
    // Chances 1/2, 1/4, 1/8, 1/8 at temperature 1.
    let row = [8.0_f32, 4.0, 2.0, 2.0].map(f32::ln);
    let mut counts = [0_u32; 4];
    for seed in 0..20_000 {
        let sampling = Sampling {
            seed,
            ..Sampling::default()
        };
        counts[choose(&row, sampling).unwrap() as usize] += 1;
    }
    // Standard deviations: 71, 61, 47, 47.
    for (count, expected) in counts.into_iter().zip([10_000_u32, 5_000, 2_500, 2_500]) {
        assert!(count.abs_diff(expected) < 300, "{counts:?}");
    }
}

#[test]
fn logprobs_are_the_models_own_whatever_the_sampling_bends() {
    let row = [8.0_f32, 4.0, 2.0, 2.0].map(f32::ln);
    let sampling = Sampling {
        temperature: 0.0,
        logit_bias: vec![(2, 100.0)],
        logprobs: Some(3),
        ..Sampling::default()
    };
    let token = Sampler::new(sampling, &[])
        .sample(&row, &Choice::Free, &mut Scratch::default())
        .unwrap();
    assert_eq!(token.id, 2);
    let near = |found: f32, chance: f32| (found - chance.ln()).abs() < 1e-6;
    assert!(near(token.logprob.unwrap(), 0.125));
    let ids: Vec<u32> = token.top.iter().map(|(id, _)| *id).collect();
    assert_eq!(ids, [0, 1, 2], "of equals the lower id");
    assert!(near(token.top[0].1, 0.5) && near(token.top[1].1, 0.25) && near(token.top[2].1, 0.125));
}

#[test]
fn logprobs_of_impossible_tokens_stay_numbers() {
    let row = [0.0, f32::NEG_INFINITY];
    let sampling = Sampling {
        logprobs: Some(5),
        ..greedy()
    };
    let token = Sampler::new(sampling, &[])
        .sample(&row, &Choice::Free, &mut Scratch::default())
        .unwrap();
    assert_eq!(token.top, [(0, 0.0), (1, f32::MIN)]);
}

#[test]
fn repetition_counts_the_prompt_and_presence_does_not() {
    let row = [1.0, 1.1];
    let with = |sampling: Sampling| {
        let mut sampler = Sampler::new(sampling, &[1]);
        let mut scratch = Scratch::default();
        [0, 1].map(|_| sampler.sample(&row, &Choice::Free, &mut scratch).unwrap().id)
    };
    assert_eq!(
        with(Sampling {
            repetition_penalty: 1.5,
            ..greedy()
        }),
        [0, 1],
        "1 halved first, then both"
    );
    assert_eq!(
        with(Sampling {
            presence_penalty: 0.5,
            ..greedy()
        }),
        [1, 0]
    );
    assert_eq!(
        with(Sampling {
            frequency_penalty: 0.5,
            ..greedy()
        }),
        [1, 0]
    );
}
