//! A rack: machines of three roles install themselves at the same time from one PXE set, through
//! `serve`, onto disks behind the controller that only the layer has a driver for, and boot from them.
//! What `prepare` adds to their configs tells then that the driver and the image are right.
//!
//! Takes minutes under emulation, so it runs only with COREOS_BAKE_BOOT=1 (`scripts/test boot`).

#[path = "support/cluster.rs"]
mod cluster;
#[path = "support/layout.rs"]
mod layout;
mod support;

use std::fs::{self, File};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use cluster::{InstallDirectory, joined, make_node_image};
use serde_json::{Value, json};
use support::server::{Running, serve_files};
use support::{Workshop, have, run, text};

/// Several times what the whole takes on a busy host.
const PATIENCE: Duration = Duration::from_secs(1800);

/// Role, hardware address.
const MACHINES: [(&str, &str); 3] = [
    ("bootstrap", "52:54:00:00:00:01"),
    ("master", "52:54:00:00:01:01"),
    ("worker", "52:54:00:00:02:01"),
];

const POOLS: [&str; 2] = ["master", "worker"];

#[test]
fn three_roles_install_unattended_and_boot_from_their_disks() {
    if std::env::var_os("COREOS_BAKE_BOOT").is_none() {
        eprintln!("skipped: boots take minutes; set COREOS_BAKE_BOOT=1");
        return;
    }
    if !have("qemu-system-x86_64") || !have("python3") || !have("curl") {
        return;
    }
    let Some(workshop) = Workshop::new() else {
        return;
    };
    let os = Os::new(&workshop);
    let media = os.bake(&workshop);
    let configs = workshop.output("configs");
    let install = InstallDirectory::with_manifests(&configs);
    let prepare = || {
        let mut command = workshop.bake();
        command.arg("prepare").arg(install.path());
        command.args(["--release", "4.19", "--anonymous-pull", "--bake"]);
        prepared(command.arg(&media))
    };
    let manifests = POOLS
        .map(|pool| ["drivers", "os"].map(|about| format!("99-{pool}-coreos-bake-{about}.yaml")));
    let paths = manifests.as_flattened().iter();
    let paths: Vec<String> = paths.map(|name| format!("openshift/{name}")).collect();
    assert_eq!(prepare(), paths);
    for [_, name] in &manifests {
        let os_image = &install.manifest(name)["spec"]["osImageURL"];
        assert_eq!(told(os_image), os.image);
    }
    foretells_pivots(&workshop, &media, &os);
    let (_machine_configs, address) = machine_config_server(&configs.join("server"), &install);
    install.create_ignition_configs(config("bootstrap"), &address);
    // The others have theirs from the cluster.
    assert_eq!(prepare(), ["bootstrap.ign"]);
    let inventory = inventory(&configs, &install);
    let (_server, url) = serve(&workshop, &media, &inventory);

    for (name, said) in installed(&workshop, &url) {
        os.is_verified(name, &said);
    }
    let status: Value = serde_json::from_str(&status(&url)).unwrap();
    for host in status["hosts"].as_array().unwrap() {
        assert_eq!(host["phase"], "done", "{status}");
    }
    assert_eq!(status["hosts"].as_array().unwrap().len(), 3, "{status}");
}

/// What the machines run.
struct Os {
    /// Its name in a registry, by digest.
    image: String,
    /// The same as ostree writes it.
    origin: String,
    kernel: String,
}

impl Os {
    fn new(workshop: &Workshop) -> Self {
        make_node_image(&workshop.path("layered.oci"));
        let mut inspect = workshop.bake();
        let facts = json_of(inspect.arg("inspect").arg(workshop.image("layered")));
        let image = format!("quay.example/me/os@{}", told(&facts["manifest-digest"]));
        Self {
            origin: format!("ostree-unverified-registry:{image}"),
            image,
            kernel: told(&facts["kernel"]).to_owned(),
        }
    }

    fn bake(&self, workshop: &Workshop) -> PathBuf {
        let media = workshop.output("media");
        run(workshop
            .bake_as_nobody()
            .args(["bake", &workshop.image("layered"), "-f", "pxe"])
            .args(["--compression", "fast", "--driver", "megaraid_sas"])
            .args(["--target-imgref", &self.origin])
            .args(["--live-karg-append", "console=ttyS0", "-o"])
            .arg(&media));
        media
    }

