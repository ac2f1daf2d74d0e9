//! `prepare --path`: the program tells each way to install from what a bake has recorded, writes the
//! files for it, and leaves install directories alone.

#[path = "support/record.rs"]
mod record;
#[path = "support/site.rs"]
mod site;
mod support;

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::os::unix::fs::symlink;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use libcoreinst::io::Initrd;
use serde_json::{Value, json};
use site::Site;
use support::{contents, names, run, run_to_fail, text};
use tempfile::TempDir;

const IMAGE: &str =
    "quay.io/me/os@sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
const PATHS: [&str; 7] = [
    "upi-iso", "upi-pxe", "ipi", "agent", "assisted", "sno", "scale-up",
];

/// A directory with the record of a bake.
fn baked() -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    let file = |role: &str, name: &str| json!({ "name": name, "role": role, "size": 1, "sha256": "1".repeat(64) });
    let mut record = record::sample_with(Some("acme_nic"));
    let mut verdicts = record["drivers"].as_array().unwrap().clone();
    for mut verdict in verdicts.clone() {
        verdict["driver"] = "acme_raid".into();
        verdicts.push(verdict);
    }
    record["drivers"] = verdicts.into();
    record["image"]["architecture"] = "arm64".into();
    record["files"] = json!([
        file("iso", "rhcos-live-iso.aarch64.iso"),
        file("kernel", "rhcos-live-kernel.aarch64"),
        file("initramfs", "rhcos-live-initramfs.aarch64.img"),
        file("rootfs", "rhcos-live-rootfs.aarch64.img"),
        file("config", "rhcos-live.aarch64.ipxe"),
        file("qcow2", "rhcos-qemu.aarch64.qcow2"),
    ]);
    record::write(directory.path(), &record);
    directory
}

/// `prepare install --path PATH` in a directory, with all that a path could need.
fn prepare(path: &str, media: &Path, here: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_coreos-bake"));
    command.current_dir(here);
    command.args([
        "prepare",
        "install",
        "--release",
        "4.21",
        "--path",
        path,
        "--bake",
    ]);
    command.arg(media);
    command.args([
        "--url",
        "http://10.0.0.1:8080",
        "--disk",
        "/dev/sda",
        "--cluster",
        "rack",
    ]);
    command.args([
        "--karg-append",
        "acme.debug=1",
        "--live-karg-append",
        "console=ttyS0",
    ]);
    command
}

