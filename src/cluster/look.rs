//! A Job that looks into an image from within the cluster, for whoever can't reach its registry.
//!
//! It runs coreos-bake as `check` or `inspect`, and what they print is its answer, whether or not it is a good
//! one: `check` fails if a driver is missing.

use std::collections::BTreeMap;
use std::io::{Read, Seek, Write};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{Pod, Secret};
use serde::Deserialize;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tokio::time::sleep;

use super::credentials;
use super::kinds::Kind;
use super::objects::NAMESPACE;
use super::server::{Applied, JSON, Server};
use super::tool::{Tool, ToolImage};
use crate::failure::Failure;
use crate::foreign::visible;
use crate::stages::INSTALL;

/// What the Job is called, before what makes it differ from others, and its container.
const NAME: &str = "coreos-bake-look";
/// The longest that a look may take, in seconds: an image has some gigabytes.
const LOOK_MAX: u64 = 1800;
/// How long a Job stays that nobody could take away, in seconds.
const KEPT_MAX: u64 = 3600;
/// Where the credentials for the registry are.
const CREDENTIALS: &str = "/credentials";
/// Where the authorities of the cluster's own registry are looked for (containers-certs.d(5)).
const AUTHORITIES: &str =
    "/etc/containers/certs.d/image-registry.openshift-image-registry.svc:5000";
/// Lines of its log that are read, and bytes of those.
const LINES_MAX: u32 = 20_000;
const BYTES_MAX: u64 = 4 << 20;
/// Why a container does not start that will not start later either. Truth: kubernetes
/// pkg/kubelet/images/types.go and pkg/kubelet/kuberuntime/kuberuntime_container.go@25d732ce.
const HOPELESS: [&str; 5] = [
    "ImagePullBackOff",
    "InvalidImageName",
    "ErrImageNeverPull",
    "CreateContainerConfigError",
    "CreateContainerError",
];

/// What to look for, and where.
#[derive(Clone, Copy, Debug)]
pub struct Wanted<'a> {
    /// The image, by its digest.
    pub image: &'a str,
    /// Secret in the operator's namespace with credentials for it.
    pub secret: &'a str,
    /// Kernel modules that it has to have.
    pub drivers: &'a [String],
    /// What looks.
    pub tool: &'a ToolImage,
}

/// What was seen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// Labels of the image.
    pub labels: BTreeMap<String, String>,
    /// Drivers that are missing where an installed node needs them, each with the reason.
    pub missing: Vec<String>,
}

impl Server {
    /// Has a Job look into an image, and takes it away afterwards. It is asked about every `pause`.
    ///
    /// # Errors
    /// As [`Server::snapshot`]; a Job that can't run, or does not answer.
    pub async fn look_from_within(&self, wanted: &Wanted<'_>, pause: Duration) -> Result<Seen> {
        let secret: Option<Secret> = self.get(Kind::SECRET, wanted.secret).await?;
        let key = secret.as_ref().and_then(credentials::key);
        let key = key.with_context(|| {
            format!(
                "secret {} has no credentials for a registry",
                visible(wanted.secret)
            )
        })?;
        let job = job(wanted, key);
        let name = job["metadata"]["name"].as_str().unwrap_or_default();
        // Whatever was set of it before, it is ours by its name.
        if let Applied::Conflicts(_) = self.apply(Kind::JOB, &job, true).await? {
            return Err(anyhow!("somebody else has made Job {name} in {NAMESPACE}"));
        }
        let seen = self.answer_of(name, wanted, pause).await;
        let found: Option<Job> = self.get(Kind::JOB, name).await?;
        if let Some(uid) = found.and_then(|job| job.metadata.uid) {
            self.delete(Kind::JOB, name, &uid).await?;
        }
        seen
    }

