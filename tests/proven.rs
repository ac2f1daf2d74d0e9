//! What the cluster has built is looked into before nodes get it.

#[path = "support/layout.rs"]
mod layout;
#[path = "proven/own_registry.rs"]
mod own_registry;
#[path = "support/registry.rs"]
mod registry;
#[path = "support/story/mod.rs"]
mod story;
mod support;
#[path = "proven/within.rs"]
mod within;

use std::fs;
use std::process::Output;

use axum::http::Method;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use registry::{PASSWORD, Registry, USER, have_registry};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use story::{Cue, Lab, Scene, Stop, Story, pool, text};
use support::Workshop;

const CONTAINERFILE: &str = "FROM configs AS final\nRUN dnf install -y acme-storage-driver\n";
const NAMESPACE: &str = "openshift-machine-config-operator";
const LABEL: &str = "coreos-bake.containerfile";
/// The image of the story.
const PLAYED: &str = "127.0.0.1:28510/ocp/os-worker@sha256:6284666d5071f8ae936547764b33962ab667d43a5a0879f40fe593e372b4ecb8";

fn auths(registry: &str, user: &str, password: &str) -> String {
    let auth = STANDARD.encode(format!("{user}:{password}"));
    json!({ "auths": { registry: { "auth": auth } } }).to_string()
}

/// What builds push with.
fn secret(auths: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/dockerconfigjson",
        "metadata": { "name": "os-push", "namespace": NAMESPACE },
        "data": { ".dockerconfigjson": STANDARD.encode(auths) },
    })
}

/// Story 05 until the image is built, under another name, in a lab that hands the pool off.
fn lab(image: &str, more: Option<Value>) -> Lab {
    let story = Story::read_with("05-hand-off", &[(PLAYED, image)]);
    let auths = auths("quay.example.com", USER, PASSWORD);
    // The pin is gone already: this is about the image.
    let mut moment = story.at(70.0).with(secret(&auths));
    moment
        .objects
        .retain(|key, _| key.0 != "MachineOSConfig" && key.0 != "MachineOSBuild");
    moment.object("MachineConfigPool", "worker")["spec"]["paused"] = json!(false);
    if let Some(more) = more {
        moment = moment.with(more);
    }
    let lab = Lab::play(moment);
    let scene = |cue, from, until| Scene {
        cue,
        story: story.clone(),
        from,
        until,
        speed: 30.0,
    };
    let create = Cue::new(Method::PATCH, "MachineOSConfig", "worker");
    lab.cluster.then(vec![
        scene(create, 74.0, 116.3),
        scene(Cue::unpause("worker"), 116.57, 160.0),
    ]);
    fs::write(lab.path("Containerfile"), CONTAINERFILE).unwrap();
    lab
}

fn arguments<'a>(more: &[&'a str]) -> Vec<&'a str> {
    let words = "worker --containerfile Containerfile --push-spec quay.example.com/ocp/os:any \
                 --push-secret os-push --driver megaraid_sas --yes --interval 1";
    words
        .split_whitespace()
        .chain(more.iter().copied())
        .collect()
}

fn hand_off(lab: &Lab, more: &[&str]) -> (Option<i32>, String) {
    let arguments = arguments(more);
    let Output {
        status,
        stdout,
        stderr,
    } = lab.run("handoff", &arguments);
    let all = format!("{}{}", text(&stdout), text(&stderr));
    let said = all.split_whitespace().collect::<Vec<_>>().join(" ");
    (status.code(), said)
}

/// A sample image with the label of a Containerfile, pushed. Its name.
fn pushed(
    workshop: &Workshop,
    registry: &Registry,
    image: &str,
    containerfile: Option<&str>,
) -> String {
    let layout = workshop.path(&format!("{image}.oci"));
    let digest = match containerfile {
        Some(text) => layout::label(
            &layout,
            LABEL,
            &hex::encode(Sha256::digest(text.trim_end())),
        ),
        None => layout::label(&layout, "nothing", "of ours"),
    };
    let name = "ocp/os-worker";
    registry.push(&layout, &format!("{name}:{image}"));
    format!("{}/{name}@{digest}", registry.address)
}

#[test]
fn an_image_with_the_containerfile_and_the_driver_goes_to_the_nodes() {
    let Some(workshop) = Workshop::new().filter(|_| have_registry()) else {
        return;
    };
    let registry = Registry::start(false);
    let image = pushed(&workshop, &registry, "layered", Some(CONTAINERFILE));
    let lab = lab(&image, None);
    fs::write(
        lab.path("auth.json"),
        auths(&registry.address, USER, PASSWORD),
    )
    .unwrap();
    let (code, said) = hand_off(&lab, &["--authfile", "auth.json"]);
    assert_eq!(code, Some(0), "{said}");
    assert!(
        said.contains("built of the Containerfile, with megaraid_sas at each boot"),
        "{said}"
    );
    assert_eq!(lab.cluster.scenes_left(), 0);
    let config = lab
        .cluster
        .now()
        .object("MachineOSConfig", "worker")
        .clone();
    let annotations = &config["metadata"]["annotations"];
    let sum = hex::encode(Sha256::digest(CONTAINERFILE.trim_end()));
    assert_eq!(annotations["coreos-bake/proven"], format!("{image} {sum}"));
    let kept = annotations["coreos-bake/proven-spec"].as_str().unwrap();
    let kept: Value = serde_json::from_str(kept).unwrap();
    assert_eq!(kept, config["spec"]);
    // What was proven is not looked into again.
    drop(registry);
    let (code, said) = hand_off(&lab, &[]);
    assert_eq!(code, Some(0), "{said}");
}

