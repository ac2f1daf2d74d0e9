//! `prepare`, `hosts` and `serve` on media that would lose a node: each case lacks exactly one thing, which is
//! said, nothing is written, and the option that takes the refusal back is named.

#[path = "support/record.rs"]
mod record;
#[path = "support/site.rs"]
mod site;
mod support;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use record::{sample, sample_with};
use serde_json::{Value, json};
use site::{IMAGE, Site, seen};
use support::{names, run, text};

const LOCAL: &str = "ostree-unverified-image:oci:/os.oci";

type Change = fn(&mut Value);

type Case = (
    &'static str,
    Change,
    &'static [&'static str],
    &'static str,
    &'static str,
    i32,
);

/// What is missing, how the record got so, options, what is said, and what takes it back with which exit code.
const UNPROVEN: &[Case] = &[
    (
        "a name that nodes could pull",
        |r| {
            r["options"]["origin"] = LOCAL.into();
            r["image"]["reference"] = "oci:/os.oci".into();
        },
        &[],
        "no image is named for master and worker nodes, and that of the media is in no registry",
        "--allow-release-image",
        0,
    ),
    (
        "a driver at one stage",
        |r| r["drivers"][1]["status"] = "missing".into(),
        &[],
        "the media lack drivers: megaraid_sas at live-root",
        "--allow-missing-driver",
        3,
    ),
    (
        "a bootstrap machine that comes up",
        |r| r["drivers"][4]["status"] = "fails".into(),
        &[],
        "the media lack drivers: megaraid_sas at bootstrap",
        "--allow-missing-driver",
        3,
    ),
    (
        "a root that can be mounted",
        |r| r["mounts"][0]["status"] = "missing".into(),
        &[],
        "the media can't mount their root: squashfs (live root) at live-initramfs",
        "--allow-missing-driver",
        3,
    ),
    (
        "a look for the driver",
        |_| (),
        &["--driver", "mpt3sas"],
        "nobody looked for driver mpt3sas when the media were baked",
        "--allow-missing-driver",
        3,
    ),
    (
        "a look for a driver that is loaded by name",
        |_| (),
        &["--load", "softdog"],
        "nobody looked for driver softdog when the media were baked",
        "--allow-missing-driver",
        3,
    ),
];

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn media_that_would_lose_a_node_are_refused_unless_told_otherwise() {
    let name = "4.19/upi-manifests";
    for (what, change, options, sentence, back, code) in UNPROVEN {
        let site = Site::new(&[name]);
        let mut record = sample();
        change(&mut record);
        let media = site.path("media");
        record::write(&media, &record);
        let prepare = |more: &[&str]| {
            let mut command = site.prepare(name);
            command.args(["--release", "4.19", "--color", "never", "--bake"]);
            command.arg(&media).args(*options).args(more);
            command.output().unwrap()
        };
        let before = seen(&site.path(name));
        refused(&prepare(&[]), what, sentence, back);
        assert_eq!(seen(&site.path(name)), before, "{what}");
        // A recipe that would end there is not printed.
        let path = [
            "--path",
            "upi-iso",
            "--url",
            "http://10.0.0.1",
            "--disk",
            "/dev/sda",
        ];
        refused(&prepare(&path), what, sentence, back);
        let recipe = prepare(&[&path[..], &[back]].concat());
        assert_eq!(
            recipe.status.code(),
            Some(*code),
            "{what}: {}",
            said(&recipe)
        );
        let prepares = text(&recipe);
        let mut prepares = prepares
            .lines()
            .filter(|line| line.contains("bake prepare "));
        assert!(prepares.all(|line| line.contains(back)), "{what}");

        let allowed = prepare(&[back]);
        assert_eq!(
            allowed.status.code(),
            Some(*code),
            "{what}: {}",
            said(&allowed)
        );
        assert_ne!(seen(&site.path(name)), before, "{what}");
    }
}

fn refused(output: &Output, what: &str, sentence: &str, back: &str) {
    let error = said(output);
    assert_eq!(output.status.code(), Some(1), "{what}: {error}");
    assert!(error.contains(sentence), "{what}: {error}");
    let hint = error.lines().find(|line| line.starts_with("hint: "));
    assert!(
        hint.is_some_and(|hint| hint.contains(back)),
        "{what}: {error}"
    );
    assert!(output.stdout.is_empty(), "{what}");
}

