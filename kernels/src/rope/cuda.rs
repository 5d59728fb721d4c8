//! The same on a card, with what stands before and after it: the biases, and the writing of keys and values.

use super::Pairing;
use crate::KernelError;
use crate::attention::HEAD_DIM_MAX;
use crate::cuda::{Arg, Gpu, GpuBuffer, GpuError, GpuRows, Launch, ROWS_MAX, expect_room, narrow};
use crate::error::{expect_below, expect_length};
use crate::kv_write::cuda::GpuKvLayer;

/// Sines and cosines of one step's positions, shared by all layers and heads.
pub struct GpuRotation {
    frequencies: GpuBuffer<f32>, // [head_dim / 2], radians per position
    magnitude: f32,
    pairing: Pairing,
    angles: GpuBuffer<f32>, // [rows, head_dim / 2, (cosine, sine)]
    rows: usize,
}

impl GpuRotation {
    /// Room for steps of `rows_max` rows.
    ///
    /// * `frequencies`  `[head_dim / 2]`, radians per position
    /// * `magnitude`  multiplies sines and cosines (1 but for some long-context scalings)
    ///
    /// # Errors
    /// `NoMemory`; `Driver`.
    pub fn new(
        gpu: &Gpu,
        rows_max: usize,
        frequencies: &[f32],
        magnitude: f32,
        pairing: Pairing,
    ) -> Result<GpuRotation, GpuError> {
        Ok(GpuRotation {
            frequencies: gpu.uploaded("the rotation's frequencies", frequencies)?,
            magnitude,
            pairing,
            angles: gpu.zeroed("the angles of a step", 2 * rows_max * frequencies.len())?,
            rows: 0,
        })
    }

    /// Computes the angles of a step's rows.
    ///
    /// # Errors
    /// `Refused` if there are more rows than room; `Launch`.
    pub fn prepare(&mut self, gpu: &Gpu, rows: &GpuRows) -> Result<(), GpuError> {
        const THREADS: u32 = 64;
        let pairs = self.frequencies.len();
        expect_below("row", rows.len(), ROWS_MAX + 1)?;
        expect_room("the angles", &self.angles, 2 * rows.len() * pairs)?;
        self.rows = rows.len();
        let pairs = narrow("pairs", pairs)?;
        let blocks = (pairs.div_ceil(THREADS), narrow("rows", rows.len())?);
        let launch = Launch::plane("rope_angles", blocks, THREADS);
        let (positions, frequencies) = (rows.positions_arg(), self.frequencies.arg());
        let arguments = [
            positions,
            frequencies,
            self.magnitude.into(),
            pairs.into(),
            self.angles.arg(),
        ];
        // SAFETY: `rope_angles(positions, frequencies, magnitude, pairs, angles)`; the angles' room is checked above.
        unsafe { gpu.launch(launch, arguments) }
    }
}

/// What the projections of a step's rows yielded.
pub struct Projections<'a> {
    /// `[rows, heads, head_dim]`, turned in place.
    pub queries: &'a mut GpuBuffer<f32>,
    /// `[rows, kv_heads, head_dim]`.
    pub keys: &'a GpuBuffer<f32>,
    /// `[rows, kv_heads, head_dim]`.
    pub values: &'a GpuBuffer<f32>,
    /// What is added to them first.
    pub biases: Option<Biases<'a>>,
    /// Query heads.
    pub heads: usize,
}

/// Added to every row of the projections.
#[derive(Clone, Copy)]
pub struct Biases<'a> {
    /// `[heads, head_dim]`.
    pub queries: &'a GpuBuffer<f32>,
    /// `[kv_heads, head_dim]`.
    pub keys: &'a GpuBuffer<f32>,
    /// `[kv_heads, head_dim]`.
    pub values: &'a GpuBuffer<f32>,
}

