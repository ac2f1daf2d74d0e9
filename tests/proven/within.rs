//! A Job looks into an image, which here runs as a process of this host.

use std::fs;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::registry::{PASSWORD, Registry, USER, have_registry};
use super::story::Lab;
use super::support::Workshop;
use super::{CONTAINERFILE, NAMESPACE, auths, hand_off, lab, pushed};

const TOOL: [&str; 2] = ["--tool-image", "quay.example.com/me/coreos-bake:1"];

/// What Jobs are called begins so.
const NAME: &str = "coreos-bake-look-";

/// The Job that is to look, if there is one.
fn job(lab: &Lab) -> Option<Value> {
    let objects = lab.cluster.now().objects;
    let mut jobs = objects.into_iter().filter(|((kind, ..), _)| kind == "Job");
    let (_, job) = jobs.find(|((_, _, name), _)| name.starts_with(NAME))?;
    Some(job)
}

fn pod_of(job: &Value, status: Value) -> Value {
    let name = job["metadata"]["name"].as_str().unwrap();
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {
            "name": format!("{name}-x7z9k"), "namespace": NAMESPACE,
            "labels": { "batch.kubernetes.io/job-name": name },
        },
        "status": status,
    })
}

/// Runs the Job that comes up, with its files where its pod would have them.
fn run(lab: &Lab, job: &Value) {
    let spec = &job["spec"]["template"]["spec"];
    let volumes = spec["volumes"].as_array().unwrap().iter();
    let secrets = volumes.filter_map(|volume| volume["secret"]["secretName"].as_str());
    let credentials = lab.path("credentials");
    fs::create_dir_all(&credentials).unwrap();
    for secret in secrets {
        let mut now = lab.cluster.now();
        let secret = now.object("Secret", secret);
        for (key, value) in secret["data"].as_object().unwrap() {
            let value = STANDARD.decode(value.as_str().unwrap()).unwrap();
            fs::write(credentials.join(key), value).unwrap();
        }
    }
    let container = &spec["containers"][0];
    assert_eq!(container["image"], TOOL[1]);
    assert_eq!(container["command"], json!(["coreos-bake"]));
    let arguments = container["args"].as_array().unwrap().iter();
    let arguments = arguments.map(|argument| {
        let argument = argument.as_str().unwrap();
        argument.replace("/credentials", credentials.to_str().unwrap())
    });
    let mut command = Command::new(env!("CARGO_BIN_EXE_coreos-bake"));
    let output = command
        .args(arguments)
        .env("HOME", "/nowhere")
        .output()
        .unwrap();
    let log = [output.stderr, output.stdout].concat();
    let pod = pod_of(job, json!({ "phase": "Succeeded" }));
    let name = pod["metadata"]["name"].as_str().unwrap();
    let container = container["name"].as_str().unwrap();
    lab.cluster
        .says(name, container, String::from_utf8(log).unwrap());
    lab.cluster.put(&pod);
    let end = if output.status.success() {
        "Complete"
    } else {
        "Failed"
    };
    end_job(lab, job, end);
}

fn end_job(lab: &Lab, job: &Value, end: &str) {
    let mut ended = job.clone();
    ended["status"]["conditions"] = json!([{ "type": end, "status": "True" }]);
    lab.cluster.put(&ended);
}

/// Hands off in a cluster where a Job goes as `act` says.
fn with_a_job(lab: &Lab, act: impl Fn(&Lab, &Value) + Sync) -> (Option<i32>, String) {
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !is_over.load(Ordering::SeqCst) {
                if let Some(job) = job(lab) {
                    act(lab, &job);
                    return;
                }
                thread::sleep(Duration::from_millis(50));
            }
        });
        let told = hand_off(lab, &TOOL);
        is_over.store(true, Ordering::SeqCst);
        told
    })
}

