//! The table that the arithmetic must reproduce: DeepSeek-R1-Distill-Qwen-32B on two T4, worked out by hand before.

use kernels::KvFormat;
use library::{TensorInfo, TensorType};

use super::*;
use crate::{Architecture, Config, Rope};

/// The 32b's sizes.
pub(super) fn config() -> Config {
    Config {
        pooling: engine::Pooling::Last,
        architecture: Architecture::Qwen2,
        layers: 64,
        hidden: 5120,
        heads: 40,
        kv_heads: 8,
        head_dim: 128,
        ffn: 27_648,
        vocabulary: 152_064,
        context_tokens: 131_072,
        rms_epsilon: 1e-6,
        rope: Rope {
            frequencies: Vec::new(),
            magnitude: 1.0,
        },
    }
}

/// Which type a quantiser gives a matrix, by layer and name.
type Recipe = fn(usize, &str) -> TensorType;

/// llama.cpp's mix: more bits for the outer eighths of the layers and every third one between them.
fn q4_k_m(layer: usize, name: &str) -> TensorType {
    let (layers, has_more_bits) = (64, |name: &str| matches!(name, "attn_v" | "ffn_down"));
    let is_outer = layer < layers / 8 || layer >= 7 * layers / 8 || (layer - layers / 8) % 3 == 2;
    match name {
        "output" => TensorType::Q6K,
        name if has_more_bits(name) && is_outer => TensorType::Q6K,
        _ => TensorType::Q4K,
    }
}

fn q3_k_s(_: usize, name: &str) -> TensorType {
    if name == "output" {
        TensorType::Q6K
    } else {
        TensorType::Q3K
    }
}

fn q2_k(_: usize, name: &str) -> TensorType {
    match name {
        "output" => TensorType::Q6K,
        "attn_v" => TensorType::Q4K,
        "attn_output" | "ffn_down" => TensorType::Q3K,
        _ => TensorType::Q2K,
    }
}

/// The tensors of a 32b in some mix.
fn tensors(kind_of: Recipe) -> Vec<TensorInfo> {
    let config = config();
    let (hidden, ffn, keys) = (config.hidden, config.ffn, config.kv_heads * config.head_dim);
    let mut tensors = Vec::new();
    let mut add = |name: String, kind: TensorType, dims: &[usize]| {
        let dims: Vec<u64> = dims.iter().map(|dim| *dim as u64).collect();
        let elements: u64 = dims.iter().product();
        tensors.push(TensorInfo {
            name,
            kind,
            offset: 0,
            bytes: elements / kind.block_elements() * kind.block_bytes(),
            dims,
        });
    };
    add(
        "token_embd.weight".to_owned(),
        kind_of(64, "token_embd"),
        &[hidden, config.vocabulary],
    );
    add(
        "output.weight".to_owned(),
        kind_of(64, "output"),
        &[hidden, config.vocabulary],
    );
    add("output_norm.weight".to_owned(), TensorType::F32, &[hidden]);
    for layer in 0..config.layers {
        for (name, columns, rows) in [
            ("attn_q", hidden, hidden),
            ("attn_k", hidden, keys),
            ("attn_v", hidden, keys),
            ("attn_output", hidden, hidden),
            ("ffn_gate", hidden, ffn),
            ("ffn_up", hidden, ffn),
            ("ffn_down", ffn, hidden),
        ] {
            add(
                format!("blk.{layer}.{name}.weight"),
                kind_of(layer, name),
                &[columns, rows],
            );
        }
        for (name, length) in [
            ("attn_norm.weight", hidden),
            ("ffn_norm.weight", hidden),
            ("attn_q.bias", hidden),
            ("attn_k.bias", keys),
            ("attn_v.bias", keys),
        ] {
            add(format!("blk.{layer}.{name}"), TensorType::F32, &[length]);
        }
    }
    tensors
}

/// The 32b in Q4_K_M.
pub(super) fn costs() -> Costs {
    Costs::of_tensors(&tensors(q4_k_m), &config())
}

/// `count` cards of that name.
pub(super) fn cards(name: &str, count: usize) -> Vec<DeviceFacts> {
    let card = Card::named(name).unwrap();
    (0..count).map(|index| card.facts(index, None)).collect()
}

/// As much cache as the memory holds, and room for a short conversation at least.
pub(super) fn wish(kv: KvFormat) -> Wish {
    Wish {
        kv,
        context_tokens: 2048,
        slots: 1024,
        kv_tokens: None,
    }
}

