//! Attention against its definition in f64, over heads, lengths and block tables; chunks and company change nothing.

use super::*;
use crate::{KvFormat, KvShape};

fn noise(seed: u64, count: usize) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 40) as f32 / (1u64 << 23) as f32 - 1.0
    };
    (0..count).map(|_| next()).collect()
}

/// A cache of `tokens` tokens of one sequence whose blocks lie in reverse order.
fn cache(shape: KvShape, format: KvFormat, tokens: usize) -> (KvLayer, Vec<u32>) {
    let blocks = tokens.div_ceil(BLOCK_TOKENS);
    let table: Vec<u32> = (0..blocks as u32).rev().collect();
    let mut layer = KvLayer::zeroed(shape, format, blocks).unwrap();
    for position in 0..tokens {
        let row = shape.row_elements();
        layer
            .write(
                &table,
                position,
                &noise(position as u64, row),
                &noise(!(position as u64), row),
            )
            .unwrap();
    }
    (layer, table)
}

/// The definition: softmax(q k / sqrt(d)) v, in f64.
fn truth(query: &[f32], layer: &KvLayer, kv_head: usize, row: Row<'_>) -> Vec<f64> {
    let head_dim = query.len();
    let at = |position: usize| {
        (
            row.block_table[position / BLOCK_TOKENS] as usize,
            position % BLOCK_TOKENS,
        )
    };
    let scores: Vec<f64> = (0..=row.position)
        .map(|position| {
            let (block, slot) = at(position);
            let key = |i: usize| f64::from(layer.key(block, kv_head, slot, i));
            (0..head_dim).map(|i| f64::from(query[i]) * key(i)).sum::<f64>() / (head_dim as f64).sqrt()
        })
        .collect();
    let maximum = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let sum: f64 = scores.iter().map(|score| (score - maximum).exp()).sum();
    let value = |position: usize, i: usize| {
        let (block, slot) = at(position);
        f64::from(layer.value(block, kv_head, slot, i))
    };
    (0..head_dim)
        .map(|i| {
            (0..=row.position)
                .map(|p| (scores[p] - maximum).exp() / sum * value(p, i))
                .sum()
        })
        .collect()
}

/// Shapes with every number of pairs in a bundle, whole and short groups of scales.
const SHAPES: [(usize, usize, usize); 8] = [
    (1, 1, 16),
    (4, 2, 32),
    (7, 1, 64),
    (12, 2, 128),
    (5, 5, 256),
    (10, 2, 48),
    (6, 2, 80),
    (64, 1, 16),
];

#[test]
fn it_is_the_softmax_of_the_scores_times_the_values() {
    for (format, (heads, kv_heads, head_dim)) in grid() {
        let shape = KvShape { kv_heads, head_dim };
        let (layer, table) = cache(shape, format, 600);
        let positions = [0, 1, 15, 16, 17, 63, 64, 69, 255, 256, 257, 599];
        let rows = positions.map(|position| row(position, &table));
        let queries: Vec<f32> = noise(99, rows.len() * heads * head_dim)
            .iter()
            .map(|x| x * 4.0)
            .collect();
        let mut output = vec![f32::NAN; queries.len()];
        attention(&queries, heads, &layer, &rows, &mut output).unwrap();
        for (index, found) in output.chunks(head_dim).enumerate() {
            let (row, head) = (rows[index / heads], index % heads);
            let query = &queries[index * head_dim..(index + 1) * head_dim];
            let truth = truth(query, &layer, head / (heads / kv_heads), row);
            for (found, truth) in found.iter().zip(truth) {
                // f32 sums of 600 numbers below 1, and scores whose error of some 1e-6 the exponential passes on.
                let off = (f64::from(*found) - truth).abs();
                assert!(
                    off < 5e-6,
                    "{format:?} {heads}/{kv_heads}x{head_dim} at {}: {found}, {truth}",
                    row.position
                );
            }
        }
    }
}

fn grid() -> impl Iterator<Item = (KvFormat, (usize, usize, usize))> {
    KvFormat::ALL
        .into_iter()
        .flat_map(|format| SHAPES.map(|shape| (format, shape)))
}

fn row(position: usize, block_table: &[u32]) -> Row<'_> {
    Row { position, block_table }
}

