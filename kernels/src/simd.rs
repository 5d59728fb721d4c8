//! What this machine's processor can do, asked once.

use std::sync::OnceLock;

/// Whether the AVX2 twins may run.
#[inline]
pub(crate) fn has_avx2() -> bool {
    static AVX2: OnceLock<bool> = OnceLock::new();
    *AVX2.get_or_init(|| std::arch::is_x86_feature_detected!("avx2"))
}
