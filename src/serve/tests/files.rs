//! Files: nothing but the bake's, and every byte of them.

use std::fs;
use std::os::unix::fs::symlink;
use std::process::Command;

use sha2::{Digest, Sha256};

use super::super::Event;
use super::{Bake, KERNEL, ROOTFS, ROOTFS_BYTES, Running, beside, curl, noise, status, worker};
use bake_referee::have;

#[test]
fn nothing_else_is_reachable() {
    let bake = Bake::new();
    let outside = tempfile::tempdir().unwrap();
    fs::write(outside.path().join("secret"), "secret").unwrap();
    beside(&bake, ".hidden", b"secret");
    beside(&bake, "worker.ign", b"secret");
    // What people keep beside media.
    for name in [
        "notes.txt",
        "kubeadmin-password",
        "tls.key.bak",
        "hosts.yaml",
        "boot.ipxe",
    ] {
        beside(&bake, name, b"secret");
    }
    bake.record("plain name%.txt", "config", b"fine");
    beside(&bake, "sha256sum.txt", b"sums");
    fs::create_dir(bake.path().join("folder")).unwrap();
    fs::write(bake.path().join("folder/secret"), "secret").unwrap();
    symlink(outside.path().join("secret"), bake.path().join("link")).unwrap();
    symlink(KERNEL, bake.path().join("inner-link")).unwrap();
    symlink(outside.path(), bake.path().join("way")).unwrap();
    let fifo = bake.path().join("fifo");
    rustix::fs::mknodat(
        rustix::fs::CWD,
        &fifo,
        rustix::fs::FileType::Fifo,
        0o600.into(),
        0,
    )
    .unwrap();
    let running = Running::start(bake.options());
    let name = outside.path().file_name().unwrap().to_str().unwrap();
    let full = outside.path().join("secret");
    let full = full.to_str().unwrap();
    for path in [
        "/../secret",
        "/..",
        "/.",
        "//",
        "/folder",
        "/folder/",
        "/folder/secret",
        "/folder%2fsecret",
        "/./folder/secret",
        "/way/secret",
        "/way%2Fsecret",
        "/link",
        "/inner-link",
        "/fifo",
        "/.hidden",
        "/%2ehidden",
        "/worker.ign",
        "/worker%2eign",
        "/notes.txt",
        "/kubeadmin-password",
        "/tls.key.bak",
        "/hosts.yaml",
        &format!("/../{name}/secret"),
        &format!("/%2e%2e/{name}/secret"),
        &format!("/..%2f{name}%2fsecret"),
        &format!("/%2e%2e%2f{name}%2fsecret"),
        &format!("/%252e%252e%252f{name}%252fsecret"),
        &format!("/..\\{name}\\secret"),
        &format!("/folder/../../{name}/secret"),
        &format!("/{KERNEL}/../../{name}/secret"),
        &format!("/{KERNEL}/"),
        &format!("/{KERNEL}%00"),
        &format!("/{KERNEL}%00.txt"),
        &format!("//{KERNEL}"),
        &format!("/{full}"),
        full,
        "/etc/passwd",
        "//etc/passwd",
        "/%2fetc%2fpasswd",
        "/%",
        "/%2",
        "/%zz",
        "/%ff",
        "/boot/../../etc/passwd",
        "/boot/%2e%2e%2f%2e%2e%2fetc%2fpasswd",
        &format!("/{}", "x".repeat(256)),
        &format!("http://other/../{name}/secret"),
    ] {
        let (status, body) = running.get(path);
        assert_eq!(status, 404, "{path}: {body}");
        assert!(!body.contains("secret"), "{path}: {body}");
    }
    // What no server may take for a request.
    for path in ["*", "..", "secret", "/\0", "/a b"] {
        let (status, body) = running.get(path);
        assert!((400..500).contains(&status), "{path:?}: {status}");
        assert!(!body.contains("secret"), "{path:?}: {body}");
    }
    for path in [
        "/plain%20name%25.txt",
        "/%70lain%20name%25%2etxt",
        "/plain%20name%25.txt?mac=x",
    ] {
        assert_eq!(running.get(path), (200, "fine".to_owned()), "{path}");
    }
    assert_eq!(running.get("/sha256sum.txt"), (200, "sums".to_owned()));
    assert_eq!(running.get("/bake.json").0, 200);
    assert_eq!(running.ask(&format!("POST /{KERNEL} HTTP/1.1")).0, 405);
    assert_eq!(running.ask(&format!("DELETE /{KERNEL} HTTP/1.1")).0, 405);
}

