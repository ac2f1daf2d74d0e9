use proptest::prelude::*;
use serde_json::{Value, json};

use super::super::objects::{LayeredConfig, Pool};
use super::super::snapshot::Snapshot;
use super::containerfile::bare;
use super::*;

fn of<T: serde::de::DeserializeOwned>(value: Value) -> T {
    serde_json::from_value(value).unwrap()
}

fn pool(name: &str, more: Value) -> Pool {
    let mut pool = json!({
        "metadata": { "name": name, "annotations": {}, "labels": {} },
        "spec": { "configuration": { "name": format!("rendered-{name}-1"), "source": [] } },
    });
    merge(&mut pool, more);
    of(pool)
}

fn merge(into: &mut Value, more: Value) {
    match (into, more) {
        (Value::Object(into), Value::Object(more)) => {
            for (key, value) in more {
                merge(into.entry(key).or_insert(Value::Null), value);
            }
        }
        (into, more) => *into = more,
    }
}

fn asked() -> Asked {
    Asked {
        containerfile: Some("FROM configs AS final\n".to_owned()),
        push_spec: Some("quay.example.com/ocp/os:any".parse().unwrap()),
        push_secret: Some("push".to_owned()),
        pull_secret: None,
        drivers: vec!["megaraid_sas".to_owned()],
    }
}

fn config(pool: &str, asked: &Asked) -> LayeredConfig {
    of(Plan::offline(pool, asked).unwrap())
}

proptest! {
    /// The label is about what somebody wrote, however often it was put there and taken away.
    #[test]
    fn a_containerfile_names_itself(text in "(FROM configs AS final\n)?([A-Za-zé# \n]{0,60})") {
        let once = marked(&text);
        prop_assert_eq!(marked(&once), once.clone());
        prop_assert_eq!(fingerprint(&once), fingerprint(&marked(&once)));
        prop_assert_eq!(bare(&once).trim_end_matches('\n'), text.trim_end_matches('\n'));
        let last = once.lines().last().unwrap();
        let label = format!("LABEL {LABEL}={}", fingerprint(&once));
        prop_assert_eq!(last, label);
    }
}

#[test]
fn whoever_pauses_depends_on_the_pool_and_on_what_is_wanted() {
    let paused = json!({ "spec": { "paused": true } });
    let mut ours = paused.clone();
    merge(
        &mut ours,
        json!({ "metadata": { "annotations": { OUR_PAUSE: "handoff" } } }),
    );
    let required = json!({ "metadata": { "labels": { REQUIRED: "" } } });
    for (pool, wanted, who) in [
        (pool("worker", json!({})), WantedPause::Free, Pause::Ours),
        (
            pool("worker", json!({})),
            WantedPause::Never,
            Pause::Refused,
        ),
        (
            pool("worker", paused.clone()),
            WantedPause::Always,
            Pause::Others,
        ),
        (
            pool("worker", ours.clone()),
            WantedPause::Never,
            Pause::Ours,
        ),
        (pool("master", json!({})), WantedPause::Free, Pause::Costly),
        (pool("master", json!({})), WantedPause::Always, Pause::Ours),
        (pool("arbiter", json!({})), WantedPause::Free, Pause::Costly),
        (pool("storage", required), WantedPause::Free, Pause::Costly),
    ] {
        assert_eq!(who_pauses(&pool, wanted), who, "{pool:?} {wanted:?}");
    }
}

#[test]
fn what_is_not_said_again_stays() {
    let mut snapshot = Snapshot {
        pools: vec![pool(
            "worker",
            json!({ "spec": { "maxUnavailable": "10%" } }),
        )],
        configs: vec![config("worker", &asked())],
        ..Snapshot::default()
    };
    let of =
        |snapshot: &Snapshot, asked: &Asked| plan(snapshot, "worker", asked, WantedPause::Free);
    let same = of(&snapshot, &Asked::default()).unwrap();
    assert!(same.is_told && same.is_layered);
    assert_eq!(same.drivers, ["megaraid_sas"]);
    assert_eq!(same.at_a_time, 1);
    let more = Asked {
        drivers: vec!["mpt3sas".to_owned()],
        ..Asked::default()
    };
    let more = of(&snapshot, &more).unwrap();
    assert!(!more.is_told);
    assert_eq!(more.drivers, ["megaraid_sas", "mpt3sas"]);
    let edit = Asked {
        containerfile: Some("FROM configs AS final\nRUN true\n".to_owned()),
        ..Asked::default()
    };
    let edit = of(&snapshot, &edit).unwrap();
    assert!(!edit.is_told);
    assert_eq!(
        edit.object["spec"]["renderedImagePushSecret"]["name"],
        "push"
    );
    snapshot.configs.clear();
    let error = of(&snapshot, &Asked::default()).unwrap_err();
    assert!(matches!(
        error,
        HandoffError::Missing {
            option: "--containerfile",
            ..
        }
    ));
}

