//! Why a file is not a model that can be run, or an engine could not be built.

use kernels::KernelError;
use library::GgufError;

/// A refusal, in words for whoever chose the file or the settings.
#[derive(Debug, thiserror::Error)]
pub enum ModelsError {
    /// The file could not be read.
    #[error(transparent)]
    File(#[from] GgufError),
    /// The file holds a model of another kind.
    #[error("{file}: architecture {found:?} is not supported: use a qwen2, llama or qwen3 model")]
    Architecture {
        /// The file.
        file: String,
        /// What it says it is.
        found: String,
    },
    /// A number of the metadata is outside what is allowed.
    #[error("{file}: {key} is {found}, it must be {allowed}")]
    Setting {
        /// The file.
        file: String,
        /// The metadata key.
        key: String,
        /// Its value.
        found: String,
        /// What is allowed.
        allowed: String,
    },
    /// A tensor that the architecture needs is not there.
    #[error("{file}: tensor {name} is missing: the file is incomplete or of another kind of model")]
    MissingTensor {
        /// The file.
        file: String,
        /// The tensor.
        name: String,
    },
    /// A tensor that the architecture does not have: leaving it out would change the answers.
    #[error("{file}: tensor {name} has no place in a {architecture} model: this variant is not supported")]
    UnknownTensor {
        /// The file.
        file: String,
        /// The tensor.
        name: library::gguf::Quoted,
        /// The architecture's name.
        architecture: &'static str,
    },
    /// A tensor's shape contradicts the metadata.
    #[error("{file}: tensor {name} is {found:?} (columns first), the metadata asks for {needed:?}")]
    TensorShape {
        /// The file.
        file: String,
        /// The tensor.
        name: String,
        /// Its dimensions.
        found: Vec<u64>,
        /// The dimensions that follow from the metadata.
        needed: Vec<u64>,
    },
    /// A norm or bias in a block format.
    #[error("{file}: tensor {name} is {found}, it must be F32, F16 or BF16")]
    TensorType {
        /// The file.
        file: String,
        /// The tensor.
        name: String,
        /// Its type.
        found: &'static str,
    },
    /// More context was asked for than the model has.
    #[error("a context of {asked} tokens was asked for, it must be 1 to {allowed}: lower it")]
    Context {
        /// Tokens asked for.
        asked: usize,
        /// Tokens that the model was made for.
        allowed: usize,
    },
    /// No KV blocks, or more than block tables can name.
    #[error("a KV pool of {asked} blocks was asked for, it must be 1 to {allowed}")]
    KvBlocks {
        /// Blocks asked for.
        asked: usize,
        /// The most.
        allowed: usize,
    },
    /// A matrix with fewer rows than devices that shall share them.
    #[error(
        "tensor {tensor} has too few rows to be shared by so many devices ({rows}): use fewer or another placement"
    )]
    TooManyParts {
        /// The tensor.
        tensor: String,
        /// Its rows.
        rows: u64,
    },
    /// A card was asked for that this program cannot speak to.
    #[error("this program was built without CUDA: use the CUDA build, or `--devices cpu`")]
    NoCuda,
    /// A device could not be opened or failed.
    #[error("{device}: {reason}")]
    Device {
        /// Its name.
        device: String,
        /// What went wrong and what to do.
        reason: String,
    },
    /// A matrix, a pool or threads could not be had.
    #[error("{what}: {source}")]
    Kernel {
        /// What it was for.
        what: String,
        /// What went wrong.
        source: KernelError,
    },
}
