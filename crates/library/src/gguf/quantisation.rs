//! What people call the way a file's weights are stored.

use super::{Gguf, Value};

impl Gguf {
    /// The name of `general.file_type`, as llama.cpp numbers them; else of the kind that holds most bytes.
    pub fn quantisation(&self) -> &'static str {
        let number = self.metadata().get("general.file_type").and_then(Value::as_unsigned);
        let named = number.and_then(|number| match number {
            0 => Some("F32"),
            1 => Some("F16"),
            2 => Some("Q4_0"),
            7 => Some("Q8_0"),
            8 => Some("Q5_0"),
            10 => Some("Q2_K"),
            11 => Some("Q3_K_S"),
            12 => Some("Q3_K_M"),
            13 => Some("Q3_K_L"),
            14 => Some("Q4_K_S"),
            15 => Some("Q4_K_M"),
            16 => Some("Q5_K_S"),
            17 => Some("Q5_K_M"),
            18 => Some("Q6_K"),
            32 => Some("BF16"),
            _ => None,
        });
        named.unwrap_or_else(|| self.most_bytes())
    }

    fn most_bytes(&self) -> &'static str {
        let mut kinds: Vec<(&str, u64)> = Vec::new();
        for tensor in self.tensors() {
            let name = tensor.kind.name();
            match kinds.iter_mut().find(|(kind, _)| *kind == name) {
                Some((_, bytes)) => *bytes = bytes.saturating_add(tensor.bytes),
                None => kinds.push((name, tensor.bytes)),
            }
        }
        let largest = kinds.into_iter().max_by_key(|(_, bytes)| *bytes);
        largest.map_or("empty", |(kind, _)| kind)
    }
}
