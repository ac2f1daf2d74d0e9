//! What is told, and what is written.

use std::fs;

use serde_json::{Value, json};

use crate::story::{Lab, is_kept, said};
use crate::{HAND_OFF, hand_off, lab, pinned};

#[test]
fn a_dry_run_tells_the_steps_and_changes_nothing() {
    let lab = lab();
    let dry = [&HAND_OFF[..], &["--dry-run", "--driver", "megaraid_sas"]].concat();
    let dry: Vec<&str> = dry
        .into_iter()
        .filter(|word| *word != "--unverified")
        .collect();
    let output = lab.run("handoff", &dry);
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    assert_eq!(lab.cluster.changes(), Vec::<String>::new());
    is_kept("handoff-plan", &lab.shown(&output));
}

/// What nodes would report as drift, and what belongs into a MachineConfig.
#[test]
fn what_nodes_will_not_keep_is_told_before() {
    let story = hand_off(&json!({}));
    let mut moment = pinned(&story);
    let rendered =
        moment.object("MachineConfigPool", "worker")["spec"]["configuration"]["name"].clone();
    let files = json!([{ "path": "/etc/chrony.conf", "mode": 420, "contents": { "source": "data:,server%20a" } }]);
    moment.object("MachineConfig", rendered.as_str().unwrap())["spec"] =
        json!({ "config": { "ignition": { "version": "3.4.0" }, "storage": { "files": files } } });
    let lab = Lab::play(moment);
    let text =
        "FROM configs AS final\nRUN dnf install -y usbguard && echo server b > /etc/chrony.conf\n";
    fs::write(lab.path("Containerfile"), text).unwrap();
    let more = |name: &str, spec: Value| {
        let object = json!({
            "apiVersion": "machineconfiguration.openshift.io/v1", "kind": "MachineConfig", "spec": spec,
            "metadata": { "name": name, "labels": { "machineconfiguration.openshift.io/role": "worker" } },
        });
        fs::write(lab.path(&format!("more/{name}.yaml")), object.to_string()).unwrap();
    };
    fs::create_dir(lab.path("more")).unwrap();
    more("99-a", json!({ "kernelArguments": ["quiet"] }));
    let unit = json!([{ "name": "a.service", "enabled": true }]);
    more(
        "99-b",
        json!({ "config": { "ignition": { "version": "3.4.0" }, "systemd": { "units": unit } } }),
    );
    let dry = [&HAND_OFF[..], &["--dry-run", "--manifest", "more"]].concat();
    let output = lab.run("handoff", &dry);
    let said = said(&output);
    assert_eq!(output.status.code(), Some(0), "{said}");
    for sentence in [
        "MachineConfig 99-a (more/99-a.yaml) builds an image, then restarts 3 nodes, 1 at a time",
        "MachineConfig 99-b (more/99-b.yaml) builds nothing, and gives files to 3 nodes",
        "/etc/chrony.conf is of the MachineConfig, and line 2",
        "usbguard (line 2) would be better taken from the release's own extensions",
        "99-worker-coreos-bake-extensions with spec.extensions [usbguard]",
    ] {
        assert!(said.contains(sentence), "{sentence}: {said}");
    }
}

#[test]
fn objects_for_git_are_written_without_a_cluster() {
    let lab = lab();
    let output = lab.run(
        "handoff",
        &[&HAND_OFF[..7], &["--driver", "megaraid_sas", "-o", "out"]].concat(),
    );
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    assert_eq!(lab.cluster.asked(), Vec::<String>::new());
    // Names become those of files, and stay where they should.
    for (arguments, code, sentence) in [
        (
            &["../worker", "-o", "out"][..],
            2,
            "'../worker' for '[POOL]...'",
        ),
        (
            &["worker", "worker", "-o", "out"],
            2,
            "pool worker is named twice",
        ),
        (
            &["worker", "--push-secret", "S_", "-o", "out"],
            2,
            "'S_' for '--push-secret",
        ),
        (
            &["worker", "-o", "out"],
            1,
            "--containerfile has to be given",
        ),
    ] {
        let output = lab.run("handoff", arguments);
        let said = said(&output);
        assert_eq!(output.status.code(), Some(code), "{said}");
        assert!(said.contains(sentence), "{sentence}: {said}");
    }
    assert!(!lab.path("worker.machineosconfig.yaml").exists());
    let again = lab.run(
        "handoff",
        &[&HAND_OFF[..7], &["-o", "out", "--force"]].concat(),
    );
    assert_eq!(again.status.code(), Some(0), "{}", said(&again));
    let again = lab.run(
        "handoff",
        &[
            &HAND_OFF[..7],
            &["--driver", "megaraid_sas", "-o", "out", "--force"],
        ]
        .concat(),
    );
    assert_eq!(again.status.code(), Some(0), "{}", said(&again));
    let yaml = fs::read_to_string(lab.path("out/worker.machineosconfig.yaml")).unwrap();
    let object: Value = serde_saphyr::from_str(&yaml).unwrap();
    assert_eq!(object["kind"], "MachineOSConfig");
    assert_eq!(
        object["metadata"]["annotations"]["coreos-bake/drivers"],
        "megaraid_sas"
    );
}
