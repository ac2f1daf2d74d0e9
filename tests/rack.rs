//! A rack: machines of three roles install themselves at the same time from one PXE set, through
//! `serve`, onto disks behind the controller that only the layer has a driver for, and boot from them.
//!
//! Takes minutes under emulation, so it runs only with COREOS_BAKE_BOOT=1 (`scripts/test boot`).

mod support;

use std::fs::{self, File};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use support::server::{Running, serve_files};
use support::{Workshop, have, run};

/// Several times what the whole takes on a busy host.
const PATIENCE: Duration = Duration::from_secs(1800);

/// Name, hardware address, and whether its config comes from the machine-config server.
const MACHINES: [(&str, &str, bool); 3] = [
    ("bootstrap", "52:54:00:00:00:01", false),
    ("master", "52:54:00:00:01:01", true),
    ("worker", "52:54:00:00:02:01", true),
];

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
    let media = workshop.output("media");
    run(workshop
        .bake_as_nobody()
        .args(["bake", &workshop.image("layered"), "-f", "pxe"])
        .args(["--compression", "fast", "--driver", "megaraid_sas"])
        .args(["--live-karg-append", "console=ttyS0", "-o"])
        .arg(&media));
    let configs = workshop.output("configs");
    let (_machine_configs, address) = machine_config_server(&configs.join("server"));
    let inventory = inventory(&configs, &address);
    let (_server, url) = serve(&workshop, &media, &inventory);

    let started = Instant::now();
    let mut machines: Vec<(&str, PathBuf, Running)> = MACHINES
        .into_iter()
        .map(|(name, mac, _)| {
            let console = workshop.path(&format!("{name}.console"));
            (
                name,
                console.clone(),
                machine(&workshop, mac, &url, &console),
            )
        })
        .collect();
    let mut done = Vec::new();
    while !machines.is_empty() {
        thread::sleep(Duration::from_secs(1));
        machines.retain_mut(|(name, console, running)| {
            let said = String::from_utf8_lossy(&fs::read(console).unwrap()).into_owned();
            let ended = running.0.try_wait().expect("waiting for QEMU").is_some();
            let installed = said.contains("MINI-REPORT: mode installed");
            let reported = installed && said.trim_end().ends_with("MINI-REPORT: end");
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
                status(&url)
            );
            if reported {
                done.push((*name, said));
            }
            !reported
        });
    }

    for (name, said) in &done {
        let report = said.rsplit_once("MINI-REPORT: begin").unwrap().1;
        for line in [
            format!("ignition hello {name}"),
            "initramfs disk sda sd megaraid_sas".to_owned(),
            "disk sda sd megaraid_sas".to_owned(),
        ] {
            let line = format!("MINI-REPORT: {line}");
            let found = report.lines().any(|told| told.trim_end() == line);
            assert!(found, "{line}: {report}");
        }
        assert!(!report.contains("failed-unit"), "{report}");
    }
    let status: Value = serde_json::from_str(&status(&url)).unwrap();
    for host in status["hosts"].as_array().unwrap() {
        assert_eq!(host["phase"], "done", "{status}");
    }
    assert_eq!(status["hosts"].as_array().unwrap().len(), 3, "{status}");
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

/// What `openshift-install` writes for machines other than the bootstrap one.
fn pointer(name: &str, address: &str) -> Value {
    let source = format!("{address}/config/{name}");
    json!({ "ignition": { "version": "3.2.0", "config": { "merge": [{ "source": source }] } } })
}

/// Plays the machine-config server, from files; returns its address as guests see it.
fn machine_config_server(directory: &Path) -> (Running, String) {
    fs::create_dir_all(directory.join("config")).unwrap();
    for (name, _, from_server) in MACHINES {
        if from_server {
            let path = directory.join("config").join(name);
            fs::write(path, config(name).to_string()).unwrap();
        }
    }
    serve_files(directory)
}

fn inventory(directory: &Path, address: &str) -> PathBuf {
    let hosts: Vec<Value> = MACHINES
        .into_iter()
        .map(|(name, mac, from_server)| {
            let file = format!("{name}.ign");
            let config = match from_server {
                true => pointer(name, address),
                false => config(name),
            };
            fs::write(directory.join(&file), config.to_string()).unwrap();
            json!({ "name": name, "mac": mac, "role": name, "disk": "/dev/sda", "ignition": file })
        })
        .collect();
    let path = directory.join("hosts.json");
    fs::write(&path, json!({ "hosts": hosts }).to_string()).unwrap();
    support::open_up(directory);
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
        .args(["-cpu", "max,la57=off", "-m", "3072", "-display", "none"])
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
