//! What the CronJob runs, and what it may do.

use std::collections::BTreeSet;
use std::fs;
use std::process::Command;

use k8s_openapi::api::batch::v1::CronJob;
use serde_json::{Value, json};

use crate::story::{Cluster, Story};
use crate::{IMAGE, objects, of_kind, support};

/// What of a pod breaks the "restricted" Pod Security Standard
/// (kubernetes.io/docs/concepts/security/pod-security-standards). Stricter than that: options of which it allows
/// some values are refused.
fn breaks_restricted(pod: &Value) -> Vec<&'static str> {
    let mut breaks = Vec::new();
    let mut need = |holds: bool, what| {
        if !holds {
            breaks.push(what);
        }
    };
    let unset = |value: &Value| value.is_null() || *value == false;
    for host in ["hostNetwork", "hostPID", "hostIPC"] {
        need(unset(&pod[host]), "host namespaces");
    }
    let kinds = [
        "configMap",
        "csi",
        "downwardAPI",
        "emptyDir",
        "ephemeral",
        "persistentVolumeClaim",
        "projected",
        "secret",
    ];
    for volume in pod["volumes"].as_array().into_iter().flatten() {
        let mut names = volume.as_object().unwrap().keys();
        need(
            names.all(|name| name == "name" || kinds.contains(&name.as_str())),
            "volumes",
        );
    }
    let profiles = ["RuntimeDefault", "Localhost"];
    let of_pod = &pod["securityContext"];
    for context in [
        &of_pod["windowsOptions"],
        &of_pod["seLinuxOptions"],
        &of_pod["sysctls"],
        &of_pod["appArmorProfile"],
    ] {
        need(context.is_null(), "options");
    }
    for list in ["containers", "initContainers", "ephemeralContainers"] {
        for container in pod[list].as_array().into_iter().flatten() {
            let own = &container["securityContext"];
            let either = |name: &str| match &own[name] {
                Value::Null => of_pod[name].clone(),
                value => value.clone(),
            };
            need(unset(&own["privileged"]), "privileged");
            need(own["allowPrivilegeEscalation"] == false, "escalation");
            need(either("runAsNonRoot") == true, "runAsNonRoot");
            need(either("runAsUser") != 0, "runAsUser");
            let profile = either("seccompProfile");
            need(
                profiles.contains(&profile["type"].as_str().unwrap_or("")),
                "seccomp",
            );
            let dropped = own["capabilities"]["drop"].as_array();
            need(
                dropped.is_some_and(|all| all.contains(&json!("ALL"))),
                "capabilities",
            );
            for added in own["capabilities"]["add"].as_array().into_iter().flatten() {
                need(added == "NET_BIND_SERVICE", "capabilities");
            }
            for field in [
                "procMount",
                "seLinuxOptions",
                "windowsOptions",
                "appArmorProfile",
            ] {
                need(own[field].is_null(), "options");
            }
            for port in container["ports"].as_array().into_iter().flatten() {
                need(port["hostPort"].is_null(), "host ports");
            }
        }
    }
    breaks
}

fn pod(objects: &[Value]) -> Value {
    of_kind(objects, "CronJob")["spec"]["jobTemplate"]["spec"]["template"]["spec"].clone()
}

#[test]
fn the_pod_keeps_to_the_restricted_standard() {
    let objects = objects(&[&IMAGE[..], &["--save-logs-claim", "logs"]].concat());
    let pod = pod(&objects);
    assert_eq!(breaks_restricted(&pod), Vec::<&str>::new());
    let changes: [(&str, Value, &str); 7] = [
        (
            "/securityContext/runAsNonRoot",
            json!(false),
            "runAsNonRoot",
        ),
        ("/securityContext/seccompProfile", json!({}), "seccomp"),
        (
            "/containers/0/securityContext/capabilities/drop",
            json!(["KILL"]),
            "capabilities",
        ),
        (
            "/containers/0/securityContext/allowPrivilegeEscalation",
            Value::Null,
            "escalation",
        ),
        (
            "/containers/0/securityContext",
            json!({ "privileged": true, "capabilities": { "drop": ["ALL"] }, "allowPrivilegeEscalation": false }),
            "privileged",
        ),
        (
            "/volumes/0",
            json!({ "name": "x", "hostPath": { "path": "/" } }),
            "volumes",
        ),
        ("/enableServiceLinks", json!(true), ""),
    ];
    for (pointer, value, what) in changes {
        let mut broken = pod.clone();
        *broken.pointer_mut(pointer).unwrap() = value;
        let found = breaks_restricted(&broken);
        assert_eq!(found.first().copied().unwrap_or(""), what, "{pointer}");
    }
    let container = &pod["containers"][0];
    assert_eq!(container["securityContext"]["readOnlyRootFilesystem"], true);
    // Where the program writes.
    let mounts: Vec<&str> = container["volumeMounts"]
        .as_array()
        .unwrap()
        .iter()
        .map(|mount| mount["mountPath"].as_str().unwrap())
        .collect();
    assert_eq!(mounts, ["/tmp", "/logs"]);
    assert!(container["resources"]["limits"]["memory"].is_string());
    let own = of_kind(&objects, "Namespace");
    let labels = &own["metadata"]["labels"];
    assert_eq!(labels["pod-security.kubernetes.io/enforce"], "restricted");
}

