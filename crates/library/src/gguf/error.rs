//! What can be wrong with a GGUF file, in words short enough for a log line whatever the file says.

use std::fmt;
use std::io;

use super::limits::{ALIGNMENT_MAX, ALIGNMENT_MIN, DIMS_MAX, QUOTED_BYTES_MAX};
use super::tensor_type::TensorType;

/// A file that is refused or could not be read: which one and why. Its text is at most
/// [`ERROR_BYTES_MAX`](super::limits::ERROR_BYTES_MAX) bytes.
#[derive(Debug, thiserror::Error)]
#[error("{file}: {problem}")]
pub struct GgufError {
    /// The path or name the file was opened by.
    pub file: Quoted,
    /// What is wrong with it.
    #[source]
    pub problem: Box<Problem>,
}

impl GgufError {
    pub(super) fn new(file: &str, problem: Problem) -> GgufError {
        GgufError {
            file: Quoted::tail(file),
            problem: Box::new(problem),
        }
    }
}

/// A name from outside, made safe to show: control and invisible characters escaped, cut to
/// [`QUOTED_BYTES_MAX`] bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quoted(String);

impl Quoted {
    /// Keeps the beginning of a long name.
    pub fn new(name: &str) -> Quoted {
        let mut shown = String::new();
        for character in name.chars() {
            let escaped = character.escape_debug();
            if shown.len() + escaped.clone().map(char::len_utf8).sum::<usize>() > QUOTED_BYTES_MAX {
                shown.push('…');
                break;
            }
            shown.extend(escaped);
        }
        Quoted(shown)
    }

    /// Keeps the end of a long path: its file name.
    fn tail(path: &str) -> Quoted {
        let mut kept = path.len();
        let mut shown_bytes = 0;
        for (index, character) in path.char_indices().rev() {
            shown_bytes += character.escape_debug().map(char::len_utf8).sum::<usize>();
            if shown_bytes > QUOTED_BYTES_MAX {
                break;
            }
            kept = index;
        }
        let end = Quoted::new(path.get(kept..).unwrap_or_default());
        if kept == 0 { end } else { Quoted(format!("…{end}")) }
    }
}

