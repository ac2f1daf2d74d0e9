//! What openshift hands out, by the judges of the world: the cluster's own definitions of its objects,
//! Ignition, and a reader of YAML 1.1.

#[path = "support/crd/mod.rs"]
mod crd;

use std::collections::BTreeSet;
use std::io::Write;
use std::process::{Command, Stdio};

use coreos_bake::testing::extensions;
use coreos_bake::testing::openshift::{
    BootImages, Derivation, Driver, Firmware, Media, Objects, PushSecret, Request, Role, Seed,
    objects,
};
use crd::Crds;
use serde_json::Value;

const IMAGE: &str =
    "quay.io/me/os@sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";

/// One of everything.
fn made(release: &str, platform: &str, is_seeded: bool) -> Objects {
    let seed = Seed {
        containerfile: "FROM configs AS final\nRUN <<EOF\n  yes: no\nEOF\n".to_owned(),
        push_spec: "registry.example.com:5000/me/os:built"
            .parse()
            .expect("push spec"),
        push_secret: PushSecret {
            name: "os-push".to_owned(),
            content: Some(
                br#"{"auths": {"registry.example.com:5000": {"auth": "YTpi"}}}"#.to_vec(),
            ),
        },
        base_pull_secret: Some("os-pull".to_owned()),
    };
    let request = Request {
        release: release.parse().expect("release"),
        told_release: None,
        roles: Role::ALL.into_iter().collect::<BTreeSet<_>>(),
        media: Some(Media {
            registry_name: Some(IMAGE.to_owned()),
            manifest_digest: None,
            derivation: Derivation::Node,
        }),
        os_image: Some(IMAGE.to_owned()),
        release_image: false,
        imaged_pools: BTreeSet::new(),
        os_image_derivation: Derivation::Node,
        os_image_is_baked: true,
        drivers: vec![Driver {
            name: "acme-nic".parse().expect("a driver"),
            load: true,
            options: vec!["on=yes".to_owned()],
            instead_of: vec!["other".parse().expect("a driver")],
            after: vec!["first".parse().expect("a driver")],
            firmware: vec![Firmware {
                name: "acme/nic.bin".to_owned(),
                content: (0..=255).collect(),
            }],
        }],
        kernel_arguments: vec!["on".to_owned(), "0x1f".to_owned(), "a=b".to_owned()],
        seed: is_seeded.then_some(seed),
        boot_images: Some(BootImages {
            platform: platform.parse().expect("platform"),
            os_version: "9.6.20250402-0".to_owned(),
        }),
        pull_secret: None,
        anonymous_pull: false,
        found: Vec::new(),
    };
    objects(&request).expect("objects are made")
}

/// All that is handed out: seeded or not, by the platforms and releases with rules of their own.
fn all() -> Vec<Objects> {
    let releases = ["4.16", "4.19", "4.21", "4.22.1", "5.0"];
    let plain = releases.map(|release| made(release, "aws", false));
    let seeded = releases[2..]
        .iter()
        .map(|release| made(release, "vsphere", true));
    plain.into_iter().chain(seeded).collect()
}

fn values(all: &[Objects]) -> Vec<&Value> {
    let manifests = all.iter().flat_map(|made| &made.manifests);
    let day_two = all.iter().flat_map(|made| &made.day_two);
    let values = manifests.map(|manifest| &manifest.value);
    values.chain(day_two.map(|step| &step.value)).collect()
}

#[test]
fn the_cluster_takes_the_objects() {
    let Some(crds) = Crds::load() else { return };
    let all = all();
    let mut kinds = BTreeSet::new();
    for object in values(&all) {
        let kind = object["kind"].as_str().expect("kind");
        kinds.insert(kind);
        if kind != "Secret" {
            assert_eq!(crds.check(object), Vec::<String>::new(), "{object:#}");
        }
    }
    let expected = [
        "MachineConfig",
        "MachineConfiguration",
        "MachineOSConfig",
        "Secret",
    ];
    assert_eq!(kinds, BTreeSet::from(expected));
}

/// The seed's image ends up in a status, which takes less than the annotation.
#[test]
fn the_status_takes_the_names_of_seeds() {
    let Some(crds) = Crds::load() else { return };
    let all = all();
    let seeds = values(&all)
        .into_iter()
        .filter(|object| object["kind"] == "MachineOSConfig");
    let mut count = 0;
    for object in seeds {
        let with = |image: &str| {
            let mut object = object.clone();
            object["status"] = serde_json::json!({ "currentImagePullSpec": image });
            crds.check(&object)
        };
        let annotation = "machineconfiguration.openshift.io/pre-built-image";
        let image = object["metadata"]["annotations"][annotation]
            .as_str()
            .expect("image");
        assert_eq!(with(image), Vec::<String>::new());
        assert_ne!(with(&image.replace("/me/", "/a/b/")), Vec::<String>::new());
        assert_ne!(with(&image.replace("os@", "os:tag@")), Vec::<String>::new());
        count += 1;
    }
    assert_eq!(count, 9);
}

