//! A registry's manifest: which blobs a model is made of, none of them of an absurd size, each with a digest fit to be a
//! file's name.

use serde::Deserialize;

use super::error::PullError;
use crate::Quoted;
use crate::store::Digest;

/// Blobs of a model at most.
const LAYERS_MAX: usize = 256;
/// Bytes of a blob that is not weights, at most.
const SMALL_BYTES_MAX: u64 = 4 << 20;
/// Bytes of weights at most: more than any disk that this runs on has.
const WEIGHTS_BYTES_MAX: u64 = 1 << 44;

/// One blob to have.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Blob {
    #[serde(rename = "mediaType")]
    media_type: String,
    pub(super) digest: Digest,
    #[serde(rename = "size")]
    pub(super) bytes: u64,
}

#[derive(Deserialize)]
struct Written {
    config: Blob,
    layers: Vec<Blob>,
}

impl Blob {
    fn kind(&self) -> &str {
        let kind = self.media_type.strip_prefix("application/vnd.ollama.image.");
        kind.unwrap_or_default()
    }

    fn bytes_max(&self) -> u64 {
        match self.kind() {
            "model" | "projector" => WEIGHTS_BYTES_MAX,
            _ => SMALL_BYTES_MAX,
        }
    }
}

/// The blobs of a model by its manifest, each once, in the order in which they are to be fetched.
pub(super) fn blobs(host: &str, manifest: &[u8]) -> Result<Vec<Blob>, PullError> {
    let malformed = |cause: &str| PullError::Malformed {
        host: host.to_owned(),
        what: "a manifest",
        cause: Quoted::new(cause),
    };
    let written: Written = serde_json::from_slice(manifest).map_err(|error| malformed(&error.to_string()))?;
    if written.layers.len() > LAYERS_MAX {
        return Err(malformed(&format!("it has more than {LAYERS_MAX} layers")));
    }
    if written.layers.iter().filter(|blob| blob.kind() == "model").count() != 1 {
        return Err(PullError::NotGguf);
    }
    if written.layers.iter().any(|blob| blob.kind() == "adapter") {
        return Err(PullError::Adapter);
    }
    let mut blobs: Vec<Blob> = Vec::new();
    for blob in written.layers.into_iter().chain([written.config]) {
        if blob.bytes > blob.bytes_max() {
            return Err(malformed(&format!(
                "a layer has {} bytes, too many for what it is",
                blob.bytes
            )));
        }
        match blobs.iter().find(|known| known.digest == blob.digest) {
            None => blobs.push(blob),
            Some(known) if known.bytes == blob.bytes => {}
            Some(_) => return Err(malformed("two layers of one digest have different sizes")),
        }
    }
    Ok(blobs)
}
