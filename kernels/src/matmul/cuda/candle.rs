//! Candle's launchers, which start the kernels that it took over from llama.cpp. They check nothing and report nothing:
//! lengths were checked before, and what went wrong is asked for after.

use std::ffi::c_void;

use candle_kernels::ffi;

use super::{Product, Scales, padded};
use crate::Format;
use crate::cuda::{Gpu, GpuError};

// SAFETY: for who calls either: every place that is read or written must be there; the calls below say why it is.
type Mmvq = unsafe extern "C" fn(*const c_void, *const c_void, *mut c_void, i32, i32, i32, i32, i32, *mut c_void);
// SAFETY: as above.
type Mmq = unsafe extern "C" fn(
    *mut c_void,
    *const c_void,
    *const c_void,
    *mut c_void,
    i64,
    i64,
    i64,
    i64,
    i64,
    i32,
    i32,
    i64,
    i32,
    *mut c_void,
);

/// The launchers of a format, and its name for messages.
struct Launchers {
    mmvq: Mmvq,
    mmq: Mmq,
    mmvq_name: &'static str,
    mmq_name: &'static str,
}

macro_rules! launchers {
    ($format:literal, $mmvq:ident, $mmq:ident) => {
        Launchers {
            mmvq: ffi::$mmvq,
            mmq: ffi::$mmq,
            mmvq_name: concat!("MMVQ ", $format),
            mmq_name: concat!("MMQ ", $format),
        }
    };
}

fn launchers(format: Format) -> Launchers {
    match format {
        Format::F32 | Format::F16 | Format::Bf16 => unreachable!("plain weights have their own kernel"),
        Format::Q4_0 => launchers!("Q4_0", launch_mmvq_gguf_q4_0_f32_plain, launch_mmq_gguf_q4_0),
        Format::Q5_0 => launchers!("Q5_0", launch_mmvq_gguf_q5_0_f32_plain, launch_mmq_gguf_q5_0),
        Format::Q8_0 => launchers!("Q8_0", launch_mmvq_gguf_q8_0_f32_plain, launch_mmq_gguf_q8_0),
        Format::Q2K => launchers!("Q2_K", launch_mmvq_gguf_q2_k_f32_plain, launch_mmq_gguf_q2_k),
        Format::Q3K => launchers!("Q3_K", launch_mmvq_gguf_q3_k_f32_plain, launch_mmq_gguf_q3_k),
        Format::Q4K => launchers!("Q4_K", launch_mmvq_gguf_q4_k_f32_plain, launch_mmq_gguf_q4_k),
        Format::Q5K => launchers!("Q5_K", launch_mmvq_gguf_q5_k_f32_plain, launch_mmq_gguf_q5_k),
        Format::Q6K => launchers!("Q6_K", launch_mmvq_gguf_q6_k_f32_plain, launch_mmq_gguf_q6_k),
    }
}

fn pointer(address: u64) -> *mut c_void {
    address as usize as *mut c_void
}

/// Few activation rows: each block of the card takes one or two rows of the matrix.
pub(super) fn mmvq(gpu: &Gpu, product: &Product) -> Result<(), GpuError> {
    let launchers = launchers(product.format);
    let stream = gpu.begin(launchers.mmvq_name)?;
    // SAFETY: the lengths were checked by `matmul_each`, sizes fit i32 by `GpuMatrix::zeroed`; the matrix has a row of
    // zeros after its end, which the last block reads.
    unsafe {
        (launchers.mmvq)(
            pointer(product.weights),
            pointer(product.activations),
            pointer(product.output),
            product.columns as i32,
            product.rows as i32,
            (padded(product.columns) / 32) as i32,
            product.rows as i32,
            product.activation_rows as i32,
            stream,
        )
    };
    gpu.check_launches()
}

/// Many activation rows: tiles of 128 rows of the matrix by up to 128 activation rows on the tensor cores.
pub(super) fn mmq(gpu: &Gpu, product: &Product) -> Result<(), GpuError> {
    const WARP: i32 = 32;
    let launchers = launchers(product.format);
    let stream = gpu.begin(launchers.mmq_name)?;
    let card = gpu.card();
    let (major, minor) = card.compute_capability;
    // SAFETY: as in `mmvq`; the parts have 128 * 128 sums for each multiprocessor, the activations 128 blocks more than
    // they need, which the last tile reads.
    unsafe {
        (launchers.mmq)(
            pointer(product.parts),
            pointer(product.weights),
            pointer(product.activations),
            pointer(product.output),
            product.columns as i64,
            product.rows as i64,
            product.activation_rows as i64,
            (product.columns / product.format.block_elements()) as i64,
            product.rows as i64,
            (100 * major + 10 * minor) as i32,
            card.multiprocessors as i32,
            card.shared_bytes_max as i64,
            WARP,
            stream,
        )
    };
    gpu.check_launches()
}

/// Writes `values` `[rows, columns]` in the form that MMQ wants with these scales.
pub(super) fn quantise_for_mmq(
    gpu: &Gpu,
    scales: Scales,
    values: u64,
    (rows, columns): (usize, usize),
    blocks: u64,
) -> Result<(), GpuError> {
    let launcher = match scales {
        Scales::D4 => ffi::launch_mmq_quantize_q8_1_D4,
        Scales::Ds4 => ffi::launch_mmq_quantize_q8_1_DS4,
        Scales::D2s6 => ffi::launch_mmq_quantize_q8_1_D2S6,
    };
    let stream = gpu.begin("the rounding of activations for MMQ")?;
    let (rows, columns, padded) = (rows as i64, columns as i64, padded(columns) as i64);
    let every_row = std::ptr::null();
    // SAFETY: the values and the blocks have their rows' room, which `GpuActivations` has checked; four values are read at
    // once, and columns with quantised weights are a multiple of 32.
    unsafe {
        launcher(
            pointer(values),
            every_row,
            pointer(blocks),
            0,
            columns,
            columns,
            0,
            0,
            padded,
            rows,
            1,
            1,
            stream,
        )
    };
    gpu.check_launches()
}