    async fn answer_of(&self, name: &str, wanted: &Wanted<'_>, pause: Duration) -> Result<Seen> {
        let began = Instant::now();
        // Longer than the Job may take: it is the cluster that ends it.
        let most = Duration::from_secs(LOOK_MAX + 60);
        let is_over = |job: &Job| {
            let status = job.status.as_ref();
            let conditions = status.and_then(|status| status.conditions.as_ref());
            let mut conditions = conditions.into_iter().flatten();
            conditions.any(|is| ["Complete", "Failed"].contains(&&*is.type_) && is.status == "True")
        };
        loop {
            let job: Option<Job> = self.get(Kind::JOB, name).await?;
            let job = job.with_context(|| {
                format!("Job {name} in {NAMESPACE} was removed before it answered")
            })?;
            let selector = format!("batch.kubernetes.io/job-name={name}");
            let pods = self.list::<Pod>(Kind::POD, Some(&selector), JSON);
            let pods = pods.await?.items;
            if is_over(&job) {
                let pod = pods.iter().find_map(|pod| pod.metadata.name.as_deref());
                let log = match pod {
                    Some(pod) => self.log_of(pod).await?,
                    None => String::new(),
                };
                return seen(&log, wanted.drivers).ok_or_else(|| {
                    let words = log.lines().rfind(|line| !line.trim().is_empty());
                    let words = words.map_or_else(
                        || "it left no word".to_owned(),
                        |words| format!("it says {}", visible(words)),
                    );
                    anyhow!("the look from within the cluster failed: {words}")
                });
            }
            if let Some(why) = pods.iter().find_map(hopeless) {
                return Err(Failure::new(
                    format!("the pod that is to look into the image does not start: {}", visible(&why)),
                    format!("{} has to be an image that the cluster can pull, with coreos-bake on its PATH", wanted.tool),
                )
                .into());
            }
            ensure!(
                began.elapsed() < most,
                "Job {name} in {NAMESPACE} is not over within {} s",
                most.as_secs()
            );
            sleep(pause).await;
        }
    }

    async fn log_of(&self, pod: &str) -> Result<String> {
        let mut log = tempfile::tempfile().context("making room for a log")?;
        self.log(pod, NAME, Some(LINES_MAX), &mut log).await?;
        let mut text = Vec::new();
        let read = log.flush().and_then(|()| log.rewind());
        let read = read.and_then(|()| log.take(BYTES_MAX).read_to_end(&mut text));
        read.context("reading a log")?;
        Ok(String::from_utf8_lossy(&text).into_owned())
    }
}

/// Why a pod will never start, if so.
fn hopeless(pod: &Pod) -> Option<String> {
    let status = pod.status.as_ref()?;
    let mut containers = status.container_statuses.iter().flatten();
    containers.find_map(|container| {
        let waiting = container.state.as_ref()?.waiting.as_ref()?;
        let reason = waiting.reason.as_deref()?;
        let message = waiting.message.as_deref().unwrap_or_default();
        let told = format!("{reason}: {message}");
        HOPELESS.contains(&reason).then_some(told)
    })
}

/// The Job. Another look has another name.
fn job(wanted: &Wanted<'_>, key: &str) -> Value {
    let authfile = format!("{CREDENTIALS}/{key}");
    let image = format!("docker://{}", wanted.image);
    let command = match wanted.drivers.is_empty() {
        true => "inspect",
        false => "check",
    };
    let mut arguments = vec![
        "--quiet",
        command,
        &image,
        "--format",
        "json",
        "--authfile",
        &authfile,
    ];
    for driver in wanted.drivers {
        arguments.extend(["--driver", driver]);
    }
    let tool = Tool {
        name: NAME,
        image: wanted.tool,
        service_account: None,
        scratch: "8Gi",
        memory: ["256Mi", "1Gi"],
    };
    let credentials = json!({ "name": "credentials", "secret": { "secretName": wanted.secret } });
    // In each namespace; a registry elsewhere has no use for it.
    let authorities = json!({
        "name": "authorities", "configMap": { "name": "openshift-service-ca.crt", "optional": true },
    });
    let volumes = [(credentials, CREDENTIALS), (authorities, AUTHORITIES)];
    let spec = json!({
        "backoffLimit": 0,
        "activeDeadlineSeconds": LOOK_MAX,
        "ttlSecondsAfterFinished": KEPT_MAX,
        "template": tool.template(&arguments, &volumes),
    });
    let sum = hex::encode(Sha256::digest(spec.to_string()));
    json!({
        "apiVersion": Kind::JOB.api_version(), "kind": Kind::JOB.name(),
        "metadata": {
            "name": format!("{NAME}-{}", &sum[..12]), "namespace": NAMESPACE,
            "labels": { "app.kubernetes.io/name": "coreos-bake" },
        },
        "spec": spec,
    })
}

