//! The matrix product beside the machine's limits: bytes a second for one row, operations a second for 64.
//!
//!     cargo bench -p kernels --bench matmul
//!
//! One row is a decoded token: every weight is read for it, so its limit is the memory; copies of the matrix are used in
//! turn, more than any cache holds. 64 rows are part of a prompt, and their limit is the multipliers.

#![allow(missing_docs, clippy::unwrap_used)]

use std::time::Duration;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use kernels::matmul::matmul;
use kernels::{Activations, Format, PackedMatrix, Threads, ceiling};

/// The feed-forward matrices of a 1.5b, the largest of its layers.
const ROWS: usize = 8960;
const COLUMNS: usize = 1536;
/// Bytes of all copies together.
const COPIES_BYTES: usize = 256 << 20;
const PROMPT_ROWS: usize = 64;

fn formats(criterion: &mut Criterion) {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let ceiling = ceiling::measure(threads).unwrap();
    println!(
        "limits of this machine, {threads} threads, {}: {:.1} GB/s read from memory; {:.0} GOP/s of 8-bit products, which \
         stand below as Gelem/s\n",
        ceiling.simd,
        ceiling.read_bytes_per_second / 1e9,
        ceiling.int8_operations_per_second / 1e9,
    );
    let team = Threads::of_machine().unwrap();
    team.run(|| each_format(criterion));
}

fn each_format(criterion: &mut Criterion) {
    for format in [Format::Q4K, Format::Q6K, Format::Q8_0] {
        let bytes = matrix_bytes(format);
        let copies = COPIES_BYTES.div_ceil(bytes.len());
        let copies: Vec<PackedMatrix> = (0..copies)
            .map(|_| PackedMatrix::from_bytes(format, ROWS, COLUMNS, &bytes).unwrap())
            .collect();
        let mut group = criterion.benchmark_group(format!("{format:?}"));
        group.throughput(Throughput::BytesDecimal(bytes.len() as u64));
        group.bench_function("1 row", |bencher| product(bencher, &copies, 1));
        // A multiplication and its addition are two.
        group.throughput(Throughput::Elements((2 * PROMPT_ROWS * ROWS * COLUMNS) as u64));
        group.bench_function(format!("{PROMPT_ROWS} rows"), |bencher| {
            product(bencher, &copies, PROMPT_ROWS)
        });
    }
}

/// Multiplies with one copy after another; rounding the activations is part of it, as it is in a layer.
fn product(bencher: &mut criterion::Bencher<'_>, copies: &[PackedMatrix], rows: usize) {
    let (mut turn, mut output) = (0, vec![0.0; rows * ROWS]);
    let values: Vec<f32> = (0..rows * COLUMNS)
        .map(|index| (index * 37 % 101) as f32 * 0.02 - 1.0)
        .collect();
    let activations = || {
        let mut activations = Activations::new();
        activations.copy_from(rows, COLUMNS, &values).unwrap();
        activations
    };
    let multiply = |activations: &mut Activations| {
        turn = (turn + 1) % copies.len();
        matmul(&copies[turn], activations, &mut output).unwrap();
    };
    bencher.iter_batched_ref(activations, multiply, BatchSize::LargeInput);
}

/// Bytes that no block repeats, with scales (f16) of ordinary size.
fn matrix_bytes(format: Format) -> Vec<u8> {
    let blocks = ROWS * COLUMNS / format.block_elements();
    let mut state = 1u32;
    let mut byte = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    let mut bytes: Vec<u8> = (0..blocks * format.block_bytes()).map(|_| byte()).collect();
    for block in bytes.chunks_exact_mut(format.block_bytes()) {
        // 0.0156 in f16; Q6_K keeps its scale behind its quants, the others begin with theirs.
        let scales = if format == Format::Q6K { 208 } else { 0 };
        block[scales..scales + 2].copy_from_slice(&[0x00, 0x24]);
        if format == Format::Q4K {
            block[2..4].copy_from_slice(&[0x00, 0x24]);
        }
    }
    bytes
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .sample_size(10)
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(2));
    targets = formats
}
criterion_main!(benches);
