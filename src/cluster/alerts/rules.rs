//! What platform Prometheus can tell, as an AlertingRule.
//!
//! Truth, as far as not said otherwise: machine-config-operator@7ff337a4f was run with kube-state-metrics and
//! Prometheus; what they exported while builds failed and were retried is in `testdata/ocl-stories`, and
//! `tests/alerts.rs` has Prometheus' own promtool judge the rules by it. That a cluster keeps these series,
//! under both of its collection profiles, is cluster-monitoring-operator
//! assets/kube-state-metrics/minimal-service-monitor.yaml@f581865b4 and install/0000_90_machine-config_00_servicemonitor.yaml
//! of the machine-config operator.

use serde_json::{Value, json};

use super::job;
use super::options::{AlertOptions, Watch};
use crate::cluster::judge::BUILD_MAX;
use crate::cluster::objects::NAMESPACE;

/// Jobs that build an image: `build-`, the pool, a digest. Truth: machine-config-operator
/// pkg/controller/build/utils/helpers.go@7ff337a4f, GetBuildJobName; the name of a MachineOSConfig is its
/// pool's.
const BUILD_JOB: &str = "build-(.+)-[0-9a-f]{32}";

/// How long a pool may stay as far behind as it is. A node takes a quarter of an hour, and one of bare metal
/// with much to drain three times that; a first image two hours.
const BEHIND_MAX: &str = "3h";
/// How long nobody can look before somebody is called. The API may be away for minutes while a control plane
/// is updated.
const BLIND_MAX: &str = "45m";

/// The AlertingRule. It can't hold what PrometheusRules can: recording rules, and `keep_firing_for`.
///
/// Truth: openshift/api monitoring/v1/types.go@2a3d73913.
pub(super) fn alerting_rule(options: &AlertOptions) -> Value {
    let mut rules = vec![build_failed(), build_not_over(), pool_behind()];
    if let Some(watch) = &options.watch {
        let looks = Looks::of(watch);
        rules.extend([looks.found_something(), looks.are_blind()]);
    }
    json!({
        "apiVersion": "monitoring.openshift.io/v1", "kind": "AlertingRule",
        "metadata": { "name": "coreos-bake", "namespace": "openshift-monitoring" },
        "spec": { "groups": [{ "name": "coreos-bake", "rules": rules }] },
    })
}

/// Where series don't say it, alerts get the operator's namespace: Alertmanager puts those of one namespace into
/// one message, unless it is configured otherwise.
fn labels() -> Value {
    json!({ "severity": "warning", "namespace": NAMESPACE })
}

/// Series of kube-state-metrics on Jobs that build.
fn of_builds(metric: &str, more: &str) -> String {
    format!(
        r#"max by (namespace, job_name) ({metric}{{job="kube-state-metrics",namespace="{NAMESPACE}",job_name=~"{BUILD_JOB}"{more}}})"#
    )
}

/// The same alerts, with the pool as a label.
fn with_pool(expression: &str) -> String {
    format!(
        "label_replace(\n  {expression},\n  \"pool\", \"$1\", \"job_name\", \"{BUILD_JOB}\"\n)\n"
    )
}

