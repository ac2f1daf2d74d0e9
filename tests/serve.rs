//! The program as a server, with curl as the machines; and what `hosts` makes for others to serve.

#[path = "support/record.rs"]
mod record;

#[path = "support/serving.rs"]
mod serving;

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use libcoreinst::io::Initrd;
use serde_json::{Value, json};
use serving::{Bake, INITRAMFS, KERNEL, LARGE_BYTES, ROOTFS, Running, have_curl, program};

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
    let fetch = |start: &str| {
        let out = bake.path("fetched");
        let (status, _) = server.curl(&["--output", out.to_str().unwrap()], &named(start));
        assert_eq!(status, 200, "{start}");
        fs::read(out).unwrap()
    };
    for (start, expected) in [
        ("kernel ", bake.path(KERNEL)),
        ("--name main ", bake.path(INITRAMFS)),
    ] {
        assert!(fetch(start) == fs::read(expected).unwrap(), "{start}");
    }
    let out = bake.path("fetched");
    fetch("--name host ");
    let overlay = Initrd::from_reader(&fs::read(out).unwrap()[..]).unwrap();
    let keyfile = overlay.get("etc/coreos-firstboot-network/eth0.nmconnection");
    assert_eq!(keyfile.unwrap(), b"[connection]\nid=eth0\n");
    let config = String::from_utf8(overlay.get("config.ign").unwrap().to_vec()).unwrap();
    assert!(config.contains("report-done.service"), "{config}");
    for (start, expected) in [
        ("coreos.live.rootfs_url=", bake.path(ROOTFS)),
        ("coreos.inst.ignition_url=", bake.path("worker.ign")),
    ] {
        assert!(fetch(start) == fs::read(expected).unwrap(), "{start}");
    }
    // The overlay says where to install.
    assert!(!script.contains("install_dev"), "{script}");
    assert!(script.contains("ignition.firstboot ignition.platform.id=metal"));

    assert_eq!(server.host("worker-0")["phase"], "ignition");
    assert_eq!(server.host("live-0")["phase"], "waiting");
    assert_eq!(server.get(&named("coreos.inst.ignition_url=")).0, 410);
    let rootfs = named("coreos.live.rootfs_url=");
    let done = format!("{}/done", rootfs.rsplit_once('/').unwrap().0);
    assert_eq!(server.curl(&["--request", "POST"], &done).0, 200);
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
    for url in ["http://127.0.0.1:1/x", "http://127.0.0.1:1/b/x/y"] {
        assert_eq!(told(format!("coreos.live.rootfs_url={url}\n")), "waiting");
    }
    let urls = server.boot(1, "52-54-00-00-00-01");
    let url = format!(
        "quiet coreos.live.rootfs_url={}{} x=y\n",
        server.url, urls.rootfs
    );
    // Before it can be true.
    assert_eq!(told(url.clone()), "script");
    for path in [&urls.rootfs, urls.config.as_ref().unwrap()] {
        assert_eq!(server.curl(&["--output", "/dev/null"], path).0, 200);
    }
    assert_eq!(told(url), "done");
}

