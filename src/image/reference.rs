//! What the user may name as IMAGE.
//!
//! ```text
//! oci:DIR[:TAG|@DIGEST]   oci-archive:FILE[:TAG|@DIGEST]
//! [docker://]HOST/NAME[:TAG|@DIGEST]   containers-storage:NAME
//! docker://NAME[:TAG|@DIGEST]
//! ```
//!
//! As with skopeo and podman, DIR and FILE end at the first colon, since tags in layouts may be
//! whole image names (`localhost/os:1`). Parsing looks at the text only; [`ImageRef::named`] looks at
//! the disk as well. Without `docker://` a name needs its host: whoever forgets `oci:` must not get a
//! stranger's image from Docker Hub.
//!
//! Names of registries and repositories follow the grammar of the distribution project
//! (`distribution/reference`), with IPv6 hosts in brackets.

use std::fmt;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use super::digest::Digest;

/// Longest repository name that registries take, in bytes (`distribution/reference`).
const NAME_MAX: usize = 255;

/// Longest tag, in bytes (distribution specification, "Pulling manifests").
const TAG_MAX: usize = 128;

/// Schemes of other tools that could be mistaken for a name and a tag.
const FOREIGN_SCHEMES: &[&str] = &[
    "dir",
    "docker-archive",
    "docker-daemon",
    "file",
    "http",
    "https",
    "ostree",
    "ostree-image-signed",
    "ostree-remote-image",
    "ostree-remote-registry",
    "ostree-unverified-image",
    "ostree-unverified-registry",
    "registry",
    "sif",
    "tarball",
];

/// Where an image is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ImageRef {
    /// A directory in OCI image layout.
    Layout {
        /// The directory with `index.json` in it.
        path: PathBuf,
        /// Which of its images.
        select: Select,
    },
    /// An OCI image layout in a tar archive.
    Archive {
        /// The archive, uncompressed.
        path: PathBuf,
        /// Which of its images.
        select: Select,
    },
    /// A repository in a registry.
    Registry(RegistryName),
    /// An image that podman or CRI-O keeps on this host.
    Storage(String),
}

/// Which image of a layout.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Select {
    /// The only one, or the only one for the architecture.
    Only,
    /// The one whose `org.opencontainers.image.ref.name` this is.
    Tag(String),
    /// The one with this manifest, or the list of architectures with this digest.
    Digest(Digest),
}

/// An image in a registry, completely spelled out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegistryName {
    /// Host, with a port if it was given; `docker.io` if no host was.
    pub registry: String,
    /// Path of the repository at the registry.
    pub repository: String,
    /// Tag or digest.
    pub version: Version,
}

/// Which image of a repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Version {
    /// Whatever the tag points to at the moment.
    Tag(String),
    /// Exactly this manifest or index.
    Digest(Digest),
}

/// Why a text names no image.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not an image reference: {reason}")]
pub struct ReferenceError {
    text: String,
    reason: String,
    hint: Option<String>,
}

impl ReferenceError {
    pub(super) fn new(text: &str, reason: impl Into<String>) -> Self {
        Self {
            text: text.to_owned(),
            reason: reason.into(),
            hint: None,
        }
    }

    pub(super) fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// What the user can do about it.
    pub fn hint(&self) -> Option<&str> {
        self.hint.as_deref()
    }
}

impl ImageRef {
    /// The image that a user names. A path that exists and has no prefix is refused with the prefix
    /// that it needs.
    pub fn named(text: &str) -> Result<Self, ReferenceError> {
        if let Some(error) = without_prefix(text) {
            return Err(error);
        }
        let Ok(metadata) = Path::new(text).metadata() else {
            return text.parse();
        };
        let what = match metadata.is_dir() {
            true => "it is a directory without an image in it",
            false => "it is a file, and no archive with an image",
        };
        Err(ReferenceError::new(text, what).with_hint(
            "an image is named oci:DIR, oci-archive:FILE or docker://NAME; \
             media are for check and inspect",
        ))
    }
}

/// Why `text`, which is the path of an image on this machine, names no image by itself.
pub fn without_prefix(text: &str) -> Option<ReferenceError> {
    let path = Path::new(text);
    let (what, prefix) = match path.is_dir() {
        true => {
            let mut names = ["oci-layout", "index.json"].into_iter();
            if !names.any(|name| path.join(name).exists()) {
                return None;
            }
            ("it is a directory with an image in it", "oci")
        }
        false if is_tar(path) => ("it is an archive", "oci-archive"),
        false => return None,
    };
    Some(ReferenceError::new(text, what).with_hint(format!("write {prefix}:{text}")))
}

/// Where a tar archive says that it is one, and how (POSIX ustar).
const TAR_MAGIC: (usize, &[u8]) = (257, b"ustar");

