//! Edits, and the way back from them.

use std::fs;

use axum::http::Method;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::story::{Cue, Lab, Story, pool, said};
use crate::support;
use crate::{CONTAINERFILE, HAND_OFF, hand_off, part, pinned, pool_ends, secret};

#[test]
fn a_failed_build_leaves_the_pool_paused_and_is_told() {
    let story = hand_off(&json!({}));
    let lab = Lab::play(pinned(&story));
    let failing = Story::read("01-fail-retry-edit");
    let create = Cue::new(Method::PATCH, "MachineOSConfig", "worker");
    lab.cluster.then(vec![part(create, &failing, 1.5, 190.0)]);
    fs::write(lab.path("Containerfile"), CONTAINERFILE).unwrap();
    let output = lab.run(
        "handoff",
        &[&HAND_OFF[..], &["--save-logs", "logs"]].concat(),
    );
    let words = said(&output);
    assert_eq!(output.status.code(), Some(3), "{words}");
    assert!(words.contains("build failed"), "{words}");
    assert!(words.contains("cluster retry worker"), "{words}");
    assert_eq!(support::names(&lab.path("logs")).len(), 1);
    let pool = lab
        .cluster
        .now()
        .object("MachineConfigPool", "worker")
        .clone();
    assert_eq!(pool["spec"]["paused"], true);
}

/// The MachineOSConfig of story 01 after a good build and an edit whose build failed, as a hand-off that proved
/// the good one leaves it.
fn edited() -> (Story, Lab) {
    let story = Story::read("01-fail-retry-edit");
    let good = story.at(249.0).object("MachineOSConfig", "worker").clone();
    let image = good["status"]["currentImagePullSpec"].as_str().unwrap();
    let content = good["spec"]["containerFile"][0]["content"]
        .as_str()
        .unwrap();
    let sum = hex::encode(<sha2::Sha256 as sha2::Digest>::digest(content.trim_end()));
    let mut moment = story.at(360.0);
    let push = format!("{}/ocp", image.split('/').next().unwrap());
    let mut secret = secret("os-push", "quay.example.com");
    let both = json!({ "auths": { push: { "auth": STANDARD.encode("me:hunter2") } } });
    secret["data"][".dockerconfigjson"] = json!(STANDARD.encode(both.to_string()));
    moment = moment.with(secret);
    let lab = Lab::play(moment);
    let annotations = json!({
        "coreos-bake/proven": format!("{image} {sum}"),
        "coreos-bake/proven-spec": good["spec"].to_string(),
    });
    let patch = json!({ "metadata": { "annotations": annotations } });
    lab.cluster.told("MachineOSConfig", "worker", patch);
    (story, lab)
}

/// What was proven is not looked into again.
#[test]
fn an_edit_is_undone_without_a_build_and_without_a_look() {
    let (story, lab) = edited();
    let undo = Cue::new(Method::PATCH, "MachineOSConfig", "worker").saying(|body| {
        let content = body["spec"]["containerFile"][0]["content"].as_str();
        content.is_some_and(|content| content.contains("acme-storage-driver &&"))
    });
    lab.cluster.then(vec![part(undo, &story, 365.95, 399.0)]);
    let output = lab.run("handoff", &["worker", "--undo", "--yes", "--interval", "1"]);
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    assert_eq!(lab.cluster.scenes_left(), 0);
    pool_ends(&lab, "up-to-date");
    // There is nothing before it.
    let output = lab.run("handoff", &["worker", "--undo", "--yes"]);
    let said = said(&output);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(
        said.contains("no image of this pool was proven before"),
        "{said}"
    );
}

/// The failed build and its Job are gone, but the image was looked into when it was new.
#[test]
fn a_lost_edit_is_known_by_what_was_proven() {
    let story = Story::read("10-lost-edit");
    let good = story.at(30.0).object("MachineOSConfig", "worker").clone();
    let image = good["status"]["currentImagePullSpec"].as_str().unwrap();
    for (is_lost, content) in [
        (
            true,
            "FROM configs AS final
",
        ),
        (false, ""),
    ] {
        let mut moment = story.at(200.0);
        let failed = |key: &(String, String, String), object: &Value| {
            key.0 == "MachineOSBuild"
                && object["status"]["conditions"]
                    .as_array()
                    .is_some_and(|all| {
                        all.iter()
                            .any(|one| one["type"] == "Failed" && one["status"] == "True")
                    })
        };
        moment
            .objects
            .retain(|key, object| key.0 != "Job" && !failed(key, object));
        let config = moment.object("MachineOSConfig", "worker");
        let now = config["spec"]["containerFile"][0]["content"]
            .as_str()
            .unwrap();
        let content = if content.is_empty() { now } else { content };
        let sum = hex::encode(<sha2::Sha256 as sha2::Digest>::digest(content.trim_end()));
        let proven = json!(format!("{image} {sum}"));
        config["metadata"]["annotations"]["coreos-bake/proven"] = proven;
        let lab = Lab::play(moment);
        let status = lab.json();
        let state = &pool(&status, "worker")["state"];
        assert_eq!(state == "edit-lost", is_lost, "{status}");
    }
}
