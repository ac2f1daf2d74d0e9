//! Install directories that `prepare` has to leave alone, and why.

#[path = "support/site.rs"]
mod site;
mod support;

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;
use site::{IMAGE, Site, edit, put, seen, wanted};
use support::{run, run_to_fail};

type Change = fn(&Path);

/// What is wrong, where, how it got so, what is asked beside the usual, and what is said.
const REFUSED: &[(&str, &str, Change, &[&str], &str)] = &[
    (
        "not there",
        "4.19/upi-manifests/x",
        |_| (),
        &[],
        "reading install directory",
    ),
    (
        "a file",
        "4.19/upi-ignition/master.ign",
        |_| (),
        &[],
        "reading install directory",
    ),
    (
        "nothing yet",
        "4.19/bad-empty",
        |_| (),
        &[],
        "has no install-config.yaml and no manifests in it",
    ),
    (
        "too early",
        "4.19/bad-install-config",
        |_| (),
        &[],
        "has an install-config.yaml and no manifests yet",
    ),
    (
        "consumed",
        "4.19/bad-consumed",
        |_| (),
        &[],
        "has been consumed",
    ),
    (
        "agent consumed",
        "4.19/agent-consumed",
        |_| (),
        &[],
        "has agent.x86_64.iso, so the agent image is made",
    ),
    (
        "half-made configs",
        "4.19/bad-half-made",
        |_| (),
        &[],
        "is half-made: it has bootstrap.ign, but no worker.ign",
    ),
    (
        "half-made manifests",
        "4.19/upi-manifests",
        |d| fs::remove_dir_all(d.join("openshift")).unwrap(),
        &[],
        "is half-made: it has manifests, but no openshift",
    ),
    (
        "no state file",
        "4.19/bad-no-state",
        |_| (),
        &[],
        "but no .openshift_install_state.json",
    ),
    (
        "broken state file",
        "4.19/upi-manifests",
        |d| fs::write(d.join(".openshift_install_state.json"), "{\"*a\": tru").unwrap(),
        &[],
        "openshift_install_state.json is broken in line 1",
    ),
    (
        "two stages",
        "4.19/bad-two-stages",
        |_| (),
        &[],
        "has manifests and bootstrap.ign, which are of two stages",
    ),
    (
        "input put back",
        "4.19/upi-manifests",
        |d| fs::write(d.join("install-config.yaml"), "a: 1").unwrap(),
        &[],
        "has install-config.yaml and manifests, which are of two stages",
    ),
    (
        "agent and another",
        "4.19/upi-ignition",
        |d| fs::write(d.join("agent-config.yaml"), "a: 1").unwrap(),
        &[],
        "has agent-config.yaml and bootstrap.ign, which are of two stages",
    ),
    (
        "somebody's directory",
        "4.19/upi-manifests/manifests",
        |_| (),
        &[],
        "is no install directory",
    ),
    (
        "expired",
        "4.19/bad-expired",
        |_| (),
        &[],
        "bootstrap.ign has an expired certificate, /opt/openshift/tls/kubelet-client.crt",
    ),
    (
        "version of the future",
        "4.19/upi-ignition",
        |d| edit(d, "worker.ign", "3.2.0", "3.9.0"),
        &[],
        "the config has version \"3.9.0\", known are 3.0.0 to 3.6.0",
    ),
    (
        "version of the past",
        "4.19/upi-ignition",
        |d| edit(d, "bootstrap.ign", "3.2.0", "2.2.0"),
        &[],
        "the config has version \"2.2.0\", known are",
    ),
    (
        "no config",
        "4.19/upi-ignition",
        |d| fs::write(d.join("master.ign"), "{}").unwrap(),
        &[],
        "the config has no ignition.version",
    ),
    (
        "no JSON",
        "4.19/upi-ignition",
        |d| fs::write(d.join("bootstrap.ign"), "{\"ignition\"").unwrap(),
        &[],
        "bootstrap.ign: the config is no JSON",
    ),
    (
        "another file of that name",
        "4.19/upi-ignition",
        |d| edit(d, "bootstrap.ign", "/etc/motd", "/etc/coreos-bake/drivers"),
        &[],
        "bootstrap.ign has a /etc/coreos-bake/drivers of its own",
    ),
    (
        "another unit of that name",
        "4.19/upi-ignition",
        |d| {
            edit(
                d,
                "bootstrap.ign",
                "restart-sshd.service",
                "coreos-bake-verify.service",
            )
        },
        &[],
        "bootstrap.ign has a coreos-bake-verify.service of its own",
    ),
    (
        "a config elsewhere",
        "4.19/upi-ignition",
        |d| link(d, "worker.ign"),
        &[],
        "worker.ign is a symbolic link",
    ),
    (
        "a folder elsewhere",
        "4.19/upi-manifests",
        |d| link(d, "openshift"),
        &[],
        "openshift is a symbolic link",
    ),
    (
        "too late for an image",
        "4.19/upi-ignition",
        |_| (),
        &["--os-image", IMAGE],
        "was made without 99-master-coreos-bake-os.yaml",
    ),
    (
        "too late for arguments",
        "4.19/sno-ignition",
        |_| (),
        &["--karg-append", "a"],
        "was made without 99-master-coreos-bake-os.yaml",
    ),
    (
        "a role that isn't there",
        "4.19/upi-ignition",
        |_| (),
        &["--role", "arbiter"],
        "has no arbiter.ign",
    ),
    (
        "no YAML",
        "4.19/upi-manifests",
        |d| fs::write(d.join("manifests/a.yaml"), "a: [").unwrap(),
        &[],
        "manifests/a.yaml is no YAML",
    ),
    (
        "no YAML behind some",
        "4.19/agent-input",
        |d| put(d, "openshift/a.yml", "a: 1\n---\na:\n\t- b\n"),
        &[],
        "openshift/a.yml is no YAML",
    ),
    (
        "same file",
        "4.19/upi-manifests",
        |d| put(d, "openshift/99-worker-coreos-bake-os.yaml", "a: 1\n"),
        &[],
        "openshift/99-worker-coreos-bake-os.yaml is there already",
    ),
    (
        "same file in the other folder",
        "4.19/upi-manifests",
        |d| put(d, "manifests/99-worker-coreos-bake-os.yaml", "a: 1\n"),
        &[],
        "manifests/99-worker-coreos-bake-os.yaml is there already",
    ),
    (
        "same object",
        "4.19/upi-manifests",
        |d| {
            put(
                d,
                "openshift/a.yaml",
                &machine_config("99-worker-coreos-bake-os", ""),
            )
        },
        &[],
        "openshift/a.yaml has a MachineConfig 99-worker-coreos-bake-os already",
    ),
    (
        "another image",
        "4.19/upi-manifests",
        |d| {
            put(
                d,
                "manifests/a.json",
                &machine_config("99-worker-os", "quay.io/x/y:z"),
            )
        },
        &[],
        "manifests/a.json sets the image of pool worker as well (quay.io/x/y:z)",
    ),
    (
        "another image for agents",
        "4.19/agent-input",
        |d| {
            put(
                d,
                "openshift/a.yaml",
                &machine_config("99-worker-os", "quay.io/x/y:z"),
            )
        },
        &[],
        "openshift/a.yaml sets the image of pool worker as well",
    ),
    (
        "another build",
        "4.21/upi-manifests",
        |d| {
            put(
                d,
                "manifests/mosc.yaml",
                "kind: MachineOSConfig\nmetadata: {name: worker}\nspec: {machineConfigPool: {name: worker}}\n",
            )
        },
        &[],
        "manifests/mosc.yaml sets the image of pool worker as well",
    ),
    (
        "another stream",
        "4.21/upi-manifests",
        |d| {
            put(
                d,
                "openshift/mcp.yaml",
                "kind: MachineConfigPool\nmetadata: {name: master}\nspec: {osImageStream: {name: rhel-10}}\n",
            )
        },
        &[],
        "openshift/mcp.yaml sets the image of pool master as well (rhel-10)",
    ),
    (
        "no credentials",
        "4.19/upi-manifests",
        |d| secret(d, "quay.io", "r.example"),
        &[],
        "the pull secret has no credentials for quay.io",
    ),
    (
        "no credentials for agents",
        "4.19/agent-input",
        |d| edit(d, "install-config.yaml", "\"quay.io\"", "\"r.example\""),
        &[],
        "the pull secret has no credentials for quay.io",
    ),
    (
        "no credentials for ZTP",
        "4.19/agent-cluster-manifests",
        |d| {
            edit(
                d,
                "cluster-manifests/pull-secret.yaml",
                "\"quay.io\"",
                "\"r.example\"",
            )
        },
        &[],
        "the pull secret has no credentials for quay.io",
    ),
    (
        "broken pull secret",
        "4.19/upi-manifests",
        |d| secret(d, "\"auths\"", "\"auth\""),
        &[],
        "reading manifests/openshift-config-secret-pull-secret.yaml: the pull secret has no \"auths\"",
    ),
    (
        "a seed too early",
        "4.19/upi-manifests",
        |_| (),
        &[
            "--seed",
            "/dev/null",
            "--push-spec",
            "quay.io/me/os:x",
            "--push-secret",
            "p",
        ],
        "OpenShift 4.19 can't be installed with a MachineOSConfig",
    ),
    (
        "firmware for nobody",
        "4.19/upi-manifests",
        |_| (),
        &["--after", "other:x"],
        "no driver other is to be prepared",
    ),
];