fn is_tar(path: &Path) -> bool {
    let mut head = [0; 512];
    let read = File::open(path).and_then(|mut file| file.read_exact(&mut head));
    read.is_ok() && head[TAR_MAGIC.0..].starts_with(TAR_MAGIC.1)
}

impl FromStr for ImageRef {
    type Err = ReferenceError;

    fn from_str(text: &str) -> Result<Self, ReferenceError> {
        let scheme = text.split_once(':').map(|(scheme, _)| scheme);
        if let Some(rest) = text.strip_prefix("docker://") {
            return registry_name(text, rest).map(Self::Registry);
        }
        if let Some(rest) = text.strip_prefix("oci:") {
            let (path, select) = path_and_select(text, rest)?;
            return Ok(Self::Layout { path, select });
        }
        if let Some(rest) = text.strip_prefix("oci-archive:") {
            let (path, select) = path_and_select(text, rest)?;
            return Ok(Self::Archive { path, select });
        }
        if let Some(name) = text.strip_prefix("containers-storage:") {
            return storage_name(text, name).map(Self::Storage);
        }
        if let Some(scheme) = scheme
            && FOREIGN_SCHEMES.contains(&scheme)
        {
            return Err(
                ReferenceError::new(text, format!("{scheme}: is not supported")).with_hint(format!(
                    "convert it with skopeo copy to oci: or oci-archive:; for an image of the name {scheme:?}, write docker://{text}"
                )),
            );
        }
        if text.starts_with(['/', '.', '~']) {
            return Err(ReferenceError::new(text, "a path needs a prefix")
                .with_hint("write oci:DIR for a layout, oci-archive:FILE for an archive"));
        }
        if let Some(rest) = text.strip_prefix("docker:") {
            let rest = rest.trim_start_matches('/');
            return Err(ReferenceError::new(text, "docker: needs two slashes")
                .with_hint(format!("write docker://{rest}")));
        }
        if text.is_empty() || has_host(text) {
            return registry_name(text, text).map(Self::Registry);
        }
        let hub = match registry_name(text, text) {
            Ok(name) => format!(" (docker://{name} for Docker Hub)"),
            Err(_) => String::new(),
        };
        Err(
            ReferenceError::new(text, "it names neither a registry nor a file").with_hint(format!(
                "write oci:DIR or oci-archive:FILE for an image on this machine, \
                 HOST/NAME for one in a registry{hub}"
            )),
        )
    }
}

impl fmt::Display for ImageRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Layout { path, select } => write!(f, "oci:{}{select}", path.display()),
            Self::Archive { path, select } => write!(f, "oci-archive:{}{select}", path.display()),
            Self::Registry(name) => write!(f, "docker://{name}"),
            Self::Storage(name) => write!(f, "containers-storage:{name}"),
        }
    }
}

impl fmt::Display for Select {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Only => Ok(()),
            Self::Tag(tag) => write!(f, ":{tag}"),
            Self::Digest(digest) => write!(f, "@{digest}"),
        }
    }
}

impl RegistryName {
    /// Registry and repository, as the origin of a deployment names them.
    pub fn name(&self) -> String {
        format!("{}/{}", self.registry, self.repository)
    }

    /// Host and port that the registry is reached at. Docker's has another name than its images
    /// (containers/image `docker/docker_client.go` at df7e80d).
    pub(super) fn host(&self) -> &str {
        match self.registry.as_str() {
            "docker.io" => "registry-1.docker.io",
            other => other,
        }
    }
}

impl fmt::Display for RegistryName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}{}", self.registry, self.repository, self.version)
    }
}

impl Version {
    /// The tag or the digest.
    pub(super) fn word(&self) -> &str {
        match self {
            Self::Tag(tag) => tag,
            Self::Digest(digest) => digest.as_str(),
        }
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tag(tag) => write!(f, ":{tag}"),
            Self::Digest(digest) => write!(f, "@{digest}"),
        }
    }
}

/// `PATH[:TAG|@DIGEST]`.
fn path_and_select(text: &str, rest: &str) -> Result<(PathBuf, Select), ReferenceError> {
    let (rest, digest) = split_digest(text, rest)?;
    let (path, tag) = match rest.split_once(':') {
        Some((path, tag)) => (path, Some(tag)),
        None => (rest, None),
    };
    if path.is_empty() {
        return Err(ReferenceError::new(text, "the path is empty"));
    }
    let select = match (tag, digest) {
        (None, None) => Select::Only,
        (None, Some(digest)) => Select::Digest(digest),
        (Some(""), None) => return Err(ReferenceError::new(text, "the tag is empty")),
        (Some(tag), None) => Select::Tag(tag.to_owned()),
        (Some(tag), Some(digest)) => return Err(tag_and_digest(text, tag, &digest)),
    };
    Ok((Path::new(path).to_owned(), select))
}

