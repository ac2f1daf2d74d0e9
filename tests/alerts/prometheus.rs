//! Series as a cluster's Prometheus has them, and Prometheus' own judgement of rules by them.

#![allow(unreachable_pub, reason = "a test program has no users")]

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

/// Seconds between two samples, and between two evaluations.
pub const STEP: u64 = 30;

/// What is exported at one moment, by name and labels.
#[derive(Clone, Default)]
pub struct Samples(BTreeMap<String, f64>);

/// A recorded moment, with the labels that Prometheus adds. Jobs in it started at second `started` of the test;
/// the clock of the recording is not that of promtool, which begins at 0.
pub fn recorded(name: &str, started: f64) -> Samples {
    let file = format!("testdata/ocl-stories/prom-{name}.txt");
    let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(file)).unwrap();
    let samples = text
        .lines()
        .filter(|line| !line.starts_with('#'))
        .map(|line| {
            let (series, value) = line.rsplit_once(' ').unwrap();
            let (metric, labels) = series.split_once('{').unwrap();
            let job = match metric.starts_with("kube_") {
                true => "kube-state-metrics",
                false => "machine-config-controller",
            };
            let value = match metric {
                "kube_job_status_start_time" => started,
                _ => value.parse().unwrap(),
            };
            // A label without a value is none to Prometheus.
            let labels = labels.replace(r#",reason="""#, "");
            (format!("{metric}{{job=\"{job}\",{labels}"), value)
        });
    Samples(samples.collect())
}

impl Samples {
    pub fn with(mut self, other: Self) -> Self {
        self.0.extend(other.0);
        self
    }

    /// Those whose metric `keeps` says yes to.
    pub fn only(mut self, keeps: impl Fn(&str) -> bool) -> Self {
        self.0
            .retain(|series, _| keeps(series.split('{').next().unwrap()));
        self
    }

    /// With another text in all names and labels.
    pub fn renamed(self, old: &str, new: &str) -> Self {
        let samples = self.0.into_iter();
        Self(
            samples
                .map(|(series, value)| (series.replace(old, new), value))
                .collect(),
        )
    }

    /// With another value of the one series that has all of `parts`.
    pub fn set(mut self, parts: &[&str], value: f64) -> Self {
        let mut found = self
            .0
            .iter_mut()
            .filter(|(series, _)| parts.iter().all(|part| series.contains(part)));
        *found.next().expect("the series is there").1 = value;
        assert!(found.next().is_none(), "{parts:?} are of one series");
        self
    }
}

/// What was exported, sample by sample.
#[derive(Default)]
pub struct History {
    steps: usize,
    series: BTreeMap<String, Vec<Option<f64>>>,
}

impl History {
    /// The same samples until second `end`.
    pub fn until(mut self, end: u64, samples: Samples) -> Self {
        let steps = usize::try_from(end.div_ceil(STEP)).unwrap();
        assert!(steps > self.steps, "time goes on");
        for (series, value) in samples.0 {
            let values = self.series.entry(series).or_default();
            values.resize(self.steps, None);
            values.resize(steps, Some(value));
        }
        self.steps = steps;
        self
    }

    /// As promtool reads it. A series that is exported no longer is marked as Prometheus does.
    fn input(&self) -> Vec<Value> {
        let series = self.series.iter().map(|(series, values)| {
            let mut said = Vec::new();
            let mut was_there = false;
            for at in 0..self.steps {
                let value = values.get(at).copied().flatten();
                said.push(match value {
                    Some(value) => value.to_string(),
                    None if was_there => "stale".to_owned(),
                    None => "_".to_owned(),
                });
                was_there = value.is_some();
            }
            json!({ "series": series, "values": said.join(" ") })
        });
        series.collect()
    }
}

/// An alert that fires, with its labels. `job` and `value` are what its text speaks of.
#[derive(Clone)]
pub struct Alert {
    pub name: &'static str,
    pub labels: Vec<(&'static str, String)>,
    pub job: String,
    pub value: &'static str,
}

/// Has promtool find out whether exactly these alerts fire at these seconds.
pub fn judge(rules: &Value, history: &History, moments: &[(u64, Vec<Alert>)]) {
    let place = tempfile::tempdir().unwrap();
    let path = |name: &str| place.path().join(name);
    fs::write(path("rules.json"), rules.to_string()).unwrap();
    let all = rules["groups"][0]["rules"].as_array().unwrap();
    let mut tests = Vec::new();
    for (second, alerts) in moments {
        for rule in all {
            let alerts = alerts.iter().filter(|alert| rule["alert"] == alert.name);
            let expected = alerts.map(|alert| {
                let mut labels: BTreeMap<&str, &str> = BTreeMap::new();
                labels.extend(
                    alert
                        .labels
                        .iter()
                        .map(|(name, value)| (*name, value.as_str())),
                );
                json!({ "exp_labels": labels, "exp_annotations": texts(rule, alert) })
            });
            let expected: Vec<Value> = expected.collect();
            tests.push(json!({
                "eval_time": format!("{second}s"), "alertname": rule["alert"], "exp_alerts": expected,
            }));
        }
    }
    let test = json!({
        "rule_files": ["rules.json"],
        "evaluation_interval": format!("{STEP}s"),
        "tests": [{
            "interval": format!("{STEP}s"),
            "input_series": history.input(),
            "alert_rule_test": tests,
        }],
    });
    fs::write(path("test.json"), test.to_string()).unwrap();
    let output = Command::new("promtool")
        .args(["test", "rules", "test.json"])
        .current_dir(place.path())
        .output()
        .unwrap();
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said).into_owned();
    assert!(output.status.success(), "{said}");
}

/// A rule's texts with the names and values of an alert in them.
fn texts(rule: &Value, alert: &Alert) -> BTreeMap<String, String> {
    let annotations = rule["annotations"].as_object().unwrap().iter();
    let texts = annotations.map(|(name, text)| {
        let mut text = text.as_str().unwrap().to_owned();
        for (label, value) in &alert.labels {
            text = text.replace(&format!("{{{{ $labels.{label} }}}}"), value);
        }
        text = text.replace("{{ $labels.job_name }}", &alert.job);
        for value in ["{{ $value }}", "{{ $value | humanizeDuration }}"] {
            text = text.replace(value, alert.value);
        }
        while let Some(at) = text.find("{{ with query") {
            let end = at + text[at..].find("{{ end }}").unwrap() + "{{ end }}".len();
            text.replace_range(at..end, &alert.job);
        }
        assert!(!text.contains("{{"), "{text}");
        (name.clone(), text)
    });
    texts.collect()
}
