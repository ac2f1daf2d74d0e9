//! Large clusters, in few requests.

use std::process::Command;

use serde_json::Value;

use crate::story::{Lab, Story, pool, text};

/// 500 nodes in 12 pools.
#[test]
fn a_large_cluster_is_told_in_few_requests() {
    let mut moment = Story::read("00-happy-build").at(60.0);
    let pool_of = |number: usize| format!("pool-{}", number % 10);
    let worker = moment.object("MachineConfigPool", "worker").clone();
    let node = moment.object("Node", "worker-0").clone();
    let mut add = |kind: &str, name: &str, object: Value| {
        let key = (kind.to_owned(), String::new(), name.to_owned());
        moment.objects.insert(key, object);
    };
    let renamed = |object: &Value, pool: &str, name: &str| {
        let text = object
            .to_string()
            .replace("rendered-worker-", &format!("rendered-{pool}-"));
        let mut object: Value = serde_json::from_str(&text).unwrap();
        object["metadata"]["name"] = name.into();
        object
    };
    for number in 0..10 {
        let pool = pool_of(number);
        add("MachineConfigPool", &pool, renamed(&worker, &pool, &pool));
    }
    for number in 0..494 {
        let name = format!("node-{number}.a-long-name-of-a-cluster.example.com");
        let mut node = renamed(&node, &pool_of(number), &name);
        let annotations = node["metadata"]["annotations"].as_object_mut().unwrap();
        // What the daemon, the network and the machine API put there.
        annotations.insert("more".into(), "x".repeat(1024).into());
        annotations.remove("machineconfiguration.openshift.io/currentImage");
        annotations.remove("machineconfiguration.openshift.io/desiredImage");
        add("Node", &name, node);
    }
    let lab = Lab::play(moment);
    let status = lab.json();
    assert_eq!(status["pools"].as_array().unwrap().len(), 12);
    let nodes: u64 = status["pools"]
        .as_array()
        .unwrap()
        .iter()
        .map(|pool| pool["nodes"].as_u64().unwrap())
        .sum();
    assert_eq!(nodes, 500);
    assert!(
        status["pools"]
            .as_array()
            .unwrap()
            .iter()
            .all(|pool| pool["state"] == "up-to-date"),
        "{status}"
    );
    assert_eq!(status["requests"], 6, "{:?}", lab.cluster.asked());
    let bytes = status["bytes"].as_u64().unwrap();
    assert!(bytes < 1_500_000, "{bytes}");
    if std::env::var_os("COREOS_BAKE_BENCH").is_some() {
        // Processor time of the program alone, as bash tells it: user, system.
        let program = env!("CARGO_BIN_EXE_coreos-bake");
        let timed = format!("TIMEFORMAT='%U %S'; time {program} cluster status > /dev/null");
        for _ in 0..11 {
            let mut bash = Command::new("bash");
            let bash = bash
                .args(["-c", &timed])
                .env("KUBECONFIG", lab.path("kubeconfig"));
            println!(
                "{bytes} bytes; CPU s {}",
                text(&bash.output().unwrap().stderr).trim()
            );
        }
    }
}

#[test]
fn lists_in_pages_are_read_whole() {
    let mut moment = Story::read("00-happy-build").at(60.0);
    let node = moment.object("Node", "worker-0").clone();
    for number in 0..1200 {
        let name = format!("node-{number}");
        let mut node = node.clone();
        node["metadata"]["name"] = name.as_str().into();
        moment
            .objects
            .insert(("Node".to_owned(), String::new(), name), node);
    }
    let lab = Lab::play(moment);
    assert_eq!(pool(&lab.json(), "worker")["nodes"], 1203);
}
