//! Pools go back to the release's own image, unless a node would not come back.

#[path = "support/story/mod.rs"]
mod story;
mod support;

use std::fs;
use std::process::Stdio;
use std::time::Duration;

use axum::http::Method;
use serde_json::{Value, json};
use story::{Cue, Lab, Moment, Scene, Stop, Story, is_kept, needed, pool, rights, said, text};

const PIN: &str = "99-worker-coreos-bake-os";
const BACK: [&str; 5] = ["worker", "--no-driver", "--yes", "--interval", "1"];

fn scene(cue: Cue, story: &Story, from: f64, until: f64) -> Scene {
    Scene {
        cue,
        story: story.clone(),
        from,
        until,
        speed: 15.0,
    }
}

fn remove() -> Cue {
    Cue::new(Method::DELETE, "MachineOSConfig", "worker")
}

/// A layered pool that is well, and what happens once its MachineOSConfig is removed; with the rights that the
/// command prints and no others.
fn lab() -> Lab {
    let story = Story::read("02-revert");
    let mut moment = story.at(1.0);
    moment.only = Some(rights("revert"));
    let lab = Lab::play(moment);
    lab.cluster.then(vec![scene(remove(), &story, 2.03, 43.0)]);
    lab
}

/// From the question to the last node; the file brings the pool back.
#[test]
fn a_pool_goes_back_node_by_node() {
    let lab = lab();
    let spec = lab.cluster.now().object("MachineOSConfig", "worker")["spec"].clone();
    let output = lab.run("revert", &BACK);
    let words = said(&output);
    assert_eq!(output.status.code(), Some(0), "{words}");
    is_kept("revert-done", &text(&output.stdout));
    assert_eq!(lab.changes(), ["DELETE machineosconfigs worker"]);
    assert!(
        words.contains("3 nodes on the release's own image"),
        "{words}"
    );
    assert!(
        words.contains("where nobody deletes it now: 127.0.0.1"),
        "{words}"
    );
    let status = lab.json();
    assert_eq!(pool(&status, "worker")["state"], "up-to-date");
    assert_eq!(pool(&status, "worker")["image"], Value::Null);
    let yaml = fs::read_to_string(lab.path("worker.machineosconfig.yaml")).unwrap();
    let saved: Value = serde_saphyr::from_str(&yaml).unwrap();
    assert_eq!(saved["spec"], spec);
    assert_eq!(saved["kind"], "MachineOSConfig");
    assert_eq!(saved["metadata"], json!({ "name": "worker" }));
    // Once more, there is nothing to do.
    let output = lab.run("revert", &[&BACK[..], &["--format", "json"]].concat());
    let value: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(value["state"], "nothing-to-do");
    assert_eq!(lab.changes().len(), 1);
}

/// What it costs, as somebody reads it who is about to type the pool's name.
#[test]
fn what_it_costs_is_told_and_nothing_is_changed() {
    let lab = lab();
    let output = lab.run("revert", &["worker", "--no-driver", "--dry-run"]);
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    is_kept("revert", &lab.shown(&output));
    assert_eq!(lab.changes(), Vec::<String>::new());
    assert!(!lab.path("worker.machineosconfig.yaml").exists());
}

