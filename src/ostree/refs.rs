//! What the import is called: ref names, the image reference, the origin file.
//!
//! ```text
//! ostree/container/blob/<escaped layer digest>      -> what was made of the layer
//! ostree/container/image/<escaped image reference>  -> merge commit
//! ```
//!
//! Escaping: ASCII letters, digits and `-` stay; `/` stays when it follows a letter or digit of the
//! unescaped text and is not the last character; `_` becomes `__`; all else `_XX_` with the code
//! point in upper-case hexadecimal.
//!
//! Source: ostree-ext `refescape.rs`, `container/mod.rs`.

use std::fmt;
use std::fmt::Write;
use std::str::FromStr;

use anyhow::{Context, Result, bail, ensure};
use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// How the line of an origin file begins that names a container image.
const ORIGIN_KEY: &str = "container-image-reference=";

/// Ref of what a layer became; layer 0's must exist, or image queries fail on the node.
pub(super) fn blob(digest: &str) -> String {
    format!("ostree/container/blob/{}", escape(digest))
}

/// Ref of the merge commit.
pub(super) fn image(reference: &ContainerReference) -> String {
    let name = format!("{}{}", reference.transport, reference.name);
    format!("ostree/container/image/{}", escape(&name))
}

fn escape(text: &str) -> String {
    let mut escaped = String::new();
    let mut after_alphanumeric = false;
    let mut characters = text.chars().peekable();
    while let Some(c) = characters.next() {
        let is_last = characters.peek().is_none();
        match c {
            'a'..='z' | 'A'..='Z' | '0'..='9' | '-' => escaped.push(c),
            '/' if after_alphanumeric && !is_last => escaped.push(c),
            '_' => escaped.push_str("__"),
            other => {
                write!(escaped, "_{:02X}_", u32::from(other)).expect("strings take everything");
            }
        }
        after_alphanumeric = c.is_ascii_alphanumeric();
    }
    escaped
}

/// Where a container image comes from and who vouches for it, as an origin file says it:
/// `ostree-unverified-registry:quay.io/example/os:latest`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContainerReference {
    /// Who vouches for the image.
    pub signature: Signature,
    /// Where it is fetched from.
    pub transport: Transport,
    /// Its name there, `quay.io/example/os:latest` or a path.
    pub name: String,
}

/// Who vouches for an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Signature {
    /// The node's containers policy, which must not be "accept anything".
    Policy,
    /// The node's containers policy, whatever it is.
    Unverified,
    /// The keys of this ostree remote, for the commit inside.
    Remote(String),
}

/// Where an image is fetched from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// A registry.
    Registry,
    /// An OCI layout directory.
    Oci,
    /// A tar archive of one.
    OciArchive,
    /// What `docker save` writes.
    DockerArchive,
    /// podman's local images.
    ContainersStorage,
    /// skopeo's plain directory.
    Dir,
}

impl ContainerReference {
    /// An image in a registry that nobody vouches for; the node's policy still applies.
    pub fn registry(name: impl Into<String>) -> Self {
        Self {
            signature: Signature::Unverified,
            transport: Transport::Registry,
            name: name.into(),
        }
    }

    /// The image's name as `osImageURL` would have it, if it is in a registry.
    pub fn registry_name(&self) -> Option<&str> {
        (self.transport == Transport::Registry).then_some(&self.name)
    }

    /// Text of the deployment's origin file.
    pub fn origin(&self) -> String {
        format!("[origin]\n{ORIGIN_KEY}{self}\n")
    }

    /// What an origin file names; none if the system is not one of a container image.
    pub fn from_origin(text: &str) -> Result<Option<Self>> {
        let line = text.lines().find_map(|line| line.strip_prefix(ORIGIN_KEY));
        line.map(|reference| reference.trim().parse()).transpose()
    }
}

impl fmt::Display for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Registry => "docker://",
            Self::Oci => "oci:",
            Self::OciArchive => "oci-archive:",
            Self::DockerArchive => "docker-archive:",
            Self::ContainersStorage => "containers-storage:",
            Self::Dir => "dir:",
        })
    }
}

impl fmt::Display for ContainerReference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            signature,
            transport,
            name,
        } = self;
        match (signature, transport) {
            (Signature::Unverified, Transport::Registry) => {
                write!(f, "ostree-unverified-registry:{name}")
            }
            (Signature::Unverified, _) => write!(f, "ostree-unverified-image:{transport}{name}"),
            (Signature::Policy, _) => write!(f, "ostree-image-signed:{transport}{name}"),
            (Signature::Remote(remote), _) => {
                write!(f, "ostree-remote-image:{remote}:{transport}{name}")
            }
        }
    }
}

