//! In which order what is done, and that it can stop anywhere.

use std::fs;
use std::process::{Command, Stdio};
use std::time::Duration;

use axum::http::Method;
use serde_json::json;

use crate::story::{Cue, Lab, Stop, Story, is_kept, pool, said, text};
use crate::{
    CONTAINERFILE, HAND_OFF, NAMESPACE, PIN, hand_off, lab, part, pinned, pool_ends, scenes, secret,
};

#[test]
fn a_pinned_pool_is_handed_off_in_the_order_that_moves_each_node_once() {
    let lab = lab();
    let output = lab.run("handoff", &HAND_OFF);
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    is_kept("handoff-done", &text(&output.stdout));
    assert_eq!(
        lab.changes(),
        [
            "PATCH machineconfigpools worker",
            "PATCH machineosconfigs worker",
            &format!("DELETE machineconfigs {PIN}"),
            "PATCH alertingrules coreos-bake",
            "PATCH machineconfigpools worker",
        ]
    );
    assert_eq!(lab.cluster.scenes_left(), 0);
    pool_ends(&lab, "up-to-date");
    let pool = lab
        .cluster
        .now()
        .object("MachineConfigPool", "worker")
        .clone();
    assert_eq!(pool["spec"]["paused"], false);
    assert!(
        pool["metadata"]["annotations"]
            .get("coreos-bake/paused-for")
            .is_none()
    );
    let config = lab
        .cluster
        .now()
        .object("MachineOSConfig", "worker")
        .clone();
    let content = config["spec"]["containerFile"][0]["content"]
        .as_str()
        .unwrap();
    let (bare, label) = content.trim_end().rsplit_once('\n').unwrap();
    assert_eq!(bare, CONTAINERFILE.trim_end());
    assert!(
        label.starts_with("LABEL coreos-bake.containerfile="),
        "{label}"
    );
    // As it was played: the pinned image, then the new one, and nothing between.
    let story = hand_off(&json!({}));
    for node in ["worker-0", "worker-1", "worker-2"] {
        let mut was = Vec::new();
        for (from, until) in [(42.95, 63.6), (63.64, 116.3), (116.57, 160.0)] {
            was.extend(story.node(node, from, until));
        }
        was.dedup();
        assert_eq!(was.len(), 2, "{node}: {was:?}");
        assert_eq!(was[0].1, "");
        assert!(was[1].1.contains("@sha256:"), "{was:?}");
    }
    // The same again has nothing to do.
    let before = lab.changes().len();
    let output = lab.run("handoff", &HAND_OFF);
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    let after = lab.changes();
    assert_eq!(after.len(), before, "{after:?}");
}

/// The operator would report itself degraded if masters were paused; so there is no pause, and no time between
/// making the MachineOSConfig and taking the pin away.
#[test]
fn masters_are_handed_off_without_a_pause() {
    let pin = "99-master-coreos-bake-os";
    let spec = json!({ "osImageURL": "quay.example.com/ocp/layered@sha256:11" });
    let story = Story::read("08-unpaused").with_spec("MachineConfig", pin, &spec);
    let lab = Lab::play(story.at(47.0).with(secret("os-push", "quay.example.com")));
    lab.cluster.then(vec![
        part(
            Cue::new(Method::PATCH, "MachineOSConfig", "master"),
            &story,
            48.36,
            48.45,
        ),
        part(
            Cue::new(Method::DELETE, "MachineConfig", pin),
            &story,
            48.48,
            148.0,
        ),
    ]);
    fs::write(lab.path("Containerfile"), CONTAINERFILE).unwrap();
    let mut arguments = HAND_OFF.to_vec();
    arguments[0] = "master";
    let plan = lab.run("handoff", &[&arguments[..], &["--dry-run"]].concat());
    assert!(
        said(&plan).contains("the pool is not paused, because the operator"),
        "{}",
        said(&plan)
    );
    let output = lab.run("handoff", &arguments);
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    let changes = lab.changes();
    assert_eq!(
        changes,
        [
            "PATCH machineosconfigs master".to_owned(),
            format!("DELETE machineconfigs {pin}"),
            "PATCH alertingrules coreos-bake".to_owned(),
        ]
    );
    for node in ["master-0", "master-1", "master-2"] {
        let was = story.node(node, 48.36, 148.0);
        assert_eq!(was.len(), 2, "{node}: {was:?}");
    }
}

