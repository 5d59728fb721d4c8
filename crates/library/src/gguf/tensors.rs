//! The list of tensors: shapes and places, checked against each other and against the file.

use std::collections::HashMap;

use super::cursor::Cursor;
use super::error::{Problem, Quoted};
use super::limits::{ALIGNMENT_MAX, ALIGNMENT_MIN, DIMS_MAX, TENSOR_NAME_BYTES_MAX};
use super::tensor_type::TensorType;

/// One tensor: what it is called, its shape, and where its bytes are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TensorInfo {
    /// Its name, unique in the file.
    pub name: String,
    /// Its dimensions, the innermost (columns) first; one to four, none zero.
    pub dims: Vec<u64>,
    /// How its numbers are stored.
    pub kind: TensorType,
    /// Its first byte, counted from the start of the file, or of the first part as if the others followed it.
    pub offset: u64,
    /// How many bytes it has.
    pub bytes: u64,
}

impl TensorInfo {
    /// The length of a row: the innermost dimension.
    pub fn columns(&self) -> u64 {
        self.dims.first().copied().unwrap_or(1)
    }

    /// How many rows there are: the product of the other dimensions, 1 for a vector.
    pub fn rows(&self) -> u64 {
        self.dims.iter().skip(1).product()
    }

    /// How many numbers it holds.
    pub fn elements(&self) -> u64 {
        self.dims.iter().product()
    }

    /// Reads one entry. Its offset still counts from the start of the tensor data.
    fn read(cursor: &mut Cursor<'_>) -> Result<TensorInfo, Problem> {
        let name = cursor.name("a tensor name", "bytes in a tensor name", TENSOR_NAME_BYTES_MAX)?;
        let dims = read_dims(cursor, &name)?;
        let code = cursor.u32("a tensor's type")?;
        let offset = cursor.u64("a tensor's offset")?;
        let kind = TensorType::from_code(code).map_err(|kind| Problem::TensorType {
            tensor: Quoted::new(&name),
            code,
            name: kind,
        })?;
        let columns = dims.first().copied().unwrap_or(1);
        if columns % kind.block_elements() != 0 {
            return Err(Problem::PartialBlock {
                tensor: Quoted::new(&name),
                columns,
                kind,
            });
        }
        let bytes = bytes_of(&dims, kind).ok_or_else(|| Problem::TensorSize {
            tensor: Quoted::new(&name),
            dims: dims.clone(),
        })?;
        Ok(TensorInfo {
            name,
            dims,
            kind,
            offset,
            bytes,
        })
    }
}

fn read_dims(cursor: &mut Cursor<'_>, name: &str) -> Result<Vec<u64>, Problem> {
    let found = cursor.u32("a tensor's number of dimensions")?;
    if found == 0 || found > DIMS_MAX {
        return Err(Problem::Dims {
            tensor: Quoted::new(name),
            found,
        });
    }
    let dims = (0..found)
        .map(|_| cursor.u64("a tensor's dimensions"))
        .collect::<Result<Vec<_>, _>>()?;
    if dims.contains(&0) {
        return Err(Problem::ZeroDim {
            tensor: Quoted::new(name),
            dims,
        });
    }
    Ok(dims)
}

/// None if the elements or the bytes overflow u64. The columns are whole blocks.
fn bytes_of(dims: &[u64], kind: TensorType) -> Option<u64> {
    let elements = dims.iter().try_fold(1_u64, |product, dim| product.checked_mul(*dim))?;
    (elements / kind.block_elements()).checked_mul(kind.block_bytes())
}

/// The tensors of one file in its order, each found by name.
#[derive(Debug)]
pub(super) struct Tensors {
    list: Vec<TensorInfo>,
    index: HashMap<String, usize>,
}

impl Tensors {
    /// Reads `count` entries, a count the caller has checked, without looking at their places yet.
    pub(super) fn read(cursor: &mut Cursor<'_>, count: u64) -> Result<Tensors, Problem> {
        let mut list = Vec::with_capacity(usize::try_from(count).unwrap_or(0));
        let mut index = HashMap::with_capacity(list.capacity());
        for position in 0..count {
            let tensor = TensorInfo::read(cursor)?;
            if index
                .insert(tensor.name.clone(), usize::try_from(position).unwrap_or(0))
                .is_some()
            {
                return Err(Problem::DuplicateTensor {
                    tensor: Quoted::new(&tensor.name),
                });
            }
            list.push(tensor);
        }
        Ok(Tensors { list, index })
    }

    /// Turns offsets into places in a file of `file_bytes` bytes whose header ends at `header_end`: all aligned, all
    /// inside the file, none sharing a byte with another.
    pub(super) fn place(mut self, header_end: u64, alignment: u64, file_bytes: u64) -> Result<Tensors, Problem> {
        if !alignment.is_power_of_two() || !(ALIGNMENT_MIN..=ALIGNMENT_MAX).contains(&alignment) {
            return Err(Problem::Alignment { found: alignment });
        }
        let data_start = u128::from(header_end).next_multiple_of(alignment.into());
        for tensor in &mut self.list {
            if tensor.offset % alignment != 0 {
                let (tensor, offset) = (Quoted::new(&tensor.name), tensor.offset);
                return Err(Problem::Misaligned {
                    tensor,
                    offset,
                    alignment,
                });
            }
            let start = data_start + u128::from(tensor.offset);
            let needed = start + u128::from(tensor.bytes);
            tensor.offset = u64::try_from(start)
                .ok()
                .filter(|_| needed <= file_bytes.into())
                .ok_or_else(|| Problem::OutsideFile {
                    tensor: Quoted::new(&tensor.name),
                    needed,
                    file_bytes,
                })?;
        }
        self.require_apart()?;
        Ok(self)
    }

    fn require_apart(&self) -> Result<(), Problem> {
        let mut by_place: Vec<&TensorInfo> = self.list.iter().collect();
        by_place.sort_by_key(|tensor| tensor.offset);
        for pair in by_place.windows(2) {
            // Both ends were checked to lie in the file: the sum does not overflow.
            if let [first, second] = pair
                && first.offset + first.bytes > second.offset
            {
                let (first, second) = (Quoted::new(&first.name), Quoted::new(&second.name));
                return Err(Problem::Overlap { first, second });
            }
        }
        Ok(())
    }

    /// Adds the tensors of the part that begins `start` bytes after the first one's beginning.
    pub(super) fn append(&mut self, part: Tensors, start: u64) -> Result<(), Problem> {
        for mut tensor in part.list {
            // Both were checked to lie in files whose lengths have a sum.
            tensor.offset = tensor.offset.saturating_add(start);
            if self.index.insert(tensor.name.clone(), self.list.len()).is_some() {
                return Err(Problem::DuplicateTensor {
                    tensor: Quoted::new(&tensor.name),
                });
            }
            self.list.push(tensor);
        }
        Ok(())
    }

    pub(super) fn list(&self) -> &[TensorInfo] {
        &self.list
    }

    pub(super) fn get(&self, name: &str) -> Option<&TensorInfo> {
        self.list.get(*self.index.get(name)?)
    }
}