#[test]
fn curl_gets_the_ranges_it_asks_for() {
    if !have("curl") {
        return;
    }
    let bake = Bake::new();
    let running = Running::start(bake.options());
    let url = format!("{}/{ROOTFS}", running.url);
    let content = noise(ROOTFS_BYTES);
    let end = ROOTFS_BYTES;
    for (range, code, expected) in [
        ("0-0", 206, &content[..1]),
        ("0-262143", 206, &content[..262_144]),
        ("262143-262144", 206, &content[262_143..262_145]),
        ("1-", 206, &content[1..]),
        ("-1", 206, &content[end - 1..]),
        ("-300000", 206, &content[end - 300_000..]),
        ("-99999999", 206, &content[..]),
        ("5000010-5000010", 206, &content[end - 1..]),
        ("5000010-99999999", 206, &content[end - 1..]),
        ("5000011-", 416, &[][..]),
        ("0-0,2-2", 200, &content[..]),
    ] {
        let answer = curl(&[
            "--range",
            range,
            "--write-out",
            "%{stderr}%{http_code}",
            &url,
        ]);
        let told = String::from_utf8(answer.stderr).unwrap();
        assert_eq!(told, code.to_string(), "{range}");
        assert!(answer.stdout == expected, "{range}: other bytes");
    }
}

#[test]
fn curl_goes_on_where_it_was() {
    if !have("curl") {
        return;
    }
    let bake = Bake::new();
    let running = Running::start(bake.options());
    let target = tempfile::NamedTempFile::new().unwrap();
    let content = noise(ROOTFS_BYTES);
    fs::write(target.path(), &content[..1_234_567]).unwrap();
    let output = target.path().to_str().unwrap();
    let url = format!("{}/{ROOTFS}", running.url);
    let answer = curl(&["--continue-at", "-", "--output", output, &url]);
    assert!(answer.status.success(), "{answer:?}");
    assert!(fs::read(target.path()).unwrap() == content);
}

#[test]
fn headers_tell_what_comes() {
    let bake = Bake::new();
    bake.record("empty", "config", b"");
    let running = Running::start(bake.options());
    let ask = |line: &str, more: &str| {
        let request = format!("{line} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n{more}\r\n");
        let (head, body) = running.ask_raw(&request);
        (head.to_ascii_lowercase(), body.len())
    };
    let etag = format!("\"{}\"", hex::encode(Sha256::digest(noise(100_000))));
    let kernel = format!("/{KERNEL}");

    let (head, length) = ask(&format!("HEAD {kernel}"), "Range: bytes=1-2\r\n");
    assert_eq!((status(&head), length), (200, 0));
    for line in [
        "content-length: 100000",
        "accept-ranges: bytes",
        &format!("etag: {etag}"),
        "content-type: application/octet-stream",
    ] {
        assert!(head.contains(line), "{line} in {head}");
    }

    let get = format!("GET {kernel}");
    let (head, length) = ask(&get, "Range: bytes=99998-\r\n");
    assert_eq!((status(&head), length), (206, 2));
    assert!(
        head.contains("content-range: bytes 99998-99999/100000"),
        "{head}"
    );

    let (head, length) = ask(&get, "Range: bytes=100000-\r\n");
    assert_eq!((status(&head), length), (416, 0));
    assert!(head.contains("content-range: bytes */100000"), "{head}");

    let conditional = format!("Range: bytes=0-0\r\nIf-Range: {etag}\r\n");
    assert_eq!(ask(&get, &conditional).1, 1);
    assert_eq!(
        ask(&get, "Range: bytes=0-0\r\nIf-Range: \"other\"\r\n").1,
        100_000
    );

    let (head, length) = ask(&get, &format!("If-None-Match: {etag}\r\n"));
    assert_eq!((status(&head), length), (304, 0));

    let (head, length) = ask("GET /empty", "");
    assert_eq!((status(&head), length), (200, 0));
    assert!(head.contains("content-length: 0"), "{head}");
    assert_eq!(status(&ask("GET /empty", "Range: bytes=0-\r\n").0), 416);
}

#[test]
fn a_file_is_served_while_it_is_the_same() {
    let bake = Bake::new();
    let running = Running::start(bake.options());
    let recorded = hex::encode(Sha256::digest(noise(100_000)));
    let request = format!("HEAD /{KERNEL} HTTP/1.0\r\n\r\n");
    assert!(running.ask_raw(&request).0.contains(&recorded));
    // Of the same length, as `coreos-installer iso customize` leaves an ISO.
    let other = beside(&bake, "other", &vec![7; 100_000]);
    fs::rename(other, bake.path().join(KERNEL)).unwrap();
    let (status, why) = running.get(&format!("/{KERNEL}"));
    assert_eq!(status, 404);
    assert_eq!(why, "the file is not what it was when the server started\n");
    let told = running.events.lock().unwrap().iter().any(|event| {
        matches!(event, Event::Refused { sentence, .. } if sentence.contains("is not what it was"))
    });
    assert!(told);
    let urls = running.boot("525400000009");
    assert_eq!(running.get(&urls.kernel).0, 404);
    fs::remove_file(bake.path().join(KERNEL)).unwrap();
    assert_eq!(running.get(&format!("/{KERNEL}")).0, 404);
}

