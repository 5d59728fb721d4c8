//! The kernels against the processor's attention, whose cache is given the same keys and values.

use super::*;
use crate::attention::{Row, attention};
use crate::cuda::tests::{Noise, gpu};
use crate::rope::Pairing;
use crate::rope::cuda::{GpuRotation, Projections, turn_and_store};
use crate::{BLOCK_TOKENS, KvLayer};

/// Heads, key heads: groups of 1, 2, 5 and 6.
const HEADS: [(usize, usize); 5] = [(1, 1), (4, 2), (5, 1), (12, 2), (40, 8)];
/// Groups of 3, 7 and 11, which have no decode kernels of their own: bundles of 4, 8 and twice 6 that are not full.
const ODD_HEADS: [(usize, usize); 3] = [(3, 1), (7, 1), (11, 1)];

/// The same cache here and there, in blocks that lie in no order.
struct Caches {
    gpu: Gpu,
    heads: usize,
    shape: KvShape,
    here: KvLayer,
    there: GpuKvLayer,
    tables: Vec<Vec<u32>>,
}

impl Caches {
    /// Sequences of so many tokens.
    fn new(heads: usize, shape: KvShape, format: KvFormat, tokens: &[usize]) -> Caches {
        let blocks = tokens.iter().map(|tokens| tokens.div_ceil(BLOCK_TOKENS)).sum();
        // A step that shares no factor with the number of blocks meets each of them once.
        let step = (blocks / 2..).find(|step| gcd(*step, blocks) == 1).unwrap();
        let mut next = (0..blocks).map(|index| (index * step % blocks) as u32);
        let gpu = gpu();
        let mut caches = Caches {
            heads,
            shape,
            here: KvLayer::zeroed(shape, format, blocks).unwrap(),
            there: GpuKvLayer::zeroed(&gpu, shape, format, blocks).unwrap(),
            tables: tokens
                .iter()
                .map(|tokens| next.by_ref().take(tokens.div_ceil(BLOCK_TOKENS)).collect())
                .collect(),
            gpu,
        };
        for (sequence, tokens) in tokens.iter().enumerate() {
            caches.write(
                sequence,
                0,
                &Noise(sequence as u64 + 7).values(tokens * shape.row_elements() * 2),
            );
        }
        caches
    }

    /// Writes tokens from position `first` on: half of the numbers are keys, half values.
    fn write(&mut self, sequence: usize, first: usize, numbers: &[f32]) {
        let width = self.shape.row_elements();
        let (keys, values) = numbers.split_at(numbers.len() / 2);
        let table = self.tables[sequence].clone();
        for (index, (keys, values)) in keys.chunks(width).zip(values.chunks(width)).enumerate() {
            self.here.write(&table, first + index, keys, values).unwrap();
        }
        let places: Vec<_> = (0..keys.len() / width).map(|index| (sequence, first + index)).collect();
        self.store(&self.gpu_rows(&places), keys, values);
    }

    /// Writes the rows' keys and values on the card, turned by no angle.
    fn store(&mut self, rows: &GpuRows, keys: &[f32], values: &[f32]) {
        let (gpu, count) = (&self.gpu, rows.len());
        let frequencies = vec![0.0; self.shape.head_dim / 2];
        let mut rotation = GpuRotation::new(gpu, count, &frequencies, 1.0, Pairing::Halves).unwrap();
        rotation.prepare(gpu, rows).unwrap();
        let projections = Projections {
            queries: &mut gpu.zeroed("queries", count * self.shape.head_dim).unwrap(),
            keys: &gpu.uploaded("keys", keys).unwrap(),
            values: &gpu.uploaded("values", values).unwrap(),
            biases: None,
            heads: 1,
        };
        turn_and_store(gpu, projections, &rotation, rows, &mut self.there).unwrap();
    }