/// Fields that a CronJob doesn't have would be refused, or dropped.
#[test]
fn the_cronjob_has_known_fields_only() {
    let objects = objects(&[&IMAGE[..], &["--schedule", "5 * * * *"]].concat());
    let object = of_kind(&objects, "CronJob");
    let known: CronJob = serde_json::from_value(object.clone()).unwrap();
    assert_eq!(&serde_json::to_value(&known).unwrap(), object);
    let spec = known.spec.unwrap();
    assert_eq!(spec.schedule, "5 * * * *");
    assert_eq!(spec.concurrency_policy.as_deref(), Some("Forbid"));
    let job = spec.job_template.spec.unwrap();
    assert_eq!(job.backoff_limit, Some(0));
    assert!(job.active_deadline_seconds.is_some());
    // The last good look must stay, or one that failed before it would be the last again.
    assert_eq!(spec.successful_jobs_history_limit, Some(1));
}

/// Its service account may do what `cluster status --print-rbac` names, and nothing else.
#[test]
fn it_may_do_what_status_needs_and_no_more() {
    let output = Command::new(env!("CARGO_BIN_EXE_coreos-bake"))
        .args(["cluster", "status", "--print-rbac", "--format", "json"])
        .output()
        .unwrap();
    let needed: Value = serde_json::from_slice(&output.stdout).unwrap();
    for arguments in [
        &IMAGE[..],
        &[IMAGE[0], IMAGE[1], "--namespace", "ops-tools"],
    ] {
        let namespace = arguments.get(3).copied().unwrap_or("coreos-bake");
        let objects = objects(arguments);
        let has_own = objects.iter().any(|object| object["kind"] == "Namespace");
        assert_eq!(has_own, namespace == "coreos-bake");
        let account = of_kind(&objects, "ServiceAccount")["metadata"].clone();
        assert_eq!(account["namespace"], namespace);
        assert_eq!(pod(&objects)["serviceAccountName"], account["name"]);
        for role in needed["items"].as_array().unwrap() {
            let kind = role["kind"].as_str().unwrap();
            let given = of_kind(&objects, kind);
            assert_eq!(given["rules"], role["rules"]);
            for rule in given["rules"].as_array().unwrap() {
                let verbs = rule["verbs"].as_array().unwrap();
                assert!(
                    verbs.iter().all(|verb| verb == "get" || verb == "list"),
                    "{rule}"
                );
                assert!(
                    !rule.to_string().contains("secret") && !rule.to_string().contains('*'),
                    "{rule}"
                );
            }
            let binding = of_kind(&objects, &format!("{kind}Binding"));
            assert_eq!(
                binding["metadata"]["namespace"],
                role["metadata"]["namespace"]
            );
            assert_eq!(binding["roleRef"]["kind"], kind);
            assert_eq!(binding["roleRef"]["name"], given["metadata"]["name"]);
            let subject = json!([{ "kind": "ServiceAccount", "name": account["name"], "namespace": namespace }]);
            assert_eq!(binding["subjects"], subject);
        }
        let kinds: BTreeSet<&str> = objects
            .iter()
            .map(|object| object["kind"].as_str().unwrap())
            .collect();
        let expected = [
            "AlertingRule",
            "ClusterRole",
            "ClusterRoleBinding",
            "CronJob",
            "Role",
            "RoleBinding",
            "ServiceAccount",
        ];
        let expected: BTreeSet<&str> = expected
            .into_iter()
            .chain(has_own.then_some("Namespace"))
            .collect();
        assert_eq!(kinds, expected);
    }
}

/// What the container runs ends as the Job's policy, and the alerts, have it.
#[test]
fn what_it_runs_ends_as_its_job_expects() {
    let objects = objects(&[&IMAGE[..], &["--save-logs-claim", "logs"]].concat());
    let policy = &of_kind(&objects, "CronJob")["spec"]["jobTemplate"]["spec"]["podFailurePolicy"];
    let on = &policy["rules"][0]["onExitCodes"];
    let container = pod(&objects)["containers"][0].clone();
    assert_eq!(on["containerName"], container["name"]);
    let needs_somebody = on["values"][0].as_i64();
    let place = tempfile::tempdir().unwrap();
    let run = |moment| {
        let cluster = Cluster::play(moment);
        let config = place.path().join("kubeconfig");
        fs::write(&config, cluster.kubeconfig()).unwrap();
        assert_eq!(container["command"], json!(["coreos-bake"]));
        let arguments = container["args"].as_array().unwrap().iter();
        let logs = place.path().join("logs");
        let arguments = arguments.map(|argument| match argument.as_str().unwrap() {
            "/logs" => logs.to_str().unwrap().to_owned(),
            other => other.to_owned(),
        });
        let output = Command::new(env!("CARGO_BIN_EXE_coreos-bake"))
            .args(arguments)
            .env_clear()
            .env("KUBECONFIG", config)
            .output()
            .unwrap();
        output.status.code().map(i64::from)
    };
    let story = Story::read("10-lost-edit");
    assert_eq!(run(story.at(210.0)), needs_somebody);
    assert_eq!(support::names(&place.path().join("logs")).len(), 1);
    assert_eq!(run(Story::read("00-happy-build").at(60.0)), Some(0));
    let mut moment = story.at(210.0);
    moment.refusal = Some(500);
    assert_eq!(run(moment), Some(1));
}
