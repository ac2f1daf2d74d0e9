//! What is found before anything is changed.

use std::fs;
use std::process::Stdio;

use axum::http::Method;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;

use crate::story::{Cue, Lab, Moment, Story, needed, rights_of, said};
use crate::{CONTAINERFILE, HAND_OFF, hand_off, lab, part, pinned, secret};

/// What is found before anything is changed: what is wrong, and with which object.
#[test]
fn what_the_cluster_would_take_and_fail_on_later_is_refused() {
    let story = hand_off(&json!({}));
    let good = || pinned(&story);
    let mut moments: Vec<(Moment, Vec<&str>, &str)> = Vec::new();
    let all = || HAND_OFF.to_vec();
    let with = |at: usize, value: &'static str| {
        let mut arguments = all();
        arguments[at] = value;
        arguments
    };
    moments.push((good(), with(0, "wrker"), "has no pool \"wrker\""));
    moments.push((good(), with(6, "other"), "there is no secret other"));
    moments.push((
        good(),
        with(4, "quay.example.com/a/b/c:t"),
        "more than one namespace",
    ));
    moments.push((
        good(),
        with(4, "other.example.com/b/c:t"),
        "secret os-push has nothing for the registry",
    ));
    let mut opaque = secret("os-push", "quay.example.com");
    opaque["type"] = json!("Opaque");
    moments.push((
        good().with(opaque),
        all(),
        "builds can't use the secret os-push",
    ));
    let mut degraded = good();
    let conditions = degraded.object("MachineConfigPool", "worker");
    conditions["status"]["conditions"]
        .as_array_mut()
        .unwrap()
        .push(json!({ "type": "NodeDegraded", "status": "True", "message": "worker-0 is bad" }));
    moments.push((
        degraded,
        all(),
        "builds nothing while the pool is NodeDegraded: worker-0 is bad",
    ));
    let seeded = Story::read("07-seeded").at(130.0);
    let seeded = seeded.with(secret("os-push", "quay.example.com"));
    let mut unpaused = all();
    unpaused.push("--no-pause");
    moments.push((seeded, unpaused, "came with the installation"));
    let mut other = Story::read("00-happy-build").at(60.0);
    let mut edge = other.object("MachineOSConfig", "worker").clone();
    edge["metadata"]["name"] = json!("edge");
    edge["spec"]["machineConfigPool"]["name"] = json!("edge");
    moments.push((
        good().with(edge),
        all(),
        "there is no secret global-pull-secret-copy",
    ));
    // Pools of their own have the MachineConfigs of workers.
    let mut shared = good();
    let mut edge = shared.object("MachineConfigPool", "worker").clone();
    edge["metadata"]["name"] = json!("edge");
    moments.push((shared.with(edge), all(), "pins the image of edge as well"));
    let theirs = Story::read("05-hand-off").with_spec(
        "MachineConfig",
        "00-worker",
        &json!({ "osImageURL": "quay.example.com/theirs@sha256:22" }),
    );
    moments.push((
        pinned(&theirs),
        all(),
        "MachineConfig 00-worker pins the pool's image, and is not ours",
    ));
    for (moment, arguments, sentence) in moments {
        let lab = Lab::play(moment);
        fs::write(lab.path("Containerfile"), CONTAINERFILE).unwrap();
        let output = lab.run("handoff", &arguments);
        let said = said(&output);
        assert!(said.contains(sentence), "{sentence}: {said}");
        assert!(matches!(output.status.code(), Some(1 | 2)), "{said}");
        assert!(!said.contains("hunter2") && !said.contains(&STANDARD.encode("me:hunter2")));
        assert_eq!(lab.cluster.changes(), Vec::<String>::new(), "{sentence}");
    }
}