/// A node that can't find its root disk does not come back, and nobody is to find that out by trying.
#[test]
fn a_driver_that_nobody_knows_of_is_a_reason_to_stay() {
    let of_handoff = || {
        let lab = lab();
        let patch =
            json!({ "metadata": { "annotations": { "coreos-bake/drivers": "megaraid_sas" } } });
        lab.cluster.told("MachineOSConfig", "worker", patch);
        lab
    };
    let of_prepare = || {
        let story = Story::read("02-revert");
        let mut moment = story.at(1.0);
        let pool = moment.object("MachineConfigPool", "worker");
        let rendered = pool["spec"]["configuration"]["name"].clone();
        let files = json!([{ "path": "/etc/coreos-bake/drivers", "contents": { "source": "data:,mpt3sas%0A" } }]);
        moment.object("MachineConfig", rendered.as_str().unwrap())["spec"] = json!({ "config": { "ignition": { "version": "3.4.0" }, "storage": { "files": files } } });
        Lab::play(moment)
    };
    let yes = ["worker", "--yes"];
    for (lab, more, sentence) in [
        (
            lab(),
            &[][..],
            "nobody knows which driver the root disks of 3 nodes need",
        ),
        (
            of_handoff(),
            &[],
            "nobody knows whether the release's own image has megaraid_sas",
        ),
        (
            of_prepare(),
            &[],
            "nobody knows whether the release's own image has mpt3sas",
        ),
        (
            of_handoff(),
            &["--driver", "mpt3sas"],
            "nobody knows whether the release's own image has megaraid_sas, mpt3sas",
        ),
        (
            lab(),
            &["--driver", "mpt3sas", "--stock-image", "oci:nowhere"],
            "nobody knows whether the release's own image has mpt3sas",
        ),
    ] {
        let output = lab.run("revert", &[&yes[..], more].concat());
        let said = said(&output);
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.contains(sentence), "{sentence}: {said}");
        assert_eq!(lab.changes(), Vec::<String>::new());
    }
    let lab = of_handoff();
    let output = lab.run("revert", &BACK);
    assert!(
        said(&output)
            .contains("--no-driver is not so: the cluster has it that 3 nodes need megaraid_sas"),
        "{}",
        said(&output)
    );
    assert_eq!(output.status.code(), Some(1));
    let mut of_a_stream = Story::read("02-revert").at(1.0);
    of_a_stream.object("MachineConfigPool", "worker")["spec"]["osImageStream"] =
        json!({ "name": "rhel-10" });
    let stream = Lab::play(of_a_stream);
    let output = stream.run("revert", &["worker", "--driver", "mpt3sas", "--dry-run"]);
    assert!(
        said(&output).contains("the pool is of the stream rhel-10"),
        "{}",
        said(&output)
    );
    let output = lab.run(
        "revert",
        &[&yes[..], &["--allow-driver-loss", "--no-wait"]].concat(),
    );
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    // The drivers come back with the file.
    let yaml = fs::read_to_string(lab.path("worker.machineosconfig.yaml")).unwrap();
    assert!(yaml.contains("coreos-bake/drivers: megaraid_sas"), "{yaml}");
}

/// Back the way that story 05 begins with: a MachineConfig that pins an image is applied, and rendered later.
fn pinned() -> (Moment, Story) {
    let spec = json!({ "osImageURL": "quay.example.com/ocp/layered@sha256:11", "kernelArguments": ["a=b"] });
    let story = Story::read("05-hand-off").with_spec("MachineConfig", PIN, &spec);
    (story.at(42.0), story)
}

#[test]
fn a_pinned_pool_loses_the_image_and_keeps_the_rest() {
    let (moment, story) = pinned();
    let lab = Lab::play(moment);
    // As the story began, without the pin.
    let unpin = Cue::new(Method::PATCH, "MachineConfig", PIN)
        .saying(|body| body["spec"]["osImageURL"].is_null());
    lab.cluster.then(vec![scene(unpin, &story, 0.5, 1.3)]);
    let output = lab.run("revert", &BACK);
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    assert_eq!(lab.changes(), [format!("PATCH machineconfigs {PIN}")]);
    assert!(!lab.path("worker.machineosconfig.yaml").exists());
}

/// Somebody handed the pool off and left the pin. Nodes must go one way, not two.
#[test]
fn a_pool_with_both_is_paused_until_both_are_gone() {
    let (_, story) = pinned();
    // The first build, on the pin.
    let mut moment = story.at(60.0);
    moment.object("MachineConfigPool", "worker")["spec"]["paused"] = json!(false);
    for stop in [
        None,
        Some(Stop::After(0)),
        Some(Stop::After(1)),
        Some(Stop::After(2)),
        Some(Stop::Before(3)),
    ] {
        let lab = Lab::play(moment.clone());
        let remove = scene(remove(), &story, 0.5, 1.3);
        lab.cluster.then(vec![remove]);
        if let Some(stop) = stop {
            lab.kill(stop, "revert", &BACK);
            let status = lab.json();
            let state = pool(&status, "worker")["state"]
                .as_str()
                .unwrap()
                .to_owned();
            assert!(
                matches!(&*state, "handoff-open" | "building"),
                "{stop:?}: {state}"
            );
        }
        let output = lab.run("revert", &BACK);
        assert_eq!(output.status.code(), Some(0), "{stop:?}: {}", said(&output));
        let all = lab.changes();
        let at = |wanted: &str| all.iter().position(|change| change == wanted).unwrap();
        let pause = at("PATCH machineconfigpools worker");
        let unpin = at(&format!("PATCH machineconfigs {PIN}"));
        let gone = at("DELETE machineosconfigs worker");
        assert!(pause < unpin && unpin < gone, "{all:?}");
        let pool = lab
            .cluster
            .now()
            .object("MachineConfigPool", "worker")
            .clone();
        assert_eq!(pool["spec"]["paused"], false, "{stop:?}");
    }
}