/// Each pool needs its image, also where another has one, and where it is too late to name one.
#[test]
fn nodes_without_an_image_are_refused_at_every_stage() {
    let worker = "apiVersion: machineconfiguration.openshift.io/v1\nkind: MachineConfig\nmetadata:\n  \
                  name: 50-worker\n  labels: {machineconfiguration.openshift.io/role: worker}\nspec:\n  \
                  osImageURL: quay.io/me/os:1\n";
    for (name, manifest, pools) in [
        ("4.19/upi-manifests", None, "master and worker"),
        ("4.19/agent-input", None, "master and worker"),
        (
            "4.21/arbiter-manifests",
            None,
            "master and worker and arbiter",
        ),
        ("4.19/upi-manifests", Some(worker), "master"),
        ("4.19/upi-ignition", None, "master and worker"),
        ("4.19/sno-ignition", None, "master and worker"),
    ] {
        let site = Site::new(&[name]);
        if let Some(manifest) = manifest {
            fs::write(site.path(name).join("openshift/50.yaml"), manifest).unwrap();
        }
        let release = name.split_once('/').unwrap().0;
        let prepare = |more: &[&str]| {
            let mut command = site.prepare(name);
            command.args(["--release", release, "--driver", "acme_nic"]);
            command.args(more).output().unwrap()
        };
        let sentence = format!("no image is named for {pools} nodes: ");
        refused(&prepare(&[]), name, &sentence, "--allow-release-image");
        let allowed = prepare(&["--allow-release-image"]);
        assert!(allowed.status.success(), "{name}: {}", said(&allowed));
        assert!(
            text(&allowed).contains("no image is set for the nodes"),
            "{name}"
        );
        site.undo(name);
        // The bootstrap machine changes to no image.
        let bootstrap = prepare(&["--role", "bootstrap"]);
        let sentence = "there is nothing to be prepared";
        let is_late = name.ends_with("ignition");
        assert!(
            bootstrap.status.success() || said(&bootstrap).contains(sentence),
            "{name}"
        );
        assert_eq!(text(&bootstrap).contains("changed"), is_late, "{name}");
    }
}

#[test]
fn a_directory_of_another_release_is_refused() {
    for name in [
        "4.19/upi-manifests",
        "4.19/upi-ignition",
        "4.19/agent-cluster-manifests",
    ] {
        let site = Site::new(&[name]);
        let prepare = |release: &str, more: &[&str]| {
            let mut command = site.prepare(name);
            command.args([
                "--release",
                release,
                "--driver",
                "acme_nic",
                "--allow-release-image",
            ]);
            command.args(more).output().unwrap()
        };
        for release in ["4.12", "4.18", "4.20", "5.0"] {
            let sentence = format!(" is of OpenShift 4.19, and not of {release}");
            refused(
                &prepare(release, &[]),
                name,
                &sentence,
                "--allow-other-release",
            );
        }
        let allowed = prepare("4.20", &["--allow-other-release"]);
        assert!(allowed.status.success(), "{name}: {}", said(&allowed));
        site.undo(name);
        let same = prepare("4.19.7", &[]);
        assert!(same.status.success(), "{name}: {}", said(&same));
    }
    // An installer that somebody has built tells nothing.
    let name = "4.19/upi-manifests";
    let site = Site::new(&[name]);
    site::edit(
        &site.path(name),
        "openshift/openshift-install-manifests.yaml",
        "v4.19.0",
        "unreleased-master-9999-g0123456789ab",
    );
    run(site
        .prepare(name)
        .args(["--release", "4.20", "--os-image", IMAGE]));
}

#[test]
fn media_for_nodes_are_not_for_a_bootstrap_machine() {
    let name = "4.19/upi-manifests";
    let site = Site::new(&[name]);
    let mut record = sample();
    record["options"]["nodes-only"] = true.into();
    record["drivers"].as_array_mut().unwrap().remove(4);
    record::write(&site.path("media"), &record);
    let prepare = |more: &[&str]| {
        let mut command = site.prepare(name);
        command
            .args(["--release", "4.19", "--bake"])
            .arg(site.path("media"));
        command.args(more).output().unwrap()
    };
    let sentence = "baked for nodes only, and a bootstrap machine is to boot them";
    refused(&prepare(&[]), "nodes only", sentence, "--role");
    let nodes = prepare(&["--role", "master", "--role", "worker"]);
    assert!(nodes.status.success(), "{}", said(&nodes));
}

