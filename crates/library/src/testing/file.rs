//! Writes small GGUF files, byte for byte as asked.

use std::io;
use std::path::Path;

use crate::gguf::TensorType;
use crate::gguf::limits::ALIGNMENT_DEFAULT;

/// A GGUF file being put together. Every method takes and returns it; [`bytes`](GgufFile::bytes) gives the file.
///
/// What is said is written, right or wrong: nothing here checks anything.
#[derive(Clone, Debug)]
pub struct GgufFile {
    version: u32,
    alignment: u64,
    entries: Vec<Vec<u8>>,
    tensors: Vec<Tensor>,
    announced_entries: Option<u64>,
    announced_tensors: Option<u64>,
}

#[derive(Clone, Debug)]
struct Tensor {
    name: String,
    dims: Vec<u64>,
    code: u32,
    offset: Option<u64>,
    bytes: Vec<u8>,
}

impl Default for GgufFile {
    fn default() -> GgufFile {
        GgufFile::new()
    }
}

impl GgufFile {
    /// A file of version 3 with nothing in it.
    pub fn new() -> GgufFile {
        GgufFile {
            version: 3,
            alignment: ALIGNMENT_DEFAULT,
            entries: Vec::new(),
            tensors: Vec::new(),
            announced_entries: None,
            announced_tensors: None,
        }
    }

    /// Another version in the header.
    pub fn version(self, version: u32) -> GgufFile {
        GgufFile { version, ..self }
    }

    /// An entry of any type code and bytes.
    pub fn entry(mut self, key: &str, code: u32, value: &[u8]) -> GgufFile {
        let mut entry = text_bytes(key);
        entry.extend(code.to_le_bytes());
        entry.extend(value);
        self.entries.push(entry);
        self
    }

    /// A text.
    pub fn text(self, key: &str, value: &str) -> GgufFile {
        self.entry(key, 8, &text_bytes(value))
    }

    /// A u32.
    pub fn unsigned(self, key: &str, value: u32) -> GgufFile {
        self.entry(key, 4, &value.to_le_bytes())
    }

    /// An i32.
    pub fn signed(self, key: &str, value: i32) -> GgufFile {
        self.entry(key, 5, &value.to_le_bytes())
    }

    /// An f32.
    pub fn float(self, key: &str, value: f32) -> GgufFile {
        self.entry(key, 6, &value.to_le_bytes())
    }

    /// A boolean.
    pub fn flag(self, key: &str, value: bool) -> GgufFile {
        self.entry(key, 7, &[u8::from(value)])
    }

    /// An array of any element type code, announced length and bytes.
    pub fn array(self, key: &str, code: u32, elements: u64, bytes: &[u8]) -> GgufFile {
        let mut value = code.to_le_bytes().to_vec();
        value.extend(elements.to_le_bytes());
        value.extend(bytes);
        self.entry(key, 9, &value)
    }

    /// An array of texts.
    pub fn texts<T: AsRef<str>>(self, key: &str, values: &[T]) -> GgufFile {
        let bytes: Vec<u8> = values.iter().flat_map(|value| text_bytes(value.as_ref())).collect();
        self.array(key, 8, values.len() as u64, &bytes)
    }

    /// An array of i32.
    pub fn integers(self, key: &str, values: &[i32]) -> GgufFile {
        let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        self.array(key, 5, values.len() as u64, &bytes)
    }

    /// The entries of a byte-level BPE vocabulary whose last token is its only control token and its end token.
    pub fn vocabulary<T: AsRef<str>>(self, tokens: &[T], merges: &[&str]) -> GgufFile {
        let last = tokens.len().saturating_sub(1);
        let types: Vec<i32> = (0..tokens.len())
            .map(|index| if index == last { 3 } else { 1 })
            .collect();
        self.text("tokenizer.ggml.model", "gpt2")
            .text("tokenizer.ggml.pre", "qwen2")
            .texts("tokenizer.ggml.tokens", tokens)
            .integers("tokenizer.ggml.token_type", &types)
            .texts("tokenizer.ggml.merges", merges)
            .unsigned("tokenizer.ggml.eos_token_id", u32::try_from(last).unwrap_or(u32::MAX))
    }

