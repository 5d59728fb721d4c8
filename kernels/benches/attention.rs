//! Attention at the sizes of a 1.5b model: 12 query heads over 2 key heads of 128 elements.
//!
//!     cargo bench -p kernels --bench attention
//!
//! Prefill counts operations, so that its elements a second are FLOP/s; the limit is what one core multiplies and adds
//! without fusing, 32 a cycle with AVX2. Decode counts the bytes of the cache that it reads, over so many layers that they
//! do not fit a processor's cache; the limit is the memory's bandwidth.

#![allow(missing_docs, clippy::unwrap_used)]

use std::time::Duration;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use kernels::attention::{Row, attention};
use kernels::{BLOCK_TOKENS, KvFormat, KvLayer, KvShape};

const HEADS: usize = 12;
const SHAPE: KvShape = KvShape {
    kv_heads: 2,
    head_dim: 128,
};
/// Layers of the decode bench: 2,000 tokens of f16 take 2 MB in each.
const LAYERS: usize = 28;
const DECODE_TOKENS: usize = 2000;

/// Numbers in -1..1 without a pattern that a cache or a branch could learn.
fn noise(seed: usize, count: usize) -> Vec<f32> {
    let mixed = |index: usize| (index + seed * 7919).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40;
    (0..count)
        .map(|index| mixed(index) as f32 / (1 << 23) as f32 - 1.0)
        .collect()
}

fn filled(format: KvFormat, tokens: usize) -> (KvLayer, Vec<u32>) {
    let blocks = tokens.div_ceil(BLOCK_TOKENS);
    let table: Vec<u32> = (0..u32::try_from(blocks).unwrap()).collect();
    let mut layer = KvLayer::zeroed(SHAPE, format, blocks).unwrap();
    for position in 0..tokens {
        let (keys, values) = (
            noise(position, SHAPE.row_elements()),
            noise(position + 1, SHAPE.row_elements()),
        );
        layer.write(&table, position, &keys, &values).unwrap();
    }
    (layer, table)
}

fn rows(first: usize, count: usize, block_table: &[u32]) -> Vec<Row<'_>> {
    (first..first + count)
        .map(|position| Row { position, block_table })
        .collect()
}

fn prefill(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("prefill");
    group.sample_size(10);
    group.warm_up_time(Duration::from_millis(200));
    group.measurement_time(Duration::from_secs(1));
    for (format, tokens) in [
        (KvFormat::F16, 512),
        (KvFormat::Q8_0, 512),
        (KvFormat::F16, 2048),
        (KvFormat::Q8_0, 2048),
    ] {
        let (layer, table) = filled(format, tokens);
        let rows = rows(0, tokens, &table);
        let queries = noise(3, tokens * HEADS * SHAPE.head_dim);
        let mut output = vec![0.0; queries.len()];
        let operations = 4 * HEADS * SHAPE.head_dim * (tokens * (tokens + 1) / 2);
        group.throughput(Throughput::Elements(operations as u64));
        group.bench_function(format!("{}/{tokens}", format.name()), |bench| {
            bench.iter(|| attention(&queries, HEADS, &layer, &rows, &mut output).unwrap());
        });
    }
    group.finish();
}

fn decode(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("decode");
    group.sample_size(10);
    group.warm_up_time(Duration::from_millis(200));
    group.measurement_time(Duration::from_secs(1));
    for format in KvFormat::ALL {
        let layers: Vec<(KvLayer, Vec<u32>)> = (0..LAYERS).map(|_| filled(format, DECODE_TOKENS)).collect();
        let queries = noise(3, HEADS * SHAPE.head_dim);
        let mut output = vec![0.0; queries.len()];
        let bytes = LAYERS * DECODE_TOKENS * SHAPE.kv_heads * 2 * format.head_bytes(SHAPE.head_dim);
        group.throughput(Throughput::Bytes(bytes as u64));
        group.bench_function(format!("{}/{DECODE_TOKENS}", format.name()), |bench| {
            bench.iter(|| {
                for (layer, table) in &layers {
                    let rows = rows(DECODE_TOKENS - 1, 1, table);
                    attention(&queries, HEADS, layer, &rows, &mut output).unwrap();
                }
            });
        });
    }
    group.finish();
}

criterion_group!(benches, prefill, decode);
criterion_main!(benches);