#[test]
fn repeat_gives_configs_again() {
    if !have_curl() {
        return;
    }
    let bake = Bake::new();
    let server = Running::start(&mut bake.serve(&["--repeat"]));
    for from in [1, 9] {
        let urls = server.boot(from, "52-54-00-00-00-02");
        for _ in 0..2 {
            let (status, config) = server.from(from, &[], urls.config.as_ref().unwrap());
            assert_eq!(
                (status, &config[..]),
                (200, r#"{"ignition":{"version":"3.4.0"}}"#)
            );
        }
    }
    let urls = server.boot(1, "52-54-00-00-00-01");
    for path in [&urls.rootfs, urls.config.as_ref().unwrap()] {
        server.curl(&["--output", "/dev/null"], path);
    }
    assert_eq!(server.curl(&["--request", "POST"], &urls.done).0, 200);
    assert_eq!(server.host("worker-0")["phase"], "done");
    server.boot(1, "52-54-00-00-00-01");
}

#[test]
fn the_status_token_is_in_the_url_or_in_a_file() {
    if !have_curl() {
        return;
    }
    let bake = Bake::new();
    let mut server = bake
        .serve(&["--format", "json"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(server.stdout.take().unwrap())
        .read_line(&mut line)
        .unwrap();
    server.kill().unwrap();
    server.wait().unwrap();
    let listening: Value = serde_json::from_str(&line).unwrap();
    let status = listening["status"].as_str().unwrap();
    let token = status.split_once("/status?token=").unwrap().1;
    assert_eq!(token.len(), 32, "{line}");

    bake.write("token", b"sixteen-letters0\n");
    let file = bake.path("token");
    let file = file.to_str().unwrap();
    let server = Running::start(&mut bake.serve(&["--status-token-file", file]));
    let elsewhere = |path: &str| server.from(9, &[], path);
    assert!(!elsewhere("/status").1.contains("worker-0"));
    assert_eq!(elsewhere("/status?token=sixteen-letters1").0, 403);
    assert!(
        elsewhere("/status?token=sixteen-letters0")
            .1
            .contains("worker-0")
    );
    assert_eq!(elsewhere("/token").0, 404);
    bake.write("token", b"too-short\n");
    let said = refusal(&mut bake.serve(&["--status-token-file", file]));
    assert!(
        said.ends_with("token: the status token is shorter than 16 characters"),
        "{said}"
    );
}

/// On an address that others reach, and with secrets.
#[test]
fn who_can_read_along_is_said_at_the_start() {
    let bake = Bake::new();
    let said = |options: &[&str]| {
        let mut command = program();
        command
            .arg("serve")
            .arg(bake.0.path())
            .args(["--listen", "0.0.0.0:0"]);
        let mut server = command
            .args(options)
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(server.stderr.take().unwrap())
            .read_line(&mut line)
            .unwrap();
        server.kill().unwrap();
        server.wait().unwrap();
        line
    };
    let hosts = bake.path("hosts.yaml");
    let hosts = hosts.to_str().unwrap();
    assert_eq!(
        said(&["--hosts", hosts]),
        "warning: whoever can watch the network between here and the machines can read the Ignition configs of \
         2 hosts and the network settings of 1 host; --tls-cert prevents it\n"
    );
    let machine: Value =
        serde_json::from_str(&said(&["--hosts", hosts, "--format", "json"])).unwrap();
    assert_eq!(machine["kind"], "warning");
    assert!(said(&[]).starts_with("listening at "), "{}", said(&[]));
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
    bake.record("large", "metal", LARGE_BYTES as u64);
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
    assert!(rest.iter().all(|&byte| byte == 0));
    assert_eq!(server.code(), Some(0));
}

#[test]
fn a_second_signal_breaks_transfers_off() {
    let bake = Bake::new();
    bake.record("large", "metal", LARGE_BYTES as u64);
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

/// Keys come at once and unseen while a server has the terminal, and as ever afterwards.
#[test]
fn the_terminal_gets_its_modes_back() {
    let have = |name: &str| Command::new(name).arg("--version").output().is_ok();
    if !have("script") || !have("stty") {
        assert!(std::env::var_os("REQUIRE_TOOLS").is_none());
        return;
    }
    for signal in ["INT", "TERM", "QUIT", "HUP"] {
        let bake = Bake::new();
        let serve = bake.serve(&["--grace", "1"]);
        let words: Vec<&str> = [serve.get_program()]
            .into_iter()
            .chain(serve.get_args())
            .map(|word| word.to_str().unwrap())
            .collect();
        let (during, after) = (bake.path("during"), bake.path("after"));
        let line = format!(
            "(sleep 2; stty -a < /dev/tty > {}) & timeout --foreground --signal={signal} 4 {}; stty -a > {}",
            during.display(),
            words.join(" "),
            after.display(),
        );
        Command::new("script")
            .args(["--quiet", "--return", "--command", &line])
            .arg(bake.path("typescript"))
            .env("TERM", "xterm")
            .process_group(0)
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let modes = |path: &Path| -> Vec<String> {
            let said = fs::read_to_string(path).unwrap();
            let words = said.split([' ', '\n', ';']);
            let modes = words.filter(|word| ["icanon", "echo"].contains(&word.trim_matches('-')));
            modes.map(str::to_owned).collect()
        };
        assert_eq!(modes(&during), ["-icanon", "-echo"], "{signal}");
        assert_eq!(modes(&after), ["icanon", "echo"], "{signal}");
    }
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
