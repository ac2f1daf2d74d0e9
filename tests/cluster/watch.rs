//! Clusters that are looked at until they are well.

use serde_json::Value;

use crate::story::{Lab, Story, pool, text};

/// From the first build to the last node, told when something changes, and over when nothing does any more.
#[test]
fn a_cluster_is_watched_until_it_is_well() {
    let story = Story::read("00-happy-build");
    let lab = Lab::play(story.at(8.0));
    lab.cluster.play_on(&story, 8.0, 25.0);
    let watch = ["--watch", "--interval", "1", "--format", "json"];
    let output = lab.status(&watch);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let said = text(&output.stdout);
    let told = serde_json::Deserializer::from_str(&said).into_iter::<Value>();
    let states: Vec<String> = told
        .map(|status| {
            pool(&status.unwrap(), "worker")["state"]
                .as_str()
                .unwrap()
                .to_owned()
        })
        .collect();
    assert_eq!(states.first().unwrap(), "building", "{states:?}");
    assert_eq!(states.last().unwrap(), "up-to-date", "{states:?}");
    assert!(states.len() < 8, "{states:?}");
}

/// An API server restarts in the middle of it.
#[test]
fn a_cluster_out_of_reach_is_waited_for() {
    let story = Story::read("00-happy-build");
    let lab = Lab::play(story.at(8.0));
    lab.cluster.play_on(&story, 8.0, 25.0);
    lab.cluster.cut(12..30);
    let output = lab.status(&["--watch", "--interval", "1", "--format", "json"]);
    let error = text(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{error}");
    assert!(error.contains("trying again for up to 10 min"), "{error}");
}
