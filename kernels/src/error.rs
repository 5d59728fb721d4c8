//! What a door refuses.

/// Why a kernel did not run: a mistake of the caller, found before anything was computed, or a machine that is too
/// small.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KernelError {
    /// A buffer's length does not follow from the shapes given.
    #[error("{what} has {found} elements, its shape needs {needed}")]
    Length {
        /// The buffer.
        what: &'static str,
        /// Its elements.
        found: usize,
        /// The elements that its shape needs.
        needed: usize,
    },
    /// Two sizes that must agree do not.
    #[error("{what} is {found}, it must be {allowed}")]
    Size {
        /// The size.
        what: &'static str,
        /// What it is.
        found: usize,
        /// What it may be.
        allowed: String,
    },
    /// An index is past the end of what it points into.
    #[error("{what} {found} is out of range: there are {limit}")]
    Range {
        /// What the index counts.
        what: &'static str,
        /// The index.
        found: usize,
        /// The number of things it may point at.
        limit: usize,
    },
    /// The memory for a matrix was not to be had.
    #[error("no memory for a matrix of {bytes} bytes")]
    NoMemory {
        /// The bytes asked for.
        bytes: usize,
    },
    /// The system started fewer threads than a team needs.
    #[error("cannot start a team of {threads} threads: {reason}")]
    Threads {
        /// Threads asked for, the caller included.
        threads: usize,
        /// The system's words.
        reason: String,
    },
}

/// Passes if `found == needed`.
pub(crate) fn expect_length(what: &'static str, found: usize, needed: usize) -> Result<(), KernelError> {
    if found == needed {
        Ok(())
    } else {
        Err(KernelError::Length { what, found, needed })
    }
}

/// Passes if `index < limit`.
pub(crate) fn expect_below(what: &'static str, found: usize, limit: usize) -> Result<(), KernelError> {
    if found < limit {
        Ok(())
    } else {
        Err(KernelError::Range { what, found, limit })
    }
}