/// Entries for other architectures are read by nobody, and have to go.
#[test]
fn a_second_containerfile_is_not_what_is_asked_for() {
    let mut object = Plan::offline("worker", &asked()).unwrap();
    let files = object["spec"]["containerFile"].as_array_mut().unwrap();
    files.push(json!({ "containerfileArch": "AMD64", "content": "FROM configs AS final\n" }));
    let snapshot = Snapshot {
        pools: vec![pool("worker", json!({}))],
        configs: vec![of(object)],
        ..Snapshot::default()
    };
    assert!(
        !plan(&snapshot, "worker", &asked(), WantedPause::Free)
            .unwrap()
            .is_told
    );
}

#[test]
fn the_last_proven_spec_is_kept_and_the_one_before_it() {
    let first = config("worker", &asked());
    let proof_of = |config: &LayeredConfig, text: &str, image: &str| {
        let mut asked = asked();
        asked.containerfile = Some(text.to_owned());
        let object = Plan::offline("worker", &asked).unwrap();
        let mut told = json!({ "metadata": { "annotations": config.metadata.annotations }});
        merge(&mut told, object);
        let config: LayeredConfig = of(told.clone());
        let proof = proof(&config, &told["spec"], image);
        merge(&mut told, proof);
        of::<LayeredConfig>(told)
    };
    let a = proof_of(&first, "FROM configs AS a\n", "q.io/a@sha256:1");
    assert!(is_proven(&a, "q.io/a@sha256:1"));
    assert!(!is_proven(&a, "q.io/a@sha256:2"));
    assert_eq!(kept(&a), None);
    let b = proof_of(&a, "FROM configs AS b\n", "q.io/a@sha256:2");
    let before = kept(&b).unwrap();
    assert!(before.to_string().contains("FROM configs AS a"), "{before}");
    // An edit that was not proven goes back to the last one that was.
    let mut edited = b.clone();
    edited.spec.container_file[0].content = marked("FROM configs AS c\n");
    let last = kept(&edited).unwrap();
    assert!(last.to_string().contains("FROM configs AS b"), "{last}");
    assert!(!is_proven(&edited, "q.io/a@sha256:2"));
}

#[test]
fn a_pin_is_taken_whole_if_it_says_nothing_else() {
    let pin = |more: Value| {
        let mut object = json!({
            "metadata": { "name": "99-worker-coreos-bake-os" },
            "spec": { "osImageURL": "q.io/a@sha256:1" },
        });
        merge(&mut object["spec"], more);
        of::<PinningConfig>(object)
    };
    let bare = json!({ "config": { "ignition": { "version": "3.4.0" } }, "extensions": [], "fips": false, "kernelType": "" });
    for (more, is_only_that) in [
        (json!({}), true),
        (bare, true),
        (json!({ "kernelArguments": ["a=b"] }), false),
        (
            json!({ "config": { "storage": { "files": [{ "path": "/etc/a" }] } } }),
            false,
        ),
        (json!({ "fips": true }), false),
        (json!({ "kernelType": "realtime" }), false),
    ] {
        assert_eq!(pin(more.clone()).is_only_that(), is_only_that, "{more}");
    }
    assert!(pin(json!({})).is_ours("worker"));
    assert!(!pin(json!({})).is_ours("master"));
}

/// Pools of one's own are rendered of what workers have, too.
#[test]
fn pools_that_share_a_pin_are_not_sent_elsewhere() {
    let shares = json!({ "spec": { "configuration": { "source": [{ "name": "99-worker-coreos-bake-os" }] } } });
    let mut snapshot = Snapshot {
        pools: ["worker", "edge", "gpu"]
            .map(|name| pool(name, shares.clone()))
            .into(),
        ..Snapshot::default()
    };
    let pin = "99-worker-coreos-bake-os";
    let handed = ["worker".to_owned()];
    assert_eq!(exposed(&snapshot, pin, &handed), ["edge", "gpu"]);
    snapshot.configs.push(config("edge", &asked()));
    assert_eq!(exposed(&snapshot, pin, &handed), ["gpu"]);
    assert!(exposed(&snapshot, "another", &handed).is_empty());
}
