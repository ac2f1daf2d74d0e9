//! A CronJob that runs `coreos-bake cluster status`, with no more rights than that needs.

use serde_json::{Value, json};

use super::options::Watch;
use crate::cluster::rights::Task;
use crate::cluster::tool::Tool;

/// What the CronJob, its service account and its container are called.
pub(super) const NAME: &str = "coreos-bake-status";
/// With which `cluster status` says that a pool needs somebody.
const NEEDS_SOMEBODY: i32 = 3;
/// The longest that a look may take, in seconds. A large cluster takes some seconds; a build's log of 200 MB
/// over a slow network takes minutes.
const LOOK_MAX: u64 = 600;
/// A look that could not begin in time, in seconds, waits for the next one.
const LATE_MAX: u64 = 300;
/// Looks that found something are kept, with what they printed: the next ones may find less, because the
/// cluster deletes the log of a failed build with the next change.
const KEPT_FAILURES: u32 = 10;
/// Where logs are kept if there is a claim.
const LOGS: &str = "/logs";

/// The objects of the CronJob, those first that others are in.
pub(super) fn objects(watch: &Watch) -> Vec<Value> {
    let namespace = watch.namespace();
    let mut objects = Vec::new();
    // One that somebody named has labels of its own.
    if watch.namespace.is_none() {
        objects.push(own_namespace(namespace));
    }
    objects.push(json!({
        "apiVersion": "v1", "kind": "ServiceAccount",
        "metadata": { "name": NAME, "namespace": namespace },
        "automountServiceAccountToken": false,
    }));
    for role in Task::Status.roles(&[]) {
        let binding = binding(&role, namespace);
        objects.extend([role, binding]);
    }
    objects.push(cron_job(watch));
    objects
}

/// Pods in it have to keep to the "restricted" Pod Security Standard.
fn own_namespace(name: &str) -> Value {
    let mut labels = json!({});
    for mode in ["enforce", "audit", "warn"] {
        labels[format!("pod-security.kubernetes.io/{mode}")] = json!("restricted");
    }
    json!({
        "apiVersion": "v1", "kind": "Namespace",
        "metadata": { "name": name, "labels": labels },
    })
}

/// Gives a role to the CronJob's service account.
fn binding(role: &Value, namespace: &str) -> Value {
    let kind = role["kind"].as_str().unwrap_or_default();
    let metadata = &role["metadata"];
    json!({
        "apiVersion": role["apiVersion"], "kind": format!("{kind}Binding"),
        "metadata": metadata,
        "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": metadata["name"] },
        "subjects": [{ "kind": "ServiceAccount", "name": NAME, "namespace": namespace }],
    })
}

/// A failed Job tells why it failed: by the policy if `cluster status` said that a pool needs somebody, else
/// by the limit of attempts or of time.
///
/// Truth: kubernetes pkg/controller/job/job_controller.go@6ae037f1d asks the policy for failures of pods before it
/// counts attempts.
fn cron_job(watch: &Watch) -> Value {
    json!({
        "apiVersion": "batch/v1", "kind": "CronJob",
        "metadata": { "name": NAME, "namespace": watch.namespace() },
        "spec": {
            "schedule": watch.schedule.to_string(),
            "concurrencyPolicy": "Forbid",
            "startingDeadlineSeconds": LATE_MAX,
            // The last good look has to stay: by it, monitoring sees that a bad one is over.
            "successfulJobsHistoryLimit": 1,
            "failedJobsHistoryLimit": KEPT_FAILURES,
            "jobTemplate": { "spec": {
                "backoffLimit": 0,
                "activeDeadlineSeconds": LOOK_MAX,
                "podFailurePolicy": { "rules": [
                    {
                        "action": "FailJob",
                        "onExitCodes": { "containerName": NAME, "operator": "In", "values": [NEEDS_SOMEBODY] },
                    },
                    // A node that is drained is what a good update looks like.
                    {
                        "action": "Ignore",
                        "onPodConditions": [{ "type": "DisruptionTarget", "status": "True" }],
                    },
                ] },
                "template": template(watch),
            } },
        },
    })
}

fn template(watch: &Watch) -> Value {
    let mut arguments = vec!["cluster", "status"];
    let mut volumes = Vec::new();
    if let Some(claim) = &watch.logs_claim {
        arguments.extend(["--save-logs", LOGS]);
        let claim = json!({ "name": "logs", "persistentVolumeClaim": { "claimName": claim.0 } });
        volumes.push((claim, LOGS));
    }
    let tool = Tool {
        name: NAME,
        image: &watch.image,
        service_account: Some(NAME),
        scratch: "1Gi",
        memory: ["64Mi", "256Mi"],
    };
    tool.template(&arguments, &volumes)
}