/// Keys that are missing, and files that are something else.
#[test]
fn records_that_are_none_are_refused_by_all_who_read_them() {
    let site = Site::new(&["4.19/upi-manifests"]);
    let media = site.path("media");
    let mut record = sample();
    record["os"]
        .as_object_mut()
        .unwrap()
        .remove("openshift-clients");
    record::write(&media, &record);
    let host = "hosts:\n- {name: w0, mac: '52:54:00:00:00:01'}\n";
    fs::write(site.path("hosts.yaml"), host).unwrap();
    let all = |media: &Path| {
        let program = || Command::new(site.path("coreos-bake"));
        let mut prepare = site.prepare("4.19/upi-manifests");
        prepare.args(["--release", "4.19", "--bake"]).arg(media);
        let mut hosts = program();
        hosts.arg("hosts").arg(media).arg(site.path("hosts.yaml"));
        hosts.args(["--url", "http://10.0.0.1"]);
        let mut serve = program();
        serve
            .arg("serve")
            .arg(media)
            .args(["--listen", "127.0.0.1:0"]);
        [prepare, hosts, serve].map(|mut command| said(&command.output().unwrap()))
    };
    for error in all(&media) {
        assert!(
            error.contains("bake.json: os.openshift-clients is missing"),
            "{error}"
        );
        assert!(error.contains("hint: bake again"), "{error}");
    }
    for error in all(&site.path("nowhere")) {
        assert!(error.contains("there is no bake directory "), "{error}");
    }
    fs::remove_file(media.join("bake.json")).unwrap();
    for error in all(&media) {
        assert!(
            error.contains("is not a bake directory: it has no bake.json"),
            "{error}"
        );
    }
}

/// A directory with a PXE set, a record that says `drivers` of it, and an inventory.
fn rack(site: &Site, change: impl FnOnce(&mut Value)) -> PathBuf {
    let media = site.path("media");
    let mut record = sample();
    change(&mut record);
    record::write(&media, &record);
    for file in record["files"].as_array().unwrap() {
        let file = media.join(file["name"].as_str().unwrap());
        fs::write(file, "x").unwrap();
    }
    media
}

fn one_byte(record: &mut Value) {
    for file in record["files"].as_array_mut().unwrap() {
        file["size"] = 1.into();
    }
}

#[test]
fn machines_are_not_led_to_media_that_lack_a_driver() {
    let site = Site::new(&["4.19/upi-manifests"]);
    let hosts = site.path("hosts.yaml");
    fs::write(
        &hosts,
        "hosts:\n- {name: w0, mac: '52:54:00:00:00:01', role: worker, kargs: quiet}\n",
    )
    .unwrap();
    let missing: Change = |r| r["drivers"][0]["status"] = "missing".into();
    let bootstrap: Change = |r| r["drivers"][4]["status"] = "fails".into();
    for (change, is_refused) in [(missing, true), (bootstrap, false)] {
        let media = rack(&site, |r| {
            one_byte(r);
            change(r);
        });
        let program = |arguments: &[&str]| {
            let mut command = Command::new(site.path("coreos-bake"));
            command
                .args(["--color", "never"])
                .arg(arguments[0])
                .arg(&media);
            command.args(&arguments[1..]);
            command.output().unwrap()
        };
        let inventory = hosts.to_str().unwrap();
        let url = ["--url", "http://10.0.0.1", "--dry-run"];
        let made = program(&[&["hosts", inventory][..], &url].concat());
        let served = program(&["serve", "--hosts", inventory, "--listen", "192.0.2.1:1"]);
        if is_refused {
            let sentence = "the media lack drivers: megaraid_sas at live-initramfs";
            refused(&made, "hosts", sentence, "--allow-missing-driver");
            refused(&served, "serve", sentence, "--allow-missing-driver");
            let more = ["--allow-missing-driver"];
            let made = program(&[&["hosts", inventory][..], &url, &more].concat());
            assert_eq!(
                said(&made).lines().next().map(|l| l.contains(sentence)),
                Some(true)
            );
        } else {
            // Nobody in the inventory is a bootstrap machine.
            assert!(!said(&made).contains("lack drivers"), "{}", said(&made));
        }
    }
}