fn link(directory: &Path, file: &str) {
    let path = directory.join(file);
    let elsewhere = directory.join("elsewhere");
    fs::rename(&path, &elsewhere).unwrap();
    symlink("elsewhere", path).unwrap();
}

fn secret(directory: &Path, from: &str, to: &str) {
    let path = directory.join("manifests/openshift-config-secret-pull-secret.yaml");
    let text = fs::read_to_string(&path).unwrap();
    let (head, rest) = text.split_once(".dockerconfigjson: ").unwrap();
    let (secret, rest) = rest.split_once('\n').unwrap();
    let secret = String::from_utf8(STANDARD.decode(secret).unwrap()).unwrap();
    assert!(secret.contains(from));
    let secret = STANDARD.encode(secret.replace(from, to));
    fs::write(path, format!("{head}.dockerconfigjson: {secret}\n{rest}")).unwrap();
}

fn machine_config(name: &str, image: &str) -> String {
    json!({
        "apiVersion": "machineconfiguration.openshift.io/v1",
        "kind": "MachineConfig",
        "metadata": {
            "name": name,
            "labels": { "machineconfiguration.openshift.io/role": "worker" },
        },
        "spec": { "osImageURL": image },
    })
    .to_string()
}

#[test]
fn what_can_not_be_prepared_is_left_alone() {
    for (what, name, change, more, said) in REFUSED {
        let made = match name.matches('/').count() {
            1 => name,
            _ => name.rsplit_once('/').unwrap().0,
        };
        let site = Site::new(&[made]);
        change(&site.path(made));
        let before = seen(&site.path(made));
        for dry in [&["--dry-run"][..], &[]] {
            let mut command = site.prepare(name);
            command.args(wanted(name)).args(*more).args(dry);
            let error = run_to_fail(command.args(["--color", "never"]));
            assert!(error.contains(said), "{what}: {error}");
            assert!(error.starts_with("error: "), "{what}: {error}");
            let is_one = |line: &&str| line.starts_with("error: ");
            assert_eq!(error.lines().filter(is_one).count(), 1, "{what}: {error}");
            assert!(error.lines().count() <= 2, "{what}: {error}");
            assert_eq!(seen(&site.path(made)), before, "{what}");
        }
    }
}

/// Files of others that the installer has no eyes for don't count.
#[test]
fn what_nobody_reads_is_nobodys_business() {
    for (name, file) in [
        ("4.19/upi-manifests", "openshift/a.yaml.bak"),
        ("4.19/upi-manifests", "openshift/below/a.yaml"),
        ("4.19/agent-input", "openshift/a.json"),
        ("4.19/agent-input", "manifests/a.yaml"),
    ] {
        let site = Site::new(&[name]);
        put(&site.path(name), file, "a: [");
        run(site.prepare(name).args(wanted(name)));
    }
}
