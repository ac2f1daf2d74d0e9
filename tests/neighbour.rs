//! A neighbour on the network, who knows hardware addresses and wants what is not his: `serve` beside
//! him, with curl and sockets from 127.0.0.9 as the neighbour, from 127.0.0.2 as a machine's firmware and
//! from 127.0.0.3 as its live system.

#[path = "support/record.rs"]
mod record;
#[path = "support/serving.rs"]
mod serving;

use std::fs;
use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde_json::Value;
use serving::{Bake, INITRAMFS, KERNEL, LARGE_BYTES, ROOTFS, Running, have_curl};
use tokio::net::TcpSocket;

const MAC: &str = "52-54-00-00-00-01";
const LIVE: &str = "52-54-00-00-00-02";

const FIRMWARE: u8 = 2;
const SYSTEM: u8 = 3;
const NEIGHBOUR: u8 = 9;

/// What a browser sends along when a page makes it ask.
const BROWSERS: [&str; 4] = [
    "Origin: http://evil.example",
    "Referer: http://evil.example/",
    "Sec-Fetch-Site: cross-site",
    "User-Agent: Mozilla/5.0 (X11; Linux x86_64) Firefox/140.0",
];

/// A bake beside which people work.
fn lived_in() -> Bake {
    let bake = Bake::new();
    for name in [
        "notes.txt",
        "kubeadmin-password",
        "tls.key.bak",
        "WORKER.IGN",
    ] {
        bake.write(name, b"secret");
    }
    bake.record("mini-1-live-iso.x86_64.iso", "iso", 1 << 20);
    bake.change(|record| record["options"]["customized"] = true.into());
    bake
}

#[test]
fn a_neighbour_gets_nothing_and_the_machine_boots() {
    if !have_curl() {
        return;
    }
    let bake = lived_in();
    let server = Running::start(&mut bake.serve(&["--format", "json"]));
    let neighbour = |arguments: &[&str], path: &str| server.from(NEIGHBOUR, arguments, path);
    let tries_files = || {
        for path in [
            "/notes.txt",
            "/kubeadmin-password",
            "/tls.key.bak",
            "/WORKER.IGN",
            "/worker.ign",
            "/hosts.yaml",
            "/eth0.nmconnection",
            "/mini-1-live-iso.x86_64.iso",
            "/ignition/52:54:00:00:00:01",
            "/overlay/52:54:00:00:00:01",
            "/..%2fetc%2fpasswd",
        ] {
            let (status, body) = neighbour(&["--path-as-is"], path);
            assert_eq!(status, 404, "{path}: {body}");
        }
        for path in [
            "/",
            "/status",
            "/status.json",
            "/status?token=",
            "/status.json?token=0",
        ] {
            let (_, shown) = neighbour(&["--header", "Host: localhost"], path);
            for word in ["52:54:00", "worker-0", "live-0", "127.0.0.2", "127.0.0.3"] {
                assert!(!shown.contains(word), "{path}: {shown}");
            }
        }
        let (status, _) = neighbour(&["--request", "POST"], "/done/52:54:00:00:00:01");
        assert_eq!(status, 405);
    };
    tries_files();

    let urls = server.boot(FIRMWARE, MAC);
    let overlay = urls.overlay.clone().unwrap();
    let config = urls.config.clone().unwrap();
    let all = [
        &urls.kernel,
        &urls.initramfs,
        &overlay,
        &urls.rootfs,
        &config,
    ];
    // Even if he has seen the URLs.
    let tries_tickets = || {
        for path in all {
            let (status, body) = neighbour(&[], path);
            assert!(matches!(status, 403 | 404), "{path}: {status}: {body}");
            for header in BROWSERS {
                // In a browser on the machine, or on one behind its address.
                for from in [NEIGHBOUR, FIRMWARE, SYSTEM] {
                    let (status, _) = server.from(from, &["--header", header], path);
                    assert_eq!(status, 403, "{path} {header}");
                }
            }
            let (status, _) = neighbour(&["--request", "OPTIONS"], path);
            assert_eq!(status, 405);
        }
        for header in BROWSERS {
            let post = ["--request", "POST", "--header", header];
            assert_eq!(server.from(SYSTEM, &post, &urls.done).0, 403, "{header}");
        }
        let (status, _) = neighbour(&["--request", "POST"], &urls.done);
        assert_eq!(status, 403);
        let (status, script) = neighbour(&[], &format!("/boot.ipxe?mac={MAC}"));
        assert_eq!(status, 200);
        assert!(
            !script.contains("/b/") && script.contains("exit"),
            "{script}"
        );
    };
    let fetch = |from: u8, path: &str| {
        let out = bake.path("fetched");
        let (status, _) = server.from(from, &["--output", out.to_str().unwrap()], path);
        assert_eq!(status, 200, "{path}");
        fs::read(out).unwrap()
    };
    for (path, expected) in [
        (&urls.kernel, Some(KERNEL)),
        (&urls.initramfs, Some(INITRAMFS)),
        (&overlay, None),
    ] {
        tries_tickets();
        let got = fetch(FIRMWARE, path);
        let is_right = expected.is_none_or(|name| got == fs::read(bake.path(name)).unwrap());
        assert!(is_right, "{path}");
    }
    // From here on the live system may have another address, and only one that knows a ticket is taken
    // for it: it is the first one now.
    assert!(fetch(SYSTEM, &urls.rootfs) == fs::read(bake.path(ROOTFS)).unwrap());
    tries_tickets();
    assert_eq!(server.host("worker-0")["phase"], "rootfs");
    assert!(fetch(SYSTEM, &config) == fs::read(bake.path("worker.ign")).unwrap());
    tries_tickets();
    assert_eq!(server.host("worker-0")["phase"], "ignition");
    // He can neither have it again, nor end the installation.
    let (status, _) = server.from(SYSTEM, &["--request", "POST"], &urls.done);
    assert_eq!(status, 200);
    tries_tickets();
    tries_files();
    let (_, script) = server.from(FIRMWARE, &[], &format!("/boot/{MAC}.ipxe"));
    assert!(script.contains("going on with its disk"), "{script}");

    let host = server.host("worker-0");
    assert_eq!(
        (&host["phase"], &host["boots"]),
        (&"done".into(), &1.into())
    );
    let refused = host["refused"].as_array().unwrap();
    assert!(
        refused
            .iter()
            .any(|refusal| refusal["client"] == "127.0.0.9"),
        "{host}"
    );
    let told: Vec<Value> = server
        .lines
        .try_iter()
        .map(|line| serde_json::from_str(&line).unwrap())
        .filter(|event: &Value| event["event"] == "refused" && event["host"] == "worker-0")
        .collect();
    assert!(
        told.iter().any(|event| event["client"] == "127.0.0.9"),
        "{told:?}"
    );
}

