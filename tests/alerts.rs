//! What `cluster alerts` prints: rules that Prometheus itself judges by what a cluster exported, and a CronJob
//! that may do no more than it has to.

#[path = "alerts/builds.rs"]
mod builds;
#[path = "alerts/job.rs"]
mod job;
#[path = "alerts/looks.rs"]
mod looks;
#[path = "alerts/prometheus.rs"]
mod prometheus;
#[path = "support/story/mod.rs"]
mod story;
mod support;

use std::collections::BTreeSet;
use std::fs;
use std::process::{Command, Output};

use serde_json::{Value, json};
use support::{have, text};

const IMAGE: [&str; 2] = ["--image", "quay.io/me/coreos-bake:1"];
const OPERATOR: &str = "openshift-machine-config-operator";
/// A Job of the recording.
const BUILD: &str = "build-worker-bda076b71d392efd7c079b4cea07443a";

const MINUTE: u64 = 60;

fn alerts(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_coreos-bake"));
    command.args(["cluster", "alerts"]).args(arguments);
    command.output().unwrap()
}

fn objects(arguments: &[&str]) -> Vec<Value> {
    let output = alerts(&[arguments, &["--format", "json"]].concat());
    assert_eq!(output.status.code(), Some(0), "{}", text(&output));
    let list: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(
        json!([list["apiVersion"], list["kind"]]),
        json!(["v1", "List"])
    );
    list["items"].as_array().unwrap().clone()
}

fn of_kind<'a>(objects: &'a [Value], kind: &str) -> &'a Value {
    let mut found = objects.iter().filter(|object| object["kind"] == kind);
    let object = found.next().unwrap_or_else(|| panic!("no {kind}"));
    assert!(found.next().is_none(), "more than one {kind}");
    object
}

/// What a file of Prometheus' rules would have.
fn rules(arguments: &[&str]) -> Value {
    of_kind(&objects(arguments), "AlertingRule")["spec"].clone()
}

fn all_rules() -> Value {
    rules(&IMAGE)
}

/// Jobs, without the counts of machines.
fn jobs_only(metric: &str) -> bool {
    metric.starts_with("kube_job_")
}