#[test]
fn killed_at_any_step_it_is_explained_and_goes_on() {
    for stop in [Stop::Before(0), Stop::After(0)] {
        let lab = lab();
        lab.kill(stop, "revert", &BACK);
        let state = pool(&lab.json(), "worker")["state"]
            .as_str()
            .unwrap()
            .to_owned();
        let expected = match stop {
            Stop::Before(_) => "up-to-date",
            Stop::After(_) => "reverting",
        };
        assert_eq!(state, expected, "{stop:?}");
        // What was saved before is not a file that is in the way.
        let output = lab.run("revert", &BACK);
        assert_eq!(output.status.code(), Some(0), "{stop:?}: {}", said(&output));
        assert_eq!(lab.cluster.scenes_left(), 0);
    }
}

#[test]
fn what_stands_against_it_is_told_and_nothing_is_changed() {
    let story = Story::read("02-revert");
    let theirs = Story::read("05-hand-off").with_spec(
        "MachineConfig",
        "00-worker",
        &json!({ "osImageURL": "quay.example.com/theirs@sha256:22" }),
    );
    for (moment, arguments, sentence) in [
        (
            story.at(1.0),
            vec!["wrker", "--no-driver", "--yes"],
            "has no pool \"wrker\"",
        ),
        (
            story.at(1.0),
            vec!["worker", "--no-driver"],
            "nobody is there to be asked",
        ),
        (
            theirs.at(42.0),
            BACK.to_vec(),
            "MachineConfig 00-worker pins the pool's image, and is not ours",
        ),
        (
            story.at(1.0),
            [&BACK[..], &["--save", "there.yaml"]].concat(),
            "there.yaml is there already",
        ),
    ] {
        let lab = Lab::play(moment);
        fs::write(lab.path("there.yaml"), "something else\n").unwrap();
        let mut command = lab.command("revert", &arguments);
        let output = command.stdin(Stdio::null()).output().unwrap();
        let said = said(&output);
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.contains(sentence), "{sentence}: {said}");
        assert_eq!(lab.changes(), Vec::<String>::new());
        let there = fs::read_to_string(lab.path("there.yaml")).unwrap();
        assert_eq!(there, "something else\n");
    }
}

/// A node that can't take the release's image is told at once.
#[test]
fn a_node_that_does_not_come_back_is_told() {
    let story = Story::read("02-revert");
    let lab = Lab::play(story.at(1.0));
    lab.cluster.then(vec![scene(remove(), &story, 2.03, 12.0)]);
    let child = lab
        .command("revert", &BACK)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    std::thread::sleep(Duration::from_secs(2));
    let state = json!({
        "machineconfiguration.openshift.io/state": "Degraded",
        "machineconfiguration.openshift.io/reason": "can't pull the image",
    });
    lab.cluster.told(
        "Node",
        "worker-0",
        json!({ "metadata": { "annotations": state } }),
    );
    let output = child.wait_with_output().unwrap();
    let said = said(&output);
    assert_eq!(output.status.code(), Some(3), "{said}");
    assert!(said.contains("can't pull the image"), "{said}");
}

/// Nothing is asked for that is not in the roles, and each of them is missed.
#[test]
fn with_one_right_less_it_is_said_which() {
    let rights = needed("revert", &[]);
    assert_eq!(rights.len(), 18);
    for (verb, resource) in rights {
        let mut moment = Story::read("02-revert").at(1.0);
        moment.forbidden.push((verb.clone(), resource.clone()));
        let lab = Lab::play(moment);
        let output = lab.run("revert", &BACK);
        let said = said(&output);
        assert_eq!(output.status.code(), Some(1), "{said}");
        let sentence = format!("does not let you {verb} {resource}");
        assert!(said.contains(&sentence), "{sentence}: {said}");
        assert_eq!(lab.changes(), Vec::<String>::new());
    }
}

/// Another one by the same name is not what was told.
#[test]
fn a_config_that_was_made_anew_meanwhile_is_not_removed() {
    let lab = lab();
    let other = json!({ "metadata": { "uid": "another" } });
    lab.cluster.meanwhile(0, "MachineOSConfig", "worker", other);
    let output = lab.run("revert", &BACK);
    let words = said(&output);
    assert_eq!(output.status.code(), Some(1), "{words}");
    assert!(
        words.contains("MachineOSConfig worker was changed by somebody else meanwhile"),
        "{words}"
    );
    assert_eq!(lab.cluster.scenes_left(), 1);
    assert!(
        lab.cluster
            .now()
            .objects
            .keys()
            .any(|key| key.0 == "MachineOSConfig")
    );
}
