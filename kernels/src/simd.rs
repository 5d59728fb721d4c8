//! What this machine's processor can do, asked once.

use std::sync::OnceLock;

/// Whether the AVX2 twins may run.
#[inline]
pub(crate) fn has_avx2() -> bool {
    static AVX2: OnceLock<bool> = OnceLock::new();
    *AVX2.get_or_init(|| std::arch::is_x86_feature_detected!("avx2"))
}

/// Whether f16 can be read by the instruction for it.
#[inline]
pub(crate) fn has_f16c() -> bool {
    static F16C: OnceLock<bool> = OnceLock::new();
    *F16C.get_or_init(|| std::arch::is_x86_feature_detected!("f16c"))
}