#[test]
fn lines_for_dnsmasq_lead_somewhere() {
    let site = Site::new(&["4.19/upi-manifests"]);
    let media = rack(&site, one_byte);
    let lines = |media: &Path, more: &[&str]| {
        let mut command = Command::new(site.path("coreos-bake"));
        command
            .arg("serve")
            .arg(media)
            .args(["--dnsmasq", "192.168.1.0"]);
        command.args(more).output().unwrap()
    };
    for listen in [
        &[][..],
        &["--listen", "0.0.0.0:80"],
        &["--listen", "[::1]:80"],
    ] {
        refused(
            &lines(&media, listen),
            "address",
            "machines can't reach a server at http://",
            "--url",
        );
    }
    for told in [
        ["--listen", "192.168.1.5:8080"],
        ["--url", "http://192.168.1.5:8080"],
    ] {
        let output = lines(&media, &told);
        assert!(
            text(&output).contains("http://192.168.1.5:8080/boot.ipxe"),
            "{}",
            said(&output)
        );
    }
    let mut record = sample_with(None);
    record["files"] = json!([]);
    record::write(&media, &record);
    let url = ["--url", "http://192.168.1.5"];
    refused(
        &lines(&media, &url),
        "no PXE set",
        "has no PXE set to boot",
        "-f pxe",
    );
    let nowhere = lines(&site.path("nowhere"), &url);
    refused(&nowhere, "nowhere", "there is no bake directory", "bake -o");
    assert!(names(&media).contains(&"bake.json".to_owned()));
}

/// The schema takes what the program takes, and nothing less.
#[test]
fn the_schema_says_what_a_record_has() {
    let directory = tempfile::tempdir().unwrap();
    let is_valid = |change: &dyn Fn(&mut Value)| {
        let mut record = sample();
        change(&mut record);
        record::write(directory.path(), &record);
        record::is_valid(&directory.path().join("bake.json"))
    };
    let Some(good) = is_valid(&|_| ()) else {
        return;
    };
    assert!(good);
    let later = |r: &mut Value| r["os"]["x-later"] = json!([1]);
    assert_eq!(is_valid(&later), Some(true));
    for (object, key) in [
        ("", "stages"),
        ("/os", "openshift-clients"),
        ("/options", "rootfs-url"),
        ("/files/2", "sha256"),
    ] {
        let without = |r: &mut Value| {
            let object = r.pointer_mut(object).unwrap();
            object.as_object_mut().unwrap().remove(key);
        };
        assert_eq!(is_valid(&without), Some(false), "{object} {key}");
    }
    let other = |r: &mut Value| r["schema"] = "coreos-bake/bake/v2".into();
    assert_eq!(is_valid(&other), Some(false));
}

/// The image of the media may have another name in the registry that nodes pull it from.
#[test]
fn nodes_without_a_kubelet_are_known_by_the_digest_of_their_image() {
    let name = "4.19/upi-manifests";
    let site = Site::new(&[name]);
    for (clients, is_fine) in [(true, true), (false, false)] {
        let mut record = sample();
        record["options"]["origin"] = LOCAL.into();
        record["image"]["reference"] = "oci:/os.oci".into();
        record["os"]["openshift-clients"] = clients.into();
        record::write(&site.path("media"), &record);
        let mut command = site.prepare(name);
        command
            .args(["--release", "4.19", "--bake"])
            .arg(site.path("media"));
        let output = command.args(["--os-image", IMAGE]).output().unwrap();
        if is_fine {
            assert!(output.status.success(), "{}", said(&output));
            // It is the image that was looked into.
            assert!(
                !text(&output).contains("nobody has looked yet"),
                "{}",
                text(&output)
            );
            site.undo(name);
            let other = IMAGE.replace("aaaa", "bbbb");
            let mut command = site.prepare(name);
            command
                .args(["--release", "4.19", "--bake"])
                .arg(site.path("media"));
            let output = text(&run(command.args(["--os-image", &other])));
            let check = format!("coreos-bake check docker://{other} --driver megaraid_sas\n");
            assert!(output.contains(&check), "{output}");
            site.undo(name);
        } else {
            refused(
                &output,
                "no kubelet",
                "has no OpenShift in it",
                "node image",
            );
        }
    }
}