impl FromStr for ContainerReference {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        let parsed = || {
            let (scheme, rest) = text.split_once(':').context("it has no colon")?;
            let remote = || rest.split_once(':').context("it names no remote");
            let (signature, (transport, name)) = match scheme {
                "ostree-unverified-registry" => {
                    (Signature::Unverified, (Transport::Registry, rest))
                }
                "ostree-unverified-image" => (Signature::Unverified, split_transport(rest)?),
                "ostree-image-signed" => (Signature::Policy, split_transport(rest)?),
                "ostree-remote-registry" => {
                    let (remote, name) = remote()?;
                    (
                        Signature::Remote(remote.into()),
                        (Transport::Registry, name),
                    )
                }
                "ostree-remote-image" => {
                    let (remote, rest) = remote()?;
                    (Signature::Remote(remote.into()), split_transport(rest)?)
                }
                _ => bail!("{scheme:?} is no signature scheme"),
            };
            ensure!(!name.is_empty(), "it names no image");
            // The name ends up as one line of the origin file.
            ensure!(
                !name.contains(char::is_control),
                "it has control characters"
            );
            Ok(Self {
                signature,
                transport,
                name: name.into(),
            })
        };
        parsed().with_context(|| format!("reading the image reference {text:?}"))
    }
}

impl Serialize for ContainerReference {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for ContainerReference {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let parsed = text.parse();
        parsed.map_err(|error: anyhow::Error| D::Error::custom(format!("{error:#}")))
    }
}

fn split_transport(text: &str) -> Result<(Transport, &str)> {
    let (transport, name) = text.split_once(':').context("it names no transport")?;
    Ok(match transport {
        "docker" => (
            Transport::Registry,
            name.strip_prefix("//").context("docker: lacks its //")?,
        ),
        "registry" => (Transport::Registry, name),
        "oci" => (Transport::Oci, name),
        "oci-archive" => (Transport::OciArchive, name),
        "docker-archive" => (Transport::DockerArchive, name),
        "containers-storage" => (Transport::ContainersStorage, name),
        "dir" => (Transport::Dir, name),
        _ => bail!("{transport:?} is no transport"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Left column as in ostree-ext's documentation and as seen in repositories it wrote.
    #[test]
    fn escapes_as_ostree_ext_does() {
        for (text, escaped) in [
            ("sha256:ab", "sha256_3A_ab"),
            (
                "docker://quay.io/x/y:z",
                "docker_3A__2F__2F_quay_2E_io/x/y_3A_z",
            ),
            ("oci:/tmp/a", "oci_3A__2F_tmp/a"),
            ("a/", "a_2F_"),
            ("a_/b", "a___2F_b"),
            ("a-/b", "a-_2F_b"),
            ("é\u{1f600}", "_E9__1F600_"),
        ] {
            assert_eq!(escape(text), escaped, "{text}");
        }
    }

    #[test]
    fn references_print_in_their_canonical_form() {
        for (text, canonical) in [
            ("ostree-unverified-registry:q.io/a:b", None),
            (
                "ostree-unverified-image:docker://q.io/a",
                Some("ostree-unverified-registry:q.io/a"),
            ),
            (
                "ostree-unverified-image:registry:q.io/a",
                Some("ostree-unverified-registry:q.io/a"),
            ),
            ("ostree-unverified-image:oci:/a:b", None),
            ("ostree-image-signed:docker://q.io/a", None),
            ("ostree-image-signed:oci-archive:/rhcos.ociarchive", None),
            (
                "ostree-remote-registry:fedora:q.io/a",
                Some("ostree-remote-image:fedora:docker://q.io/a"),
            ),
            ("ostree-remote-image:fedora:containers-storage:a", None),
        ] {
            let reference: ContainerReference = text.parse().unwrap();
            assert_eq!(reference.to_string(), canonical.unwrap_or(text));
            let again: ContainerReference = reference.to_string().parse().unwrap();
            assert_eq!(again, reference);
        }
    }

    #[test]
    fn an_origin_names_an_image_and_the_registry_that_has_it() {
        for (text, name) in [
            (
                "ostree-unverified-registry:q.io/a@sha256:1",
                Some("q.io/a@sha256:1"),
            ),
            (
                "ostree-unverified-image:docker://q.io/a:b",
                Some("q.io/a:b"),
            ),
            ("ostree-unverified-image:registry:q.io/a", Some("q.io/a")),
            ("ostree-image-signed:docker://q.io/a", Some("q.io/a")),
            ("ostree-remote-registry:fedora:q.io/a:b", Some("q.io/a:b")),
            ("ostree-remote-image:fedora:docker://q.io/a", Some("q.io/a")),
            ("ostree-image-signed:oci-archive:/x.ociarchive", None),
            ("ostree-unverified-image:oci:/x", None),
        ] {
            let reference: ContainerReference = text.parse().unwrap();
            assert_eq!(reference.registry_name(), name, "{text}");
            let read = ContainerReference::from_origin(&reference.origin()).unwrap();
            assert_eq!(read, Some(reference));
        }
        let other = "[origin]\nrefspec=fedora:fedora/stable\n";
        assert_eq!(ContainerReference::from_origin(other).unwrap(), None);
        assert!(ContainerReference::from_origin(&format!("{ORIGIN_KEY}x")).is_err());
    }

    #[test]
    fn what_no_node_could_read_is_refused() {
        for text in [
            "quay.io/a",
            "docker://quay.io/a",
            "ostree-unverified-registry:",
            "ostree-unverified-image:docker:q.io/a",
            "ostree-remote-image:fedora",
            "ostree-unverified-registry:a\n[x]",
        ] {
            assert!(text.parse::<ContainerReference>().is_err(), "{text}");
        }
    }
}
