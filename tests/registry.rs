//! Pulling from a real registry: Debian's `docker-registry`, filled by skopeo, on this host.
//!
//! Misbehaving servers are played in `src/image/registry/tests.rs`; what is here needs a real one,
//! directly or through a proxy that breaks connections.

#[path = "registry/layout.rs"]
mod layout;
#[path = "registry/proxy.rs"]
mod proxy;
#[path = "support/registry.rs"]
mod server;

use std::fs;
use std::io::{Read, Write};
use std::process::Command;

use bake_format::progress::Silent;
use bake_tree::Content;
use coreos_bake::testing::image::{Access, Digest, Image, NewLayer, Target, hint, open, write};
use serde_json::json;

use layout::Layout;
use proxy::proxy;
use server::{PASSWORD, Registry, USER, have, have_registry};

fn read_all(image: &Image) -> anyhow::Result<Vec<Vec<u8>>> {
    let read = |index| {
        let mut bytes = Vec::new();
        image.layer(index)?.read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    (0..image.layers.len()).map(read).collect()
}

fn assert_same(pulled: &Image, local: &Image) {
    assert_eq!(pulled.manifest, local.manifest);
    assert_eq!(pulled.manifest_digest, local.manifest_digest);
    assert_eq!(pulled.config, local.config);
    assert_eq!(pulled.layers, local.layers);
    assert!(read_all(pulled).unwrap() == read_all(local).unwrap());
}

fn told<T: std::fmt::Debug>(outcome: anyhow::Result<T>) -> String {
    let error = outcome.unwrap_err();
    format!(
        "{error:#}\n{}",
        error.chain().find_map(hint).unwrap_or_default()
    )
}

#[test]
fn images_are_pulled_by_tag_digest_and_architecture() {
    if !have_registry() {
        return;
    }
    let (registry, layout) = (Registry::start(false), Layout::new(2_000_000));
    let host = &registry.address;
    registry.push(&layout.path(), "team/os:v1");
    let mut access = registry.access(host, USER, PASSWORD);
    for arch in layout.arches {
        access.arch = Some(arch.into());
        let local = layout.open(arch);
        let by_tag = open(
            &format!("docker://{host}/team/os:v1").parse().unwrap(),
            &access,
        )
        .unwrap();
        assert_same(&by_tag, &local);
        assert_eq!(by_tag.index_digest, local.index_digest);
        for digest in [local.index_digest.as_ref().unwrap(), &local.manifest_digest] {
            let reference = format!("{host}/team/os@{digest}").parse().unwrap();
            assert_same(&open(&reference, &access).unwrap(), &local);
        }
    }
    access.arch = Some("s390x".into());
    let missing = told(open(
        &format!("{host}/team/os:v1").parse().unwrap(),
        &access,
    ));
    assert!(
        missing.contains("is not there for s390x") && missing.contains("(arm64)"),
        "{missing}"
    );
    let amd = layout.open("amd64").manifest_digest;
    let other = told(open(
        &format!("{host}/team/os@{amd}").parse().unwrap(),
        &access,
    ));
    assert!(other.contains("is for amd64, not for s390x"), "{other}");
}

#[test]
fn credentials_decide() {
    if !have_registry() {
        return;
    }
    let (registry, layout) = (Registry::start(false), Layout::new(1000));
    let host = &registry.address;
    registry.push(&layout.path(), "team/os:v1");
    let pull = |name: &str, access: &Access| {
        let mut access = access.clone();
        access.arch = Some("amd64".into());
        open(&format!("{host}/{name}").parse().unwrap(), &access)
    };
    let nobody = told(pull("team/os:v1", &registry.access_with(&json!({}))));
    assert!(
        nobody.contains(&format!(
            "{host} refuses manifest of docker://{host}/team/os:v1"
        )),
        "{nobody}"
    );
    assert!(nobody.contains(&format!("podman login {host}")), "{nobody}");

    let wrong = told(pull("team/os:v1", &registry.access(host, USER, "guess")));
    assert!(wrong.contains("refuses"), "{wrong}");
    assert!(
        wrong.contains(&format!("credentials used are those for {host} in")),
        "{wrong}"
    );
    assert!(!wrong.contains("guess"), "{wrong}");

    // The longest key wins, for better or worse.
    let key = format!("{host}/team");
    assert!(pull("team/os:v1", &registry.access(&key, USER, PASSWORD)).is_ok());
    assert!(
        pull(
            "team/os:v1",
            &registry.access(&format!("{host}/other"), USER, PASSWORD)
        )
        .is_err()
    );

    let right = registry.access(host, USER, PASSWORD);
    assert!(pull("team/os:v1", &right).is_ok());
    for missing in ["team/os:v2", "team/nothing:v1"] {
        let error = told(pull(missing, &right));
        assert!(
            error.contains(&format!(
                "{host} has no manifest of docker://{host}/{missing}"
            )),
            "{error}"
        );
    }
}

#[test]
fn breaking_connections_cost_only_the_rest() {
    if !have_registry() {
        return;
    }
    const BIG: usize = 4_000_000;
    const CUT: usize = 300_000;
    let (registry, layout) = (Registry::start(false), Layout::new(BIG));
    registry.push(&layout.path(), "team/os:v1");
    let (host, traffic) = proxy(&registry.address, CUT);
    let mut access = registry.access(&host, USER, PASSWORD);
    access.arch = Some("arm64".into());
    let pulled = open(&format!("{host}/team/os:v1").parse().unwrap(), &access).unwrap();
    assert_same(&pulled, &layout.open("arm64"));

    let traffic = traffic.lock().unwrap();
    let starts: Vec<usize> = traffic
        .requests
        .iter()
        .filter_map(|head| {
            head.split_once("range: bytes=")?
                .1
                .split('-')
                .next()?
                .parse()
                .ok()
        })
        .collect();
    assert!(starts.len() >= BIG / CUT, "{starts:?}");
    assert!(starts.is_sorted_by(|a, b| a < b), "{starts:?}");
    let total = traffic.bytes_to_client;
    assert!(
        total > BIG && total < BIG + BIG / 4,
        "{total} bytes for {BIG}"
    );
}

#[test]
fn connections_that_always_break_are_given_up() {
    if !have_registry() {
        return;
    }
    let (registry, layout) = (Registry::start(false), Layout::new(1000));
    registry.push(&layout.path(), "team/os:v1");
    let (host, traffic) = proxy(&registry.address, 20);
    let access = registry.access(&host, USER, PASSWORD);
    let error = told(open(
        &format!("{host}/team/os:v1").parse().unwrap(),
        &access,
    ));
    assert!(
        error.contains(&format!("could not be read from {host} in 4 attempts: ")),
        "{error}"
    );
    let asked = traffic
        .lock()
        .unwrap()
        .requests
        .iter()
        .filter(|r| r.starts_with("get /v2/ "))
        .count();
    assert_eq!(asked, 4);
}

/// Run again by the test below with another home directory; does nothing by itself.
#[test]
fn child_pulls_with_ca_from_home() {
    let Ok(reference) = std::env::var("COREOS_BAKE_TEST_PULL") else {
        return;
    };
    let mut access = Access::new(std::env::temp_dir());
    access.authfile = std::env::var_os("COREOS_BAKE_TEST_AUTHFILE").map(Into::into);
    access.arch = Some("amd64".into());
    access.tls_verify = std::env::var_os("COREOS_BAKE_TEST_PLAIN").is_none();
    let image = open(&reference.parse().unwrap(), &access).unwrap();
    println!("pulled {} bytes", read_all(&image).unwrap().concat().len());
}

#[test]
fn certificates_are_checked_unless_told_otherwise() {
    if !have_registry() || !have(&[("openssl", "version")]) {
        return;
    }
    let (registry, layout) = (Registry::start(true), Layout::new(1000));
    let host = &registry.address;
    registry.push(&layout.path(), "team/os:v1");
    let mut access = registry.access(host, USER, PASSWORD);
    access.arch = Some("amd64".into());
    let reference = format!("{host}/team/os:v1").parse().unwrap();

    let untrusted = told(open(&reference, &access));
    assert!(
        untrusted.contains(&format!(
            "{host} cannot be talked to securely: invalid peer certificate"
        )),
        "{untrusted}"
    );
    assert!(
        untrusted.contains(&format!("certs.d/{host}/ca.crt")),
        "{untrusted}"
    );
    assert!(untrusted.contains("--tls-verify=false"), "{untrusted}");

    access.tls_verify = false;
    assert_same(&open(&reference, &access).unwrap(), &layout.open("amd64"));

    let home = registry.scratch().join("home");
    let trusted = home.join(".config/containers/certs.d").join(host);
    fs::create_dir_all(&trusted).unwrap();
    fs::copy(registry.scratch().join("ca.crt"), trusted.join("ca.crt")).unwrap();
    let child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "child_pulls_with_ca_from_home", "--nocapture"])
        .env("HOME", home)
        // Nobody is there: proxies are not for this host.
        .env("http_proxy", "http://127.0.0.1:9")
        .env("https_proxy", "http://127.0.0.1:9")
        .env("COREOS_BAKE_TEST_PULL", reference.to_string())
        .env("COREOS_BAKE_TEST_AUTHFILE", access.authfile.unwrap())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&child.stdout);
    assert!(
        child.status.success(),
        "{said}{}",
        String::from_utf8_lossy(&child.stderr)
    );
    assert!(said.contains("pulled "), "{said}");
}

