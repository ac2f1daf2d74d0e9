use std::collections::BTreeSet;

use serde_json::Value;

use crate::openshift::{
    Derivation, Driver, Firmware, Folder, Media, Objects, Request, RequestError, Role, objects,
};

pub(super) const IMAGE: &str =
    "quay.io/me/os@sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";

/// Three roles on media of the image that the nodes run, with one driver.
pub(super) fn request() -> Request {
    Request {
        release: "4.20".parse().unwrap(),
        told_release: None,
        roles: BTreeSet::from([Role::Bootstrap, Role::Master, Role::Worker]),
        media: Some(Media {
            registry_name: Some(IMAGE.to_owned()),
            manifest_digest: IMAGE.split_once('@').map(|(_, digest)| digest.to_owned()),
            derivation: Derivation::Node,
        }),
        os_image: Some(IMAGE.to_owned()),
        release_image: false,
        imaged_pools: BTreeSet::new(),
        os_image_derivation: Derivation::Node,
        os_image_is_baked: true,
        drivers: vec![Driver::named("megaraid_sas".parse().unwrap())],
        kernel_arguments: Vec::new(),
        seed: None,
        boot_images: None,
        pull_secret: None,
        anonymous_pull: true,
        found: Vec::new(),
    }
}

pub(super) fn changed(change: impl FnOnce(&mut Request)) -> Result<Objects, RequestError> {
    let mut request = request();
    change(&mut request);
    objects(&request)
}

fn names(objects: &Objects) -> Vec<&str> {
    let manifests = objects.manifests.iter();
    manifests.map(|manifest| manifest.name.as_str()).collect()
}

fn ids(objects: &Objects) -> Vec<&str> {
    objects.notes.iter().map(|note| note.id).collect()
}

#[test]
fn each_pool_gets_its_image_and_its_drivers() {
    let objects = changed(|_| ()).unwrap();
    assert_eq!(
        names(&objects),
        [
            "99-master-coreos-bake-drivers.yaml",
            "99-master-coreos-bake-os.yaml",
            "99-worker-coreos-bake-drivers.yaml",
            "99-worker-coreos-bake-os.yaml",
        ]
    );
    assert_eq!(
        objects.fragments.keys().copied().collect::<Vec<_>>(),
        [Role::Bootstrap, Role::Master, Role::Worker]
    );
    assert_eq!(
        ids(&objects),
        ["bootstrap", "os-updates", "kernel-arguments"]
    );
    for manifest in &objects.manifests {
        assert_eq!(manifest.folder, Folder::Openshift);
        let name = manifest.value["metadata"]["name"].as_str().unwrap();
        assert_eq!(manifest.name, format!("{name}.yaml"));
        // Behind what the installer and the operator give, and outside of the installer's files.
        let pool = &manifest.value["metadata"]["labels"]["machineconfiguration.openshift.io/role"];
        let pool = pool.as_str().unwrap();
        assert!(name > format!("10-prebuiltimage-osimageurl-{pool}").as_str());
        assert!(!manifest.name.starts_with("99_openshift-machineconfig_"));
        for reserved in ["generated-", "ssh"] {
            assert!(
                !name.starts_with(&format!("99-{pool}-{reserved}")),
                "{name}"
            );
        }
        let read: Value = serde_saphyr::from_str(&manifest.text()).unwrap();
        assert_eq!(read, manifest.value);
        assert!(manifest.text().ends_with('\n') && !manifest.text().ends_with("\n\n"));
    }
    let drivers = &objects.manifests[0].value["spec"]["config"];
    assert_eq!(drivers, &objects.fragments[&Role::Bootstrap]);
    assert_eq!(drivers["ignition"]["version"], "3.2.0");
    assert_eq!(objects.manifests[1].value["spec"]["osImageURL"], IMAGE);
}

#[test]
fn nothing_is_made_that_nobody_needs() {
    let none = changed(|r| {
        r.drivers.clear();
        r.os_image = None;
        r.release_image = true;
    })
    .unwrap();
    assert!(none.manifests.is_empty() && none.fragments.is_empty());
    assert_eq!(ids(&none), ["bootstrap", "no-os-image"]);
    let bootstrap = changed(|r| r.roles = BTreeSet::from([Role::Bootstrap])).unwrap();
    assert!(bootstrap.manifests.is_empty());
    assert_eq!(bootstrap.fragments.len(), 1);
}

#[test]
fn the_same_request_makes_the_same_bytes() {
    let text = || {
        let objects =
            changed(|r| r.kernel_arguments = vec!["b".to_owned(), "a=1".to_owned()]).unwrap();
        objects
            .manifests
            .iter()
            .map(|m| m.text())
            .collect::<String>()
    };
    assert_eq!(text(), text());
    assert!(
        text().contains("kernelArguments:\n  - b\n  - a=1\n"),
        "{}",
        text()
    );
}