/// Between the look and the note of it, and between the note and the pool's going on.
#[test]
fn killed_beside_the_proof_it_goes_on() {
    let Some(workshop) = Workshop::new().filter(|_| have_registry()) else {
        return;
    };
    let registry = Registry::start(false);
    let image = pushed(&workshop, &registry, "layered", Some(CONTAINERFILE));
    for stop in [Stop::Before(3), Stop::After(3)] {
        let lab = lab(&image, None);
        let auths = auths(&registry.address, USER, PASSWORD);
        fs::write(lab.path("auth.json"), auths).unwrap();
        let arguments = arguments(&["--authfile", "auth.json"]);
        lab.kill(stop, "handoff", &arguments);
        assert_eq!(
            lab.changes().last().unwrap(),
            "PATCH machineosconfigs worker",
            "{stop:?}"
        );
        assert_eq!(
            pool(&lab.json(), "worker")["state"],
            "handoff-open",
            "{stop:?}"
        );
        let (code, said) = hand_off(&lab, &["--authfile", "auth.json"]);
        assert_eq!(code, Some(0), "{stop:?}: {said}");
        assert_eq!(lab.cluster.scenes_left(), 0, "{stop:?}");
    }
}

#[test]
fn an_image_that_is_not_as_it_should_be_is_kept_from_the_nodes() {
    let Some(workshop) = Workshop::new().filter(|_| have_registry()) else {
        return;
    };
    let registry = Registry::start(false);
    for (image, containerfile, sentences) in [
        (
            "forgot",
            Some(CONTAINERFILE),
            [
                "megaraid_sas is missing at install-initramfs",
                "The pool stays paused",
            ],
        ),
        (
            "layered",
            Some("FROM configs AS final\n"),
            ["another Containerfile is in it", "The pool stays paused"],
        ),
        (
            "layered",
            None,
            ["another Containerfile is in it", "nodes don't get it"],
        ),
        (
            "stock",
            None,
            [
                "it has no label coreos-bake.containerfile",
                "megaraid_sas is missing",
            ],
        ),
    ] {
        let name = pushed(&workshop, &registry, image, containerfile);
        let lab = lab(&name, None);
        fs::write(
            lab.path("auth.json"),
            auths(&registry.address, USER, PASSWORD),
        )
        .unwrap();
        let (code, said) = hand_off(&lab, &["--authfile", "auth.json"]);
        assert_eq!(code, Some(3), "{said}");
        for sentence in sentences {
            assert!(said.contains(sentence), "{sentence}: {said}");
        }
        assert_eq!(lab.cluster.scenes_left(), 1, "{said}");
        assert_eq!(pool(&lab.json(), "worker")["state"], "handoff-open");
        // Nobody's credentials are a reason to hold it as well, and whoever knows better goes on.
        let (code, said) = hand_off(&lab, &[]);
        assert_eq!(code, Some(3), "{said}");
        assert!(said.contains("it can't be looked into"), "{said}");
        let (code, said) = hand_off(&lab, &["--unverified"]);
        assert_eq!(code, Some(0), "{said}");
        assert_eq!(lab.cluster.scenes_left(), 0, "{said}");
    }
}

/// The way back is open only if the release's own image boots the nodes.
#[test]
fn nodes_go_back_only_to_an_image_that_has_their_driver() {
    let Some(workshop) = Workshop::new() else {
        return;
    };
    let story = Story::read("02-revert");
    for (image, more, code, sentence) in [
        (
            "stock",
            "",
            1,
            "megaraid_sas is missing at install-initramfs",
        ),
        (
            "stock",
            "",
            1,
            "3 nodes would not come back: the release's own image lacks megaraid_sas",
        ),
        ("layered", "", 0, "the release's own image has megaraid_sas"),
        (
            "stock",
            "--allow-driver-loss",
            0,
            "megaraid_sas is missing at install-initramfs",
        ),
    ] {
        let lab = Lab::play(story.at(1.0));
        let image = workshop.image(image);
        let words = format!("worker --driver megaraid_sas --dry-run --stock-image {image} {more}");
        let arguments: Vec<&str> = words.split_whitespace().collect();
        let output = lab.run("revert", &arguments);
        let all = format!("{}{}", text(&output.stdout), text(&output.stderr));
        let said = all.split_whitespace().collect::<Vec<_>>().join(" ");
        assert_eq!(output.status.code(), Some(code), "{said}");
        assert!(said.contains(sentence), "{sentence}: {said}");
        assert_eq!(lab.cluster.changes(), Vec::<String>::new());
    }
}