#[test]
fn a_containerfile_that_would_not_build_is_refused_before_the_cluster_is_asked() {
    let long = format!("FROM configs AS final\n# {}\n", "é".repeat(4010));
    for (content, sentence) in [
        ("RUN true\n", "FROM"),
        ("FROM configs AS final\nRUNN true\n", "line 2"),
        (&*long, "characters with the label"),
        (
            "FROM configs AS final\nRUN true \\\n",
            "line 2: the last line asks to be continued",
        ),
    ] {
        let lab = lab();
        fs::write(lab.path("Containerfile"), content).unwrap();
        let output = lab.run("handoff", &HAND_OFF);
        let said = said(&output);
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.contains(sentence), "{sentence}: {said}");
        assert_eq!(lab.cluster.changes(), Vec::<String>::new());
    }
}

#[test]
fn fields_of_others_are_named_and_taken_over_only_when_told() {
    let story = hand_off(&json!({}));
    let theirs = Story::read("01-fail-retry-edit")
        .at(130.0)
        .with(secret("os-push", "quay.example.com"))
        .owned(
            "MachineOSConfig",
            "worker",
            ".spec.renderedImagePushSpec",
            "argocd",
        );
    let lab = Lab::play(theirs);
    lab.cluster.then(vec![part(
        Cue::new(Method::PATCH, "MachineOSConfig", "worker"),
        &story,
        95.8,
        116.0,
    )]);
    fs::write(lab.path("Containerfile"), CONTAINERFILE).unwrap();
    let output = lab.run("handoff", &HAND_OFF);
    let words = said(&output);
    assert_eq!(output.status.code(), Some(1), "{words}");
    assert!(
        words.contains(".spec.renderedImagePushSpec (argocd)"),
        "{words}"
    );
    assert!(words.contains("The pool stays paused"), "{words}");
    assert_eq!(lab.cluster.scenes_left(), 1);
    let forced = [&HAND_OFF[..], &["--force-conflicts"]].concat();
    let output = lab.run("handoff", &forced);
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
}

/// Nothing is asked for that is not in the roles, and each of them is missed.
#[test]
fn with_one_right_less_it_is_said_which() {
    let own =
        "image-registry.openshift-image-registry.svc:5000/openshift-machine-config-operator/os:any";
    let place = HAND_OFF.iter().position(|word| *word == "--push-spec");
    let place = place.unwrap() + 1;
    let tool = ["--tool-image", "quay.example.com/me/coreos-bake:1"];
    for (push_spec, more, count) in [(HAND_OFF[place], &[][..], 22), (own, &tool[..], 31)] {
        let mut arguments = HAND_OFF.to_vec();
        arguments[place] = push_spec;
        arguments.retain(|word| *word != "--unverified");
        arguments.extend(more);
        let named = [&["--push-spec", push_spec][..], more].concat();
        let rights = needed("handoff", &named);
        assert_eq!(rights.len(), count);
        for (verb, resource) in rights {
            let story = hand_off(&json!({}));
            let mut moment = pinned(&story);
            moment.only = Some(rights_of("handoff", &named));
            moment.forbidden.push((verb.clone(), resource.clone()));
            let lab = Lab::play(moment);
            fs::write(lab.path("Containerfile"), CONTAINERFILE).unwrap();
            let output = lab.run("handoff", &arguments);
            let said = said(&output);
            assert_eq!(output.status.code(), Some(1), "{said}");
            assert!(
                said.contains(&format!("does not let you {verb} {resource}")),
                "{said}"
            );
            assert_eq!(lab.cluster.changes(), Vec::<String>::new());
        }
    }
}

#[test]
fn nobody_is_asked_where_nobody_is() {
    let lab = lab();
    let asked: Vec<&str> = HAND_OFF
        .into_iter()
        .filter(|word| *word != "--yes")
        .collect();
    let mut command = lab.command("handoff", &asked);
    let output = command.stdin(Stdio::null()).output().unwrap();
    let said = said(&output);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("--yes"), "{said}");
    assert_eq!(lab.cluster.changes(), Vec::<String>::new());
}
