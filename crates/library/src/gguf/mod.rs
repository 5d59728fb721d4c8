//! The GGUF reader: versions 2 and 3, little-endian. A file is checked whole, header against itself and against the
//! file's length, before anything large is allocated; what is handed out afterwards can be trusted to be there.

mod cursor;
mod error;
pub mod limits;
mod metadata;
mod quantisation;
mod source;
mod split;
mod tensor_type;
mod tensors;
mod value;
mod vocabulary;

#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::fmt;
use std::path::Path;

pub use error::{GgufError, Problem, Quoted};
pub use metadata::Metadata;
pub use split::SplitName;
pub use tensor_type::TensorType;
pub use tensors::TensorInfo;
pub use value::{Array, Value};
pub use vocabulary::Vocabulary;

use cursor::Cursor;
use limits::{ALIGNMENT_DEFAULT, ENTRIES_MAX, TENSORS_MAX};
use source::Source;
use tensors::Tensors;

/// One checked model, open for reading from any thread: a file, or the parts of a split one, which are read as if they
/// lay one after another. It is read, never mapped: a file that shrinks later is an error, not a signal.
pub struct Gguf {
    name: String,
    /// At least one, in order.
    parts: Vec<Part>,
    metadata: Metadata,
    tensors: Tensors,
}

/// One open file.
struct Part {
    name: String,
    source: Source,
    /// The bytes of all parts before it.
    start: u64,
}

impl Gguf {
    /// Opens and checks the file at `path`, and if it is the first part of a split one, the other parts beside it.
    ///
    /// # Errors
    /// It cannot be opened, is no regular file, or anything about it is not as [`limits`] and the format allow; it is
    /// another part than the first, or parts are missing or do not belong together.
    pub fn open(path: &Path) -> Result<Gguf, GgufError> {
        let gguf = Gguf::open_one(path)?;
        split::join(gguf, path)
    }

    /// Opens and checks one file alone.
    fn open_one(path: &Path) -> Result<Gguf, GgufError> {
        let name = path.to_string_lossy().into_owned();
        match Source::open(path) {
            Ok(source) => Gguf::check(source, name),
            Err(problem) => Err(GgufError::new(&name, problem)),
        }
    }

    /// Checks a file that is part of the program. `name` is what messages call it.
    pub fn from_static(bytes: &'static [u8], name: &str) -> Result<Gguf, GgufError> {
        split::refuse(Gguf::check(Source::memory(Cow::Borrowed(bytes)), name.to_owned())?)
    }

    /// Checks a file that is in memory. `name` is what messages call it.
    pub fn from_bytes(bytes: Vec<u8>, name: &str) -> Result<Gguf, GgufError> {
        split::refuse(Gguf::check(Source::memory(Cow::Owned(bytes)), name.to_owned())?)
    }

    /// The path or name it was opened by.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The length of the file, or of all its parts.
    pub fn file_bytes(&self) -> u64 {
        self.parts.iter().map(|part| part.source.bytes()).sum()
    }

    /// What the file says about its model.
    pub fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    /// The tensors, in the file's order; the parts' one after another.
    pub fn tensors(&self) -> &[TensorInfo] {
        self.tensors.list()
    }

    /// The tensor of that name.
    pub fn tensor(&self, name: &str) -> Option<&TensorInfo> {
        self.tensors.get(name)
    }

    /// Fills `into` with the bytes of `tensor` from `offset` (within the tensor) on.
    ///
    /// # Errors
    /// The tensor has no such bytes, the disk fails, or the file has become shorter since it was opened.
    pub fn read(&self, tensor: &TensorInfo, offset: u64, into: &mut [u8]) -> Result<(), GgufError> {
        let bytes = into.len() as u64;
        let inside = offset.checked_add(bytes).is_some_and(|end| end <= tensor.bytes);
        let after = self.parts.partition_point(|part| part.start <= tensor.offset);
        let part = after.checked_sub(1).and_then(|index| self.parts.get(index));
        let outside = || Problem::OutsideTensor {
            tensor: Quoted::new(&tensor.name),
            offset,
            bytes,
            tensor_bytes: tensor.bytes,
        };
        let Some(part) = part.filter(|_| inside) else {
            return Err(GgufError::new(&self.name, outside()));
        };
        let read = match (tensor.offset - part.start).checked_add(offset) {
            Some(position) => part.source.read_exact_at(into, position),
            None => Err(outside()),
        };
        read.map_err(|problem| GgufError::new(&part.name, problem))
    }

    /// The vocabulary, checked: see [`Vocabulary`].
    pub fn vocabulary(&self) -> Result<Vocabulary, GgufError> {
        Vocabulary::read(&self.metadata, &self.tensors)
    }

    fn check(source: Source, name: String) -> Result<Gguf, GgufError> {
        let refuse = |problem| GgufError::new(&name, problem);
        let mut cursor = Cursor::new(&source);
        let counts = read_counts(&mut cursor).map_err(refuse)?;
        let metadata = Metadata::read(&mut cursor, counts.entries, &name).map_err(refuse)?;
        let alignment = metadata.unsigned_or("general.alignment", ALIGNMENT_DEFAULT)?;
        let tensors = Tensors::read(&mut cursor, counts.tensors)
            .and_then(|tensors| tensors.place(cursor.position(), alignment, source.bytes()))
            .map_err(refuse)?;
        Ok(Gguf {
            parts: vec![Part {
                name: name.clone(),
                source,
                start: 0,
            }],
            name,
            metadata,
            tensors,
        })
    }
}

impl fmt::Debug for Gguf {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Gguf")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

/// How many things the header announces.
struct Counts {
    entries: u64,
    tensors: u64,
}

/// The smallest entry: length of the key, one byte of key, type, one byte of value.
const ENTRY_BYTES_MIN: u128 = 8 + 1 + 4 + 1;
/// The smallest tensor: length of the name, one byte of name, number of dimensions, one dimension, type, offset.
const TENSOR_BYTES_MIN: u128 = 8 + 1 + 4 + 8 + 4 + 8;

/// Reads the fixed part of the header: magic, version, counts.
fn read_counts(cursor: &mut Cursor<'_>) -> Result<Counts, Problem> {
    let magic: [u8; 4] = cursor.array("the mark of a GGUF file")?;
    if magic != *b"GGUF" {
        return Err(Problem::NotGguf {
            magic: Quoted::new(&magic.map(char::from).iter().collect::<String>()),
        });
    }
    match cursor.u32("the version")? {
        2 | 3 => {}
        // Versions are small numbers: one whose low half is zero was written the other way round.
        version if version != 0 && version & 0xffff == 0 => return Err(Problem::BigEndian),
        version => return Err(Problem::Version { version }),
    }
    let tensors = cursor.u64("the number of tensors")?;
    cursor.limit("tensors", tensors, TENSORS_MAX)?;
    let entries = cursor.u64("the number of metadata entries")?;
    cursor.limit("metadata entries", entries, ENTRIES_MAX)?;
    let needed = u128::from(entries) * ENTRY_BYTES_MIN + u128::from(tensors) * TENSOR_BYTES_MIN;
    if needed > u128::from(cursor.left()) {
        return Err(Problem::Counts {
            entries,
            tensors,
            file_bytes: cursor.file_bytes(),
        });
    }
    Ok(Counts { entries, tensors })
}
