//! What is said at each moment of a story.

use serde_json::{Value, json};

use crate::story::{Lab, Story, pool, text};

/// Story, second, pool, what is said of it: state, nodes that have what they should, base.
const MOMENTS: [(&str, f64, &str, &str, u64, &str); 44] = [
    (
        "04h-pull-secret-back",
        25.0,
        "worker",
        "building",
        0,
        "4.99.0",
    ),
    (
        "04h-pull-secret-back",
        60.0,
        "worker",
        "up-to-date",
        3,
        "4.99.0",
    ),
    ("08-unpaused", 80.0, "master", "building", 0, "pin"),
    ("08-unpaused", 147.0, "master", "up-to-date", 3, "4.99.0"),
    ("00-happy-build", 0.0, "worker", "up-to-date", 3, "4.99.0"),
    ("00-happy-build", 8.0, "worker", "building", 0, "4.99.0"),
    ("00-happy-build", 25.0, "worker", "building", 0, "4.99.0"),
    ("00-happy-build", 45.0, "worker", "rolling-out", 1, "4.99.0"),
    ("00-happy-build", 60.0, "worker", "up-to-date", 3, "4.99.0"),
    ("00-happy-build", 45.0, "master", "up-to-date", 3, "4.99.0"),
    (
        "01-fail-retry-edit",
        110.0,
        "worker",
        "building",
        0,
        "4.99.0",
    ),
    (
        "01-fail-retry-edit",
        130.0,
        "worker",
        "build-failed",
        0,
        "4.99.0",
    ),
    (
        "01-fail-retry-edit",
        210.0,
        "worker",
        "building",
        0,
        "4.99.0",
    ),
    (
        "01-fail-retry-edit",
        250.0,
        "worker",
        "up-to-date",
        3,
        "4.99.0",
    ),
    (
        "01-fail-retry-edit",
        360.0,
        "worker",
        "build-failed",
        3,
        "4.99.0",
    ),
    (
        "01-fail-retry-edit",
        390.0,
        "worker",
        "up-to-date",
        3,
        "4.99.0",
    ),
    ("02-revert", 12.0, "worker", "reverting", 1, "4.99.1"),
    ("02-revert", 25.0, "worker", "up-to-date", 3, "4.99.1"),
    ("03-paused", 20.0, "worker", "building", 0, "4.99.0"),
    ("03-paused", 35.0, "worker", "paused", 0, "4.99.0"),
    (
        "04a-push-secret-missing",
        40.0,
        "worker",
        "building",
        0,
        "4.99.0",
    ),
    ("04b-no-from", 60.0, "worker", "up-to-date", 3, "4.99.0"),
    (
        "04d-unknown-instruction",
        30.0,
        "worker",
        "build-refused",
        0,
        "4.99.0",
    ),
    (
        "04g-digest-container-fails",
        145.0,
        "worker",
        "build-failed",
        0,
        "4.99.0",
    ),
    ("05-hand-off", 30.0, "worker", "up-to-date", 3, "pin"),
    ("05-hand-off", 60.0, "worker", "building", 0, "pin"),
    ("05-hand-off", 110.0, "worker", "paused", 0, "pin"),
    ("05-hand-off", 140.0, "worker", "up-to-date", 3, "4.99.0"),
    (
        "06-upgrade",
        125.0,
        "worker",
        "build-failed",
        0,
        "4.99.0 (old)",
    ),
    ("06-upgrade", 125.0, "master", "up-to-date", 3, "4.99.1"),
    ("06-upgrade", 160.0, "worker", "building", 0, "4.99.0 (old)"),
    ("06-upgrade", 250.0, "worker", "up-to-date", 3, "4.99.1"),
    ("07-seeded", 60.0, "worker", "rolling-out", 1, "seed"),
    ("07-seeded", 130.0, "worker", "up-to-date", 3, "seed"),
    ("10-lost-edit", 142.0, "worker", "build-failed", 3, "4.99.0"),
    ("10-lost-edit", 200.0, "worker", "edit-lost", 3, "4.99.0"),
    (
        "11-lost-edit-running",
        125.0,
        "worker",
        "edit-building",
        3,
        "4.99.0",
    ),
    (
        "12-node-degraded",
        55.0,
        "worker",
        "nodes-degraded",
        0,
        "4.99.0",
    ),
    (
        "12-node-degraded",
        85.0,
        "worker",
        "up-to-date",
        3,
        "4.99.0",
    ),
    ("13-rebuild", 15.0, "worker", "building", 3, "4.99.0"),
    ("13-rebuild", 60.0, "worker", "up-to-date", 3, "4.99.0"),
    (
        "14-lost-edit-retry",
        145.0,
        "worker",
        "edit-lost",
        3,
        "4.99.0",
    ),
    (
        "15-deleted-while-building",
        40.0,
        "worker",
        "up-to-date",
        3,
        "4.99.0",
    ),
    (
        "16-edits-while-building",
        120.0,
        "worker",
        "up-to-date",
        3,
        "4.99.2",
    ),
];