/// One alert for each failed build, from the moment that its last attempt has failed. The Job is there until
/// the build is replaced, also where an edit was lost and the pool is green.
fn build_failed() -> Value {
    let failed = of_builds("kube_job_failed", r#",condition="true""#);
    json!({
        "alert": "CoreosBakeBuildFailed",
        "expr": with_pool(&format!("{failed} > 0")),
        "labels": { "severity": "warning" },
        "annotations": {
            "summary": "The OS image of pool {{ $labels.pool }} could not be built.",
            "description": format!("\
All attempts of the build failed. Nodes of pool {{{{ $labels.pool }}}} keep the image that they have.
Read its log, and save it, because the next change of the pool's configuration deletes it:
  oc -n {NAMESPACE} logs job/{{{{ $labels.job_name }}}} -c image-build
See which step failed, and what helps:
  coreos-bake cluster status
If the cause was outside of the Containerfile, mend it there, and build again:
  coreos-bake cluster retry {{{{ $labels.pool }}}}
If it is in the Containerfile, hand over one that is mended, or go back to the last one that was good:
  coreos-bake cluster handoff {{{{ $labels.pool }}}} --containerfile FILE
  coreos-bake cluster handoff {{{{ $labels.pool }}}} --undo
Deleting the Job ends this alert, but not the failure."),
        },
    })
}

/// A build that takes longer than any should. The Job of a good build is deleted seconds after its end, so one
/// that has neither failed nor gone hangs, waits for a pod, or has built an image that can't be recorded.
fn build_not_over() -> Value {
    let began = of_builds("kube_job_status_start_time", "");
    let failed = of_builds("kube_job_failed", r#",condition="true""#);
    json!({
        "alert": "CoreosBakeBuildNotOver",
        "expr": with_pool(&format!("time() - {began} > {BUILD_MAX}\n  unless {failed} > 0")),
        "labels": { "severity": "warning" },
        "annotations": {
            "summary": "The OS image of pool {{ $labels.pool }} has been in the making for {{ $value | humanizeDuration }}.",
            "description": format!("\
    The build has neither failed nor ended well. It hangs, its pod can't be started, or its image was pushed \
under a name that the cluster can't record.
See which it is, and what helps:
  coreos-bake cluster status
What it says while it runs:
  oc -n {NAMESPACE} logs job/{{{{ $labels.job_name }}}} -c image-build
Once the cause is mended, have it built again:
  coreos-bake cluster retry {{{{ $labels.pool }}}}"),
        },
    })
}

/// Machines that don't get what their pool should have. Whoever updates 200 nodes one by one is not to be
/// called: the alert waits from the last node on that came closer.
///
/// The operator exports the counts up to 4.20, its controller from 4.21 on; both are scraped. Neither exports
/// whether a pool is paused.
fn pool_behind() -> Value {
    const BEHIND: &str =
        "(max by (pool) (mco_machine_count) - max by (pool) (mco_updated_machine_count))";
    json!({
        "alert": "CoreosBakePoolBehind",
        "expr": format!("{BEHIND} > 0\n  and {BEHIND} >= max_over_time({BEHIND}[10m:1m])\n"),
        "for": BEHIND_MAX,
        "labels": labels(),
        "annotations": {
            "summary": format!("Machines of pool {{{{ $labels.pool }}}} have been left behind for {BEHIND_MAX}: {{{{ $value }}}}."),
            "description": "\
    They don't have what the pool is to have, and none has come closer: an image can't be built or is never begun, \
a node can't be drained or can't take the image, or the pool is paused.
See which it is, and what helps:
  coreos-bake cluster status
No metric tells whether a pool is paused. This does:
  oc get machineconfigpool {{ $labels.pool }} -o jsonpath='{.spec.paused}'
If it is paused on purpose, silence this alert for pool={{ $labels.pool }} until it goes on.",
        },
    })
}

/// Looks of the CronJob. One alert lasts from look to look, so it can't have the name of a Job.
struct Looks<'a> {
    namespace: &'a str,
    /// Which series are of its Jobs.
    selector: String,
}

impl<'a> Looks<'a> {
    fn of(watch: &'a Watch) -> Self {
        let namespace = watch.namespace();
        let name = job::NAME;
        Self {
            namespace,
            selector: format!(
                r#"job="kube-state-metrics",namespace="{namespace}",job_name=~"{name}-[0-9]+""#
            ),
        }
    }

    /// The last look that has ended. One that runs has pods, and one that has just begun will.
    fn last(&self) -> String {
        let selector = &self.selector;
        format!(
            "topk by (namespace) (1,
    max by (namespace, job_name) (kube_job_status_start_time{{{selector}}}) < time() - 60
    unless on (namespace, job_name) kube_job_status_active{{{selector}}} > 0
  )"
        )
    }

    /// Jobs that failed because nobody could look. Those with which `cluster status` says that a pool needs
    /// somebody fail for another reason, which kube-state-metrics calls "" (internal/store/job.go@c92fe0c5).
    fn blind(&self) -> String {
        let selector = &self.selector;
        format!(
            r#"kube_job_status_failed{{{selector},reason=~"BackoffLimitExceeded|DeadlineExceeded"}} > 0"#
        )
    }

    /// Where the `minimal` collection profile leaves the reasons out, both kinds of failures are here.
    fn found_something(&self) -> Value {
        let (last, blind, selector) = (self.last(), self.blind(), &self.selector);
        let failed = format!(r#"kube_job_failed{{{selector},condition="true"}} > 0"#);
        json!({
            "alert": "CoreosBakePoolNeedsSomebody",
            "expr": format!(
                "count by (namespace) (\n  {last}\n  and on (namespace, job_name) {failed}\n  \
                 unless on (namespace, job_name) {blind}\n)\n"
            ),
            "labels": labels(),
            "annotations": {
                "summary": "A pool that on-cluster layering builds needs somebody.",
                "description": format!("\
        `coreos-bake cluster status` found what no metric tells, such as an edit that is in no image although its \
pool is up to date. See what it is, and what helps:
  coreos-bake cluster status
What the CronJob saw:
  {}
If that ends in an error, the cluster could not be asked.", self.log_command(&failed)),
            },
        })
    }

    fn are_blind(&self) -> Value {
        let (last, blind) = (self.last(), self.blind());
        json!({
            "alert": "CoreosBakeStatusFails",
            "expr": format!("count by (namespace) (\n  {last}\n  and on (namespace, job_name) {blind}\n)\n"),
            "for": BLIND_MAX,
            "labels": labels(),
            "annotations": {
                "summary": "Nobody looks after the pools that on-cluster layering builds.",
                "description": format!("\
        The CronJob {name} could not ask the cluster, or could not run: its image, its rights or its time. What no \
metric tells stays unseen meanwhile.
Why:
  {log}
  oc -n {namespace} describe cronjob/{name}",
                    name = job::NAME,
                    log = self.log_command(&blind),
                    namespace = self.namespace,
                ),
            },
        })
    }

    /// The command that prints the log of the last of some Jobs.
    fn log_command(&self, jobs: &str) -> String {
        let (namespace, selector) = (self.namespace, &self.selector);
        let query = format!(
            "topk(1, kube_job_status_start_time{{{selector}}} and on (namespace, job_name) {jobs})"
        );
        format!(
            "oc -n {namespace} logs job/{{{{ with query `{query}` }}}}{{{{ . | first | label \"job_name\" }}}}{{{{ end }}}}"
        )
    }
}
