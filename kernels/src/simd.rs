//! Which vector instructions the twins may use: what the processor has, up to a limit that the program may set.

use std::fmt::{Display, Formatter};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU8, Ordering};

/// A set of vector instructions that kernels are written for. No choice changes a bit of any result.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Simd {
    /// Whatever the compiler makes of plain loops.
    Scalar,
    /// x86-64 with AVX2 and F16C.
    Avx2,
    /// x86-64 with AVX-512 F, BW, VL and VNNI.
    Avx512,
}

impl Simd {
    /// Every set, the narrowest first.
    pub const ALL: [Simd; 3] = [Simd::Scalar, Simd::Avx2, Simd::Avx512];

    /// The set of that name.
    pub fn from_name(name: &str) -> Option<Simd> {
        Simd::ALL.into_iter().find(|simd| simd.name() == name)
    }

    /// The name, as settings and reports have it.
    pub fn name(self) -> &'static str {
        match self {
            Simd::Scalar => "scalar",
            Simd::Avx2 => "avx2",
            Simd::Avx512 => "avx512",
        }
    }

    /// The widest set that this processor has.
    pub fn of_machine() -> Simd {
        static FOUND: OnceLock<Simd> = OnceLock::new();
        *FOUND.get_or_init(detect)
    }

    /// The set in use.
    #[inline]
    pub fn in_use() -> Simd {
        match LIMIT.load(Ordering::Relaxed) {
            0 => Simd::Scalar,
            1 => Simd::of_machine().min(Simd::Avx2),
            _ => Simd::of_machine(),
        }
    }

    /// Keeps the whole process from using anything wider than `limit`: for comparisons.
    pub fn limit(limit: Simd) {
        LIMIT.store(limit as u8, Ordering::Relaxed);
    }
}

/// As processors' makers write it.
impl Display for Simd {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Simd::Scalar => "plain loops",
            Simd::Avx2 => "AVX2",
            Simd::Avx512 => "AVX-512 VNNI",
        })
    }
}

static LIMIT: AtomicU8 = AtomicU8::new(Simd::Avx512 as u8);

#[cfg(target_arch = "x86_64")]
fn detect() -> Simd {
    use std::arch::is_x86_feature_detected as has;
    if !(has!("avx2") && has!("f16c")) {
        Simd::Scalar
    } else if has!("avx512f") && has!("avx512bw") && has!("avx512vl") && has!("avx512vnni") {
        Simd::Avx512
    } else {
        Simd::Avx2
    }
}

#[cfg(not(target_arch = "x86_64"))]
fn detect() -> Simd {
    Simd::Scalar
}

/// Whether the AVX2 twins may run.
#[cfg(target_arch = "x86_64")]
#[inline]
pub(crate) fn has_avx2() -> bool {
    Simd::in_use() >= Simd::Avx2
}
