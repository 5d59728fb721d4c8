//! How a tensor's numbers are stored: the types that are read, and the names of those that are not.

use std::fmt;

/// A storage type. Rows are cut into blocks of [`block_elements`](TensorType::block_elements) numbers, each stored in
/// [`block_bytes`](TensorType::block_bytes).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "the format's own names")]
pub enum TensorType {
    F32,
    F16,
    Bf16,
    Q4_0,
    Q5_0,
    Q8_0,
    Q2K,
    Q3K,
    Q4K,
    Q5K,
    Q6K,
}

impl TensorType {
    /// Every type that is read.
    pub const ALL: [TensorType; 11] = [
        TensorType::F32,
        TensorType::F16,
        TensorType::Bf16,
        TensorType::Q4_0,
        TensorType::Q5_0,
        TensorType::Q8_0,
        TensorType::Q2K,
        TensorType::Q3K,
        TensorType::Q4K,
        TensorType::Q5K,
        TensorType::Q6K,
    ];

    /// Numbers in one block; 1 for the plain types.
    pub fn block_elements(self) -> u64 {
        match self {
            TensorType::F32 | TensorType::F16 | TensorType::Bf16 => 1,
            TensorType::Q4_0 | TensorType::Q5_0 | TensorType::Q8_0 => 32,
            TensorType::Q2K | TensorType::Q3K | TensorType::Q4K | TensorType::Q5K | TensorType::Q6K => 256,
        }
    }

    /// Bytes of one block.
    pub fn block_bytes(self) -> u64 {
        match self {
            TensorType::F32 => 4,
            TensorType::F16 | TensorType::Bf16 => 2,
            TensorType::Q4_0 => 2 + 16,           // scale, 32 x 4 bits
            TensorType::Q5_0 => 2 + 4 + 16,       // scale, 32 fifth bits, 32 x 4 bits
            TensorType::Q8_0 => 2 + 32,           // scale, 32 x 8 bits
            TensorType::Q2K => 16 + 64 + 4,       // 16 x (scale, minimum), 256 x 2 bits, two f16
            TensorType::Q3K => 32 + 64 + 12 + 2,  // 256 third bits, 256 x 2 bits, 16 x 6-bit scales, f16
            TensorType::Q4K => 4 + 12 + 128,      // two f16, 8 x 6-bit (scale, minimum), 256 x 4 bits
            TensorType::Q5K => 4 + 12 + 32 + 128, // as Q4_K, and 256 fifth bits
            TensorType::Q6K => 128 + 64 + 16 + 2, // 256 x 4 bits, 256 x 2 bits, 16 scales, f16
        }
    }

    /// The number that stands for this type in a file.
    pub fn code(self) -> u32 {
        match self {
            TensorType::F32 => 0,
            TensorType::F16 => 1,
            TensorType::Q4_0 => 2,
            TensorType::Q5_0 => 6,
            TensorType::Q8_0 => 8,
            TensorType::Q2K => 10,
            TensorType::Q3K => 11,
            TensorType::Q4K => 12,
            TensorType::Q5K => 13,
            TensorType::Q6K => 14,
            TensorType::Bf16 => 30,
        }
    }

    /// The name people use: "Q4_K".
    pub fn name(self) -> &'static str {
        match self {
            TensorType::F32 => "F32",
            TensorType::F16 => "F16",
            TensorType::Bf16 => "BF16",
            TensorType::Q4_0 => "Q4_0",
            TensorType::Q5_0 => "Q5_0",
            TensorType::Q8_0 => "Q8_0",
            TensorType::Q2K => "Q2_K",
            TensorType::Q3K => "Q3_K",
            TensorType::Q4K => "Q4_K",
            TensorType::Q5K => "Q5_K",
            TensorType::Q6K => "Q6_K",
        }
    }

    /// The type of `code`, or the name of one that is not read.
    pub(super) fn from_code(code: u32) -> Result<TensorType, &'static str> {
        let known = TensorType::ALL.into_iter().find(|kind| kind.code() == code);
        known.ok_or_else(|| {
            UNSUPPORTED
                .iter()
                .find(|(other, _)| *other == code)
                .map_or("an unknown type", |(_, name)| name)
        })
    }
}

impl fmt::Display for TensorType {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

/// Types that ggml has or had and that are not read, so that a refusal can name them.
const UNSUPPORTED: [(u32, &str); 29] = [
    (3, "Q4_1"),
    (4, "Q4_2"),
    (5, "Q4_3"),
    (7, "Q5_1"),
    (9, "Q8_1"),
    (15, "Q8_K"),
    (16, "IQ2_XXS"),
    (17, "IQ2_XS"),
    (18, "IQ3_XXS"),
    (19, "IQ1_S"),
    (20, "IQ4_NL"),
    (21, "IQ3_S"),
    (22, "IQ2_S"),
    (23, "IQ4_XS"),
    (24, "I8"),
    (25, "I16"),
    (26, "I32"),
    (27, "I64"),
    (28, "F64"),
    (29, "IQ1_M"),
    (31, "Q4_0_4_4"),
    (32, "Q4_0_4_8"),
    (33, "Q4_0_8_8"),
    (34, "TQ1_0"),
    (35, "TQ2_0"),
    (36, "IQ4_NL_4_4"),
    (39, "MXFP4"),
    (40, "NVFP4"),
    (41, "Q1_0"),
];
