//! How much of a file is believed: every limit of the reader, by name.
//!
//! The real files they must admit: about 50 metadata entries, up to 514,906 merges and 262,144 tokens (Gemma), 7 MB of
//! header (the DeepSeek-R1 Qwen vocabulary), about 1,100 tensors (DeepSeek-V3), texts of 10 MB (an embedded
//! `tokenizer.json`).

/// Bytes from the start of the file to the end of its list of tensors.
pub const HEADER_BYTES_MAX: u64 = 64 << 20;
/// Metadata entries in one file.
pub const ENTRIES_MAX: u64 = 16_384;
/// Tensors in one file.
pub const TENSORS_MAX: u64 = 65_536;
/// Parts of one model, each of them an open file.
pub const PARTS_MAX: u64 = 256;
/// Bytes of a metadata key; the format's own limit.
pub const KEY_BYTES_MAX: u64 = 65_535;
/// Bytes of one metadata text, alone or in an array.
pub const TEXT_BYTES_MAX: u64 = 16 << 20;
/// Elements of one metadata array.
pub const ARRAY_ELEMENTS_MAX: u64 = 4 << 20;
/// Bytes of a tensor's name; the format says 64, some writers use 128.
pub const TENSOR_NAME_BYTES_MAX: u64 = 256;
/// Dimensions of a tensor.
pub const DIMS_MAX: u32 = 4;
/// The smallest accepted `general.alignment`; the format wants a multiple of 8.
pub const ALIGNMENT_MIN: u64 = 8;
/// The largest accepted `general.alignment`.
pub const ALIGNMENT_MAX: u64 = 1 << 20;
/// The alignment of a file that states none.
pub const ALIGNMENT_DEFAULT: u64 = 32;
/// Bytes of a name or path from the file that an error message shows, after escaping.
pub const QUOTED_BYTES_MAX: usize = 200;
/// Bytes of any error's text. Two quoted names, a path and the longest sentence fit with room to spare.
pub const ERROR_BYTES_MAX: usize = 2_000;