    /// What a machine has `said` on its console is that it runs this, with the driver and its config.
    fn is_verified(&self, name: &str, said: &str) {
        let report = report(said).unwrap();
        for line in [
            format!("ignition hello {name}"),
            format!("origin {}", self.origin),
            "initramfs disk sda sd megaraid_sas".to_owned(),
            "disk sda sd megaraid_sas".to_owned(),
        ] {
            let line = format!("MINI-REPORT: {line}");
            // The prompt for logins may have come before it.
            let found = report.lines().any(|told| told.trim_end().ends_with(&line));
            assert!(found, "{line}: {report}");
        }
        assert!(!report.contains("failed-unit"), "{report}");
        // Once, by the system on the disk: the live one installs the config and doesn't have it.
        let verified: Vec<&str> = said
            .lines()
            .filter_map(|line| Some(line.trim_end().split_once("]: coreos-bake: ")?.1))
            .collect();
        let Self { origin, kernel, .. } = self;
        let line = format!("megaraid_sas loaded; kernel {kernel}; image {origin}");
        assert_eq!(verified, [line], "{name}: {said}");
    }
}

/// Starts all machines and waits until each has reported from its disk: their names, and what was on
/// their consoles.
fn installed(workshop: &Workshop, url: &str) -> Vec<(&'static str, String)> {
    let started = Instant::now();
    let mut machines: Vec<(&str, PathBuf, Running)> = MACHINES
        .into_iter()
        .map(|(name, mac)| {
            let console = workshop.path(&format!("{name}.console"));
            let running = machine(workshop, mac, url, &console);
            (name, console, running)
        })
        .collect();
    let mut done = Vec::new();
    while !machines.is_empty() {
        thread::sleep(Duration::from_secs(1));
        machines.retain_mut(|(name, console, running)| {
            let said = String::from_utf8_lossy(&fs::read(console).unwrap()).into_owned();
            let ended = running.0.try_wait().expect("waiting for QEMU").is_some();
            let reported = report(&said).is_some_and(|report| report.contains("MINI-REPORT: end"));
            let lost = [
                "MINI-REPORT: EMERGENCY",
                "Kernel panic",
                "timer doesn't work",
            ]
            .iter()
            .any(|sign| said.contains(sign));
            assert!(
                reported || !ended && !lost && started.elapsed() < PATIENCE,
                "{name} was not installed\n{}\n{said}",
                status(url)
            );
            if reported {
                done.push((*name, said));
            }
            !reported
        });
    }
    done
}

/// Says hello in the file that the mini OS reports, and more.
fn config(name: &str) -> Value {
    json!({
        "ignition": { "version": "3.2.0" },
        "storage": { "files": [{
            "path": "/etc/ignition-was-here",
            "mode": 0o644,
            "contents": { "source": format!("data:,hello%20{name}") },
        }]},
    })
}

/// What the system on the disk has reported, if it has begun.
fn report(said: &str) -> Option<&str> {
    let (_, report) = said.rsplit_once("MINI-REPORT: begin")?;
    report
        .contains("MINI-REPORT: mode installed")
        .then_some(report)
}

/// What `prepare` has written. Nothing it says may be of a node that leaves its image.
fn prepared(command: &mut Command) -> Vec<String> {
    let said = json_of(command);
    let notes = said["notes"].as_array().unwrap();
    assert!(notes.iter().all(|note| note["id"] != "pivot"), "{said}");
    let edits = said["edits"].as_array().unwrap();
    let paths = edits.iter().map(|edit| told(&edit["path"]).to_owned());
    paths.collect()
}

/// `check` knows which nodes stay on what was installed, and which of the others lose their disk.
fn foretells_pivots(workshop: &Workshop, media: &Path, os: &Os) {
    let kernel = &os.kernel;
    // By another name it is another image.
    let same = workshop.image("layered");
    let stock = workshop.image("stock");
    for (os_image, mark, sentence) in [
        (
            &os.image,
            "✓",
            "osImageURL is the image that boots: the node keeps that image, ".to_owned(),
        ),
        (
            &same,
            "✓",
            format!("the node pivots to {same}, and the driver is there"),
        ),
        (
            &stock,
            "✗",
            format!("the node pivots to {stock}: kernel {kernel} has no module megaraid_sas"),
        ),
    ] {
        let check = |format: &str| {
            let mut command = workshop.bake_as_nobody();
            command.arg("check").arg(media);
            command.args(["--driver", "megaraid_sas", "--os-image", os_image]);
            let output = command.args(["--format", format]).output().unwrap();
            assert_eq!(output.status.success(), mark == "✓", "{output:?}");
            text(&output)
        };
        let said = check("text");
        // Lines break between words.
        let words: Vec<&str> = said.split_whitespace().collect();
        let expected = format!("{mark} pivot: {sentence}");
        assert!(words.join(" ").contains(expected.trim_end()), "{said}");

        let said: Value = serde_json::from_str(&check("json")).unwrap();
        let is_missing = said["missing"] == serde_json::json!(["pivot"]);
        assert_eq!(is_missing, mark == "✗", "{said}");
        assert_eq!(said["open"], serde_json::json!(["day2"]), "{said}");
        assert_eq!(said["complete"], false, "{said}");
        for verdict in said["drivers"].as_array().unwrap() {
            let fails = verdict["stage"] == "pivot" && mark == "✗";
            let is_bad = matches!(told(&verdict["status"]), "fails" | "missing");
            assert_eq!(is_bad, fails, "{verdict}");
            if fails {
                assert!(told(&verdict["why"]).starts_with(&sentence), "{verdict}");
            }
        }
    }
}