/// Cuts off a digest; an `@` that no algorithm's name follows is part of the path.
fn split_digest<'a>(
    text: &str,
    rest: &'a str,
) -> Result<(&'a str, Option<Digest>), ReferenceError> {
    match rest.rsplit_once('@') {
        Some((before, digest)) if digest.starts_with("sha") && digest.contains(':') => {
            match digest.parse() {
                Ok(digest) => Ok((before, Some(digest))),
                Err(error) => Err(ReferenceError::new(text, format!("{error}"))),
            }
        }
        _ => Ok((rest, None)),
    }
}

fn tag_and_digest(text: &str, tag: &str, digest: &Digest) -> ReferenceError {
    ReferenceError::new(text, "it has a tag and a digest, which may disagree")
        .with_hint(format!("leave out :{tag} or @{digest}"))
}

fn storage_name(text: &str, name: &str) -> Result<String, ReferenceError> {
    // The name becomes an argument of another program.
    if name.is_empty() || name.starts_with('-') {
        return Err(ReferenceError::new(text, "the image name is missing"));
    }
    if name.contains(|c: char| c.is_control() || c.is_whitespace()) {
        return Err(ReferenceError::new(text, "the name has blanks in it"));
    }
    Ok(name.to_owned())
}

/// `[HOST[:PORT]/]PATH[:TAG|@DIGEST]`.
fn registry_name(text: &str, rest: &str) -> Result<RegistryName, ReferenceError> {
    let fail = |reason: String| Err(ReferenceError::new(text, reason));
    let (rest, digest) = split_digest(text, rest)?;
    // A colon after the last slash starts a tag; one before it, a port.
    let path_at = rest.rfind('/').map_or(0, |slash| slash + 1);
    let (name, tag) = match rest[path_at..].split_once(':') {
        Some((last, tag)) => (&rest[..path_at + last.len()], Some(tag)),
        None => (rest, None),
    };
    let (registry, repository) = match name.split_once('/') {
        Some((host, path)) if has_host(name) => (host, path),
        _ => ("docker.io", name),
    };
    let registry = match registry {
        "index.docker.io" | "registry-1.docker.io" => "docker.io",
        other => other,
    };
    let repository = if registry == "docker.io" && !repository.contains('/') {
        format!("library/{repository}")
    } else {
        repository.to_owned()
    };

    if name.is_empty() {
        return fail("the image name is missing".into());
    }
    if !is_host(registry) {
        return fail(format!(
            "{registry:?} is not a host name with an optional port"
        ));
    }
    if repository.len() > NAME_MAX {
        return fail(format!("the name has more than {NAME_MAX} bytes"));
    }
    if let Some(part) = repository.split('/').find(|part| !is_name_part(part)) {
        return if part.contains(|c: char| c.is_uppercase()) {
            Err(
                ReferenceError::new(text, format!("{part:?} has upper-case letters"))
                    .with_hint("names of repositories are lower case"),
            )
        } else {
            fail(format!("{part:?} is no part of a repository name"))
        };
    }
    if let Some(tag) = tag.filter(|tag| !is_tag(tag)) {
        return fail(format!("{tag:?} is not a tag"));
    }
    let version = match (tag, digest) {
        (None, None) => Version::Tag("latest".into()),
        (Some(tag), None) => Version::Tag(tag.to_owned()),
        (None, Some(digest)) => Version::Digest(digest),
        (Some(tag), Some(digest)) => return Err(tag_and_digest(text, tag, &digest)),
    };
    Ok(RegistryName {
        registry: registry.to_owned(),
        repository,
        version,
    })
}

/// Whether a name begins with a host, as podman and Docker tell it from a part of the path.
fn has_host(name: &str) -> bool {
    let host = name.split_once('/').map(|(host, _)| host);
    host.is_some_and(|host| host.contains(['.', ':']) || host == "localhost")
}

fn is_host(text: &str) -> bool {
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
        _ => (text, None),
    };
    let bracketed = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'));
    let host_holds = match bracketed {
        Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
        None => host.split('.').all(|label| {
            !label.is_empty()
                && label
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || b == b'-')
                && !label.starts_with('-')
                && !label.ends_with('-')
        }),
    };
    host_holds && port.is_none_or(|port| port.parse::<u16>().is_ok_and(|port| port != 0))
}

/// Lower-case letters and digits, with `.`, `_`, `__` or any number of `-` between them.
fn is_name_part(part: &str) -> bool {
    let inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let ends = |b: Option<u8>| b.is_some_and(inner);
    let separators_hold = part
        .split(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit())
        .all(|s| matches!(s, "" | "." | "_" | "__") || s.bytes().all(|b| b == b'-'));
    ends(part.bytes().next()) && ends(part.bytes().next_back()) && separators_hold
}

pub(super) fn is_tag(tag: &str) -> bool {
    let word = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    tag.len() <= TAG_MAX
        && tag.bytes().next().is_some_and(word)
        && tag.bytes().all(|b| word(b) || matches!(b, b'.' | b'-'))
}

#[cfg(test)]
mod tests;