/// How a batch is computed.
type Way = fn(Vec<Tile<'_>>, Twin);

fn bits(queries: &[f32], heads: usize, layer: &KvLayer, rows: &[Row<'_>], way: Way, twin: Twin) -> Vec<u32> {
    let mut output = vec![f32::NAN; queries.len()];
    let group = check(queries, heads, layer, rows, &output).unwrap();
    way(Tile::cut(queries, group, layer, rows, &mut output), twin);
    output.iter().map(|number| number.to_bits()).collect()
}

#[test]
fn every_twin_and_every_way_to_share_out_the_work_give_the_same_bits() {
    for (format, (heads, kv_heads, head_dim)) in grid() {
        let (layer, table) = cache(KvShape { kv_heads, head_dim }, format, 530);
        // A whole chunk, a chunk that begins within a block, and rows of their own.
        let chunk = (0..40).chain(250..270).chain([64, 100, 511, 512, 529]);
        let rows: Vec<Row> = chunk.map(|position| row(position, &table)).collect();
        let queries = noise(5, rows.len() * heads * head_dim);
        let truth = bits(&queries, heads, &layer, &rows, by_tile, Twin::Scalar);
        for twin in Twin::here() {
            for way in [by_tile as Way, by_range] {
                let found = bits(&queries, heads, &layer, &rows, way, twin);
                assert!(found == truth, "{twin:?}, {format:?} {heads}/{kv_heads}x{head_dim}");
            }
        }
    }
}

#[test]
fn a_row_alone_gives_the_bits_it_has_in_company() {
    for (format, (heads, kv_heads, head_dim)) in grid() {
        let (layer, table) = cache(KvShape { kv_heads, head_dim }, format, 300);
        let rows: Vec<Row> = (0..300).map(|position| row(position, &table)).collect();
        let width = heads * head_dim;
        let queries = noise(6, rows.len() * width);
        let mut together = vec![0.0; queries.len()];
        attention(&queries, heads, &layer, &rows, &mut together).unwrap();
        // As late as it can be in its tile, and in a cache that holds nothing behind it.
        for position in [0, 15, 16, 62, 200, 255, 256, 299] {
            let (layer, table) = cache(KvShape { kv_heads, head_dim }, format, position + 1);
            let range = position * width..(position + 1) * width;
            let mut alone = vec![0.0; width];
            let rows = [row(position, &table)];
            attention(&queries[range.clone()], heads, &layer, &rows, &mut alone).unwrap();
            let same = alone
                .iter()
                .zip(&together[range])
                .all(|(a, b)| a.to_bits() == b.to_bits());
            assert!(same, "{format:?} {heads}/{kv_heads}x{head_dim} at {position}");
        }
    }
}

/// Values so small that their sums underflow to -0 when they shrink.
#[test]
fn a_sum_that_underflows_is_the_same_in_any_company() {
    let shape = KvShape {
        kv_heads: 1,
        head_dim: 16,
    };
    let table: Vec<u32> = (0..12).collect();
    let mut layer = KvLayer::zeroed(shape, KvFormat::F16, 12).unwrap();
    for position in 0..180 {
        // Ever better keys: what came before shrinks by e^-80 a stretch.
        let keys = [(position / 64) as f32; 16];
        let value = if position == 0 { -1e-7 } else { 0.0 };
        let value = if position > 150 { -1.0 } else { value };
        layer.write(&table, position, &keys, &[value; 16]).unwrap();
    }
    let rows: Vec<Row> = (145..160).map(|position| row(position, &table)).collect();
    let queries = vec![20.0; rows.len() * 16];
    let together = bits(&queries, 1, &layer, &rows, by_tile, Twin::best());
    for (index, row) in rows.iter().enumerate() {
        let alone = bits(&queries[..16], 1, &layer, &[*row], by_tile, Twin::best());
        assert_eq!(
            alone,
            together[index * 16..(index + 1) * 16],
            "position {}",
            row.position
        );
    }
}

#[test]
fn what_lies_behind_a_position_is_not_seen() {
    for format in KvFormat::ALL {
        let shape = KvShape {
            kv_heads: 1,
            head_dim: 32,
        };
        let (mut layer, table) = cache(shape, format, 40);
        let queries = noise(7, 64);
        let rows = [row(20, &table)];
        let (mut before, mut after) = (vec![0.0; 64], vec![0.0; 64]);
        attention(&queries, 2, &layer, &rows, &mut before).unwrap();
        for position in 21..40 {
            layer.write(&table, position, &[6e4; 32], &[f32::NAN; 32]).unwrap();
        }
        attention(&queries, 2, &layer, &rows, &mut after).unwrap();
        assert_eq!(before, after);
    }
}

/// Two sequences in one batch, and one whose rows do not follow each other, each with the answer it has alone.
#[test]
fn rows_are_only_taken_together_with_their_successors() {
    let shape = KvShape {
        kv_heads: 2,
        head_dim: 16,
    };
    let (layer, table) = cache(shape, KvFormat::F16, 64);
    let other = [0, 1, 2, 3];
    let rows = [
        row(5, &table),
        row(6, &table),
        row(7, &other),
        row(8, &other),
        row(3, &other),
        row(60, &table),
        row(60, &table),
    ];
    let queries = noise(8, rows.len() * 32);
    let mut output = vec![0.0; queries.len()];
    attention(&queries, 2, &layer, &rows, &mut output).unwrap();
    for (index, row) in rows.iter().enumerate() {
        let range = index * 32..(index + 1) * 32;
        let mut alone = vec![0.0; 32];
        attention(&queries[range.clone()], 2, &layer, &[*row], &mut alone).unwrap();
        assert_eq!(alone, output[range], "row {index}");
    }
}

#[test]
fn wrong_shapes_and_blocks_are_refused() {
    let shape = KvShape {
        kv_heads: 2,
        head_dim: 16,
    };
    let (layer, table) = cache(shape, KvFormat::Q8_0, 32);
    let (seen, unseen, wild) = ([row(31, &table)], [row(32, &table)], [row(3, &[2])]);
    let mut output = [0.0; 64];
    assert!(attention(&[0.0; 64], 4, &layer, &seen, &mut output).is_ok());
    assert!(attention(&[0.0; 64], 4, &layer, &unseen, &mut output).is_err());
    assert!(attention(&[0.0; 48], 3, &layer, &seen, &mut output[..48]).is_err());
    assert!(attention(&[0.0; 64], 4, &layer, &seen, &mut output[..63]).is_err());
    assert!(attention(&[0.0; 64], 4, &layer, &wild, &mut output).is_err());
    assert!(attention(&[], 4, &layer, &[], &mut []).is_ok());
}