/// Each way in which an object could be wrong is seen.
#[test]
fn the_cluster_refuses_broken_objects() {
    let Some(crds) = Crds::load() else { return };
    let made = made("4.22", "aws", true);
    let day_two: Vec<&Value> = made.day_two.iter().map(|step| &step.value).collect();
    let of = |kind: &str| {
        let values = made.manifests.iter().map(|manifest| &manifest.value);
        values
            .clone()
            .find(|value| value["kind"] == kind)
            .expect("kind")
    };
    let skew = "/spec/bootImageSkewEnforcement";
    let manager = "/spec/managedBootImages/machineManagers/0";
    let cases: Vec<(&Value, String, Value)> = vec![
        (
            of("MachineConfig"),
            "/spec".to_owned(),
            serde_json::json!({ "osImageUrl": IMAGE }),
        ),
        (
            of("MachineConfig"),
            "/metadata/name".to_owned(),
            "99_worker".into(),
        ),
        (
            of("MachineOSConfig"),
            "/metadata/name".to_owned(),
            "other".into(),
        ),
        (
            of("MachineOSConfig"),
            "/spec/renderedImagePushSpec".to_owned(),
            "quay/os:a".into(),
        ),
        (
            of("MachineOSConfig"),
            "/spec/renderedImagePushSecret".to_owned(),
            serde_json::json!({}),
        ),
        (
            of("MachineOSConfig"),
            "/spec/imageBuilder/imageBuilderType".to_owned(),
            "Pod".into(),
        ),
        (
            of("MachineOSConfig"),
            "/spec/containerFile/0/content".to_owned(),
            "x".repeat(4097).into(),
        ),
        (
            of("MachineOSConfig"),
            "/spec/containerFile/0/containerfileArch".to_owned(),
            "noarch".into(),
        ),
        (day_two[0], format!("{skew}/mode"), "None".into()),
        (
            day_two[0],
            format!("{skew}/manual/mode"),
            "OCPVersion".into(),
        ),
        (
            day_two[0],
            format!("{skew}/manual/rhcosVersion"),
            "9.6.20250402".into(),
        ),
        (
            day_two[1],
            format!("{manager}/selection/mode"),
            "Some".into(),
        ),
        (day_two[1], format!("{manager}/apiGroup"), Value::Null),
    ];
    for (object, pointer, value) in cases {
        let mut object = object.clone();
        *object.pointer_mut(&pointer).expect("the field is there") = value;
        assert_ne!(crds.check(&object), Vec::<String>::new(), "{pointer}");
    }
}

#[test]
fn ignition_takes_the_configs() {
    if !have("ignition-validate") {
        return;
    }
    for made in all() {
        let configs = made
            .manifests
            .iter()
            .map(|manifest| &manifest.value["spec"]["config"]);
        let configs = configs.filter(|config| !config.is_null());
        for config in configs.chain(made.fragments.values()) {
            let said = judge("ignition-validate", &["-"], &config.to_string());
            assert_eq!(said, (true, String::new()), "{config:#}");
        }
    }
    assert!(
        !judge(
            "ignition-validate",
            &["-"],
            r#"{"ignition": {"version": "9.0.0"}}"#
        )
        .0
    );
}

/// Kubernetes reads YAML 1.1, where `on` and `yes` are booleans; so does Python's.
#[test]
fn readers_of_yaml_1_1_see_the_same() {
    if !judge("python3", &["-c", "import yaml"], "").0 {
        assert!(std::env::var_os("REQUIRE_TOOLS").is_none(), "no PyYAML");
        println!("skipped: no PyYAML");
        return;
    }
    const SCRIPT: &str = "import json, sys, yaml; json.dump(yaml.safe_load(sys.stdin), sys.stdout)";
    let made = made("4.22", "aws", true);
    let manifests = made.manifests.iter().map(|m| (m.text(), &m.value));
    for (text, value) in manifests.chain(made.day_two.iter().map(|s| (s.text(), &s.value))) {
        let (is_good, read) = judge("python3", &["-c", SCRIPT], &text);
        assert!(is_good, "{read}");
        let read: Value = serde_json::from_str(&read).expect("JSON");
        assert_eq!(&read, value, "{text}");
    }
}

fn have(tool: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).any(|directory| directory.join(tool).is_file());
    assert!(
        found || std::env::var_os("REQUIRE_TOOLS").is_none(),
        "{tool} is not installed"
    );
    if !found {
        println!("skipped: {tool} is not installed");
    }
    found
}

/// Whether a tool is content with its input, and what it says.
fn judge(tool: &str, arguments: &[&str], input: &str) -> (bool, String) {
    let child = Command::new(tool)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let Ok(mut child) = child else {
        return (false, format!("{tool} is not there"));
    };
    // A tool that has heard enough closes its input.
    let _ = child
        .stdin
        .take()
        .expect("input")
        .write_all(input.as_bytes());
    let output = child.wait_with_output().expect("the tool ends");
    let said = [output.stdout, output.stderr].concat();
    (
        output.status.success(),
        String::from_utf8_lossy(&said).into_owned(),
    )
}

#[test]
fn a_machine_config_for_extensions_is_what_the_cluster_takes() {
    let containerfile = "FROM configs\nRUN dnf install -y usbguard kernel-rt-core\n";
    let found = extensions(containerfile, &Value::Null, Some((4, 21))).expect("extensions");
    let object = found.machine_config("worker").expect("a pool");
    let object = object.expect("something to say");
    let spec = &object["spec"];
    assert_eq!(spec["extensions"][0], "usbguard");
    assert_eq!(spec["kernelType"], "realtime");
    let Some(crds) = Crds::load() else { return };
    assert_eq!(crds.check(&object), Vec::<String>::new(), "{object:#}");
}
