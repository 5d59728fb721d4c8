//! How the numbers of the cache are stored, and what that costs.

/// How keys and values are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum KvFormat {
    /// 16 bits an element.
    F16,
    /// 8-bit integers with an f16 scale for each [`KV_GROUP`] elements of a token's head: 8.5 bits an element.
    Q8_0,
}

/// Elements of a token's head that share a scale in [`KvFormat::Q8_0`]; the last group of a head may be shorter.
pub const KV_GROUP: usize = 32;

impl KvFormat {
    /// Every format.
    pub const ALL: [KvFormat; 2] = [KvFormat::F16, KvFormat::Q8_0];

    /// The name that settings use.
    pub fn name(self) -> &'static str {
        match self {
            KvFormat::F16 => "f16",
            KvFormat::Q8_0 => "q8_0",
        }
    }

    /// The format of that name.
    pub fn from_name(name: &str) -> Option<KvFormat> {
        KvFormat::ALL.into_iter().find(|format| format.name() == name)
    }

    /// Bytes of the keys (or the values) of one head of one token.
    pub fn head_bytes(self, head_dim: usize) -> usize {
        match self {
            KvFormat::F16 => 2 * head_dim,
            KvFormat::Q8_0 => head_dim + 2 * head_dim.div_ceil(KV_GROUP),
        }
    }
}
