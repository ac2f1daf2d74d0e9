//! A bake directory with an inventory, `serve` over it, and curl as everybody else.

#![allow(
    dead_code,
    unreachable_pub,
    reason = "each test program uses its own part"
)]

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use libcoreinst::io::Initrd;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::record;

pub const KERNEL: &str = "mini-1-live-kernel.x86_64";
pub const INITRAMFS: &str = "mini-1-live-initramfs.x86_64.img";
pub const ROOTFS: &str = "mini-1-live-rootfs.x86_64.img";
const ROOTFS_BYTES: usize = 3_000_001;
/// More than sockets hold, so that a transfer can't end while nobody reads.
pub const LARGE_BYTES: usize = 64 << 20;
const FEATURES: &str = r#"{"installer-config":true,"live-initrd-network":true}"#;
const HOSTS: &str = "roles:\n\
    \x20 worker: {disk: /dev/vda, ignition: worker.ign}\n\
    hosts:\n\
    - {name: worker-0, mac: '52:54:00:00:00:01', role: worker, keyfiles: eth0.nmconnection}\n\
    - {name: live-0, mac: '52:54:00:00:00:02', ignition: live.ign, kargs: quiet}\n";

/// A bake directory with an inventory in it.
pub struct Bake(pub TempDir);

impl Bake {
    pub fn new() -> Self {
        let bake = Self(tempfile::tempdir().unwrap());
        let mut initramfs = Initrd::default();
        initramfs.add("etc/coreos-live-initramfs", b"1\n".to_vec());
        initramfs.add("etc/coreos/features.json", FEATURES.as_bytes().to_vec());
        let rootfs: Vec<u8> = (0..ROOTFS_BYTES).map(|at| (at % 251) as u8).collect();
        let mut files = Vec::new();
        for (name, role, content) in [
            (KERNEL, "kernel", b"kernel".to_vec()),
            (INITRAMFS, "initramfs", initramfs.to_bytes().unwrap()),
            (ROOTFS, "rootfs", rootfs),
        ] {
            let sha256 = "1".repeat(64);
            files.push(
                json!({ "name": name, "role": role, "size": content.len(), "sha256": sha256 }),
            );
            bake.write(name, &content);
        }
        let mut record = record::sample();
        record["options"]["live-kargs"] = "console=ttyS0".into();
        record["files"] = files.into();
        record::write(bake.0.path(), &record);
        bake.write("hosts.yaml", HOSTS.as_bytes());
        bake.write("worker.ign", br#"{"ignition":{"version":"3.2.0"}}"#);
        bake.write("live.ign", br#"{"ignition":{"version":"3.4.0"}}"#);
        bake.write("eth0.nmconnection", b"[connection]\nid=eth0\n");
        bake
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub fn write(&self, name: &str, content: &[u8]) {
        fs::write(self.path(name), content).unwrap();
    }

    /// One more file of the bake, of zeros.
    pub fn record(&self, name: &str, role: &str, length: u64) {
        let file = fs::File::create(self.path(name)).unwrap();
        file.set_len(length).unwrap();
        self.change(|record| {
            let sha256 = "1".repeat(64);
            let file = json!({ "name": name, "role": role, "size": length, "sha256": sha256 });
            record["files"].as_array_mut().unwrap().push(file);
        });
    }

    /// Changes the record.
    pub fn change(&self, change: impl FnOnce(&mut Value)) {
        let path = self.path("bake.json");
        let mut record = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        change(&mut record);
        fs::write(path, record.to_string()).unwrap();
    }

    /// `serve` with these options and the inventory.
    pub fn serve(&self, options: &[&str]) -> Command {
        let mut command = program();
        command
            .arg("serve")
            .arg(self.0.path())
            .args(["--listen", "127.0.0.1:0", "--hosts"])
            .arg(self.path("hosts.yaml"))
            .args(options);
        command
    }
}

pub fn program() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_coreos-bake"));
    command.env_remove("COREOS_BAKE_LOG");
    command
}

/// The paths that a script sends a machine to.
#[derive(Debug)]
pub struct Urls {
    pub kernel: String,
    pub initramfs: String,
    pub overlay: Option<String>,
    pub rootfs: String,
    pub config: Option<String>,
    pub done: String,
}

impl Urls {
    fn of(script: &str, url: &str) -> Self {
        let named = |start: &str| {
            let rest = &script[script.find(start)? + start.len()..];
            let named = rest.split_whitespace().next()?;
            Some(named.strip_prefix(url).expect(script).to_owned())
        };
        let rootfs = named("coreos.live.rootfs_url=").expect(script);
        let config = named("ignition.config.url=");
        Self {
            kernel: named("kernel ").expect(script),
            initramfs: named("--name main ").expect(script),
            overlay: named("--name host "),
            config: config.or_else(|| named("coreos.inst.ignition_url=")),
            done: format!("{}/done", rootfs.rsplit_once('/').unwrap().0),
            rootfs,
        }
    }
}

/// A server that is killed if nobody stops it.
pub struct Running {
    pub child: Child,
    pub lines: Receiver<String>,
    pub url: String,
}

impl Running {
    /// Starts a server that tells of itself in lines of standard error, or of standard output.
    pub fn start(command: &mut Command) -> Self {
        let json = command.get_args().any(|argument| argument == "json");
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let told: Box<dyn Read + Send> = match json {
            true => Box::new(child.stdout.take().unwrap()),
            false => Box::new(child.stderr.take().unwrap()),
        };
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            for line in BufReader::new(told).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        let mut running = Self {
            child,
            lines,
            url: String::new(),
        };
        let line = running.line();
        let at = line.find("http").unwrap_or_else(|| panic!("{line}"));
        let end = line[at..].find([',', '"']).unwrap();
        running.url = line[at..at + end].to_owned();
        running
    }

    pub fn line(&self) -> String {
        self.lines
            .recv_timeout(Duration::from_secs(30))
            .expect("the server says something")
    }

    pub fn get(&self, path: &str) -> (u16, String) {
        self.curl(&[], path)
    }

    pub fn curl(&self, arguments: &[&str], path: &str) -> (u16, String) {
        let output = Command::new("curl")
            .args([
                "--silent",
                "--show-error",
                "--noproxy",
                "*",
                "--max-time",
                "30",
            ])
            .args(["--write-out", "\n%{http_code}"])
            .args(arguments)
            .arg(format!("{}{path}", self.url))
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let (body, status) = text.rsplit_once('\n').unwrap();
        (status.parse().unwrap(), body.to_owned())
    }

    /// The same from 127.0.0.`last`.
    pub fn from(&self, last: u8, arguments: &[&str], path: &str) -> (u16, String) {
        let own = format!("127.0.0.{last}");
        self.curl(&[&["--interface", &own], arguments].concat(), path)
    }

    /// The paths of the URLs in the script for `mac`, asked for from 127.0.0.`last`.
    pub fn boot(&self, last: u8, mac: &str) -> Urls {
        let (status, script) = self.from(last, &[], &format!("/boot/{mac}.ipxe"));
        assert_eq!(status, 200);
        Urls::of(&script, &self.url)
    }

    pub fn host(&self, name: &str) -> Value {
        let status: Value = serde_json::from_str(&self.get("/status.json").1).unwrap();
        let hosts = status["hosts"].as_array().unwrap().clone();
        hosts.into_iter().find(|host| host["name"] == name).unwrap()
    }

    pub fn signal(&self, name: &str) {
        let sent = Command::new("kill")
            .arg(format!("-{name}"))
            .arg(self.child.id().to_string())
            .status();
        assert!(sent.unwrap().success());
    }

    pub fn code(mut self) -> Option<i32> {
        self.child.wait().unwrap().code()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub fn have_curl() -> bool {
    let found = Command::new("curl").arg("--version").output().is_ok();
    assert!(
        found || std::env::var_os("REQUIRE_TOOLS").is_none(),
        "curl is not installed"
    );
    if !found {
        println!("skipped: curl is not installed");
    }
    found
}
