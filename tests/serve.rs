//! The program as a server, with curl as the machines; and what `hosts` makes for others to serve.

#[path = "support/record.rs"]
mod record;

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use libcoreinst::io::Initrd;
use serde_json::{Value, json};
use tempfile::TempDir;

const KERNEL: &str = "mini-1-live-kernel.x86_64";
const INITRAMFS: &str = "mini-1-live-initramfs.x86_64.img";
const ROOTFS: &str = "mini-1-live-rootfs.x86_64.img";
const ROOTFS_BYTES: usize = 3_000_001;
/// More than sockets hold, so that a transfer can't end while nobody reads.
const LARGE_BYTES: usize = 64 << 20;
const FEATURES: &str = r#"{"installer-config":true,"live-initrd-network":true}"#;
const HOSTS: &str = "roles:\n\
    \x20 worker: {disk: /dev/vda, ignition: worker.ign}\n\
    hosts:\n\
    - {name: worker-0, mac: '52:54:00:00:00:01', role: worker, keyfiles: eth0.nmconnection}\n\
    - {name: live-0, mac: '52:54:00:00:00:02', ignition: live.ign, kargs: quiet}\n";

/// A bake directory with an inventory in it.
struct Bake(TempDir);

impl Bake {
    fn new() -> Self {
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

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, content: &[u8]) {
        fs::write(self.path(name), content).unwrap();
    }

