//! The scalar text, compiled for 256-bit registers.

use super::Row;
use crate::KvLayer;

#[target_feature(enable = "avx2")]
pub(super) fn attend(queries: &[f32], layer: &KvLayer, kv_head: usize, row: Row<'_>, output: &mut [f32]) {
    super::scalar::attend(queries, layer, kv_head, row, output);
}