    fn rows(&self, places: &[(usize, usize)]) -> Vec<Row<'_>> {
        let row = |(sequence, position): &(usize, usize)| Row {
            position: *position,
            block_table: &self.tables[*sequence],
        };
        places.iter().map(row).collect()
    }

    fn gpu_rows(&self, places: &[(usize, usize)]) -> GpuRows {
        let rows = self.rows(places);
        let tables = rows.iter().map(|row| row.block_table.len()).sum();
        let mut on_card = GpuRows::new(&self.gpu, rows.len(), tables).unwrap();
        on_card.set(&self.gpu, &rows).unwrap();
        on_card
    }

    fn truth(&self, places: &[(usize, usize)], queries: &[f32]) -> Vec<f32> {
        let mut output = vec![f32::NAN; queries.len()];
        attention(queries, self.heads, &self.here, &self.rows(places), &mut output).unwrap();
        output
    }

    fn found(&self, places: &[(usize, usize)], queries: &[f32]) -> Vec<f32> {
        let mut attention = GpuAttention::new(&self.gpu, self.heads, self.shape, places.len(), 1024).unwrap();
        let rows = self.gpu_rows(places);
        attention.set(&self.gpu, &rows).unwrap();
        let queries = self.gpu.uploaded("queries", queries).unwrap();
        let mut output = self.gpu.uploaded("output", &vec![f32::NAN; queries.len()]).unwrap();
        attention
            .run(&self.gpu, &queries, &self.there, &rows, &mut output)
            .unwrap();
        self.gpu.downloaded(&output).unwrap()
    }

    /// Queries that make some keys stand out.
    fn queries(&self, rows: usize) -> Vec<f32> {
        let mut queries = Noise(99).values(rows * self.heads * self.shape.head_dim);
        queries.iter_mut().for_each(|query| *query *= 4.0);
        queries
    }

    /// Passes if every number is within `tolerance`; the values are below 1.
    fn check(&self, places: &[(usize, usize)], tolerance: f32) {
        let queries = self.queries(places.len());
        let (found, truth) = (self.found(places, &queries), self.truth(places, &queries));
        let width = self.heads * self.shape.head_dim;
        for (index, (found, truth)) in found.iter().zip(&truth).enumerate() {
            assert!(
                (found - truth).abs() <= tolerance,
                "{} heads, {:?}, {:?}: {found}, {truth} at {:?}, element {}",
                self.heads,
                self.shape,
                self.there.format(),
                places[index / width],
                index % width
            );
        }
    }
}

fn gcd(a: usize, b: usize) -> usize {
    if b == 0 { a } else { gcd(b, a % b) }
}

fn bits(numbers: &[f32]) -> Vec<u32> {
    numbers.iter().map(|number| number.to_bits()).collect()
}

/// f32 sums of 300 numbers below 1 in another order, of scores whose error of some 1e-6 the exponential passes on.
const DECODE_TOLERANCE: f32 = 1e-5;

/// f16 rounds queries and weights by up to 2^-12 of themselves: scores below 10 are off by some 1e-3 and the weights by as
/// much of themselves, of which the mean over many keys leaves less. q8_0 values are rounded once more.
const PREFILL_TOLERANCE: f32 = 2e-3;

#[test]
fn decode_is_what_the_processor_computes() {
    for (heads, kv_heads) in HEADS.into_iter().chain(ODD_HEADS) {
        for head_dim in [16, 64, 80, 128, 256] {
            if heads == 40 && head_dim != 128 {
                continue; // The same kernels as 5 heads.
            }
            for format in KvFormat::ALL {
                let caches = Caches::new(heads, KvShape { kv_heads, head_dim }, format, &[301, 17, 257]);
                let places = [(0, 300), (1, 0), (1, 1), (1, 16), (0, 15), (2, 255), (2, 256), (0, 17)];
                caches.check(&places, DECODE_TOLERANCE);
            }
        }
    }
}

/// Segments from the start, from within a block, over a range's end, and rows of decode in between.
fn mixed() -> Vec<(usize, usize)> {
    let first = (0..16).map(|position| (0, position));
    let second = (247..280).map(|position| (1, position));
    let third = (15..32).map(|position| (2, position));
    first
        .chain([(2, 40)])
        .chain(second)
        .chain([(0, 63), (0, 64)])
        .chain(third)
        .collect()
}

#[test]
fn prefill_is_what_the_processor_computes_within_f16() {
    for (heads, kv_heads) in HEADS {
        for head_dim in [64, 128] {
            for format in KvFormat::ALL {
                let caches = Caches::new(heads, KvShape { kv_heads, head_dim }, format, &[65, 280, 41]);
                caches.check(&mixed(), PREFILL_TOLERANCE);
            }
        }
    }
}