#[test]
fn media_with_settings_are_not_for_everyone() {
    let bake = Bake::new();
    // No more of an ISO than its name: it can't be judged.
    bake.record("mini.iso", "iso", b"secret");
    let mut options = bake.options();
    options.listen = "0.0.0.0:0".parse().unwrap();
    let running = Running::start(options.clone());
    let (status, why) = running.get("/mini.iso");
    assert_eq!(
        (status, why.contains("--serve-embedded")),
        (404, true),
        "{why}"
    );
    assert_eq!(running.exposure, None);
    options.serves_embedded = true;
    let running = Running::start(options);
    assert_eq!(running.get("/mini.iso"), (200, "secret".to_owned()));
    assert_eq!(
        running.exposure.as_deref(),
        Some("whoever reaches this server can read the settings embedded in mini.iso")
    );
}

#[test]
fn who_can_read_secrets_is_said() {
    let bake = Bake::new();
    let mut options = bake.options();
    let mut live = worker();
    live.name = "live".to_owned();
    live.macs = vec!["52:54:00:00:00:02".parse().unwrap()];
    live.overlay = Some(b"overlay".as_slice().into());
    options.hosts = vec![worker(), live];
    let exposure =
        |options: &super::super::Options| Running::start(options.clone()).exposure.clone();
    assert_eq!(exposure(&options), None);
    options.listen = "0.0.0.0:0".parse().unwrap();
    assert_eq!(
        exposure(&options).as_deref(),
        Some(
            "whoever can watch the network between here and the machines can read the Ignition configs of 2 \
             hosts and the network settings of 1 host; --tls-cert prevents it"
        )
    );
    options.hosts.clear();
    assert_eq!(exposure(&options), None);
}

#[test]
fn a_hundred_clients_at_once() {
    if !have("curl") {
        return;
    }
    const CLIENTS: usize = 100;
    let bake = Bake::new();
    let running = Running::start(bake.options());
    let target = tempfile::tempdir().unwrap();
    let url = format!("{}/{ROOTFS}", running.url);
    let clients: Vec<_> = (0..CLIENTS)
        .map(|client| {
            Command::new("curl")
                .args(["--silent", "--show-error", "--noproxy", "*", "--output"])
                .arg(target.path().join(client.to_string()))
                .arg(&url)
                .spawn()
                .unwrap()
        })
        .collect();
    for mut client in clients {
        assert!(client.wait().unwrap().success());
    }
    let expected = Sha256::digest(noise(ROOTFS_BYTES));
    for client in 0..CLIENTS {
        let content = fs::read(target.path().join(client.to_string())).unwrap();
        assert_eq!(Sha256::digest(content), expected, "client {client}");
    }
}

#[test]
fn https() {
    if !have("curl") || !have("openssl") {
        return;
    }
    let bake = Bake::new();
    let keys = tempfile::tempdir().unwrap();
    let make = |name: &str| {
        let key = keys.path().join(format!("{name}.key"));
        let certificate = keys.path().join(format!("{name}.crt"));
        let made = Command::new("openssl")
            .args([
                "req",
                "-x509",
                "-newkey",
                "ec",
                "-pkeyopt",
                "ec_paramgen_curve:P-256",
            ])
            .args(["-nodes", "-days", "2", "-subj", "/CN=localhost"])
            .args(["-addext", "subjectAltName=IP:127.0.0.1", "-keyout"])
            .arg(&key)
            .arg("-out")
            .arg(&certificate)
            .output()
            .unwrap();
        assert!(made.status.success(), "{made:?}");
        (certificate, key)
    };
    let (certificate, key) = make("one");
    // Even beside the bake the key is nobody's business.
    let private = bake.path().join("server.key");
    fs::copy(key, &private).unwrap();
    let mut options = bake.options();
    options.tls = Some((certificate.clone(), private.clone()));
    let running = Running::start(options.clone());
    let ca = certificate.to_str().unwrap();
    let answer = curl(&["--cacert", ca, &format!("{}/{ROOTFS}", running.url)]);
    assert!(answer.status.success(), "{answer:?}");
    assert!(answer.stdout == noise(ROOTFS_BYTES));
    let answer = curl(&[
        "--cacert",
        ca,
        &format!("{}/boot/52:54:00:00:00:09.ipxe", running.url),
    ]);
    let script = String::from_utf8(answer.stdout).unwrap();
    assert!(
        script.contains(&format!("kernel {}/b/", running.url)),
        "{script}"
    );
    let answer = curl(&[
        "--cacert",
        ca,
        "--fail",
        &format!("{}/server.key", running.url),
    ]);
    assert_eq!(answer.status.code(), Some(22), "{answer:?}");
    let answer = curl(&[&running.url]);
    assert_eq!(answer.status.code(), Some(60), "{answer:?}");

    let (_, other) = make("two");
    options.tls = Some((certificate.clone(), other));
    let refusal = Bake::refusal(options.clone());
    assert!(
        refusal.starts_with("using the certificate of "),
        "{refusal}"
    );
    let empty = beside(&bake, "empty.pem", b"");
    options.tls = Some((empty.clone(), private));
    assert!(Bake::refusal(options.clone()).ends_with("empty.pem has no PEM certificate"));
    options.tls = Some((certificate, empty));
    assert!(Bake::refusal(options).starts_with("reading a private key from "));
}
