//! The sizes beyond which a file or a setting is refused, whatever it says.

/// Decoder layers at most.
pub const LAYERS_MAX: u64 = 256;
/// Elements of the residual stream at most.
pub const HIDDEN_MAX: u64 = 1 << 16;
/// Elements of the feed-forward layer at most.
pub const FFN_MAX: u64 = 1 << 20;
/// Tokens of the vocabulary at most.
pub const VOCABULARY_MAX: u64 = 1 << 22;
/// Tokens of context at most.
pub const CONTEXT_TOKENS_MAX: u64 = 1 << 20;

/// KV blocks of a pool at most: block ids are u32, and 2^24 blocks are 268 million tokens.
pub const KV_BLOCKS_MAX: usize = 1 << 24;
