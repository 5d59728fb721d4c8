//! Products of weights in tiles: up to eight activation rows go through a tile together, so that it is unpacked once for
//! them. Each row's arithmetic is the same sequence of operations however many go together.

use std::ops::Range;

use super::spread::Product;
use crate::activations::{Q8_0, Q8K};
use crate::matrix::tile::{TILE_ROWS, Tile, TileQ4K, TileQ6K, TileQ8_0};
use crate::{Activations, Simd};

/// One product per weight row of a tile.
pub(super) type Sums = [f32; TILE_ROWS];

/// A tile that has products.
pub(super) trait Multiply: Tile + Sized {
    /// The blocks of an activation row that meet such tiles.
    type Block: 'static;

    /// Row `row` in these blocks.
    fn row(activations: &Activations, row: usize) -> &[Self::Block];

    /// The products of sixteen weight rows with `N` activation rows.
    ///
    /// * `tiles`  the columns' tiles
    /// * `rows`  as many blocks each
    /// * `simd`  what the processor is known to have
    fn multiply<const N: usize>(tiles: &[Self], rows: [&[Self::Block]; N], simd: Simd) -> [Sums; N];
}

/// Sets the products of piece `index` with the activation rows `panel`.
pub(super) fn piece<T: Multiply>(
    product: &Product<'_>,
    index: usize,
    activations: &Activations,
    panel: Range<usize>,
    simd: Simd,
) {
    let tiles = product.weights.tiles::<T>(index);
    let mut n = panel.start;
    while n < panel.end {
        // What fits in the registers: 16 of them with AVX2, 32 with AVX-512.
        n += match panel.end - n {
            1 => together::<T, 1>(product, index, tiles, activations, n, simd),
            2 => together::<T, 2>(product, index, tiles, activations, n, simd),
            3 => together::<T, 3>(product, index, tiles, activations, n, simd),
            8.. if simd == Simd::Avx512 => together::<T, 8>(product, index, tiles, activations, n, simd),
            _ => together::<T, 4>(product, index, tiles, activations, n, simd),
        };
    }
}

/// Sets the products with the `N` activation rows from `first` on, and returns `N`.
fn together<T: Multiply, const N: usize>(
    product: &Product<'_>,
    index: usize,
    tiles: &[T],
    activations: &Activations,
    first: usize,
    simd: Simd,
) -> usize {
    let rows = std::array::from_fn(|n| T::row(activations, first + n));
    for (n, sums) in T::multiply::<N>(tiles, rows, simd).iter().enumerate() {
        product.output.set_from(first + n, index * TILE_ROWS, sums);
    }
    N
}

/// Calls the twin for `$simd`, or for what the processor has where that is less.
macro_rules! twin {
    ($name:ident, $tiles:expr, $rows:expr, $simd:expr) => {
        match $simd.min(Simd::of_machine()) {
            #[cfg(target_arch = "x86_64")]
            // SAFETY: `of_machine` found AVX-512 F, BW, VL and VNNI.
            Simd::Avx512 => unsafe { super::avx512::$name($tiles, $rows) },
            #[cfg(target_arch = "x86_64")]
            // SAFETY: `of_machine` found AVX2 and F16C.
            Simd::Avx2 => unsafe { super::avx2::$name($tiles, $rows) },
            _ => super::scalar::$name($tiles, $rows),
        }
    };
}

impl Multiply for TileQ4K {
    type Block = Q8K;

    fn row(activations: &Activations, row: usize) -> &[Q8K] {
        activations.q8_k(row)
    }

    fn multiply<const N: usize>(tiles: &[TileQ4K], rows: [&[Q8K]; N], simd: Simd) -> [Sums; N] {
        twin!(q4k, tiles, rows, simd)
    }
}

impl Multiply for TileQ6K {
    type Block = Q8K;

    fn row(activations: &Activations, row: usize) -> &[Q8K] {
        activations.q8_k(row)
    }

    fn multiply<const N: usize>(tiles: &[TileQ6K], rows: [&[Q8K]; N], simd: Simd) -> [Sums; N] {
        twin!(q6k, tiles, rows, simd)
    }
}

impl Multiply for TileQ8_0 {
    type Block = Q8_0;

    fn row(activations: &Activations, row: usize) -> &[Q8_0] {
        activations.q8_0(row)
    }

    fn multiply<const N: usize>(tiles: &[TileQ8_0], rows: [&[Q8_0]; N], simd: Simd) -> [Sums; N] {
        twin!(q8_0, tiles, rows, simd)
    }
}
