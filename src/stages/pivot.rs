//! The first boot in the cluster: does the node stay on the image, or rebase to another one?
//!
//! Rules: openshift/machine-config-operator main 7ff337a, `pkg/daemon/rpm-ostree.go`
//! `GetBootedOSImageURL`: the image part of the origin has to equal `osImageURL` as a string. Whether a node
//! that keeps its image reboots all the same is a question of its kernel arguments, which this stage leaves
//! to `prepare`.

use super::{Judged, Mark, Presence, System, Verdict};
use crate::kernel::Finding;
use crate::ostree::ContainerReference;

/// What becomes of a driver at the first boot of `system`, if `osImageURL` is `os_image`; `boot` is
/// the worst verdict on the system's own boots, and `found` that on the other image, where it was
/// looked into.
///
/// That the image stays says nothing of reboots: the machine-config operator may set kernel arguments.
pub(super) fn judge(
    system: &System<'_>,
    boot: Option<&Presence>,
    os_image: Option<&str>,
    found: Option<&Verdict>,
) -> Verdict {
    let booted = system.origin.and_then(ContainerReference::registry_name);
    match (booted, os_image, found) {
        (Some(booted), Some(wanted), _) if booted == wanted => Verdict::holds(
            "osImageURL is the image that boots: the node keeps that image, with or without a reboot for \
             kernel arguments",
            Vec::new(),
        )
        .after(boot),
        (_, Some(wanted), Some(found)) => match found.mark() {
            Mark::No => Verdict::fails(format!("the node pivots to {wanted}: {found}")),
            _ => Verdict::holds(
                format!("the node pivots to {wanted}, and the driver is there"),
                warnings(found),
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

/// What may be wrong with a driver that is there.
fn warnings(verdict: &Verdict) -> Vec<String> {
    match verdict {
        Verdict::Found(Finding::Present(present)) => present.warnings.clone(),
        Verdict::Judged(Judged::Holds { warnings, .. }) => warnings.clone(),
        Verdict::Judged(Judged::Open { why }) => vec![why.clone()],
        Verdict::Found(Finding::Missing(_)) | Verdict::Judged(Judged::Fails { .. }) => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stages::{LIVE, Mark};
    use crate::tree::{Meta, Tree};

    #[test]
    fn nodes_stay_where_the_names_are_equal_to_the_letter() {
        let root = Tree::new(Meta::root(0o755));
        let at = |origin: &str, os_image, found: Option<&Verdict>| {
            let origin = origin.parse().unwrap();
            let system = System {
                root: &root,
                release: "6",
                origin: Some(&origin),
            };
            judge(&system, None, os_image, found).mark()
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
        let doubtful = Verdict::holds("it is there", vec!["not signed".to_owned()]);
        assert_eq!(at(registry, Some("q.io/b"), Some(&doubtful)), Mark::Doubt);
    }

    #[test]
    fn a_node_that_keeps_its_image_keeps_what_is_wrong_with_it() {
        let root = Tree::new(Meta::root(0o755));
        let origin = "ostree-unverified-registry:q.io/a@sha256:1"
            .parse()
            .unwrap();
        let system = System {
            root: &root,
            release: "6",
            origin: Some(&origin),
        };
        let verdicts = [
            (Verdict::fails("it is not there"), Mark::No),
            (Verdict::open("who knows"), Mark::Doubt),
            (
                Verdict::holds("it is there", vec!["not signed".to_owned()]),
                Mark::Doubt,
            ),
            (Verdict::holds("it is there", Vec::new()), Mark::Yes),
        ];
        for (verdict, mark) in verdicts {
            let boot = Presence {
                driver: "a".to_owned(),
                stage: LIVE[0],
                verdict,
            };
            let pivot = judge(&system, Some(&boot), Some("q.io/a@sha256:1"), None);
            assert_eq!(pivot.mark(), mark, "{pivot}");
            let is_named = pivot.to_string().contains("live-initramfs");
            assert_eq!(is_named, mark != Mark::Yes, "{pivot}");
        }
    }
}