#[test]
fn each_moment_of_a_story_is_told_for_what_it_is() {
    let mut wrong = Vec::new();
    for (story, second, name, state, updated, base) in MOMENTS {
        let lab = Lab::play(Story::read(story).at(second));
        let status = lab.json();
        let pool = pool(&status, name);
        let run = match (&pool["base"]["kind"], &pool["base"]["is-old"]) {
            (kind, Value::Bool(true)) if kind == "release" => {
                format!("{} (old)", pool["base"]["version"].as_str().unwrap())
            }
            (kind, _) if kind == "release" => pool["base"]["version"].as_str().unwrap().to_owned(),
            (kind, _) => kind.as_str().unwrap().to_owned(),
        };
        let said = (
            pool["state"].as_str().unwrap(),
            pool["updated"].as_u64().unwrap(),
            &*run,
        );
        if said != (state, updated, base) {
            wrong.push(format!(
                "{story} at {second}, {name}: {said:?}, not {:?}",
                (state, updated, base)
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Moments after which nothing happens, and how they look when that has lasted.
#[test]
fn what_never_ends_is_told_after_a_while() {
    for (story, second, later, state) in [
        ("04a-push-secret-missing", 40.0, 120, "build-not-begun"),
        ("04e-pull-secret-missing", 60.0, 120, "build-not-begun"),
        ("04c-nested-push-path", 70.0, 120, "build-not-recorded"),
        ("04f-image-pull-error", 50.0, 300, "pod-not-started"),
        ("11-lost-edit-running", 80.0, 7200, "build-hangs"),
    ] {
        let lab = Lab::play(Story::read(story).at(second).later(later));
        let status = lab.json();
        assert_eq!(pool(&status, "worker")["state"], state, "{story}: {status}");
        assert_eq!(lab.status(&[]).status.code(), Some(3), "{story}");
    }
}

#[test]
fn a_pool_that_releases_do_not_reach_is_behind_after_the_next_one() {
    let mut moment = Story::read("07-seeded").at(130.0);
    let now = moment.now.to_string();
    let version = moment.object("ClusterVersion", "version");
    let history = version["status"]["history"].as_array_mut().unwrap();
    history.insert(
        0,
        json!({ "version": "4.99.2", "state": "Partial", "startedTime": now }),
    );
    let lab = Lab::play(moment);
    let status = lab.json();
    let worker = pool(&status, "worker");
    assert_eq!(worker["state"], "behind-release", "{status}");
    assert_eq!(worker["behind-since"], "4.99.2");
    assert_eq!(pool(&status, "master")["state"], "up-to-date");
}

#[test]
fn a_node_that_runs_something_else_is_named() {
    let mut moment = Story::read("00-happy-build").at(60.0);
    let node = moment.object("Node", "worker-1");
    let annotations = node["metadata"]["annotations"].as_object_mut().unwrap();
    annotations.remove("machineconfiguration.openshift.io/currentImage");
    let lab = Lab::play(moment);
    let status = lab.json();
    let worker = pool(&status, "worker");
    assert_eq!(worker["state"], "nodes-differ", "{status}");
    let apart = json!([{ "name": "worker-1", "image": null, "reason": null }]);
    assert_eq!(worker["apart"], apart);
    let shown = text(&lab.status(&[]).stdout);
    assert!(shown.contains("worker-1 on stock"), "{shown}");
}
