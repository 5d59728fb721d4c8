//! Models of the Hugging Face hub, `hf:owner/repo[:file]`: their names, which of a repository's files is meant, and where
//! the hub's own tools keep what they have downloaded. Only a pull writes to that cache.

mod cache;
mod choose;
mod error;
mod name;

#[cfg(test)]
mod tests;

pub use cache::{Cached, HubCache};
pub use choose::choose;
pub use error::HubError;
pub use name::HubName;
pub(crate) use name::is_file;