impl fmt::Display for Quoted {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// What is wrong with a GGUF file.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
#[expect(missing_docs, reason = "the message above each field says what it holds")]
pub enum Problem {
    /// The path does not open.
    #[error("cannot be opened: {0}")]
    Open(#[source] io::Error),
    /// A directory, device, pipe or socket.
    #[error("is {kind}: a model is one regular file, give the path of the .gguf file itself")]
    NotAFile { kind: &'static str },
    /// Another format.
    #[error("is not a GGUF file: it begins with `{magic}`, not with `GGUF`; give a .gguf file")]
    NotGguf { magic: Quoted },
    /// Written for big-endian machines.
    #[error("is a big-endian GGUF file: only little-endian ones are read, download or convert that variant")]
    BigEndian,
    /// A version of the format other than 2 and 3.
    #[error("is GGUF version {version}: versions 2 and 3 are read, convert the model again with a current llama.cpp")]
    Version { version: u32 },
    /// One of several files that together are a model, where only one can be had.
    #[error("is one of {parts} parts of a model, and the others cannot be looked for: give the path of the first file")]
    Split { parts: u64 },
    /// A part of a model that is not the first.
    #[error("is part {number} of {parts} of a model: name the first part, `{first}`")]
    LaterPart { number: u64, parts: u64, first: Quoted },
    /// A first part whose name does not tell the others'.
    #[error(
        "is the first of {parts} parts of a model, and the others are looked for by its name: call it \
         `NAME-00001-of-{parts:05}.gguf` and the others likewise"
    )]
    SplitName { parts: u64 },
    /// Parts that are not there.
    #[error("is the first of {parts} parts of a model, {missing} of which are not beside it: download `{names}`")]
    MissingParts { parts: u64, missing: usize, names: Quoted },
    /// A part of something else.
    #[error(
        "has `{key}` {found} where the other parts of the model need {expected}: it belongs to another model or is \
         damaged, download it again"
    )]
    OtherPart {
        key: &'static str,
        found: u64,
        expected: u64,
    },
    /// Too few or too many tensors in all parts.
    #[error(
        "and the other parts have {found} tensors together, `split.tensors.count` says {expected}: download them again"
    )]
    SplitTensors { found: usize, expected: u64 },

    /// The file ends before something it announces.
    #[error(
        "ends too early: {what} at byte {position} needs {needed} bytes and {left} are left; the copy is incomplete or damaged, download it again"
    )]
    Cut {
        what: &'static str,
        position: u64,
        needed: u64,
        left: u64,
    },
    /// The header announces more things than the file has room for.
    #[error(
        "announces {entries} metadata entries and {tensors} tensors, which cannot fit its {file_bytes} bytes; it is damaged, download it again"
    )]
    Counts {
        entries: u64,
        tensors: u64,
        file_bytes: u64,
    },
    /// One of the limits of [`limits`](super::limits).
    #[error("has {found} {what} (near byte {position}): at most {allowed} are accepted, which no known model exceeds")]
    Limit {
        what: &'static str,
        found: u64,
        allowed: u64,
        position: u64,
    },
    /// The disk failed, or the file became shorter after it was opened.
    #[error("could not be read at byte {position}: {source}; check the disk and that nothing writes to the file")]
    Read {
        position: u64,
        #[source]
        source: io::Error,
    },

    /// A text that is not UTF-8.
    #[error(
        "has {what} at byte {position} that is not UTF-8: the file is damaged or its converter was, get another copy"
    )]
    NotUtf8 { what: &'static str, position: u64 },
    /// A key or tensor without a name.
    #[error("has {what} without a name at byte {position}: it is damaged, download it again")]
    NoName { what: &'static str, position: u64 },
    /// A metadata value of a type the format does not define.
    #[error(
        "metadata `{key}` has value type {code}: the format defines 0 to 12, the file is damaged or from a newer format"
    )]
    ValueType { key: Quoted, code: u32 },
    /// An array of arrays.
    #[error("metadata `{key}` is an array of arrays: arrays of plain values are read, convert the model again")]
    NestedArray { key: Quoted },
    /// A boolean that is neither.
    #[error("metadata `{key}` has a boolean of value {byte}: 0 and 1 are allowed, the file is damaged")]
    Boolean { key: Quoted, byte: u8 },
    /// The same key twice: readers would disagree about the value.
    #[error("has metadata `{key}` twice: each key may appear once, convert the model again")]
    DuplicateKey { key: Quoted },
    /// `general.alignment` is unusable.
    #[error("has `general.alignment` {found}: a power of two from {ALIGNMENT_MIN} to {ALIGNMENT_MAX} is allowed")]
    Alignment { found: u64 },

    /// A required key is not there.
    #[error("lacks metadata `{key}`: the model cannot be run without it, use a complete conversion of the model")]
    MissingKey { key: Quoted },
    /// A key has another type than its meaning needs.
    #[error("metadata `{key}` is {found}, {wanted} is needed: use another conversion of the model")]
    WrongType {
        key: Quoted,
        found: String,
        wanted: &'static str,
    },

    /// The same tensor twice.
    #[error("has tensor `{tensor}` twice: each name may appear once, convert the model again")]
    DuplicateTensor { tensor: Quoted },
    /// Too few or too many dimensions.
    #[error("tensor `{tensor}` has {found} dimensions: 1 to {DIMS_MAX} are allowed")]
    Dims { tensor: Quoted, found: u32 },
    /// A dimension of zero.
    #[error("tensor `{tensor}` has dimensions {dims:?}: none may be zero, the file is damaged")]
    ZeroDim { tensor: Quoted, dims: Vec<u64> },
    /// More elements than can be counted.
    #[error(
        "tensor `{tensor}` has dimensions {dims:?}: their product is more than any file holds, the file is damaged"
    )]
    TensorSize { tensor: Quoted, dims: Vec<u64> },
    /// A storage type that is not read.
    #[error(
        "tensor `{tensor}` is stored as {name} (type {code}), which is not supported: use a file quantised as Q4_K_M, Q5_K_M, Q6_K, Q8_0, or in F16"
    )]
    TensorType {
        tensor: Quoted,
        code: u32,
        name: &'static str,
    },
    /// A row that ends inside a quantisation block.
    #[error("tensor `{tensor}` has rows of {columns} elements: {kind} stores blocks of {}, rows must be a multiple of that", kind.block_elements())]
    PartialBlock {
        tensor: Quoted,
        columns: u64,
        kind: TensorType,
    },
    /// A tensor that does not begin on the alignment.
    #[error(
        "tensor `{tensor}` begins at offset {offset}, not a multiple of the alignment {alignment}: the file is damaged"
    )]
    Misaligned {
        tensor: Quoted,
        offset: u64,
        alignment: u64,
    },
    /// A tensor that the file is too short for.
    #[error(
        "ends too early: tensor `{tensor}` needs it to have {needed} bytes and it has {file_bytes}; the copy is incomplete, download it again"
    )]
    OutsideFile {
        tensor: Quoted,
        needed: u128,
        file_bytes: u64,
    },
    /// Two tensors share bytes.
    #[error("tensors `{first}` and `{second}` overlap: the file is damaged or forged, get another copy")]
    Overlap { first: Quoted, second: Quoted },
    /// A request for bytes that the tensor does not have: a mistake of the caller.
    #[error("tensor `{tensor}` has {tensor_bytes} bytes: {bytes} bytes from {offset} on are not in it")]
    OutsideTensor {
        tensor: Quoted,
        offset: u64,
        bytes: u64,
        tensor_bytes: u64,
    },

    /// An empty vocabulary.
    #[error("has an empty `tokenizer.ggml.tokens`: at least one token is needed")]
    NoTokens,
    /// Tokens and types do not pair up.
    #[error("has {tokens} tokens and {types} token types: each token needs one type, convert the model again")]
    TypesLength { tokens: usize, types: usize },
    /// A token type the format does not define.
    #[error("token {index} has type {found}: 1 to 6 are allowed")]
    TokenType { index: usize, found: u64 },
    /// Two ids for one text: encoding would depend on which one a reader keeps.
    #[error(
        "tokens {first} and {second} are both `{token}`: each token's text must be its own, convert the model again"
    )]
    DuplicateToken { first: usize, second: usize, token: Quoted },
    /// The weights know another number of tokens.
    #[error("has {tokens} tokens and {rows} rows in `{tensor}`: the two must be equal, convert the model again")]
    Rows {
        tensor: &'static str,
        rows: u64,
        tokens: usize,
    },
    /// A special token that is not in the vocabulary.
    #[error("metadata `{key}` is {found}: token ids go from 0 to {last}")]
    TokenId {
        key: &'static str,
        found: String,
        last: usize,
    },
    /// Nothing would ever end a reply.
    #[error(
        "lacks metadata `tokenizer.ggml.eos_token_id`: without it no reply ends, use a complete conversion of the model"
    )]
    NoEndToken,
    /// A begin token is asked for and not named.
    #[error(
        "asks for a begin token (`tokenizer.ggml.add_bos_token`) and lacks `tokenizer.ggml.bos_token_id`: convert the model again"
    )]
    NoBeginToken,
    /// A merge that is not two parts.
    #[error("merge {index} is `{merge}`: two parts with one space between are needed")]
    Merge { index: usize, merge: Quoted },
}
