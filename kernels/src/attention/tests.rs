//! Attention against its definition in f64, over heads, lengths and block tables; chunks and company change nothing.

use super::*;
use crate::KvShape;
use crate::math::finite_f16;

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
fn cache(shape: KvShape, tokens: usize) -> (KvLayer, Vec<u32>) {
    let blocks = tokens.div_ceil(BLOCK_TOKENS);
    let table: Vec<u32> = (0..blocks as u32).rev().collect();
    let mut layer = KvLayer::zeroed(shape, blocks).unwrap();
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
            let key = |i: usize| f64::from(finite_f16(layer.keys(block, kv_head)[i * BLOCK_TOKENS + slot]));
            (0..head_dim).map(|i| f64::from(query[i]) * key(i)).sum::<f64>() / (head_dim as f64).sqrt()
        })
        .collect();
    let maximum = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let sum: f64 = scores.iter().map(|score| (score - maximum).exp()).sum();
    let value = |position: usize, i: usize| {
        let (block, slot) = at(position);
        f64::from(finite_f16(layer.values(block, kv_head)[slot * head_dim + i]))
    };
    (0..head_dim)
        .map(|i| {
            (0..=row.position)
                .map(|p| (scores[p] - maximum).exp() / sum * value(p, i))
                .sum()
        })
        .collect()
}

#[test]
fn it_is_the_softmax_of_the_scores_times_the_values() {
    for (heads, kv_heads, head_dim) in [(1, 1, 16), (4, 2, 32), (7, 1, 64), (12, 2, 128), (5, 5, 256)] {
        let shape = KvShape { kv_heads, head_dim };
        let (layer, table) = cache(shape, 70);
        let rows: Vec<Row> = [0, 1, 15, 16, 17, 31, 32, 69]
            .map(|position| Row {
                position,
                block_table: &table,
            })
            .to_vec();
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
                // f32 sums of 70 numbers below 1, and scores whose error of some 1e-6 the exponential passes on.
                let off = (f64::from(*found) - truth).abs();
                assert!(
                    off < 5e-6,
                    "{heads}/{kv_heads}x{head_dim} at {}: {found}, {truth}",
                    row.position
                );
            }
        }
    }
}

#[test]
fn wide_registers_and_company_give_the_same_bits() {
    let shape = KvShape {
        kv_heads: 2,
        head_dim: 64,
    };
    let (layer, table) = cache(shape, 300);
    let heads = 14;
    let rows: Vec<Row> = (0..300)
        .map(|position| Row {
            position,
            block_table: &table,
        })
        .collect();
    let queries = noise(5, rows.len() * heads * 64);
    let mut together = vec![0.0; queries.len()];
    attention(&queries, heads, &layer, &rows, &mut together).unwrap();
    for position in [0, 15, 16, 200, 299] {
        let range = position * heads * 64..(position + 1) * heads * 64;
        let mut alone = vec![0.0; heads * 64];
        attention(
            &queries[range.clone()],
            heads,
            &layer,
            &rows[position..=position],
            &mut alone,
        )
        .unwrap();
        assert_eq!(alone, together[range.clone()], "position {position}");
        for kv_head in 0..2 {
            let part = kv_head * 7 * 64..(kv_head + 1) * 7 * 64;
            let mut plain = vec![0.0; 7 * 64];
            scalar::attend(
                &queries[range.clone()][part.clone()],
                &layer,
                kv_head,
                rows[position],
                &mut plain,
            );
            assert_eq!(plain, alone[part], "position {position}");
        }
    }
}

#[test]
fn what_lies_behind_a_position_is_not_seen() {
    let shape = KvShape {
        kv_heads: 1,
        head_dim: 32,
    };
    let (mut layer, table) = cache(shape, 40);
    let queries = noise(7, 64);
    let rows = [Row {
        position: 20,
        block_table: &table,
    }];
    let (mut before, mut after) = (vec![0.0; 64], vec![0.0; 64]);
    attention(&queries, 2, &layer, &rows, &mut before).unwrap();
    for position in 21..40 {
        layer.write(&table, position, &[6e4; 32], &[f32::NAN; 32]).unwrap();
    }
    attention(&queries, 2, &layer, &rows, &mut after).unwrap();
    assert_eq!(before, after);
}

#[test]
fn wrong_shapes_and_blocks_are_refused() {
    let (layer, table) = cache(
        KvShape {
            kv_heads: 2,
            head_dim: 16,
        },
        32,
    );
    let row = |position| {
        [Row {
            position,
            block_table: &table,
        }]
    };
    let mut output = [0.0; 64];
    assert!(attention(&[0.0; 64], 4, &layer, &row(31), &mut output).is_ok());
    assert!(attention(&[0.0; 64], 4, &layer, &row(32), &mut output).is_err());
    assert!(attention(&[0.0; 48], 3, &layer, &row(31), &mut output[..48]).is_err());
    assert!(attention(&[0.0; 64], 4, &layer, &row(31), &mut output[..63]).is_err());
    let wild = [Row {
        position: 3,
        block_table: &[2],
    }];
    assert!(attention(&[0.0; 64], 4, &layer, &wild, &mut output).is_err());
}
