//! What `cluster` says of a cluster at moments that a real one went through.

#[path = "support/story.rs"]
mod story;
mod support;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::{Value, json};
use story::{Cluster, Moment, Story};
use support::{have, run};
use tempfile::TempDir;

/// A cluster that plays, and a place with its kubeconfig.
struct Lab {
    cluster: Cluster,
    place: TempDir,
}

impl Lab {
    fn play(moment: Moment) -> Self {
        let cluster = Cluster::play(moment);
        let place = tempfile::tempdir().unwrap();
        fs::write(place.path().join("kubeconfig"), cluster.kubeconfig()).unwrap();
        Self { cluster, place }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.place.path().join(name)
    }

    fn status(&self, arguments: &[&str]) -> Output {
        self.run("status", arguments)
    }

    fn run(&self, what: &str, arguments: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_coreos-bake"));
        command
            .current_dir(self.place.path())
            .args(["cluster", what])
            .args(arguments)
            .env("KUBECONFIG", self.path("kubeconfig"))
            .env("COLUMNS", "80");
        command.output().unwrap()
    }

    fn json(&self) -> Value {
        let output = self.status(&["--format", "json"]);
        let text = String::from_utf8(output.stdout).unwrap();
        let error = String::from_utf8_lossy(&output.stderr);
        serde_json::from_str(&text).unwrap_or_else(|_| panic!("{text}{error}"))
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn pool<'a>(status: &'a Value, name: &str) -> &'a Value {
    let mut pools = status["pools"].as_array().unwrap().iter();
    pools.find(|pool| pool["name"] == name).unwrap()
}