/// What the admin is told, and when.
#[test]
fn notes_follow_from_the_request() {
    type Change = fn(&mut Request);
    let cases: &[(&str, Change)] = &[
        ("pivot", |r| r.media.as_mut().unwrap().registry_name = None),
        ("pivot", |r| {
            r.os_image = Some(IMAGE.replace("/os", "/other"))
        }),
        ("unseen-image", |r| r.os_image_is_baked = false),
        ("bootstrap", |r| {
            r.media.as_mut().unwrap().derivation = Derivation::Unknown
        }),
        ("pull-secret", |r| r.anonymous_pull = false),
        ("kernel-arguments", |r| {
            r.kernel_arguments = vec!["a".to_owned()]
        }),
        ("initramfs-settings", |r| {
            r.drivers[0].options = vec!["a=1".to_owned()]
        }),
        ("initramfs-settings", |r| {
            r.drivers[0].instead_of = vec!["a".parse().unwrap()]
        }),
        ("initramfs-firmware", |r| {
            r.drivers[0].firmware = vec![firmware(1)]
        }),
        ("ignition-area", |r| {
            r.drivers[0].firmware = vec![firmware(150_000)]
        }),
        ("machine-config-size", |r| {
            r.drivers[0].firmware = vec![firmware(1_000_000)]
        }),
    ];
    for (id, change) in cases {
        let objects = changed(change).unwrap();
        assert!(ids(&objects).contains(id), "{id}: {:?}", objects.notes);
    }
    let before = changed(|r| r.release = "4.18".parse().unwrap()).unwrap();
    assert_eq!(ids(&before), ["os-updates", "kernel-arguments"]);
}

/// The sentence of a note, if it is there.
fn sentence<'a>(objects: &'a Objects, id: &str) -> Option<&'a str> {
    let note = objects.notes.iter().find(|note| note.id == id)?;
    Some(&note.sentence)
}

/// What a node on its image reboots for differs by release; one on another image reboots for that.
#[test]
fn kernel_arguments_are_those_of_the_pool() {
    let told = |text: &str, change: fn(&mut Request)| {
        changed(|r| {
            r.release = text.parse().unwrap();
            change(r);
        })
        .unwrap()
    };
    let ours: fn(&mut Request) = |r| r.kernel_arguments = vec!["a=1".to_owned(), "b".to_owned()];
    for (text, expected) in [
        ("4.13", "4.13 does not look at the kernel arguments"),
        ("4.14", "4.14 does not look at the kernel arguments"),
        (
            "4.15",
            "in this order: systemd.unified_cgroup_hierarchy=1 cgroup_no_v1=\"all\" psi=1 a=1 b;",
        ),
        (
            "4.20",
            "in this order: systemd.unified_cgroup_hierarchy=1 cgroup_no_v1=\"all\" psi=0 a=1 b;",
        ),
        (
            "4.21",
            "in this order: systemd.unified_cgroup_hierarchy=1 cgroup_no_v1=\"all\" a=1 b;",
        ),
    ] {
        let objects = told(text, ours);
        let said = sentence(&objects, "kernel-arguments").unwrap();
        assert!(said.contains(expected), "{text}: {said}");
    }
    assert_eq!(sentence(&told("4.12", |_| ()), "kernel-arguments"), None);
    assert!(sentence(&told("4.12", ours), "kernel-arguments").is_some());
    let pivots = told("4.21", |r| r.media.as_mut().unwrap().registry_name = None);
    assert_eq!(sentence(&pivots, "kernel-arguments"), None);
    let unknown = told("4.21", |r| r.media = None);
    assert!(sentence(&unknown, "kernel-arguments").is_some());
    let bootstrap = told("4.21", |r| r.roles = BTreeSet::from([Role::Bootstrap]));
    assert_eq!(sentence(&bootstrap, "kernel-arguments"), None);
}

/// Only the digest of the manifest that was baked is known to be none of an index.
#[test]
fn a_digest_may_be_that_of_an_index() {
    type Change = fn(&mut Request);
    let cases: &[(&str, Change, bool)] = &[
        ("4.22", |_| (), false),
        ("4.22", |r| r.media = None, true),
        (
            "4.22",
            |r| r.media.as_mut().unwrap().manifest_digest = None,
            true,
        ),
        (
            "5.0",
            |r| {
                r.media.as_mut().unwrap().manifest_digest =
                    Some(format!("sha256:{}", "b".repeat(64)))
            },
            true,
        ),
        ("4.21", |r| r.media = None, false),
        (
            "4.22",
            |r| {
                r.media = None;
                r.roles = BTreeSet::from([Role::Bootstrap]);
            },
            false,
        ),
    ];
    for (text, change, expected) in cases {
        let objects = changed(|r| {
            r.release = text.parse().unwrap();
            change(r);
        });
        let objects = objects.unwrap();
        let said = ids(&objects).contains(&"index-digest");
        assert_eq!(said, *expected, "{text}: {:?}", objects.notes);
    }
}

/// Bytes that don't compress.
fn firmware(bytes: usize) -> Firmware {
    let mut state = 1_u32;
    let content = (0..bytes).map(|_| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state.to_be_bytes()[0]
    });
    Firmware {
        name: "acme/nic.bin".to_owned(),
        content: content.collect(),
    }
}