    /// `serve` with these options and the inventory.
    fn serve(&self, options: &[&str]) -> Command {
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

fn program() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_coreos-bake"));
    command.env_remove("COREOS_BAKE_LOG");
    command
}

/// A server that is killed if nobody stops it.
struct Running {
    child: Child,
    lines: Receiver<String>,
    url: String,
}

impl Running {
    /// Starts a server that tells of itself in lines of standard error, or of standard output.
    fn start(command: &mut Command) -> Self {
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

    fn line(&self) -> String {
        self.lines
            .recv_timeout(Duration::from_secs(30))
            .expect("the server says something")
    }

    fn get(&self, path: &str) -> (u16, String) {
        self.curl(&[], path)
    }

    fn curl(&self, arguments: &[&str], path: &str) -> (u16, String) {
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

    fn host(&self, name: &str) -> Value {
        let status: Value = serde_json::from_str(&self.get("/status.json").1).unwrap();
        let hosts = status["hosts"].as_array().unwrap().clone();
        hosts.into_iter().find(|host| host["name"] == name).unwrap()
    }

    fn signal(&self, name: &str) {
        let sent = Command::new("kill")
            .arg(format!("-{name}"))
            .arg(self.child.id().to_string())
            .status();
        assert!(sent.unwrap().success());
    }

    fn code(mut self) -> Option<i32> {
        self.child.wait().unwrap().code()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn have_curl() -> bool {
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

#[test]
fn a_machine_boots_installs_and_goes_on_with_its_disk() {
    if !have_curl() {
        return;
    }
    let bake = Bake::new();
    let server = Running::start(&mut bake.serve(&["--strict"]));
    let (status, script) = server.get("/boot/52-54-00-00-00-01.ipxe");
    assert_eq!(status, 200);
    let named = |start: &str| -> String {
        let rest = &script[script.find(start).unwrap() + start.len()..];
        let url = rest.split_whitespace().next().unwrap();
        url.strip_prefix(&server.url).unwrap().to_owned()
    };
    for (start, expected) in [
        ("kernel ", bake.path(KERNEL)),
        ("--name main ", bake.path(INITRAMFS)),
        ("coreos.live.rootfs_url=", bake.path(ROOTFS)),
        ("coreos.inst.ignition_url=", bake.path("worker.ign")),
    ] {
        let out = bake.path("fetched");
        let (status, _) = server.curl(&["--output", out.to_str().unwrap()], &named(start));
        assert_eq!(status, 200, "{start}");
        assert!(
            fs::read(out).unwrap() == fs::read(expected).unwrap(),
            "{start}"
        );
    }
    let out = bake.path("fetched");
    server.curl(&["--output", out.to_str().unwrap()], &named("--name host "));
    let overlay = Initrd::from_reader(&fs::read(out).unwrap()[..]).unwrap();
    let keyfile = overlay.get("etc/coreos-firstboot-network/eth0.nmconnection");
    assert_eq!(keyfile.unwrap(), b"[connection]\nid=eth0\n");
    let config = String::from_utf8(overlay.get("config.ign").unwrap().to_vec()).unwrap();
    assert!(config.contains("report-done.service"), "{config}");
    // The overlay says where to install.
    assert!(!script.contains("install_dev"), "{script}");
    assert!(script.contains("ignition.firstboot ignition.platform.id=metal"));

    assert_eq!(server.host("worker-0")["phase"], "ignition");
    assert_eq!(server.host("live-0")["phase"], "waiting");
    assert_eq!(server.get("/ignition/52:54:00:00:00:01").0, 410);
    assert_eq!(
        server
            .curl(&["--request", "POST"], "/done/52:54:00:00:00:01")
            .0,
        200
    );
    assert_eq!(server.host("worker-0")["phase"], "done");
    let (_, script) = server.get("/boot/52-54-00-00-00-01.ipxe");
    assert!(script.contains("going on with its disk"), "{script}");

    let (_, page) = server.get("/status");
    assert!(
        page.contains(">worker-0</th><td data-name=\"Role\">worker</td>")
            && page.contains("live-0"),
        "{page}"
    );
    let (_, script) = server.get("/boot/52-54-00-00-00-03.ipxe");
    assert!(script.contains("is not among the hosts"), "{script}");

    // Steps are told when they begin, and not again when they end.
    let log: Vec<String> = std::iter::from_fn(|| server.lines.try_recv().ok()).collect();
    let log: Vec<&str> = log
        .iter()
        .filter_map(|line| line.strip_prefix("worker-0 (127.0.0.1): "))
        .collect();
    let phases = [
        "script",
        "kernel",
        "initramfs",
        "rootfs",
        "ignition",
        "done",
    ];
    assert_eq!(log, phases);
    server.signal("TERM");
    assert_eq!(server.code(), Some(0));
}

/// What the script in the overlay does on the machine, with the machine's command line from a file.
#[test]
fn the_machine_says_itself_that_it_is_done() {
    if !have_curl() {
        return;
    }
    let bake = Bake::new();
    let server = Running::start(&mut bake.serve(&[]));
    let script = include_str!("../src/media/hosts/report-done");
    let told = |command_line: String| {
        bake.write("cmdline", command_line.as_bytes());
        let path = bake.path("cmdline");
        let script = script.replace("/proc/cmdline", path.to_str().unwrap());
        let ran = Command::new("bash").arg("-c").arg(script).output().unwrap();
        assert!(ran.status.success(), "{ran:?}");
        server.host("worker-0")["phase"].clone()
    };
    assert_eq!(told("quiet\n".to_owned()), "waiting");
    assert_eq!(
        told("coreos.live.rootfs_url=http://127.0.0.1:1/x\n".to_owned()),
        "waiting"
    );
    let url = format!("{}/{ROOTFS}?mac=52:54:00:00:00:01", server.url);
    assert_eq!(
        told(format!("quiet coreos.live.rootfs_url={url} x=y\n")),
        "done"
    );
}

#[test]
fn secrets_in_the_directory_stay_there() {
    if !have_curl() {
        return;
    }
    let bake = Bake::new();
    let server = Running::start(&mut bake.serve(&[]));
    for path in [
        "/hosts.yaml",
        "/worker.ign",
        "/live.ign",
        "/eth0.nmconnection",
        "/..%2fetc%2fpasswd",
        "/overlay/52:54:00:00:00:02",
        "/ignition/52:54:00:00:00:09",
    ] {
        assert_eq!(server.curl(&["--path-as-is"], path).0, 404, "{path}");
    }
    for path in ["/overlay/x", "/ignition/x", "/boot/x.ipxe"] {
        assert_eq!(server.get(path).0, 400, "{path}");
    }
    assert_eq!(server.get("/bake.json").0, 200);
}

#[test]
fn repeat_gives_configs_again() {
    if !have_curl() {
        return;
    }
    let bake = Bake::new();
    let server = Running::start(&mut bake.serve(&["--repeat"]));
    server.get("/boot/52-54-00-00-00-02.ipxe");
    for _ in 0..2 {
        let (status, config) = server.get("/ignition/52:54:00:00:00:02");
        assert_eq!(
            (status, &config[..]),
            (200, r#"{"ignition":{"version":"3.4.0"}}"#)
        );
    }
    server.curl(&["--request", "POST"], "/done/52:54:00:00:00:02");
    assert!(
        server
            .get("/boot/52-54-00-00-00-02.ipxe")
            .1
            .contains("ignition.config.url=")
    );
}

#[test]
fn programs_get_a_line_of_json_for_each_event() {
    if !have_curl() {
        return;
    }
    let bake = Bake::new();
    let server = Running::start(&mut bake.serve(&["--format", "json"]));
    server.get("/boot/52-54-00-00-00-02.ipxe");
    server.get("/boot/nonsense.ipxe");
    let event = || -> Value { serde_json::from_str(&server.line()).unwrap() };
    let host = event();
    assert_eq!(host["schema"], "coreos-bake/serve-event/v1");
    assert_eq!(
        (&host["event"], &host["host"]["name"]),
        (&json!("host"), &json!("live-0"))
    );
    assert_eq!(event()["event"], "refused");
    server.signal("INT");
    assert_eq!(event()["event"], "stopping");
    assert_eq!(server.code(), Some(0));
}

#[test]
fn a_transfer_under_way_is_finished_before_the_server_ends() {
    let bake = Bake::new();
    bake.write("large", &vec![7; LARGE_BYTES]);
    let server = Running::start(&mut bake.serve(&[]));
    let mut client = TcpStream::connect(server.url.trim_start_matches("http://")).unwrap();
    write!(
        client,
        "GET /large HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"
    )
    .unwrap();
    let mut head = vec![0; 1000];
    client.read_exact(&mut head).unwrap();
    server.signal("TERM");
    assert_eq!(server.line(), "stopping; waiting for 1 connection");
    let mut rest = Vec::new();
    client.read_to_end(&mut rest).unwrap();
    let body = head
        .windows(4)
        .position(|four| four == b"\r\n\r\n")
        .unwrap()
        + 4;
    assert_eq!(head.len() - body + rest.len(), LARGE_BYTES);
    assert!(rest.iter().all(|&byte| byte == 7));
    assert_eq!(server.code(), Some(0));
}

#[test]
fn a_second_signal_breaks_transfers_off() {
    let bake = Bake::new();
    bake.write("large", &vec![0; LARGE_BYTES]);
    let server = Running::start(&mut bake.serve(&[]));
    let mut client = TcpStream::connect(server.url.trim_start_matches("http://")).unwrap();
    write!(client, "GET /large HTTP/1.1\r\nHost: h\r\n\r\n").unwrap();
    client.read_exact(&mut [0; 1000]).unwrap();
    server.signal("INT");
    assert_eq!(server.line(), "stopping; waiting for 1 connection");
    server.signal("INT");
    assert_eq!(server.line(), "error: stopped with 1 connection still open");
    assert_eq!(server.code(), Some(1));
}

#[test]
fn a_terminal_shows_a_table() {
    let found = Command::new("script").arg("--version").output().is_ok();
    assert!(
        found || std::env::var_os("REQUIRE_TOOLS").is_none(),
        "script is not installed"
    );
    if !found {
        println!("skipped: script is not installed");
        return;
    }
    let bake = Bake::new();
    let serve = bake.serve(&["--grace", "1"]);
    let words: Vec<&str> = [serve.get_program()]
        .into_iter()
        .chain(serve.get_args())
        .map(|word| word.to_str().unwrap())
        .collect();
    // timeout stands in for Ctrl-C.
    let line = format!("exec timeout --signal=INT 3 {}", words.join(" "));
    let output = Command::new("script")
        .args(["--quiet", "--return", "--command", &line])
        .arg(bake.path("typescript"))
        .env("TERM", "xterm")
        .process_group(0)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let shown = String::from_utf8_lossy(&output.stdout);
    assert!(shown.contains("listening at http://127.0.0.1:"), "{shown}");
    assert!(shown.contains("STATE"), "{shown}");
    assert!(
        shown.contains("worker-0") && shown.contains("waiting"),
        "{shown}"
    );
    assert!(shown.contains("0 of 2 hosts heard of, 0 done"), "{shown}");
    assert!(
        shown.contains("stopping ") && !shown.contains("waiting for"),
        "{shown}"
    );
}

/// Why the program refuses to do this, in one line and with exit code 1.
fn refusal(command: &mut Command) -> String {
    let Output { status, stderr, .. } = command.output().unwrap();
    assert_eq!(status.code(), Some(1));
    let said = String::from_utf8(stderr).unwrap();
    let first = said.lines().next().unwrap_or_default();
    assert!(
        said.lines().skip(1).all(|line| line.starts_with("hint: ")),
        "{said}"
    );
    first.strip_prefix("error: ").expect(&said).to_owned()
}

#[test]
fn a_server_that_cannot_keep_its_promises_does_not_start() {
    let bake = Bake::new();
    let shown = |name: &str| bake.path(name).display().to_string();
    let hosts = shown("hosts.yaml");
    for (inventory, complaint) in [
        ("hosts: [", format!("{hosts}:")),
        (
            "hosts:\n- {name: a, mac: '52:54:00:00:00:01'}\n- {name: b, mac: 52-54-00-00-00-01}",
            format!(
                "{hosts}:3: host \"b\": hardware address 52:54:00:00:00:01 is that of host \"a\" too"
            ),
        ),
        (
            "hosts: [{name: a, mac: '52:54:00:00:00:01', ignition: none.ign}]",
            format!(
                "{hosts}:1: host \"a\": ignition {}: No such file",
                shown("none.ign")
            ),
        ),
        (
            "hosts: [{name: a, mac: '52:54:00:00:00:01', nmstate: hosts.yaml}]",
            "making the initramfs of host \"a\": ".to_owned(),
        ),
    ] {
        bake.write("hosts.yaml", inventory.as_bytes());
        let said = refusal(&mut bake.serve(&[]));
        assert!(said.starts_with(&complaint), "{said}");
    }
    fs::remove_file(bake.path("hosts.yaml")).unwrap();
    let said = refusal(&mut bake.serve(&[]));
    assert!(
        said.starts_with(&format!("reading inventory {hosts}: ")),
        "{said}"
    );
    let said = refusal(program().args(["serve", "/nonexistent"]));
    assert!(said.contains("/nonexistent"), "{said}");
    let code = |arguments: &[&str]| program().args(arguments).output().unwrap().status.code();
    assert_eq!(code(&["serve", "x", "--strict"]), Some(2));
    assert_eq!(code(&["serve", "x", "--repeat"]), Some(2));
}

#[test]
fn hosts_makes_a_tree_or_nothing() {
    let bake = Bake::new();
    let hosts = |out: &Path, options: &[&str]| {
        let mut command = program();
        command
            .arg("hosts")
            .arg(bake.0.path())
            .arg(bake.path("hosts.yaml"))
            .arg("-o")
            .arg(out)
            .args(options);
        command
    };
    let out = bake.path("tree");
    let said = refusal(&mut hosts(&out, &[]));
    assert!(said.contains("needs --url"), "{said}");
    let said = refusal(&mut hosts(&out, &["-f", "iso"]));
    assert!(said.ends_with("has no ISO"), "{said}");
    let url = ["--url", "http://h/os", "--format", "json"];
    let planned = hosts(&out, &[&url[..], &["--dry-run"]].concat())
        .output()
        .unwrap();
    assert!(planned.status.success(), "{planned:?}");
    assert!(!out.exists());
    let made = hosts(&out, &url).output().unwrap();
    assert!(made.status.success(), "{made:?}");
    let said: Value = serde_json::from_slice(&made.stdout).unwrap();
    assert_eq!(
        (&said["schema"], &said["written"]),
        (&json!("coreos-bake/hosts/v1"), &json!(true))
    );
    let names = |value: &Value| -> Vec<String> {
        let files = value["files"].as_array().unwrap();
        files
            .iter()
            .map(|file| file["name"].as_str().unwrap().to_owned())
            .collect()
    };
    let planned: Value = serde_json::from_slice(&planned.stdout).unwrap();
    assert_eq!(names(&planned), names(&said));
    for name in names(&said) {
        assert!(out.join(&name).is_file(), "{name}");
    }
    let told = String::from_utf8(made.stderr).unwrap();
    let warned: Vec<Value> = told
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .filter(|line: &Value| line["kind"] == "warning")
        .map(|line| line["sentence"].clone())
        .collect();
    assert_eq!(json!(warned), said["warnings"]);
    assert_eq!(
        warned,
        ["one machine installs when it boots from these, and erases its disk without asking"]
    );
}