/// What `check` or `inspect` has printed of `drivers`, among what else is in a log. None if it does not have a
/// verdict on each.
fn seen(log: &str, drivers: &[String]) -> Option<Seen> {
    #[derive(Deserialize)]
    struct Printed {
        schema: String,
        labels: BTreeMap<String, String>,
        #[serde(default)]
        drivers: Vec<Verdict>,
    }
    #[derive(Deserialize)]
    struct Verdict {
        driver: String,
        stage: String,
        status: String,
        #[serde(default)]
        why: String,
    }
    let starts = log.match_indices('{').map(|(at, _)| at);
    let mut starts = starts.filter(|at| *at == 0 || log.as_bytes()[at - 1] == b'\n');
    let printed = starts.find_map(|at| {
        let mut values = serde_json::Deserializer::from_str(&log[at..]).into_iter::<Printed>();
        let printed = values.next()?.ok()?;
        let is_ours = printed.schema.starts_with("coreos-bake/");
        is_ours.then_some(printed)
    })?;
    let mut missing = Vec::new();
    for driver in drivers {
        for stage in INSTALL {
            let mut verdicts = printed.drivers.iter();
            let verdict = verdicts
                .find(|verdict| verdict.driver == *driver && verdict.stage == stage.name())?;
            if !["present", "holds"].contains(&&*verdict.status) {
                let name = stage.name();
                missing.push(format!("{driver} is missing at {name}: {}", verdict.why));
            }
        }
    }
    Some(Seen {
        labels: printed.labels,
        missing,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHECKED: &str = r#"{
  "schema": "coreos-bake/check/v1",
  "drivers": [
    { "driver": "mpt3sas", "stage": "live-initramfs", "status": "missing", "why": "no" },
    { "driver": "mpt3sas", "stage": "install-initramfs", "status": "missing", "why": "it is in the root only" },
    { "driver": "mpt3sas", "stage": "install-root", "status": "present", "name": "mpt3sas" }
  ],
  "labels": { "a": "b" }
}"#;

    #[test]
    fn an_answer_is_found_among_warnings() {
        let log = format!("warning: {{}} is odd\n{CHECKED}\nerror: megaraid\n");
        let found = seen(&log, &["mpt3sas".to_owned()]).unwrap();
        assert_eq!(found.labels["a"], "b");
        assert_eq!(
            found.missing,
            ["mpt3sas is missing at install-initramfs: it is in the root only"]
        );
        // Nothing is taken for good that was not judged.
        let both = ["mpt3sas".to_owned(), "hpsa".to_owned()];
        assert_eq!(seen(&log, &both), None);
        for log in ["", "{}", "error: no image\n", &CHECKED[..200]] {
            assert_eq!(seen(log, &[]), None, "{log}");
        }
    }

    #[test]
    fn another_look_is_another_job() {
        let tool: ToolImage = "quay.io/me/coreos-bake:1".parse().unwrap();
        let drivers = ["mpt3sas".to_owned()];
        let wanted = |image, drivers| {
            let wanted = Wanted {
                image,
                secret: "push",
                drivers,
                tool: &tool,
            };
            job(&wanted, ".dockercfg")
        };
        let first = wanted("a.example.com/b@sha256:1", &drivers[..]);
        assert_eq!(first, wanted("a.example.com/b@sha256:1", &drivers));
        let name = |job: &Value| job["metadata"]["name"].as_str().unwrap().to_owned();
        assert_ne!(
            name(&first),
            name(&wanted("a.example.com/b@sha256:2", &drivers))
        );
        let arguments = &first["spec"]["template"]["spec"]["containers"][0]["args"];
        let authfile = "/credentials/.dockercfg";
        assert_eq!(arguments[1], "check");
        assert!(arguments.as_array().unwrap().contains(&json!(authfile)));
        let without = wanted("a.example.com/b@sha256:1", &[]);
        assert_eq!(
            without["spec"]["template"]["spec"]["containers"][0]["args"][1],
            "inspect"
        );
    }
}