fn json_of(command: &mut Command) -> Value {
    let output = run(command.args(["--format", "json"]));
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn every_path_is_told_as_text_and_as_json_and_written() {
    let (media, here) = (baked(), tempfile::tempdir().unwrap());
    for path in PATHS {
        let said = text(&run(&mut prepare(path, media.path(), here.path())));
        assert!(
            said.starts_with(&format!("Install path {path}\n")),
            "{said}"
        );
        let value = json_of(&mut prepare(path, media.path(), here.path()));
        assert_eq!(value["schema"], "coreos-bake/recipe/v1");
        assert_eq!(value["path"], path);
        // The record names the image and the architecture.
        let steps = value["steps"].to_string();
        assert!(
            steps.contains(&format!("--os-image {IMAGE}")) || path == "scale-up",
            "{steps}"
        );
        assert!(
            !value["warnings"].to_string().contains("No image is named"),
            "{path}"
        );
        assert!(
            names(here.path()).is_empty(),
            "{path} writes without --output"
        );

        let output = here.path().join(path);
        let value = json_of(
            prepare(path, media.path(), here.path())
                .arg("-o")
                .arg(&output),
        );
        // A path without files makes no directory, and says so.
        let written = match output.exists() {
            true => contents(&output),
            false => {
                let mut again = prepare(path, media.path(), here.path());
                let said = text(&run(again.arg("-o").arg(&output)));
                let expected = format!(
                    "{path} has no files, so {} was not written",
                    output.display()
                );
                assert!(said.contains(&expected), "{said}");
                BTreeMap::new()
            }
        };
        let place = match output.exists() {
            true => output.as_path(),
            false => here.path(),
        };
        assert_eq!(
            value["working-directory"],
            place.to_str().unwrap(),
            "{path}"
        );
        let files = value["files"].as_array().unwrap();
        assert_eq!(written.len(), files.len(), "{path}");
        for file in files {
            let (name, content) = (
                file["name"].as_str().unwrap(),
                file["content"].as_str().unwrap(),
            );
            assert_eq!(written[name], content.as_bytes(), "{path} {name}");
        }
        if output.exists() {
            let mut again = prepare(path, media.path(), here.path());
            let error = run_to_fail(again.arg("-o").arg(&output));
            assert!(error.contains("exists"), "{error}");
            run(prepare(path, media.path(), here.path())
                .arg("-o")
                .arg(&output)
                .arg("--force"));
            assert_eq!(contents(&output), written, "{path}");
            fs::remove_dir_all(&output).unwrap();
        }
    }
    assert_eq!(names(media.path()), ["bake.json"]);
}

#[test]
fn the_record_may_be_named_itself() {
    let (media, here) = (baked(), tempfile::tempdir().unwrap());
    let of = |path: &Path, here: &Path| {
        json_of(&mut prepare("upi-iso", path, here))["steps"].to_string()
    };
    let record = media.path().join("bake.json");
    assert_eq!(of(&record, here.path()), of(media.path(), here.path()));
    // Beside it, the directory has no name of its own on the command line.
    let beside = of(Path::new("bake.json"), media.path());
    let iso = media.path().join("rhcos-live-iso.aarch64.iso");
    assert!(beside.contains(iso.to_str().unwrap()), "{beside}");
}

/// What the options say comes before what the record says; drivers and firmware are handed on.
#[test]
fn options_come_through() {
    let (media, here) = (baked(), tempfile::tempdir().unwrap());
    let other = IMAGE.replace("quay.io", "r.example:5000");
    let mut command = prepare("upi-iso", media.path(), here.path());
    command.args([
        "--os-image",
        &other,
        "--driver",
        "acme-nic.ko,acme_raid",
        "--driver-option",
        "acme_nic:name=it's",
        "--role",
        "worker",
        "--anonymous-pull",
    ]);
    fs::create_dir(here.path().join("below")).unwrap();
    fs::write(here.path().join("below/acme.bin"), "firmware").unwrap();
    command.args(["--firmware", "acme.bin=below/acme.bin"]);
    let steps = json_of(&mut command)["steps"].clone();
    let prepared = steps[1]["commands"][0].as_str().unwrap();
    let here = here.path().display();
    assert_eq!(
        prepared,
        format!(
            "coreos-bake prepare {here}/install --release 4.21 --bake {} --os-image {other} --role worker \
             --karg-append acme.debug=1 --driver=acme_nic --driver=acme_raid \
             '--driver-option=acme_nic:name=it'\\''s' \
             --firmware=acme.bin={here}/below/acme.bin --anonymous-pull",
            media.path().display()
        )
    );
}

#[test]
fn what_is_missing_is_said_with_a_hint() {
    let (media, here) = (baked(), tempfile::tempdir().unwrap());
    let bare = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_coreos-bake"));
        command.args([
            "prepare",
            "install",
            "--release",
            "4.21",
            "--color",
            "never",
        ]);
        run_to_fail(command.current_dir(here.path()).args(arguments))
    };
    let error = bare(&["--path", "agent"]);
    assert_eq!(
        error,
        "error: install path agent needs what bake has written\n\
         hint: give the directory that bake has written with --bake DIR\n"
    );
    let error = bare(&["--path", "agent", "--bake", media.path().to_str().unwrap()]);
    assert_eq!(
        error,
        "error: install path agent needs the URL that the media are served at\n\
         hint: say it with --url, as in --url http://192.168.1.5:8080\n"
    );
    fs::write(
        media.path().join("bake.json"),
        r#"{"schema":"coreos-bake/bake/v1"}"#,
    )
    .unwrap();
    let error = run_to_fail(&mut prepare("sno", media.path(), here.path()));
    assert!(error.contains("bake.json: tool is missing"), "{error}");
}