fn json_of(command: &mut Command) -> Value {
    let output = run(command.args(["--format", "json"]));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// A text in JSON.
fn told(value: &Value) -> &str {
    value
        .as_str()
        .unwrap_or_else(|| panic!("{value} is no text"))
}

/// Plays the machine-config server, from files, with the MachineConfigs that `prepare` has made; returns
/// its address as guests see it.
fn machine_config_server(directory: &Path, install: &InstallDirectory) -> (Running, String) {
    fs::create_dir_all(directory.join("config")).unwrap();
    for pool in POOLS {
        let drivers = install.machine_config(&format!("99-{pool}-coreos-bake-drivers.yaml"));
        let rendered = joined(config(pool), &drivers);
        let path = directory.join("config").join(pool);
        fs::write(path, rendered.to_string()).unwrap();
    }
    serve_files(directory)
}

/// Each machine with the config of its role, and a console where its units can be read.
fn inventory(directory: &Path, install: &InstallDirectory) -> PathBuf {
    let hosts = MACHINES.map(|(role, mac)| {
        let ignition = install.path().join(format!("{role}.ign"));
        json!({
            "name": role, "mac": mac, "role": role, "disk": "/dev/sda",
            "ignition": ignition, "dest-kargs": ["console=ttyS0"],
        })
    });
    let path = directory.join("hosts.json");
    fs::write(&path, json!({ "hosts": hosts }).to_string()).unwrap();
    run(Command::new("chmod").args(["-R", "a+rX"]).arg(directory));
    path
}

/// Serves `media` to the machines in `inventory`; returns the address that guests see it at.
fn serve(workshop: &Workshop, media: &Path, inventory: &Path) -> (Running, String) {
    // Given back at once; nobody else is likely to take it before the server does.
    let port = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let url = format!("http://10.0.2.2:{port}");
    let server = workshop
        .bake_as_nobody()
        .arg("serve")
        .arg(media)
        .args([
            "--listen",
            &format!("127.0.0.1:{port}"),
            "--url",
            &url,
            "--strict",
        ])
        .arg("--hosts")
        .arg(inventory)
        .spawn()
        .expect("starting serve");
    let server = Running(server);
    let began = Instant::now();
    while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
        assert!(
            began.elapsed() < Duration::from_secs(30),
            "serve doesn't listen"
        );
        thread::sleep(Duration::from_millis(50));
    }
    (server, url)
}

/// What the server says of the machines.
fn status(url: &str) -> String {
    let local = url.replace("10.0.2.2", "127.0.0.1");
    let output = Command::new("curl")
        .args(["--silent", "--show-error", &format!("{local}/status.json")])
        .output()
        .expect("running curl");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// A machine that boots from the network first, with an empty disk. Its firmware's iPXE asks for what
/// DHCP names.
fn machine(workshop: &Workshop, mac: &str, url: &str, console: &Path) -> Running {
    let disk = console.with_extension("raw");
    File::create(&disk).unwrap().set_len(4 << 30).unwrap();
    let errors = File::create(console.with_extension("errors")).unwrap();
    let child = Command::new("qemu-system-x86_64")
        .args(["-accel", "tcg,thread=multi", "-machine", "q35", "-smp", "1"])
        .args([
            "-cpu",
            "max,la57=off,erms=off,fsrm=off",
            "-m",
            "3072",
            "-display",
            "none",
        ])
        .args([
            "-monitor",
            "none",
            "-serial",
            "stdio",
            "-device",
            "virtio-rng-pci",
        ])
        .args(["-netdev", &format!("user,id=net,bootfile={url}/boot.ipxe")])
        .args([
            "-device",
            &format!("virtio-net-pci,netdev=net,mac={mac},bootindex=1"),
        ])
        .args([
            "-drive",
            &format!("if=none,id=disk,format=raw,file={}", disk.display()),
        ])
        .args(["-device", "megasas-gen2,id=hba"])
        .args(["-device", "scsi-hd,drive=disk,bus=hba.0,bootindex=2"])
        .current_dir(workshop.path(""))
        .stdin(Stdio::null())
        .stdout(File::create(console).unwrap())
        .stderr(errors)
        .spawn()
        .expect("starting QEMU");
    Running(child)
}