/// Within a tenth.
fn check(what: &str, found: f64, expected: f64) {
    let off = found / expected - 1.0;
    assert!(
        off.abs() <= 0.1,
        "{what}: {found:.2} is {:.1} % off {expected}",
        100.0 * off
    );
}

/// One row of the table: ideal and attainable tokens/s for each count of streams, seconds to the first token.
struct Row {
    ideal: [f64; 5],
    attainable: [f64; 5],
    first_token_s: f64,
}

fn check_row(what: &str, costs: &Costs, plan: &Plan, load: &Load, row: &Row) {
    let speed = speed(costs, plan, load).unwrap();
    for (index, streams) in Speed::STREAMS.into_iter().enumerate() {
        let found = speed.at(streams).unwrap();
        check(
            &format!("{what}, {streams} streams, ideal"),
            found.ideal,
            row.ideal[index],
        );
        check(
            &format!("{what}, {streams} streams, attainable"),
            found.attainable,
            row.attainable[index],
        );
    }
    check(
        &format!("{what}, first token"),
        speed.first_token_s.attainable,
        row.first_token_s,
    );
}

fn plan(placement: Placement, costs: &Costs, devices: &[DeviceFacts], kv: KvFormat) -> Plan {
    place(placement, costs, devices, &DeviceFacts::some_host(), &wish(kv)).unwrap()
}

/// Tokens of all engines' caches together.
fn kv_tokens(placement: Placement, costs: &Costs, kv: KvFormat) -> f64 {
    let plan = plan(placement, costs, &cards("t4", 2), kv);
    (plan.room_tokens * plan.layout.engines) as f64
}

#[test]
fn the_32bs_files_are_as_large_as_they_are_known_to_be() {
    let all: u64 = tensors(q4_k_m).iter().map(|tensor| tensor.bytes).sum();
    for (what, found, expected) in [
        ("file", all, 19.85),
        ("Q4_K_M", costs().step().bytes, 19.41),
        (
            "Q3_K_S",
            Costs::of_tensors(&tensors(q3_k_s), &config()).step().bytes,
            14.06,
        ),
        ("Q2_K", Costs::of_tensors(&tensors(q2_k), &config()).step().bytes, 12.05),
    ] {
        let found = found as f64 / 1e9;
        assert!(
            (found - expected).abs() < 0.02,
            "{what}: {found:.3} GB is not {expected}"
        );
    }
}

#[test]
fn pipeline_with_two_lanes_is_as_in_the_table() {
    let (costs, t4) = (costs(), cards("t4", 2));
    let plan = plan(Placement::Pipeline, &costs, &t4, KvFormat::Q8_0);
    let row = Row {
        ideal: [16.2, 33.0, 64.0, 125.0, 236.0],
        attainable: [12.2, 24.0, 48.0, 93.0, 177.0],
        first_token_s: 1.66,
    };
    check_row("pipeline", &costs, &plan, &Load::usual(KvFormat::Q8_0), &row);
    check(
        "f16 tokens",
        kv_tokens(Placement::Pipeline, &costs, KvFormat::F16),
        38e3,
    );
    check(
        "q8_0 tokens",
        kv_tokens(Placement::Pipeline, &costs, KvFormat::Q8_0),
        72e3,
    );
    let layers: Vec<usize> = plan.layout.shares.iter().map(|share| share.layers.len()).collect();
    assert_eq!(layers, [33, 31], "the output matrix is as heavy as two layers");
}

#[test]
fn layers_split_for_one_batch_are_as_in_the_table() {
    let (costs, t4) = (costs(), cards("t4", 2));
    let mut plan = plan(Placement::Pipeline, &costs, &t4, KvFormat::Q8_0);
    plan.layout.engines = 1;
    let load = Load {
        prompt_pieces: 1,
        ..Load::usual(KvFormat::Q8_0)
    };
    let row = Row {
        ideal: [16.2, 32.0, 62.0, 118.0, 214.0],
        attainable: [12.2, 24.0, 47.0, 89.0, 94.0],
        first_token_s: 2.66,
    };
    check_row("layer split", &costs, &plan, &load, &row);
}

/// The table's rows meet twice in a layer, to add f16 sums of the residual stream.
const TENSOR: Row = Row {
    ideal: [29.9, 59.0, 113.0, 212.0, 375.0],
    attainable: [22.9, 45.0, 87.0, 163.0, 176.0],
    first_token_s: 1.5,
};