#[test]
fn options_that_do_not_go_together_are_refused() {
    let code = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_coreos-bake"));
        command.args(["prepare", "x", "--release", "4.21"]);
        command.args(arguments).output().unwrap().status.code()
    };
    assert_eq!(code(&["--path", "upi"]), Some(2));
    assert_eq!(code(&["--path", "sno", "--undo"]), Some(2));
    assert_eq!(code(&["--path", "sno", "--dry-run"]), Some(2));
    let seed = [
        "--seed",
        "f",
        "--push-spec",
        "q.io/a/b:c",
        "--push-secret",
        "s",
    ];
    assert_eq!(code(&[&["--path", "sno"][..], &seed].concat()), Some(2));
    for option in [
        "--url",
        "--disk",
        "--cluster",
        "--base-domain",
        "--live-karg-append",
    ] {
        assert_eq!(code(&[option, "a"]), Some(2), "{option}");
    }
}

/// The directory that the assisted recipe makes is one that prepare takes.
#[test]
fn assisted_directories_are_prepared() {
    let (media, here) = (baked(), tempfile::tempdir().unwrap());
    let value = json_of(&mut prepare("assisted", media.path(), here.path()));
    let steps = value["steps"].as_array().unwrap();
    let all: Vec<&str> = steps
        .iter()
        .flat_map(|step| step["commands"].as_array().unwrap())
        .map(|command| command.as_str().unwrap())
        .collect();
    let command = all
        .iter()
        .find(|command| command.starts_with("coreos-bake prepare"))
        .unwrap();
    let objects = here.path().join("install/cluster-manifests");
    fs::create_dir_all(&objects).unwrap();
    let cluster = "apiVersion: extensions.hive.openshift.io/v1beta1\nkind: AgentClusterInstall\n\
                   metadata:\n  name: rack\n  namespace: rack\nspec:\n  provisionRequirements:\n    \
                   controlPlaneAgents: 3\n    workerAgents: 2\n";
    fs::write(objects.join("agent-cluster-install.yaml"), cluster).unwrap();
    let program = env!("CARGO_BIN_EXE_coreos-bake");
    let script = command.replacen("coreos-bake", program, 1);
    run(Command::new("bash")
        .arg("-c")
        .arg(script)
        .current_dir(here.path()));
    let made = names(&here.path().join("install/openshift"));
    assert!(
        made.contains(&"99-worker-coreos-bake-os.yaml".to_owned()),
        "{made:?}"
    );
}

/// `docs/install.md` has a section for each path, and no others, and names only what is there.
#[test]
fn the_page_has_every_path() {
    let page = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/install.md")).unwrap();
    let sections: Vec<&str> = page
        .lines()
        .filter_map(|line| line.strip_prefix("## `")?.split_once('`'))
        .map(|(name, _)| name)
        .collect();
    assert_eq!(sections, PATHS);
    let rows: Vec<&str> = page
        .lines()
        .filter_map(|line| {
            line.strip_prefix("| ")?
                .split_once("| [`")?
                .1
                .split_once('`')
        })
        .map(|(name, _)| name)
        .collect();
    assert_eq!(rows, PATHS);
    // The program's own list, as it says it when somebody is wrong.
    let mut command = Command::new(env!("CARGO_BIN_EXE_coreos-bake"));
    let error = run_to_fail(command.args(["prepare", "x", "--release", "4.21", "--path", "?"]));
    let known = error
        .split_once("install path; there are ")
        .unwrap()
        .1
        .lines()
        .next()
        .unwrap();
    let known = known.replace(" and ", ", ");
    assert_eq!(known.split(", ").collect::<Vec<_>>(), PATHS);
}