/// Adds the biases, turns queries and keys by their rows' angles, and writes keys and values into the cache, rounded as
/// [`KvLayer::write`](crate::KvLayer::write) does.
///
/// # Errors
/// `Refused` if a length does not follow from the layer's shape and the rows, the angles are not these rows', or a row's
/// block is past the pool; `Launch`.
pub fn turn_and_store(
    gpu: &Gpu,
    projections: Projections<'_>,
    rotation: &GpuRotation,
    rows: &GpuRows,
    layer: &mut GpuKvLayer,
) -> Result<(), GpuError> {
    const THREADS: u32 = 128;
    check(&projections, rotation, rows, layer)?;
    let shape = layer.shape();
    let biases = projections.biases;
    let bias = |of: fn(Biases<'_>) -> Arg| biases.map_or(Arg::NULL, of);
    let pairing = match rotation.pairing {
        Pairing::Halves => 0,
        Pairing::Neighbours => 1,
    };
    let heads = narrow("heads", projections.heads)?;
    let kv_heads = narrow("key heads", shape.kv_heads)?;
    let [keys, key_scales, values, value_scales] = layer.args();
    let blocks = (heads + 2 * kv_heads, narrow("rows", rows.len())?);
    let arguments = [
        projections.queries.arg(),
        projections.keys.arg(),
        projections.values.arg(),
        bias(|biases| biases.queries.arg()),
        bias(|biases| biases.keys.arg()),
        bias(|biases| biases.values.arg()),
        rotation.angles.arg(),
        Arg::U32(pairing),
        rows.positions_arg(),
        rows.table_starts_arg(),
        rows.tables_arg(),
        keys,
        key_scales,
        values,
        value_scales,
        heads.into(),
        kv_heads.into(),
        narrow("the head's length", shape.head_dim)?.into(),
    ];
    // SAFETY: the arguments of `turn_and_store`, in its order; `check` has compared every length, and every row's block is
    // one of the layer's.
    unsafe { gpu.launch(Launch::plane("turn_and_store", blocks, THREADS), arguments) }
}

fn check(
    projections: &Projections<'_>,
    rotation: &GpuRotation,
    rows: &GpuRows,
    layer: &GpuKvLayer,
) -> Result<(), GpuError> {
    let shape = layer.shape();
    if shape.head_dim > HEAD_DIM_MAX || projections.heads.max(shape.kv_heads) > ROWS_MAX {
        let allowed = format!("at most {HEAD_DIM_MAX}");
        let (what, found) = ("the head's length", shape.head_dim);
        return Err(KernelError::Size { what, found, allowed }.into());
    }
    expect_length("the rotation's pairs", 2 * rotation.frequencies.len(), shape.head_dim)?;
    expect_length("the rows with angles", rotation.rows, rows.len())?;
    rows.expect_blocks(layer.blocks())?;
    let query_row = projections.heads * shape.head_dim;
    expect_room("the queries", projections.queries, rows.len() * query_row)?;
    expect_room("the keys", projections.keys, rows.len() * shape.row_elements())?;
    expect_room("the values", projections.values, rows.len() * shape.row_elements())?;
    if let Some(biases) = projections.biases {
        expect_length("the queries' bias", biases.queries.len(), query_row)?;
        expect_length("the keys' bias", biases.keys.len(), shape.row_elements())?;
        expect_length("the values' bias", biases.values.len(), shape.row_elements())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::attention::Row;
    use crate::cuda::tests::{Noise, assert_near, gpu};
    use crate::rope::Rotation;
    use crate::{KvFormat, KvLayer, KvShape};

    const POSITIONS: [usize; 3] = [0, 21, 1000];
    const BLOCKS: usize = 70;

    fn frequencies(head_dim: usize) -> Vec<f32> {
        (0..head_dim / 2)
            .map(|i| 10_000f32.powf(-2.0 * i as f32 / head_dim as f32))
            .collect()
    }

    /// The steps that a processor takes: biases, turns, writes.
    struct Truth {
        queries: Vec<f32>,
        layer: KvLayer,
    }

    struct Case {
        heads: usize,
        shape: KvShape,
        pairing: Pairing,
        format: KvFormat,
        projected: [Vec<f32>; 3],
        biases: [Vec<f32>; 3],
        tables: [Vec<u32>; 3],
    }

    impl Case {
        fn new(heads: usize, kv_heads: usize, head_dim: usize, pairing: Pairing, format: KvFormat) -> Case {
            let mut noise = Noise(11);
            let widths = [heads, kv_heads, kv_heads].map(|heads| heads * head_dim);
            let mut projected = widths.map(|width| noise.values(POSITIONS.len() * width));
            // What no number is and what f16 does not hold are stored as its largest.
            (projected[2][0], projected[2][1], projected[2][2]) = (f32::NAN, 1e9, -1e9);
            Case {
                heads,
                shape: KvShape { kv_heads, head_dim },
                pairing,
                format,
                projected,
                biases: widths.map(|width| noise.values(width)),
                tables: [vec![3], vec![0, 69], (0..63).map(|block| 4 + block).collect()],
            }
        }

        fn rows(&self) -> Vec<Row<'_>> {
            POSITIONS
                .into_iter()
                .zip(&self.tables)
                .map(|(position, block_table)| Row { position, block_table })
                .collect()
        }

        fn truth(&self) -> Truth {
            let mut rotation = Rotation::default();
            let positions = POSITIONS.map(|position| position as u32);
            rotation.prepare(&positions, &frequencies(self.shape.head_dim), 0.9);
            let [mut queries, mut keys, mut values] = self.projected.clone();
            for (rows, bias) in [&mut queries, &mut keys, &mut values].into_iter().zip(&self.biases) {
                crate::add::add_bias(rows, bias).unwrap();
            }
            rotation.apply(&mut queries, self.heads, self.pairing).unwrap();
            rotation.apply(&mut keys, self.shape.kv_heads, self.pairing).unwrap();
            let mut layer = KvLayer::zeroed(self.shape, self.format, BLOCKS).unwrap();
            let width = self.shape.row_elements();
            for (row, (keys, values)) in self.rows().iter().zip(keys.chunks(width).zip(values.chunks(width))) {
                layer.write(row.block_table, row.position, keys, values).unwrap();
            }
            Truth { queries, layer }
        }

        fn run(&self, gpu: &Gpu) -> (Vec<f32>, GpuKvLayer) {
            let (rows, dim) = (POSITIONS.len(), self.shape.head_dim);
            let mut on_card = GpuRows::new(gpu, rows, BLOCKS).unwrap();
            on_card.set(gpu, &self.rows()).unwrap();
            let mut rotation = GpuRotation::new(gpu, rows, &frequencies(dim), 0.9, self.pairing).unwrap();
            rotation.prepare(gpu, &on_card).unwrap();
            let up = |values: &Vec<f32>| gpu.uploaded("values", values).unwrap();
            let ([mut queries, keys, values], biases) =
                (self.projected.each_ref().map(up), self.biases.each_ref().map(up));
            let mut layer = GpuKvLayer::zeroed(gpu, self.shape, self.format, BLOCKS).unwrap();
            let projections = Projections {
                queries: &mut queries,
                keys: &keys,
                values: &values,
                biases: Some(Biases {
                    queries: &biases[0],
                    keys: &biases[1],
                    values: &biases[2],
                }),
                heads: self.heads,
            };
            turn_and_store(gpu, projections, &rotation, &on_card, &mut layer).unwrap();
            (gpu.downloaded(&queries).unwrap(), layer)
        }
    }

    /// The library's sine of an angle of up to 1000 radians is the same to some units in the last place, and a number of
    /// magnitude 2 at most is turned by it.
    const TOLERANCE: f32 = 2e-6;

    #[test]
    fn queries_are_turned_and_tokens_stored_as_by_the_processor() {
        let gpu = gpu();
        for (heads, kv_heads, head_dim) in [(2, 1, 16), (3, 3, 48), (14, 2, 64), (4, 2, 128), (2, 1, 256)] {
            for pairing in [Pairing::Halves, Pairing::Neighbours] {
                for format in KvFormat::ALL {
                    let case = Case::new(heads, kv_heads, head_dim, pairing, format);
                    let (truth, (queries, layer)) = (case.truth(), case.run(&gpu));
                    for (found, truth) in queries.iter().zip(&truth.queries) {
                        assert!((found - truth).abs() <= TOLERANCE, "{found} against {truth}");
                    }
                    let (keys, values) = layer.downloaded(&gpu).unwrap();
                    let places = (0..BLOCKS * kv_heads * 16 * head_dim).map(|i| {
                        (
                            i / head_dim / 16 / kv_heads,
                            i / head_dim / 16 % kv_heads,
                            i / head_dim % 16,
                            i % head_dim,
                        )
                    });
                    for (index, (block, head, slot, element)) in places.enumerate() {
                        let key = truth.layer.key(block, head, slot, element);
                        let value = truth.layer.value(block, head, slot, element);
                        // A key that the sine moves over the border of two roundings is one step off.
                        let step = if format == KvFormat::F16 { 2e-3 } else { 2.5 / 127.0 };
                        assert!((keys[index] - key).abs() <= step, "{} against {key}", keys[index]);
                        assert_near(&values[index..=index], &[value], 0.0);
                    }
                }
            }
        }
    }

    #[test]
    fn what_does_not_belong_together_is_refused() {
        let gpu = gpu();
        let case = Case::new(2, 1, 32, Pairing::Halves, KvFormat::F16);
        let mut rows = GpuRows::new(&gpu, 3, BLOCKS).unwrap();
        rows.set(&gpu, &case.rows()).unwrap();
        let mut rotation = GpuRotation::new(&gpu, 3, &frequencies(32), 1.0, Pairing::Halves).unwrap();
        let [mut long, short] = [3 * 64, 3 * 32 - 1].map(|elements| gpu.zeroed::<f32>("rows", elements).unwrap());
        let ok = gpu.zeroed::<f32>("rows", 3 * 32).unwrap();
        let mut layer = GpuKvLayer::zeroed(&gpu, case.shape, KvFormat::F16, BLOCKS).unwrap();
        let mut small = GpuKvLayer::zeroed(&gpu, case.shape, KvFormat::F16, 69).unwrap();
        let mut run = |rotation: &GpuRotation, keys, layer: &mut GpuKvLayer| {
            let (queries, values, biases, heads) = (&mut long, &ok, None, 2);
            let projections = Projections {
                queries,
                keys,
                values,
                biases,
                heads,
            };
            turn_and_store(&gpu, projections, rotation, &rows, layer)
        };
        assert!(run(&rotation, &ok, &mut layer).is_err(), "no angles yet");
        rotation.prepare(&gpu, &rows).unwrap();
        assert!(run(&rotation, &ok, &mut layer).is_ok());
        assert!(run(&rotation, &short, &mut layer).is_err());
        assert!(run(&rotation, &ok, &mut small).is_err());
        let narrow = GpuRotation::new(&gpu, 3, &frequencies(16), 1.0, Pairing::Halves).unwrap();
        assert!(run(&narrow, &ok, &mut layer).is_err());
    }
}