#[test]
fn a_row_of_decode_gives_alone_the_bits_it_has_in_company() {
    for (format, head_dim) in [(KvFormat::F16, 128), (KvFormat::Q8_0, 64), (KvFormat::F16, 80)] {
        let caches = Caches::new(10, KvShape { kv_heads: 2, head_dim }, format, &[300, 270]);
        let places = [(0, 299), (1, 5), (1, 256), (0, 298), (0, 255), (1, 269)];
        let queries = caches.queries(places.len());
        let together = caches.found(&places, &queries);
        let width = 10 * head_dim;
        for (index, place) in places.iter().enumerate() {
            let range = index * width..(index + 1) * width;
            let alone = caches.found(&[*place], &queries[range.clone()]);
            assert_eq!(bits(&alone), bits(&together[range]), "{format:?}, {place:?}");
        }
    }
}

#[test]
fn a_row_of_prefill_gives_the_same_bits_however_its_sequence_is_cut() {
    for (format, head_dim) in [(KvFormat::F16, 128), (KvFormat::Q8_0, 64)] {
        let caches = Caches::new(10, KvShape { kv_heads: 2, head_dim }, format, &[100, 40]);
        let whole: Vec<_> = (0..100).map(|position| (0, position)).collect();
        let queries = caches.queries(whole.len());
        let together = caches.found(&whole, &queries);
        let width = 10 * head_dim;
        for cut in [16, 33, 64, 84] {
            for range in [0..cut, cut..100] {
                let mut places = whole[range.clone()].to_vec();
                // Company of another sequence behind it.
                places.extend((3..20).map(|position| (1, position)));
                let mut own = queries[range.start * width..range.end * width].to_vec();
                own.extend(caches.queries(17));
                let found = caches.found(&places, &own);
                let expected = &together[range.start * width..range.end * width];
                assert!(
                    bits(&found[..expected.len()]) == bits(expected),
                    "{format:?}, {range:?}"
                );
            }
        }
    }
}

/// A sum that underflowed to -0 stays so in its own tile, and becomes 0 where a tile that it does not see is added.
#[test]
fn a_sum_that_underflows_is_the_same_in_any_company() {
    let shape = KvShape {
        kv_heads: 1,
        head_dim: 64,
    };
    let mut caches = Caches::new(1, shape, KvFormat::F16, &[200]);
    // Better keys from 64 on: what came before shrinks by e^-160.
    let keys = (0..200).flat_map(|position| [if position < 64 { 0.0 } else { 1.0 }; 64]);
    let value = |position| match position {
        0 => -1e-7,
        1..128 => -1e-30, // -0 in f16.
        _ => 1.0,
    };
    let values = (0..200).flat_map(|position| [value(position); 64]);
    caches.write(0, 0, &keys.chain(values).collect::<Vec<f32>>());
    let places: Vec<_> = (100..200).map(|position| (0, position)).collect();
    let queries = vec![20.0; 100 * 64];
    let together = caches.found(&places, &queries);
    // Positions 112 to 127: the last that see two tiles, in one warp with the first that see three.
    let alone = caches.found(&places[12..28], &queries[..16 * 64]);
    assert_eq!(bits(&alone), bits(&together[12 * 64..28 * 64]));
}

#[test]
fn what_lies_behind_a_position_is_not_seen() {
    let shape = KvShape {
        kv_heads: 1,
        head_dim: 64,
    };
    for format in KvFormat::ALL {
        let mut caches = Caches::new(2, shape, format, &[40]);
        let places: Vec<_> = (0..20).chain([25]).map(|position| (0, position)).collect();
        let queries = caches.queries(places.len());
        let before = caches.found(&places, &queries);
        caches.write(0, 26, &[6e4; 14 * 64 * 2]);
        assert_eq!(bits(&caches.found(&places, &queries)), bits(&before));
        caches.write(0, 20, &[6e4; 5 * 64 * 2]);
        let after = caches.found(&places, &queries);
        assert_eq!(bits(&after[..20 * 128]), bits(&before[..20 * 128]));
        assert_ne!(bits(&after[20 * 128..]), bits(&before[20 * 128..]));
    }
}