/// A rack on an administrator's machine: media, an install directory, and stand-ins for the programs of others.
struct Rack {
    site: Site,
    release: &'static str,
    port: u16,
}

impl Rack {
    fn new(release: &'static str, kind: &str) -> Self {
        let fixtures = match kind {
            "agent" => vec![format!("{release}/agent-input")],
            _ => ["manifests", "ignition", "install-config"]
                .map(|stage| match stage {
                    "install-config" => format!("{release}/bad-{stage}"),
                    _ => format!("{release}/{kind}-{stage}"),
                })
                .to_vec(),
        };
        let fixtures: Vec<&str> = fixtures.iter().map(String::as_str).collect();
        let site = Site::new(&fixtures);
        let rack = Self {
            site,
            release,
            port: free_port(),
        };
        let bin = rack.path("bin");
        fs::create_dir_all(&bin).unwrap();
        symlink(env!("CARGO_BIN_EXE_coreos-bake"), bin.join("coreos-bake")).unwrap();
        let stand_ins = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/support");
        for (name, stand_in) in [
            ("openshift-install", "openshift-install"),
            ("oc", "takes-files"),
            ("coreos-installer", "takes-files"),
        ] {
            symlink(stand_ins.join(stand_in), bin.join(name)).unwrap();
        }
        // What the steps before the first command ask for.
        let install = rack.path(PLACE).join("install");
        fs::create_dir_all(install.parent().unwrap()).unwrap();
        let input = match kind {
            "agent" => "agent-input",
            _ => "bad-install-config",
        };
        fs::rename(rack.path(&format!("{release}/{input}")), install).unwrap();
        rack.bake();
        rack
    }

    fn path(&self, name: &str) -> PathBuf {
        self.site.path(name)
    }

    /// Media as small as they can be for `serve` and `hosts`.
    fn bake(&self) {
        let media = self.path(PLACE).join("media");
        fs::create_dir_all(&media).unwrap();
        let mut initramfs = Initrd::default();
        initramfs.add("etc/coreos-live-initramfs", b"1\n".to_vec());
        let features = br#"{"installer-config":true,"live-initrd-network":true}"#;
        initramfs.add("etc/coreos/features.json", features.to_vec());
        let mut files = Vec::new();
        for (role, name, content) in [
            ("iso", "os-live-iso.x86_64.iso", b"iso".to_vec()),
            ("kernel", "os-live-kernel.x86_64", b"kernel".to_vec()),
            (
                "initramfs",
                "os-live-initramfs.x86_64.img",
                initramfs.to_bytes().unwrap(),
            ),
            ("rootfs", "os-live-rootfs.x86_64.img", b"rootfs".to_vec()),
            ("qcow2", "os-qemu.x86_64.qcow2", b"qcow2".to_vec()),
        ] {
            fs::write(media.join(name), &content).unwrap();
            files.push(json!({
                "name": name, "role": role, "size": content.len(), "sha256": "1".repeat(64),
            }));
        }
        let mut record = record::sample_with(Some("acme_nic"));
        record["files"] = json!(files);
        record::write(&media, &record);
    }

    /// The recipe of a path as it is printed, asked for with the names that are at hand.
    fn recipe(&self, path: &str) -> String {
        let mut command = Command::new(self.path("bin/coreos-bake"));
        command.current_dir(self.path(PLACE));
        command.args(["prepare", "install", "--release", self.release, "--bake"]);
        command.args([
            "media", "--path", path, "--disk", "/dev/sda", "-o", "recipe",
        ]);
        command.args(["--cluster", "rack", "--url"]);
        command.arg(format!("http://127.0.0.1:{}", self.port));
        text(&run(&mut command))
    }