/// Story, second, pool, what is said of it: state, nodes that have what they should, base.
const MOMENTS: [(&str, f64, &str, &str, u64, &str); 40] = [
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

/// Names that differ from run to run: none. So what people see is kept, in lines of 80 columns.
#[test]
fn screens_tell_what_happened_and_what_to_do() {
    for (name, story, second, later) in [
        ("rolling-out", "00-happy-build", 45.0, 0),
        ("build-failed", "06-upgrade", 125.0, 0),
        ("edit-lost", "10-lost-edit", 200.0, 0),
        ("edit-building", "11-lost-edit-running", 125.0, 0),
        ("build-refused", "04d-unknown-instruction", 30.0, 0),
        ("build-not-begun", "04a-push-secret-missing", 40.0, 200),
        ("build-not-recorded", "04c-nested-push-path", 70.0, 200),
        ("pod-not-started", "04f-image-pull-error", 50.0, 300),
        ("build-hangs", "11-lost-edit-running", 80.0, 7300),
        (
            "digest-container-fails",
            "04g-digest-container-fails",
            145.0,
            0,
        ),
        ("node-degraded", "12-node-degraded", 55.0, 0),
        ("reverting", "02-revert", 12.0, 0),
        ("seeded", "07-seeded", 130.0, 0),
    ] {
        let lab = Lab::play(Story::read(story).at(second).later(later));
        let output = lab.status(&[]);
        let shown = format!(
            "{}{}== ended with {}\n",
            text(&output.stdout),
            text(&output.stderr),
            output.status.code().unwrap()
        );
        for line in shown
            .lines()
            .filter(|line| !line.trim_start().starts_with("oc "))
        {
            assert!(line.chars().count() <= 80, "{name}: {line}");
        }
        let kept =
            Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/screens/cluster-{name}.txt"));
        if std::env::var_os("UPDATE").is_some() {
            fs::write(&kept, &shown).unwrap();
        }
        assert_eq!(
            shown,
            fs::read_to_string(&kept).unwrap(),
            "{name}; UPDATE=1 keeps it"
        );
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

#[test]
fn logs_of_failed_builds_are_kept_once() {
    let mut moment = Story::read("10-lost-edit").at(142.0);
    // What a log says is data.
    for log in moment.logs.values_mut() {
        *log += "\u{1b}[2Jevil\u{7}\nError: \u{1b}]0;x\u{7}gone\n";
    }
    let logs = moment.logs.clone();
    let lab = Lab::play(moment);
    for _ in 0..2 {
        let output = lab.status(&["--save-logs", "logs"]);
        let shown = text(&output.stdout);
        assert!(
            shown.chars().all(|c| c == '\n' || !c.is_control()),
            "{shown:?}"
        );
        assert!(shown.contains("gone"), "{shown}");
        let names = support::names(&lab.path("logs"));
        assert_eq!(names.len(), 1, "{names:?}");
        let kept = fs::read_to_string(lab.path("logs").join(&names[0])).unwrap();
        let pod = names[0].strip_suffix(".log").unwrap();
        assert_eq!(kept, logs[&(pod.to_owned(), "image-build".to_owned())]);
    }
    // The pod may be gone before anybody looks.
    let mut moment = Story::read("10-lost-edit").at(142.0);
    moment.logs.clear();
    let lab = Lab::play(moment);
    let output = lab.status(&["--save-logs", "logs"]);
    assert_eq!(output.status.code(), Some(3));
    assert!(!lab.path("logs").exists());
}

fn error(output: &Output) -> String {
    assert_eq!(output.status.code(), Some(1), "{}", text(&output.stdout));
    let words = text(&output.stderr);
    words.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Verbs and resources of the roles that a command prints.
fn rights(what: &str) -> Vec<(String, String)> {
    let printed = Command::new(env!("CARGO_BIN_EXE_coreos-bake"))
        .args(["cluster", what, "--print-rbac", "--format", "json"])
        .output()
        .unwrap();
    let roles: Value = serde_json::from_slice(&printed.stdout).unwrap();
    let rules = roles["items"].as_array().unwrap().iter();
    let rules = rules.flat_map(|role| role["rules"].as_array().unwrap().clone());
    let rights = rules.map(|rule| {
        let word = |name: &str| rule[name][0].as_str().unwrap().to_owned();
        (word("verbs"), word("resources"))
    });
    rights.collect()
}

/// The roles that are printed are enough, and no right in them is more than is needed.
#[test]
fn with_one_right_less_it_is_said_which() {
    let rights = rights("status");
    assert_eq!(rights.len(), 10);
    // Each is asked for by one of these.
    let failed = Story::read("06-upgrade").at(125.0);
    let silent = Story::read("04a-push-secret-missing").at(40.0).later(200);
    for right in rights {
        let mut moment = match &*right.1 {
            "deployments" => silent.clone(),
            _ => failed.clone(),
        };
        moment.forbidden.push(right.clone());
        let lab = Lab::play(moment);
        let error = error(&lab.status(&[]));
        let (verb, resource) = &right;
        assert!(
            error.contains(&format!("does not let you {verb} {resource}")),
            "{error}"
        );
        assert!(error.contains("--print-rbac"), "{error}");
        // Nothing is asked for that is not in the roles.
        let only: Vec<String> = lab.cluster.asked();
        assert!(
            only.iter().all(|asked| !asked.contains("secrets")),
            "{only:?}"
        );
    }
}

#[test]
fn what_is_no_cluster_of_this_kind_is_told() {
    let moment = Story::read("00-happy-build").at(0.0);
    let without = |kinds: &[&str]| {
        let mut moment = moment.clone();
        moment.absent = kinds.iter().map(|&kind| kind.to_owned()).collect();
        moment
    };
    let refusing = |status| {
        let mut moment = moment.clone();
        moment.refusal = Some(status);
        moment
    };
    for (moment, expected) in [
        (
            without(&["MachineConfigPool", "ClusterVersion"]),
            "it has no MachineConfigPools",
        ),
        (
            without(&["MachineOSConfig", "MachineOSBuild"]),
            "has no MachineOSConfigs",
        ),
        (
            refusing(401),
            "does not take the credentials of the kubeconfig",
        ),
        (refusing(500), "answers 500"),
        (refusing(429), "answers 429"),
    ] {
        let lab = Lab::play(moment);
        let error = error(&lab.status(&[]));
        assert!(error.contains(expected), "{error}");
        assert!(
            error.contains("hint:") || expected.starts_with("answers"),
            "{error}"
        );
        assert!(!error.contains("sha256~a-token"), "{error}");
    }
    let lab = Lab::play(moment);
    for (arguments, expected) in [
        (&["--context", "elsewhere"][..], "elsewhere"),
        (&["--kubeconfig", "not-there"], "not-there"),
    ] {
        let error = error(&lab.status(arguments));
        assert!(error.contains("no cluster to talk to"), "{error}");
        assert!(error.contains(expected), "{error}");
    }
    // What can't be read may have a secret in it all the same.
    for damaged in ["token: SECRET\n  : [", "- token: SECRET", "users: SECRET"] {
        fs::write(lab.path("damaged"), damaged).unwrap();
        let error = error(&lab.status(&["--kubeconfig", "damaged"]));
        assert!(error.contains("no cluster to talk to"), "{error}");
        assert!(!error.contains("SECRET"), "{error}");
    }
    let dead = lab.cluster.kubeconfig();
    fs::write(
        lab.path("dead"),
        dead.replace(&lab.cluster.address.to_string(), "127.0.0.1:1"),
    )
    .unwrap();
    let error = error(&lab.status(&["--kubeconfig", "dead"]));
    assert!(
        error.contains("can't talk to the cluster at http://127.0.0.1:1"),
        "{error}"
    );
}

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

/// As every real cluster is reached: by its own CA, with a token.
#[test]
fn a_cluster_is_known_by_its_certificate() {
    if !have("openssl") {
        return;
    }
    let place = tempfile::tempdir().unwrap();
    let request = [
        "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2",
    ];
    let openssl = |arguments: &[&str]| {
        let mut openssl = Command::new("openssl");
        run(openssl
            .current_dir(place.path())
            .args(request)
            .args(arguments));
    };
    openssl(&["-subj", "/CN=lab CA", "-keyout", "ca.key", "-out", "ca"]);
    let signed = [
        "-CA",
        "ca",
        "-CAkey",
        "ca.key",
        "-keyout",
        "key",
        "-out",
        "certificate",
    ];
    let own = ["-subj", "/CN=lab", "-addext", "subjectAltName=IP:127.0.0.1"];
    openssl(&[&signed[..], &own, &["-addext", "basicConstraints=CA:FALSE"]].concat());
    let path = |name: &str| place.path().join(name);
    let certificate = fs::read_to_string(path("certificate")).unwrap();
    let key = fs::read_to_string(path("key")).unwrap();
    let moment = Story::read("00-happy-build").at(60.0);
    let lab = Lab {
        cluster: Cluster::play_with_tls(moment, &certificate, &key),
        place,
    };
    let kubeconfig = lab.cluster.kubeconfig().replace("http://", "https://");
    fs::write(lab.path("kubeconfig"), &kubeconfig).unwrap();
    let error = error(&lab.status(&[]));
    assert!(error.contains("ertificate"), "{error}");
    assert!(lab.cluster.asked().is_empty());

    let mut kubeconfig: Value = serde_json::from_str(&kubeconfig).unwrap();
    kubeconfig["clusters"][0]["cluster"]["certificate-authority"] = json!(lab.path("ca"));
    fs::write(lab.path("kubeconfig"), kubeconfig.to_string()).unwrap();
    assert_eq!(pool(&lab.json(), "worker")["state"], "up-to-date");
}

/// Patches that were sent.
fn patches(lab: &Lab) -> usize {
    let asked = lab.cluster.asked();
    asked
        .iter()
        .filter(|asked| asked.starts_with("PATCH "))
        .count()
}

#[test]
fn a_failed_build_is_retried_and_followed_to_its_end() {
    for (story, failed, retried, state) in [
        ("01-fail-retry-edit", 190.0, 194.1, "built"),
        ("14-lost-edit-retry", 145.0, 147.0, "built"),
    ] {
        let told = Story::read(story);
        let lab = Lab::play(told.at(failed));
        lab.cluster.go_on_with(told, retried, 10.0);
        let output = lab.run("retry", &["worker", "--interval", "1", "--format", "json"]);
        let said = text(&output.stdout);
        let value: Value = serde_json::from_str(&said)
            .unwrap_or_else(|_| panic!("{said}{}", text(&output.stderr)));
        assert_eq!(value["state"], state, "{story}: {said}");
        assert_eq!(output.status.code(), Some(0), "{story}");
        // The annotation is taken away first, since only its coming is heard.
        assert_eq!(patches(&lab), 2, "{:?}", lab.cluster.asked());
    }
}

#[test]
fn a_retry_that_fails_again_ends_with_what_failed() {
    let told = Story::read("14-lost-edit-retry");
    let lab = Lab::play(told.at(10.0));
    // An edit's build, as if it was the retry's.
    lab.cluster.go_on_with(told, 60.0, 20.0);
    let output = lab.run(
        "retry",
        &[
            "worker",
            "--rebuild",
            "--interval",
            "1",
            "--save-logs",
            "logs",
        ],
    );
    let said = text(&output.stdout);
    assert_eq!(
        output.status.code(),
        Some(3),
        "{said}{}",
        text(&output.stderr)
    );
    assert!(said.contains("step 14/16"), "{said}");
    assert_eq!(support::names(&lab.path("logs")).len(), 1);
}

#[test]
fn a_retry_that_would_not_help_or_costs_more_changes_nothing() {
    for (story, second, later, arguments, expected) in [
        (
            "00-happy-build",
            60.0,
            0,
            &["worker"][..],
            "another one restarts 3 nodes",
        ),
        ("00-happy-build", 25.0, 0, &["worker"], "a build is running"),
        (
            "00-happy-build",
            60.0,
            0,
            &["master"],
            "it has no MachineOSConfig",
        ),
        (
            "00-happy-build",
            60.0,
            0,
            &["wrker"],
            "the cluster has no pool \"wrker\"",
        ),
        (
            "04d-unknown-instruction",
            30.0,
            0,
            &["worker", "--rebuild"],
            "would be again",
        ),
        (
            "04a-push-secret-missing",
            40.0,
            200,
            &["worker"],
            "the build is not begun",
        ),
        (
            "04c-nested-push-path",
            70.0,
            200,
            &["worker"],
            "can't be recorded",
        ),
    ] {
        let lab = Lab::play(Story::read(story).at(second).later(later));
        let error = error(&lab.run("retry", arguments));
        assert!(error.contains(expected), "{error}");
        assert!(error.contains("hint:"), "{error}");
        assert_eq!(patches(&lab), 0);
    }
    // What can't be done is said before anything is.
    let rights = rights("retry");
    assert_eq!(rights.len(), 11);
    for right in rights {
        let mut moment = Story::read("01-fail-retry-edit").at(190.0);
        moment.forbidden.push(right.clone());
        let lab = Lab::play(moment);
        let error = error(&lab.run("retry", &["worker"]));
        let (verb, resource) = &right;
        assert!(
            error.contains(&format!("does not let you {verb} {resource}")),
            "{error}"
        );
        assert_eq!(patches(&lab), 0);
    }
}