/// Out of two recordings: a seeded pool, and a pool whose MachineOSConfig is removed and made anew under a pause.
/// That the operator takes its MachineConfig back is in neither.
#[test]
fn a_seeded_pool_is_built_anew_under_a_pause() {
    let seed = json!({ "osImageURL": "quay.example.com/ocp/seed@sha256:33" });
    let name = "10-prebuiltimage-osimageurl-worker";
    let seeded = Story::read("07-seeded").with_spec("MachineConfig", name, &seed);
    let seeded = seeded.at(130.0);
    let lab = Lab::play(seeded.with(secret("os-push", "quay.example.com")));
    let story = Story::read("03-paused");
    let of = |method| Cue::new(method, "MachineOSConfig", "worker");
    lab.cluster.then(vec![
        part(of(Method::DELETE), &story, 71.55, 84.7),
        part(of(Method::PATCH), &story, 84.8, 128.4),
        part(Cue::unpause("worker"), &story, 128.8, 165.0),
    ]);
    fs::write(lab.path("Containerfile"), CONTAINERFILE).unwrap();
    let output = lab.run("handoff", &HAND_OFF);
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    assert_eq!(lab.cluster.scenes_left(), 0);
    assert_eq!(
        lab.changes(),
        [
            "PATCH machineconfigpools worker",
            "DELETE machineosconfigs worker",
            "PATCH machineosconfigs worker",
            "PATCH alertingrules coreos-bake",
            "PATCH machineconfigpools worker",
        ]
    );
    for node in ["worker-0", "worker-1", "worker-2"] {
        let was = story.node(node, 71.55, 165.0);
        assert!(
            was.len() == 2 && was.iter().all(|was| !was.1.is_empty()),
            "{was:?}"
        );
    }
}

/// Whoever has paused the pool lets it go on.
#[test]
fn a_pause_of_somebody_else_is_left_alone() {
    let story = hand_off(&json!({}));
    let mut moment = pinned(&story);
    moment.object("MachineConfigPool", "worker")["spec"]["paused"] = json!(true);
    let lab = Lab::play(moment);
    lab.cluster.then(scenes(&story));
    fs::write(lab.path("Containerfile"), CONTAINERFILE).unwrap();
    let output = lab.run("handoff", &HAND_OFF);
    let words = said(&output);
    assert_eq!(output.status.code(), Some(0), "{words}");
    assert!(words.contains("paused by somebody else"), "{words}");
    assert!(
        !lab.changes()
            .iter()
            .any(|change| change.contains("machineconfigpools"))
    );
    assert_eq!(pool(&lab.json(), "worker")["state"], "paused");
}

/// Arguments of the kernel stand in the same object, and stay.
#[test]
fn a_pin_that_says_more_loses_only_the_image() {
    let story = hand_off(&json!({ "kernelArguments": ["megaraid_sas.dev=1"] }));
    let lab = Lab::play(pinned(&story));
    let mut scenes = scenes(&story);
    scenes[1].cue = Cue::new(Method::PATCH, "MachineConfig", PIN)
        .saying(|body| body["spec"]["osImageURL"].is_null());
    lab.cluster.then(scenes);
    fs::write(lab.path("Containerfile"), CONTAINERFILE).unwrap();
    let output = lab.run("handoff", &HAND_OFF);
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    assert!(
        lab.changes()
            .contains(&format!("PATCH machineconfigs {PIN}"))
    );
    assert!(
        !lab.changes()
            .iter()
            .any(|change| change.starts_with("DELETE"))
    );
}

#[test]
fn killed_at_any_step_it_is_explained_and_goes_on() {
    let stops = (0..5).flat_map(|at| [Stop::Before(at), Stop::After(at)]);
    let tries: Vec<_> = stops
        .map(|stop| {
            std::thread::spawn(move || {
                let lab = lab();
                lab.kill(stop, "handoff", &HAND_OFF);
                let status = lab.json();
                let state = pool(&status, "worker")["state"]
                    .as_str()
                    .unwrap()
                    .to_owned();
                let is_told = match stop {
                    Stop::Before(0) => state == "up-to-date",
                    Stop::After(4) => matches!(&*state, "rolling-out" | "up-to-date" | "paused"),
                    _ => matches!(&*state, "handoff-open" | "building"),
                };
                assert!(is_told, "{stop:?}: {state}");
                let output = lab.run("handoff", &HAND_OFF);
                assert_eq!(output.status.code(), Some(0), "{stop:?}: {}", said(&output));
                assert_eq!(lab.cluster.scenes_left(), 0, "{stop:?}");
                pool_ends(&lab, "up-to-date");
            })
        })
        .collect();
    for one in tries {
        one.join().unwrap();
    }
}