    /// Runs a command as somebody would who has pasted `enter` and it, somewhere.
    fn paste(&self, enter: &str, kind: &str, command: &str) {
        let path = std::env::var("PATH").unwrap();
        let mut bash = Command::new("bash");
        let script = format!("{enter}\n{command}");
        bash.args(["-euc", &script]).current_dir("/");
        bash.env("PATH", format!("{}:{path}", self.path("bin").display()));
        bash.env("FIXTURES", self.path(self.release))
            .env("KIND", kind);
        if !command.starts_with("coreos-bake serve") {
            let output = bash.output().unwrap();
            assert!(output.status.success(), "{command}: {output:?}");
            return;
        }
        // It would go on and on, with a process of its own in the shell.
        let mut child = bash
            .process_group(0)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut said = String::new();
        let lines = BufReader::new(child.stderr.take().unwrap()).lines();
        for line in lines.map_while(Result::ok) {
            said += &line;
            if line.contains("http://") {
                break;
            }
        }
        let group = format!("-{}", child.id());
        run(Command::new("kill").args(["-KILL", "--", &group]));
        child.wait().unwrap();
        let is_up = said.contains("http://") && !said.contains("error:");
        assert!(is_up, "{command}: {said}");
    }
}

/// A free port that no client on this machine is given by chance: those begin at 32768.
fn free_port() -> u16 {
    let mut ports = 20_000 + std::process::id() as u16 % 10_000..30_000;
    ports
        .find(|port| TcpListener::bind(("0.0.0.0", *port)).is_ok())
        .expect("a free port")
}

/// Where the rack's files are. A shell makes something else of each part of it that is not quoted.
const PLACE: &str = "mein Gerät ~1";

/// The commands that a recipe prints, in their order: first the one that enters the directory.
fn commands(recipe: &str) -> Vec<&str> {
    let steps = recipe.split("== files ==").next().unwrap();
    let steps = steps.split("== mind ==").next().unwrap();
    // Sentences begin with a number, and paragraphs of commands do not.
    let paragraphs = steps.split("\n\n").filter(|text| text.starts_with("    "));
    let lines = paragraphs.flat_map(str::lines);
    lines.map(|line| line.trim_start()).collect()
}

/// Every command of every recipe finds its files, wherever it is pasted.
#[test]
fn recipes_can_be_pasted_as_they_are_printed() {
    for release in ["4.21", "5.0"] {
        for path in PATHS {
            let kind = match path {
                "ipi" | "sno" | "agent" => path,
                _ => "upi",
            };
            let rack = Rack::new(release, kind);
            let recipe = rack.recipe(path);
            let commands = commands(&recipe);
            let (enter, commands) = commands.split_first().unwrap();
            assert!(enter.starts_with("cd -- '/"), "{path}: {enter}");
            if path == "assisted" {
                // An AgentClusterInstall, for which the recipe makes a directory, is the user's.
                let install = rack.path(PLACE).join("install");
                let objects = install.join("cluster-manifests");
                fs::remove_dir_all(install).unwrap();
                fs::create_dir_all(&objects).unwrap();
                let object = "apiVersion: extensions.hive.openshift.io/v1beta1\nkind: AgentClusterInstall\n\
                              metadata:\n  name: rack\n";
                fs::write(objects.join("agent-cluster-install.yaml"), object).unwrap();
            }
            if path == "upi-pxe" {
                let hosts = rack.path(PLACE).join("recipe/hosts.yaml");
                let mut told = fs::read_to_string(&hosts).unwrap();
                for number in 1..=3 {
                    let mac = format!("52:54:00:00:00:0{number}");
                    told = told.replacen("HARDWARE-ADDRESS", &format!("\"{mac}\""), 1);
                }
                fs::write(&hosts, told).unwrap();
            }
            let mut pasted = 0;
            for command in commands {
                if command.starts_with("sudo ") {
                    // What is typed in the live system.
                    continue;
                }
                rack.paste(enter, kind, command);
                pasted += 1;
            }
            assert!(pasted > 2, "{path}: {recipe}");
        }
    }
}