/// The largest numbers of the cache, whose 8-bit steps f16 cannot quite hold, and queries past f16.
#[test]
fn the_largest_numbers_stay_finite() {
    let shape = KvShape {
        kv_heads: 1,
        head_dim: 64,
    };
    for format in KvFormat::ALL {
        let mut caches = Caches::new(1, shape, format, &[20]);
        caches.write(0, 0, &[-1e9; 20 * 64 * 2]);
        let places: Vec<_> = (0..20).map(|position| (0, position)).collect();
        let queries = vec![1e6; 20 * 64];
        for number in caches.found(&places, &queries) {
            assert!((number + 65504.0).abs() < 65504.0 * 2e-3, "{format:?}: {number}");
        }
    }
}

#[test]
fn more_ranges_than_room_take_turns() {
    let shape = KvShape {
        kv_heads: 1,
        head_dim: 16,
    };
    let caches = Caches::new(1, shape, KvFormat::F16, &[700]);
    let places = [(0, 699), (0, 3), (0, 600), (0, 256), (0, 500)];
    let queries = caches.queries(places.len());
    let mut attention = GpuAttention::new(&caches.gpu, 1, shape, places.len(), 700).unwrap();
    // As if there were no more: three ranges are one row's.
    attention.limits.ranges = 3;
    attention.plan = Plan::new(attention.limits);
    let rows = caches.gpu_rows(&places);
    attention.set(&caches.gpu, &rows).unwrap();
    assert_eq!(attention.plan.batches.len(), 5);
    let queries_there = caches.gpu.uploaded("queries", &queries).unwrap();
    let mut output = caches.gpu.zeroed("output", queries.len()).unwrap();
    attention
        .run(&caches.gpu, &queries_there, &caches.there, &rows, &mut output)
        .unwrap();
    assert_eq!(
        bits(&caches.gpu.downloaded(&output).unwrap()),
        bits(&caches.found(&places, &queries))
    );
}

#[test]
fn wrong_shapes_rows_and_blocks_are_refused() {
    let gpu = gpu();
    let shape = |kv_heads, head_dim| KvShape { kv_heads, head_dim };
    for (heads, shape) in [
        (3, shape(2, 64)),
        (0, shape(1, 64)),
        (65, shape(1, 64)),
        (1, shape(1, 24)),
        (1, shape(1, 272)),
    ] {
        assert!(
            GpuAttention::new(&gpu, heads, shape, 4, 64).is_err(),
            "{heads}, {shape:?}"
        );
    }
    let caches = Caches::new(2, shape(1, 64), KvFormat::F16, &[64]);
    let mut attention = GpuAttention::new(&gpu, 2, shape(1, 64), 2, 32).unwrap();
    let rows = caches.gpu_rows(&[(0, 30), (0, 31)]);
    attention.set(&gpu, &rows).unwrap();
    let (queries, short) = (gpu.zeroed("queries", 256).unwrap(), gpu.zeroed("short", 255).unwrap());
    let mut output = gpu.zeroed("output", 256).unwrap();
    assert!(attention.run(&gpu, &queries, &caches.there, &rows, &mut output).is_ok());
    assert!(attention.run(&gpu, &short, &caches.there, &rows, &mut output).is_err());
    assert!(
        attention
            .run(
                &gpu,
                &queries,
                &caches.there,
                &rows,
                &mut gpu.zeroed("short", 255).unwrap()
            )
            .is_err()
    );
    let others = caches.gpu_rows(&[(0, 30), (0, 30)]);
    assert!(
        attention
            .run(&gpu, &queries, &caches.there, &others, &mut output)
            .is_err()
    );
    for layer in [shape(2, 64), shape(1, 128)] {
        let layer = GpuKvLayer::zeroed(&gpu, layer, KvFormat::F16, 4).unwrap();
        assert!(attention.run(&gpu, &queries, &layer, &rows, &mut output).is_err());
    }
    let small = GpuKvLayer::zeroed(&gpu, shape(1, 64), KvFormat::F16, 3).unwrap();
    assert!(attention.run(&gpu, &queries, &small, &rows, &mut output).is_err());
    assert!(attention.set(&gpu, &caches.gpu_rows(&[(0, 32)])).is_err());
    assert!(
        attention
            .set(&gpu, &caches.gpu_rows(&[(0, 1), (0, 2), (0, 3)]))
            .is_err()
    );
}