/// A proxy is where the user says, also on this host, by address or by name. The registry plays it:
/// it takes requests as proxies get them.
#[test]
fn proxies_may_be_on_this_host() {
    if !have_registry() {
        return;
    }
    let (registry, layout) = (Registry::start(false), Layout::new(1000));
    registry.push(&layout.path(), "team/os:v1");
    let host = "registry.example:5000";
    let access = registry.access(host, USER, PASSWORD);
    let port = registry.address.rsplit_once(':').unwrap().1;
    for proxy in ["127.0.0.1", "localhost"] {
        let proxy = format!("http://{proxy}:{port}");
        let child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "child_pulls_with_ca_from_home", "--nocapture"])
            .env("http_proxy", &proxy)
            .env("https_proxy", &proxy)
            .env("COREOS_BAKE_TEST_PLAIN", "")
            .env(
                "COREOS_BAKE_TEST_PULL",
                format!("docker://{host}/team/os:v1"),
            )
            .env(
                "COREOS_BAKE_TEST_AUTHFILE",
                access.authfile.as_ref().unwrap(),
            )
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&child.stdout);
        let error = String::from_utf8_lossy(&child.stderr);
        assert!(said.contains("pulled "), "{proxy}: {said}{error}");
    }
}

/// A layer with one file in it.
fn new_layer(text: &str) -> NewLayer {
    let mut builder = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_size(text.len() as u64);
    header.set_mode(0o644);
    builder
        .append_data(&mut header, "etc/added", text.as_bytes())
        .unwrap();
    let tar = builder.into_inner().unwrap();
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    gzip.write_all(&tar).unwrap();
    let blob = gzip.finish().unwrap();
    NewLayer {
        digest: Digest::sha256(&blob),
        diff_id: Digest::sha256(&tar),
        blob: Content::bytes(blob),
        created_by: "a test".into(),
    }
}