/// The registry takes the credentials of the cluster, and none that is known here.
#[test]
fn an_image_that_is_out_of_reach_from_here_is_looked_into_from_within() {
    let Some(workshop) = Workshop::new().filter(|_| have_registry()) else {
        return;
    };
    let registry = Registry::start(false);
    let image = pushed(&workshop, &registry, "layered", Some(CONTAINERFILE));
    let lab = lab(&image, None);
    let all: Value = serde_json::from_str(&auths(&registry.address, USER, PASSWORD)).unwrap();
    let mut auths = all["auths"].clone();
    auths["quay.example.com"] = auths[&registry.address].clone();
    // The older type, which service accounts of builds have; the next test has the newer one.
    let mut secret = super::secret("");
    secret["type"] = json!("kubernetes.io/dockercfg");
    secret["data"] = json!({ ".dockercfg": STANDARD.encode(auths.to_string()) });
    lab.cluster.replace(&secret);
    let (code, said) = with_a_job(&lab, run);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("so a Job in the cluster does"), "{said}");
    let sentence = "built of the Containerfile, with megaraid_sas at each boot";
    assert!(said.contains(sentence), "{said}");
    assert_eq!(lab.cluster.scenes_left(), 0);
    // Nothing of it stays.
    let changes = lab.changes();
    let of_jobs: Vec<&str> = changes
        .iter()
        .filter(|change| change.contains(" jobs "))
        .map(|change| change.split(' ').next().unwrap())
        .collect();
    assert_eq!(of_jobs, ["PATCH", "DELETE"]);
}

#[test]
fn what_a_job_finds_missing_is_missing() {
    let Some(workshop) = Workshop::new().filter(|_| have_registry()) else {
        return;
    };
    let registry = Registry::start(false);
    for (image, containerfile, sentence) in [
        (
            "forgot",
            CONTAINERFILE,
            "megaraid_sas is missing at install-initramfs",
        ),
        (
            "layered",
            "FROM configs AS final\n",
            "another Containerfile is in it",
        ),
    ] {
        let image = pushed(&workshop, &registry, image, Some(containerfile));
        let lab = lab(&image, None);
        let mut all: Value =
            serde_json::from_str(&auths(&registry.address, USER, PASSWORD)).unwrap();
        all["auths"]["quay.example.com"] = all["auths"][&registry.address].clone();
        lab.cluster.put(&super::secret(&all.to_string()));
        let (code, said) = with_a_job(&lab, run);
        assert_eq!(code, Some(3), "{said}");
        assert!(said.contains(sentence), "{sentence}: {said}");
        assert_eq!(lab.cluster.scenes_left(), 1, "{said}");
    }
}

#[test]
fn a_job_that_does_not_answer_proves_nothing() {
    let image = format!("127.0.0.1:1/ocp/os-worker@sha256:{}", "a".repeat(64));
    type Act = fn(&Lab, &Value);
    let cases: [(Act, &str); 4] = [
        (
            |lab, job| {
                let waiting =
                    json!({ "reason": "ImagePullBackOff", "message": "Back-off pulling" });
                let status = json!({ "containerStatuses": [{
                    "name": "coreos-bake-look", "image": "a", "imageID": "", "ready": false,
                    "restartCount": 0, "state": { "waiting": waiting },
                }] });
                lab.cluster.put(&pod_of(job, status));
            },
            "the pod that is to look into the image does not start: ImagePullBackOff",
        ),
        (
            |lab, job| {
                let pod = pod_of(job, json!({ "phase": "Failed" }));
                let name = pod["metadata"]["name"].as_str().unwrap();
                let log = "error: no such image\n".to_owned();
                lab.cluster.says(name, "coreos-bake-look", log);
                lab.cluster.put(&pod);
                end_job(lab, job, "Failed");
            },
            "the look from within the cluster failed: it says error: no such image",
        ),
        (
            |lab, job| end_job(lab, job, "Failed"),
            "the look from within the cluster failed: it left no word",
        ),
        (
            |lab, job| {
                let pod = pod_of(job, json!({ "phase": "Succeeded" }));
                let name = pod["metadata"]["name"].as_str().unwrap();
                let nothing =
                    json!({ "schema": "coreos-bake/check/v1", "labels": {}, "drivers": [] });
                lab.cluster
                    .says(name, "coreos-bake-look", nothing.to_string());
                lab.cluster.put(&pod);
                end_job(lab, job, "Complete");
            },
            "the look from within the cluster failed",
        ),
    ];
    for (act, sentence) in cases {
        let lab = lab(&image, None);
        let (code, said) = with_a_job(&lab, act);
        assert_eq!(code, Some(3), "{said}");
        assert!(said.contains(sentence), "{sentence}: {said}");
        assert!(said.contains("The pool stays paused"), "{said}");
        assert!(job(&lab).is_none(), "{said}");
    }
}