    /// A tensor, behind those before it. `dims` has the columns first.
    pub fn tensor(self, name: &str, dims: &[u64], kind: TensorType, bytes: Vec<u8>) -> GgufFile {
        self.tensor_of_code(name, dims, kind.code(), bytes)
    }

    /// A tensor of zeros, as many bytes as its shape says.
    pub fn zeros(self, name: &str, dims: &[u64], kind: TensorType) -> GgufFile {
        let bytes = dims.iter().product::<u64>() / kind.block_elements() * kind.block_bytes();
        self.tensor(name, dims, kind, vec![0; usize::try_from(bytes).unwrap_or(0)])
    }

    /// A tensor of any type code.
    pub fn tensor_of_code(mut self, name: &str, dims: &[u64], code: u32, bytes: Vec<u8>) -> GgufFile {
        self.tensors.push(Tensor {
            name: name.to_owned(),
            dims: dims.to_vec(),
            code,
            offset: None,
            bytes,
        });
        self
    }

    /// Says that the last tensor is at `offset`, wherever its bytes are.
    pub fn at_offset(mut self, offset: u64) -> GgufFile {
        if let Some(tensor) = self.tensors.last_mut() {
            tensor.offset = Some(offset);
        }
        self
    }

    /// Aligns tensors to `alignment`, at least 1, and says so.
    pub fn alignment(self, alignment: u32) -> GgufFile {
        GgufFile {
            alignment: alignment.into(),
            ..self
        }
        .unsigned("general.alignment", alignment)
    }

    /// Announces another number of metadata entries than there are.
    pub fn announced_entries(self, entries: u64) -> GgufFile {
        GgufFile {
            announced_entries: Some(entries),
            ..self
        }
    }

    /// Announces another number of tensors than there are.
    pub fn announced_tensors(self, tensors: u64) -> GgufFile {
        GgufFile {
            announced_tensors: Some(tensors),
            ..self
        }
    }

    /// The file.
    pub fn bytes(&self) -> Vec<u8> {
        let mut file = b"GGUF".to_vec();
        file.extend(self.version.to_le_bytes());
        file.extend(
            self.announced_tensors
                .unwrap_or(self.tensors.len() as u64)
                .to_le_bytes(),
        );
        file.extend(
            self.announced_entries
                .unwrap_or(self.entries.len() as u64)
                .to_le_bytes(),
        );
        self.entries.iter().for_each(|entry| file.extend(entry));
        let mut data = Vec::new();
        for tensor in &self.tensors {
            file.extend(text_bytes(&tensor.name));
            file.extend(u32::try_from(tensor.dims.len()).unwrap_or(u32::MAX).to_le_bytes());
            tensor.dims.iter().for_each(|dim| file.extend(dim.to_le_bytes()));
            file.extend(tensor.code.to_le_bytes());
            file.extend(tensor.offset.unwrap_or(data.len() as u64).to_le_bytes());
            data.extend(&tensor.bytes);
            self.pad(&mut data);
        }
        if !self.tensors.is_empty() {
            self.pad(&mut file);
        }
        file.extend(data);
        file
    }

    /// Writes the file to `path`.
    pub fn write(&self, path: &Path) -> io::Result<()> {
        std::fs::write(path, self.bytes())
    }

    fn pad(&self, bytes: &mut Vec<u8>) {
        let padded = (bytes.len() as u64).next_multiple_of(self.alignment.max(1));
        bytes.resize(usize::try_from(padded).unwrap_or(usize::MAX), 0);
    }
}

/// A text as the format writes it: length, then bytes.
fn text_bytes(text: &str) -> Vec<u8> {
    let mut bytes = (text.len() as u64).to_le_bytes().to_vec();
    bytes.extend(text.as_bytes());
    bytes
}
