//! Clusters that are looked at until they are well.

use std::process::Stdio;
use std::thread::sleep;
use std::time::Duration;

use serde_json::Value;

use crate::story::{Fault, Lab, Story, pool, text};

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

/// Looks at the cluster that were made: each lists the pools once.
fn looks(lab: &Lab) -> usize {
    let asked = lab.cluster.asked();
    let pools = "/machineconfigpools?limit=";
    asked.iter().filter(|asked| asked.contains(pools)).count()
}

/// A server may end a watch at any time, and need not have one.
#[test]
fn a_watch_that_ends_is_begun_again_or_done_without() {
    let story = Story::read("00-happy-build");
    for fault in [
        Fault::Gone,
        Fault::GoneMeanwhile,
        Fault::Ended,
        Fault::Cut,
        Fault::Busy,
        Fault::Unknown,
    ] {
        let lab = Lab::play(story.at(8.0));
        lab.cluster.play_on(&story, 8.0, 25.0);
        lab.cluster.fault(&[fault; 12]);
        let output = lab.status(&["--watch", "--interval", "1", "--format", "json"]);
        let error = text(&output.stderr);
        assert_eq!(output.status.code(), Some(0), "{fault:?}: {error}");
        assert!(error.is_empty(), "{fault:?}: {error}");
    }
}

#[test]
fn without_the_right_to_watch_it_is_looked_every_so_often() {
    let story = Story::read("00-happy-build");
    let mut moment = story.at(8.0);
    for resource in [
        "machineconfigpools",
        "machineosconfigs",
        "machineosbuilds",
        "nodes",
        "jobs",
        "pods",
    ] {
        let right = ("watch".to_owned(), resource.to_owned());
        moment.forbidden.push(right);
    }
    let lab = Lab::play(moment);
    lab.cluster.play_on(&story, 8.0, 12.0);
    let output = lab.status(&["--watch", "--interval", "1"]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let looks = looks(&lab);
    assert!(looks > 4, "{looks}");
}

/// While a build goes on, nothing else may happen for a quarter of an hour.
#[test]
fn a_cluster_on_which_nothing_happens_is_not_asked() {
    let story = Story::read("00-happy-build");
    let lab = Lab::play(story.at(40.0));
    let mut command = lab.command("status", &["--watch", "--interval", "1"]);
    let mut child = command.stdout(Stdio::null()).spawn().unwrap();
    // Three seconds in which nobody says a word, but for a node that tells of itself.
    sleep(Duration::from_secs(4));
    let quiet = looks(&lab);
    lab.cluster.told(
        "Node",
        "worker-0",
        serde_json::json!({ "metadata": { "managedFields": [{ "manager": "kubelet" }] } }),
    );
    sleep(Duration::from_secs(1));
    let heard = looks(&lab);
    lab.cluster.told(
        "MachineConfigPool",
        "worker",
        serde_json::json!({ "metadata": { "annotations": { "a": "b" } } }),
    );
    sleep(Duration::from_secs(1));
    let changed = looks(&lab);
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!((quiet, heard, changed), (1, 1, 2));
    let watches = lab.cluster.asked();
    let watches = watches.iter().filter(|asked| asked.contains("?watch=true"));
    assert!((4..=12).contains(&watches.count()));
}