#[test]
fn promtool_takes_the_rules() {
    if !have("promtool") {
        return;
    }
    let place = tempfile::tempdir().unwrap();
    let all: [(&[&str], usize); 3] = [
        (&[], 3),
        (&IMAGE, 5),
        (
            &[
                "--image",
                "quay.io/me/bake@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",
                "--namespace",
                "ops-tools",
                "--save-logs-claim",
                "logs",
            ],
            5,
        ),
    ];
    for (arguments, count) in all {
        let path = place.path().join("rules.json");
        fs::write(&path, rules(arguments).to_string()).unwrap();
        let output = Command::new("promtool")
            .args(["check", "rules", "--lint-fatal"])
            .arg(&path)
            .output()
            .unwrap();
        let said = text(&output);
        assert!(
            output.status.success() && said.contains(&format!("SUCCESS: {count} rules found")),
            "{said}{}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
}

/// The API has no more fields than these: openshift/api monitoring/v1/types.go@2a3d73913.
#[test]
fn rules_have_what_an_alerting_rule_can_have() {
    let objects = objects(&IMAGE);
    let object = of_kind(&objects, "AlertingRule");
    assert_eq!(object["apiVersion"], "monitoring.openshift.io/v1");
    assert_eq!(object["metadata"]["namespace"], "openshift-monitoring");
    let keys = |value: &Value| -> BTreeSet<String> {
        value.as_object().unwrap().keys().cloned().collect()
    };
    let allowed = |value: &Value, allowed: &[&str]| {
        let all = keys(value);
        assert!(
            all.iter().all(|key| allowed.contains(&key.as_str())),
            "{all:?}"
        );
    };
    allowed(&object["spec"], &["groups"]);
    let mut names = BTreeSet::new();
    for group in object["spec"]["groups"].as_array().unwrap() {
        allowed(group, &["name", "interval", "rules"]);
        for rule in group["rules"].as_array().unwrap() {
            allowed(rule, &["alert", "expr", "for", "labels", "annotations"]);
            let name = rule["alert"].as_str().unwrap().to_owned();
            // Names of ours: the operator has OCLBuildFailed and others, the platform KubeJobFailed.
            assert!(name.starts_with("CoreosBake"), "{name}");
            assert!(names.insert(name.clone()), "{name} is there twice");
            assert_eq!(rule["labels"]["severity"], "warning", "{name}");
            for text in ["summary", "description"] {
                assert!(rule["annotations"][text].is_string(), "{name}: {text}");
            }
        }
    }
    // What is called for has to be told with the command that works, and with what to do next.
    let text = |name: &str| {
        let mut all = object["spec"]["groups"][0]["rules"]
            .as_array()
            .unwrap()
            .iter();
        let rule = all.find(|rule| rule["alert"] == name).unwrap();
        rule["annotations"]["description"]
            .as_str()
            .unwrap()
            .to_owned()
    };
    let failed = text("CoreosBakeBuildFailed");
    for command in [
        "oc -n openshift-machine-config-operator logs job/{{ $labels.job_name }} -c image-build\n",
        "coreos-bake cluster status\n",
        "coreos-bake cluster retry {{ $labels.pool }}\n",
        "coreos-bake cluster handoff {{ $labels.pool }} --containerfile FILE\n",
        "coreos-bake cluster handoff {{ $labels.pool }} --undo\n",
    ] {
        assert!(failed.contains(command), "{failed}");
    }
    assert!(text("CoreosBakePoolBehind").contains("-o jsonpath='{.spec.paused}'"));
}

#[test]
fn what_is_printed_is_written_to_a_file_too() {
    let place = tempfile::tempdir().unwrap();
    let file = place.path().join("alerts.yaml");
    let named = file.to_str().unwrap();
    let printed = alerts(&IMAGE);
    let shown = text(&printed);
    let documents: Vec<Value> = serde_saphyr::from_multiple(&shown).unwrap();
    assert_eq!(documents, objects(&IMAGE));
    assert!(printed.stderr.is_empty());

    let written = alerts(&[&IMAGE[..], &["-o", named]].concat());
    assert_eq!(written.status.code(), Some(0));
    assert_eq!(fs::read_to_string(&file).unwrap(), shown);
    assert_eq!(support::names(place.path()), ["alerts.yaml"]);
    let again = alerts(&["-o", named]);
    assert_eq!(again.status.code(), Some(1));
    assert_eq!(fs::read_to_string(&file).unwrap(), shown);
    let replaced = alerts(&["-o", named, "--force", "--format", "json"]);
    assert_eq!(replaced.status.code(), Some(0));
    let list: Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
    assert_eq!(list["items"].as_array().unwrap().len(), 1);

    // Without the CronJob, it is said what nobody looks for.
    let said = String::from_utf8(alerts(&[]).stderr).unwrap();
    assert!(
        said.starts_with("warning: ") && said.contains("--image"),
        "{said}"
    );
}

#[test]
fn options_that_a_cluster_would_refuse_are_refused() {
    for (arguments, part) in [
        (&["--image", "coreos-bake"][..], "written out"),
        (
            &["--image", "docker://quay.io/me/bake:1"],
            "without a transport",
        ),
        (&["--schedule", "@hourly"], "--image"),
        (&["--namespace", "ops"], "--image"),
        (&["--save-logs-claim", "logs"], "--image"),
        (&["--force"], "--output"),
        (
            &[IMAGE[0], IMAGE[1], "--schedule", "61 * * * *"],
            "can't be its minute",
        ),
        (&[IMAGE[0], IMAGE[1], "--schedule", "hourly"], "five fields"),
        (&[IMAGE[0], IMAGE[1], "--namespace", "Ops"], "namespace"),
        (
            &[IMAGE[0], IMAGE[1], "--save-logs-claim", "a_b"],
            "PersistentVolumeClaim",
        ),
    ] {
        let output = alerts(arguments);
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {said}");
        assert!(
            said.replace('\n', " ").contains(part),
            "{arguments:?}: {said}"
        );
        assert!(output.stdout.is_empty());
    }
}