/// Whoever has enough of waiting is told what stands.
#[test]
fn interrupted_it_says_how_to_go_on() {
    let lab = lab();
    let mut scenes = scenes(&hand_off(&json!({})));
    // The build does not end.
    scenes[1].until = 95.0;
    lab.cluster.then(scenes.clone());
    let mut command = lab.command("handoff", &HAND_OFF);
    let child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    for _ in 0..200 {
        if lab.cluster.scenes_left() == 1 {
            break;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    let pid = child.id().to_string();
    let killed = Command::new("kill").args(["-INT", &pid]).status().unwrap();
    assert!(killed.success());
    let output = child.wait_with_output().unwrap();
    let words = said(&output);
    assert_eq!(output.status.code(), Some(130), "{words}");
    assert!(
        words.contains("the same `cluster handoff` goes on from there"),
        "{words}"
    );
    assert_eq!(pool(&lab.json(), "worker")["state"], "building");
}

/// The operator copies it some time after the MachineOSConfig is there, and builds are without it until then.
#[test]
fn the_entitlement_is_waited_for_and_built_with() {
    let story = hand_off(&json!({}));
    let data = json!({ "entitlement.pem": "eA==", "entitlement-key.pem": "eA==" });
    let of = |name: &str, namespace: &str| {
        json!({
            "apiVersion": "v1", "kind": "Secret", "data": data,
            "metadata": { "name": name, "namespace": namespace, "uid": name },
        })
    };
    let moment = pinned(&story).with(of("etc-pki-entitlement", "openshift-config-managed"));
    let lab = Lab::play(moment);
    lab.cluster.then(scenes(&story));
    fs::write(lab.path("Containerfile"), CONTAINERFILE).unwrap();
    let child = lab
        .command("handoff", &HAND_OFF)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    std::thread::sleep(Duration::from_secs(3));
    assert!(!lab.changes().is_empty());
    let copy = of("etc-pki-entitlement-worker", NAMESPACE);
    lab.cluster.put(&copy);
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    let changes = lab.changes();
    let told = changes
        .iter()
        .filter(|change| *change == "PATCH machineosconfigs worker");
    // Once to make it, and twice for another build: the annotation goes and comes.
    assert_eq!(told.count(), 3, "{changes:?}");
}

/// They are paused and told together, before what both have loses the image, which is once.
#[test]
fn pools_that_share_a_pin_are_handed_off_together() {
    let story = hand_off(&json!({ "kernelArguments": ["a=b"] }));
    let mut moment = pinned(&story);
    let mut edge = moment.object("MachineConfigPool", "worker").clone();
    edge["metadata"]["name"] = json!("edge");
    let lab = Lab::play(moment.with(edge));
    fs::write(lab.path("Containerfile"), CONTAINERFILE).unwrap();
    let both = [&["edge"][..], &HAND_OFF[..]].concat();
    lab.kill(Stop::Before(5), "handoff", &both);
    assert_eq!(
        lab.changes(),
        [
            "PATCH machineconfigpools edge",
            "PATCH machineconfigpools worker",
            "PATCH machineosconfigs edge",
            "PATCH machineosconfigs worker",
            &format!("PATCH machineconfigs {PIN}"),
            "PATCH alertingrules coreos-bake",
        ]
    );
}

/// A pool is paused whatever else is changed in it; a pin is taken as it was seen, or not at all.
#[test]
fn what_somebody_else_changes_meanwhile_is_not_lost() {
    let note = json!({ "metadata": { "annotations": { "somebody": "was here" } } });
    let of_pool = lab();
    of_pool
        .cluster
        .meanwhile(0, "MachineConfigPool", "worker", note.clone());
    let output = of_pool.run("handoff", &HAND_OFF);
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    // One by one: `Lab::changes` tells what is repeated once.
    let changes = of_pool.cluster.changes();
    let pauses = changes
        .iter()
        .take_while(|change| change.contains("/machineconfigpools/worker"));
    assert!(pauses.count() >= 2, "{changes:?}");
    let mut now = of_pool.cluster.now();
    let pool = now.object("MachineConfigPool", "worker");
    assert_eq!(pool["metadata"]["annotations"]["somebody"], "was here");

    let story = hand_off(&json!({ "kernelArguments": ["a=b"] }));
    let of_pin = Lab::play(pinned(&story));
    let mut scenes = scenes(&story);
    scenes[1].cue = Cue::new(Method::PATCH, "MachineConfig", PIN);
    of_pin.cluster.then(scenes);
    fs::write(of_pin.path("Containerfile"), CONTAINERFILE).unwrap();
    let more = json!({ "spec": { "kernelArguments": ["a=b", "c=d"] } });
    of_pin.cluster.meanwhile(2, "MachineConfig", PIN, more);
    let output = of_pin.run("handoff", &HAND_OFF);
    let words = said(&output);
    assert_eq!(output.status.code(), Some(1), "{words}");
    assert!(
        words.contains("was changed by somebody else meanwhile"),
        "{words}"
    );
    assert!(words.contains("The pool stays paused"), "{words}");
    let output = of_pin.run("handoff", &HAND_OFF);
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
}
