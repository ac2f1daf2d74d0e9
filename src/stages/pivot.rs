//! The first boot in the cluster: does the node stay on the image, or rebase to another one?
//!
//! Rules: openshift/machine-config-operator main 7ff337a, `pkg/daemon/rpm-ostree.go`
//! `GetBootedOSImageURL`: the image part of the origin has to equal `osImageURL` as a string. Whether a node
//! that keeps its image reboots all the same is a question of its kernel arguments, which this stage leaves
//! to `prepare`.

use super::{System, Verdict};

/// The image reference of an ostree origin.
#[derive(Debug)]
pub struct Origin;

/// Transports of registries, with the words of ostree-ext before them.
const REGISTRY_PREFIXES: [&str; 5] = [
    "ostree-unverified-registry:",
    "ostree-unverified-image:docker://",
    "ostree-unverified-image:registry:",
    "ostree-image-signed:docker://",
    "ostree-image-signed:registry:",
];

impl Origin {
    /// The image's name, as `osImageURL` would have it, if the origin is a registry's.
    pub fn registry_name(origin: &str) -> Option<&str> {
        let plain = REGISTRY_PREFIXES
            .iter()
            .find_map(|prefix| origin.strip_prefix(prefix));
        // ostree-remote-registry:REMOTE:NAME names who signs.
        plain.or_else(|| {
            let rest = origin.strip_prefix("ostree-remote-registry:")?;
            rest.split_once(':').map(|(_, name)| name)
        })
    }
}

/// What becomes of a driver at the first boot of `system`, if `osImageURL` is `os_image`; `found` is
/// the verdict on that image, where it was looked into.
pub(super) fn judge(
    system: &System<'_>,
    os_image: Option<&str>,
    found: Option<&Verdict>,
) -> Verdict {
    let booted = system.origin.and_then(Origin::registry_name);
    match (booted, os_image, found) {
        (Some(booted), Some(wanted), _) if booted == wanted => Verdict::holds(
            "osImageURL is the image that boots: the node keeps that image, with or without a reboot for \
             kernel arguments",
            Vec::new(),
        ),
        (_, Some(wanted), Some(found)) => match found.mark() {
            super::Mark::No => Verdict::fails(format!("the node pivots to {wanted}: {found}")),
            _ => Verdict::holds(
                format!("the node pivots to {wanted}, and it is there: {found}"),
                Vec::new(),
            ),
        },
        (_, Some(wanted), None) => Verdict::open(format!(
            "the node pivots to {wanted}, which was not looked into"
        )),
        (Some(booted), None, _) => Verdict::open(format!(
            "only if osImageURL of the pool is {booted}, else the node pivots to another image; \
             name that with --os-image"
        )),
        (None, None, _) => Verdict::open(
            "the image's origin is no registry's, so the node pivots to the image that osImageURL \
             names; name it with --os-image",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stages::Mark;
    use crate::tree::{Meta, Tree};

    #[test]
    fn registry_origins_are_known_by_their_prefixes() {
        for (origin, name) in [
            (
                "ostree-unverified-registry:q.io/a@sha256:1",
                Some("q.io/a@sha256:1"),
            ),
            (
                "ostree-unverified-image:docker://q.io/a:b",
                Some("q.io/a:b"),
            ),
            ("ostree-image-signed:docker://q.io/a", Some("q.io/a")),
            ("ostree-remote-registry:fedora:q.io/a:b", Some("q.io/a:b")),
            ("ostree-image-signed:oci-archive:/x.ociarchive", None),
            ("ostree-unverified-image:oci:/x", None),
        ] {
            assert_eq!(Origin::registry_name(origin), name, "{origin}");
        }
    }

    #[test]
    fn nodes_stay_where_the_names_are_equal_to_the_letter() {
        let root = Tree::new(Meta::root(0o755));
        let at = |origin, os_image, found: Option<&Verdict>| {
            let system = System {
                root: &root,
                release: "6",
                origin: Some(origin),
            };
            judge(&system, os_image, found).mark()
        };
        let registry = "ostree-unverified-registry:q.io/a@sha256:1";
        let missing = Verdict::fails("it is not there");
        let there = Verdict::holds("it is there", Vec::new());
        assert_eq!(at(registry, Some("q.io/a@sha256:1"), None), Mark::Yes);
        assert_eq!(at(registry, Some("q.io/a:latest"), None), Mark::Doubt);
        assert_eq!(at(registry, Some("q.io/b"), Some(&missing)), Mark::No);
        assert_eq!(at(registry, Some("q.io/b"), Some(&there)), Mark::Yes);
        assert_eq!(at(registry, None, None), Mark::Doubt);
        assert_eq!(
            at("ostree-unverified-image:oci:/x", None, None),
            Mark::Doubt
        );
    }
}