#[test]
fn tensor_with_two_sums_in_a_layer_is_as_in_the_table() {
    let (costs, t4) = (costs(), cards("t4", 2));
    let plan = plan(Placement::Tensor, &costs, &t4, KvFormat::Q8_0);
    let load = Load {
        meetings_per_layer: 2,
        exchanged_bytes_per_layer: Some(2 * 2 * 5120),
        ..Load::usual(KvFormat::Q8_0)
    };
    check_row("tensor", &costs, &plan, &load, &TENSOR);
    check("f16 tokens", kv_tokens(Placement::Tensor, &costs, KvFormat::F16), 38e3);
    check(
        "q8_0 tokens",
        kv_tokens(Placement::Tensor, &costs, KvFormat::Q8_0),
        72e3,
    );
}

/// Four meetings in place of two sums, at each of which a device lays out its part and picks up whole rows.
#[test]
fn the_same_bits_as_one_device_cost_a_sixth_at_most_while_they_are_attainable() {
    let (costs, t4) = (costs(), cards("t4", 2));
    let plan = plan(Placement::Tensor, &costs, &t4, KvFormat::Q8_0);
    let speed = speed(&costs, &plan, &Load::usual(KvFormat::Q8_0)).unwrap();
    for (index, streams) in Speed::STREAMS.into_iter().enumerate() {
        let found = speed.at(streams).unwrap();
        for (what, found, table, most) in [
            ("attainable", found.attainable, TENSOR.attainable[index], 1.0 / 6.0),
            ("ideal", found.ideal, TENSOR.ideal[index], 0.27),
        ] {
            let lost = 1.0 - found / table;
            assert!((0.0..most).contains(&lost), "{what}, {streams} streams: {lost:.3} lost");
        }
    }
}

#[test]
fn replicas_of_smaller_files_are_as_in_the_table() {
    let t4 = cards("t4", 2);
    for (what, recipe, ideal, attainable, f16, q8) in [
        (
            "Q3_K_S",
            q3_k_s as Recipe,
            [22.3, 45.0, 88.0, 169.0, 313.0],
            [16.7, 34.0, 66.0, 126.0, 187.0],
            2.6e3,
            4.9e3,
        ),
        (
            "Q2_K",
            q2_k,
            [25.9, 52.0, 101.0, 194.0, 357.0],
            [19.4, 39.0, 76.0, 146.0, 187.0],
            10e3,
            19e3,
        ),
    ] {
        let costs = Costs::of_tensors(&tensors(recipe), &config());
        let row = Row {
            ideal,
            attainable,
            first_token_s: 2.66,
        };
        let plan_of = |kv| plan(Placement::Replicas, &costs, &t4, kv);
        check_row(
            what,
            &costs,
            &plan_of(KvFormat::Q8_0),
            &Load::usual(KvFormat::Q8_0),
            &row,
        );
        check(&format!("{what}, f16"), plan_of(KvFormat::F16).room_tokens as f64, f16);
        check(&format!("{what}, q8_0"), plan_of(KvFormat::Q8_0).room_tokens as f64, q8);
    }
}

#[test]
fn one_card_and_the_processor_are_as_in_the_table() {
    let (costs, t4) = (costs(), cards("t4", 1));
    for (read, ideal, attainable) in [(40e9, 5.3, 4.9), (60e9, 7.1, 6.5)] {
        let mut host = DeviceFacts::some_host();
        let speeds = host.speeds.as_mut().unwrap();
        (speeds.ideal.read_bytes_per_s, speeds.attainable.read_bytes_per_s) = (read, read);
        let wish = Wish {
            context_tokens: 7200,
            ..wish(KvFormat::Q8_0)
        };
        let plan = place(Placement::Offload, &costs, &t4, &host, &wish).unwrap();
        let speed = speed(&costs, &plan, &Load::usual(KvFormat::Q8_0)).unwrap();
        let alone = speed.at(1).unwrap();
        check("ideal", alone.ideal, ideal);
        check("attainable", alone.attainable, attainable);
        assert!(speed.first_token_s.attainable > 5.0);
        check("layers on the card", plan.layout.shares[0].layers.len() as f64, 44.0);
        check("GB on the processor", weight(&plan, &costs, 1) / 1e9, 5.9);
    }
    for (kv, context_tokens) in [(KvFormat::F16, 3800), (KvFormat::Q8_0, 7200)] {
        let wish = Wish {
            context_tokens,
            ..wish(kv)
        };
        let plan = place(Placement::Offload, &costs, &t4, &DeviceFacts::some_host(), &wish).unwrap();
        check("layers on the card", plan.layout.shares[0].layers.len() as f64, 44.0);
        assert!(plan.room_tokens >= context_tokens);
    }
}

fn weight(plan: &Plan, costs: &Costs, share: usize) -> f64 {
    super::plan::weight_of(costs, &plan.layout.shares[share]).bytes as f64
}