#[test]
fn derived_images_are_pushed_with_what_the_registry_lacks() {
    if !have_registry() {
        return;
    }
    let (registry, layout) = (Registry::start(false), Layout::new(3_000_000));
    let host = &registry.address;
    registry.push(&layout.path(), "team/os:v1");
    let mut access = registry.access(host, USER, PASSWORD);
    access.arch = Some("amd64".into());
    let base = format!("docker://{host}/team/os:v1").parse().unwrap();
    let base = open(&base, &access).unwrap();
    let push = |image: &Image, text: &str, target: &str, access: &Access| {
        let derived = image.derive(new_layer(text)).unwrap();
        let target: Target = format!("docker://{host}/{target}").parse().unwrap();
        write(image, &derived, &target, access, false, &Silent).map(|name| (derived, name))
    };

    // Beside its base, and in a repository that has nothing yet.
    for (target, text) in [("team/os:v2", "one"), ("elsewhere/os:v1", "two")] {
        let (derived, name) = push(&base, text, target, &access).unwrap();
        let pulled = open(&name.parse().unwrap(), &access).unwrap();
        assert_eq!(pulled.manifest_digest, derived.digest);
        assert_eq!(pulled.layers.len(), base.layers.len() + 1);
        assert_eq!(pulled.layers[..base.layers.len()], base.layers[..]);
        assert_eq!(pulled.labels, base.labels);
        assert_eq!(read_all(&pulled).unwrap()[..2], read_all(&base).unwrap());
        let tagged = format!("docker://{host}/{target}").parse().unwrap();
        assert_eq!(open(&tagged, &access).unwrap().manifest, derived.manifest);
    }
    // From a layout, so that there is nothing to mount.
    let local = layout.open("arm64");
    let any = registry.access(host, USER, PASSWORD);
    let (derived, name) = push(&local, "three", "third/os:v1", &any).unwrap();
    let pulled = open(&name.parse().unwrap(), &any).unwrap();
    assert_eq!(pulled.manifest, derived.manifest);
    assert_eq!(read_all(&pulled).unwrap()[..2], read_all(&local).unwrap());

    let refused = told(push(
        &local,
        "four",
        "team/os:v4",
        &registry.access(host, USER, "guess"),
    ));
    assert!(refused.contains(&format!("{host} refuses")), "{refused}");
    let gone = format!("docker://{host}/team/os:v4").parse().unwrap();
    assert!(open(&gone, &access).is_err());
}