/// Nothing tells a machine from a neighbour who asks first. He gets its files, but not unseen: the
/// machine doesn't boot and says why, and so does the server, until the operator has decided.
#[test]
fn whoever_asks_first_is_seen() {
    if !have_curl() {
        return;
    }
    let bake = Bake::new();
    let server = Running::start(&mut bake.serve(&[]));
    let stolen = server.boot(NEIGHBOUR, LIVE);
    let (_, script) = server.from(FIRMWARE, &[], &format!("/boot/{LIVE}.ipxe"));
    assert!(script.contains("boots from another address"), "{script}");
    let host = server.host("live-0");
    assert_eq!(host["client"], "127.0.0.9");
    assert_eq!(host["refused"][0]["client"], "127.0.0.2");
    assert_eq!(server.from(NEIGHBOUR, &[], &stolen.config.unwrap()).0, 200);
    assert_eq!(server.host("live-0")["ignition"], "delivered");
}

/// A connection from 127.0.0.`last` that has sent `request`, if it is there still.
fn connected(address: SocketAddr, last: u8, request: &str) -> Option<TcpStream> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .build()
        .unwrap();
    let stream = runtime.block_on(async {
        let socket = TcpSocket::new_v4().unwrap();
        socket
            .bind(SocketAddr::new(IpAddr::from([127, 0, 0, last]), 0))
            .unwrap();
        socket.connect(address).await.ok()?.into_std().ok()
    })?;
    stream.set_nonblocking(false).unwrap();
    (&stream).write_all(request.as_bytes()).ok()?;
    Some(stream)
}

fn resident_mib(server: &Running) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", server.child.id())).unwrap();
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .unwrap();
    line.split_whitespace()
        .next()
        .unwrap()
        .parse::<u64>()
        .unwrap()
        >> 10
}

/// How long another client waits for the kernel.
fn wait_of(address: SocketAddr, last: u8) -> Duration {
    let began = Instant::now();
    let request = format!("GET /{KERNEL} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
    let mut stream = connected(address, last, &request).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(
        answer.starts_with("HTTP/1.1 200") && answer.ends_with("kernel"),
        "{answer}"
    );
    began.elapsed()
}

#[test]
fn a_thousand_who_stall_keep_nobody_out() {
    const EACH: usize = 1000;
    let limit = getrlimit(Resource::Nofile);
    let wanted = Rlimit {
        current: limit.maximum,
        ..limit
    };
    setrlimit(Resource::Nofile, wanted).unwrap();
    let bake = Bake::new();
    bake.record("large", "metal", LARGE_BYTES as u64);
    let server = Running::start(&mut bake.serve(&[]));
    let address: SocketAddr = server.url.strip_prefix("http://").unwrap().parse().unwrap();
    wait_of(address, FIRMWARE);
    let before = resident_mib(&server);
    let mut most = before;
    for neighbours in [1, 16] {
        let mut stalled = Vec::new();
        for number in 0..EACH {
            let last = 100 + (number % neighbours) as u8;
            let reader = "GET /large HTTP/1.1\r\nHost: h\r\n\r\n";
            let sender = "GET /large HTTP/1.1\r\nHost: ";
            for request in [reader, sender] {
                stalled.extend(connected(address, last, request));
            }
            if number % 100 == 0 {
                for mut stream in &stalled {
                    // Slowly, as senders of heads are; readers have sent theirs.
                    let _ = stream.write_all(b"x");
                }
            }
        }
        for from in [FIRMWARE, SYSTEM] {
            let waited = wait_of(address, from);
            println!("{neighbours} addresses: waited {} ms", waited.as_millis());
            assert!(waited < Duration::from_secs(1), "{neighbours}: {waited:?}");
        }
        most = most.max(resident_mib(&server));
    }
    let after = || {
        std::thread::sleep(Duration::from_millis(500));
        resident_mib(&server)
    };
    let settled = (0..20).map(|_| after()).min().unwrap();
    println!("resident: {before} MiB before, {most} MiB with them, {settled} MiB after");
    assert!(
        settled < before + 64,
        "{before} MiB before, {settled} MiB after"
    );
    assert!(
        most < before + 96,
        "{before} MiB before, {most} MiB with them"
    );
}
