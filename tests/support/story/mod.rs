//! A cluster's API that says what a real one said: recorded stories, played at any moment of theirs.

#![allow(
    dead_code,
    unreachable_pub,
    unused_imports,
    reason = "each test program uses its own part"
)]

mod api;
#[path = "../crd/mod.rs"]
mod crd;
mod forward;
mod lab;
mod play;
mod watch;

use std::collections::BTreeMap;
use std::path::Path;

use k8s_openapi::jiff::{SignedDuration, Timestamp};
use serde_json::Value;

pub use lab::{Lab, is_kept, needed, pool, rights, rights_of, said, text};
pub use play::{Cluster, Cue, Scene, Stop};
pub use watch::Fault;

/// Objects by kind, namespace and name.
type Objects = BTreeMap<(String, String, String), Value>;

/// A recorded story.
#[derive(Clone)]
pub struct Story {
    lines: Vec<Value>,
    began: Timestamp,
}

/// What a cluster holds at one moment.
#[derive(Clone)]
pub struct Moment {
    pub objects: Objects,
    /// Logs by pod and container.
    pub logs: BTreeMap<(String, String), String>,
    pub now: Timestamp,
    /// What the user may not: verb and resource, with a blank and a name behind it for one object.
    pub forbidden: Vec<(String, String)>,
    /// All that the user may, if not everything.
    pub only: Option<Vec<(String, String)>>,
    /// Kinds that the API doesn't have.
    pub absent: Vec<String>,
    /// Answers everything so, if there is one.
    pub refusal: Option<u16>,
    /// Whose fields are, by kind, name and path: what we have applied, and what others have.
    pub owners: BTreeMap<(String, String, String), String>,
}

impl Story {
    /// What stories are about.
    pub const KINDS: [&str; 8] = [
        "ClusterVersion",
        "MachineConfigPool",
        "MachineConfig",
        "MachineOSConfig",
        "MachineOSBuild",
        "Node",
        "Job",
        "Pod",
    ];

    pub fn read(name: &str) -> Self {
        Self::read_with(name, &[])
    }

    /// With words that stand for others, such as the image that a build makes.
    pub fn read_with(name: &str, words: &[(&str, &str)]) -> Self {
        let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/ocl-stories");
        let file = std::fs::File::open(directory.join(format!("{name}.jsonl.zst"))).unwrap();
        let mut text = String::from_utf8(zstd::decode_all(file).unwrap()).unwrap();
        for (from, to) in words {
            assert!(text.contains(from), "{name} has no {from}");
            text = text.replace(from, to);
        }
        let lines = text.lines().filter(|line| !line.is_empty());
        let lines: Vec<Value> = lines
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        // What happens first carries the time of it, at the latest.
        let first = lines
            .iter()
            .find(|line| line.get("type").is_some())
            .unwrap();
        let text = first["object"].to_string();
        let times = text
            .split('"')
            .filter_map(|text| text.parse::<Timestamp>().ok());
        let t = first["t"].as_f64().unwrap();
        let began = times.max().unwrap() - SignedDuration::from_millis((t * 1000.0) as i64);
        Self { lines, began }
    }

    /// With another spec of an object, where the story was recorded without it.
    pub fn with_spec(mut self, kind: &str, name: &str, spec: &Value) -> Self {
        let mut set = |object: &mut Value| {
            if object["metadata"]["name"] == name {
                object["spec"] = spec.clone();
            }
        };
        for line in &mut self.lines {
            if line["list"] == kind {
                line["items"]
                    .as_array_mut()
                    .unwrap()
                    .iter_mut()
                    .for_each(&mut set);
            } else if line["kind"] == kind {
                set(&mut line["object"]);
            }
        }
        self
    }

    /// All that a node was between two seconds of the story: configuration and image, each once after the
    /// other.
    pub fn node(&self, name: &str, from: f64, until: f64) -> Vec<(String, String)> {
        let of = |object: &Value| {
            let annotation = |key: &str| {
                let key = format!("machineconfiguration.openshift.io/{key}");
                let annotation = object["metadata"]["annotations"][key].as_str();
                annotation.unwrap_or_default().to_owned()
            };
            (annotation("currentConfig"), annotation("currentImage"))
        };
        let begin = self.at(from);
        let mut was = vec![of(
            &begin.objects[&("Node".to_owned(), String::new(), name.to_owned())]
        )];
        for line in &self.lines {
            let is_it = line["kind"] == "Node" && line["object"]["metadata"]["name"] == name;
            let t = line["t"].as_f64().unwrap_or(-1.0);
            if is_it && t > from && t <= until {
                was.push(of(&line["object"]));
            }
        }
        was.dedup();
        was
    }

    /// What there was `t` seconds after the story began.
    pub fn at(&self, t: f64) -> Moment {
        let mut objects = Objects::new();
        let mut logs = BTreeMap::new();
        for line in &self.lines {
            if let Some(kind) = line["list"].as_str() {
                for object in line["items"].as_array().unwrap() {
                    objects.insert(key(kind, object), object.clone());
                }
                continue;
            }
            if line["t"].as_f64().unwrap() > t {
                break;
            }
            if let Some(log) = line.get("log") {
                let part = |name: &str| log[name].as_str().unwrap_or_default().to_owned();
                logs.insert((part("pod"), part("container")), part("text"));
            }
            if let Some(kind) = line["kind"].as_str() {
                let key = key(kind, &line["object"]);
                match line["type"] == "DELETED" {
                    true => objects.remove(&key),
                    false => objects.insert(key, line["object"].clone()),
                };
            }
        }
        Moment {
            objects,
            logs,
            now: self.began + SignedDuration::from_millis((t * 1000.0) as i64),
            forbidden: Vec::new(),
            only: None,
            absent: Vec::new(),
            refusal: None,
            owners: BTreeMap::new(),
        }
    }
}

fn key(kind: &str, object: &Value) -> (String, String, String) {
    let part = |name: &str| {
        object["metadata"][name]
            .as_str()
            .unwrap_or_default()
            .to_owned()
    };
    (kind.to_owned(), part("namespace"), part("name"))
}

impl Moment {
    /// Adds an object, or takes the place of one.
    pub fn with(mut self, object: Value) -> Self {
        let kind = object["kind"].as_str().unwrap().to_owned();
        self.objects.insert(key(&kind, &object), object);
        self
    }

    /// A field that somebody else has set.
    pub fn owned(mut self, kind: &str, name: &str, field: &str, owner: &str) -> Self {
        let key = (kind.to_owned(), name.to_owned(), field.to_owned());
        self.owners.insert(key, owner.to_owned());
        self
    }

    pub fn object(&mut self, kind: &str, name: &str) -> &mut Value {
        let mut all = self.objects.iter_mut();
        let found = all.find(|((k, _, n), _)| k == kind && n == name);
        found
            .unwrap_or_else(|| panic!("there is no {kind} {name}"))
            .1
    }

    pub fn later(mut self, seconds: i64) -> Self {
        self.now += SignedDuration::from_secs(seconds);
        self
    }
}
