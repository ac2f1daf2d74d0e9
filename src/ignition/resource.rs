//! Contents that a configuration carries in itself: into a resource and out of one.

use std::io::{Read, Write};

use flate2::Compression;
use flate2::read::MultiGzDecoder;
use flate2::write::GzEncoder;
use serde_json::{Value, json};
use sha2::{Digest, Sha256, Sha512};

use super::data_url::{self, DataUrlError};

/// Bytes of a content that are taken out of a config. Contents are held in memory, and a config that
/// carries more than this unpacks to a bomb rather than to a file.
pub const CONTENT_MAX_BYTES: usize = 64 << 20;

/// A function that `verification.hash` can name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HashFunction {
    /// Since spec 3.1.0.
    Sha256,
    /// In all specs.
    Sha512,
}

/// Why a resource's content is not to be had.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ResourceError {
    /// It would have to be fetched.
    #[error("the content is at {0:?}, not in the config")]
    Elsewhere(String),
    /// The URL is none.
    #[error("the content is in {0}")]
    DataUrl(DataUrlError),
    /// It says gzip and isn't.
    #[error("the content is not gzip: {0}")]
    Gzip(std::io::Error),
    /// Another compression than gzip.
    #[error("the content's compression {0:?} is none that Ignition knows")]
    Compression(String),
    /// Too large.
    #[error("the content has more than {limit} bytes")]
    TooLarge {
        /// What is taken.
        limit: usize,
    },
    /// It is not what it should be.
    #[error("the content has hash {found}, not {wanted}")]
    Hash {
        /// What the config says.
        wanted: String,
        /// What the content has.
        found: String,
    },
    /// The hash is of no function that Ignition knows.
    #[error("hash {0:?} is neither sha256-… nor sha512-…")]
    HashFunction(String),
}

/// A resource with that content, in whichever form is the shortest. The compression is always named:
/// without it, a resource that is merged over another one is read with the other one's.
pub fn resource(content: &[u8], hash: Option<HashFunction>) -> Value {
    let plain = data_url::encode(content);
    let zipped = data_url::encode(&gzip(content));
    let (source, compression) = if zipped.len() + "gzip".len() < plain.len() {
        (zipped, "gzip")
    } else {
        (plain, "")
    };
    let mut resource = json!({"compression": compression, "source": source});
    if let Some(function) = hash {
        resource["verification"] = json!({"hash": hash_of(content, function)});
    }
    resource
}

/// The content of a resource, unpacked and verified; none if it has no source.
pub fn content(resource: &Value, limit: usize) -> Result<Option<Vec<u8>>, ResourceError> {
    let text = |value: Option<&Value>| value.and_then(Value::as_str).map(str::to_string);
    let Some(source) = text(resource.get("source")).filter(|source| !source.is_empty()) else {
        return Ok(None);
    };
    if !is_data_url(&source) {
        return Err(ResourceError::Elsewhere(source));
    }
    let bytes = data_url::decode(&source).map_err(ResourceError::DataUrl)?;
    let content = match resource.get("compression").and_then(Value::as_str) {
        None | Some("") => bytes,
        Some("gzip") => gunzip(&bytes, limit)?,
        Some(other) => return Err(ResourceError::Compression(other.to_string())),
    };
    if content.len() > limit {
        return Err(ResourceError::TooLarge { limit });
    }
    let hash = resource.get("verification").and_then(|v| v.get("hash"));
    if let Some(hash) = text(hash) {
        check_hash(&content, &hash)?;
    }
    Ok(Some(content))
}

/// Whether the content is in the URL itself.
pub(super) fn is_data_url(source: &str) -> bool {
    source.starts_with("data:")
}

/// A hash as `verification.hash` has it.
pub fn hash_of(content: &[u8], function: HashFunction) -> String {
    match function {
        HashFunction::Sha256 => format!("sha256-{}", hex::encode(Sha256::digest(content))),
        HashFunction::Sha512 => format!("sha512-{}", hex::encode(Sha512::digest(content))),
    }
}

/// Whether a content has the hash that `verification.hash` says.
pub fn check_hash(content: &[u8], wanted: &str) -> Result<(), ResourceError> {
    let function = match wanted.split_once('-') {
        Some(("sha256", _)) => HashFunction::Sha256,
        Some(("sha512", _)) => HashFunction::Sha512,
        _ => return Err(ResourceError::HashFunction(wanted.to_string())),
    };
    let found = hash_of(content, function);
    if found == wanted {
        Ok(())
    } else {
        Err(ResourceError::Hash {
            wanted: wanted.to_string(),
            found,
        })
    }
}

/// With neither a name nor a time in it: the same content makes the same bytes.
fn gzip(content: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder
        .write_all(content)
        .and_then(|()| encoder.finish())
        .expect("a vector takes all that is written to it")
}

fn gunzip(bytes: &[u8], limit: usize) -> Result<Vec<u8>, ResourceError> {
    let mut content = Vec::new();
    let mut decoder = MultiGzDecoder::new(bytes).take(limit.saturating_add(1) as u64);
    decoder
        .read_to_end(&mut content)
        .map_err(ResourceError::Gzip)?;
    Ok(content)
}
