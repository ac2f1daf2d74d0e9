//! What can be wrong with an image, with advice where there is some.
//!
//! Errors of a room's own kind travel inside `anyhow` and `io::Error`; [`hint`] finds them there.

use std::io;

use super::digest::Digest;
use super::quoted::list;
use super::reference::ReferenceError;

/// Why an image cannot be read. `image` is the reference as the user knows it, `object` a phrase
/// such as "layer 3 of docker://…".
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ImageError {
    /// The path leads to something that is no layout.
    #[error("{path} is not an OCI image layout: {reason}")]
    NotALayout {
        /// Directory or archive.
        path: String,
        /// What is missing or wrong.
        reason: String,
        /// How the user may get one.
        hint: Option<String>,
    },
    /// No entry of the layout has the tag or the digest.
    #[error("{image} is not there; there is {}", list(.available))]
    NoSuchEntry {
        /// What was asked for.
        image: String,
        /// What could have been asked for.
        available: Vec<String>,
    },
    /// Several entries fit.
    #[error("{image} may mean {}", list(.available))]
    Ambiguous {
        /// What was asked for.
        image: String,
        /// What could be meant.
        available: Vec<String>,
    },
    /// No entry is for the architecture.
    #[error("{image} is not there for {wanted}; there is {}", list(.available))]
    NoSuchArch {
        /// What was asked for.
        image: String,
        /// GOARCH name.
        wanted: String,
        /// The architectures, or tags with their architectures.
        available: Vec<String>,
    },
    /// The one image there is is for another architecture.
    #[error("{image} is for {found}, not for {wanted}")]
    WrongArch {
        /// What was asked for.
        image: String,
        /// GOARCH name.
        wanted: String,
        /// GOARCH name.
        found: String,
    },
    /// An image of another kind of system.
    #[error("{object} is for the operating system {found:?}, not for linux")]
    WrongOs {
        /// Which configuration.
        object: String,
        /// GOOS name.
        found: String,
    },
    /// A manifest of Docker's first schema, which has no diff-ids.
    #[error("{object} is of schema version {version}; only version 2 can be read")]
    SchemaVersion {
        /// Which manifest.
        object: String,
        /// What it says it is.
        version: u64,
    },
    /// A manifest, index or configuration that says nonsense.
    #[error("{object} is malformed: {reason}")]
    Malformed {
        /// Which document.
        object: String,
        /// What is wrong.
        reason: String,
    },
    /// An artifact (chart, signature, …), not an image of a system.
    #[error("{object} describes an artifact of type {media_type:?}, not an image")]
    NotAnImage {
        /// Which manifest.
        object: String,
        /// Type of its configuration.
        media_type: String,
    },
    /// A layer in a format we do not know.
    #[error("{object} is of the unknown media type {media_type:?}")]
    LayerMediaType {
        /// Which layer.
        object: String,
        /// What the manifest says.
        media_type: String,
    },
    /// A layer that lives elsewhere.
    #[error("{object} is not in the image, only its address is: {url:?}")]
    ForeignLayer {
        /// Which layer.
        object: String,
        /// The first address given.
        url: String,
    },
    /// A layer that is not what its media type says.
    #[error("{object} is {found}, though its media type {media_type} says {told}")]
    WrongCompression {
        /// Which layer.
        object: String,
        /// What the manifest says.
        media_type: String,
        /// What that means.
        told: &'static str,
        /// What the bytes say.
        found: &'static str,
    },
    /// A blob that the image refers to is missing.
    #[error("{object} ({digest}) is missing")]
    Missing {
        /// Which blob.
        object: String,
        /// Its name.
        digest: Digest,
    },
    /// Contents do not hash to their name.
    #[error("{object} has the {what} {actual}, where {expected} is promised")]
    WrongDigest {
        /// Which blob.
        object: String,
        /// "digest" or "diff-id".
        what: &'static str,
        /// What the manifest or the configuration says.
        expected: Digest,
        /// What was computed.
        actual: Digest,
    },
    /// A blob is longer or shorter than the manifest says.
    #[error("{object} has {actual} bytes, where {expected} are promised")]
    WrongSize {
        /// Which blob.
        object: String,
        /// What the manifest says.
        expected: u64,
        /// "more than …" or the number itself.
        actual: String,
    },
    /// More than we take.
    #[error("{object} has more than {limit} bytes, the most that is taken")]
    TooLarge {
        /// Which document or layer.
        object: String,
        /// The limit.
        limit: u64,
    },
    /// Disk or network failed.
    #[error("reading {object}")]
    Reading {
        /// Which document or layer.
        object: String,
        /// What the system says.
        source: io::Error,
    },
    /// The compressed stream is broken although its digest is right.
    #[error("decompressing {object}")]
    Decompressing {
        /// Which layer.
        object: String,
        /// What the decompressor says.
        source: io::Error,
    },
    /// Something follows the compressed stream.
    #[error("{object} goes on after the end of the {compression} stream")]
    Trailing {
        /// Which layer.
        object: String,
        /// What ended too early.
        compression: &'static str,
    },
    /// The registry wants other credentials, or any.
    #[error("{registry} refuses {object}: {reason}")]
    Refused {
        /// Host.
        registry: String,
        /// What was asked for.
        object: String,
        /// What it says.
        reason: String,
        /// Which credentials were used and where they come from.
        hint: String,
    },
    /// The registry does not have it.
    #[error("{registry} has no {object}")]
    NotFound {
        /// Host.
        registry: String,
        /// Image or blob.
        object: String,
        /// Which credentials were used and where they come from.
        hint: String,
    },
    /// The registry's certificate is not trusted, or it does not talk TLS.
    #[error("{registry} cannot be talked to securely")]
    Tls {
        /// Host.
        registry: String,
        /// What the TLS library says.
        source: rustls::Error,
    },
    /// The registry answers with something that cannot be used.
    #[error("{registry} answers the request for {object} with {reason}")]
    Answer {
        /// Host.
        registry: String,
        /// Image or blob.
        object: String,
        /// Status and message, or what is wrong with the answer.
        reason: String,
    },
    /// Nobody answers there, or there is no such place.
    #[error("{registry} can't be reached: {reason}")]
    Unreachable {
        /// Host.
        registry: String,
        /// What the system says.
        reason: String,
    },
    /// A byte now and then.
    #[error("{registry} is too slow with {object}: {fact}")]
    TooSlow {
        /// Host.
        registry: String,
        /// Image or blob.
        object: String,
        /// What came, or was taken, in what time.
        fact: String,
    },
    /// Tried often enough.
    #[error("{object} could not be read from {registry} in {attempts} attempts")]
    GaveUp {
        /// Host.
        registry: String,
        /// Image or blob.
        object: String,
        /// How often it was tried without getting on.
        attempts: u32,
        /// The last cause.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// Credentials that cannot be used.
    #[error("the credentials for {registry} in {file} cannot be used: {reason}")]
    Credentials {
        /// Host or key.
        registry: String,
        /// The file with them.
        file: String,
        /// What is wrong; never the secret.
        reason: String,
    },
    /// Neither podman nor skopeo is there.
    #[error("containers-storage:{name} needs podman or skopeo, and neither is installed")]
    NoExporter {
        /// What was asked for.
        name: String,
    },
}

impl ImageError {
    /// What the user can do about it.
    pub fn hint(&self) -> Option<String> {
        let text = match self {
            Self::NotALayout { hint, .. } => return hint.clone(),
            Self::Refused { hint, .. } | Self::NotFound { hint, .. } => hint,
            Self::NoSuchEntry { .. } | Self::Ambiguous { .. } => {
                "name one of them with :TAG or @DIGEST, or choose with --arch"
            }
            Self::NoSuchArch { .. } | Self::WrongArch { .. } => {
                "choose another architecture with --arch, or another image"
            }
            Self::WrongOs { .. } => {
                "CoreOS is Linux; is this the right image, and did its build set --os?"
            }
            Self::SchemaVersion { .. } => {
                "push the image again with a current podman, buildah or skopeo"
            }
            Self::ForeignLayer { .. } => {
                "make a complete copy, for example with skopeo copy, and use that"
            }
            Self::LayerMediaType { media_type, .. } if media_type.contains("encrypted") => {
                "decrypt the image first, for example with skopeo copy --decryption-key"
            }
            Self::Missing { .. }
            | Self::WrongDigest { .. }
            | Self::WrongSize { .. }
            | Self::Decompressing { .. }
            | Self::Trailing { .. } => "the copy of the image is damaged; fetch it again",
            Self::Tls { registry, .. } => {
                return Some(format!(
                    "put the registry's CA certificate into /etc/containers/certs.d/{registry}/ca.crt, or turn verification off with --tls-verify=false"
                ));
            }
            Self::Unreachable { .. } => {
                "check the name and the network; an image on this machine is named oci:DIR or oci-archive:FILE"
            }
            Self::NoExporter { .. } => {
                "install podman or skopeo, or save the image elsewhere with podman save --format oci-archive"
            }
            Self::Malformed { .. }
            | Self::NotAnImage { .. }
            | Self::LayerMediaType { .. }
            | Self::WrongCompression { .. }
            | Self::TooLarge { .. }
            | Self::Reading { .. }
            | Self::Answer { .. }
            | Self::TooSlow { .. }
            | Self::GaveUp { .. }
            | Self::Credentials { .. } => return None,
        };
        Some(text.to_owned())
    }

    /// In the shape that `Read` needs.
    pub(super) fn into_io(self) -> io::Error {
        io::Error::new(io::ErrorKind::InvalidData, self)
    }
}

/// The advice of an error of this room, or of one that an `io::Error` carries.
pub fn hint(error: &(dyn std::error::Error + 'static)) -> Option<String> {
    if let Some(error) = error.downcast_ref::<ImageError>() {
        return error.hint();
    }
    if let Some(error) = error.downcast_ref::<ReferenceError>() {
        return error.hint().map(str::to_owned);
    }
    // An io::Error shows the source of what it carries, not what it carries.
    let inner: &(dyn std::error::Error + 'static) = error.downcast_ref::<io::Error>()?.get_ref()?;
    std::iter::successors(Some(inner), |error| error.source()).find_map(hint)
}

#[cfg(test)]
mod tests {
    use super::{ImageError, hint};

    #[test]
    fn hints_are_found_through_the_chain() {
        let error = || ImageError::NoExporter { name: "x".into() };
        let wanted = error().hint();
        assert!(wanted.is_some());
        assert_eq!(hint(&error()), wanted);
        assert_eq!(hint(&error().into_io()), wanted);
        assert_eq!(hint(&std::io::Error::other("something else")), None);
    }
}
